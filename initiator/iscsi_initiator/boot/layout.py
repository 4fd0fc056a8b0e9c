"""The structures of an iSCSI Boot Firmware Table (iBFT, revision 1), field by field.

Numbers are little-endian. Addresses have 16 bytes in network order, an IPv4 address as ::ffff:a.b.c.d, all zeros for none.
Texts are in the heap behind the structures: two numbers say length, without the NUL behind it, and offset from the beginning
of the table.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field, fields
from enum import IntEnum, IntFlag
from typing import ClassVar, Self

SIGNATURE = b"iBFT"
REVISION = 1
HEADER_LENGTH = 48
ALIGNMENT = 8
"""Of every structure within the table."""

MOST = 32
"""NICs and targets that are looked at; a table has two of each as a rule."""

NO_ADDRESS = bytes(16)
_MAPPED = bytes(10) + b"\xff\xff"


class StructureId(IntEnum):
    """What a structure is."""

    CONTROL = 1
    INITIATOR = 2
    NIC = 3
    TARGET = 4
    EXTENSIONS = 5


class ControlFlag(IntFlag):
    """Of the control structure: the second target takes the place of the first where that does not boot."""

    BOOT_FAILOVER = 1


class BlockFlag(IntFlag):
    """Of initiator, NIC and target: it is filled in; the firmware booted by it. Of a NIC: its address is a global one. Of a
    target: the secret of either direction is checked by a RADIUS server.
    """

    VALID = 1
    BOOT_SELECTED = 2
    GLOBAL_ADDRESS = 4
    RADIUS_CHAP = 4
    RADIUS_MUTUAL_CHAP = 8


class Origin(IntEnum):
    """Where a NIC has its address from."""

    OTHER = 0
    MANUAL = 1
    WELL_KNOWN = 2
    DHCP = 3
    ROUTER_ADVERTISEMENT = 4
    UNCHANGED = 16


class ChapType(IntEnum):
    """Who proves itself at login."""

    NONE = 0
    CHAP = 1
    MUTUAL_CHAP = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the heap. length, offset: as the structure says; data: what the table has there, which may be shorter."""

    data: bytes = b""
    length: int = 0
    offset: int = 0

    @property
    def text(self) -> str:
        """As text; bytes that are no UTF-8 as surrogates."""
        return self.data.decode("utf-8", "surrogateescape")

    @property
    def is_text(self) -> bool:
        """Whether it is UTF-8 that can be printed."""
        return self.text.isprintable()


@dataclass(frozen=True, slots=True)
class SecretText(Text):
    """One that is not shown."""

    def __repr__(self) -> str:
        return f"SecretText(<{len(self.data)} bytes>, {self.length}, {self.offset})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The ACPI header. length: bytes of the whole table; checksum: makes the sum of all bytes 0 modulo 256."""

    signature: bytes = SIGNATURE
    length: int = 0
    revision: int = REVISION
    checksum: int = 0
    oem_id: bytes = bytes(6)
    oem_table_id: bytes = bytes(8)
    reserved: bytes = bytes(24)

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<4sIBB6s8s24s")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The header at the beginning of 48 bytes or more."""
        names = (each.name for each in fields(cls))
        return cls(**dict(zip(names, cls.FORMAT.unpack_from(data), strict=True)))

    def build(self) -> bytes:
        """Its 48 bytes."""
        return self.FORMAT.pack(*(getattr(self, each.name) for each in fields(self)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Where the other structures are. offset: its own place. extensions: offset of further structures, 0 for none; offsets:
    of initiator, NIC 0, target 0, NIC 1, target 1 and, where it is longer, of further NICs and targets in turn, up to MOST.
    """

    offset: int = HEADER_LENGTH
    id: int = StructureId.CONTROL
    version: int = 1
    length: int = 18
    index: int = 0
    flags: int = 0
    extensions: int = 0
    offsets: tuple[int, ...] = (0, 0, 0, 0, 0)

    LENGTH: ClassVar[int] = 18
    FORMAT: ClassVar[struct.Struct] = struct.Struct("<BBHBBH")

    @classmethod
    def parse(cls, data: bytes, offset: int) -> Self:
        """The structure at offset, where 18 bytes are at least. What its length promises beyond the data is not there."""
        head = cls.FORMAT.unpack_from(data, offset)
        end = min(len(data), offset + max(cls.LENGTH, head[2]))
        count = min(1 + 2 * MOST, (end - offset - cls.FORMAT.size) // 2)
        places = struct.unpack_from(f"<{count}H", data, offset + cls.FORMAT.size)
        names = ("id", "version", "length", "index", "flags", "extensions")
        return cls(offset=offset, offsets=places, **dict(zip(names, head, strict=True)))

    def build(self) -> bytes:
        """Its bytes."""
        head = self.FORMAT.pack(self.id, self.version, self.length, self.index, self.flags, self.extensions)
        return head + struct.pack(f"<{len(self.offsets)}H", *self.offsets)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What initiator, NIC and target begin with. offset: its place; index: which of its kind; flags: of BlockFlag."""

    offset: int = 0
    id: int = 0
    version: int = 1
    length: int = 0
    index: int = 0
    flags: int = int(BlockFlag.VALID | BlockFlag.BOOT_SELECTED)

    ID: ClassVar[StructureId]
    FORMAT: ClassVar[struct.Struct]
    FLAGS: ClassVar[int]
    """Bits that are known, as a plain number: the complement of an IntFlag leaves the unknown ones out."""

    @property
    def valid(self) -> bool:
        """Whether it is filled in."""
        return bool(self.flags & BlockFlag.VALID)

    @property
    def boot_selected(self) -> bool:
        """Whether the firmware booted by it."""
        return bool(self.flags & BlockFlag.BOOT_SELECTED)

    @classmethod
    def parse(cls, data: bytes, offset: int) -> Self:
        """The structure at offset, where all of its bytes are; its texts as far as they are within the data."""
        numbers = iter(cls.FORMAT.unpack_from(data, offset))
        values: dict[str, object] = {"offset": offset}
        for each in fields(cls)[1:]:
            value = next(numbers)
            if isinstance(each.default, Text):
                place = next(numbers)
                value = type(each.default)(data[place : place + value], value, place)
            values[each.name] = value
        return cls(**values)  # type: ignore[arg-type]

    def build(self) -> bytes:
        """Its bytes, without those of its texts."""
        numbers: list[object] = []
        for each in fields(self)[1:]:
            value = getattr(self, each.name)
            numbers += (value.length, value.offset) if isinstance(value, Text) else (value,)
        return self.FORMAT.pack(*numbers)

    def texts(self) -> dict[str, Text]:
        """Its texts by the names of their fields."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Text)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Initiator(Block):
    """The initiator: servers that it knows, and its name."""

    id: int = StructureId.INITIATOR
    length: int = 74
    isns_server: bytes = NO_ADDRESS
    slp_server: bytes = NO_ADDRESS
    primary_radius_server: bytes = NO_ADDRESS
    secondary_radius_server: bytes = NO_ADDRESS
    name: Text = Text()

    ID: ClassVar[StructureId] = StructureId.INITIATOR
    FORMAT: ClassVar[struct.Struct] = struct.Struct("<BBHBB16s16s16s16sHH")
    FLAGS: ClassVar[int] = int(BlockFlag.VALID | BlockFlag.BOOT_SELECTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Nic(Block):
    """A network adapter. prefix_length: bits of the subnet; origin: of Origin; vlan: 0 for none; pci: bus, device and
    function as 8, 5 and 3 bits.
    """

    id: int = StructureId.NIC
    length: int = 102
    address: bytes = NO_ADDRESS
    prefix_length: int = 0
    origin: int = Origin.OTHER
    gateway: bytes = NO_ADDRESS
    primary_dns: bytes = NO_ADDRESS
    secondary_dns: bytes = NO_ADDRESS
    dhcp_server: bytes = NO_ADDRESS
    vlan: int = 0
    mac: bytes = bytes(6)
    pci: int = 0
    host_name: Text = Text()

    ID: ClassVar[StructureId] = StructureId.NIC
    FORMAT: ClassVar[struct.Struct] = struct.Struct("<BBHBB16sBB16s16s16s16sH6sHHH")
    FLAGS: ClassVar[int] = int(BlockFlag.VALID | BlockFlag.BOOT_SELECTED | BlockFlag.GLOBAL_ADDRESS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target(Block):
    """A target. lun: the 8 bytes of the LUN structure; chap_type: of ChapType; nic: index of the adapter that leads to it.

    chap_name, chap_secret: by which the initiator proves itself; mutual_name, mutual_secret: by which the target does.
    """

    id: int = StructureId.TARGET
    length: int = 54
    address: bytes = NO_ADDRESS
    port: int = 0
    lun: bytes = bytes(8)
    chap_type: int = ChapType.NONE
    nic: int = 0
    name: Text = Text()
    chap_name: Text = Text()
    chap_secret: SecretText = SecretText()
    mutual_name: Text = Text()
    mutual_secret: SecretText = SecretText()

    ID: ClassVar[StructureId] = StructureId.TARGET
    FORMAT: ClassVar[struct.Struct] = struct.Struct("<BBHBB16sH8sBBHHHHHHHHHH")
    FLAGS: ClassVar[int] = int(
        BlockFlag.VALID | BlockFlag.BOOT_SELECTED | BlockFlag.RADIUS_CHAP | BlockFlag.RADIUS_MUTUAL_CHAP
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with its structures, each of which has its place. initiator, nics and targets: None where the control
    structure names none, or where it does not fit into the image. image: all bytes, also those that belong to nothing.
    """

    header: Header
    control: Control
    initiator: Initiator | None
    nics: tuple[Nic | None, ...]
    targets: tuple[Target | None, ...]
    image: bytes = field(repr=False)

    def blocks(self) -> list[Initiator | Nic | Target]:
        """The structures that are there."""
        return [each for each in (self.initiator, *self.nics, *self.targets) if each is not None]


def address_text(address: bytes) -> str:
    """An address as text; empty for none."""
    if address[:12] == _MAPPED:
        return str(ipaddress.IPv4Address(address[12:])) if any(address[12:]) else ""
    return str(ipaddress.IPv6Address(address)) if any(address) else ""


def pack_address(text: str) -> bytes:
    """The 16 bytes of an IPv4 or IPv6 address, all zeros for an empty text. Raises ValueError."""
    if not text:
        return NO_ADDRESS
    address = ipaddress.ip_address(text)
    return _MAPPED + address.packed if isinstance(address, ipaddress.IPv4Address) else address.packed


def mac_text(mac: bytes) -> str:
    """A MAC address as ipconfig prints it: six pairs of digits with hyphens."""
    return mac.hex("-").upper()


def pci_text(pci: int) -> str:
    """A PCI location as bus:device.function."""
    return f"{pci >> 8:02x}:{pci >> 3 & 0x1F:02x}.{pci & 7}"
