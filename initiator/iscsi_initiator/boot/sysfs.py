"""The boot table of the computer that this runs on, as Linux has it.

The ACPI table itself is exact, and root alone can read it. The firmware's own copy in memory Linux shows field by field
below /sys/firmware/ibft; a table is assembled from these.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iscsi_initiator.boot.layout import Initiator, Nic, SecretText, Table, Target, pack_address
from iscsi_initiator.boot.table import LARGEST, BootTableError, assemble, decode, text

ACPI = Path("firmware/acpi/tables")
IBFT = Path("firmware/ibft")
_NAMES = ("iBFT", "IBFT", "iBFT1")

_ADDRESSES = {
    "isns-server": "isns_server",
    "slp-server": "slp_server",
    "pri-radius-server": "primary_radius_server",
    "sec-radius-server": "secondary_radius_server",
    "ip-addr": "address",
    "gateway": "gateway",
    "primary-dns": "primary_dns",
    "secondary-dns": "secondary_dns",
    "dhcp": "dhcp_server",
}
_NUMBERS = {
    "flags": "flags",
    "prefix-len": "prefix_length",
    "origin": "origin",
    "vlan": "vlan",
    "port": "port",
    "chap-type": "chap_type",
    "nic-assoc": "nic",
}
_TEXTS = {"initiator-name": "name", "target-name": "name", "hostname": "host_name", "chap-name": "chap_name"}
_TEXTS |= {"rev-chap-name": "mutual_name"}
_SECRETS = {"chap-secret": "chap_secret", "rev-chap-name-secret": "mutual_secret", "rev-chap-secret": "mutual_secret"}


def this_host(root: Path = Path("/sys")) -> Table:
    """The table. Raises BootTableError where the computer has none, or shows what is none; OSError where it is not shown."""
    for name in _NAMES:
        path = root / ACPI / name
        if path.exists():
            with path.open("rb") as file:
                return decode(file.read(LARGEST + 1))
    folder = root / IBFT
    if not folder.is_dir():
        raise BootTableError("this computer has no iSCSI boot firmware table (or the module iscsi_ibft is not loaded)")
    nics = [Nic(**fields) if fields else None for fields in _numbered(folder, "ethernet")]
    targets = [Target(**fields) if fields else None for fields in _numbered(folder, "target")]
    try:
        return assemble(Initiator(**_fields(folder / "initiator")), nics, targets, **_oem(folder / "acpi_header"))
    except struct.error as error:
        raise BootTableError(f"{folder}: {error}") from None


def _numbered(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The fields of each structure of a kind by its number, none for a number that is missing."""
    names = [each.name.removeprefix(kind) for each in folder.iterdir() if each.name.startswith(kind)]
    numbers = [int(name) for name in names if re.fullmatch("[0-9]{1,3}", name)]
    for number in range(max(numbers, default=-1) + 1):
        yield _fields(folder / f"{kind}{number}")


def _oem(folder: Path) -> dict[str, Any]:
    found = {}
    for name, field, size in (("oem_id", "oem_id", 6), ("oem_table_id", "oem_table_id", 8)):
        if (folder / name).exists():
            found[field] = _line(folder / name).encode()[:size]
    return found


def _line(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")


def _fields(folder: Path) -> dict[str, Any]:
    """The fields of one structure. Linux leaves out those that are empty."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_file():
            continue
        try:
            found |= _field(path.name, _line(path))
        except ValueError as error:
            raise BootTableError(f"{path}: {error}") from None
    return found


def _field(name: str, value: str) -> dict[str, Any]:
    if name in _ADDRESSES:
        return {_ADDRESSES[name]: pack_address(value)}
    if name in _NUMBERS:
        return {_NUMBERS[name]: int(value)}
    if name in _TEXTS:
        return {_TEXTS[name]: text(value.encode("utf-8", "surrogateescape"))}
    if name in _SECRETS:
        return {_SECRETS[name]: SecretText(value.encode("utf-8", "surrogateescape"))}
    if name == "mac":
        if not re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", value):
            raise ValueError(f"{value!r} is not six pairs of digits")
        return {"mac": bytes.fromhex(value.replace(":", ""))}
    if name == "lun":
        return {"lun": _lun(value)}
    return {}


def _lun(digits: str) -> bytes:
    """Linux prints each byte in as few digits as it takes: eight digits are eight bytes, others but sixteen are unclear."""
    if re.fullmatch(r"[0-9a-f]{8}", digits):
        return bytes(int(digit, 16) for digit in digits)
    if re.fullmatch(r"[0-9a-f]{16}", digits):
        return bytes.fromhex(digits)
    raise ValueError(f"{digits!r} may be more than one LUN")
