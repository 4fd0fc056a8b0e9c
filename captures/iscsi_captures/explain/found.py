"""What the readers of the different forms find: events as they were pasted or exported, not understood yet."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.eventlog import SERVICE_SOURCE, SOURCE

OURS = {source.lower(): source for source in (SOURCE, SERVICE_SOURCE)}
"""The sources whose events are explained, by their names in small letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An event. place: where in the input, in words; source and id: as said beside the packet, None where nothing says it.

    packet: the dump data, None where there is none; strings: the insertion strings; broken: the input ends, or has a gap,
    within the packet. time, computer, number, level and text: as the input has them, or empty.
    """

    place: str
    source: str | None = None
    id: int | None = None
    packet: bytes | None = None
    strings: tuple[str, ...] = ()
    broken: bool = False
    time: str = ""
    computer: str = ""
    number: str = ""
    level: str = ""
    text: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it may be an event of the initiator: it says so, or says nothing of its source."""
        return self.source is None or self.source.lower() in OURS


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something in the input that cannot be read. Its text never has anything of the input in it: that may be a secret."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"
