"""The store: what is put comes back, one process at a time, and what is no store is told from one and left alone."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from iscsi_initiator.store import (
    State,
    StateInvalid,
    Store,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreLocked,
    StoreNotWritten,
    StoreTooNew,
    StoreUnreadable,
    default_folder,
    files,
    state,
)
from iscsi_initiator.store import format as form
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import (
    AuthType,
    DeviceKind,
    ForeignValue,
    GroupKey,
    IdType,
    InitiatorInstance,
    LoginOptions,
    LunMapping,
    Node,
    PersistentDevice,
    PersistentLogin,
    Portal,
    PresharedKey,
    Secrets,
    StaticTarget,
    StoredSettings,
    TargetPortal,
    TunnelAddress,
)
from iscsi_initiator.store.store import FILE, KEY, LOCK

NAME = "iqn.2026-01.org.example:disk"
SEALED = Sealed(nonce=bytes(12), sealed=bytes(range(20)))
OPTIONS = LoginOptions(
    login_flags=3,
    header_digest=True,
    data_digest=False,
    maximum_connections=4,
    default_time2wait=3,
    default_time2retain=20,
    user_name="user",
    password=SEALED,
    auth_type=AuthType.MUTUAL_CHAP,
)
MAPPING = LunMapping(target_lun=0xC000_0000_0000_0001, os_bus=1, os_target=2, os_lun=3)
PORTAL = Portal(address="fe80::1", port=3261)
FULL = State(
    node=Node(name="iqn.1991-05.com.microsoft:host", fixed=True),
    initiators=(InitiatorInstance(name=r"ROOT\ISCSIPRT\0000_0", isid=bytes(6)),),
    target_portals=(TargetPortal(portal=PORTAL, initiator="one", initiator_port=2, security_flags=3, options=OPTIONS),),
    isns_servers=("isns.example.org",),
    static_targets=(
        StaticTarget(name=NAME, alias="disk", flags=6, options=OPTIONS, portals=(PORTAL,), mappings=(MAPPING,)),
    ),
    persistent_logins=(
        PersistentLogin(target_name=NAME, number=1, portal=PORTAL, options=OPTIONS, key=SEALED, mappings=(MAPPING,)),
        PersistentLogin(target_name=NAME, report_to_pnp=False),
    ),
    persistent_devices=(PersistentDevice(path="/mnt/data", kind=DeviceKind.VOLUME, identifier="naa.5000"),),
    secrets=Secrets(initiator=SEALED, targets={NAME: SEALED}),
    tunnel_addresses=(TunnelAddress(destination="192.0.2.1", tunnel=SEALED),),
    preshared_keys=(PresharedKey(id_type=IdType.DOMAIN_NAME, id="host.example.org", key=SEALED),),
    group_key=GroupKey(key=SEALED),
    settings=StoredSettings(
        driver={"TCPConnectTime": 15},
        service={"iSNSServerList": ("a", "b"), "ServiceLogFileName": "log"},
        foreign=(ForeignValue(key=r"HKEY_LOCAL_MACHINE\X", name="", type=3, data=b"\0\xff"),),
    ),
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "var" / "initiator"


def put(folder, state):
    with Store(folder) as store:
        store.put(state)


def stored(folder):
    with Store(folder) as store:
        return store.state


def rewrite(folder, **changes):
    """Change the top of the file by hand; the checksum is made to fit unless it is what is changed."""
    path = folder / "store.json"
    file = json.loads(path.read_text())
    file |= changes
    if "sha256" not in changes:
        raw = msgspec.json.format(msgspec.json.encode(file["state"]), indent=-1)
        file["sha256"] = form._checksum(file["schema"], file["version"], raw)
    path.write_text(json.dumps(file))


def refusal(folder, kind):
    """The error at opening, with the file left as it was."""
    path = folder / "store.json"
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        Store(folder)
    assert type(caught.value) is kind
    assert path.read_bytes() == before
    assert caught.value.path == path
    assert caught.value.event == 106
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_new_store_is_empty_and_writes_nothing(folder):
    assert stored(folder) == State()
    assert [each.name for each in folder.iterdir()] == ["lock"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_all_that_can_be_kept_comes_back(folder):
    put(folder, FULL)
    assert stored(folder) == FULL
    assert stat.S_IMODE((folder / "store.json").stat().st_mode) == 0o600
    assert sorted(each.name for each in folder.iterdir()) == ["lock", "store.json"]


def test_what_does_not_persist_is_kept_in_memory_alone(folder):
    target = StaticTarget(name=NAME, persist=False)
    tunnel = TunnelAddress(destination="192.0.2.1", tunnel=SEALED, persist=False)
    key = PresharedKey(id_type=IdType.IPV4_ADDRESS, id="192.0.2.1", key=SEALED, persist=False)
    group = GroupKey(key=SEALED, persist=False)
    passing = State(static_targets=(target,), tunnel_addresses=(tunnel,), preshared_keys=(key,), group_key=group)
    with Store(folder) as store:
        store.put(passing)
        assert store.state == passing
    assert stored(folder) == State()


def test_nothing_is_written_where_nothing_that_lasts_has_changed(folder):
    put(folder, FULL)
    with Store(folder) as store:
        before = (folder / "store.json").stat().st_ino
        store.put(replace(FULL, static_targets=(*FULL.static_targets, StaticTarget(name="x", persist=False))))
        assert (folder / "store.json").stat().st_ino == before
        assert len(store.state.static_targets) == 2


def test_change_puts_what_is_made_of_the_state(folder):
    with Store(folder) as store:
        made = store.change(lambda state: replace(state, isns_servers=(*state.isns_servers, "192.0.2.9")))
        assert made == store.state
    assert stored(folder).isns_servers == ("192.0.2.9",)


def test_a_change_that_is_no_state_is_refused_and_leaves_the_old_one(folder):
    put(folder, FULL)
    with Store(folder) as store:
        for wrong in (
            replace(FULL, isns_servers=("",)),
            replace(FULL, isns_servers=["192.0.2.9"]),
            replace(FULL, target_portals=(TargetPortal(portal=Portal(address="a", port=65536)),)),
            replace(FULL, isns_servers=("\ud800",)),
            replace(FULL, node=object()),
        ):
            with pytest.raises(StateInvalid, match="not kept"):
                store.put(wrong)
            assert store.state == FULL
    assert stored(folder) == FULL


def test_numbers_of_logins_to_one_target_fill_gaps():
    logins = tuple(PersistentLogin(target_name=NAME, number=number) for number in (0, 2))
    state = State(persistent_logins=(*logins, PersistentLogin(target_name="other")))
    assert [state.next_number(name) for name in (NAME, "other", "new")] == [1, 1, 0]
    assert logins[1].name == f"{NAME}#2"


def test_a_second_process_is_refused_and_told_who_has_it(folder):
    with Store(folder):
        with pytest.raises(StoreLocked, match=f"process {os.getpid()} has the store open"):
            Store(folder)
        script = "import sys,pathlib\nfrom iscsi_initiator.store import Store\nStore(pathlib.Path(sys.argv[1]))"
        second = subprocess.run(
            [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=30, check=False
        )
        assert second.returncode != 0
        assert "StoreLocked" in second.stderr
    (folder / "lock").write_text("")
    assert stored(folder) == State()


def test_a_lock_without_a_number_is_somebody_all_the_same(folder, monkeypatch):
    with Store(folder):
        (folder / "lock").write_text("")
        with pytest.raises(StoreLocked, match="another process has the store open"):
            Store(folder)


def test_the_lock_is_let_go_when_opening_fails(folder):
    put(folder, FULL)
    (folder / "store.json").write_text("")
    refusal(folder, StoreDamaged)
    (folder / "store.json").unlink()
    assert stored(folder) == State()


def test_a_closed_store_takes_no_change(folder):
    store = Store(folder)
    store.close()
    store.close()
    with pytest.raises(StoreNotWritten, match="closed"):
        store.put(FULL)
    assert store.state == State()


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"{", b'{"schema": "iscsi-initiator/store"', b"\xff\xfe{}", b"\0" * 512]
)
def test_what_is_no_json_is_damaged(folder, content):
    put(folder, FULL)
    (folder / "store.json").write_bytes(content)
    refusal(folder, StoreDamaged)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"{}", b'{"schema": 1}', b'{"schema": "iscsi-target state", "version": 1}', b'"x"', b"[" * 100_000],
)
def test_what_is_another_programs_is_foreign(folder, content):
    put(folder, FULL)
    (folder / "store.json").write_bytes(content)
    assert "iscsi-initiator/store" in refusal(folder, StoreForeign).reason


def test_every_cut_is_told(folder):
    put(folder, replace(State(), isns_servers=("192.0.2.9",)))
    whole = (folder / "store.json").read_bytes()
    for length in range(len(whole.rstrip())):
        with pytest.raises(StoreDamaged):
            form.decode(whole[:length], folder)


@given(st.data())
def test_a_changed_byte_is_told_or_changes_nothing(data):
    whole = form.encode(FULL, Path("f"))
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        found = form.decode(whole[:at] + bytes([byte]) + whole[at + 1 :], Path("f"))
    except (StoreDamaged, StoreForeign, StoreTooNew):
        return
    assert found == FULL


@given(st.binary())
def test_any_bytes_give_a_state_or_a_store_error(data):
    with pytest.raises((StoreDamaged, StoreForeign, StoreTooNew)):
        form.decode(data, Path("f"))


def test_damage_names_the_place(folder):
    put(folder, FULL)
    rewrite(folder, sha256="0" * 64)
    assert refusal(folder, StoreDamaged).place == "state"
    state = json.loads((folder / "store.json").read_text())["state"]
    state["target_portals"][0]["portal"]["port"] = 0
    rewrite(folder, state=state)
    assert refusal(folder, StoreDamaged).place == "$.target_portals[0].portal.port"
    rewrite(folder, surplus=1)
    assert "surplus" in refusal(folder, StoreDamaged).reason


def test_a_newer_version_is_refused(folder):
    put(folder, FULL)
    rewrite(folder, version=form.VERSION + 1)
    error = refusal(folder, StoreTooNew)
    assert error.version == form.VERSION + 1
    assert error.place == "version"


def test_a_version_that_never_was_is_damage(folder):
    put(folder, FULL)
    rewrite(folder, version=0)
    assert refusal(folder, StoreDamaged).place == "version"


def test_every_older_version_has_its_migration():
    assert set(form.MIGRATIONS) == set(range(1, form.VERSION))


def test_migrations_are_applied_one_behind_the_other():
    old = form.encode(State(isns_servers=("a",)), Path("f"))
    steps = {
        form.VERSION: lambda state: state | {"isns_servers": [*state["isns_servers"], "b"]},
        form.VERSION + 1: lambda state: state | {"isns_servers": [*state["isns_servers"], "c"]},
    }
    found = form.decode(old, Path("f"), version=form.VERSION + 2, migrations=steps)
    assert found.isns_servers == ("a", "b", "c")


def test_a_migration_that_gives_no_state_is_told():
    old = form.encode(State(), Path("f"))
    with pytest.raises(StoreDamaged) as caught:
        form.decode(old, Path("f"), version=form.VERSION + 1, migrations={form.VERSION: lambda _: {"node": 1}})
    assert caught.value.place == "$.node"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnreadable, match="no store can be here"):
        Store(tmp_path / "file" / "store")


def test_a_lock_that_is_a_link_is_not_followed(folder, tmp_path):
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnreadable):
        Store(folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_in_the_files_place_is_told(folder):
    (folder / "store.json").mkdir(parents=True)
    with pytest.raises(StoreUnreadable, match=r"store\.json: the store cannot be read"):
        Store(folder)


def test_a_pipe_in_the_files_place_does_not_hold_up(folder):
    folder.mkdir(parents=True)
    os.mkfifo(folder / "store.json")
    with pytest.raises(StoreDamaged, match="empty"):
        Store(folder)


def test_a_file_without_end_is_not_read(folder, monkeypatch):
    put(folder, FULL)
    monkeypatch.setattr(form, "SIZE_LIMIT", 100)
    refusal(folder, StoreDamaged)


def test_a_folder_that_another_made_first_will_do(tmp_path, monkeypatch):
    def taken(path, mode):
        raise FileExistsError(errno.EEXIST, "exists", str(path))

    monkeypatch.setattr("iscsi_initiator.store.files.os.mkdir", taken)
    files.make_folder(tmp_path / "new")


def test_a_lock_that_cannot_be_written_is_closed_again(tmp_path, monkeypatch):
    def full(fd, data, offset):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr("iscsi_initiator.store.files.os.pwrite", full)
        with pytest.raises(StoreUnreadable, match="full"):
            Store(tmp_path)
    Store(tmp_path).close()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ISCSI_INITIATOR_STORE": "/s"}, "/s"),
        ({"XDG_STATE_HOME": "/x"}, "/x/iscsi-conformance/initiator"),
        ({"HOME": "/h"}, "/h/.local/state/iscsi-conformance/initiator"),
    ],
)
def test_where_the_store_is(monkeypatch, environment, expected):
    for name in ("ISCSI_INITIATOR_STORE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(default_folder()) == expected


def test_the_file_is_described():
    """docs/store.md names every field of the file, and every file of the folder."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
    structs = [each for each in vars(state).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    ipsec = (TunnelAddress, PresharedKey, GroupKey, ForeignValue)
    names = {name for each in structs if each not in ipsec for name in each.__struct_fields__}
    names |= set(form._File.__struct_fields__) | set(Sealed.__struct_fields__) | {FILE, LOCK, KEY, form.SCHEMA}
    assert sorted(name for name in names if f"`{name}`" not in text) == []
