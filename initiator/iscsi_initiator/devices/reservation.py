"""The persistent reservation key of this node, which every path of a device is registered with (guide, msiscsidsm)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.persistent import BasicFields, build_basic

KEY_LENGTH = 8


@dataclass(frozen=True, slots=True)
class PersistentReservation:
    """UsePersistentReservation and PersistentReservationKey; the key is 8 bytes, of which the guide has the last two tell
    the node within its cluster. Raises ValueError for another length, and for all zeros, which would unregister.
    """

    use: bool = False
    key: bytes = bytes(KEY_LENGTH)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_LENGTH:
            raise ValueError(f"PersistentReservationKey is {KEY_LENGTH} bytes, not {len(self.key)}")
        if self.use and not any(self.key):
            raise ValueError("PersistentReservationKey is all zeros")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """From values by their names in the registry; the key in hexadecimal, as the store has it. Raises ValueError."""
        key = bytes.fromhex(stored.get("PersistentReservationKey", "00" * KEY_LENGTH))
        return cls(bool(stored.get("UsePersistentReservation", 0)), key)

    def registration(self) -> tuple[bytes, bytes]:
        """CDB and parameter list that register the key with one path, whatever was registered there before."""
        data = build_basic(BasicFields(service_action_key=int.from_bytes(self.key, "big")))
        return opcodes.REGISTER_AND_IGNORE_EXISTING_KEY.build(parameter_list_length=len(data)), data
