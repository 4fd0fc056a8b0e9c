"""Events 3 and 11: Login Responses that no request can have, and a command window that is none (RFC 7143 11.13, 11.13.4)."""

from __future__ import annotations

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.dumps import received
from iscsi_conformance.events.logins import (
    OPERATIONAL,
    RESPONSE,
    SECURITY,
    UNFINISHED,
    chap_session,
    ends_login,
    mutual_session,
    response,
    status,
)
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.stimulus import answer, request
from iscsi_protocol.fault import Action, Insert, Of, Part, Poke, Replace, Set, Template
from iscsi_protocol.pdu import NO_TAG, AsyncMessage, LogoutResponse, NopIn, Opcode, ScsiResponse, TextResponse

_LONG_TEXT = tuple((f"X-org.example.key{number:02}", "v" * 250) for number in range(40))
"""Keys of the initiator that do not go into one request."""

_ADVANCE = (Set("transit", True), Set("nsg", 1))
_OTHER_ISID = bytes.fromhex("80123456789a")

_BOTH_STAGES = (("first", SECURITY), ("final", OPERATIONAL))

_HEADERS = tuple(
    ends_login(
        11,
        f"{name}-{place}",
        f"In the {place} response {what}: it is no answer, and ends the login.",
        response(*change, stage=stage),
        variation=variation,
        touches=("R7143-7.7-02",),
    )
    for place, stage in _BOTH_STAGES
    for name, variation, what, change in (
        ("nsg-2", "reserved-stage", "the next stage is the reserved one", (Set("nsg", 2),)),
        ("csg-2", "reserved-stage", "the current stage is the reserved one", (Set("csg", 2),)),
        ("csg-other", "reserved-stage", "the current stage is another", (Set("csg", 1 - stage), Set("nsg", 3))),
        ("csg-3", "reserved-stage", "the current stage is the full feature phase", (Set("csg", 3),)),
        ("nsg-csg", "nsg-below-csg", "the next stage is the current one", (Set("nsg", stage),)),
        ("isid", "other-isid", "the ISID is another", (Set("isid", _OTHER_ISID),)),
        ("isid-zero", "other-isid", "the ISID is zero", (Set("isid", bytes(6)),)),
        ("tag", "other-tag", "the task tag is another", (Set("itt", 0x7E57),)),
        ("tag-reserved", "other-tag", "the task tag is the reserved one", (Set("itt", NO_TAG),)),
        ("version-1", "version-active", "the active version is 1", (Set("version_active", 1),)),
        ("version-255", "version-active", "the active version is 255", (Set("version_active", 0xFF),)),
        ("continued", "continue-with-transit", "T comes with C", (Set("continued", True),)),
    )
)

_STAYS = request(Opcode.LOGIN_REQUEST, Set("transit", False), Set("nsg", 0), stage=OPERATIONAL, times=0)
"""The target believes that the initiator never wants to leave the operational stage."""

_STAGES = (
    ends_login(
        11,
        "nsg-below-csg",
        "A response that leads back to the security stage ends the login.",
        response(Set("nsg", 0)),
        variation="nsg-below-csg",
    ),
    ends_login(
        11,
        "further-than-asked",
        "A response that leads further than was asked for ends the login.",
        response(Set("nsg", 3), Set("tsih", 1), stage=SECURITY),
        variation="transit-unasked",
    ),
    ends_login(
        11,
        "transit-with-method",
        "A target that leaves the security stage when it has chosen CHAP was not asked to.",
        response(*_ADVANCE, stage=SECURITY),
        variation="transit-unasked",
        **chap_session(),
    ),
    ends_login(
        11,
        "transit-with-challenge",
        "A target that leaves the security stage with its challenge was not asked to.",
        response(*_ADVANCE, stage=SECURITY, nth=2),
        variation="transit-unasked",
        **mutual_session(),
    ),
    ends_login(
        11,
        "transit-within-request",
        "A target that leaves the stage in the middle of a request was not asked to.",
        response(Set("transit", True), Set("nsg", 3), Set("tsih", 1)),
        variation="transit-unasked",
        options={"extra_keys": _LONG_TEXT},
        touches=("R7143-7.13-01",),
    ),
    ends_login(
        11,
        "text-within-request",
        "A target that answers a request that goes on with text ends the login.",
        response(Replace(Part.DATA, b"TargetAlias=hasty\0")),
        variation="bad-text",
        options={"extra_keys": _LONG_TEXT},
    ),
    ends_login(
        11,
        "tsih-zero",
        "A final response without a TSIH makes no session.",
        response(Set("tsih", 0)),
        variation="tsih-zero",
        touches=("R7143-7.7-02",),
    ),
    ends_login(
        11,
        "never-final",
        "A target that answers on and on without an end is left.",
        _STAYS,
        variation="bad-text",
        virtual=True,
    ),
    ends_login(
        11,
        "text-without-end",
        "Text that goes on and on is not collected for ever.",
        _STAYS,
        answer(
            RESPONSE, *UNFINISHED, Set("continued", True), Replace(Part.DATA, b"X-y=" + b"z" * 8000), stage=1, times=0
        ),
        variation="bad-text",
        virtual=True,
    ),
    ends_login(
        11,
        "refusal-with-other-tag",
        "A refusal with another task tag is none.",
        status(0x0203, Set("itt", 0x7E57)),
        variation="other-tag",
    ),
    ends_login(
        10,
        "rest-zero",
        "A refusal that says nothing but its task tag and status is one all the same.",
        status(0x0203, Set("isid", bytes(6)), Set("csg", 0), Poke(24, bytes(12)), Replace(Part.DATA, b"")),
        variation="class-2",
    ),
)

# ---- what is no Login Response ----


def _stray(name: str, what: str, template: Template) -> EventCase:
    opcode = template.pdu.OPCODE
    return ends_login(
        11,
        name,
        f"{what} is no answer to a Login Request, and ends the login.",
        answer(RESPONSE, Insert(template, before=True)),
        variation="other-tag",
        dumps={11: lambda play: received(play, lambda pdu: pdu.opcode == opcode, what).to_bytes()},
        touches=("R7143-4.2.4-08",),
    )


_LOGIN_TAG = Of("trigger.itt")
_STRAYS = (
    _stray("nop-in", "A NOP-In", Template(NopIn, {"ttt": 5})),
    _stray("async-message", "An Asynchronous Message", Template(AsyncMessage, {"async_event": 1, "parameter3": 5})),
    _stray("scsi-response", "A SCSI Response", Template(ScsiResponse, {"itt": _LOGIN_TAG})),
    _stray("text-response", "A Text Response", Template(TextResponse, {"itt": _LOGIN_TAG, "final": True})),
    _stray("logout-response", "A Logout Response", Template(LogoutResponse, {"itt": _LOGIN_TAG})),
)

# ---- the command window ----


def _window(exp_cmd_sn: int, max_cmd_sn: int) -> tuple[Action, ...]:
    return Set("exp_cmd_sn", exp_cmd_sn), Set("max_cmd_sn", max_cmd_sn)


async def _open_the_window(play: Play) -> None:
    if not play.session.closed:
        play.stage.operator.tell_counters()


_WINDOWS = (
    *(
        ends_login(
            3,
            name,
            f"ExpCmdSN {exp_cmd_sn:#x} with MaxCmdSN {max_cmd_sn:#x} is no window, and ends the login.",
            response(*_window(exp_cmd_sn, max_cmd_sn)),
            variation=variation,
        )
        for name, variation, exp_cmd_sn, max_cmd_sn in (
            ("two-below", "two-below", 0x10, 0x0E),
            ("three-below", "far-below", 0x10, 0x0D),
            ("far-below", "far-below", 0x10000, 0x0100),
            ("as-far-as-can-be", "far-below", 0x80000000, 0x00000001),
            ("wrapped-to-0", "across-the-wrap", 0x00000000, 0xFFFFFFFE),
            ("wrapped-to-1", "across-the-wrap", 0x00000001, 0xFFFFFFFF),
            ("wrapped-far", "across-the-wrap", 0x00000100, 0xFFFF0000),
        )
    ),
    EventCase(
        event=3,
        name="equal",
        says="A window of one command is one.",
        spoils=(response(Set("max_cmd_sn", Of("trigger.exp_cmd_sn"))),),
        then=Then.GOES_ON,
        proofs=("event.3.takes-open-window-for-less",),
    ),
    EventCase(
        event=3,
        name="closed-window",
        says="A closed window is legal; the target opens it later.",
        spoils=(response(Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -1))),),
        does=_open_the_window,
        then=Then.GOES_ON,
        proofs=("event.3.takes-closed-window-for-less",),
    ),
)

register(__name__, (*_HEADERS, *_STAGES, *_STRAYS, *_WINDOWS), perform)
