"""What initiators do wrong with the data of commands (RFC 7143 sections 4.2.5.2, 11.3, 11.7, 11.8, 13.10 to 13.14)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import Drop, FieldIs, HasKey, Hold, Part, Plus, Poke, Relation, Replace, Set, SetKey
from iscsi_protocol.pdu import NO_TAG, Opcode

_COMMAND = Opcode.SCSI_COMMAND
_OUT = Opcode.SCSI_DATA_OUT
_RESPONSE = Opcode.LOGIN_RESPONSE
_SOLICITED = (FieldIs("ttt", NO_TAG, Relation.DIFFERENT),)
_UNSOLICITED = (FieldIs("ttt", NO_TAG),)
_READ = (FieldIs("read", True),)

FAULTS = (
    sends(
        "idata.number-goes-on", "DataSN goes on in the next sequence.", _OUT, Set("data_sn", Plus(2)), nth=3, times=0
    ),
    sends("idata.number-stays", "DataSN stays 0.", _OUT, Set("data_sn", 0), times=0),
    sends("idata.never-final", "The last Data-Out has no F.", _OUT, Set("final", False), times=0),
    sends("idata.lun-left-out", "Data-Out has no LUN.", _OUT, Poke(8, bytes(8)), tests=_SOLICITED, times=0),
    sends("idata.other-transfer-tag", "Data-Out has a tag of its own.", _OUT, Set("ttt", Plus(1)), times=0),
    sends("idata.beyond-the-r2t", "Data-Out lies beyond what was asked for.", _OUT, Set("buffer_offset", Plus(65536))),
    sends("idata.pieces-swapped", "The second Data-Out comes before the first.", _OUT, Hold(pdus=1)),
    sends("idata.gap", "A Data-Out in the middle of an answer is left out.", _OUT, Drop(), nth=2),
    sends(
        "idata.overlap", "A Data-Out begins where the one before did.", _OUT, Set("buffer_offset", Plus(-4096)), nth=2
    ),
    sends("idata.half-an-answer", "An R2T is answered with 512 bytes.", _OUT, Replace(Part.DATA, bytes(512))),
    sends("idata.second-r2t-first", "The second R2T is answered before the first.", _OUT, Hold(pdus=1)),
    takes_for(
        "idata.long-segments",
        "The target's MaxRecvDataSegmentLength does not matter.",
        _RESPONSE,
        SetKey("MaxRecvDataSegmentLength", "65536"),
        tests=(HasKey("MaxRecvDataSegmentLength"),),
    ),
    takes_for(
        "idata.long-first-burst",
        "FirstBurstLength is that of the offer, not that of the answer.",
        _RESPONSE,
        SetKey("FirstBurstLength", "8192"),
        tests=(HasKey("FirstBurstLength"),),
    ),
    takes_for(
        "idata.short-first-burst",
        "Less is sent unsolicited than is due.",
        _RESPONSE,
        SetKey("FirstBurstLength", "3072"),
        tests=(HasKey("FirstBurstLength"),),
    ),
    takes_for(
        "idata.immediate-all-the-same",
        "ImmediateData=No does not matter.",
        _RESPONSE,
        SetKey("ImmediateData", "Yes"),
        tests=(HasKey("ImmediateData"),),
    ),
    takes_for(
        "idata.unsolicited-all-the-same",
        "InitialR2T=Yes does not matter.",
        _RESPONSE,
        SetKey("InitialR2T", "No"),
        tests=(HasKey("InitialR2T"),),
    ),
    sends(
        "idata.unsolicited-with-tag", "Unsolicited data has a transfer tag.", _OUT, Set("ttt", 1), tests=_UNSOLICITED
    ),
    sends(
        "idata.unsolicited-out-of-turn",
        "The unsolicited data of a command comes behind that of the next one.",
        _OUT,
        Hold(pdus=2),
        tests=_UNSOLICITED,
    ),
    sends(
        "idata.final-in-spite-of-data",
        "F is set though unsolicited data follows.",
        _COMMAND,
        Set("final", True),
        times=0,
    ),
    sends(
        "idata.data-promised",
        "F is not set though the immediate data is all of it.",
        _COMMAND,
        Set("final", False),
        tests=(FieldIs("write", True),),
        times=0,
    ),
    sends("idata.neither-write-nor-final", "A read has neither W nor F.", _COMMAND, Set("final", False), tests=_READ),
    sends("idata.no-direction", "A read has neither R nor W.", _COMMAND, Set("read", False), tests=_READ),
    behaves("idata.answers-any-r2t", "An R2T that asks for what there is not is answered.", accept_invalid_r2t=True),
    takes_for(
        "idata.takes-reserved-tag",
        "An R2T with the reserved transfer tag is answered.",
        Opcode.R2T,
        Set("ttt", 3),
        tests=(FieldIs("ttt", NO_TAG),),
    ),
    behaves("idata.takes-any-data", "Data beyond the end of a read is passed over.", accept_excess_data=True),
    behaves("idata.takes-long-segments", "Data segments of any length are taken.", accept_oversized_segments=True),
    takes_for(
        "idata.does-not-see-the-gap",
        "A gap in DataSN does not matter.",
        Opcode.SCSI_DATA_IN,
        Set("data_sn", 0),
    ),
    takes_for(
        "idata.does-not-see-the-status",
        "Status within Data-In is not understood.",
        Opcode.SCSI_DATA_IN,
        Set("status_present", False),
    ),
)
