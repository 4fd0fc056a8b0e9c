"""The text keys of an initiator: what it offers, what it answers, and what it does not take (RFC 7143 chapters 6 and 13)."""

from __future__ import annotations

import re

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, login_keys, logins, request, says, text_of, values
from iscsi_conformance.verdict import require
from iscsi_initiator.settings import Settings
from iscsi_protocol.fault import Fault, Set, SetKey
from iscsi_protocol.pdu import LoginRequest, Opcode, Stage
from iscsi_protocol.text import NumberError, parse_number

_RESPONSE = Opcode.LOGIN_RESPONSE
_LABEL = re.compile(r"[A-Z][A-Za-z0-9.+@_-]*|X#NodeArchitecture|iSCSIProtocolLevel")
_IQN = re.compile(r"iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9-]+(\.[a-z0-9-]+)*(:.*)?")
_OTHER_NAME = re.compile(r"eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16}([0-9A-Fa-f]{16})?")
_BOOLEANS = ("InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder")
_SECURITY = re.compile(
    r"SessionType|InitiatorName|TargetName|InitiatorAlias|TargetAlias|TargetAddress|TargetPortalGroupTag"
    r"|AuthMethod|(CHAP|SRP|KRB)_.*"
)

_RANGES = {
    "R7143-13.12-01": ("MaxRecvDataSegmentLength", 512, 2**24 - 1),
    "R7143-13.13-01": ("MaxBurstLength", 512, 2**24 - 1),
    "R7143-13.14-01": ("FirstBurstLength", 512, 2**24 - 1),
    "R7143-13.15-01": ("DefaultTime2Wait", 0, 3600),
    "R7143-13.16-01": ("DefaultTime2Retain", 0, 3600),
    "R7143-13.17-01": ("MaxOutstandingR2T", 1, 65535),
    "R7143-13.2-01": ("MaxConnections", 1, 65535),
    "R7143-13.20-01": ("ErrorRecoveryLevel", 0, 2),
}


def _number(value: str, low: int = 0, high: int = 2**64 - 1) -> int | None:
    """The number, None for what is none or lies elsewhere."""
    try:
        return parse_number(value, low, high)
    except NumberError:
        return None


@case(
    "ikeys.text-form",
    clauses={
        "R7143-6.1-02": "ikeys.last-pair-open",
        "R7143-6.1-04": "ikeys.small-letter",
        "R7143-6.1-05": "ikeys.long-key",
        "R7143-6.1-08": "ikeys.boolean-in-capitals",
        "R7143-6.1-10": "ikeys.leading-zero",
        "R7143-6.1-15": "ikeys.long-value",
    },
    role=INITIATOR,
    wire_only=True,
)
async def text_form(scene: Scene) -> None:
    """Keys and values have the form that the standard gives them, and each pair ends with a NUL."""
    await scene.perform(Doing.LOG_IN, settings=Settings(initiator_alias="tester"))
    for sent in scene.some(LoginRequest):
        require(not sent.data or sent.continued or sent.data[-1] == 0, "R7143-6.1-02", "the last pair ends with a NUL")
    pairs = login_keys(scene)
    for key, value in pairs:
        require(_LABEL.fullmatch(key), "R7143-6.1-04", "a key begins with a capital letter", seen=key)
        require(len(key) <= 63, "R7143-6.1-05", "a key has 63 characters at most", seen=key)
        numeric = value.isdecimal() and str(int(value)) != value
        require(not numeric, "R7143-6.1-10", "a decimal number has no leading zero", seen=f"{key}={value}")
        require(len(value.encode()) <= 255, "R7143-6.1-15", "a value has 255 bytes at most", seen=key)
    for key in _BOOLEANS:
        for value in values(pairs, key):
            require(value in ("Yes", "No"), "R7143-6.1-08", "a Boolean is Yes or No", seen=f"{key}={value}")


@case(
    "ikeys.initiator-name-form",
    clauses={
        "R7143-4.2.7.1-07": "ikeys.name-with-capitals",
        "R7143-4.2.7.4-01": "ikeys.name-without-type",
        "R7143-4.2.7.2-01": "ikeys.long-name",
    },
    role=INITIATOR,
    wire_only=True,
)
async def name_form(scene: Scene) -> None:
    """InitiatorName is an iSCSI name: a type that there is, no capitals, no white space, 223 bytes at most."""
    await scene.perform(Doing.LOG_IN)
    name = scene.reached(values(login_keys(scene), "InitiatorName"), "the initiator does not say its name")[0]
    plain = name == name.lower() or not name.startswith("iqn.")
    require(plain and not re.search(r"\s", name), "R7143-4.2.7.1-07", "no capitals and no white space", seen=name)
    require(len(name.encode()) <= 223, "R7143-4.2.7.2-01", "a name has 223 bytes at most", seen=len(name))
    form = _IQN.fullmatch(name) or _OTHER_NAME.fullmatch(name)
    require(form, "R7143-4.2.7.4-01", "the name has the form of its type", seen=name)


@case(
    "ikeys.offers-within-ranges",
    clauses={
        "R7143-13.12-01": "ikeys.segment-length-511",
        "R7143-13.13-01": "ikeys.burst-length-511",
        "R7143-13.14-01": "ikeys.first-burst-length-511",
        "R7143-13.15-01": "ikeys.time2wait-3601",
        "R7143-13.16-01": "ikeys.time2retain-3601",
        "R7143-13.17-01": "ikeys.no-r2t-outstanding",
        "R7143-13.2-01": "ikeys.no-connections",
        "R7143-13.20-01": "ikeys.recovery-level-3",
    },
    role=INITIATOR,
    wire_only=True,
)
async def offers_within_ranges(scene: Scene) -> None:
    """Every number that the initiator offers or declares lies in the range of its key."""
    await scene.perform(Doing.LOG_IN)
    pairs = login_keys(scene)
    for clause, (key, low, high) in _RANGES.items():
        for value in values(pairs, key):
            require(_number(value, low, high) is not None, clause, f"{key} is {low} to {high}", seen=value)


@case(
    "ikeys.first-burst-within-burst",
    clauses={"R7143-13.14-02": "ikeys.first-burst-over-burst"},
    role=INITIATOR,
    wire_only=True,
)
async def first_burst_within_burst(scene: Scene) -> None:
    """FirstBurstLength does not exceed MaxBurstLength."""
    await scene.perform(Doing.LOG_IN)
    pairs = login_keys(scene)
    scene.reached(values(pairs, "FirstBurstLength") + values(pairs, "MaxBurstLength"), "neither length is offered")
    first = _number(next(iter(values(pairs, "FirstBurstLength")), "65536"))
    burst = _number(next(iter(values(pairs, "MaxBurstLength")), "262144"))
    scene.reached(first is not None and burst is not None, "one of the lengths is no number")
    require((first or 0) <= (burst or 0), "R7143-13.14-02", f"FirstBurstLength is {burst} at most", seen=first)


@case(
    "ikeys.said-once",
    clauses={
        "R7143-13.5-02": "ikeys.name-again",
        "R7143-13.4-02": "ikeys.target-again",
        "R7143-6.3-20": "ikeys.offered-twice",
    },
    role=INITIATOR,
    wire_only=True,
)
async def said_once(scene: Scene) -> None:
    """No key is declared or offered twice in a login, the names least of all."""
    await scene.perform(Doing.LOG_IN)
    pairs = login_keys(scene)
    names = [key for key, _ in pairs]
    require(names.count("InitiatorName") == 1, "R7143-13.5-02", "InitiatorName is not redeclared")
    require(names.count("TargetName") == 1, "R7143-13.4-02", "TargetName is not redeclared")
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, "R7143-6.3-20", "no key is offered twice", seen=twice)


@case(
    "ikeys.in-their-stage",
    clauses={"R7143-12-02": "ikeys.operational-too-early", "R7143-13-03": "ikeys.send-targets-in-login"},
    touches=["R7143-12-01", "R7143-13.3-01", "R7143-C-01"],
    role=INITIATOR,
    wire_only=True,
)
async def in_their_stage(scene: Scene) -> None:
    """The security stage has keys of its own, and what is for the full feature phase does not come in the login."""
    await scene.perform(Doing.LOG_IN)
    for sent in scene.some(LoginRequest):
        for key, _ in text_of([sent]):
            security = sent.csg != Stage.SECURITY or _SECURITY.fullmatch(key)
            require(security, "R7143-12-02", "only keys of the security stage come there", seen=key)
            require(key != "SendTargets", "R7143-13-03", "SendTargets comes in full feature phase only")


# ---- answers ----


def _offer(key: str, value: str) -> tuple[Fault, ...]:
    """The target offers a key while the initiator can still answer; what it answers does not reach the target."""
    return (
        request(Opcode.LOGIN_REQUEST, Set("transit", False), Set("nsg", 0), stage=1),
        answer(_RESPONSE, SetKey(key, value), stage=1),
        request(Opcode.LOGIN_REQUEST, SetKey(key, None), stage=1, nth=2),
    )


async def _answer_to(scene: Scene, key: str, value: str) -> str | None:
    """What the initiator answers. Raises Inconclusive where the key cannot be offered to it."""
    await scene.target(*_offer(key, value))
    await scene.perform(Doing.LOG_IN)
    scene.reached(scene.reaction(says(key)), f"the target did not come to offer {key}")
    return next((said for sent in logins(scene)[0] for said in values(text_of([sent]), key)), None)


@case("ikeys.unknown-key", clauses={"R7143-6.2-08": "ikeys.unknown-key-ignored"}, role=INITIATOR, wire_only=True)
async def unknown_key(scene: Scene) -> None:
    """A key that nobody knows is answered with NotUnderstood."""
    said = await _answer_to(scene, "TargetMood", "fine")
    require(said == "NotUnderstood", "R7143-6.2-08", "NotUnderstood answers an unknown key", seen=said)


@case("ikeys.marker", clauses={"R7143-13.25-01": "ikeys.marker-accepted"}, role=INITIATOR, wire_only=True)
async def marker(scene: Scene) -> None:
    """The obsolete IFMarker is answered with Reject."""
    said = await _answer_to(scene, "IFMarker", "Yes")
    require(said == "Reject", "R7143-13.25-01", "Reject answers IFMarker", seen=said)


@case(
    "ikeys.marker-is-known", clauses={"R7143-13.25-03": "ikeys.marker-not-understood"}, role=INITIATOR, wire_only=True
)
async def marker_known(scene: Scene) -> None:
    """The obsolete OFMarker is not answered with NotUnderstood."""
    said = await _answer_to(scene, "OFMarker", "Yes")
    require(said in ("Reject", "No"), "R7143-13.25-03", "OFMarker is understood, and refused", seen=said)


@case("ikeys.marker-interval", clauses={"R7143-13.25-04": "ikeys.interval-accepted"}, role=INITIATOR, wire_only=True)
async def marker_interval(scene: Scene) -> None:
    """The obsolete OFMarkInt is answered with Reject."""
    said = await _answer_to(scene, "OFMarkInt", "2048~8192")
    require(said == "Reject", "R7143-13.25-04", "Reject answers OFMarkInt", seen=said)


@case(
    "ikeys.marker-interval-is-known",
    clauses={"R7143-13.25-05": "ikeys.interval-not-understood"},
    role=INITIATOR,
    wire_only=True,
)
async def marker_interval_known(scene: Scene) -> None:
    """The obsolete IFMarkInt is not answered with NotUnderstood."""
    said = await _answer_to(scene, "IFMarkInt", "2048~8192")
    scene.reached(said is not None, "the initiator does not answer")
    require(said != "NotUnderstood", "R7143-13.25-05", "IFMarkInt is understood", seen=said)


@case("ikeys.list-is-answered", clauses={"R7143-6.2.2-01": "ikeys.list-not-answered"}, role=INITIATOR, wire_only=True)
async def list_answered(scene: Scene) -> None:
    """A negotiation that the target begins is answered with the same key."""
    said = await _answer_to(scene, "TaskReporting", "RFC3720,ResponseFence")
    require(said is not None, "R7143-6.2.2-01", "TaskReporting is answered")


@case(
    "ikeys.list-values-skipped",
    clauses={"R7143-6.2.1-04": "ikeys.list-answered-off-list"},
    role=INITIATOR,
    wire_only=True,
)
async def list_values_skipped(scene: Scene) -> None:
    """Of a list the first value that the initiator knows is chosen, and values that nobody knows are skipped."""
    said = await _answer_to(scene, "TaskReporting", "SomethingNew,RFC3720")
    require(said == "RFC3720", "R7143-6.2.1-04", "the known value of the list is chosen", seen=said)


@case("ikeys.level-not-raised", clauses={"R7143-13-04": "ikeys.level-raised"}, role=INITIATOR, wire_only=True)
async def level_not_raised(scene: Scene) -> None:
    """A number whose smaller value counts is not answered with a greater one."""
    said = await _answer_to(scene, "iSCSIProtocolLevel", "1")
    scene.reached(said is not None, "the initiator does not answer")
    low = said is None or not said.isdecimal() or int(said) <= 1
    require(low, "R7143-13-04", "the answer does not exceed the offer", seen=said)


# ---- answers that are none ----


async def _refuses(
    scene: Scene, clause: str, key: str, value: str, settings: Settings | None = None, *, offers: str | None = None
) -> None:
    """The value ends the login of an initiator that offers the key, with this value where one is given."""
    told = says(key, value)
    await scene.target(answer(_RESPONSE, SetKey(key, value), stage=1))

    def decided() -> bool:
        reaction = scene.reaction(told)
        return reaction is not None and bool(reaction.closed or reaction.sent)

    await scene.perform(Doing.LOG_IN, until=decided, settings=settings)
    offered = values(login_keys(scene), key)
    if key != "SendTargets":
        scene.reached(offered and offers in (None, offered[0]), f"the initiator offers {key} as {offered}")
    reaction = scene.reached(scene.reaction(told), f"the target did not come to say {key}={value}")
    require(reaction.dropped, clause, f"{key}={value} ends the login", seen=reaction)


@case(
    "ikeys.not-understood-by-target",
    clauses={"R7143-6.2-11": "ikeys.accepts-not-understood"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def not_understood(scene: Scene) -> None:
    """A target that does not understand a key of the standard breaks the protocol."""
    await _refuses(scene, "R7143-6.2-11", "MaxBurstLength", "NotUnderstood")


@case(
    "ikeys.more-than-offered",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-more-than-offered"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def more_than_offered(scene: Scene) -> None:
    """A MaxBurstLength above what was offered is no answer."""
    await _refuses(scene, "R7143-6.2.2-04", "MaxBurstLength", "524288")


@case(
    "ikeys.less-wait-than-offered",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-less-time2wait"},
    touches=["R7143-13-05"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def less_wait(scene: Scene) -> None:
    """A DefaultTime2Wait below what was offered is no answer."""
    await _refuses(scene, "R7143-6.2.2-04", "DefaultTime2Wait", "0")


@case(
    "ikeys.or-of-yes-and-no",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-initial-r2t-no"},
    touches=["R7143-13-06"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def or_of_yes_and_no(scene: Scene) -> None:
    """InitialR2T=No does not answer InitialR2T=Yes."""
    await _refuses(scene, "R7143-6.2.2-04", "InitialR2T", "No", Settings(initial_r2t=True), offers="Yes")


@case(
    "ikeys.burst-below-first-burst",
    clauses={"R7143-7.12-01": "ikeys.accepts-burst-below-first"},
    touches=["R7143-13.14-02"],
    role=INITIATOR,
    events=["iScsiPrt:4"],
)
async def burst_below_first(scene: Scene) -> None:
    """A MaxBurstLength below the FirstBurstLength that was agreed on ends the login."""
    await _refuses(scene, "R7143-7.12-01", "MaxBurstLength", "1024")


@case(
    "ikeys.pdu-order",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-any-order"},
    touches=["R7143-13.18-01"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:61"],
)
async def pdu_order(scene: Scene) -> None:
    """DataPDUInOrder=No does not answer DataPDUInOrder=Yes."""
    await _refuses(scene, "R7143-6.2.2-04", "DataPDUInOrder", "No", offers="Yes")


@case(
    "ikeys.sequence-order",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-any-sequence-order"},
    touches=["R7143-13.19-01"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:62"],
)
async def sequence_order(scene: Scene) -> None:
    """DataSequenceInOrder=No does not answer DataSequenceInOrder=Yes."""
    await _refuses(scene, "R7143-6.2.2-04", "DataSequenceInOrder", "No", offers="Yes")


@case(
    "ikeys.key-of-another-phase",
    clauses={"R7143-6.3-11": "ikeys.accepts-send-targets"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def key_of_another_phase(scene: Scene) -> None:
    """A key that has no place in the login ends it."""
    await _refuses(scene, "R7143-6.3-11", "SendTargets", "All")


@case(
    "ikeys.no-boolean",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-text-for-boolean"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def no_boolean(scene: Scene) -> None:
    """A Boolean that is neither Yes nor No is no answer."""
    await _refuses(scene, "R7143-6.2.2-04", "ImmediateData", "maybe")


@case(
    "ikeys.out-of-range",
    clauses={"R7143-6.2.2-04": "ikeys.accepts-out-of-range"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def out_of_range(scene: Scene) -> None:
    """A number out of the range of its key is no answer."""
    await _refuses(scene, "R7143-6.2.2-04", "MaxOutstandingR2T", "0")
