"""The login of an initiator (RFC 7143 sections 6.3, 11.12 and 11.13)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.case import INITIATOR, SHOULD, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.reaction import by_connection
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import (
    NOTHING_LISTENS,
    answer,
    dialogue,
    first_dialogue,
    give_up,
    guarded,
    is_a,
    log_in,
    login_keys,
    logins,
    must_drop,
    request,
    require_dropped,
    says,
    text_of,
    values,
    with_node,
)
from iscsi_conformance.verdict import require
from iscsi_initiator.client import SessionFailed
from iscsi_initiator.settings import Settings
from iscsi_protocol import serial
from iscsi_protocol.fault import Close, Drop, Fault, Insert, Of, Part, Replace, Set, SetKey, Template
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, Opcode, RawPdu, ScsiCommand, Stage, decode
from iscsi_protocol.stream import Direction
from iscsi_target.config import PortalConfig, Redirect

_RESPONSE = Opcode.LOGIN_RESPONSE
_FEW_TRIES = Settings(portal_retry_count=0)
_PARTS = 4
_TWO_PORTALS = [PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0")]
_A_WHILE = 0.5
"""Seconds within which an initiator that simply tries again does so."""


@case(
    "ilogin.first-request-names-both-nodes",
    clauses={"R7143-13.5-01": "ilogin.no-initiator-name", "R7143-13.4-01": "ilogin.no-target-name"},
    touches=["R7143-6.3-03", "R7143-6.3-05", "R7143-4.2.7.1-04"],
    role=INITIATOR,
    wire_only=True,
)
async def first_request_names(scene: Scene) -> None:
    """The first Login Request of a connection has InitiatorName and TargetName."""
    await scene.perform(Doing.LOG_IN)
    keys = dict(text_of(logins(scene)[0][:1]))
    require("InitiatorName" in keys, "R7143-13.5-01", "InitiatorName is in the first request", seen=sorted(keys))
    require("TargetName" in keys, "R7143-13.4-01", "TargetName is in the first request", seen=sorted(keys))


@case(
    "ilogin.nothing-before-login",
    clauses={"R7143-11.12-01": "ilogin.ping-first"},
    touches=["R7143-4.2.4-04"],
    role=INITIATOR,
    wire_only=True,
)
async def nothing_before_login(scene: Scene) -> None:
    """The first PDU on a connection is a Login Request."""
    await scene.perform(Doing.LOG_IN)
    first = scene.reached(dialogue(scene), "the initiator said nothing")[0][1]
    login = isinstance(first, LoginRequest)
    require(login, "R7143-11.12-01", "a Login Request comes first", seen=type(first).__name__)


@case(
    "ilogin.header-of-new-session",
    clauses={
        "R7143-11.12-02": "ilogin.not-immediate",
        "R7143-11.12.4-01": "ilogin.version-one",
        "R7143-11.12.6-01": "ilogin.tsih-at-first",
        "R7143-11.12.5-03": "ilogin.reserved-isid",
    },
    role=INITIATOR,
    wire_only=True,
)
async def header_of_new_session(scene: Scene) -> None:
    """A login that makes a session has I=1, version 0, TSIH 0 and an ISID of a type that there is."""
    await scene.perform(Doing.LOG_IN)
    for sent in scene.some(LoginRequest):
        versions = sent.version_max, sent.version_min
        require(sent.immediate, "R7143-11.12-02", "a Login Request is immediate")
        require(versions == (0, 0), "R7143-11.12.4-01", "Version-max and Version-min are 0", seen=versions)
        require(sent.tsih == 0, "R7143-11.12.6-01", "TSIH is 0 for a new session", seen=sent.tsih)
        require(sent.isid[0] >> 6 != 3, "R7143-11.12.5-03", "the ISID's type is not reserved", seen=sent.isid.hex())


_NOT_YET = request(Opcode.LOGIN_REQUEST, Set("transit", False), Set("nsg", 0), stage=1)
"""The target does not leave the operational stage at the first request."""


async def _in_steps(scene: Scene) -> list[LoginRequest]:
    """A login to a target that wants more than one request: all of them. Raises Inconclusive where there is one."""
    await scene.target(_NOT_YET)
    await scene.perform(Doing.LOG_IN)
    sent = logins(scene)[0]
    return scene.reached(sent if len(sent) > 1 else [], "the login takes one request")


@case(
    "ilogin.header-stays",
    clauses={
        "R7143-11.12-03": "ilogin.itt-changes",
        "R7143-11.12.7-01": "ilogin.cid-changes",
        "R7143-11.12.6-03": "ilogin.tsih-changes",
        "R7143-11.12.4.1-01": "ilogin.version-max-changes",
        "R7143-11.12.4.2-01": "ilogin.version-min-changes",
    },
    role=INITIATOR,
    wire_only=True,
)
async def header_stays(scene: Scene) -> None:
    """All Login Requests of a login have the same task tag, CID, TSIH and versions."""
    first, *others = await _in_steps(scene)
    for sent in others:
        require(sent.itt == first.itt, "R7143-11.12-03", "all requests share one ITT", seen=sent.itt)
        require(sent.cid == first.cid, "R7143-11.12.7-01", "all requests have one CID", seen=sent.cid)
        require(sent.tsih == first.tsih, "R7143-11.12.6-03", "all requests have one TSIH", seen=sent.tsih)
        require(sent.version_max == first.version_max, "R7143-11.12.4.1-01", "Version-max stays", seen=sent.version_max)
        require(sent.version_min == first.version_min, "R7143-11.12.4.2-01", "Version-min stays", seen=sent.version_min)


@case(
    "ilogin.numbers",
    clauses={"R7143-11.12.8-02": "ilogin.cmd-sn-counts", "R7143-11.12.9-01": "ilogin.no-acknowledgement"},
    role=INITIATOR,
    wire_only=True,
)
async def numbers(scene: Scene) -> None:
    """CmdSN stands still during login and is that of the first command; ExpStatSN follows the responses."""
    first, *others = await _in_steps(scene)
    for sent, response in zip(others, scene.received(LoginResponse), strict=False):
        require(sent.cmd_sn == first.cmd_sn, "R7143-11.12.8-02", "CmdSN stands still", seen=sent.cmd_sn)
        due = serial.add(response.stat_sn)
        require(sent.exp_stat_sn == due, "R7143-11.12.9-01", f"ExpStatSN {due} acknowledges", seen=sent.exp_stat_sn)


@case(
    "ilogin.first-command-takes-the-number",
    clauses={"R7143-4.2.2.1-03": "ilogin.command-skips-number"},
    role=INITIATOR,
    wire_only=True,
)
async def first_command_number(scene: Scene) -> None:
    """The first command in full feature phase has the CmdSN of the login."""
    await scene.perform(Doing.LOG_IN)
    command = scene.some(ScsiCommand)[0]
    login = logins(scene)[0][0]
    same = login.cmd_sn == command.cmd_sn
    require(same, "R7143-4.2.2.1-03", f"the first command has CmdSN {login.cmd_sn}", seen=command.cmd_sn)


@case(
    "ilogin.stages",
    clauses={
        "R7143-6.3-17": "ilogin.back-to-security",
        "R7143-6.3-12": "ilogin.other-stage",
        "R7143-6.3.3-02": "ilogin.never-ready",
        "R7143-11.12.1-01": "ilogin.ends-in-between",
    },
    role=INITIATOR,
    wire_only=True,
)
async def stages(scene: Scene) -> None:
    """The initiator leaves each stage with T=1, forwards only, and goes on in the stage that was agreed on."""
    await scene.perform(Doing.LOG_IN, settings=Settings(wmi_request_timeout=1))
    requests = logins(scene)[0]
    stage = requests[0].csg
    said = first_dialogue(scene)
    for (way, pdu), (_, following) in zip(said, [*said[1:], (None, None)], strict=True):
        if way is Direction.TO_TARGET and isinstance(pdu, LoginRequest):
            require(pdu.csg == stage, "R7143-6.3-12", f"the request is of stage {stage}", seen=pdu.csg)
            onwards = not pdu.transit or (pdu.nsg in (1, 3) and pdu.nsg > pdu.csg)
            require(onwards, "R7143-6.3-17", f"from stage {pdu.csg} it goes onwards", seen=pdu.nsg)
        if isinstance(following, LoginResponse) and following.transit:
            stage = following.nsg
    asked = [sent.nsg for sent in requests if sent.transit]
    require(asked, "R7143-6.3.3-02", "T=1 announces the end of a stage")
    require(asked[-1] == Stage.FULL_FEATURE, "R7143-11.12.1-01", "T=1 with NSG=3 asks for the end", seen=asked)


@case(
    "ilogin.goes-on-asking",
    clauses={"R7143-6.3.3-04": "ilogin.gives-up-t"},
    role=INITIATOR,
    wire_only=True,
)
async def goes_on_asking(scene: Scene) -> None:
    """Where the target does not leave the stage yet, the initiator asks again, until it does."""
    await scene.target(_NOT_YET)
    await scene.perform(Doing.LOG_IN)
    asked = [sent for sent in logins(scene)[0] if sent.csg == Stage.OPERATIONAL]
    scene.reached(asked and asked[0].transit, "the initiator did not ask for the end of the operational stage at once")
    again = asked[1:2]
    require(again and again[0].transit, "R7143-6.3.3-04", "T=1 is repeated")


@case(
    "ilogin.long-text-spans-requests",
    clauses={
        "R7143-11.12.2-01": "ilogin.transit-with-more",
        "R7143-11.12.3-01": "ilogin.reserved-stage",
        "R7143-6.3-02": "ilogin.long-segment",
        "R7143-6.1-18": "ilogin.pair-cut-short",
    },
    touches=["R7143-6.2-01"],
    role=INITIATOR,
)
async def long_text(scene: Scene) -> None:
    """Text over 8192 bytes goes into several requests, all but the last with C=1 and T=0, none longer than that."""
    extra = tuple((f"X-org.example.key{number:02}", "v" * 250) for number in range(40))
    await scene.attempt(log_in(scene, extra_keys=extra))
    parts = [sent for sent in scene.sent(LoginRequest) if sent.csg == Stage.OPERATIONAL]
    require(parts[0].continued, "R7143-6.1-18", "text that does not fit goes on in the next request")
    for part in parts:
        require(not (part.continued and part.transit), "R7143-11.12.2-01", "C=1 goes with T=0")
        require(part.transit or not part.nsg, "R7143-11.12.3-01", "NSG is 0 where T is 0", seen=part.nsg)
        require(len(part.data) <= 8192, "R7143-6.3-02", "8192 bytes are the most", seen=len(part.data))
    keys = login_keys(scene)
    whole = all(values(keys, key) == [value] for key, value in extra)
    require(whole, "R7143-6.1-18", "the requests together have every pair", seen=len(keys))


@case(
    "ilogin.answer-in-parts",
    clauses={"R7143-6.2-03": "ilogin.talks-into-the-answer"},
    role=INITIATOR,
    wire_only=True,
)
async def answer_in_parts(scene: Scene) -> None:
    """A Login Response whose text goes on in the next one (C=1) is answered by an empty request."""
    await scene.target(_NOT_YET, answer(_RESPONSE, Set("continued", True), stage=1))
    await scene.perform(Doing.LOG_IN, until=lambda: len(scene.sent(LoginRequest)) > _PARTS)
    reaction = scene.reached(scene.reaction(_has(continued=True)), "the target did not come to answer in parts")
    behind = next((pdu for pdu in reaction.sent if isinstance(pdu, LoginRequest)), None)
    require(behind is not None and not behind.data, "R7143-6.2-03", "an empty request fetches the rest", seen=reaction)


# ---- redirection and refusal ----


async def _follows(scene: Scene, *, permanent: bool) -> None:
    """A portal that sends the initiator to the next one, which lets it in.

    Before the security negotiation is over the initiator should follow; behind it, it has to.
    """
    config = with_node(redirect=Redirect(portal="next", permanent=permanent))
    stage = await scene.target(config=msgspec.structs.replace(config, portals=_TWO_PORTALS))
    await scene.perform(Doing.LOG_IN)
    scene.reached(scene.reaction(_has(status_class=1)), "the target did not come to redirect")
    early = logins(scene)[0][-1].csg == Stage.SECURITY
    clause = "R7143-11.13.5-03" if early else "R7143-11.13.5-04"
    tried = [record.target for record in scene.transport(TransportEvent.CONNECTED)]
    there = stage.endpoints[1]
    require(there in tried, clause, f"the initiator goes to {there}", seen=[str(each) for each in tried])


@case(
    "ilogin.follows-for-now",
    clauses={"R7143-11.13.5-03": "ilogin.redirect-ignored"},
    touches=["R7143-11.13.5-04", "R7143-11.13.5-23"],
    role=INITIATOR,
    wire_only=True,
)
async def follows_for_now(scene: Scene) -> None:
    """Status 0101 leads the initiator to the portal that it names, where it logs in."""
    await _follows(scene, permanent=False)


@case(
    "ilogin.follows-for-good",
    clauses={"R7143-11.13.5-03": "ilogin.redirect-ignored"},
    touches=["R7143-11.13.5-04", "R7143-11.13.5-23"],
    role=INITIATOR,
    wire_only=True,
)
async def follows_for_good(scene: Scene) -> None:
    """Status 0102 leads the initiator to the portal that it names, where it logs in."""
    await _follows(scene, permanent=True)


def _redirect(status: int, address: str | None = NOTHING_LISTENS, *, stage: int) -> Fault:
    text = b"" if address is None else f"TargetAddress={address}\0".encode()
    return answer(
        _RESPONSE,
        Set("status_class", status >> 8),
        Set("status_detail", status & 0xFF),
        Set("transit", False),
        Set("nsg", 0),
        Replace(Part.DATA, text),
        stage=stage,
    )


async def _redirected(scene: Scene, status: int, stage: int, clause: str) -> None:
    await scene.target(_redirect(status, stage=stage))
    with suppress(SessionFailed):  # nothing listens there
        await scene.login(target_name=PLAIN, settings=_FEW_TRIES)
    tried = [record.target for record in scene.transport(TransportEvent.CONNECT)]
    there = Endpoint("127.0.0.1", 1)
    require(tried[1:] == [there], clause, f"the initiator goes to {there}", seen=[str(each) for each in tried])


@case(
    "ilogin.redirected-for-now",
    clauses={"R7143-11.13.5-23": "ilogin.redirect-ignored"},
    touches=["R7143-11.13.5-03"],
    role=INITIATOR,
    events=["iScsiPrt:1"],
)
async def redirected_for_now(scene: Scene) -> None:
    """Status 0101 before the end of the security stage sends the initiator to the address that comes with it."""
    await _redirected(scene, 0x0101, 0, "R7143-11.13.5-23")


@case(
    "ilogin.redirected-for-good",
    clauses={"R7143-11.13.5-04": "ilogin.redirect-ignored"},
    role=INITIATOR,
    events=["iScsiPrt:1"],
)
async def redirected_for_good(scene: Scene) -> None:
    """Status 0102 behind the security stage sends the initiator to the address that comes with it."""
    await _redirected(scene, 0x0102, 1, "R7143-11.13.5-04")


@case(
    "ilogin.redirect-to-nowhere",
    clauses={"R7143-7.12-01": "ilogin.redirect-by-guess"},
    role=INITIATOR,
    events=["iScsiPrt:12"],
)
async def redirect_to_nowhere(scene: Scene) -> None:
    """A redirection without TargetAddress ends the login."""
    await scene.target(_redirect(0x0101, None, stage=0))
    await give_up(scene, "R7143-7.12-01", "a redirection without address ends the login", settings=_FEW_TRIES)
    tried = scene.transport(TransportEvent.CONNECT)
    require(len(tried) == 1, "R7143-7.12-01", "no other portal is tried", seen=len(tried))


def _refused(raw: RawPdu) -> bool:
    response = decode(raw)
    return isinstance(response, LoginResponse) and response.status_class == 2


async def _not_repeated(scene: Scene, what: str) -> None:
    """The login is refused: the initiator drops the connection, and does not begin anew."""
    await must_drop(scene, Doing.LOG_IN, "R7143-11.13.5-24", what, _refused)
    await scene.settle(_A_WHILE)
    tried = len(logins(scene))
    require(tried == 1, "R7143-11.13.5-24", "the login is not repeated", seen=f"{tried} logins")


@case(
    "ilogin.refusal-is-final",
    clauses={"R7143-11.13.5-24": "ilogin.tries-at-once"},
    touches=["R7143-11.13.5-13"],
    level=SHOULD,
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:10"],
)
async def refusal_is_final(scene: Scene) -> None:
    """A login that was refused with class 2 is not simply repeated."""
    await scene.target(answer(_RESPONSE, Set("status_class", 2), Set("status_detail", 3), Set("transit", False)))
    await _not_repeated(scene, "status 0203")


@case(
    "ilogin.chap-demanded",
    clauses={"R7143-11.13.5-24": "ilogin.tries-at-once"},
    level=SHOULD,
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:40"],
)
async def chap_demanded(scene: Scene) -> None:
    """A login without CHAP where the target insists on it ends, and is not repeated."""
    await scene.target(config=guarded())
    await _not_repeated(scene, "status 0201")


@case(
    "ilogin.no-answer",
    clauses={"R7143-6.3-01": "ilogin.request-repeated"},
    touches=["R7143-8.1-03"],
    role=INITIATOR,
    events=["iScsiPrt:43"],
)
async def no_answer(scene: Scene) -> None:
    """A target that does not answer a Login Request gets no second one; in the end the initiator closes the connection."""
    await scene.target(answer(_RESPONSE, Drop(), times=0))
    await scene.attempt(log_in(scene, settings=Settings(wmi_request_timeout=0.1)))
    sent = len(scene.sent(LoginRequest))
    require(sent == 1, "R7143-6.3-01", "one Login Request is outstanding", seen=f"{sent} requests")
    await require_dropped(scene, "R7143-8.1-03", "silence ends the login")


@case(
    "ilogin.one-request-at-a-time",
    clauses={"R7143-6.3-01": "ilogin.request-repeated"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:59"],
)
async def one_request(scene: Scene) -> None:
    """A target that closes instead of answering has got one Login Request, and loses the initiator."""
    await scene.target(answer(_RESPONSE, Drop(), Close()))
    await scene.perform(Doing.LOG_IN, until=lambda: len(by_connection(scene.recorder.records)) > 1)
    sent = len(logins(scene)[0])
    require(sent == 1, "R7143-6.3-01", "one Login Request is outstanding", seen=f"{sent} requests")


# ---- responses that are none ----


def _has(**values: int) -> Callable[[RawPdu], bool]:
    """Whether a PDU is a Login Response with these fields."""

    def told(raw: RawPdu) -> bool:
        response = decode(raw)
        return isinstance(response, LoginResponse) and all(
            getattr(response, name) == each for name, each in values.items()
        )

    return told


@case(
    "ilogin.stray-pdu",
    clauses={"R7143-4.2.4-08": "ilogin.passes-over-strays"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def stray_pdu(scene: Scene) -> None:
    """Any PDU but a Login Response makes the initiator drop the connection during login."""
    stray = Template(NopIn, {"ttt": 5, "stat_sn": Of("stat_sn"), "exp_cmd_sn": 1, "max_cmd_sn": 9})
    await scene.target(answer(_RESPONSE, Insert(stray, before=True)))
    await must_drop(scene, Doing.LOG_IN, "R7143-4.2.4-08", "a NOP-In during login", is_a(Opcode.NOP_IN))


@case(
    "ilogin.no-tsih-at-the-end",
    clauses={"R7143-7.7-01": "ilogin.accepts-no-tsih"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def no_tsih(scene: Scene) -> None:
    """A final Login Response without a TSIH is no end of the login."""
    await scene.target(answer(_RESPONSE, Set("tsih", 0), stage=1))
    what = "TSIH 0 in the final response"
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-01", what, _has(nsg=3, tsih=0))


@case(
    "ilogin.reserved-next-stage",
    clauses={"R7143-11-04": "ilogin.accepts-any-nsg"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def reserved_next_stage(scene: Scene) -> None:
    """A Login Response that leads to the reserved stage 2 is a protocol error."""
    await scene.target(answer(_RESPONSE, Set("nsg", 2), stage=1))
    await must_drop(scene, Doing.LOG_IN, "R7143-11-04", "NSG 2", _has(nsg=2))


@case(
    "ilogin.other-version",
    clauses={"R7143-7.7-01": "ilogin.accepts-any-version"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def other_version(scene: Scene) -> None:
    """An active version that the initiator never proposed is a protocol error."""
    await scene.target(answer(_RESPONSE, Set("version_active", 1)))
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-01", "another version", _has(version_active=1))


@case(
    "ilogin.transit-unasked",
    clauses={"R7143-7.13-01": "ilogin.accepts-unasked-transit"},
    role=INITIATOR,
    events=["iScsiPrt:11"],
)
async def transit_unasked(scene: Scene) -> None:
    """A stage change that the target makes in the middle of the initiator's text is out of turn, and ends the login."""
    await scene.target(answer(_RESPONSE, Set("transit", True), Set("nsg", 3), Set("tsih", 1), stage=1))
    extra = tuple((f"X-org.example.key{number:02}", "v" * 250) for number in range(40))
    await give_up(scene, "R7143-7.13-01", "T=1 in answer to C=1 ends the login", extra_keys=extra)


@case(
    "ilogin.renegotiated",
    clauses={"R7143-6.3-23": "ilogin.accepts-twice"},
    touches=["R7143-6.3-21"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:11"],
)
async def renegotiated(scene: Scene) -> None:
    """A target that negotiates a key a second time loses the connection."""
    await scene.target(answer(_RESPONSE, SetKey("MaxBurstLength", "131072", again=True), stage=1))
    told = says("MaxBurstLength", "131072")
    await must_drop(scene, Doing.LOG_IN, "R7143-6.3-23", "MaxBurstLength twice", told)
