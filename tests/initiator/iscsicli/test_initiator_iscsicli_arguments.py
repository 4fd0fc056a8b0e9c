"""Arguments of every command: what is missing, surplus, malformed, out of range or unknown gets the guide's code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.initiator.iscsicli.arguments import ASKED, GOOD, MAPPINGS, SECRET, Bench, good, places

from iscsi_initiator.iscsicli import parameters as kinds
from iscsi_initiator.iscsicli.grammar import make_request
from iscsi_initiator.iscsicli.places import MAPPING
from iscsi_initiator.iscsicli.run import HELP
from iscsi_initiator.iscsicli.table import COMMANDS, GROUPS
from iscsi_initiator.service import api
from iscsi_initiator.service.api.wire import OPERATIONS
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LunMapping, Portal

ROWS = [each for group in GROUPS.values() for each in group]
NUMBERS = (kinds.NUMBER, kinds.FLAGS, kinds.DIGEST, kinds.LUN, kinds.LUN_STRUCTURE)
rows = st.sampled_from(ROWS)
words = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    [
        "*",
        "?",
        "@",
        "@/nowhere",
        "T",
        "0",
        "0x",
        "0x10",
        "-1",
        "1" * 80,
        "\0",
        "\udc80",
        "/?",
        "--json",
        *GOOD.values(),
        *MAPPINGS,
    ]
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_good_arguments_are_taken(row):
    """Each place filled, in any case of the name: the request that the row names."""
    for name in (row.name, row.name.upper(), row.name.lower(), *row.aliases):
        assert type(Bench().request(name, *good(row))) is row.request


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_star_is_taken_where_there_is_a_default(row):
    """A star in every place that has a default makes a request; in any other it makes none by itself."""
    stars = ["*" if place.star is not None else GOOD[place.field] for place in row.parameters]
    assert type(Bench().request(row.name, *stars)) is row.request


def test_every_operation_has_a_command():
    """All that may be asked can be asked here, but for what `iscsi-initiator` does and what the guide has no command for."""
    assert {row.request for row in ROWS} == set(OPERATIONS) - {
        api.ServiceStatus,
        api.ImportSettings,
        api.SetLoadBalancePolicy,
        api.StopService,
        api.DeviceList,
        api.SetDevicePolicy,
        api.Attach,
        api.Detach,
        api.ListAttached,
        api.ListClasses,
        api.Query,
        api.Invoke,
        api.Watch,
        api.Metrics,
        api.StartTrace,
        api.StopTrace,
        api.QueryTrace,
    }


def test_names_are_told_apart():
    """No two commands have a name in common."""
    assert len(COMMANDS) == sum(1 + len(row.aliases) for row in ROWS)


@given(rows.filter(lambda row: row.required), st.data())
def test_missing_arguments(row, data):
    """Too few: MISSING_PARAMETER, with the name of the first that is missing."""
    arguments = good(row)
    needed = len(arguments) if row.takes_mappings else row.required
    count = data.draw(st.integers(0, needed - 1))
    bench = Bench()
    assert bench.refusal(row.name, *arguments[:count]) == (2, "MISSING_PARAMETER")
    assert f"<{places(row)[count].name}>" in bench.err[0]


@given(rows, st.lists(words, min_size=1, max_size=5))
def test_surplus_arguments(row, surplus):
    """Too many: INVALID_PARAMETER, and what is too many is not shown."""
    surplus = [word for word in surplus if word not in HELP | {"--json"}] or ["surplus"]
    bench = Bench()
    assert bench.refusal(row.name, *good(row), *surplus) == (2, "INVALID_PARAMETER")
    assert f"not {len(good(row)) + len(surplus)};" in bench.err[0]


numberless = st.text(max_size=10).filter(lambda text: text != "*" and not (text[:1].isdecimal() and text[:1].isascii()))
not_a_number = numberless | st.sampled_from(
    ["0x", "0xG", "10h", "1.0", "1e3", "1_000", "-1", "+1", " 1", "1 ", "٣", "FF"]
)


@given(rows.filter(lambda row: any(place.kind in NUMBERS for place in places(row))), st.data())
def test_malformed_numbers(row, data):
    """What is no number where one has to be: INVALID_PARAMETER, with the name of the place and without what was given."""
    arguments = good(row)
    numbers = [index for index, place in enumerate(places(row)) if place.kind in NUMBERS]
    index = data.draw(st.sampled_from(numbers))
    arguments[index] = data.draw(not_a_number)
    bench = Bench()
    assert bench.refusal(row.name, *arguments) == (2, "INVALID_PARAMETER")
    assert f"<{places(row)[index].name}> is " in bench.err[0]


LOGIN = "LOGIN_USER_INFO_BAD"
RANGES = {
    "port": (1, 65535, "INVALID_PARAMETER"),
    "initiator_port": (0, 0xFFFFFFFF, "INVALID_PORT_NUMBER"),
    "security_flags": (0, 0x7F, "INVALID_PARAMETER"),
    "login_flags": (0, 3, LOGIN),
    "maximum_connections": (1, 65535, LOGIN),
    "default_time2wait": (0, 3600, LOGIN),
    "default_time2retain": (0, 3600, LOGIN),
    "auth_type": (0, 2, "INVALID_LOGON_AUTH_TYPE"),
    "evpd_cmddt": (0, 3, "INVALID_PARAMETER"),
    "page_code": (0, 255, "INVALID_PARAMETER"),
    "length": (0, 8192, "INVALID_PARAMETER"),
    "id_type": (0, 255, "IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED"),
}
"""Bounds of the numbers and the code outside. target_flags has a hole, LUNs and mappings have their own tests."""


def test_ranges_are_complete():
    """Each place with a number has its bounds here."""
    own = {"target_flags", "lun", "mapping_count", "header_digest", "data_digest", *(place.field for place in MAPPING)}
    fields = {place.field for row in ROWS for place in row.parameters if place.kind in NUMBERS}
    assert fields - own == set(RANGES)


@given(rows.filter(lambda row: any(place.field in RANGES for place in row.parameters)), st.data())
def test_numbers_out_of_range(row, data):
    """Numbers are taken inside their bounds, in either notation, and get their code outside."""
    arguments = good(row)
    index = data.draw(st.sampled_from([i for i, place in enumerate(row.parameters) if place.field in RANGES]))
    low, high, code = RANGES[row.parameters[index].field]
    value = data.draw(st.sampled_from([low, high, high + 1, max(low - 1, 0), 1 << 64]) | st.integers(0, 1 << 70))
    arguments[index] = f"{value:#x}" if data.draw(st.booleans()) else str(value)
    if low <= value <= high:
        assert type(Bench().request(row.name, *arguments)) is row.request
    else:
        assert Bench().refusal(row.name, *arguments) == (1, code)


@given(words.filter(lambda word: word.lower() not in COMMANDS and word.lower() not in HELP | {"help"}), st.lists(words))
def test_unknown_commands(name, arguments):
    """A name that no command has: REQUEST_NOT_SUPPORTED."""
    arguments = [word for word in arguments if word != "--json"]
    assert Bench().refusal(name, *arguments) == (2, "REQUEST_NOT_SUPPORTED")


@given(rows, st.lists(words, max_size=30), st.data())
def test_arguments_at_random(row, arguments, data):
    """Whatever stands there: an exit status, at most one line, no secret that was in its place, no traceback."""
    arguments = [
        data.draw(st.sampled_from([word, good_one])) if index < len(good(row)) else word
        for index, (word, good_one) in enumerate(zip(arguments, [*good(row), *[""] * 30], strict=False))
    ]
    bench = Bench()
    status = bench.run(row.name, *arguments)
    if status == 0:
        assert bench.err == []
        assert arguments[:1] in ([each] for each in HELP)
        return
    (line,) = bench.err
    assert line.isprintable()
    assert SECRET not in line
    assert ASKED not in line
    assert StatusCode(int(line.split(" ")[2], 16))
    assert bench.service.taken or status in (1, 2)


# What is easily missed


def login(*changes: tuple[str, str], mappings: list[str] | None = None) -> list[str]:
    """The arguments of a login: stars, with changes by field."""
    row = COMMANDS["logintarget"]
    values = {"target_name": GOOD["target_name"], "report_to_pnp": "T", "mapping_count": "0", **dict(changes)}
    mappings = mappings or []
    if mappings:
        values["mapping_count"] = str(len(mappings) // 4)
    return [*(values.get(place.field, "*") for place in row.parameters), *mappings]


@pytest.mark.parametrize("kind", [api.LoginTarget, api.PersistentLoginTarget])
def test_login_by_stars_alone(kind):
    """Stars leave everything to whoever chooses: no portal, no options, the node name as user, no flags."""
    request = Bench().request(kind.__name__, *login())
    assert request == kind(target_name=GOOD["target_name"])
    assert request.options.user_name is None
    assert (request.portal, request.initiator, request.initiator_port, request.security_flags) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("text", "value"), [("T", True), ("t", True), ("F", False), ("True", False), ("*", False), ("1", False)]
)
def test_t_alone_is_yes(text, value):
    """ReportToPNP and Persist: T or t; anything else is no."""
    assert Bench().request("LoginTarget", *login(("report_to_pnp", text))).report_to_pnp is value
    assert Bench().request("GroupKey", "key", text).persist is value


@pytest.mark.parametrize(
    ("text", "value"), [("*", None), ("0", False), ("0x0", False), ("1", True), ("7", True), ("0xff", True)]
)
def test_digests(text, value):
    """Any number but 0 asks for a digest; a star leaves it to the driver."""
    options = Bench().request("LoginTarget", *login(("header_digest", text), ("data_digest", text))).options
    assert (options.header_digest, options.data_digest) == (value, value)


@pytest.mark.parametrize(
    ("address", "port", "portal"),
    [
        ("*", "*", None),
        ("192.0.2.10", "*", Portal(address="192.0.2.10", port=3260)),
        ("2001:db8::1", "0xCBC", Portal(address="2001:db8::1", port=3260)),
        ("storage.example.org", "861", Portal(address="storage.example.org", port=861)),
    ],
)
def test_portals(address, port, portal):
    """Both stars leave the portal to discovery; one for the port is 3260."""
    assert Bench().request("LoginTarget", *login(("address", address), ("port", port))).portal == portal


def test_port_without_address():
    """A port of no address is refused before anything is asked."""
    assert Bench().refusal("LoginTarget", *login(("port", "3260"))) == (2, "INVALID_PARAMETER")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_star_is_refused_where_there_is_no_default(row):
    """A star is no name, address, path or secret; where T stands it is no T."""
    for index, place in enumerate(places(row)):
        if place.star is None and place.kind is not kinds.TRUTH:
            bench, arguments = Bench(), good(row)
            arguments[index] = "*"
            assert bench.refusal(row.name, *arguments) == (2, "INVALID_PARAMETER")
            assert bench.err[0].endswith(f"<{place.name}> has no default")


def test_portal_to_add_has_an_address():
    """There is no default for the portal that is added."""
    assert Bench().refusal("QAddTargetPortal", "") == (1, "INVALID_PARAMETER")
    assert Bench().request("QAddTargetPortal", "192.0.2.10").portal == Portal(address="192.0.2.10")


def test_mappings_of_several_luns():
    """Each set of four becomes a mapping, in the order given."""
    request = Bench().request("LoginTarget", *login(mappings=[*MAPPINGS, "0x4001000000000000", "0x0", "0x1", "0x2"]))
    assert request.mappings == (
        LunMapping(target_lun=0, os_bus=0, os_target=1, os_lun=0),
        LunMapping(target_lun=1 << 48, os_bus=0, os_target=1, os_lun=1),
        LunMapping(target_lun=0x4001 << 48, os_bus=0, os_target=1, os_lun=2),
    )


@pytest.mark.parametrize(
    ("mappings", "status", "code"),
    [
        (["0x0000000000000000", "0", "1", "0", "0x0001000000000000", "1", "1", "1"], 1, "INVALID_TARGET_MAPPING"),
        (["0x0000000000000000", "0", "1", "0", "0x0001000000000000", "0", "2", "1"], 1, "INVALID_TARGET_MAPPING"),
        (["0x0000000000000000", "0", "1", "0", "0x0001000000000000", "0", "1", "0"], 1, "INVALID_TARGET_MAPPING"),
        (["0x0000000000000000", "0", "1", "0", "0x0000000000000000", "0", "1", "1"], 1, "INVALID_TARGET_MAPPING"),
        (["0x0000000000000000", "0", "1", "0"] * 2, 1, "TARGET_MAPPING_EXISTS"),
        (["0x0000000000000000", "0x100000000", "1", "0"], 1, "TARGET_MAPPING_OUT_OF_RANGE"),
        (["0x0000000000000000", "0", "1", "0x100000000"], 1, "TARGET_MAPPING_OUT_OF_RANGE"),
        (["0x0000000000000000", "0", "256", "0"], 1, "INVALID_TARGET_ID"),
        (["0x0", "0", "1", "0"], 2, "INVALID_PARAMETER"),
        (["1", "0", "1", "0"], 2, "INVALID_PARAMETER"),
        (["*", "0", "1", "0"], 2, "INVALID_PARAMETER"),
        (["0x00000000000000000", "0", "1", "0"], 2, "INVALID_PARAMETER"),
    ],
)
@pytest.mark.parametrize("name", ["LoginTarget", "PersistentLoginTarget"])
def test_mappings_that_cannot_be(name, mappings, status, code):
    """All of a command have one bus and one target, and each its own LUNs; a target LUN has sixteen digits."""
    assert Bench().refusal(name, *login(mappings=mappings)) == (status, code)


@pytest.mark.parametrize("count", ["1", "2", "0x3", "9" * 60])
def test_mappings_that_are_missing(count):
    """As many sets of four as were promised, however many that is."""
    bench = Bench()
    missing = 4 * int(count, 0) - 3
    more = f" and {missing - 1} more" if missing > 1 else ""
    arguments = [*login(("mapping_count", count)), "0x0000000000000000", "0", "1"]
    assert bench.refusal("LoginTarget", *arguments) == (2, "MISSING_PARAMETER")
    assert f"<OS LUN>{more} missing" in bench.err[0]


def test_no_mapping_is_a_count_of_nothing():
    """A count of 0 or a star, and nothing behind it."""
    assert Bench().request("LoginTarget", *login(("mapping_count", "*"))).mappings == ()
    assert Bench().refusal("LoginTarget", *login(), *MAPPINGS[:4]) == (2, "INVALID_PARAMETER")
    assert Bench().refusal("LoginTarget", *login()[:-1]) == (2, "MISSING_PARAMETER")


@pytest.mark.parametrize(
    ("text", "lun"),
    [
        ("0", 0),
        ("1", 1 << 48),
        ("0xff", 0xFF << 48),
        ("256", 0x4100 << 48),
        ("0x0001000000000000", 1 << 48),
        ("0xC101000000000000", 0xC101 << 48),
    ],
)
def test_luns(text, lun):
    """A LUN is its number, or with sixteen digits its eight bytes."""
    assert Bench().request("ReadCapacity", "1-1", text).lun == lun


@pytest.mark.parametrize("text", ["1099511627776", "*", "", "0x00000000000000001", "0x000100000000000"])
def test_what_is_no_lun(text):
    """A number that no LUN structure holds, and no number at all."""
    assert Bench().refusal("ReadCapacity", "1-1", text) == (2, "INVALID_PARAMETER")


def test_inquiry_has_defaults():
    """Length is 0xFF unless told, and 8 KB at most."""
    assert Bench().request("ScsiInquiry", "1-1", "0", "0", "0").length == 0xFF
    assert Bench().request("ScsiInquiry", "1-1", "0", "*", "*", "*").length == 0xFF
    assert Bench().request("ScsiInquiry", "1-1", "0", "1", "0x83", "8192").length == 8192
    assert Bench().refusal("ScsiInquiry", "1-1", "0", "1", "0x83", "0x2001") == (1, "INVALID_PARAMETER")


QUICK = {
    "QLoginTarget": [GOOD["target_name"]],
    "QAddTargetPortal": ["192.0.2.10"],
    "QAddConnection": ["1-1", "*", "192.0.2.10"],
}


@pytest.mark.parametrize("name", QUICK)
def test_quick_forms_and_chap(name):
    """Without user and password no CHAP, with both CHAP one way, with a user alone nothing at all."""
    assert Bench().request(name, *QUICK[name]).options == api.LoginOptions()
    options = Bench().request(name, *QUICK[name], "user", SECRET).options
    assert options == api.LoginOptions(user_name="user", password=SECRET.encode(), auth_type=1)
    options = Bench().request(name, *QUICK[name], "*", "*").options
    assert options == api.LoginOptions(auth_type=1)
    assert Bench().refusal(name, *QUICK[name], "user") == (2, "MISSING_PARAMETER")


def test_quick_forms_have_defaults():
    """The quick form of a command asks what the long one asks, with port 3260, devices reported and targets kept."""
    assert Bench().request("QLoginTarget", GOOD["target_name"]) == api.LoginTarget(target_name=GOOD["target_name"])
    assert Bench().request("QAddTarget", GOOD["target_name"], "192.0.2.10") == api.AddTarget(
        target_name=GOOD["target_name"], portal=Portal(address="192.0.2.10", port=3260), persist=True
    )


def test_chap_secret_in_each_form():
    """Text, hexadecimal with 0x in front, asked for; a star empties it. Other secrets are text even with 0x."""
    assert Bench().request("CHAPSecret", "text").secret == b"text"
    assert Bench().request("CHAPSecret", "0x00ff").secret == b"\0\xff"
    assert Bench().request("CHAPSecret", "0X00FF").secret == b"\0\xff"
    assert Bench().request("CHAPSecret", "?").secret == ASKED.encode()
    assert Bench().request("CHAPSecret", "*").secret is None
    assert Bench().request("GroupKey", "0x00ff", "T").key == b"0x00ff"
    assert Bench().request("GroupKey", "\udcff", "T").key == b"\xff"


@pytest.mark.parametrize("secret", ["0xf", "0xfg", "0x\udcff"])
def test_chap_secret_that_is_no_hexadecimal(secret):
    """Half a byte, no digit: INVALID_CHAP_SECRET, and the secret is not shown."""
    bench = Bench()
    assert bench.refusal("CHAPSecret", secret) == (2, "INVALID_CHAP_SECRET")
    assert secret not in bench.err[0]


@pytest.mark.parametrize("secret", ["", "0x", "x" * 1025])
def test_chap_secret_that_breaks_the_rules(secret):
    """None at all and too long a one: INVALID_CHAP_SECRET."""
    assert Bench().refusal("CHAPSecret", secret) == (1, "INVALID_CHAP_SECRET")


def test_node_name_is_verified():
    """The name is checked before the service is asked; a star makes it follow the host again."""
    assert Bench().refusal("NodeName", "host_1") == (1, "INVALID_ISCSI_NAME")
    assert Bench().request("NodeName", "IQN.2026-01.org.example:Host").node_name == "iqn.2026-01.org.example:host"
    assert Bench().request("NodeName", "*").node_name is None


def test_one_of_several_persistent_logins():
    """The name of a persistent login may have its number."""
    request = Bench().request("RemovePersistentTarget", "*", GOOD["target_name"] + "#1", "*", "*", "*")
    assert request == api.RemovePersistentTarget(target_name=GOOD["target_name"] + "#1")
    assert Bench().refusal("LoginTarget", *login(("target_name", GOOD["target_name"] + "#1"))) == (
        1,
        "INVALID_ISCSI_NAME",
    )


@pytest.mark.parametrize(
    ("volume", "device", "arguments"),
    [
        ("BindPersistentVolumes", "BindPersistentDevices", []),
        ("AddPersistentVolume", "AddPersistentDevice", ["/mnt/disk"]),
        ("RemovePersistentVolume", "RemovePersistentDevice", ["/mnt/disk"]),
        ("ClearPersistentVolumes", "ClearPersistentDevices", []),
        ("ReportPersistentVolumes", "ReportPersistentDevices", []),
    ],
)
def test_volumes_and_devices_are_one(volume, device, arguments):
    """Both names of a command ask the same."""
    assert Bench().request(volume, *arguments) == Bench().request(device, *arguments)


def test_session_ids_as_others_print_them():
    """With 0x in front of both halves, and in capitals."""
    assert Bench().request("LogoutTarget", "0xFFFF0001-0x2").session_id == "ffff0001-2"
    assert Bench().refusal("LogoutTarget", "1") == (1, "INVALID_SESSION_ID")
    assert Bench().refusal("RemoveConnection", "1-1", "1") == (1, "INVALID_CONNECTION_ID")


def test_nobody_is_asked_in_vain():
    """A secret is asked for when all else is well."""
    bench = Bench()
    row = COMMANDS["pskey"]
    arguments = ["?" if place.kind.secret else GOOD[place.field] for place in row.parameters]
    assert bench.request("PSKey", *arguments).key == ASKED.encode()
    asked: list[str] = []

    def ask(text: str, name: str) -> bytes:
        asked.append(name)
        return text.encode()

    for wrong, error in (("none", kinds.Usage), ("0x80", Refused)):
        arguments[2] = wrong
        with pytest.raises(error):
            make_request(row, arguments, ask)
    assert asked == []


LOGIN_FORM = (
    "Login Flags, Header Digest, Data Digest, Max Connections, DefaultTime2Wait, DefaultTime2Retain, "
    "Username, Password, AuthType"
)
FORMS = {
    "AddTarget": f"TargetName, TargetAlias, TargetPortalAddress, TargetPortalSocket, Target Flags, Persist, {LOGIN_FORM}, "
    "Mapping Count, Target Lun, OS Bus, OS Target, OS LUN",
    "QAddTarget": "TargetName, TargetPortalAddress",
    "RemoveTarget": "TargetName",
    "AddTargetPortal": "TargetPortalAddress, TargetPortalSocket, Initiator Instance Name, Initiator Port Number, "
    f"Security Flags, {LOGIN_FORM}",
    "QAddTargetPortal": "TargetPortalAddress, [CHAP Username], [CHAP Password]",
    "RemoveTargetPortal": "TargetPortalAddress, TargetPortalSocket, Initiator Name, Initiator Port Number",
    "RefreshTargetPortal": "TargetPortalAddress, TargetPortalSocket, Initiator Name, Initiator Port Number",
    "ListTargetPortals": "",
    "AddiSNSServer": "iSNS Server Address",
    "RemoveiSNSServer": "iSNS Server Address",
    "RefreshiSNSServer": "iSNS Server Address",
    "ListiSNSServers": "",
    "TargetInfo": "TargetName, [Discovery Mechanism]",
    "LoginTarget": "TargetName, ReportToPNP, TargetPortalAddress, TargetPortalSocket, Initiator Instance Name, Port Number, "
    f"Security Flags, {LOGIN_FORM}, Key, Mapping Count, Target Lun, OS Bus, OS Target, OS LUN",
    "QLoginTarget": "TargetName, [CHAP Username], [CHAP Password]",
    "LogoutTarget": "SessionId",
    "PersistentLoginTarget": "TargetName, ReportToPNP, TargetPortalAddress, TargetPortalSocket, Initiator Instance Name, "
    f"Port Number, Security Flags, {LOGIN_FORM}, Key, Mapping Count, Target Lun, OS Bus, OS Target, OS LUN",
    "ListPersistentTargets": "",
    "RemovePersistentTarget": "Initiator Name, TargetName, Initiator Port Number, Target Portal Address, "
    "Target Portal Socket",
    "AddConnection": "SessionId, Initiator Instance Name, Initiator Port Number, Target Portal Address, "
    f"Target Portal Socket, Security Flags, {LOGIN_FORM}, Key",
    "QAddConnection": "SessionId, Initiator Instance Name, Target Portal Address, [CHAP Username], [CHAP Password]",
    "RemoveConnection": "SessionId, ConnectionId",
    "ScsiInquiry": "SessionId, LUN, EvpdCmddt, PageCode, [Length]",
    "ReadCapacity": "SessionId, LUN",
    "ReportLUNs": "SessionId",
    "ReportTargetMappings": "",
    "TunnelAddr": "Initiator Name, Initiator Port, Destination Address, Tunnel Address, Persist",
    "GroupKey": "Key, Persist",
    "PSKey": "Initiator Name, Initiator Port, Security Flags, Id Type, Id, Key, Persist",
    "BindPersistentVolumes": "",
    "BindPersistentDevices": "",
    "ReportPersistentDevices": "",
    "AddPersistentDevice": "Device or Volume Path",
    "RemovePersistentDevice": "Device or Volume Path",
    "ClearPersistentDevices": "",
    "ListInitiators": "",
    "NodeName": "Node Name",
    "SessionList": "",
    "CHAPSecret": "CHAP secret",
    "VersionInfo": "",
}
"""The commands of Appendix C as the guide gives them, typed by hand; square brackets are its own."""


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_the_guides(name):
    """The same arguments in the same order, and those that may be left out."""
    row = COMMANDS[name.lower()]
    shown = [place.usage for place in (*row.parameters, *(MAPPING if row.takes_mappings else ()))]
    wanted = [part if part[:1] == "[" else f"<{part}>" for part in FORMS[name].split(", ") if part]
    assert shown == [part.replace("Max Conn", "Maximum Conn") if name == "AddTargetPortal" else part for part in wanted]


def test_commands_of_the_guide_are_marked():
    """What Appendix C has not says so."""
    assert {row.name for row in ROWS if row.guide} | {"BindPersistentDevices"} == set(FORMS)
