"""The classes that adapters alone have: what an adapter tells of itself, what it may be told, and pings through it.

An adapter that leaves a property out has zero, False or nothing there. Its secrets go in and do not come out again.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iscsi_initiator.discovery.adapters import ManagementData, Pinger, configure, ping
from iscsi_initiator.service.management.driver import INSTANCE, head, told
from iscsi_initiator.service.management.schema import Kind, ManagementClass, Method, Property, Row, Structure
from iscsi_initiator.service.management.shapes import (
    FLAG,
    HBA_OPTIONS,
    HBA_PORTAL,
    IP_ADDRESS,
    OCTETS,
    TEXT,
    U32,
    U64,
    P,
    ip_address,
)
from iscsi_initiator.status_codes import Refused, StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core
    from iscsi_initiator.service.ports import LocalInstance

MAX_PINGS = 100
MAX_PING_SIZE = 65507
"""Bytes of data that an echo request over IPv4 has at most."""

MAX_PING_TIME = 60_000
"""Milliseconds."""


def _nothing(wanted: Property) -> Any:
    """What stands where an adapter says nothing."""
    if wanted.array:
        return []
    if wanted.kind is IP_ADDRESS:
        return ip_address(None)
    if isinstance(wanted.kind, Structure):
        return None
    return {Kind.BOOLEAN: False, Kind.STRING: "", Kind.OCTETS: b""}.get(wanted.kind, 0)


def _whole(properties: tuple[Property, ...], said: Row) -> dict[str, Any]:
    """A row with every property; structures are filled up too."""
    row: dict[str, Any] = {}
    for each in properties:
        value = said.get(each.name)
        if value is None:
            row[each.name] = _nothing(each)
        elif isinstance(each.kind, Structure) and not each.array:
            row[each.name] = _whole(each.kind.properties, value)
        else:
            row[each.name] = value
    return row


def _reader(name: str, own: tuple[Property, ...]) -> Callable[[Core], list[Row]]:
    def instances(core: Core) -> list[Row]:
        return [
            {**head(local), "InstanceName": port_name(local.name, port), **_whole(own, said)}
            for local in core.instances
            for port, said in enumerate(told(local, name, own))
        ]

    return instances


def _pinger(local: LocalInstance) -> Pinger | None:
    """The adapter, where it sends pings."""
    adapter: object = local.adapter
    return adapter if isinstance(adapter, Pinger) else None


def port_name(instance: str, port: int) -> str:
    """InstanceName of what an adapter tells of a port; of the first it is the adapter's own name."""
    return f"{instance}:{port}" if port else instance


def _local(core: Core, row: Row) -> tuple[LocalInstance, int]:
    """The adapter, and its port, that an instance is about."""
    name, _, port = row["InstanceName"].partition(":")
    return core.instance(name), int(port or 0)


def _putter(name: str) -> Callable[[Core, Row, Row], Any]:
    async def put(core: Core, row: Row, given: Row) -> Row:
        local, port = _local(core, row)
        adapter: object = local.adapter
        if isinstance(adapter, ManagementData):
            configure(local.name, adapter, name, port, given, core.journal.tell)
        return {}

    return put


def _class(name: str, says: str, *own: Property, writable: bool = False) -> ManagementClass:
    put = Method(name="Put", says="sets the properties that are given", arguments=own, act=_putter(name))
    return ManagementClass(
        name=name,
        says=f"{says} (adapters)",
        properties=(*INSTANCE, *own),
        instances=_reader(name, own),
        methods=(put,) if writable else (),
    )


def _pingers(core: Core) -> list[Row]:
    return [head(local) for local in core.instances if _pinger(local) is not None]


async def _ping(core: Core, row: Row, given: Row) -> Row:
    local, _ = _local(core, row)
    adapter = _pinger(local)
    count, size, wait = given["RequestCount"], given.get("RequestSize", 32), given.get("Timeout", 1000)
    for value, most, what in ((count, MAX_PINGS, "RequestCount"), (size, MAX_PING_SIZE, "RequestSize")):
        if value > most:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{what} is at most {most}, not {value}")
    if wait > MAX_PING_TIME:
        raise Refused(StatusCode.INVALID_PARAMETER, f"Timeout is at most {MAX_PING_TIME} ms, not {wait}")
    address = _address(given["Address"])
    if adapter is None:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{local.name} sends no pings")
    answered = await asyncio.to_thread(ping, local.name, adapter, address, count, size, wait / 1000)
    return {"Status": 0, "ResponsesReceived": answered}


def _address(given: Row) -> str:
    """The address of a structure that somebody gives: its text, else its number. Raises Refused INVALID_PARAMETER."""
    text: str = given.get("TextAddress", "")
    if not text and given.get("IpV4Address"):
        text = str(ipaddress.IPv4Address(given["IpV4Address"]))
    if not text and len(given.get("IpV6Address", b"")) == 16:
        text = str(ipaddress.IPv6Address(given["IpV6Address"]))
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, "Address has an IP address, as text or as number") from error


CLASSES = (
    _class(
        "MSiSCSI_TCPIPConfig",
        "TCP/IP of the adapter",
        P("IpVersions", U32),
        P("UseLinkLocalAddress", FLAG),
        P("EnableDHCP", FLAG),
        P("UseDHCPForDNS", FLAG),
        P("IpAddress", IP_ADDRESS),
        P("SubnetMask", IP_ADDRESS),
        P("DefaultGateway", IP_ADDRESS),
        P("PreferredDnsServer", IP_ADDRESS),
        P("AlternateDnsServer", IP_ADDRESS),
        writable=True,
    ),
    _class(
        "MSiSCSI_NICConfig",
        "the network port of the adapter",
        P("LinkSpeed", U32),
        P("MaxLinkSpeed", U32),
        P("LinkState", U32),
        P("MaxFrameSize", U32),
        P("MacAddress", OCTETS),
    ),
    _class(
        "MSiSCSI_BootConfiguration",
        "what the adapter boots from",
        P("LUN", U64),
        P("SecurityFlags", U64),
        P("UsernameSize", U32),
        P("PasswordSize", U32),
        P("DiscoverBootDevice", FLAG),
        P("InitiatorNode", TEXT),
        P("TargetName", TEXT),
        P("TargetPortal", HBA_PORTAL),
        P("LoginOptions", HBA_OPTIONS),
        P("Username", OCTETS),
        P("Password", OCTETS, secret=True),
        writable=True,
    ),
    _class(
        "MSiSCSI_SecurityCapabilities",
        "what the adapter protects connections by",
        P("ProtectiScsiTraffic", FLAG),
        P("ProtectiSNSTraffic", FLAG),
        P("CertificatesSupported", FLAG),
        P("EncryptionAvailableCount", U32),
        P("EncryptionAvailable", U32, array=True),
    ),
    _class(
        "MSiSCSI_DiscoveryConfig",
        "how the adapter finds targets",
        P("PerformiSNSDiscovery", FLAG),
        P("AutomaticiSNSDiscovery", FLAG),
        P("PerformSLPDiscovery", FLAG),
        P("iSNSServer", IP_ADDRESS),
        P("InitiatorName", TEXT),
        writable=True,
    ),
    _class(
        "MSiSCSI_RADIUSConfig",
        "the RADIUS servers that the adapter asks about CHAP",
        P("UseRADIUSForCHAP", FLAG),
        P("SharedSecretSizeInBytes", U32),
        P("RADIUSServer", IP_ADDRESS),
        P("BackupRADIUSServer", IP_ADDRESS),
        P("SharedSecret", OCTETS, secret=True),
        writable=True,
    ),
    ManagementClass(
        name="MSiSCSI_Eventlog",
        says="an adapter has something for the event log (adapters)",
        properties=(
            *INSTANCE,
            P("Type", U32),
            P("LogToEventlog", U32),
            P("Size", U32),
            P("AdditionalData", OCTETS),
        ),
    ),
    ManagementClass(
        name="MSiSCSI_ManagementOperation",
        aliases=("MSiSCSI_ManagementOperations",),
        says="pings through the adapter (adapters)",
        properties=INSTANCE,
        instances=_pingers,
        methods=(
            Method(
                name="PingIPAddress",
                says=f"sends up to {MAX_PINGS} pings; Timeout: milliseconds for each",
                arguments=(
                    P("RequestCount", U32, required=True),
                    P("RequestSize", U32),
                    P("Timeout", U32),
                    P("Address", IP_ADDRESS, required=True),
                ),
                gives=(P("Status", U32), P("ResponsesReceived", U32)),
                act=_ping,
            ),
        ),
    ),
    _class(
        "MSiSCSI_NICPerformance",
        "what went over the network port of the adapter",
        P("BytesTransmitted", U32),
        P("BytesReceived", U32),
        P("PDUTransmitted", U32),
        P("PDUReceived", U32),
    ),
)
