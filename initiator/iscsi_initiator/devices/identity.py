"""What two paths have to have in common to lead to one logical unit: its device identifier (SPC-4 7.8.6, 7.8.15)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_initiator.status_codes import Refused
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.scsi.designators import Association, Designator, DesignatorType, parse_designators
from iscsi_protocol.scsi.inquiry import StandardInquiry
from iscsi_protocol.scsi.vpd import VpdCode, parse_vpd
from iscsi_protocol.status_codes import StatusCode

PREFERENCE = (
    DesignatorType.NAA,
    DesignatorType.EUI_64,
    DesignatorType.SCSI_NAME_STRING,
    DesignatorType.T10_VENDOR_ID,
)
"""Types that are unique in the world, the best first. What a vendor makes up by itself (type 0) is not."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device identifier. page: the VPD page that it is from, 0x83 or 0x80; kind: its designator type, or None; value:
    the designator's bytes, or vendor, product and serial number in a row.
    """

    page: int
    kind: int | None
    value: bytes

    def __str__(self) -> str:
        if self.kind in {DesignatorType.NAA, DesignatorType.EUI_64}:
            return self.value.hex()
        return " ".join(self.value.rstrip(b"\0").decode("utf-8", "backslashreplace").split())


def identify(page_83: Buffer | None, page_80: Buffer | None, standard: Buffer) -> Identity:
    """The identifier of a logical unit from INQUIRY data; a page is None where the unit does not have it.

    Page 83's designators of the unit itself come first, in the order of PREFERENCE; the serial number of page 80, which
    is unique for a vendor's product only, is put behind these two. Raises Refused (REQUEST_NOT_SUPPORTED) where neither
    tells the unit from others.
    """
    if page_83 is not None:
        best = _best(parse_designators(parse_vpd(page_83).body))
        if best is not None:
            return Identity(VpdCode.DEVICE_IDENTIFICATION, best.designator_type, best.value)
    serial = parse_vpd(page_80).body.strip(b" \0") if page_80 is not None else b""
    if not serial:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "the logical unit has no device identifier")
    inquiry = StandardInquiry.parse(bytes(standard).ljust(StandardInquiry.LENGTH, b"\0"))
    value = inquiry.vendor.ljust(8).encode() + inquiry.product.ljust(16).encode() + serial
    return Identity(VpdCode.UNIT_SERIAL_NUMBER, None, value)


def _best(designators: list[Designator]) -> Designator | None:
    own = [each for each in designators if each.association == Association.LOGICAL_UNIT and each.value.strip(b" \0")]
    for kind in PREFERENCE:
        for each in own:
            if each.designator_type == kind:
                return each
    return None
