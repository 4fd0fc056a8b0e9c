"""A service that is killed at random points of configuration changes of every kind: its store opens, what it answered is
there, and what it did not answer is there or not there, never half. After a restart the persistent logins are back, and what
is bound is waited for.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from tests.initiator.configuring import VOLUMES, Changes, facts_of
from tests.initiator.nursery import ATTACHED, MOUNTS, Nursery, own_name
from tests.initiator.service_running import Running, config_served, isns_served, store_settings, target_served

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_initiator.eventlog import LogReader
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import LoginFlag, Portal, SettingValue, StoredSettings
from iscsi_protocol.eventlog import LoggedEvent

CHANGES = 200
KILLS = 2
# 200 kills in the long form (tox -e workloads), 20 otherwise.
PARTS = 10 if os.environ.get("HYPOTHESIS_PROFILE") in ("long", "search") else 1
KILLS_OF_A_PART = 20
SETTINGS: dict[str, SettingValue] = {"VolumeRetryCount": 2, "VolumeRetryTimer": 10, "VolumePostDiscoveryTimer": 0}
SECRET = api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-1")


@pytest.fixture
def portal():
    with target_served() as endpoint:
        yield Portal(address=endpoint.host, port=endpoint.port)


def name_of(number: int) -> str:
    return f"iqn.2026-01.org.example:{number}"


def change(service: Running, number: int) -> None:
    """The change with this number: a static target that comes, or, every third time, the one before it that goes."""
    if number % 3 == 2:
        service.ask(api.RemoveTarget(target_name=name_of(number - 1)))
    else:
        service.ask(api.AddTarget(target_name=name_of(number), options=SECRET))


def expected(count: int) -> set[str]:
    """The targets that there are behind so many changes."""
    added = {name_of(number) for number in range(count) if number % 3 != 2}
    return added - {name_of(number - 1) for number in range(2, count, 3)}


def changes_until_killed(service: Running, done: int, delay: float) -> int:
    """Make changes until the service is gone; how many there were in all."""
    timer = threading.Timer(delay, service.process.kill)
    timer.start()
    gone: Refused | None = None
    while gone is None:
        try:
            change(service, done)
            done += 1
        except Refused as error:
            gone = error
    timer.join()
    service.process.communicate(timeout=60)
    assert gone.status is StatusCode.SERVICE_NOT_RUNNING
    return done


def test_killed_at_random_points(tmp_path, portal):
    chance = random.SystemRandom()
    multipath = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
    done = 0
    for kill in range(KILLS + 1):
        service = Running(tmp_path)
        if kill:
            sessions = service.ask(api.SessionList()).sessions
            assert [each.target_name for each in sessions] == [PLAIN, PLAIN]
            assert service.ask(api.ServiceStatus()).message == ""
        else:
            for options in (api.LoginOptions(), multipath):
                service.ask(api.PersistentLoginTarget(target_name=PLAIN, portal=portal, options=options))
        while done < CHANGES * (kill + 1) // (KILLS + 1):
            change(service, done)
            done += 1
        if kill < KILLS:
            done = changes_until_killed(service, done, chance.random() * 0.05)
        else:
            service.ask(api.StopService())
            assert service.end()[0] == 0
        with Store(tmp_path / "store") as store:
            names = {each.name for each in store.state.static_targets}
            # The change that was not answered is there or not there.
            assert names in (expected(done), expected(done + 1))
            done += names != expected(done)
            assert store.broken_secrets() == []
            assert len(store.state.persistent_logins) == 2
    assert done >= CHANGES


@pytest.fixture(scope="module")
def portals():
    with config_served(bundled_config()) as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def isns():
    with isns_served() as endpoint:
        yield endpoint


@pytest.fixture
def nursery(tmp_path, isns):
    store_settings(tmp_path / "store", StoredSettings(service=SETTINGS))
    (tmp_path / MOUNTS).write_text("".join(f"{device} {point}\n" for point, device in VOLUMES.items()))
    with Nursery(tmp_path, isns.port) as found:
        yield found


class Life:
    """What is known of a service over its lives."""

    def __init__(self, folder, nursery):
        self.folder = folder
        self.nursery = nursery
        self.read = 0
        self.devices: list[str] = []
        self.sessions = False

    def stored(self):
        """What the store has, which opens with every secret."""
        with Store(self.folder / "store") as store:
            assert store.broken_secrets() == []
            assert {each.name for each in store.folder.iterdir()} <= {"store.json", "key", "lock"}
            return facts_of(store)

    def back(self, facts):
        """The service is ready: the persistent logins are sessions, and each device that is bound was waited for."""
        sessions = self.nursery.ask(api.SessionList()).sessions
        wanted = sorted(key[1] for key in facts if key[0] == "login")
        assert sorted(each.target_name for each in sessions) == wanted
        self.sessions = bool(sessions)
        self.devices = list(dict.fromkeys(each.interface_name for one in sessions for each in one.devices))
        bound = {key[1] for key in facts if key[0] == "device"}
        missing = bound - {*self.devices, *VOLUMES}
        assert (103 in self.events()) is bool(missing)
        status = self.nursery.ask(api.ServiceStatus())
        assert (status.state, status.message) == ("running", "")
        if ("node",) in facts:
            assert status.node_name == facts["node",]

    def events(self):
        """What the service logged since this was asked last."""
        path = self.folder / "events.jsonl"
        if not path.exists():
            return []
        reader = LogReader(path)
        logged = [each.record.id for each in reader.read() if isinstance(each, LoggedEvent)]
        reader.close()
        new, self.read = logged[self.read :], len(logged)
        return new

    def log_out(self):
        """Have no session, so that the node's name may change."""
        for each in self.nursery.ask(api.SessionList()).sessions:
            self.nursery.ask(api.LogoutTarget(session_id=each.session_id))
        self.sessions, self.devices = False, []


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_in_changes_of_every_kind(tmp_path, nursery, portals, part):
    """Every other time the service dies at a call that touches the disk, just before or just behind it; else from outside.
    What is changed comes out of a seed.
    """
    chance = random.Random(part)
    changes, life = Changes(chance, portals, own_name(tmp_path)), Life(tmp_path, nursery)
    nursery.start()
    nursery.ask(api.StopService())
    assert nursery.end() == 0
    facts = life.stored()
    halfway = {True: 0, False: 0}
    for kill in range(KILLS_OF_A_PART):
        inside = kill % 2 == 1
        if not nursery.start(point=chance.randrange(1, 60) if inside else None):
            assert life.stored() == facts
            continue
        life.back(facts)
        if chance.random() < 0.4:
            life.log_out()
        left = chance.randrange(8)
        alive, answered = True, True
        while alive:
            change = changes.next(facts, life.devices, sessions=life.sessions)
            if inside:
                alive = answered = nursery.asked_until_dead(change.request)
            elif left:
                nursery.ask(change.request)
                left -= 1
            else:
                alive, answered = False, nursery.killed_while_asked(change.request, chance.random() * 0.01)
            if answered:
                facts = change.facts
        assert nursery.end() == -signal.SIGKILL
        found = life.stored()
        if not answered:
            assert found in (facts, change.facts)
            halfway[found == change.facts] += 1
        else:
            assert found == facts
        facts = found
    assert nursery.start()
    life.back(facts)
    nursery.ask(api.StopService())
    assert nursery.end() == 0
    assert life.stored() == facts
    assert not nursery.complaints, nursery.complaints
    assert halfway[True], halfway
    assert halfway[False], halfway


def test_bound_volumes_are_waited_for_after_a_kill(tmp_path, nursery, portals):
    """Logged in again, the service is not ready before the last volume that was bound is mounted."""
    store_settings(tmp_path / "store", StoredSettings(service={**SETTINGS, "VolumeRetryCount": 100_000}))
    mounts = (tmp_path / MOUNTS).read_text()
    portal = Portal(address=portals[0].host, port=portals[0].port)
    assert nursery.start()
    assert nursery.killed_while_asked(api.PersistentLoginTarget(target_name=PLAIN, portal=portal), 30)
    assert nursery.end() == -signal.SIGKILL
    assert nursery.start()
    (session,) = nursery.ask(api.SessionList()).sessions
    for path in ("/mnt/one", "/mnt/two", *dict.fromkeys(list(ATTACHED.values())[:2])):
        nursery.ask(api.AddPersistentDevice(path=path))
    assert nursery.killed_while_asked(api.LogoutTarget(session_id=session.session_id), 30)
    assert nursery.end() == -signal.SIGKILL
    for missing in ("/mnt/two", "/mnt/one"):
        kept = [line for line in mounts.splitlines() if not line.endswith(missing)]
        (tmp_path / MOUNTS).write_text("\n".join(kept))
        nursery.begin(watched=True)
        for _ in range(3):
            assert nursery.hear() == {"looked": True}
        assert nursery.ask(api.ServiceStatus()).state == "starting"
        assert [each.target_name for each in nursery.ask(api.SessionList()).sessions] == [PLAIN]
        (tmp_path / MOUNTS).write_text(mounts)
        while (heard := nursery.hear()) != {"ready": True}:
            assert heard == {"looked": True}
        assert nursery.killed_while_asked(api.ServiceStatus(), 30)
        while (heard := nursery.hear()) != {"ended": -signal.SIGKILL}:
            assert heard == {"looked": True}
    assert not nursery.complaints, nursery.complaints
