"""Which event is logged where one Login Response breaks several rules: the order is fixed, and one is logged alone."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.events import EventCase, register
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.logins import (
    RESPONSE,
    SECURITY,
    chap_session,
    ends_login,
    mutual_session,
    response,
    status,
)
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.stimulus import answer
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Action, Part, Replace, Set, SetKey
from iscsi_protocol.stream import Direction

_ADVANCE_UNASKED = (Set("transit", True), Set("nsg", 1))
_NO_WINDOW = (Set("exp_cmd_sn", 0x10), Set("max_cmd_sn", 0x0E))
_LONG = "0x" + "7e" * 1025
_CHALLENGE, _PROOF = 2, 3
_DIGESTS: dict[str, Any] = {"options": {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST}}
_DATA_DIGEST: dict[str, Any] = {"options": {"data_digest": REQUIRE_DIGEST}}
_EXTRA = {4: lambda _: words(65536, 512), 33: lambda _: words(1025)}

_VARIATION = {
    3: "two-below",
    4: "max-below-first",
    13: "unknown-method",
    14: "unknown-number",
    15: "bad-hex",
    17: "wrong-secret",
    18: "none",
    19: "none",
    33: "hex",
    38: "auth-method-none",
    40: "chap-only",
    41: "no-auth-method",
    61: "answer-no",
    62: "answer-no",
}
"""What is wrong in the way of the event that is logged, where a row does not say it."""


def _first(event: int, other: int | str, what: str, *change: Action, nth: int = 0, **more: Any) -> EventCase:
    """nth: of the security stage, 0 for the final response."""
    spoilt = response(*change, stage=SECURITY, nth=nth) if nth else response(*change)
    dumps = {event: _EXTRA[event]} if event in _EXTRA else {}
    common: dict[str, Any] = {"dumps": dumps, "variation": _VARIATION.get(event, "")}
    return ends_login(
        event,
        f"before-{other}",
        f"{what}: the first of the two is logged.",
        spoilt,
        **{**common, **more},
    )


def _says(**pairs: str | None) -> tuple[Action, ...]:
    return tuple(SetKey(key, value) for key, value in pairs.items())


def _misnamed(play: Play, opcode: int) -> bytes:
    """The header of the PDU with this opcode."""
    return next(bytes(raw.bhs) for raw in play.scene.raw(Direction.TO_INITIATOR) if raw.opcode == opcode)


_IN_SECURITY = (
    _first(41, 16, "No AuthMethod, and a strange key", *_says(AuthMethod=None, CHAP_Q="1"), nth=1, **chap_session()),
    _first(
        41, 11, "No AuthMethod, and a key that is none", SetKey("AuthMethod", None), SetKey("SendTargets", "All"), nth=1
    ),
    _first(38, 16, "No CHAP, and an early key", *_says(AuthMethod="None", InitialR2T="No"), nth=1, **chap_session()),
    _first(
        38, 11, "No CHAP, and a key that is none", *_says(AuthMethod="None", SendTargets="All"), nth=1, **chap_session()
    ),
    _first(40, 16, "CHAP that is not configured, and a strange key", *_says(AuthMethod="CHAP", CHAP_Q="1"), nth=1),
    _first(
        40, 11, "CHAP that is not configured, and a bad group tag", *_says(AuthMethod="CHAP", SendTargets="All"), nth=1
    ),
    _first(
        13, 16, "An unknown method, and a strange key", *_says(AuthMethod="Foo", CHAP_Q="1"), nth=1, **chap_session()
    ),
    _first(13, 11, "An unknown method, and a key that is none", *_says(AuthMethod="Foo", SendTargets="All"), nth=1),
    _first(14, 15, "A bad algorithm and a bad challenge", *_says(CHAP_A="9", CHAP_C="0xZZ"), nth=2, **chap_session()),
    _first(14, 33, "A bad algorithm and a long challenge", *_says(CHAP_A="9", CHAP_C=_LONG), nth=2, **chap_session()),
    _first(14, 16, "A bad algorithm and a bad identifier", *_says(CHAP_A="9", CHAP_I="256"), nth=2, **chap_session()),
    _first(
        15, 16, "A bad challenge and a bad identifier", *_says(CHAP_C="0xZZ", CHAP_I="256"), nth=2, **chap_session()
    ),
    _first(
        33, 16, "A long challenge and a bad identifier", *_says(CHAP_C=_LONG, CHAP_I="256"), nth=2, **chap_session()
    ),
    _first(33, 11, "A long challenge without identifier", *_says(CHAP_C=_LONG, CHAP_I=None), nth=2, **chap_session()),
    _first(
        16,
        17,
        "A strange key and a wrong response",
        *_says(CHAP_Q="1", CHAP_R="0x" + "ee" * 16),
        nth=_PROOF,
        dumps={16: lambda _: b"CHAP_Q=1"},
        variation="unknown-key",
        **mutual_session(),
    ),
    _first(
        16,
        11,
        "A bad identifier without a challenge",
        *_says(CHAP_I="256", CHAP_C=None),
        nth=_CHALLENGE,
        dumps={16: lambda _: b"CHAP_I=256"},
        variation="identifier-out-of-range",
        **chap_session(),
    ),
    _first(
        17,
        11,
        "A wrong response without a name",
        *_says(CHAP_N=None, CHAP_R="0x" + "ee" * 16),
        nth=_PROOF,
        **mutual_session(),
    ),
)

_IN_THE_END = (
    _first(18, 19, "Neither digest", *_says(HeaderDigest="None", DataDigest="None"), **_DIGESTS),
    _first(18, 61, "No header digest, and no order", *_says(DataPDUInOrder="No", HeaderDigest="None"), **_DIGESTS),
    _first(19, 61, "No data digest, and no order", *_says(DataPDUInOrder="No", DataDigest="None"), **_DATA_DIGEST),
    _first(19, 4, "No data digest, and short bursts", *_says(MaxBurstLength="512", DataDigest="None"), **_DATA_DIGEST),
    _first(
        19,
        11,
        "No answer for the data digest, and no number",
        *_says(DataDigest=None, MaxBurstLength="x"),
        **_DATA_DIGEST,
    ),
    _first(61, 62, "Neither order", *_says(DataSequenceInOrder="No", DataPDUInOrder="No")),
    _first(61, 3, "No order, and no window", SetKey("DataPDUInOrder", "No"), *_NO_WINDOW),
    _first(62, 4, "No order of sequences, and short bursts", *_says(MaxBurstLength="512", DataSequenceInOrder="No")),
    _first(62, 11, "No order of sequences, and no Boolean", *_says(ImmediateData="maybe", DataSequenceInOrder="No")),
    _first(4, 3, "Short bursts, and no window", SetKey("MaxBurstLength", "512"), *_NO_WINDOW),
    _first(4, 11, "Short bursts, and no Boolean", *_says(ImmediateData="maybe", MaxBurstLength="512")),
    _first(3, 11, "No window, and no Boolean", SetKey("ImmediateData", "maybe"), *_NO_WINDOW),
    _first(3, "text", "No window, and text that is none", Replace(Part.DATA, b"nonsense\0"), *_NO_WINDOW),
)

_HEADER_FIRST = (
    _first(11, 3, "TSIH 0, and no window", Set("tsih", 0), *_NO_WINDOW, variation="tsih-zero"),
    _first(
        11,
        61,
        "Another ISID, and no order",
        Set("isid", bytes(6)),
        SetKey("DataPDUInOrder", "No"),
        variation="other-isid",
    ),
    _first(
        11,
        41,
        "The reserved stage, and no method",
        Set("nsg", 2),
        SetKey("AuthMethod", None),
        nth=1,
        variation="reserved-stage",
    ),
    _first(
        11,
        14,
        "T that was not asked for, and a bad algorithm",
        *_ADVANCE_UNASKED,
        SetKey("CHAP_A", "9"),
        nth=_CHALLENGE,
        variation="transit-unasked",
        **chap_session(),
    ),
    ends_login(
        11,
        "before-10",
        "Another task tag, and a refusal: the first of the two is logged.",
        status(0x0200, Set("itt", 0x7E57)),
        variation="other-tag",
    ),
    ends_login(
        11,
        "before-12",
        "Another task tag, and a redirection to nowhere: the first of the two is logged.",
        status(0x0101, Set("itt", 0x7E57), Replace(Part.DATA, b"")),
        variation="other-tag",
    ),
    ends_login(
        11,
        "before-40",
        "Another task tag, and a refusal for want of CHAP: the first of the two is logged.",
        status(0x0201, Set("itt", 0x7E57)),
        variation="other-tag",
    ),
    ends_login(
        10,
        "before-41",
        "A refusal without AuthMethod: the refusal is logged.",
        status(0x0300, Replace(Part.DATA, b"TargetAlias=x\0")),
        variation="class-3",
    ),
    ends_login(
        12,
        "before-13",
        "A redirection to nowhere with a method that is none: the redirection is logged.",
        status(0x0101, Replace(Part.DATA, b"AuthMethod=Foo\0TargetAddress=127.0.0.1:0\0")),
        variation="port-out-of-range",
    ),
    *(
        ends_login(
            24,
            f"before-11-{name}",
            "A PDU that no target sends, in place of a Login Response, is told by its opcode.",
            answer(RESPONSE, Set("opcode", opcode)),
            variation=variation,
            dumps={24: lambda play, opcode=opcode: _misnamed(play, opcode)},
        )
        for name, variation, opcode in (("request", "initiator-opcode", 0x03), ("reserved", "reserved-opcode", 0x3B))
    ),
)


register(__name__, (*_IN_SECURITY, *_IN_THE_END, *_HEADER_FIRST), perform)
