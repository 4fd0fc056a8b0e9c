"""What is wrong with a boot table: every rule of its layout, and what the values have to be for a login."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from iscsi_initiator.boot.layout import (
    ALIGNMENT,
    HEADER_LENGTH,
    MOST,
    REVISION,
    Block,
    ChapType,
    Control,
    ControlFlag,
    Initiator,
    Nic,
    Origin,
    StructureId,
    Table,
    Target,
    address_text,
)
from iscsi_protocol.names import IscsiNameError, check_name

Structure = Initiator | Nic | Target
_LAST_VLAN = 4094


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. place: header, control, initiator, nic 0, target 1 and so on."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def judge(table: Table) -> tuple[Finding, ...]:
    """Everything that is wrong with a table, in the order of its structures; nothing for one that is right."""
    found = [Finding("header", reason) for reason in _header(table)]
    found += [Finding("control", reason) for reason in _control(table)]
    for place, kind, offset, block in slots(table):
        if block is None:
            if offset:
                found.append(Finding(place, f"{kind.FORMAT.size} bytes at {offset:#x} are beyond the table"))
            elif kind is Initiator:
                found.append(Finding(place, "there is none"))
            continue
        found += [Finding(place, reason) for reason in _block(table, place, block)]
    found += [Finding("table", reason) for reason in _whole(table)]
    return tuple(found)


def slots(
    table: Table,
) -> Iterator[tuple[str, type[Initiator] | type[Nic] | type[Target], int, Initiator | Nic | Target | None]]:
    """Each place of the control structure: its name, what belongs there, the offset that it says, and what is there."""
    first, *others = table.control.offsets
    yield "initiator", Initiator, first, table.initiator
    for number, offset in enumerate(others):
        index, is_target = divmod(number, 2)
        if is_target:
            yield f"target {index}", Target, offset, table.targets[index]
        else:
            yield f"nic {index}", Nic, offset, table.nics[index]


def _header(table: Table) -> Iterator[str]:
    header, image = table.header, table.image
    if header.length != len(image):
        yield f"its length is {header.length}, the table has {len(image)} bytes"
    if header.revision != REVISION:
        yield f"revision {header.revision}; {REVISION} is the one that there is"
    if total := sum(image[: header.length]) & 0xFF:
        yield f"the checksum is wrong: the bytes sum up to {total:#04x}"
    if any(header.reserved):
        yield "reserved bytes are not zero"


def _control(table: Table) -> Iterator[str]:
    control = table.control
    if control.id != StructureId.CONTROL:
        yield f"structure {control.id} instead of {StructureId.CONTROL:d}"
    if control.version != 1:
        yield f"version {control.version}; 1 is the one that there is"
    if control.length < Control.LENGTH or control.length % 2:
        yield f"a length of {control.length}; {Control.LENGTH} is the least"
    if control.length > Control.FORMAT.size + 2 * (1 + 2 * MOST):
        yield f"a length of {control.length}; what is beyond {MOST} NICs and targets is not looked at"
    if control.offset + control.length > len(table.image):
        yield f"its {control.length} bytes are beyond the table"
    if control.index:
        yield f"index {control.index}; there is one alone, of index 0"
    if control.flags & ~int(ControlFlag.BOOT_FAILOVER):
        yield f"unknown flags {control.flags:#04x}"
    if control.extensions:
        yield from _place(control.extensions, 6, table)


def _place(offset: int, size: int, table: Table) -> Iterator[str]:
    if offset % ALIGNMENT:
        yield f"at {offset:#x}, which is no multiple of {ALIGNMENT}"
    if offset < HEADER_LENGTH + table.control.length:
        yield f"at {offset:#x}, within header or control structure"
    if offset + size > len(table.image):
        yield f"at {offset:#x}, beyond the table"


def _block(table: Table, place: str, block: Structure) -> Iterator[str]:
    yield from _place(block.offset, block.FORMAT.size, table)
    if block.id != block.ID:
        yield f"structure {block.id} instead of {block.ID:d}"
    if block.version != 1:
        yield f"version {block.version}; 1 is the one that there is"
    if block.length != block.FORMAT.size:
        yield f"a length of {block.length}, not {block.FORMAT.size}"
    number = int(place.rpartition(" ")[2]) if " " in place else 0
    if block.index != number:
        yield f"index {block.index}, not {number}"
    if block.flags & ~block.FLAGS:
        yield f"unknown flags {block.flags & ~block.FLAGS:#04x}"
    if block.boot_selected and not block.valid:
        yield "selected for booting, and not valid"
    yield from _texts(table, block)
    if not block.valid:
        return
    match block:
        case Initiator():
            yield from _name("name", block.name.text)
        case Nic():
            yield from _nic(block)
        case Target():
            yield from _target(table, block)


def _texts(table: Table, block: Block) -> Iterator[str]:
    for name, text in block.texts().items():
        if not text.length:
            continue
        what = name.replace("_", " ")
        if text.offset < HEADER_LENGTH + table.control.length:
            yield f"{what} at {text.offset:#x}, within header or control structure"
        if len(text.data) < text.length:
            yield f"{what}: {text.length} bytes at {text.offset:#x} are beyond the table"
        elif table.image[text.offset + text.length : text.offset + text.length + 1] != b"\0":
            yield f"{what} has no NUL behind it"
        if b"\0" in text.data:
            yield f"{what} has a NUL within"
        if not text.is_text:
            yield f"{what} is no printable text"


def _name(what: str, name: str) -> Iterator[str]:
    try:
        check_name(name)
    except IscsiNameError as error:
        yield f"{what}: {error.reason}" if name else f"no {what}"


def _nic(nic: Nic) -> Iterator[str]:
    if not any(nic.mac):
        yield "no MAC address"
    elif nic.mac[0] & 1:
        yield "the MAC address is that of a group"
    if address_text(nic.address):
        bits = 32 if "." in address_text(nic.address) else 128
        if not 0 < nic.prefix_length <= bits:
            yield f"a prefix of {nic.prefix_length} bits; {bits} are the most"
    if nic.origin not in Origin.__members__.values():
        yield f"unknown origin {nic.origin}"
    if nic.vlan > _LAST_VLAN:
        yield f"VLAN {nic.vlan}; {_LAST_VLAN} is the last"


def _target(table: Table, target: Target) -> Iterator[str]:
    yield from _name("name", target.name.text)
    if not address_text(target.address):
        yield "no address"
    if not target.port:
        yield "no port"
    if target.nic >= len(table.nics) or (found := table.nics[target.nic]) is None or not found.valid:
        yield f"its adapter, NIC {target.nic}, is not there"
    if target.chap_type not in ChapType.__members__.values():
        yield f"unknown CHAP type {target.chap_type}"
    if target.chap_type in (ChapType.CHAP, ChapType.MUTUAL_CHAP) and not (
        target.chap_name.data and target.chap_secret.data
    ):
        yield "CHAP without name or secret"
    if target.chap_type == ChapType.MUTUAL_CHAP and not target.mutual_secret.data:
        yield "mutual CHAP without the target's secret"


def _whole(table: Table) -> Iterator[str]:
    """What concerns several structures: places that overlap, and which of them are selected."""
    for one, other in pairwise(sorted(table.blocks(), key=lambda block: block.offset)):
        if other.offset < one.offset + one.FORMAT.size:
            yield f"the structures at {one.offset:#x} and {other.offset:#x} overlap"
    kinds: tuple[tuple[str, tuple[Block | None, ...]], ...] = (("NIC", table.nics), ("target", table.targets))
    for what, blocks in kinds:
        if not any(block is not None and block.valid for block in blocks):
            yield f"no valid {what}"
        elif not any(block is not None and block.valid and block.boot_selected for block in blocks):
            yield f"no {what} is selected for booting"
    if table.initiator is not None and not table.initiator.valid:
        yield "the initiator is not valid"
