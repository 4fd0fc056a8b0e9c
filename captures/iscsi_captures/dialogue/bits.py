"""The flags of byte 1 as plain numbers: arithmetic on enum members costs a microsecond each, and rules do much of it."""

from __future__ import annotations

from iscsi_protocol.pdu import Flag

FINAL = int(Flag.FINAL)
READ = int(Flag.READ)
WRITE = int(Flag.WRITE)
ACKNOWLEDGE = int(Flag.ACKNOWLEDGE)
BIDI_UNDERFLOW = int(Flag.BIDI_UNDERFLOW)
OVERFLOW = int(Flag.OVERFLOW)
UNDERFLOW = int(Flag.UNDERFLOW)
STATUS = int(Flag.STATUS)
