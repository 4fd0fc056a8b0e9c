"""Events 21, 22, 24 and 25: PDUs that are wrong before anybody asks what they mean (RFC 7143 sections 7.7, 7.8 and 11.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import (
    ANSWERS,
    be_told,
    check_condition,
    negotiate,
    ping,
    read,
    read_in_pieces,
    rejected,
    send_targets,
    tell,
    test,
    test_twice,
)
from iscsi_conformance.events.dumps import latest_header, unfinished_header
from iscsi_conformance.events.play import Act, Play, perform
from iscsi_conformance.stimulus import answer, damaged
from iscsi_conformance.verdict import require
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Fault, Part, Replace, Set
from iscsi_protocol.pdu import Opcode, SnackRequest, SnackType

_DIGESTS = {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST}
_LIMIT = 512
_SMALL = {"max_recv_data_segment_length": _LIMIT}
_OVER = Replace(Part.DATA, bytes(_LIMIT + 1))


def _snacks(kind: SnackType) -> Callable[[Play], None]:
    """A SNACK of this type asked for what was damaged."""

    def watch(play: Play) -> None:
        seen = [pdu.snack_type for pdu in play.sent(SnackRequest)]
        require(seen == [kind], play.name, f"one SNACK of type {kind} asks for it again", seen=seen)

    return watch


_TOO_LONG = (
    *(
        EventCase(
            event=21,
            name=name,
            says=f"A {name} with a byte more than the initiator takes ends the session's connections.",
            spoils=spoils,
            settings=_SMALL,
            does=act,
            logged=(21, 34),
            then=then,
            touches=("R7143-13.12-01",),
        )
        for name, spoils, act, then in (
            ("data-in", (answer(Opcode.SCSI_DATA_IN, _OVER),), partial(read, blocks=1), Then.FAILS_AND_RECOVERS),
            ("text", (answer(Opcode.TEXT_RESPONSE, _OVER),), negotiate, Then.FAILS_AND_RECOVERS),
            ("nop-in", (answer(Opcode.NOP_IN, _OVER),), ping, Then.FAILS_AND_RECOVERS),
            ("reject", (*rejected(), answer(Opcode.REJECT, _OVER)), negotiate, Then.FAILS_AND_RECOVERS),
            ("async", (answer(Opcode.ASYNC_MESSAGE, _OVER),), tell, Then.RECOVERS),
        )
    ),
    EventCase(
        event=21,
        name="largest",
        says="A header that announces 0xFFFFFF bytes ends the session's connections, though they never come.",
        spoils=(answer(Opcode.SCSI_RESPONSE, Set("data_segment_length", 0xFFFFFF)),),
        does=test,
        logged=(21, 34),
        dumps={21: unfinished_header},
        then=Then.FAILS_AND_RECOVERS,
    ),
)


def _header_digest(name: str, part: Part, offset: int, variation: str) -> list[EventCase]:
    return [
        EventCase(
            event=22,
            name=f"{kind}-{name}",
            variation=variation,
            says=f"A {kind.replace('-', ' ')} whose {name.replace('-', ' ')} was damaged ends the connection.",
            spoils=(damaged(one.opcode, part, offset), *one.spoils),
            options=_DIGESTS,
            does=one.act,
            logged=(22,) if one.leaves else (22, 34),
            then=Then.OVER if one.leaves else Then.RECOVERS,
            touches=("R7143-7.8-01",),
        )
        for kind, one in ANSWERS.items()
    ]


_HEADER_DIGEST = (
    *_header_digest("header-bit", Part.BHS, 47, "header-bit"),
    *_header_digest("digest-bit", Part.HEADER_DIGEST, 0, "digest-bit"),
    *(
        EventCase(
            event=22,
            name=f"dropped-{kind}",
            variation="dropped-by-policy",
            says=f"Told to trust the length, the initiator drops a damaged {kind.replace('-', ' ')} alone, and asks for it.",
            spoils=(damaged(ANSWERS[kind].opcode, Part.BHS, 47),),
            options=_DIGESTS,
            switches={"drop_on_header_digest_error": True},
            level=1,
            does=act,
            logged=(22,),
            then=Then.DONE,
            watch=_snacks(snack),
            proofs=("event.22.silent", "event.22.twice", "event.22.wrong-dump"),
        )
        for kind, act, snack in (
            ("data-in", read_in_pieces, SnackType.DATA_OR_R2T),
            ("scsi-response", test_twice, SnackType.STATUS),
        )
    ),
    *(
        EventCase(
            event=22,
            name=f"response-level-{level}",
            variation="header-bit",
            says=f"At recovery level {level} a damaged header ends the connection too, and the session works on.",
            spoils=(damaged(Opcode.SCSI_RESPONSE, Part.BHS, 47),),
            options=_DIGESTS,
            level=level,
            does=test,
            logged=(22, 34),
        )
        for level in (1, 2)
    ),
)

_INITIATOR_OPCODES = (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x07, 0x1C, 0x1F)
_RESERVED_OPCODES = (0x27, 0x28, 0x30, 0x33, 0x37, 0x3B)
_VENDOR_OPCODES = (0x3C, 0x3D, 0x3E)

_OPCODES = tuple(
    EventCase(
        event=24,
        name=f"opcode-{opcode:02x}",
        variation=variation,
        says=f"A PDU with opcode {opcode:#04x}, which no target may send here, ends the session's connections.",
        spoils=(answer(Opcode.SCSI_RESPONSE, Set("opcode", opcode)),),
        does=test,
        logged=(24, 34),
        dumps={24: latest_header},
    )
    for variation, opcodes in (
        ("initiator-opcode", _INITIATOR_OPCODES),
        ("reserved-opcode", _RESERVED_OPCODES),
        ("vendor-opcode", _VENDOR_OPCODES),
    )
    for opcode in opcodes
)

_DAMAGE: tuple[tuple[str, str, Fault, Act, SnackType], ...] = (
    ("data-in-data", "data-in", damaged(Opcode.SCSI_DATA_IN, Part.DATA, 3), read_in_pieces, SnackType.DATA_OR_R2T),
    (
        "data-in-digest",
        "digest-bit",
        damaged(Opcode.SCSI_DATA_IN, Part.DATA_DIGEST),
        read_in_pieces,
        SnackType.DATA_OR_R2T,
    ),
    ("data-in-with-status", "data-in", damaged(Opcode.SCSI_DATA_IN, Part.DATA, 3), read, SnackType.STATUS),
    ("text", "text", damaged(Opcode.TEXT_RESPONSE, Part.DATA, 0), send_targets, SnackType.STATUS),
    ("nop-in", "nop-in", damaged(Opcode.NOP_IN, Part.DATA, 5), ping, SnackType.STATUS),
    ("nop-in-data", "data-bit", damaged(Opcode.NOP_IN, Part.DATA, 0), ping, SnackType.STATUS),
    ("nop-in-padding", "padding-bit", damaged(Opcode.NOP_IN, Part.PADDING, 0), ping, SnackType.STATUS),
    ("sense", "sense", damaged(Opcode.SCSI_RESPONSE, Part.DATA, 4), check_condition, SnackType.STATUS),
)

_USED = ("event.25.silent", "event.25.twice", "event.25.wrong-dump", "idigest.ignores-data-digest")
"""What proves a case where later data shows the gap, so that damage which is not asked for at once is asked for then."""

_DATA_DIGEST = (
    *(
        EventCase(
            event=25,
            name=name,
            variation=variation,
            says=f"At recovery level 0 damage ({name.replace('-', ' ')}) ends the session's connections.",
            spoils=(spoils,),
            options=_DIGESTS,
            does=act,
            logged=(25, 34),
            then=Then.RECOVERS,
        )
        for name, variation, spoils, act, _ in _DAMAGE
    ),
    *(
        EventCase(
            event=25,
            name=f"{name}-level-{level}",
            variation=variation,
            says=f"At recovery level {level} what was damaged ({name.replace('-', ' ')}) is asked for again.",
            spoils=(spoils,),
            options=_DIGESTS,
            level=level,
            does=act,
            logged=(25,),
            then=Then.DONE,
            watch=_snacks(kind),
            proofs=_USED if act is read_in_pieces else None,
        )
        for level in (1, 2)
        for name, variation, spoils, act, kind in _DAMAGE
    ),
)

_UNASKED = (
    EventCase(
        event=25,
        name="async",
        variation="data-bit",
        says="An Asynchronous Message with damaged data ends the session's connections at recovery level 0.",
        spoils=(damaged(Opcode.ASYNC_MESSAGE, Part.DATA, 0),),
        options=_DIGESTS,
        does=be_told,
        logged=(25, 34),
    ),
)

register(__name__, (*_TOO_LONG, *_HEADER_DIGEST, *_OPCODES, *_DATA_DIGEST, *_UNASKED), perform)
