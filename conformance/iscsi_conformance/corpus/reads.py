"""Each rule about Data-In and SCSI Response: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Table

LUN_1 = b"\0\1" + bytes(6)

PART = {"final": False, "status_present": False}


def unsolicited(s: Script, **keys: Any) -> Script:
    """A session where unsolicited data is allowed, up to 4096 bytes."""
    return s.ready(**{"InitialR2T": "No", "FirstBurstLength": "4096"} | keys)


def small_bursts(s: Script, **keys: Any) -> Script:
    """A session with bursts of at most 4096 bytes."""
    return s.ready(MaxBurstLength="4096", **keys)


def pair(s: Script) -> Script:
    """Two connections of one session; the script speaks on the second one."""
    s.ready(MaxConnections="2")
    s.cid = 1
    return s.connect(2).login_request().login_response().on(1)


def answered(s: Script, **fields: Any) -> Script:
    """A read with its data, and the status apart."""
    return s.ready().read().data_in(final=True, status_present=False).response(**fields)


def after_abort(s: Script, function: int, **fields: Any) -> Script:
    """A read that a task management function ends, and its answer nevertheless."""
    s.ready().read()
    s.tmf(function, **fields).tmf_response()
    s.task = s.former
    return s


ABORT = {"referenced_task_tag": 1, "ref_cmd_sn": 100}


TABLE: Table = {
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
