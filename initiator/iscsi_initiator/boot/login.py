"""From a boot table to a login: which target the firmware booted from, and what a session to it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from iscsi_initiator.boot.layout import (
    BlockFlag,
    ChapType,
    ControlFlag,
    Nic,
    Table,
    Target,
    address_text,
    mac_text,
)
from iscsi_initiator.boot.table import BootTableError
from iscsi_initiator.node_name import check
from iscsi_initiator.settings import ChapOptions, SessionOptions
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.chap import Credentials
from iscsi_protocol.history import Endpoint

EVENT = 64
"""What the driver logs when it starts from a table (guide, Appendix B); it has no extra data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BootLogin:
    """A login that a table asks for. initiator_name: the name to log in with; lun: the 8 bytes of the disk's LUN structure;
    mac: that of the adapter, as text, empty where the table has none; address: the adapter's, empty likewise.
    """

    initiator_name: str
    options: SessionOptions
    lun: bytes
    mac: str = ""
    address: str = ""


def start(table: Table, tell: Callable[[int], None], *, isid: bytes | None = None) -> tuple[BootLogin, ...]:
    """What the service does with a table that it starts from: the event is told, then the logins are made of it.

    tell: logs a driver event. As `logins` besides.
    """
    tell(EVENT)
    return logins(table, isid=isid)


def logins(table: Table, *, isid: bytes | None = None) -> tuple[BootLogin, ...]:
    """The logins to try, one behind the other: that of the target which the firmware booted from, and behind it, where the
    table has failover on, the other valid ones. isid: 6 bytes for the sessions.

    Raises BootTableError where there is no valid initiator or target, or where something is missing that a login needs.
    """
    initiator = table.initiator
    if initiator is None or not initiator.valid:
        raise BootTableError("the table has no valid initiator")
    valid = [target for target in table.targets if target is not None and target.valid]
    valid.sort(key=lambda target: not target.boot_selected)
    if not valid:
        raise BootTableError("the table has no valid target")
    if not table.control.flags & ControlFlag.BOOT_FAILOVER:
        del valid[1:]
    name = _checked("initiator", initiator.name.text)
    return tuple(_login(table, name, target, isid) for target in valid)


def boot_nics(table: Table) -> Iterator[Nic]:
    """The adapters that are set to boot; all valid ones where none is."""
    valid = [nic for nic in table.nics if nic is not None and nic.valid]
    yield from [nic for nic in valid if nic.boot_selected] or valid


def _login(table: Table, initiator_name: str, target: Target, isid: bytes | None) -> BootLogin:
    name = _checked("target", target.name.text)
    address = address_text(target.address)
    if not address or not target.port:
        raise BootTableError(f"the table has no portal for {name}")
    options = SessionOptions(portal=Endpoint(address, target.port), target_name=name, chap=_chap(target))
    if isid is not None:
        options = replace(options, isid=isid)
    nic = table.nics[target.nic] if target.nic < len(table.nics) else None
    if nic is None or not nic.valid:
        return BootLogin(initiator_name=initiator_name, options=options, lun=target.lun)
    return BootLogin(
        initiator_name=initiator_name,
        options=options,
        lun=target.lun,
        mac=mac_text(nic.mac),
        address=address_text(nic.address),
    )


def _chap(target: Target) -> ChapOptions | None:
    if target.chap_type == ChapType.NONE:
        return None
    if target.chap_type not in (ChapType.CHAP, ChapType.MUTUAL_CHAP):
        raise BootTableError(f"the table asks for CHAP of the unknown type {target.chap_type}")
    if target.flags & (BlockFlag.RADIUS_CHAP | BlockFlag.RADIUS_MUTUAL_CHAP):
        raise BootTableError("the table asks for a RADIUS server, which is not supported")
    if not target.chap_name.data or not target.chap_secret.data:
        raise BootTableError("the table asks for CHAP and lacks the name or the secret")
    if not (target.chap_name.is_text and target.mutual_name.is_text):
        raise BootTableError("the table has a CHAP name that is no text")
    credentials = Credentials(name=target.chap_name.text, secret=target.chap_secret.data)
    if target.chap_type == ChapType.CHAP:
        return ChapOptions(credentials=credentials)
    if not target.mutual_secret.data:
        raise BootTableError("the table asks for mutual CHAP and lacks the target's secret")
    return ChapOptions(
        credentials=credentials,
        target_secret=target.mutual_secret.data,
        target_name=target.mutual_name.text or None,
    )


def _checked(whose: str, name: str) -> str:
    try:
        return check(name)
    except Refused as error:
        raise BootTableError(f"the table's {whose} has no iSCSI name: {error.reason}") from None
