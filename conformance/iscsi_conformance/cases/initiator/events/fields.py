"""Events 23 and 60: fields and data that a PDU of the target may not have (RFC 7143 chapter 11)."""

from __future__ import annotations

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import (
    check_condition,
    log_out,
    negotiate,
    ping,
    read,
    rejected,
    reset_unit,
    tell,
    test,
    write,
)
from iscsi_conformance.events.play import Act, perform
from iscsi_conformance.stimulus import answer
from iscsi_protocol.fault import Fault, Part, Poke, Replace, Set
from iscsi_protocol.pdu import Opcode

_RESPONSE, _DATA_IN, _TEXT, _NOP = Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.TEXT_RESPONSE, Opcode.NOP_IN

_WRONG: tuple[tuple[str, str, tuple[Fault, ...], Act, Then], ...] = (
    *(
        (f"scsi-response-{name}", "scsi-response", (answer(_RESPONSE, *change),), test, Then.FAILS_AND_RECOVERS)
        for name, change in (
            ("both-residuals", (Set("overflow", True), Set("underflow", True))),
            ("both-read-residuals", (Set("bidi_overflow", True), Set("bidi_underflow", True))),
            ("response-02", (Set("response", 0x02),)),
            ("response-7f", (Set("response", 0x7F),)),
            ("residual-with-response", (Set("response", 1), Set("underflow", True), Set("residual_count", 1))),
            ("reserved-status", (Set("status", 0x3F),)),
        )
    ),
    (
        "no-sense",
        "missing-sense",
        (answer(_RESPONSE, Replace(Part.DATA, b"")),),
        check_condition,
        Then.FAILS_AND_RECOVERS,
    ),
    (
        "empty-sense",
        "missing-sense",
        (answer(_RESPONSE, Replace(Part.DATA, bytes(2))),),
        check_condition,
        Then.FAILS_AND_RECOVERS,
    ),
    *(
        (f"data-in-{name}", "data-in", (answer(_DATA_IN, *change),), read, Then.FAILS_AND_RECOVERS)
        for name, change in (
            ("both-residuals", (Set("overflow", True), Set("underflow", True))),
            ("status-without-final", (Set("final", False),)),
            ("status-with-sense", (Set("status", 0x02),)),
        )
    ),
    (
        "r2t-with-data",
        "r2t",
        (answer(Opcode.R2T, Replace(Part.DATA, b"data")),),
        write,
        Then.FAILS_AND_RECOVERS,
    ),
    *(
        (
            f"task-management-{code:02x}",
            "task-management",
            (answer(Opcode.TASK_MANAGEMENT_RESPONSE, Set("response", code)),),
            reset_unit,
            Then.FAILS_AND_RECOVERS,
        )
        for code in (0x08, 0x7F, 0xFE)
    ),
    *(
        (
            f"logout-{code:02x}",
            "logout",
            (answer(Opcode.LOGOUT_RESPONSE, Set("response", code)),),
            log_out,
            Then.OVER,
        )
        for code in (0x04, 0xFF)
    ),
    *(
        (f"text-{name}", "text", (answer(_TEXT, *change),), negotiate, Then.FAILS_AND_RECOVERS)
        for name, change in (
            ("final-and-continue", (Set("continued", True),)),
            ("final-with-tag", (Set("ttt", 7),)),
            ("tag-missing", (Set("final", False),)),
        )
    ),
    ("nop-in-both-tags", "nop-in", (answer(_NOP, Set("ttt", 7)),), ping, Then.FAILS_AND_RECOVERS),
    *(
        (
            f"async-event-{code:02x}",
            "async",
            (answer(Opcode.ASYNC_MESSAGE, Set("async_event", code)),),
            tell,
            Then.RECOVERS,
        )
        for code in (0x06, 0xF7)
    ),
    *(
        (
            f"reject-reason-{code:02x}",
            "reject",
            (*rejected(), answer(Opcode.REJECT, Set("reason", code))),
            negotiate,
            Then.FAILS_AND_RECOVERS,
        )
        for code in (0x00, 0x0D, 0xFF)
    ),
    (
        "reject-without-header",
        "reject",
        (*rejected(), answer(Opcode.REJECT, Replace(Part.DATA, bytes(44)))),
        negotiate,
        Then.FAILS_AND_RECOVERS,
    ),
)


_FIELDS = tuple(
    EventCase(
        event=23,
        name=name,
        variation=variation,
        says=f"A PDU with an invalid field ({name.replace('-', ' ')}) ends the session's connections.",
        spoils=spoils,
        does=act,
        logged=(23,) if then is Then.OVER else (23, 34),
        then=then,
        touches=("R7143-7.7-01",),
    )
    for name, variation, spoils, act, then in _WRONG
)

_RIGHT: tuple[tuple[str, str, tuple[Fault, ...], Act, str], ...] = (
    (
        "reserved-bits",
        "reserved-fields",
        (answer(_RESPONSE, Poke(8, b"\xff" * 8), Set("snack_tag", 0)),),
        test,
        "event.23.judges-reserved-fields",
    ),
    (
        "reserved-nop-in-bytes",
        "reserved-fields",
        (answer(_NOP, Poke(36, b"\xff" * 12)),),
        ping,
        "event.23.judges-reserved-nop-in",
    ),
    (
        "vendor-response",
        "vendor-response",
        (answer(_RESPONSE, Set("response", 0x80)),),
        test,
        "event.23.judges-vendor-responses",
    ),
    (
        "vendor-response-ff",
        "vendor-response",
        (answer(_RESPONSE, Set("response", 0xFF)),),
        test,
        "event.23.judges-vendor-responses",
    ),
)

_NEAR_FIELDS = tuple(
    EventCase(
        event=23,
        name=name,
        variation=variation,
        says=f"{name.replace('-', ' ').capitalize()}: nothing that an initiator may mind.",
        spoils=spoils,
        does=act,
        then=Then.GOES_ON,
        proofs=(proof,),
    )
    for name, variation, spoils, act, proof in _RIGHT
)

_NO_SENSE_DATA = Replace(Part.DATA, bytes.fromhex("0000") + b"data")
_SENSE = bytes.fromhex("0012 70 00 05 00000000 0a 00000000 20 00 00 000000")
_LEVEL_2 = {"extra_keys": (("iSCSIProtocolLevel", "2"),)}

_SENSE_DATA = (
    EventCase(
        event=60,
        name="good-with-data",
        says="GOOD with data that is no sense data ends the session's connections.",
        spoils=(answer(_RESPONSE, Replace(Part.DATA, _SENSE)),),
        does=test,
        logged=(60, 34),
        then=Then.FAILS_AND_RECOVERS,
    ),
    EventCase(
        event=60,
        name="data-behind-empty-sense",
        variation="good-with-data",
        says="GOOD with data behind an empty sense ends the session's connections.",
        spoils=(answer(_RESPONSE, _NO_SENSE_DATA),),
        does=test,
        logged=(60, 34),
        then=Then.FAILS_AND_RECOVERS,
    ),
    EventCase(
        event=60,
        name="sense-length-beyond",
        says="A SenseLength beyond the data segment ends the session's connections.",
        spoils=(answer(_RESPONSE, Replace(Part.DATA, b"\x00\xff" + _SENSE[2:])),),
        does=check_condition,
        logged=(60, 34),
        then=Then.FAILS_AND_RECOVERS,
    ),
    EventCase(
        event=60,
        name="one-byte",
        variation="sense-length-beyond",
        says="A data segment too short for a SenseLength ends the session's connections.",
        spoils=(answer(_RESPONSE, Replace(Part.DATA, b"\x01")),),
        does=test,
        logged=(60, 34),
        then=Then.FAILS_AND_RECOVERS,
    ),
    EventCase(
        event=60,
        name="response-data",
        says="Data with a response other than 0 is response data, and nothing to log.",
        spoils=(answer(_RESPONSE, Set("response", 1), _NO_SENSE_DATA),),
        does=test,
        then=Then.GOES_ON,
        proofs=("event.60.takes-target-failure-for-completed",),
    ),
    EventCase(
        event=60,
        name="sense-at-level-2",
        says="At iSCSIProtocolLevel 2 sense data may come with any status.",
        spoils=(answer(_RESPONSE, Replace(Part.DATA, _SENSE)),),
        options=_LEVEL_2,
        does=test,
        then=Then.DONE,
        proofs=("event.60.forgets-protocol-level",),
        touches=("R7144-5.2.2-01",),
    ),
)

register(__name__, (*_FIELDS, *_NEAR_FIELDS, *_SENSE_DATA), perform)
