"""Who is who in a session: ISID (RFC 7143 section 11.12.5), TSIH (11.12.6, 4.4.3), port names and nexus (4.4.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.pdu.codes import LoginStatus
from iscsi_protocol.text import TextError

ISID_LENGTH = 6
MAX_TAG = 0xFFFF
NEW_SESSION_TSIH = 0
"""The TSIH of a login that is to begin a session (11.12.6)."""


class IsidType(IntEnum):
    """The T field: who makes the namespace of an ISID."""

    OUI = 0
    ENTERPRISE = 1
    RANDOM = 2
    RESERVED = 3


@dataclass(frozen=True, slots=True, order=True)
class Isid:
    """An ISID: `value` is its 6 bytes as on the wire, whatever they say. Raises ValueError for another length."""

    value: bytes

    def __post_init__(self) -> None:
        """Refuse another length."""
        if len(self.value) != ISID_LENGTH:
            raise ValueError(f"an ISID has {ISID_LENGTH} bytes, got {len(self.value)}")

    @classmethod
    def from_oui(cls, oui: int, qualifier: int) -> Isid:
        """The OUI format. oui: the 24-bit OUI, whose I/G and U/L bits are zero and not sent; qualifier: 24 bits.

        Raises ValueError for what does not fit.
        """
        _check_bits("OUI", oui, 24)
        _check_bits("qualifier", qualifier, 24)
        if oui >> 16 & 0b11:
            raise ValueError(f"OUI {oui:#08x} has its I/G or U/L bit set")
        return cls(bytes([IsidType.OUI << 6 | oui >> 18]) + (oui << 24 & 0xFFFF << 24 | qualifier).to_bytes(5, "big"))

    @classmethod
    def from_enterprise(cls, number: int, qualifier: int) -> Isid:
        """The enterprise number format. number: 24 bits; qualifier: 16 bits. Raises ValueError for what does not fit."""
        return cls._with_24_bits(IsidType.ENTERPRISE, "enterprise number", number, qualifier)

    @classmethod
    def from_random(cls, random: int, qualifier: int) -> Isid:
        """The random format. random: 24 bits; qualifier: 16 bits. Raises ValueError for what does not fit."""
        return cls._with_24_bits(IsidType.RANDOM, "random part", random, qualifier)

    @classmethod
    def draw(cls, random_bytes: Callable[[int], bytes], qualifier: int = 0) -> Isid:
        """A random-format ISID out of three bytes of entropy."""
        return cls.from_random(int.from_bytes(random_bytes(3), "big"), qualifier)

    @classmethod
    def _with_24_bits(cls, isid_type: IsidType, what: str, number: int, qualifier: int) -> Isid:
        _check_bits(what, number, 24)
        _check_bits("qualifier", qualifier, 16)
        return cls(bytes([isid_type << 6]) + number.to_bytes(3, "big") + qualifier.to_bytes(2, "big"))

    @property
    def type(self) -> IsidType:
        """The T field."""
        return IsidType(self.value[0] >> 6)

    @property
    def authority(self) -> int:
        """The OUI (24 bits, I/G and U/L zero), the enterprise number or the random part; of the reserved type 0."""
        match self.type:
            case IsidType.OUI:
                return (self.value[0] & 0x3F) << 18 | int.from_bytes(self.value[1:3], "big")
            case IsidType.RESERVED:
                return 0
            case _:
                return int.from_bytes(self.value[1:4], "big")

    @property
    def qualifier(self) -> int:
        """24 bits in the OUI format, else 16; of the reserved type 0."""
        match self.type:
            case IsidType.OUI:
                return int.from_bytes(self.value[3:], "big")
            case IsidType.RESERVED:
                return 0
            case _:
                return int.from_bytes(self.value[4:], "big")

    @property
    def reserved(self) -> int:
        """The bits that have no meaning in this format, as a number; 0 where the rules were kept."""
        match self.type:
            case IsidType.OUI:
                return 0
            case IsidType.RESERVED:
                return int.from_bytes(self.value, "big") & ~(0b11 << 46)
            case _:
                return self.value[0] & 0x3F

    def __bytes__(self) -> bytes:
        return self.value

    def __str__(self) -> str:
        return f"0x{self.value.hex()}"


def _check_bits(what: str, number: int, bits: int) -> None:
    if not 0 <= number < 1 << bits:
        raise ValueError(f"the {what} has {bits} bits, got {number:#x}")


class PortNameError(TextError):
    """No SCSI port name."""


@dataclass(frozen=True, slots=True, order=True)
class InitiatorPort:
    """The SCSI initiator port at one end of a session (4.4.2): node name and ISID. `str` gives its port name."""

    name: str
    isid: Isid

    def __str__(self) -> str:
        return f"{self.name},i,{self.isid}"

    def __bytes__(self) -> bytes:
        return f"{self}\0".encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True, order=True)
class TargetPort:
    """The SCSI target port, which is a portal group (4.4.2): node name and tag, 0..65535. `str` gives its port name.

    Raises ValueError for another tag.
    """

    name: str
    target_portal_group_tag: int

    def __post_init__(self) -> None:
        """Refuse a tag that is no 16-bit number."""
        _check_bits("target portal group tag", self.target_portal_group_tag, 16)

    def __str__(self) -> str:
        return f"{self.name},t,0x{self.target_portal_group_tag:04x}"

    def __bytes__(self) -> bytes:
        return f"{self}\0".encode("utf-8", "surrogateescape")


_PORT_NAME = re.compile(r"(.+),(?:i,0[xX]([0-9a-fA-F]{12})|t,0[xX]([0-9a-fA-F]{4}))", re.DOTALL)


def parse_port_name(text: str) -> InitiatorPort | TargetPort:
    """The port of a port name, "name,i,0x" with 12 or "name,t,0x" with 4 hex digits, prefix and digits in either case.

    The node name is not judged (see `names`). Raises PortNameError.
    """
    parts = _PORT_NAME.fullmatch(text)
    if not parts:
        raise PortNameError("no port name", "R7143-4.4.2-03", text)
    name, isid, tag = parts.groups()
    return InitiatorPort(name, Isid(bytes.fromhex(isid))) if isid else TargetPort(name, int(tag, 16))


def decode_port_name(data: bytes) -> InitiatorPort | TargetPort:
    """The port of a port name in SCSI parameter data, with its NUL (what `bytes(port)` gives). Raises PortNameError."""
    text = data.decode("utf-8", "surrogateescape")
    if text[-1:] != "\0":
        raise PortNameError("a port name without its NUL", "R7143-4.4.2-03", text)
    return parse_port_name(text[:-1])


@dataclass(frozen=True, slots=True, order=True)
class Nexus:
    """An I_T nexus (4.4.2): at most one session at a time joins the two ports (ISID rule, 4.4.3). `str` joins their names."""

    initiator: InitiatorPort
    target: TargetPort

    def __str__(self) -> str:
        return f"{self.initiator} {self.target}"


class TsihExhausted(Exception):
    """Every TSIH is in use: no further session can be named."""

    login_status = LoginStatus.OUT_OF_RESOURCES


def next_tsih(last: int, in_use: Container[int]) -> int:
    """A TSIH for a new session, 1..65535: the first behind `last`, in a circle, that is not in use. Raises TsihExhausted."""
    for step in range(MAX_TAG):
        tsih = (last + step) % MAX_TAG + 1
        if tsih not in in_use:
            return tsih
    raise TsihExhausted("65535 sessions have a TSIH")
