"""Each rule about reservations: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from iscsi_conformance.corpus.residuals import BLOCK, read_10, write_10
from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.history import TransportEvent

RESERVE_6 = b"\x16" + bytes(15)
RELEASE_6 = b"\x17" + bytes(15)
ISID = bytes.fromhex("00023d000002")
NAME = "iqn.2026-01.com.example:other"
WRITE_EXCLUSIVE, EXCLUSIVE, REGISTRANTS_ONLY, ALL_REGISTRANTS = 1, 3, 5, 7


def reserve_out(s: Script, action: int, kind: int = 0, key: int = 0) -> Script:
    """PERSISTENT RESERVE OUT; key: the service action reservation key."""
    cdb = b"\x5f" + bytes([action, kind]) + bytes(5) + b"\x18" + bytes(7)
    data = bytes(8) + key.to_bytes(8, "big") + bytes(8)
    return s.write(24, cdb=cdb).r2t().data_out(24, data=data).response()


def registered(s: Script, key: int = 7) -> Script:
    """REGISTER."""
    return reserve_out(s, 0, key=key)


def reserved(s: Script, kind: int) -> Script:
    """Two nexuses, the first of which registers and reserves; the second speaks."""
    s.ready()
    other(s)
    first(s)
    reserve_out(registered(s), 1, kind)
    return second(s)


def other(s: Script) -> Script:
    """Another initiator logs in over a second connection."""
    s.cmd_sns[1] = s.cmd_sn
    s.connect(2)
    s.tsih = 0
    s.login_request((("InitiatorName", NAME), ("TargetName", "iqn.2026-01.com.example:target")), isid=ISID)
    s.tsih = 8
    return s.login_response(isid=ISID)


def first(s: Script) -> Script:
    """The first nexus speaks."""
    return s.speak(1)


def second(s: Script) -> Script:
    """The second one does."""
    return s.speak(2)


def wrote(s: Script) -> Script:
    """A block is written, and that succeeds."""
    return s.write(BLOCK, cdb=write_10(1)).r2t().data_out(BLOCK).response()


def read(s: Script) -> Script:
    """A block is read."""
    return s.read(BLOCK, cdb=read_10(1)).data_in(BLOCK)


def refused(s: Script) -> Script:
    """A write ends with RESERVATION CONFLICT."""
    return s.write(BLOCK, cdb=write_10(1)).response(status=0x18, underflow=True, residual_count=BLOCK)


def lost(s: Script, kind: int = WRITE_EXCLUSIVE) -> Script:
    """The nexus that reserved is lost; the second one speaks."""
    reserved(s, kind)
    return second(first(s).transport(TransportEvent.RST))


def simple(s: Script) -> Script:
    """The first nexus reserves with RESERVE(6); the second speaks."""
    s.ready()
    other(s)
    return second(first(s).command(cdb=RESERVE_6).response())


def released(s: Script) -> Script:
    """And releases again."""
    simple(s)
    return second(first(s).command(cdb=RELEASE_6).response())


TABLE: Table = {
    "reservation.conflict-served": (
        (
            lambda s: wrote(reserved(s, WRITE_EXCLUSIVE)),
            lambda s: read(reserved(s, EXCLUSIVE)),
            lambda s: wrote(reserved(s, REGISTRANTS_ONLY)),
            lambda s: read(simple(s)),
            lambda s: read(simple(s).command(cdb=RELEASE_6).response()),
            lambda s: wrote(second(reserve_out(first(reserved(s, EXCLUSIVE)), 1, EXCLUSIVE))),
        ),
        (
            lambda s: refused(reserved(s, WRITE_EXCLUSIVE)),
            lambda s: read(reserved(s, WRITE_EXCLUSIVE)),
            lambda s: wrote(registered(reserved(s, REGISTRANTS_ONLY), 9)),
            lambda s: wrote(first(reserved(s, EXCLUSIVE))),
            lambda s: read(released(s)),
            lambda s: wrote(second(reserve_out(first(reserved(s, EXCLUSIVE)), 2, EXCLUSIVE))),
            lambda s: wrote(second(reserve_out(first(reserved(s, EXCLUSIVE)), 3))),
            lambda s: wrote(second(registered(first(reserved(s, EXCLUSIVE)), 0))),
            lambda s: wrote(second(simple(s).tmf(5, lun=bytes(8)).tmf_response())),
            lambda s: wrote(second(reserve_out(first(reserved(s, EXCLUSIVE)), 4, EXCLUSIVE, 9))),
            lambda s: wrote(reserve_out(registered(reserved(s, ALL_REGISTRANTS), 9), 2, ALL_REGISTRANTS)),
        ),
    ),
    "reservation.lost-with-nexus": (
        (lambda s: wrote(lost(s)),),
        (
            lambda s: refused(lost(s)),
            lambda s: read(second(first(simple(s)).transport(TransportEvent.RST))),
        ),
    ),
}
