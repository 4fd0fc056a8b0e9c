"""A service that is killed at random points of 200 configuration changes: its store opens, each change is there or not there,
and after a restart the persistent logins are back.
"""

from __future__ import annotations

import random
import threading

import pytest
from tests.initiator.service_running import Running, target_served

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import LoginFlag, Portal

CHANGES = 200
KILLS = 2
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
