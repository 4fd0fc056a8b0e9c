"""Events 20, 32 and 34: connections that are lost, come back, or are to be closed (RFC 7143 sections 7.1.4 and 11.9)."""

from __future__ import annotations

from iscsi_conformance.events import EventCase, register
from iscsi_conformance.events.acts import ping, read, test, write
from iscsi_conformance.events.play import Act, Play, perform
from iscsi_conformance.stimulus import answer
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Close, Drop, Fault, Reset, Truncate
from iscsi_protocol.pdu import LogoutReason, LogoutRequest, Opcode

_NOP, _RESPONSE, _DATA_IN, _R2T = Opcode.NOP_IN, Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.R2T

_ENDS: tuple[tuple[str, str, tuple[Fault, ...], Act], ...] = (
    ("rst", "rst", (answer(_RESPONSE, Drop(), Reset()),), test),
    ("rst-behind-a-response", "rst", (answer(_RESPONSE, Reset()),), test),
    ("rst-within-a-write", "rst", (answer(_R2T, Drop(), Reset()),), write),
    ("fin", "fin", (answer(_RESPONSE, Drop(), Close()),), test),
    ("fin-within-a-read", "fin", (answer(_DATA_IN, Drop(), Close()),), read),
    ("fin-within-a-header", "fin-within-a-pdu", (answer(_RESPONSE, Truncate(20), Close()),), test),
    ("fin-within-data", "fin-within-a-pdu", (answer(_DATA_IN, Truncate(100), Close()),), read),
)

_LOST = tuple(
    EventCase(
        event=20,
        name=name if not level else f"{name}-level-{level}",
        variation=variation,
        says=f"At recovery level {level} a lost connection ({name.replace('-', ' ')}) is made again, and work goes on.",
        spoils=spoils,
        level=level,
        does=act,
        logged=(20, 34),
        touches=("R7143-7.1.4.4-02",),
    )
    for level in (0, 1, 2)
    for name, variation, spoils, act in _ENDS
)

_BACK = tuple(
    EventCase(
        event=34,
        name=f"reconnected-level-{level}",
        variation="reconnected",
        says=f"At recovery level {level} the log tells once that a lost connection is back.",
        spoils=(answer(_NOP, Drop(), Reset()),),
        level=level,
        does=ping,
        logged=(20, 34),
        proofs=("event.34.silent", "event.34.twice", "event.34.wrong-dump"),
    )
    for level in (0, 1, 2)
)


def _reason(due: LogoutReason) -> object:
    def watch(play: Play) -> None:
        seen = [pdu.reason for pdu in play.sent(LogoutRequest)]
        require(seen == [due], play.name, f"one logout with reason {due.name}", seen=seen)

    return watch


async def _asked_to_log_out(play: Play) -> None:
    play.stage.operator.request_logout(3)


async def _connection_dropped(play: Play) -> None:
    play.stage.operator.announce_connection_drop()


async def _session_dropped(play: Play) -> None:
    play.stage.operator.announce_session_drop()


_ANNOUNCED = (
    EventCase(
        event=32,
        name="logout-wanted",
        says="Asked to log out, the initiator does, and comes back.",
        does=_asked_to_log_out,
        settings={"async_logout_pause_timeout": 0},
        logged=(32, 34),
        watch=_reason(LogoutReason.CLOSE_SESSION),  # type: ignore[arg-type]
        touches=("R7143-11.9.1-02",),
    ),
    *(
        EventCase(
            event=32,
            name=name,
            says=f"An announced {name.replace('-', ' ')} is no request to log out: what is logged is the drop.",
            does=act,
            logged=(20, 34),
            proofs=("event.32.takes-drop-for-logout",),
        )
        for name, act in (("connection-drop", _connection_dropped), ("session-drop", _session_dropped))
    ),
)

register(__name__, (*_LOST, *_BACK, *_ANNOUNCED), perform)
