"""Designation descriptors and VPD page 83, device identification (SPC-4 7.8.6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.scsi.fields import Buffer
from iscsi_protocol.scsi.vpd import VpdCode, VpdPage

ISCSI_PROTOCOL = 0x5
_PIV = 0x80


class Association(IntEnum):
    """What a designator names."""

    LOGICAL_UNIT = 0
    TARGET_PORT = 1
    TARGET_DEVICE = 2


class CodeSet(IntEnum):
    """How a designator is written."""

    BINARY = 1
    ASCII = 2
    UTF_8 = 3


class DesignatorType(IntEnum):
    """Format and authority of a designator."""

    VENDOR_SPECIFIC = 0x0
    T10_VENDOR_ID = 0x1
    EUI_64 = 0x2
    NAA = 0x3
    RELATIVE_TARGET_PORT = 0x4
    TARGET_PORT_GROUP = 0x5
    LOGICAL_UNIT_GROUP = 0x6
    MD5 = 0x7
    SCSI_NAME_STRING = 0x8


@dataclass(frozen=True, kw_only=True, slots=True)
class Designator:
    """One designation descriptor; `protocol` is the protocol identifier, None when PIV is 0."""

    designator_type: int
    code_set: int
    value: bytes
    association: int = Association.LOGICAL_UNIT
    protocol: int | None = None

    def build(self) -> bytes:
        """The descriptor. Raises ValueError when a part does not fit."""
        if self.association > 3 or self.designator_type > 15 or self.code_set > 15 or (self.protocol or 0) > 15:
            raise ValueError(f"{self} does not fit a designation descriptor")
        piv = 0 if self.protocol is None else _PIV
        head = (
            (self.protocol or 0) << 4 | self.code_set,
            piv | self.association << 4 | self.designator_type,
            0,
            len(self.value),
        )
        return bytes(head) + self.value

    @property
    def text(self) -> str:
        """The designator for people: text as it is, binary in hexadecimal."""
        if self.code_set == CodeSet.BINARY:
            return self.value.hex()
        return self.value.rstrip(b"\0").decode("utf-8", "backslashreplace")


def t10_vendor_id(vendor: str, identifier: str) -> Designator:
    """Type 1: the vendor in 8 characters, then what the vendor calls the unit. Raises ValueError unless ASCII."""
    if len(vendor) > 8:
        raise ValueError(f"a T10 vendor is at most 8 characters, got {vendor!r}")
    value = vendor.ljust(8).encode("ascii") + identifier.encode("ascii")
    return Designator(designator_type=DesignatorType.T10_VENDOR_ID, code_set=CodeSet.ASCII, value=value)


def naa(identifier: bytes) -> Designator:
    """Type 3: 8 bytes for NAA 2, 3 and 5, 16 bytes for NAA 6. Raises ValueError for any other length."""
    authority = identifier[0] >> 4 if identifier else 0
    if len(identifier) != {2: 8, 3: 8, 5: 8, 6: 16}.get(authority):
        raise ValueError(f"no NAA designator: {identifier.hex() or 'empty'}")
    return Designator(designator_type=DesignatorType.NAA, code_set=CodeSet.BINARY, value=identifier)


def naa_locally_assigned(number: int) -> Designator:
    """Type 3 with NAA 3: a number below 2^60 that is unique to the target's administrator. Raises ValueError."""
    if not 0 <= number < 1 << 60:
        raise ValueError(f"a locally assigned NAA designator is below 2^60, got {number:#x}")
    return naa((3 << 60 | number).to_bytes(8, "big"))


def eui_64(identifier: bytes) -> Designator:
    """Type 2: 8, 12 or 16 bytes. Raises ValueError for any other length."""
    if len(identifier) not in (8, 12, 16):
        raise ValueError(f"an EUI-64 based designator is 8, 12 or 16 bytes, got {len(identifier)}")
    return Designator(designator_type=DesignatorType.EUI_64, code_set=CodeSet.BINARY, value=identifier)


def scsi_name(name: str, association: int = Association.LOGICAL_UNIT) -> Designator:
    """Type 8: UTF-8, ended and padded with NUL to a multiple of 4; names of ports and devices carry iSCSI's protocol.

    A target port is "<iSCSI name>,t,0x<portal group tag>", a target device its iSCSI name (RFC 7143 4.4.1, SPC-4).
    """
    value = name.encode() + b"\0"
    return Designator(
        designator_type=DesignatorType.SCSI_NAME_STRING,
        code_set=CodeSet.UTF_8,
        value=value.ljust(-(-len(value) // 4) * 4, b"\0"),
        association=association,
        protocol=None if association == Association.LOGICAL_UNIT else ISCSI_PROTOCOL,
    )


def _port_number(designator_type: DesignatorType, number: int) -> Designator:
    return Designator(
        designator_type=designator_type,
        code_set=CodeSet.BINARY,
        value=number.to_bytes(4, "big"),
        association=Association.TARGET_PORT,
        protocol=ISCSI_PROTOCOL,
    )


def relative_target_port(number: int) -> Designator:
    """Type 4: relative target port identifier, 1 to 65535. Raises ValueError."""
    if not 1 <= number <= 0xFFFF:
        raise ValueError(f"a relative target port identifier is 1 to 65535, got {number}")
    return _port_number(DesignatorType.RELATIVE_TARGET_PORT, number)


def target_port_group(number: int) -> Designator:
    """Type 5: target port group, 0 to 65535. Raises ValueError."""
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"a target port group is 0 to 65535, got {number}")
    return _port_number(DesignatorType.TARGET_PORT_GROUP, number)


def device_identification(designators: Iterable[Designator], peripheral: int = 0) -> VpdPage:
    """Page 83 of the designators, in their order."""
    body = b"".join(each.build() for each in designators)
    return VpdPage(page_code=VpdCode.DEVICE_IDENTIFICATION, body=body, peripheral=peripheral)


def parse_designators(body: Buffer) -> list[Designator]:
    """The descriptors in the body of page 83; one that was cut off keeps the bytes that are there."""
    raw = bytes(body)
    found: list[Designator] = []
    at = 0
    while at + 4 <= len(raw):
        end = at + 4 + raw[at + 3]
        found.append(
            Designator(
                designator_type=raw[at + 1] & 0x0F,
                code_set=raw[at] & 0x0F,
                value=raw[at + 4 : end],
                association=raw[at + 1] >> 4 & 0x03,
                protocol=raw[at] >> 4 if raw[at + 1] & _PIV else None,
            )
        )
        at = end
    return found
