"""LUNs as devices: where they appear, what they are called, and who has them open (guide, "Mappings Values").

Handles are counted by whoever lets other programs at a device; a session whose device is open is not logged out (event 116).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LunMapping
from iscsi_initiator.tracing.flags import REFCOUNT
from iscsi_initiator.tracing.teller import Teller
from iscsi_protocol.scsi.inquiry import PeripheralDeviceType, PeripheralQualifier, StandardInquiry

BUSES = 8
OS_TARGETS = 255
OS_LUNS = 256
"""What an adapter maps: numbers below these."""

DISK = "Disk"
_TYPES: dict[int, str] = {
    PeripheralDeviceType.DIRECT_ACCESS: DISK,
    PeripheralDeviceType.SEQUENTIAL_ACCESS: "Tape",
    PeripheralDeviceType.CD_DVD: "CD",
    PeripheralDeviceType.STORAGE_ARRAY_CONTROLLER: "Array controller",
    PeripheralDeviceType.ENCLOSURE_SERVICES: "Enclosure",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A LUN that is reported to the system. number: of a disk, None for other types; mapping: where it appears."""

    type: str
    number: int | None
    friendly_name: str
    mapping: LunMapping
    interface_name: str

    @property
    def legacy_name(self) -> str:
        """The name with a number; empty where it has none."""
        return "" if self.number is None else f"PhysicalDrive{self.number}"


def interface_name(target_name: str, lun: int) -> str:
    """By which a device is known again after a restart. lun: the LUN structure as a number."""
    return f"iscsi#{target_name}#{lun:016x}"


def describe(
    inquiry: bytes,
    target_name: str,
    mapping: LunMapping,
    taken: Collection[int | None],
    number: int | None = None,
) -> Device | None:
    """The device behind a LUN; None where there is none. taken: numbers that other disks have; number: the one that this
    disk has already, by another path.
    """
    standard = StandardInquiry.parse(inquiry.ljust(StandardInquiry.LENGTH, b"\0"))
    if standard.peripheral_qualifier != PeripheralQualifier.CONNECTED:
        return None
    kind = _TYPES.get(standard.peripheral_device_type, f"Type {standard.peripheral_device_type:#04x}")
    if kind == DISK and number is None:
        number = next(n for n in range(len(taken) + 1) if n not in taken)
    words = (standard.vendor.strip(), standard.product.strip(), f"{kind} Device")
    return Device(
        type=kind,
        number=number,
        friendly_name=" ".join(word for word in words if word),
        mapping=mapping,
        interface_name=interface_name(target_name, mapping.target_lun),
    )


def is_disk(inquiry: bytes) -> bool:
    """Whether INQUIRY data is a disk's that is there."""
    connected = PeripheralQualifier.CONNECTED << 5 | PeripheralDeviceType.DIRECT_ACCESS
    return inquiry[:1] == bytes((connected,))


def check_limits(mappings: Iterable[LunMapping]) -> None:
    """Raises Refused TARGET_MAPPING_OUT_OF_RANGE, INVALID_TARGET_ID for what the adapter does not map."""
    for each in mappings:
        if each.os_bus >= BUSES or each.os_lun >= OS_LUNS:
            reason = f"an adapter has buses below {BUSES} and LUNs below {OS_LUNS}"
            raise Refused(StatusCode.TARGET_MAPPING_OUT_OF_RANGE, reason)
        if each.os_target >= OS_TARGETS:
            raise Refused(StatusCode.INVALID_TARGET_ID, f"an adapter has target numbers below {OS_TARGETS}")


def check_free(mappings: Sequence[LunMapping], others: Iterable[LunMapping]) -> None:
    """Raises Refused TARGET_MAPPING_EXISTS where another session appears at one of these places."""
    places = {(each.os_bus, each.os_target, each.os_lun) for each in mappings}
    for each in others:
        if (each.os_bus, each.os_target, each.os_lun) in places:
            place = f"bus {each.os_bus}, target {each.os_target}, LUN {each.os_lun}"
            raise Refused(StatusCode.TARGET_MAPPING_EXISTS, f"another session has a mapping at {place}")


def map_luns(luns: Sequence[int], wanted: Sequence[LunMapping], others: Iterable[LunMapping]) -> tuple[LunMapping, ...]:
    """Where the LUNs of a session appear: as wanted, which leaves all others out, or else at the first free target number.

    luns: that the target reports. Raises Refused TARGET_MAPPING_UNAVAILABLE for one that it does not.
    """
    if wanted:
        missing = [each.target_lun for each in wanted if each.target_lun not in luns]
        if missing:
            reason = f"the target reports no LUN {missing[0]:#018x}"
            raise Refused(StatusCode.TARGET_MAPPING_UNAVAILABLE, reason)
        return tuple(wanted)
    taken = {each.os_target for each in others if each.os_bus == 0}
    target = next(number for number in range(len(taken) + 1) if number not in taken)
    return tuple(
        LunMapping(target_lun=lun, os_bus=0, os_target=target, os_lun=place) for place, lun in enumerate(luns[:OS_LUNS])
    )


class Handles:
    """Who has which device open. tell: logs an event of the service; teller: takes debug messages."""

    def __init__(self, tell: Callable[..., None], teller: Teller | None = None) -> None:
        self._teller = teller or Teller()
        self._open: dict[tuple[str, str], list[str]] = {}
        self._tell = tell

    def open(self, session_id: str, device: str, who: str) -> None:
        """Somebody opens a device of a session, by its interface name."""
        holders = self._open.setdefault((session_id, device), [])
        holders.append(who)
        self._count(f"{who} opens {device} of session {session_id}", holders)

    def close(self, session_id: str, device: str, who: str) -> None:
        """And closes it. Raises KeyError, ValueError where it was not open."""
        holders = self._open[session_id, device]
        holders.remove(who)
        if not holders:
            del self._open[session_id, device]
        self._count(f"{who} closes {device} of session {session_id}", holders)

    def _count(self, what: str, holders: Sequence[str]) -> None:
        if self._teller.level & REFCOUNT:
            self._teller.tell(REFCOUNT, f"{what}; it is open {len(holders)} times")

    def forget(self, session_id: str) -> None:
        """A session is over, whoever has its devices open."""
        for session, device in [each for each in self._open if each[0] == session_id]:
            del self._open[session, device]

    def check_unused(self, session_id: str) -> None:
        """Raises Refused DEVICE_BUSY_ON_SESSION, with event 116 logged, while a device of the session is open."""
        for (session, device), holders in self._open.items():
            if session == session_id:
                self._tell(116, device, session_id, ", ".join(sorted(set(holders))))
                raise Refused(StatusCode.DEVICE_BUSY_ON_SESSION, f"{device} is open by {holders[0]}")

    @property
    def any(self) -> bool:
        """Whether anything is open at all."""
        return bool(self._open)
