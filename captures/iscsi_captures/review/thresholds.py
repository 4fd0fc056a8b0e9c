"""From where on something is worth advice: every limit, with the reason why it is there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit of a piece of advice. value: in the unit that the name says."""

    name: str
    value: float
    why: str


SERIAL_R2TS = Threshold("R2Ts of one write", 4, "each beyond the first waits a round trip; three of those are seen")
SMALL_R2T = Threshold(
    "bytes of an R2T", 65536, "what asks for more waits for the transfer rather than for the round trip"
)
CLOSED_WINDOW = Threshold(
    "seconds of a closed window", 0.5, "a target that only throttles opens it within a command's time"
)
ZERO_WINDOW = Threshold(
    "seconds of a zero window", 0.2, "a receiver that only drains its buffer takes a few milliseconds"
)
STALL_SHORT = Threshold("milliseconds, about 40", 40.0, "Linux delays an acknowledgement by 40 ms; 30 to 60 count")
STALL_LONG = Threshold("milliseconds, about 200", 200.0, "Windows and many others delay it by 200 ms; 150 to 250 count")
STALLS = Threshold("stalls", 3, "one may be chance, or a host that had nothing to say")
STORM = Threshold("retransmissions in a second", 10, "a lost packet costs one or two; ten are a path that loses many")
STORM_SECONDS = Threshold("seconds", 1.0, "the time in which a storm's retransmissions fall")
USUAL_BLOCK = Threshold("bytes of a block", 512, "the length that every host takes")
JUMBO = Threshold(
    "bytes of the MSS", 8000, "frames of 9000 bytes leave an MSS of 8900 and more; with options and tunnels 8000"
)
BUSY = Threshold("bytes moved", 1 << 20, "below a megabyte the size of the frames does not matter")
SLOW = Threshold("seconds of a command", 1.0, "disks answer in milliseconds, and hosts give up after 10 to 60 seconds")
SLOW_FACTOR = Threshold("times the median", 20.0, "a seek and a queue make ten times the median")
SLOW_OUT_OF = Threshold("commands", 20, "a median of fewer says little")
RETRIES = Threshold("logins in a row that failed", 3, "one may be a redirection, two a restart")
RETRY_SECONDS = Threshold("seconds between them", 120.0, "longer apart they are different occasions")
PAUSES = Threshold("pause frames", 1, "where flow control has nothing to do there is none")

STALL_SHORT_RANGE = (30.0, 60.0)
STALL_LONG_RANGE = (150.0, 250.0)
"""Milliseconds that count as such a stall."""
