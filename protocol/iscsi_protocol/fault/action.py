"""What a fault does to a PDU: the actions, and where the values that they put into it come from.

An action that can do nothing, or asks for what cannot be, is refused with ValueError when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum

from iscsi_protocol.pdu.base import Pdu, encode, has_field
from iscsi_protocol.pdu.codes import BHS_LENGTH
from iscsi_protocol.stream import Direction

SOURCES = (
    "stat_sn",
    "exp_stat_sn",
    "cmd_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "open_itt",
    "closed_itt",
    "unused_itt",
    "open_ttt",
)
TRIGGER = "trigger."


@dataclass(frozen=True, slots=True)
class Plus:
    """The field's own value plus an amount, modulo the field's size."""

    amount: int


@dataclass(frozen=True, slots=True)
class Of:
    """A number of the dialogue so far, plus an amount, modulo the size of the field that it is put into.

    source: stat_sn (the target's next), exp_stat_sn, cmd_sn (the initiator's next), exp_cmd_sn, max_cmd_sn (the latest),
    open_itt (a task not answered yet), closed_itt (one that was), unused_itt, open_ttt (the latest R2T's); or
    "trigger.NAME", a field of the PDU that the fault waited for.
    """

    source: str
    amount: int = 0

    def __post_init__(self) -> None:
        if self.source not in SOURCES and not self.source.startswith(TRIGGER):
            raise ValueError(f"a dialogue has no {self.source!r}")

    @property
    def trigger_field(self) -> str | None:
        """The field of the PDU that the fault waited for, None for the other sources."""
        return self.source.removeprefix(TRIGGER) if self.source.startswith(TRIGGER) else None


Value = int | bool | bytes | Plus | Of


class Part(Enum):
    """A part of a PDU, named as `RawPdu` does."""

    BHS = "bhs"
    AHS = "ahs"
    DATA = "data"
    PADDING = "padding"
    HEADER_DIGEST = "header_digest"
    DATA_DIGEST = "data_digest"


@dataclass(frozen=True, slots=True)
class Set:
    """Give a header field a value; `total_ahs_length`, `data_segment_length` and `opcode` are fields too."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Poke:
    """Overwrite header bytes from `offset` on, reserved ones included."""

    offset: int
    value: bytes

    def __post_init__(self) -> None:
        if not self.value or self.offset < 0 or self.offset + len(self.value) > BHS_LENGTH:
            raise ValueError(f"{len(self.value)} bytes at {self.offset} do not lie within the header")


@dataclass(frozen=True, slots=True)
class Flip:
    """Invert bits of one byte of a part. offset may be negative, from the end; a part that is too short stays."""

    part: Part
    offset: int = 0
    mask: int = 0x01

    def __post_init__(self) -> None:
        if not 0 < self.mask <= 0xFF:
            raise ValueError(f"mask {self.mask:#x} has no bit of a byte, or more than one byte's")


@dataclass(frozen=True, slots=True)
class Replace:
    """Give a part other bytes. For data the header's length and the padding follow; for AHS the header's length does."""

    part: Part
    value: bytes

    def __post_init__(self) -> None:
        length = len(self.value)
        if self.part is Part.BHS and length != BHS_LENGTH:
            raise ValueError(f"the header has {BHS_LENGTH} bytes, got {length}")
        if self.part is Part.AHS and (length % 4 or length > 4 * 0xFF):
            raise ValueError(f"an AHS has up to 255 words, got {length} bytes")
        if self.part is Part.DATA and length > 0xFFFFFF:
            raise ValueError(f"a data segment of {length} bytes does not fit the header")


@dataclass(frozen=True, slots=True)
class SetKey:
    """Edit the text in the data segment: replace the key's value where it stands, else append it; None takes it out.

    Text behind the last NUL is the beginning of a pair that goes on in the next PDU, and stays the last. `again` appends
    a further pair even though the key is there.
    """

    key: str
    value: str | None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A PDU to be made: class and field values; numbers may come from the dialogue. Digests are added as agreed.

    Raises ValueError for a value that is no field of the class, or does not fit.
    """

    pdu: type[Pdu]
    values: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = {each.name for each in fields(self.pdu)}
        plain: dict[str, object] = {}
        for name, value in self.values.items():
            if name not in names:
                raise ValueError(f"{self.pdu.__name__} has no {name}")
            match value:
                case Plus():
                    raise ValueError(f"{name} of a template has no value of its own to add to")
                case Of() if not has_field(self.pdu.OPCODE, name):
                    raise ValueError(f"{name} is no header field, which a number could be put into")
                case int() | bytes():
                    plain[name] = value
                case _:
                    pass
        encode(self.pdu(**plain))  # type: ignore[arg-type]  # encode judges the values


@dataclass(frozen=True, slots=True)
class Insert:
    """Send another PDU as well, before or behind this one, or the other way (`direction`).

    One that goes behind takes its numbers from the dialogue up to and with this one.
    """

    template: Template
    before: bool = False
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The PDU does not arrive."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The PDU comes later: behind `pdus` more PDUs of its direction, or after `seconds`; one of the two is given."""

    pdus: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if (self.pdus > 0) is (self.seconds > 0) or self.pdus < 0 or self.seconds < 0:
            raise ValueError("a PDU is held for some PDUs or for some seconds")


@dataclass(frozen=True, slots=True)
class Repeat:
    """The PDU comes this many times more."""

    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError("a PDU is repeated once or more")


@dataclass(frozen=True, slots=True)
class Split:
    """A data PDU becomes two, cut at `at` bytes of data; offset and DataSN of the second, DataSN of all behind it and
    ExpDataSN of the response fit. A PDU without as much data, or that is no Data-In or Data-Out, stays.
    """

    at: int

    def __post_init__(self) -> None:
        if self.at < 1:
            raise ValueError("a data PDU is split behind its first byte or later")


@dataclass(frozen=True, slots=True)
class Segment:
    """The PDU's bytes go out in pieces of this size, one send each."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("a piece has a byte or more")


@dataclass(frozen=True, slots=True)
class Truncate:
    """Only the first `length` bytes of the PDU go out; the stream goes on behind them."""

    length: int

    def __post_init__(self) -> None:
        if self.length < 0:
            raise ValueError("a PDU has no fewer than 0 bytes")


@dataclass(frozen=True, slots=True)
class Close:
    """The sender ends the connection with FIN: after this PDU, or instead of it once it was dropped."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The sender ends the connection with RST."""


@dataclass(frozen=True, slots=True)
class Silence:
    """From here on nothing goes this way any more, this PDU included."""


Action = (
    Set
    | Poke
    | Flip
    | Replace
    | SetKey
    | Insert
    | Drop
    | Hold
    | Repeat
    | Split
    | Segment
    | Truncate
    | Close
    | Reset
    | Silence
)
