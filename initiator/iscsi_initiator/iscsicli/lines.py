"""How values look in text."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.store.state import LunMapping, Portal
from iscsi_protocol.history import Endpoint

WIDTH = 22


def printable(text: str) -> str:
    """Text without line ends and control characters: what came from afar moves no cursor."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def row(label: str, value: object, indent: int = 4) -> str:
    """A name and its value."""
    return f"{' ' * indent}{printable(label):<{WIDTH}}: {printable(str(value))}".rstrip()


def item(value: object, indent: int = 4) -> str:
    """A value that stands for itself."""
    return " " * indent + printable(str(value))


def total(count: int, one: str, many: str) -> str:
    """How many there are."""
    return f"Total of {count} {one if count == 1 else many}" + (":" if count else "")


def portal_text(portal: Portal | None, none: str = "*") -> str:
    """Address and port."""
    return none if portal is None else str(Endpoint(portal.address, portal.port))


def any_text(value: object | None, none: str = "*") -> str:
    """A value or what stands for none."""
    return none if value is None else str(value)


def yes(value: bool) -> str:
    """T or F, as in arguments."""
    return "T" if value else "F"


def digest(value: bool | None) -> str:
    """1, 0, or * where the driver chooses."""
    return "*" if value is None else str(int(value))


def lun_text(lun: int) -> str:
    """The 8 bytes of a LUN."""
    return f"0x{lun:016x}"


def via(initiator: str | None, port: int | None, indent: int = 4) -> list[str]:
    """An initiator instance and its port."""
    return [row("Initiator Name", any_text(initiator), indent), row("Initiator Port", any_text(port), indent)]


def options_text(options: api.LoginOptions, password_stored: bool, indent: int = 4) -> list[str]:
    """How a login is made; of the password only whether there is one."""
    return [
        row("Login Flags", f"{options.login_flags:#x}", indent),
        row("Header Digest", digest(options.header_digest), indent),
        row("Data Digest", digest(options.data_digest), indent),
        row("Maximum Connections", any_text(options.maximum_connections), indent),
        row("DefaultTime2Wait", any_text(options.default_time2wait), indent),
        row("DefaultTime2Retain", any_text(options.default_time2retain), indent),
        row("Username", any_text(options.user_name), indent),
        row("Password", "stored" if password_stored else "none", indent),
        row("AuthType", int(options.auth_type), indent),
    ]


def mappings_text(mappings: tuple[LunMapping, ...], indent: int = 4) -> list[str]:
    """Where LUNs appear."""
    found = [row("Mapping Count", len(mappings), indent)]
    for each in mappings:
        where = f"Bus {each.os_bus}, Target {each.os_target}, LUN {each.os_lun}"
        found.append(row("Target LUN", f"{lun_text(each.target_lun)} -> {where}", indent + 4))
    return found


def hex_lines(data: bytes, indent: int = 4) -> list[str]:
    """Sixteen bytes a line, with their offset, as hexadecimal and as ASCII."""
    lines = []
    for offset in range(0, len(data), 16):
        part = data[offset : offset + 16]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{' ' * indent}{offset:04x}  {part.hex(' '):<47}  {seen}".rstrip())
    return lines
