"""Each rule about data, R2T and SCSI Response: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

import pytest

from iscsi_captures.rules import data_in, data_out, r2t, response
from iscsi_protocol.pdu import NO_TAG

AREAS = (data_in, data_out, r2t, response)
LUN_1 = b"\0\1" + bytes(6)
PART = {"final": False, "status_present": False}
TWO_R2TS = {"MaxOutstandingR2T": "2"}


def unsolicited(s, **keys):
    """A session where unsolicited data is allowed, up to 4096 bytes."""
    return s.ready(**{"InitialR2T": "No", "FirstBurstLength": "4096"} | keys)


def small_bursts(s, **keys):
    """A session with bursts of at most 4096 bytes."""
    return s.ready(MaxBurstLength="4096", **keys)


def short(s, residual):
    """Half of a read comes, with an underflow of so much."""
    end = {"final": True, "status_present": True}
    return s.ready().read(8192).data_in(4096, underflow=True, residual_count=residual, **end)


def two_writes(s):
    """Two writes whose unsolicited data is due; `former` is the first one."""
    unsolicited(s).write(final=False)
    s.former = s.task
    return s.write(final=False)


def both_written(s):
    """The data of both comes in the order of the commands."""
    two_writes(s)
    s.former, s.task = s.task, s.former
    s.data_out().response()
    s.task = s.former
    return s.data_out().response()


def pair(s):
    """Two connections of one session; the script speaks on the second one."""
    s.ready(MaxConnections="2")
    s.cid = 1
    return s.connect(2).login_request().login_response().on(1)


def two_r2ts(s):
    """A write with two R2Ts open; gives the script and what each R2T stands for."""
    s.ready(**TWO_R2TS).write(8192).r2t(4096)
    first = dict(s.task)
    s.r2t(4096, buffer_offset=4096)
    return s, first, dict(s.task)


def answered_backwards(s):
    """The later R2T is answered first."""
    s, _, _ = two_r2ts(s)
    return s.data_out()


def second_begun(s, length):
    """The first of two R2Ts gets so much data without F, then the second one is answered."""
    s, first, second = two_r2ts(s)
    s.task = first
    s.data_out(length, final=False)
    s.task = second
    return s.data_out()


def answered_in_order(s):
    """Both R2Ts are answered in their order."""
    s, first, second = two_r2ts(s)
    s.task = first
    s.data_out()
    s.task = second
    return s.data_out().response()


def answered(s, **fields):
    """A read with its data, and the status apart."""
    return s.ready().read().data_in(final=True, status_present=False).response(**fields)


def after_abort(s, function, **fields):
    """A read that a task management function ends, and its answer nevertheless."""
    s.ready().read()
    s.tmf(function, **fields).tmf_response()
    s.task = s.former
    return s


ABORT = {"referenced_task_tag": 1, "ref_cmd_sn": 100}

TABLE = {
    "datain.data-sn": (
        (
            lambda s: s.ready().read(8192).data_in(4096, data_sn=1),
            lambda s: s.ready().read(8192).data_in(4096).data_in(4096, data_sn=0),
        ),
        (
            lambda s: (
                s.ready().read(8192).data_in(4096, data_sn=0, final=True, status_present=False).data_in(4096, data_sn=1)
            ),
        ),
    ),
    "datain.shared-data-sn": (
        (lambda s: s.ready().both().r2t().data_out().data_in(data_sn=0, final=True, status_present=False),),
        (lambda s: s.ready().both().r2t().data_out().data_in(data_sn=1, final=True, status_present=False),),
    ),
    "datain.unknown-tag": (
        (lambda s: s.ready().read().data_in(itt=99), lambda s: s.ready().read().data_in().data_in(0)),
        (lambda s: s.ready().read(itt=99).data_in(),),
    ),
    "datain.other-connection": (
        (lambda s: pair(s).read().on(2).data_in(), lambda s: pair(s).command().on(2).response()),
        (lambda s: pair(s).read().data_in().on(2).read().data_in(),),
    ),
    "datain.no-read": (
        (
            lambda s: s.ready().write().data_in(4),
            lambda s: s.ready().command().data_in(4),
            lambda s: s.ready().nop_out(itt=1).read(itt=2).data_in(itt=1),
        ),
        (lambda s: s.ready().read(4).data_in(4),),
    ),
    "datain.segment-too-long": (
        (
            lambda s: s.ready(MaxRecvDataSegmentLength="512").read().data_in(516),
            lambda s: s.ready().read(8196).data_in(8196),
        ),
        (
            lambda s: s.ready(MaxRecvDataSegmentLength="512").read(512).data_in(512),
            lambda s: s.ready().read(8192).data_in(8192),
        ),
    ),
    "datain.beyond-expected-length": (
        (
            lambda s: s.ready().read(4096).data_in(4100, **PART),
            lambda s: s.ready().read().data_in(4, buffer_offset=4096, **PART),
        ),
        (lambda s: s.ready().read().data_in(4092).data_in(4),),
    ),
    "datain.pdu-order": (
        (
            lambda s: s.ready().read(8192).data_in(4096).data_in(2048, buffer_offset=4092),
            lambda s: s.ready().read(8192).data_in(4096, buffer_offset=4096).data_in(4096, buffer_offset=0),
        ),
        (
            lambda s: (
                s.ready(DataPDUInOrder="No")
                .read(8192)
                .data_in(4096, buffer_offset=4096, **PART)
                .data_in(4096, buffer_offset=0, final=True, status_present=True)
            ),
        ),
    ),
    "datain.sequence-order": (
        (lambda s: s.ready().read(8192).data_in(4096, final=True).data_in(4096, buffer_offset=0, final=True),),
        (
            lambda s: (
                s.ready(DataSequenceInOrder="No")
                .read(8192)
                .data_in(4096, buffer_offset=4096, final=True, status_present=False)
                .data_in(4096, buffer_offset=0, final=True, status_present=True)
            ),
        ),
    ),
    "datain.burst-too-long": (
        (lambda s: small_bursts(s).read(8192).data_in(4096).data_in(4),),
        (lambda s: small_bursts(s).read(8192).data_in(4096, final=True, status_present=False).data_in(4096),),
    ),
    "data.segment-not-whole-words": (
        (lambda s: s.ready().read().data_in(5), lambda s: s.ready().write().r2t().data_out(5)),
        (lambda s: s.ready().read(5).data_in(5), lambda s: s.ready().write(5).r2t().data_out(5).response()),
    ),
    "datain.status-without-final": (
        (lambda s: s.ready().read().data_in(final=False, status_present=True),),
        (lambda s: s.ready().read().data_in(final=True, status_present=True),),
    ),
    "datain.status-not-good": (
        (lambda s: s.ready().read().data_in(status=2), lambda s: s.ready().read().data_in(status=8)),
        (lambda s: s.ready().read().data_in(status=4), lambda s: s.ready().read().data_in(status=0x14)),
    ),
    "datain.status-of-bidirectional": (
        (lambda s: s.ready().both(0).data_in(4096, final=True, status_present=True),),
        (lambda s: s.ready().both(0).data_in(4096, final=True, status_present=False).response(),),
    ),
    "datain.acknowledge-at-level-0": (
        (lambda s: s.ready().read().data_in(acknowledge=True, ttt=1),),
        (lambda s: s.ready(ErrorRecoveryLevel="1").read().data_in(acknowledge=True, ttt=1),),
    ),
    "datain.acknowledge-too-often": (
        (
            lambda s: (
                small_bursts(s, ErrorRecoveryLevel="1")
                .read(8192)
                .data_in(1024, acknowledge=True, ttt=1, **PART)
                .data_in(1024, acknowledge=True, ttt=1, **PART)
            ),
        ),
        (
            lambda s: (
                small_bursts(s, ErrorRecoveryLevel="1")
                .read(8192)
                .data_in(4096, acknowledge=True, ttt=1, final=True, status_present=False)
                .data_in(4096, acknowledge=True, ttt=1)
            ),
        ),
    ),
    "datain.acknowledge-without-tag": (
        (lambda s: s.ready(ErrorRecoveryLevel="1").read().data_in(acknowledge=True),),
        (lambda s: s.ready(ErrorRecoveryLevel="1").read().data_in(acknowledge=True, ttt=0),),
    ),
    "datain.lun": (
        (lambda s: s.ready(ErrorRecoveryLevel="1").read(lun=LUN_1).data_in(acknowledge=True, ttt=1),),
        (lambda s: s.ready(ErrorRecoveryLevel="1").read(lun=LUN_1).data_in(acknowledge=True, ttt=1, lun=LUN_1),),
    ),
    "dataout.unknown-tag": (
        (
            lambda s: s.ready().write().r2t().data_out(itt=99),
            lambda s: s.ready().nop_out(itt=1).write(itt=2).data_out(itt=1),
        ),
        (lambda s: s.ready().write(itt=99).r2t().data_out().response(),),
    ),
    "dataout.other-connection": (
        (lambda s: pair(s).write().r2t().on(2).data_out(),),
        (lambda s: pair(s).on(2).write().r2t().data_out().response(),),
    ),
    "dataout.no-write": (
        (lambda s: s.ready().read().data_out(),),
        (lambda s: s.ready().both().r2t().data_out().data_in(data_sn=1, final=True, status_present=False),),
    ),
    "dataout.data-sn": (
        (
            lambda s: s.ready().write().r2t().data_out(data_sn=1),
            lambda s: s.ready().write().r2t().data_out(2048).data_out(2048, data_sn=2),
            lambda s: unsolicited(s).write(final=False).data_out(data_sn=3),
        ),
        (lambda s: small_bursts(s).write(8192).r2t(4096).data_out(data_sn=0).r2t(4096).data_out(data_sn=0).response(),),
    ),
    "dataout.segment-too-long": (
        (
            lambda s: s.ready(MaxRecvDataSegmentLength="512").write().r2t().data_out(516),
            lambda s: s.ready(MaxRecvDataSegmentLength="512").write(4096, 516),
        ),
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").write(1024, 512).r2t().data_out(512).response(),),
    ),
    "dataout.unsolicited-in-r2t-mode": (
        (lambda s: s.ready().write().data_out(), lambda s: s.ready().write().r2t().data_out(ttt=NO_TAG)),
        (lambda s: unsolicited(s).write(final=False).data_out().response(),),
    ),
    "dataout.unsolicited-after-final": (
        (
            lambda s: unsolicited(s).write().data_out(),
            lambda s: unsolicited(s).write(8192, final=False).data_out(4096, final=True).data_out(4),
        ),
        (lambda s: unsolicited(s).write(final=False).data_out(2048).data_out(2048).response(),),
    ),
    "dataout.first-burst-too-long": (
        (
            lambda s: unsolicited(s).write(8192, final=False).data_out(4100),
            lambda s: unsolicited(s).write(8192, 1024, final=False).data_out(3076),
        ),
        (
            lambda s: (
                unsolicited(s).write(8192, 1024, final=False).data_out(3072, final=True).r2t().data_out().response()
            ),
        ),
    ),
    "dataout.first-burst-too-short": (
        (
            lambda s: unsolicited(s).write(8192, final=False).data_out(2048, final=True),
            lambda s: unsolicited(s).write(2048, final=False).data_out(1024, final=True),
        ),
        (lambda s: unsolicited(s).write(2048, 1024, final=False).data_out(1024, final=True).response(),),
    ),
    "dataout.unsolicited-out-of-turn": (
        (lambda s: two_writes(s).data_out(),),
        (both_written, lambda s: unsolicited(s).write(final=False).data_out().write(final=False).data_out()),
    ),
    "dataout.beyond-expected-length": (
        (
            lambda s: s.ready().write().r2t().data_out(4100),
            lambda s: unsolicited(s).write(512, final=False).data_out(516),
        ),
        (lambda s: s.ready().write().r2t().data_out(4096).response(),),
    ),
    "dataout.pdu-order": (
        (
            lambda s: unsolicited(s).write(final=False).data_out(2048, buffer_offset=2048),
            lambda s: unsolicited(s).write(4096, 1024, final=False).data_out(1024, buffer_offset=0),
        ),
        (
            lambda s: (
                unsolicited(s, DataPDUInOrder="No")
                .write(final=False)
                .data_out(2048, buffer_offset=2048, final=False)
                .data_out(2048, buffer_offset=0, final=True)
                .response()
            ),
        ),
    ),
    "dataout.unknown-transfer-tag": (
        (
            lambda s: s.ready().write().r2t(ttt=1).data_out(ttt=2),
            lambda s: s.ready().write().r2t(ttt=1).data_out().data_out(0, ttt=1),
        ),
        (lambda s: s.ready().write().r2t(ttt=0).data_out(ttt=0).response(),),
    ),
    "dataout.lun": (
        (lambda s: s.ready().write(lun=LUN_1).r2t().data_out(lun=bytes(8)),),
        (
            lambda s: s.ready().write(lun=LUN_1).r2t().data_out().response(),
            lambda s: unsolicited(s).write(lun=LUN_1, final=False).data_out(lun=bytes(8)).response(),
        ),
    ),
    "dataout.outside-r2t": (
        (
            lambda s: s.ready().write(8192).r2t(4096).data_out(4100, final=True),
            lambda s: s.ready().write(8192).r2t(4096, buffer_offset=4096).data_out(buffer_offset=0),
        ),
        (lambda s: s.ready().write(8192).r2t(4096, buffer_offset=4096).data_out(),),
    ),
    "dataout.not-the-single-answer": (
        (
            lambda s: s.ready().write().r2t().data_out(2048, final=True),
            lambda s: s.ready().write().r2t().data_out(2048, buffer_offset=2048, final=True),
        ),
        (lambda s: s.ready().write().r2t().data_out(2048, final=False).data_out(2048, final=True).response(),),
    ),
    "dataout.answer-incomplete": (
        (lambda s: s.ready().write().r2t().data_out(2048).data_out(1024, final=True),),
        (lambda s: s.ready().write().r2t().data_out(2048).data_out(2048, final=True).response(),),
    ),
    "dataout.answer-not-continuous": (
        (lambda s: s.ready().write().r2t().data_out(1024).data_out(1024, buffer_offset=2048),),
        (
            lambda s: (
                s.ready(DataPDUInOrder="No")
                .write()
                .r2t()
                .data_out(2048, buffer_offset=2048, final=False)
                .data_out(2048, buffer_offset=0, final=True)
                .response()
            ),
        ),
    ),
    "dataout.final-missing": (
        (
            lambda s: (
                small_bursts(s).write(8192).r2t(4096).data_out(final=False).r2t(4096, buffer_offset=4096).data_out()
            ),
            lambda s: second_begun(s, 4096),
        ),
        (
            lambda s: s.ready().write().r2t().data_out(4092, final=False).data_out(4, final=True).response(),
            lambda s: (
                small_bursts(s).write(8192).r2t(4096).data_out(final=False).data_out(0, final=True).r2t(4096).data_out()
            ),
            answered_in_order,
        ),
    ),
    "dataout.r2t-order": ((answered_backwards, lambda s: second_begun(s, 4092)), (answered_in_order,)),
    "r2t.r2t-sn": (
        (
            lambda s: s.ready().write().r2t(r2t_sn=1),
            lambda s: s.ready().write(8192).r2t(4096).data_out().r2t(4096, r2t_sn=0),
        ),
        (lambda s: s.ready().write(8192).r2t(4096).data_out().r2t(4096, r2t_sn=1).data_out().response(),),
    ),
    "r2t.unknown-tag": (
        (lambda s: s.ready().write().r2t(itt=99), lambda s: s.ready().write(512, 512).response().r2t(4)),
        (lambda s: s.ready().write(itt=99).r2t(),),
    ),
    "r2t.other-connection": (
        (lambda s: pair(s).write().on(2).r2t(),),
        (lambda s: pair(s).on(2).write().r2t().data_out().response(),),
    ),
    "r2t.no-write": (
        (lambda s: s.ready().read().r2t(), lambda s: s.ready().command().r2t(4)),
        (lambda s: s.ready().both(4096, 0).r2t(),),
    ),
    "r2t.zero-length": ((lambda s: s.ready().write().r2t(0),), (lambda s: s.ready().write().r2t(1),)),
    "r2t.too-long": (
        (lambda s: small_bursts(s).write(8192).r2t(4097),),
        (lambda s: small_bursts(s).write(8192).r2t(4096),),
    ),
    "r2t.tag-reserved": (
        (lambda s: s.ready().write().r2t(ttt=NO_TAG),),
        (lambda s: s.ready().write().r2t(ttt=NO_TAG - 1).data_out().response(),),
    ),
    "r2t.lun": (
        (lambda s: s.ready().write(lun=LUN_1).r2t(lun=bytes(8)),),
        (lambda s: s.ready().write(lun=LUN_1).r2t(lun=LUN_1),),
    ),
    "r2t.too-many": (
        (
            lambda s: s.ready().write(8192).r2t(4096).r2t(4096, buffer_offset=4096),
            lambda s: (
                s.ready(**TWO_R2TS).write(8192).r2t(2048).r2t(2048, buffer_offset=2048).r2t(2048, buffer_offset=4096)
            ),
        ),
        (
            lambda s: s.ready().write(8192).r2t(4096).data_out(final=False).r2t(4096),
            lambda s: s.ready(**TWO_R2TS).write(8192).r2t(2048).r2t(2048, buffer_offset=2048),
            lambda s: unsolicited(s).write(8192, final=False).r2t(4096, buffer_offset=4096),
        ),
    ),
    "r2t.order": (
        (
            lambda s: s.ready(**TWO_R2TS).write(8192).r2t(4096, buffer_offset=4096).r2t(4096, buffer_offset=0),
            lambda s: s.ready(**TWO_R2TS).write(8192).r2t(2048).r2t(2048, buffer_offset=4096),
        ),
        (
            lambda s: (
                s.ready(**TWO_R2TS, DataSequenceInOrder="No")
                .write(8192)
                .r2t(4096, buffer_offset=4096)
                .r2t(4096, buffer_offset=0)
            ),
        ),
    ),
    "r2t.beyond-expected-length": (
        (lambda s: s.ready().write().r2t(4097),),
        (lambda s: s.ready().write().r2t(4096),),
    ),
    "response.unknown-tag": (
        (
            lambda s: s.ready().command().response(itt=99),
            lambda s: s.ready().command().response().response(),
            lambda s: s.ready().nop_out(itt=4).response(itt=4, exp_data_sn=0),
        ),
        (lambda s: s.ready().command(itt=99).response(itt=99),),
    ),
    "residual.both-flags": (
        (
            lambda s: s.ready().read().data_in(overflow=True, underflow=True, residual_count=1),
            lambda s: s.ready().command().response(overflow=True, underflow=True, residual_count=1),
            lambda s: s.ready().both(0).response(bidi_overflow=True, bidi_underflow=True),
        ),
        (
            lambda s: (
                s.ready()
                .both(0)
                .response(bidi_underflow=True, overflow=True, residual_count=9, bidi_residual_count=4096)
            ),
        ),
    ),
    "residual.on-failure": (
        (lambda s: s.ready().read().response(response=1, underflow=True, residual_count=4096),),
        (lambda s: s.ready().read().response(response=1),),
    ),
    "residual.count-without-flag": (
        (lambda s: answered(s, residual_count=1), lambda s: s.ready().read().data_in(residual_count=4)),
        (lambda s: s.ready().read(8192).data_in(4096, residual_count=4).data_in(4096),),
    ),
    "residual.overflow-before-end": (
        (
            lambda s: (
                s.ready().read(8192).data_in(4096, final=True, status_present=True, overflow=True, residual_count=1)
            ),
        ),
        (lambda s: s.ready().read(4096).data_in(4096, overflow=True, residual_count=1),),
    ),
    "residual.overflow-count": (
        (lambda s: s.ready().read().data_in(overflow=True), lambda s: answered(s, overflow=True)),
        (lambda s: answered(s, overflow=True, residual_count=1),),
    ),
    "residual.underflow-missing": (
        (
            lambda s: s.ready().read(8192).data_in(4096, final=True, status_present=True),
            lambda s: s.ready().read().response(),
            lambda s: s.ready().write(4096, 512).response(),
        ),
        (
            lambda s: s.ready().read().check_condition(),
            lambda s: s.ready().write(4096, 512).response(underflow=True, residual_count=3584),
        ),
    ),
    "residual.underflow-count": (
        (
            lambda s: (
                s.ready().read(8192).data_in(4096, final=True, status_present=True, underflow=True, residual_count=4095)
            ),
            lambda s: s.ready().read().response(underflow=True, residual_count=4097),
            lambda s: s.ready().write(4096, 512).response(underflow=True, residual_count=3583),
        ),
        (
            lambda s: (
                s.ready().read(8192).data_in(4096, final=True, status_present=True, underflow=True, residual_count=4096)
            ),
            lambda s: s.ready().write(4096, 512).response(underflow=True, residual_count=4000),
        ),
    ),
    "residual.bidirectional-count": (
        (lambda s: s.ready().both(0, 512).response(bidi_underflow=True, bidi_residual_count=513),),
        (lambda s: s.ready().both(0, 512).response(bidi_underflow=True, bidi_residual_count=512),),
    ),
    "response.reserved-code": (
        (lambda s: s.ready().command().response(response=2), lambda s: s.ready().command().response(response=0x7F)),
        (lambda s: s.ready().command().response(response=0x80), lambda s: s.ready().command().response(response=1)),
    ),
    "response.sense-missing": (
        (
            lambda s: s.ready().command().check_condition(data=b""),
            lambda s: s.ready().command().check_condition(data=b"\0\0"),
        ),
        (lambda s: s.ready().command().response(status=8), lambda s: s.ready().command().check_condition()),
    ),
    "response.sense-length": (
        (
            lambda s: s.ready().command().check_condition(data=b"\0\x13" + bytes(18)),
            lambda s: s.ready().command().response(data=b"\0"),
        ),
        (
            lambda s: s.ready().command().check_condition(data=b"\0\x12" + bytes(18)),
            lambda s: s.ready().command().response(data=b"\0\0more"),
        ),
    ),
    "response.exp-data-sn": (
        (lambda s: answered(s, exp_data_sn=0), lambda s: answered(s, exp_data_sn=2)),
        (
            lambda s: answered(s, exp_data_sn=1),
            lambda s: (
                s.ready().both().r2t().data_out().data_in(data_sn=1, **PART | {"final": True}).response(exp_data_sn=2)
            ),
        ),
    ),
    "response.exp-data-sn-without-data": (
        (
            lambda s: s.ready().command().response(exp_data_sn=1),
            lambda s: s.ready().write().r2t().data_out().response(exp_data_sn=1),
            lambda s: answered(s, response=1, exp_data_sn=1),
        ),
        (lambda s: answered(s, response=1, exp_data_sn=0),),
    ),
    "response.snack-tag": (
        (lambda s: s.ready().command().response(snack_tag=1),),
        (
            lambda s: (
                s.ready(ErrorRecoveryLevel="1")
                .read()
                .data_in(final=True, status_present=False)
                .snack(3, itt=1, ttt=5)
                .response(snack_tag=5)
            ),
        ),
    ),
    "response.before-the-data": (
        (
            lambda s: s.ready().write().r2t().check_condition(),
            lambda s: unsolicited(s).write(final=False).response(status=8),
        ),
        (
            lambda s: s.ready().write().check_condition(),
            lambda s: s.ready().write().r2t().data_out().check_condition(),
            lambda s: unsolicited(s).write(8192, final=False).data_out(final=True).check_condition(),
        ),
    ),
    "tmf.answer-after-abort": (
        (
            lambda s: after_abort(s, 1, **ABORT).response(),
            lambda s: after_abort(s, 5).data_in(),
            lambda s: after_abort(s, 6).response(),
        ),
        (
            lambda s: after_abort(s, 5, lun=LUN_1).data_in(),
            lambda s: after_abort(s, 5).read(itt=1).data_in(),
        ),
    ),
}


@pytest.mark.parametrize("rule", [rule.id for area in AREAS for rule in area.RULES])
def test_breaking_history_is_found(rule, broken):
    """The rule has histories that break it, and finds each of them."""
    broken(rule, TABLE[rule][0])


@pytest.mark.parametrize("rule", [rule.id for area in AREAS for rule in area.RULES])
def test_near_miss_is_let_pass(rule, kept):
    """The rule has a history that all but breaks it, where nothing is found."""
    kept(rule, TABLE[rule][1])
