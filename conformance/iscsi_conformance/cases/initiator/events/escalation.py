"""Events 9, 39, 49 and 63: the way from a SCSI command without an answer to session recovery (RFC 7143 section 7.11)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import read, reset_unit, test
from iscsi_conformance.events.play import READY, Play, Watch, perform
from iscsi_conformance.stimulus import answer
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Drop, FieldIs, Set, Silence
from iscsi_protocol.history import PduRecord
from iscsi_protocol.pdu import Opcode, TaskFunction, TaskManagementRequest, TaskResponse
from iscsi_protocol.stream import Direction

_RESPONSE, _DATA_IN, _TASK = Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.TASK_MANAGEMENT_RESPONSE
_LOST = answer(_RESPONSE, Drop(), renumber=True)
_SHORT = {"scsi_request_timeout": 1}
_ABORT, _LUN, _TARGET = TaskFunction.ABORT_TASK, TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET


def _command(_: Play) -> bytes:
    return READY


def _functions(*due: TaskFunction) -> Watch:
    """The ladder went so far, and in this order."""

    def watch(play: Play) -> None:
        seen = [pdu.function for pdu in play.sent(TaskManagementRequest)]
        require(seen == list(due), play.name, f"{[each.name for each in due]} are sent", seen=seen)

    return watch


def _waits(seconds: float, play: Play) -> None:
    """The abort comes so long behind the command."""
    sent = [
        (record.time, record.raw.opcode)
        for record in play.scene.recorder.records
        if isinstance(record, PduRecord) and record.direction is Direction.TO_TARGET
    ]
    began = next(time for time, opcode in sent if opcode == Opcode.SCSI_COMMAND)
    ended = next(time for time, opcode in sent if opcode == Opcode.TASK_MANAGEMENT_REQUEST)
    fits = abs(ended - began - seconds) < 0.5
    require(fits, play.name, f"the time-out is {seconds} s", seen=f"{ended - began:.3f} s")


_SCSI_ROWS = (
    EventCase(
        event=9,
        name="silence",
        says="A command without an answer is aborted, and fails.",
        spoils=(_LOST,),
        settings=_SHORT,
        does=test,
        logged=(9,),
        dumps={9: _command},
        then=Then.FAILS_REQUEST,
        watch=_functions(_ABORT),
        touches=("R7143-7.11-01",),
        virtual=True,
    ),
    EventCase(
        event=9,
        name="silent-read",
        variation="silence",
        says="A read whose data does not come is aborted, and fails.",
        spoils=(answer(_DATA_IN, Drop(), tests=(FieldIs("status_present", True),), renumber=True),),
        settings=_SHORT,
        does=read,
        logged=(9,),
        dumps={9: lambda _: bytes.fromhex("28000000000000000800")},
        then=Then.FAILS_REQUEST,
        watch=_functions(_ABORT),
        virtual=True,
    ),
    EventCase(
        event=9,
        name="short-delta-means-fifteen",
        variation="silence",
        says="SrbTimeoutDelta below 5 counts as 15.",
        spoils=(_LOST,),
        settings={**_SHORT, "srb_timeout_delta": 4},
        does=test,
        logged=(9,),
        dumps={9: _command},
        then=Then.FAILS_REQUEST,
        watch=partial(_waits, 16),
        virtual=True,
    ),
    EventCase(
        event=9,
        name="delta-is-added",
        variation="silence",
        says="SrbTimeoutDelta is added to the command's own time-out.",
        spoils=(_LOST,),
        settings={**_SHORT, "srb_timeout_delta": 7},
        does=test,
        logged=(9,),
        dumps={9: _command},
        then=Then.FAILS_REQUEST,
        watch=partial(_waits, 8),
        virtual=True,
    ),
)

_LADDER_ROWS = (
    EventCase(
        event=49,
        name="silence",
        says="LUN RESET without an answer fails, and the session works on.",
        spoils=(answer(_TASK, Drop(), renumber=True),),
        does=reset_unit,
        logged=(49,),
        then=Then.FAILS_REQUEST,
        virtual=True,
    ),
    EventCase(
        event=49,
        name="silent-abort",
        variation="silence",
        says="ABORT TASK without an answer is followed by LUN RESET.",
        spoils=(_LOST, answer(_TASK, Drop(), renumber=True)),
        settings=_SHORT,
        does=test,
        logged=(9, 49),
        dumps={9: _command},
        then=Then.FAILS_REQUEST,
        watch=_functions(_ABORT, _LUN),
        virtual=True,
    ),
    EventCase(
        event=39,
        name="target-reset",
        says="Where LUN RESET is not answered either the target is reset, and the session works on.",
        spoils=(_LOST, answer(_TASK, Drop(), times=2, renumber=True)),
        settings=_SHORT,
        does=test,
        logged=(9, 49, 49, 39),
        dumps={9: _command},
        then=Then.FAILS_REQUEST,
        watch=_functions(_ABORT, _LUN, _TARGET),
        virtual=True,
    ),
    EventCase(
        event=63,
        name="silence",
        says="Where nothing of it is answered the session is recovered.",
        spoils=(answer(_RESPONSE, Silence()),),
        settings=_SHORT,
        does=test,
        logged=(9, 49, 49, 39, 49, 63, 34),
        dumps={9: _command},
        watch=_functions(_ABORT, _LUN, _TARGET),
        virtual=True,
    ),
    *(
        EventCase(
            event=63,
            name=f"not-complete-{response}",
            variation="not-complete",
            says=f"Resets that end with response {response} lead to session recovery.",
            spoils=(_LOST, answer(_TASK, Set("response", response), times=0)),
            settings=_SHORT,
            does=test,
            logged=(9, 39, 63, 34),
            dumps={9: _command},
            watch=_functions(_ABORT, _LUN, _TARGET),
            virtual=True,
        )
        for response in (TaskResponse.LUN_DOES_NOT_EXIST, 5, 255)
    ),
)

register(__name__, (*_SCSI_ROWS, *_LADDER_ROWS), perform)
