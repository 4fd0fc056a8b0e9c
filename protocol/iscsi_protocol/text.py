"""The text format of RFC 7143 section 6.1: key=value pairs, the C-bit chains that carry them (6.2), and the value notations.

Bytes become str by UTF-8 with surrogateescape, so that any bytes survive the way in and out; `check_value` and
`check_key_name` judge what was read. iSCSI names have a module of their own (`names`). What a key means, and which
notation it takes, is in `negotiation.keys`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import MappingProxyType

KEY_NAME_LIMIT = 63
SIMPLE_VALUE_LIMIT = 255
TEXT_LIMIT = 65536
NUMBER_LIMIT = 2**64
DECIMAL_BINARY_LIMIT = 8

RESERVED_VALUES = frozenset({"None", "Reject", "Irrelevant", "NotUnderstood"})
"""The words that section 6.2 keeps for answers (None may also be offered)."""

IRREGULAR_KEY_NAMES = frozenset({"iSCSIProtocolLevel", "X#NodeArchitecture"})
"""Keys that RFC 7143 itself defines (13.24, 13.26) against its rule for key names."""


class TextError(ValueError):
    """Text that breaks a rule. reason: in words; clause: id of the rule; offender: the piece of text that breaks it."""

    def __init__(self, reason: str, clause: str, offender: str) -> None:
        super().__init__(reason, clause, offender)
        self.reason = reason
        self.clause = clause
        self.offender = offender

    def __str__(self) -> str:
        shown = self.offender if len(self.offender) <= 80 else f"{self.offender[:77]}..."
        return f"{self.reason}: {shown!r} ({self.clause})"


class PairError(TextError):
    """Bytes that are no sequence of key=value pairs."""


class KeyNameError(TextError):
    """A key name that is no standard-label."""


class ValueFormError(TextError):
    """A value that its notation does not allow."""


class NumberError(ValueFormError):
    """No numerical value, or one outside its bounds."""


class BinaryError(ValueFormError):
    """No binary value."""


class BinaryTooLong(BinaryError):
    """A well-formed binary value that is too long. length: its bytes when decoded; limit: the bytes allowed."""

    def __init__(self, reason: str, clause: str, offender: str, length: int, limit: int) -> None:
        super().__init__(reason, clause, offender)
        self.args = (reason, clause, offender, length, limit)
        self.length = length
        self.limit = limit


class TextTooLong(TextError):
    """More text in one negotiation than the receiver takes. length: bytes so far; limit: bytes allowed."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"{length} bytes of text where {limit} are taken", "R7143-6.1-17", "")
        self.args = (length, limit)
        self.length = length
        self.limit = limit


def encode_text(text: str) -> bytes:
    """The bytes of one key or value; the inverse of `decode_text`."""
    return text.encode("utf-8", "surrogateescape")


def decode_text(data: bytes) -> str:
    """One key or value as str; bytes that are not UTF-8 become lone surrogates and are not lost."""
    return data.decode("utf-8", "surrogateescape")


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The pairs as one logical text segment, a NUL behind each. Names and values are not judged.

    Raises PairError for what would not be read back as it is: an empty key, a NUL, an equals sign in a key.
    """
    data = bytearray()
    for key, value in pairs:
        if not key:
            raise PairError("a pair without a key", "R7143-6.1-03", f"={value}")
        if "=" in key:
            raise PairError("an equals sign in a key", "R7143-6.1-03", key)
        if "\0" in key or "\0" in value:
            raise PairError("a NUL within a pair", "R7143-6.1-02", f"{key}={value}")
        data += encode_text(f"{key}={value}\0")
    return bytes(data)


def scan_pairs(data: bytes) -> tuple[list[tuple[str, str]], list[PairError]]:
    """Every pair that can be made out, in order, and every fault on the way; never raises.

    A last pair without its NUL is a pair and a fault; a piece without an equals sign or without a key, and an empty
    piece (a NUL too many), is a fault alone.
    """
    pairs: list[tuple[str, str]] = []
    faults: list[PairError] = []
    pieces = data.split(b"\0")
    last = pieces.pop()
    for piece in pieces:
        _scan_piece(decode_text(piece), pairs, faults)
    if last:
        text = decode_text(last)
        _scan_piece(text, pairs, faults)
        faults.append(PairError("the last pair has no NUL behind it", "R7143-6.1-02", text))
    return pairs, faults


def _scan_piece(piece: str, pairs: list[tuple[str, str]], faults: list[PairError]) -> None:
    key, equals, value = piece.partition("=")
    if key and equals:
        pairs.append((key, value))
    elif equals:
        faults.append(PairError("a pair without a key", "R7143-6.1-03", piece))
    else:
        faults.append(PairError("no equals sign" if piece else "an empty pair", "R7143-6.1-03", piece))


def decode_pairs(data: bytes) -> list[tuple[str, str]]:
    """The pairs of one logical text segment. Raises PairError at the first fault; no bytes at all are no pairs."""
    pairs, faults = scan_pairs(data)
    if faults:
        raise faults[0]
    return pairs


def split_text(data: bytes, limit: int) -> list[bytes]:
    """The data segments, each of 1..limit bytes, that carry `data`: all but the last go with C=1. One empty one for no data.

    limit: the peer's MaxRecvDataSegmentLength, 8192 during login (6.3). Raises ValueError for a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a data segment cannot be cut to {limit} bytes")
    return [data[start : start + limit] for start in range(0, len(data), limit)] or [b""]


class TextAssembler:
    """Joins the data segments of a C-bit chain (6.1), and bounds the text of one negotiation.

    limit: bytes taken in one negotiation, over all of its logical segments, until `reset`. Section 6.1 asks for 8192 at
    least, and for 65536 with authentication methods that need very long items.
    """

    __slots__ = ("_chunks", "_total", "limit")

    def __init__(self, limit: int = TEXT_LIMIT) -> None:
        self.limit = limit
        self._chunks: list[bytes] = []
        self._total = 0

    def add(self, data: bytes | bytearray | memoryview, more: bool) -> bytes | None:
        """Take one data segment; `more` is its C bit. The whole logical segment when it is complete, else None.

        Raises TextTooLong, and takes nothing, when the negotiation would exceed the limit.
        """
        total = self._total + len(data)
        if total > self.limit:
            raise TextTooLong(total, self.limit)
        self._total = total
        self._chunks.append(bytes(data))
        if more:
            return None
        whole = b"".join(self._chunks)
        self._chunks.clear()
        return whole

    @property
    def pending(self) -> bool:
        """Whether a chain has begun and not ended."""
        return bool(self._chunks)

    @property
    def total(self) -> int:
        """Bytes taken since the negotiation began."""
        return self._total

    def reset(self) -> None:
        """Forget an unfinished chain and begin a new negotiation."""
        self._chunks.clear()
        self._total = 0


_LABEL = re.compile(r"[A-Z][A-Za-z0-9.\-+@_]*")
_TEXT_VALUE = re.compile(r"[A-Za-z0-9.\-+@_/\[\]:]*")
_DECIMAL = re.compile(r"0|[1-9][0-9]*")
_DIGITS = re.compile(r"[0-9]+")
_HEX = re.compile(r"0[xX]([0-9A-Fa-f]+)")
_BASE64 = re.compile(r"0[bB]((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?)")
# The sets before the padding are the characters whose surplus bits are zero, as RFC 4648 section 3.5 has encoders send.


def check_key_name(name: str) -> None:
    """Raise KeyNameError unless `name` is a standard-label of 1..63 characters (6.1), or one of IRREGULAR_KEY_NAMES."""
    if name in IRREGULAR_KEY_NAMES:
        return
    if len(name) > KEY_NAME_LIMIT:
        raise KeyNameError(f"a key name of {len(name)} characters", "R7143-6.1-05", name)
    if not "A" <= name[:1] <= "Z":
        raise KeyNameError("a key name that no capital letter begins", "R7143-6.1-04", name)
    if not _LABEL.fullmatch(name):
        raise KeyNameError("a character that a key name does not have", "R7143-6.1-05", name)


def parse_number(value: str, low: int = 0, high: int = NUMBER_LIMIT - 1) -> int:
    """A numerical-value in low..high, decimal or hex. Raises NumberError."""
    if _DECIMAL.fullmatch(value):
        # 2^64 has 20 digits: a longer constant is out of bounds whatever it says.
        number = int(value) if len(value) <= 20 else NUMBER_LIMIT
        clause = "R7143-6.1-11"
    elif hexadecimal := _HEX.fullmatch(value):
        # Leading zeros are discouraged, not forbidden; without them 16 digits are the most there can be.
        number = int(hexadecimal[1], 16)
        clause = "R7143-6.1-13"
    elif _DIGITS.fullmatch(value):
        raise NumberError("a decimal number with a leading zero", "R7143-6.1-10", value)
    else:
        raise NumberError("neither a decimal nor a hex number", "R7143-6.1-13", value)
    if number >= NUMBER_LIMIT:
        raise NumberError("a number of 2^64 or more", clause, value)
    if not low <= number <= high:
        raise NumberError(f"a number outside {low} to {high}", "R7143-6.2.2-04", value)
    return number


def parse_range(value: str) -> tuple[int, int]:
    """A numerical-range low~high. Raises NumberError."""
    left, tilde, right = value.partition("~")
    if not tilde:
        raise NumberError("a range without a tilde", "R7143-6.1-14", value)
    low, high = parse_number(left), parse_number(right)
    if high < low:
        raise NumberError("a range whose right end is below its left", "R7143-6.1-14", value)
    return low, high


def parse_boolean(value: str) -> bool:
    """Yes or No. Raises ValueFormError for everything else, other cases of the letters included."""
    if value not in ("Yes", "No"):
        raise ValueFormError("neither Yes nor No", "R7143-6.1-08", value)
    return value == "Yes"


def parse_list(value: str) -> list[str]:
    """The text-values of a list, in order. An empty value is a list of one empty text-value."""
    return value.split(",")


def parse_binary(value: str, max_length: int = SIMPLE_VALUE_LIMIT, length: int | None = None) -> bytes:
    """A binary-value of at most max_length bytes (when decoded), hex or base64; n hex digits give (n + 1) // 2 bytes.

    length: the byte length where the key defines one; only then a decimal constant is possible, and for 8 bytes at most.
    Raises BinaryError for bad characters and the wrong length, BinaryTooLong for a good one over the limit. Characters are
    judged first.
    """
    hexadecimal = _HEX.fullmatch(value)
    if hexadecimal:
        digits = hexadecimal[1]
        size = (len(digits) + 1) // 2
        _check_binary_length(value, size, max_length, length)
        return bytes.fromhex(digits.zfill(2 * size))
    encoded = _BASE64.fullmatch(value)
    if encoded and encoded[1]:
        characters = encoded[1]
        size = len(characters) // 4 * 3 - characters.count("=")
        _check_binary_length(value, size, max_length, length)
        return base64.b64decode(characters)
    if _DIGITS.fullmatch(value):
        return _parse_decimal_binary(value, max_length, length)
    clause = "R7143-6.1-12" if value[:2] in ("0b", "0B") else "R7143-6.1-09"
    raise BinaryError("neither a hex nor a base64 constant", clause, value)


def _check_binary_length(value: str, size: int, max_length: int, length: int | None) -> None:
    if size > max_length:
        raise BinaryTooLong(f"{size} bytes where {max_length} are allowed", "R7143-6.1-15", value, size, max_length)
    if length is not None and size != length:
        raise BinaryError(f"{size} bytes where {length} are asked for", "R7143-6.1-09", value)


def _parse_decimal_binary(value: str, max_length: int, length: int | None) -> bytes:
    if length is None or length > DECIMAL_BINARY_LIMIT:
        raise BinaryError("a decimal constant for a binary string", "R7143-6.1-11", value)
    try:
        number = parse_number(value)
    except NumberError as error:
        raise BinaryError(error.reason, error.clause, value) from error
    size = (number.bit_length() + 7) // 8
    if size > length:
        raise BinaryError(f"{size} bytes where {length} are asked for", "R7143-6.1-11", value)
    _check_binary_length(value, length, max_length, length)
    return number.to_bytes(length, "big")


def encode_hex(data: bytes) -> str:
    """A binary-value as hex constant, lower case. Raises BinaryError for no data, which has no notation."""
    if not data:
        raise BinaryError("an empty binary string", "R7143-6.1-09", "")
    return f"0x{data.hex()}"


def encode_base64(data: bytes) -> str:
    """A binary-value as base64 constant. Raises BinaryError for no data, which has no notation."""
    if not data:
        raise BinaryError("an empty binary string", "R7143-6.1-12", "")
    return f"0b{base64.b64encode(data).decode('ascii')}"


class ValueType(Enum):
    """The value notations of section 6.1, apart from iSCSI names."""

    TEXT = "text-value"
    LOCAL_NAME = "iSCSI-local-name-value"
    BOOLEAN = "boolean-value"
    NUMBER = "numerical-value"
    RANGE = "numerical-range"
    BINARY = "binary-value"
    LIST = "list-of-values"


def _check_text_value(value: str, max_length: int) -> None:
    if not _TEXT_VALUE.fullmatch(value):
        raise ValueFormError("a character that a text value does not have", "R7143-6.1-06", value)
    if len(value) > max_length:
        raise ValueFormError(f"a value over {max_length} bytes", "R7143-6.1-15", value)


def _check_local_name(value: str, max_length: int) -> None:
    data = encode_text(value)
    if b"\0" in data:
        raise ValueFormError("a NUL within a local name", "R7143-6.1-07", value)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueFormError("a local name that is not UTF-8", "R7143-6.1-01", value) from error
    if len(data) > max_length:
        raise ValueFormError(f"a value over {max_length} bytes", "R7143-6.1-15", value)


def _check_list(value: str, max_length: int) -> None:
    for item in parse_list(value):
        _check_text_value(item, max_length)


_CHECKS: Mapping[ValueType, Callable[[str, int], object]] = MappingProxyType(
    {
        ValueType.TEXT: _check_text_value,
        ValueType.LOCAL_NAME: _check_local_name,
        ValueType.BOOLEAN: lambda value, _: parse_boolean(value),
        ValueType.NUMBER: lambda value, _: parse_number(value),
        ValueType.RANGE: lambda value, _: parse_range(value),
        ValueType.BINARY: parse_binary,
        ValueType.LIST: _check_list,
    }
)


def check_value(value: str, kind: ValueType = ValueType.TEXT, max_length: int = SIMPLE_VALUE_LIMIT) -> None:
    """Raise ValueFormError (or NumberError, BinaryError) unless `value` is written as its kind is.

    max_length: bytes of a simple value, of each item of a list, of a binary value when decoded.
    """
    _CHECKS[kind](value, max_length)
