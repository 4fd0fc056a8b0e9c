"""Sense data in fixed and descriptor format, current and deferred (SPC-4 4.5; RFC 7143 11.4.7.1).

Parsing is lenient: sense data cut short reads as far as it goes. Stream-command bits (FILEMARK, EOM) are kept
since they share the byte of ILI. Descriptors that are not interpreted are kept whole in `other_descriptors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.scsi.codes import SenseKey, additional_sense_name, sense_key_name
from iscsi_protocol.scsi.fields import Buffer

FIXED_SENSE_LENGTH = 18
_VALID = 0x80
_SKSV = 0x80
_MAX_FIXED = 0xFFFFFFFF
_MAX_DESCRIPTOR = 0xFFFFFFFFFFFFFFFF


class SenseFormat(IntEnum):
    """Response code without its low bit, which says deferred."""

    FIXED = 0x70
    DESCRIPTOR = 0x72


class DescriptorType(IntEnum):
    """Sense data descriptors that are interpreted (SPC-4 4.5.2.1)."""

    INFORMATION = 0x00
    COMMAND_SPECIFIC = 0x01
    SENSE_KEY_SPECIFIC = 0x02
    FIELD_REPLACEABLE_UNIT = 0x03
    STREAM_COMMANDS = 0x04
    BLOCK_COMMANDS = 0x05


# smallest length of a descriptor, its two bytes of head included, for it to be interpreted
_DESCRIPTOR_LENGTHS: dict[int, int] = {
    DescriptorType.INFORMATION: 12,
    DescriptorType.COMMAND_SPECIFIC: 12,
    DescriptorType.SENSE_KEY_SPECIFIC: 8,
    DescriptorType.FIELD_REPLACEABLE_UNIT: 4,
    DescriptorType.STREAM_COMMANDS: 4,
    DescriptorType.BLOCK_COMMANDS: 4,
}
_FILEMARK, _EOM, _ILI, _SDAT_OVFL = 0x80, 0x40, 0x20, 0x10


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPointer:
    """Which field an ILLEGAL REQUEST is about (SPC-4 4.5.2.4.2): byte, and its most significant bit or None."""

    byte: int
    bit: int | None = None
    in_cdb: bool = True

    def build(self) -> bytes:
        """The 3 bytes of sense key specific data. Raises ValueError unless byte fits 16 bits, bit 0 to 7."""
        if self.bit is not None and not 0 <= self.bit <= 7:
            raise ValueError(f"a bit pointer is 0 to 7, got {self.bit}")
        flags = _SKSV | (0x40 if self.in_cdb else 0) | (0 if self.bit is None else 0x08 | self.bit)
        if not 0 <= self.byte <= 0xFFFF:
            raise ValueError(f"a field pointer is 0 to 65535, got {self.byte}")
        return bytes((flags,)) + self.byte.to_bytes(2, "big")


def progress(fraction: float) -> bytes:
    """Sense key specific data of a progress indication (SPC-4 4.5.2.4.4), for a fraction from 0 to 1."""
    return bytes((_SKSV,)) + min(int(fraction * 0x10000), 0xFFFF).to_bytes(2, "big")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sense:
    """What sense data says.

    `code` is ASC << 8 | ASCQ. `information` and `command_specific` are None when absent (`command_specific`
    is never None out of the fixed format, which has no bit to say so). `sense_key_specific` is b"" or 3 bytes
    with SKSV set.
    """

    key: int
    code: int = 0
    deferred: bool = False
    information: int | None = None
    command_specific: int | None = None
    sense_key_specific: bytes = b""
    field_replaceable_unit: int = 0
    filemark: bool = False
    end_of_medium: bool = False
    incorrect_length: bool = False
    overflow: bool = False
    other_descriptors: bytes = b""

    @property
    def asc(self) -> int:
        """Additional sense code."""
        return self.code >> 8

    @property
    def ascq(self) -> int:
        """Additional sense code qualifier."""
        return self.code & 0xFF

    @property
    def field_pointer(self) -> FieldPointer | None:
        """The field pointer of an ILLEGAL REQUEST, None when there is none."""
        if self.key != SenseKey.ILLEGAL_REQUEST or not self.sense_key_specific:
            return None
        flags, byte = self.sense_key_specific[0], int.from_bytes(self.sense_key_specific[1:], "big")
        return FieldPointer(byte=byte, bit=flags & 0x07 if flags & 0x08 else None, in_cdb=bool(flags & 0x40))

    def build(self, sense_format: SenseFormat = SenseFormat.FIXED) -> bytes:
        """The sense data, without the 2-byte SenseLength of the iSCSI data segment.

        Fixed is 18 bytes; an information value that exceeds 32 bits is left out of it with VALID 0, as SPC-4
        4.5.3 has it, and so is a command specific value. Raises ValueError when the key, the code or a part
        does not fit.
        """
        if not 0 <= self.key <= 0xF or not 0 <= self.code <= 0xFFFF:
            raise ValueError(f"no sense key and code: {self.key:#x}, {self.code:#x}")
        if any(not 0 <= (each or 0) <= _MAX_DESCRIPTOR for each in (self.information, self.command_specific)):
            raise ValueError("information of a sense key is 64 bits")
        if len(self.sense_key_specific) not in (0, 3):
            raise ValueError("sense key specific data is 3 bytes")
        if sense_format is SenseFormat.FIXED:
            return self._build_fixed()
        return self._build_descriptor()

    def _stream_bits(self) -> int:
        return (
            (_FILEMARK if self.filemark else 0)
            | (_EOM if self.end_of_medium else 0)
            | (_ILI if self.incorrect_length else 0)
        )

    def _build_fixed(self) -> bytes:
        information, command_specific = self.information, self.command_specific or 0
        if information is not None and information > _MAX_FIXED:
            information = None
        if command_specific > _MAX_FIXED:
            command_specific = 0
        return b"".join(
            (
                bytes(
                    (
                        (0 if information is None else _VALID) | SenseFormat.FIXED | self.deferred,
                        0,
                        self._stream_bits() | (_SDAT_OVFL if self.overflow else 0) | self.key,
                    )
                ),
                (information or 0).to_bytes(4, "big"),
                bytes((FIXED_SENSE_LENGTH - 8,)),
                command_specific.to_bytes(4, "big"),
                bytes((self.asc, self.ascq, self.field_replaceable_unit)),
                self.sense_key_specific.ljust(3, b"\0"),
            )
        )

    def _build_descriptor(self) -> bytes:
        parts: list[bytes] = []
        if self.information is not None:
            parts.append(bytes((0, 10, _VALID, 0)) + self.information.to_bytes(8, "big"))
        if self.command_specific is not None:
            parts.append(bytes((1, 10, 0, 0)) + self.command_specific.to_bytes(8, "big"))
        if self.sense_key_specific:
            parts.append(bytes((2, 6, 0, 0)) + self.sense_key_specific + b"\0")
        if self.field_replaceable_unit:
            parts.append(bytes((3, 2, 0, self.field_replaceable_unit)))
        stream = self._stream_bits()
        if stream:
            kind = DescriptorType.BLOCK_COMMANDS if stream == _ILI else DescriptorType.STREAM_COMMANDS
            parts.append(bytes((kind, 2, 0, stream)))
        parts.append(self.other_descriptors)
        body = b"".join(parts)
        if len(body) > 0xFF - 11:
            raise ValueError("sense data is at most 252 bytes")
        head = (SenseFormat.DESCRIPTOR | self.deferred, self.key, self.asc, self.ascq)
        return bytes((*head, _VALID if self.overflow else 0, 0, 0, len(body))) + body

    def __str__(self) -> str:
        text = f"{sense_key_name(self.key)}, {additional_sense_name(self.code)}"
        return f"deferred: {text}" if self.deferred else text


def illegal_request(code: int, byte: int | None = None, bit: int | None = None, *, in_cdb: bool = True) -> Sense:
    """ILLEGAL REQUEST with an additional sense code and, when a byte is given, its field pointer."""
    pointer = b"" if byte is None else FieldPointer(byte=byte, bit=bit, in_cdb=in_cdb).build()
    return Sense(key=SenseKey.ILLEGAL_REQUEST, code=code, sense_key_specific=pointer)


def parse_sense(data: Buffer) -> Sense | None:
    """What sense data says; None when it is empty or its response code is none of 0x70 to 0x73.

    `data` starts at the response code (after the SenseLength of the iSCSI data segment).
    """
    raw = bytes(data)
    response_code = raw[0] & 0x7F if raw else 0
    if response_code & 0x7E == SenseFormat.FIXED:
        return _parse_fixed(raw)
    if response_code & 0x7E == SenseFormat.DESCRIPTOR:
        return _parse_descriptor(raw)
    return None


def _parse_fixed(data: bytes) -> Sense:
    length = len(data)
    if length > 7:
        length = min(length, 8 + data[7])
    raw = data[:length].ljust(FIXED_SENSE_LENGTH, b"\0")
    return Sense(
        key=raw[2] & 0x0F,
        code=raw[12] << 8 | raw[13],
        deferred=bool(raw[0] & 1),
        information=int.from_bytes(raw[3:7], "big") if raw[0] & _VALID else None,
        command_specific=int.from_bytes(raw[8:12], "big"),
        sense_key_specific=raw[15:18] if raw[15] & _SKSV else b"",
        field_replaceable_unit=raw[14],
        filemark=bool(raw[2] & _FILEMARK),
        end_of_medium=bool(raw[2] & _EOM),
        incorrect_length=bool(raw[2] & _ILI),
        overflow=bool(raw[2] & _SDAT_OVFL),
    )


def _parse_descriptor(data: bytes) -> Sense:
    head = data[:8].ljust(8, b"\0")
    found: dict[int, bytes] = {}
    other: list[bytes] = []
    at, end = 8, min(len(data), 8 + head[7])
    while at < end:
        length = 2 + data[at + 1] if at + 1 < end else 1
        descriptor = data[at : min(at + length, end)]
        at += length
        wanted = _DESCRIPTOR_LENGTHS.get(descriptor[0])
        if wanted is None or len(descriptor) < wanted or descriptor[0] in found:
            other.append(descriptor)
        else:
            found[descriptor[0]] = descriptor
    information = found.get(DescriptorType.INFORMATION, b"")
    command_specific = found.get(DescriptorType.COMMAND_SPECIFIC, b"")
    specific = found.get(DescriptorType.SENSE_KEY_SPECIFIC, b"")
    stream = 0
    for kind, mask in ((DescriptorType.STREAM_COMMANDS, 0xE0), (DescriptorType.BLOCK_COMMANDS, _ILI)):
        stream |= found.get(kind, bytes(4))[3] & mask
    valid = bool(information and information[2] & _VALID)
    return Sense(
        key=head[1] & 0x0F,
        code=head[2] << 8 | head[3],
        deferred=bool(head[0] & 1),
        information=int.from_bytes(information[4:12], "big") if valid else None,
        command_specific=int.from_bytes(command_specific[4:12], "big") if command_specific else None,
        sense_key_specific=specific[4:7] if specific and specific[4] & _SKSV else b"",
        field_replaceable_unit=found.get(DescriptorType.FIELD_REPLACEABLE_UNIT, bytes(4))[3],
        filemark=bool(stream & _FILEMARK),
        end_of_medium=bool(stream & _EOM),
        incorrect_length=bool(stream & _ILI),
        overflow=bool(head[4] & _VALID),
        other_descriptors=b"".join(other),
    )
