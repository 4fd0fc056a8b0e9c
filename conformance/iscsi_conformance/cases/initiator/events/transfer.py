"""Events 26 and 28: data that nobody asked for, and R2Ts for what there is not (RFC 7143 sections 4.2.5, 11.7 and 11.8)."""

from __future__ import annotations

from functools import partial
from typing import Any

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import read, read_in_pieces, write
from iscsi_conformance.events.play import Act, DumpOf, Play, perform, spoilable
from iscsi_conformance.stimulus import answer, request
from iscsi_conformance.verdict import require
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Drop, Fault, Flip, Insert, Of, Part, Plus, Repeat, Replace, Set, Template
from iscsi_protocol.pdu import NO_TAG, R2T, Opcode, SnackRequest

_DATA_IN, _R2T = Opcode.SCSI_DATA_IN, Opcode.R2T
_SOLICITED: dict[str, Any] = {
    "InitialR2T": "Yes",
    "ImmediateData": "No",
    "MaxBurstLength": "65536",
    "FirstBurstLength": "65536",
}
_ANY_ORDER = {"DataSequenceInOrder": "No"}
"""Above recovery level 0 there is no second R2T at a time without it (13.19)."""

_SHORT_BURSTS = {"MaxBurstLength": "32768", "FirstBurstLength": "32768"}
_PIECES = {"max_recv_data_segment_length": 8192, "max_burst_length": 16384, "first_burst_length": 8192}

_EXCESS: tuple[tuple[str, str, int, tuple[Fault, ...], Act], ...] = (
    (
        "offset-beyond",
        "beyond-the-length",
        0,
        (answer(_DATA_IN, Set("buffer_offset", 1 << 20)),),
        partial(read, blocks=1),
    ),
    (
        "data-beyond",
        "beyond-the-length",
        0,
        (answer(_DATA_IN, Replace(Part.DATA, bytes(1024))),),
        partial(read, blocks=1),
    ),
    (
        "burst-never-ends",
        "burst-too-long",
        2,
        (answer(_DATA_IN, Set("final", False), nth=2),),
        read_in_pieces,
    ),
    (
        "same-data-again",
        "overlap",
        1,
        (answer(_DATA_IN, Set("buffer_offset", Plus(-8192)), nth=2),),
        read_in_pieces,
    ),
    (
        "same-pdu-again",
        "overlap",
        0,
        (answer(_DATA_IN, Repeat()),),
        read_in_pieces,
    ),
)


def _data_in(place: int) -> DumpOf:
    """The header of the Data-In that came so many behind the first."""
    return lambda play: bytes([raw for raw in play.received_raw() if raw.opcode == _DATA_IN][place].bhs)


def _asked_again(play: Play) -> None:
    require(play.sent(SnackRequest), play.name, "a SNACK asks for what is missing")


_DATA = (
    *(
        EventCase(
            event=26,
            name=name,
            variation=variation,
            says=f"Data that was not asked for ({name.replace('-', ' ')}) fails the command and ends the connections.",
            spoils=spoils,
            settings=_PIECES,
            does=act,
            logged=(26, 34),
            dumps={26: _data_in(place)},
            then=Then.FAILS_AND_RECOVERS,
        )
        for name, variation, place, spoils, act in _EXCESS
    ),
    EventCase(
        event=26,
        name="data-sn-gap",
        says="A gap in DataSN at recovery level 0 fails the command, and there is nothing to log.",
        spoils=(answer(_DATA_IN, Drop(), nth=2),),
        settings=_PIECES,
        does=read_in_pieces,
        then=Then.FAILS_REQUEST,
        proofs=("event.26.takes-gap-for-excess",),
    ),
    *(
        EventCase(
            event=26,
            name=f"asked-again-level-{level}",
            variation="asked-again",
            says=f"At recovery level {level} data that a SNACK asked for comes late, and there is nothing to log.",
            spoils=(answer(_DATA_IN, Drop(), nth=2),),
            settings=_PIECES,
            level=level,
            does=read_in_pieces,
            then=Then.DONE,
            watch=_asked_again,
            proofs=("event.26.takes-gap-for-excess",),
        )
        for level in (1, 2)
    ),
)

_SECOND_R2T = Template(
    R2T,
    {
        "itt": Of("trigger.itt"),
        "ttt": 0x7777,
        "lun": Of("trigger.lun"),
        "r2t_sn": 1,
        "stat_sn": Of("trigger.stat_sn"),
        "exp_cmd_sn": Of("trigger.exp_cmd_sn"),
        "max_cmd_sn": Of("trigger.max_cmd_sn"),
        "buffer_offset": 65536,
        "desired_data_transfer_length": 512,
    },
)
_FOR_A_READ = Template(
    R2T,
    {
        "itt": Of("trigger.itt"),
        "ttt": 0x7777,
        "stat_sn": Of("stat_sn"),
        "exp_cmd_sn": Of("trigger.exp_cmd_sn"),
        "max_cmd_sn": Of("trigger.max_cmd_sn"),
        "desired_data_transfer_length": 512,
    },
)

_WRONG_R2T: tuple[tuple[str, str, tuple[Fault, ...]], ...] = (
    ("length-zero", "length-zero", (answer(_R2T, Set("desired_data_transfer_length", 0)),)),
    ("over-max-burst", "over-max-burst", (answer(_R2T, Set("desired_data_transfer_length", 65537)),)),
    ("largest", "over-max-burst", (answer(_R2T, Set("desired_data_transfer_length", 0xFFFFFFFF)),)),
    ("offset-past-the-write", "past-the-write", (answer(_R2T, Set("buffer_offset", 1 << 20)),)),
    ("end-past-the-write", "past-the-write", (answer(_R2T, Set("buffer_offset", 98304)),)),
    ("sn-gap", "sn-gap", (answer(_R2T, Set("r2t_sn", Plus(1))),)),
    ("sn-repeated", "sn-gap", (answer(_R2T, Set("r2t_sn", 0), nth=2),)),
    ("too-many", "too-many", (answer(_R2T, Insert(_SECOND_R2T)),)),
    ("reserved-tag", "reserved-tag", (answer(_R2T, Set("ttt", NO_TAG)),)),
)

_REQUESTS = (
    *(
        EventCase(
            event=28,
            name=name,
            variation=variation,
            says=f"An R2T that cannot be ({name.replace('-', ' ')}) fails the command and ends the connections.",
            spoils=spoils,
            config=spoilable(**_SOLICITED),
            does=write,
            logged=(28, 34),
            then=Then.FAILS_AND_RECOVERS,
        )
        for name, variation, spoils in _WRONG_R2T
    ),
    EventCase(
        event=28,
        name="for-a-read",
        says="An R2T for a read fails the command and ends the connections.",
        spoils=(answer(_DATA_IN, Insert(_FOR_A_READ, before=True)),),
        does=read,
        logged=(28, 34),
        dumps={28: lambda play: bytes(_first_r2t(play))},
        then=Then.FAILS_AND_RECOVERS,
    ),
    *(
        EventCase(
            event=28,
            name=f"gap-asked-again-level-{level}",
            variation="gap-asked-again",
            says=f"At recovery level {level} an R2T that was lost is asked for, and there is nothing to log.",
            spoils=(answer(_R2T, Drop(), nth=1),),
            config=spoilable(level, **{**_SOLICITED, **_SHORT_BURSTS, **_ANY_ORDER, "MaxOutstandingR2T": "2"}),
            options={"extra_keys": tuple(_ANY_ORDER.items())},
            settings={"max_outstanding_r2t": 2, "first_burst_length": 32768},
            level=level,
            does=write,
            then=Then.DONE,
            watch=_asked_again,
            proofs=("event.28.takes-late-r2t-for-wrong",),
        )
        for level in (1, 2)
    ),
)

_RECOVERY = tuple(
    EventCase(
        event=28,
        name=f"recovery-r2t-level-{level}",
        variation="recovery-r2t",
        says=f"At recovery level {level} an R2T may ask again for data that came damaged; the Reject is what is logged.",
        spoils=(request(Opcode.SCSI_DATA_OUT, Flip(Part.DATA_DIGEST)),),
        config=spoilable(level, **_SOLICITED),
        options={"data_digest": REQUIRE_DIGEST},
        level=level,
        does=write,
        logged=(29,),
        then=Then.DONE,
        proofs=("event.28.takes-late-r2t-for-wrong",),
    )
    for level in (1, 2)
)


def _first_r2t(play: Play) -> bytes:
    return next(bytes(raw.bhs) for raw in play.received_raw() if raw.opcode == _R2T)


register(__name__, (*_DATA, *_REQUESTS, *_RECOVERY), perform)
