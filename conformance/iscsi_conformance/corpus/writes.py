"""Each rule about Data-Out and R2T: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.reads import LUN_1, pair, small_bursts, unsolicited
from iscsi_conformance.corpus.recovery import asked_after
from iscsi_conformance.corpus.recovery import pair as level_2
from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.pdu import NO_TAG

TWO_R2TS = {"MaxOutstandingR2T": "2"}


def short(s: Script, residual: int) -> Script:
    """Half of a read comes, with an underflow of so much."""
    end = {"final": True, "status_present": True}
    return s.ready().read(8192).data_in(4096, underflow=True, residual_count=residual, **end)


def two_writes(s: Script) -> Script:
    """Two writes whose unsolicited data is due; `former` is the first one."""
    unsolicited(s).write(final=False)
    s.former = s.task
    return s.write(final=False)


def both_written(s: Script) -> Script:
    """The data of both comes in the order of the commands."""
    two_writes(s)
    s.former, s.task = s.task, s.former
    s.data_out().response()
    s.task = s.former
    return s.data_out().response()


def two_r2ts(s: Script) -> tuple[Script, dict[str, Any], dict[str, Any]]:
    """A write with two R2Ts open; gives the script and what each R2T stands for."""
    s.ready(**TWO_R2TS).write(8192).r2t(4096)
    first = dict(s.task)
    s.r2t(4096, buffer_offset=4096)
    return s, first, dict(s.task)


def answered_backwards(s: Script) -> Script:
    """The later R2T is answered first."""
    s, _, _ = two_r2ts(s)
    return s.data_out()


def second_begun(s: Script, length: int) -> Script:
    """The first of two R2Ts gets so much data without F, then the second one is answered."""
    s, first, second = two_r2ts(s)
    s.task = first
    s.data_out(length, final=False)
    s.task = second
    return s.data_out()


def answered_in_order(s: Script) -> Script:
    """Both R2Ts are answered in their order."""
    s, first, second = two_r2ts(s)
    s.task = first
    s.data_out()
    s.task = second
    return s.data_out().response()


TABLE: Table = {
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
        (lambda s: unsolicited(s).read().data_out(ttt=NO_TAG), lambda s: s.ready().read().data_out()),
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
            lambda s: unsolicited(s).write(512, final=False).data_out(516),
            lambda s: s.ready().write().r2t().data_out(4100),
        ),
        (lambda s: s.ready().write().r2t().data_out(4096).response(),),
    ),
    "dataout.pdu-order": (
        (
            lambda s: unsolicited(s).write(4096, 1024, final=False).data_out(1024, buffer_offset=0),
            lambda s: unsolicited(s).write(final=False).data_out(2048, buffer_offset=2048),
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
            lambda s: s.ready().write(8192).r2t(4096, buffer_offset=4096).data_out(buffer_offset=0),
            lambda s: s.ready().write(8192).r2t(4096).data_out(4100, final=True),
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
        (
            lambda s: pair(s).on(2).write().r2t().data_out().response(),
            lambda s: asked_after(level_2(s, iSCSIProtocolLevel="2").write()).r2t().data_out().response(),
        ),
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
}
