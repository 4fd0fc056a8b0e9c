"""Settings come in from `.reg` files whole or not at all, go out again, and are shown; what no table knows is kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from iscsi_initiator.cli import main
from iscsi_initiator.registry import (
    REGEDIT4,
    ROWS,
    VERSION_5,
    Home,
    RegError,
    RegType,
    driver_settings,
    give,
    read_reg,
    stored,
    take,
    write_reg,
)
from iscsi_initiator.registry import commands as registry_commands
from iscsi_initiator.registry.table import KEYS, plain_path
from iscsi_initiator.service.tunables import device_settings
from iscsi_initiator.settings import SETTINGS, Settings
from iscsi_initiator.store import State, Store, read_state
from iscsi_initiator.store.state import DeviceKind, ForeignValue, Node, PersistentDevice, StoredSettings

CLASS = r"Control\Class\{4D36E97B-E325-11CE-BFC1-08002BE10318}"
LIVE = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet"
DISCOVERY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\iSCSI\Discovery"
APPENDIX_E = rf"""{VERSION_5}

[HKEY_LOCAL_MACHINE\PE_Soft\Microsoft\Windows NT\CurrentVersion\iSCSI\Discovery]
"AllowiSNSFirewallException"=dword:00000001

[HKEY_LOCAL_MACHINE\PE_Sys\ControlSet001\Services\iScsiPrt\Parameters]
"BusType"=dword:00000009

[HKEY_LOCAL_MACHINE\PE_Sys\ControlSet001\{CLASS}\0000]
"MatchingDeviceId"="root\\iscsiprt"

[HKEY_LOCAL_MACHINE\PE_Sys\ControlSet001\{CLASS}\0000\Parameters]
"TCPConnectTime"=dword:0000000f
"TCPDisconnectTime"=dword:0000000f
"WMIRequestTimeout"=dword:0000001e
"DelayBetweenReconnect"=dword:00000005
"MaxPendingRequests"=dword:000000ff
"EnableNOPOut"=dword:00000000
"MaxTransferLength"=dword:00040000
"MaxBurstLength"=dword:00040000
"FirstBurstLength"=dword:00010000
"MaxRecvDataSegmentLength"=dword:00010000
"MaxConnectionRetries"=dword:ffffffff
"MaxRequestHoldTime"=dword:0000003c
"LinkDownTime"=dword:0000000f
"IPSecConfigTimeout"=dword:0000003c
"InitialR2T"=dword:00000000
"ImmediateData"=dword:00000001
"ErrorRecoveryLevel"=dword:00000002
"PortalRetryCount"=dword:00000005
"NetworkReadyRetryCount"=dword:0000000a
"SrbTimeoutDelta"=dword:0000000f

[HKEY_LOCAL_MACHINE\PE_Sys\ControlSet001\{CLASS}\0000\PersistentTargets]
@=""
"""


def reg(text):
    return read_reg(f"{VERSION_5}\n{text}".encode())


def took(text, state=None, **options):
    return take(reg(text), state or State(), **options)


def driver(line, number="0000"):
    return f"[{LIVE}\\{CLASS}\\{number}\\Parameters]\n{line}\n"


def test_the_settings_of_appendix_e():
    taken = take(read_reg(APPENDIX_E.encode()), State())
    assert driver_settings(taken.state) == Settings.winpe()
    assert taken.state.settings.service == {"AllowiSNSFirewallException": 1}
    assert [change.row.name for change in taken.changes if change.line == 32] == ["SRBTimeoutDelta"]
    assert (taken.unknown, taken.encrypted) == ((), ())
    assert [(value.key, value.name) for value in taken.installation] == [
        (rf"{LIVE}\Services\iScsiPrt\Parameters", "BusType"),
        (rf"{LIVE}\{CLASS}\0000", "MatchingDeviceId"),
    ]


def test_the_table_has_each_driver_setting():
    names = [row.name for row in ROWS if row.section == "driver"]
    assert names == [row.name for row in SETTINGS]
    for row in ROWS:
        if row.section == "driver":
            assert row.type == RegType.DWORD
            assert isinstance(row.default, int)
            assert row.low <= row.default <= row.high


def test_defaults_of_the_table_are_within_their_bounds():
    for row in ROWS:
        if isinstance(row.default, int):
            assert row.low <= row.default <= row.high
        assert hasattr(StoredSettings(), row.section)
    assert set(KEYS) == {row.section for row in ROWS}


def test_every_kind_of_setting():
    taken = took(
        rf"""[{DISCOVERY}]
"defaultinitiatorname"="iqn.2026-01.org.example:Mine"
"iSNSServerList"=hex(7):61,00,00,00,62,00,00,00,61,00,00,00,00,00
"ServiceLogFileName"="C:\\log.txt"
"DebugSpewLevel"=dword:ffffffff
"VolumeList"=hex(7):45,00,3a,00,00,00,2f,00,64,00,65,00,76,00,2f,00,78,00,00,00,00,00
[{LIVE}\Services\EventLog\System\MSiSCSI]
"EventMessageFile"=hex(2):61,00,00,00
[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\MSiSNS]
"DHCPRetries"=dword:5
[{LIVE}\Services\msdsm\Parameters]
"PDORemovePeriod"=dword:5
[{LIVE}\Services\MSiSCDSM\PersistentReservation]
"UsePersistentReservation"=dword:1
"PersistentReservationKey"=hex:01,02,03,04,05,06,07,08
"""
        + driver('"MaxConnectionRetries"=dword:fffffffe', "0003").replace("fffffffe", "ffffffff")
    )
    state = taken.state
    assert state.node == Node(name="iqn.2026-01.org.example:mine", fixed=True)
    assert state.isns_servers == ("a", "b")
    assert state.persistent_devices == (
        PersistentDevice(path="E:", kind=DeviceKind.VOLUME),
        PersistentDevice(path="/dev/x", kind=DeviceKind.DEVICE),
    )
    assert state.settings == StoredSettings(
        driver={"MaxConnectionRetries": -1},
        service={"ServiceLogFileName": r"C:\log.txt", "DebugSpewLevel": 0xFFFFFFFF},
        eventlog={"EventMessageFile": "a"},
        isns={"DHCPRetries": 5},
        mpio={"PDORemovePeriod": 5},
        reservation={"UsePersistentReservation": 1, "PersistentReservationKey": "0102030405060708"},
    )
    assert driver_settings(state).initiator_name == "iqn.2026-01.org.example:mine"


def test_kinds_of_devices():
    names = [r"\\?\Volume{1}", r"\\?\mpio#disk", "/mnt/a"]
    listed = "".join(f"{name}\0" for name in names) + "\0"
    data = ",".join(f"{byte:02x}" for byte in listed.encode("utf-16-le"))
    known = PersistentDevice(path="/mnt/a", kind=DeviceKind.VOLUME, identifier="naa.5")
    taken = took(f'[{DISCOVERY}]\n"VolumeList"=hex(7):{data}', State(persistent_devices=(known,)))
    assert [device.kind for device in taken.state.persistent_devices] == ["volume", "device", "volume"]
    assert taken.state.persistent_devices[2] is known


def test_a_setting_is_taken_back():
    state = took(
        driver('"TCPConnectTime"=dword:1\n"TCPDisconnectTime"=dword:2') + f'[{DISCOVERY}]\n"VolumeRetryCount"=dword:3'
    ).state
    taken = took(driver('"TCPConnectTime"=-'), state)
    assert taken.state.settings.driver == {"TCPDisconnectTime": 2}
    assert [(change.before, change.after) for change in taken.changes] == [(1, None)]
    assert took(f"[-{LIVE}\\{CLASS}\\0000]", state).state.settings.driver == {}
    assert took(f"[-{DISCOVERY}]", state).state.settings.service == {}
    everything = replace(state, node=Node(name="iqn.2026-01.a:b", fixed=True), isns_servers=("a",))
    gone = took(r"[-HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft]", everything).state
    assert (gone.node, gone.isns_servers, gone.settings.service) == (Node(), (), {})
    assert gone.settings.driver == state.settings.driver


def test_a_blank_node_name_is_the_hosts():
    named = State(node=Node(name="iqn.2026-01.a:b", fixed=True))
    assert took(f'[{DISCOVERY}]\n"DefaultInitiatorName"=""', named).state.node == Node()


def test_unknown_values_are_kept_replaced_and_removed():
    first = took('[HKEY_CURRENT_USER\\X]\n"A"=dword:1\n"B"=hex(63):01\n[HKLM\\Y]\n@="d"').state
    assert first.settings.foreign == (
        ForeignValue(key=r"HKEY_CURRENT_USER\X", name="A", type=4, data=b"\1\0\0\0"),
        ForeignValue(key=r"HKEY_CURRENT_USER\X", name="B", type=0x63, data=b"\1"),
        ForeignValue(key=r"HKEY_LOCAL_MACHINE\Y", name="", type=1, data=b"d\0\0\0"),
    )
    second = took('[hkey_current_user\\x]\n"a"=dword:2\n"B"=-', first)
    assert [(value.name, value.data[:1]) for value in second.state.settings.foreign] == [("", b"d"), ("a", b"\2")]
    assert [value.name for value in second.unknown] == ["a"]
    third = took('[HKEY_LOCAL_MACHINE\\Y\\Z]\n"A"=dword:1\n[-HKEY_LOCAL_MACHINE\\Y]', second.state)
    assert [value.name for value in third.state.settings.foreign] == ["a"]


def test_what_windows_encrypted_is_told_and_not_kept():
    text = f"""[{DISCOVERY}]
"InitiatorCHAPSecret"=hex:01,02
"GroupKey"=hex:
[{DISCOVERY}\\Static Targets]
"iqn.2026-01.a:b"=hex:01
[{LIVE}\\{CLASS}\\0000\\PersistentTargets]
@=""
[{LIVE}\\{CLASS}\\0000\\PersistentTargetSecrets\\iqn.2026-01.a:b#0]
"Secret"=hex:01
"Old"=-
"""
    taken = took(text + driver('"TCPConnectTime"=dword:1'))
    assert [name.rpartition("\\")[2] for name in taken.encrypted] == [
        "InitiatorCHAPSecret",
        "iqn.2026-01.a:b",
        "Secret",
    ]
    assert taken.state.settings.foreign == ()
    assert taken.state.secrets == State().secrets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (driver('"TCPConnectTime"=dword:0'), "line 3: TCPConnectTime is 1 to 4294967295 s, not 0"),
        (driver('"ErrorRecoveryLevel"=dword:3'), "line 3: ErrorRecoveryLevel is 0 to 2, not 3"),
        (driver('"MaxConnectionRetries"=dword:fffffffe'), "line 3: MaxConnectionRetries is -1 to 4294967295, not -2"),
        (driver('"TCPConnectTime"="15"'), "line 3: TCPConnectTime is REG_DWORD, not REG_SZ"),
        (driver('"TCPConnectTime"=hex(4):01'), "line 3: TCPConnectTime: 1 bytes are no REG_DWORD"),
        (driver('"FirstBurstLength"=dword:80000'), "FirstBurstLength is above MaxBurstLength"),
        (f'[{DISCOVERY}]\n"DefaultInitiatorName"="disk"', "line 3: DefaultInitiatorName: "),
        (f'[{DISCOVERY}]\n"ServiceLogFileName"=hex(1):61', "line 3: ServiceLogFileName: 1 bytes are no REG_SZ"),
        (f'[{DISCOVERY}]\n"ServiceLogFileName"=hex(1):00,d8,00,00', "line 3: ServiceLogFileName has half a character"),
        (f'[{DISCOVERY}]\n"iSNSServerList"=hex(7):61', "line 3: iSNSServerList: 1 bytes are no REG_MULTI_SZ"),
        (f'[{DISCOVERY}]\n"DefaultSecurityBitmap"=dword:80', "line 3: DefaultSecurityBitmap is 0 to 127, not 128"),
        (
            f'[{LIVE}\\Services\\MSiSCDSM\\PersistentReservation]\n"PersistentReservationKey"=hex:01',
            "line 3: PersistentReservationKey has 8 bytes, not 1",
        ),
        (
            driver('"TCPConnectTime"=dword:1') + driver('"TCPConnectTime"=dword:1', "0002"),
            "it has driver parameters of the instances 0000, 0002: say which is meant",
        ),
    ],
)
def test_what_is_wrong_is_told(text, message):
    with pytest.raises(RegError) as caught:
        took(text)
    assert str(caught.value).startswith(message)


def test_half_a_character_in_a_name_is_told():
    data = f"{VERSION_5}\n[HKLM\\X]\n".encode("utf-16-le") + '"\ud800"=dword:1\n'.encode("utf-16-le", "surrogatepass")
    with pytest.raises(RegError, match="line 3: half a character in a name"):
        take(read_reg(b"\xff\xfe" + data), State())


def test_which_instance_is_the_driver():
    two = driver('"TCPConnectTime"=dword:1') + driver('"TCPConnectTime"=dword:2', "0002")
    chosen = took(two, instance="0002")
    assert chosen.state.settings.driver == {"TCPConnectTime": 2}
    assert [value.key for value in chosen.installation] == [f"{LIVE}\\{CLASS}\\0000\\Parameters"]
    said = f'[{LIVE}\\{CLASS}\\0002]\n"MatchingDeviceId"="ROOT\\\\iSCSIPrt"\n"MatchingDeviceId"=dword:1\n'
    assert took(two + said).state.settings.driver == {"TCPConnectTime": 2}
    other = driver('"BusType"=dword:1', "0001") + driver('"TCPConnectTime"=dword:2', "0002")
    assert took(other).state.settings.driver == {"TCPConnectTime": 2}


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (r"HKLM\System\ControlSet002\Services", r"SYSTEM\CurrentControlSet\Services"),
        (r"HKEY_LOCAL_MACHINE\PE_Sys\CurrentControlSet", r"SYSTEM\CurrentControlSet"),
        (r"hkey_local_machine\pe_soft\Microsoft\X", r"SOFTWARE\Microsoft\X"),
        (r"HKEY_LOCAL_MACHINE\HARDWARE\X", r"HARDWARE\X"),
        (r"HKEY_USERS\SYSTEM\ControlSet001", None),
    ],
)
def test_paths(path, plain):
    assert plain_path(path) == plain


def test_what_is_given_is_what_was_taken():
    state = take(read_reg(APPENDIX_E.encode()), State()).state
    mounted = write_reg(give(state, mounted=True)).decode("utf-16").replace("\r\n", "\n")
    lines = [line for line in APPENDIX_E.replace("Srb", "SRB").splitlines() if line and line != '@=""']
    assert sorted(set(lines) - set(mounted.splitlines())) == [
        rf"[HKEY_LOCAL_MACHINE\PE_Sys\ControlSet001\{CLASS}\0000\PersistentTargets]"
    ]
    other = write_reg(give(state, instance="0007")).decode("utf-16")
    assert rf"[{LIVE}\{CLASS}\0007\Parameters]" in other
    assert list(give(State())) == []
    paths = ["HKCU", r"HKEY_LOCAL_MACHINE\HARDWARE"]
    foreign = tuple(ForeignValue(key=path, name="a", type=0, data=b"") for path in paths)
    assert [key.path for key in give(State(settings=StoredSettings(foreign=foreign)), mounted=True)] == paths


def test_defaults_are_given_when_asked_for():
    (key, *_) = give(State(), defaults=True)
    assert len(key.values) == len(SETTINGS)
    taken = take(read_reg(write_reg(give(State(), defaults=True), REGEDIT4)), State())
    assert driver_settings(taken.state) == Settings()
    with_default = [row for row in ROWS if row.default is not None]
    assert len(taken.changes) == len(with_default)
    assert all(change.after == change.row.default for change in taken.changes)


def values_of(row):
    """Anything that a setting may be."""
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    match row.type:
        case RegType.DWORD:
            return st.integers(row.low, row.high if row.low >= 0 else (1 << 31) - 1)
        case RegType.BINARY:
            return st.binary(min_size=8, max_size=8).map(bytes.hex)
        case RegType.MULTI_SZ:
            return st.lists(text, unique=True, min_size=1).map(tuple)
        case _:
            pass
    return st.just("iqn.2026-01.org.example:x") if row.home is Home.NODE_NAME else text


@given(st.data())
def test_every_setting_goes_out_and_comes_back(data):
    rows = data.draw(st.lists(st.sampled_from([row for row in ROWS if row.home is not Home.ENCRYPTED]), unique=True))
    state = State()
    for row in rows:
        value = data.draw(values_of(row))
        if row.home is Home.SETTINGS:
            section = {**getattr(state.settings, row.section), row.name: value}
            state = replace(state, settings=replace(state.settings, **{row.section: section}))
        elif row.home is Home.NODE_NAME:
            state = replace(state, node=Node(name=value, fixed=True))
        elif row.home is Home.ISNS_SERVERS:
            state = replace(state, isns_servers=value)
        else:
            state = replace(state, persistent_devices=tuple(PersistentDevice(path=path) for path in value))
    try:
        driver_settings(state)
        device_settings(state.settings)
    except ValueError:
        return
    taken = take(read_reg(write_reg(give(state, mounted=data.draw(st.booleans())))), State())
    for row in ROWS:
        assert stored(taken.state, row) == stored(state, row)


# The commands.


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ISCSI_INITIATOR_STORE", str(tmp_path / "store"))

    def invoke(*arguments, **env):
        return CliRunner().invoke(main, ["settings", *map(str, arguments)], env=env)

    return invoke


@pytest.fixture
def appendix(tmp_path):
    path = tmp_path / "e.reg"
    path.write_bytes(b"\xff\xfe" + APPENDIX_E.replace("\n", "\r\n").encode("utf-16-le"))
    return path


def test_import_says_what_it_did(run, appendix, tmp_path):
    dry = run("import", appendix, "--dry-run")
    assert (dry.exit_code, (tmp_path / "store").exists()) == (0, False)
    result = run("import", appendix)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == dry.stdout
    lines = result.stdout.splitlines()
    assert "driver DelayBetweenReconnect: 1 (default) → 5 s" in lines
    assert lines[-2:] == [
        "kept: 2 values that concern the installation of Windows alone",
        "21 changed, 0 as they were; they count from the next start of the service on",
    ]
    again = run("import", appendix)
    assert again.stdout.splitlines()[-1].startswith("0 changed, 21 as they were")
    assert driver_settings(read_state(tmp_path / "store")) == Settings.winpe()


def test_import_tells_what_it_keeps_and_what_not(run, tmp_path):
    file = tmp_path / "x.reg"
    file.write_text(
        f'{VERSION_5}\n[HKCU\\\x1bX]\n@=dword:1\n[{DISCOVERY}]\n"GroupKey"=hex:01\n"iSNSServerList"=hex(7):61,00,00,00\n'
    )
    result = run("import", file)
    assert result.stdout.splitlines()[:3] == [
        "service iSNSServerList: - (default) → a",
        r"kept, unknown: HKCU\\x1bX\@ (REG_DWORD)",
        rf"not taken, only Windows can decrypt it: {DISCOVERY}\GroupKey",
    ]
    listed = json.loads(run("import", file, "--json").stdout)
    assert listed["settings"] == [{"section": "service", "name": "iSNSServerList", "before": ["a"], "after": ["a"]}]
    assert listed["unknown"] == [{"key": "HKCU\\\x1bX", "name": "", "type": "REG_DWORD", "data": "01000000"}]
    assert listed["encrypted"] == [rf"{DISCOVERY}\GroupKey"]
    assert listed["installation"] == []


def test_import_refuses_in_one_line_and_changes_nothing(run, tmp_path, appendix, monkeypatch):
    run("import", appendix)
    before = (tmp_path / "store" / "store.json").read_bytes()
    file = tmp_path / "bad.reg"
    for text in ("", f"{VERSION_5}\n" + driver('"TCPDisconnectTime"=dword:5\n"TCPConnectTime"=dword:0')):
        file.write_text(text)
        result = run("import", file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.fullmatch(rf"iscsi-initiator: {re.escape(str(file))}: .*\n", result.stderr)
    monkeypatch.setattr(registry_commands, "SIZE_LIMIT", 10)
    assert "more than 10 bytes" in run("import", appendix).stderr
    assert (tmp_path / "store" / "store.json").read_bytes() == before


def test_a_store_that_does_not_open_is_told(run, tmp_path, appendix):
    with Store(tmp_path / "store"):
        locked = run("import", appendix)
    assert (locked.exit_code, locked.stdout) == (1, "")
    assert f"process {os.getpid()} has the store open" in locked.stderr
    (tmp_path / "store" / "store.json").write_text("x")
    for arguments in (("show",), ("export", "-"), ("import", appendix)):
        result = run(*arguments)
        assert result.exit_code == 1
        assert re.fullmatch(r"iscsi-initiator: .*store\.json: no JSON: .*\n", result.stderr)


def test_usage(run, appendix, tmp_path):
    for arguments in (
        ("import", tmp_path / "none.reg"),
        ("import", appendix, "--instance", "1"),
        ("export",),
        ("show", "x"),
        (),
    ):
        assert run(*arguments).exit_code == 2


def test_export_writes_what_import_reads(run, tmp_path, appendix):
    run("import", appendix)
    file = tmp_path / "out.reg"
    assert run("export", file, "--mounted").exit_code == 0
    assert file.read_bytes().startswith(b"\xff\xfe")
    taken = take(read_reg(file.read_bytes()), State())
    assert taken.state.settings == read_state(tmp_path / "store").settings
    assert run("export", "-", "--ansi", "--instance", "0003").stdout_bytes.startswith(b"REGEDIT4\r\n")
    assert run("export", tmp_path / "none" / "x").exit_code == 1


def test_show(run, appendix, monkeypatch):
    lines = [line.split("\t") for line in run("show").stdout.splitlines()]
    assert len(lines) == len([row for row in ROWS if row.home is not Home.ENCRYPTED])
    assert ["driver", "DelayBetweenReconnect", "REG_DWORD", "s", "1", "1", "default"] in lines
    run("import", appendix)
    result = run("show", "--set")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["driver", "DelayBetweenReconnect", "REG_DWORD", "s", "5", "1", "set"] in lines
    assert len(lines) == 21
    assert result.stderr == "iscsi-initiator: 2 values besides that no table knows\n"
    shown = json.loads(run("show", "--json").stdout)
    assert {each["name"]: each for each in shown["settings"]}["DebugSpewLevel"] == {
        "section": "isns",
        "name": "DebugSpewLevel",
        "type": "REG_DWORD",
        "unit": "bits",
        "value": 0,
        "default": 0,
        "set": False,
    }
    assert len(shown["unknown"]) == 2
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    table = run("show", COLUMNS="200", NO_COLOR="1").stdout
    assert re.search(r"^ driver +TCPConnectTime +REG_DWORD +s +15 +15 +set", table, re.MULTILINE)
    assert re.search(r"^ isns +DebugSpewLevel +REG_DWORD +bits +0x00000000", table, re.MULTILINE)


def test_settings_are_described():
    """docs/settings.md has each setting with its type, and each section."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert re.search(rf"^\| `{row.name}` \| REG_{row.type.name} \| {row.unit or '-'} \|", text, re.MULTILINE), row
    for key in KEYS.values():
        assert key.replace("{instance}", "NNNN") in text
