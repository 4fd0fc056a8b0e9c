"""Targets, portals and iSNS servers: what the service refuses, and how discovery fails (guide, Appendices B and D)."""

from __future__ import annotations

import re

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import HOST, ServiceBench, event_case, status_case
from iscsi_conformance.service.isns import IsnsNetwork
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import Portal, TargetFlag
from iscsi_protocol.fault import Action, Drop, Fault, Part, Replace, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.isns.policy import IsnsPolicy

SERVER = "127.0.0.1"
ADDRESS = "127.0.0.1:3260"
NAMED = Portal(address="storage.example.org")
NAME = "iqn.2026-01.org.example:x"


def told(what: Action) -> Fault:
    """Something in the place of the answer to SendTargets."""
    return Fault(when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.TEXT_RESPONSE), what=(what,))


def text(data: bytes) -> Fault:
    """Other text in the answer to SendTargets."""
    return told(Replace(Part.DATA, data))


@status_case(StatusCode.TARGET_ALREADY_EXISTS)
async def target_twice(service: ServiceBench) -> None:
    """A static target is not added twice, unless the call is to be merged with it."""
    one = await service.start()
    await one.knows()
    await one.gets(api.AddTarget(target_name=PLAIN), StatusCode.TARGET_ALREADY_EXISTS)
    await one.does(api.AddTarget(target_name=PLAIN, target_flags=TargetFlag.MERGE_TARGET_INFORMATION))


@status_case(StatusCode.TARGET_PORTAL_ALREADY_EXISTS)
async def portal_twice(service: ServiceBench) -> None:
    """A portal is not added twice, another port of the same address is."""
    one = await service.start()
    await one.discover()
    await one.gets(api.AddTargetPortal(portal=HOST), StatusCode.TARGET_PORTAL_ALREADY_EXISTS)
    await one.does(api.AddTargetPortal(portal=Portal(address=HOST.address, port=3261)))


@status_case(StatusCode.PORTAL_NOT_FOUND)
async def portal_not_listed(service: ServiceBench) -> None:
    """A portal that is not in the list cannot be taken off it, one that is can."""
    one = await service.start()
    await one.discover()
    other = Portal(address=HOST.address, port=3261)
    await one.gets(api.RemoveTargetPortal(portal=other), StatusCode.PORTAL_NOT_FOUND)
    await one.does(api.RemoveTargetPortal(portal=HOST))


@status_case(StatusCode.DISCOVERY_MECHANISM_NOT_FOUND)
async def other_mechanism(service: ServiceBench) -> None:
    """A mechanism that did not find the target is refused, the one that found it tells of it."""
    one = await service.start()
    await one.discover()
    asked = api.TargetInfo(target_name=PLAIN, discovery_mechanism="iSNS:192.0.2.1")
    await one.gets(asked, StatusCode.DISCOVERY_MECHANISM_NOT_FOUND)
    await one.does(api.TargetInfo(target_name=PLAIN, discovery_mechanism=f"SendTargets:{ADDRESS}"))


@status_case(StatusCode.DNS_NAME_UNRESOLVED, events=[113])
async def unresolved_name(service: ServiceBench) -> None:
    """A portal whose name does not resolve is refused, and event 113 says so; once it resolves the portal is asked."""
    known: list[str] = []

    async def resolver(name: str) -> list[str]:
        if not known:
            raise OSError(-2, f"{name} is not known")
        return known

    one = await service.start(resolver=resolver)
    await one.gets(api.AddTargetPortal(portal=NAMED), StatusCode.DNS_NAME_UNRESOLVED)
    service.require_events((113, re.compile(r".*dns name unresolved.*known.*"), "storage.example.org:3260"))
    known.append(HOST.address)
    await one.does(api.AddTargetPortal(portal=NAMED))


@status_case(StatusCode.INVALID_SENDTARGETS_TEXT, events=[114])
async def address_before_name(service: ServiceBench) -> None:
    """An answer to SendTargets whose address comes before any name is refused, with event 114; a proper one is taken."""
    one = await service.start(faults=[text(b"TargetAddress=192.0.2.1:3260,1\0TargetName=" + NAME.encode() + b"\0")])
    await one.gets(api.AddTargetPortal(portal=HOST), StatusCode.INVALID_SENDTARGETS_TEXT)
    service.require_events((114, re.compile(r"invalid sendtargets text \(0xEFFF001B\): .*[^?]"), ADDRESS))
    one.mend()
    await one.does(api.AddTargetPortal(portal=HOST))


@event_case(114, "invalid-name")
async def invalid_name(service: ServiceBench) -> None:
    """A name that is none in the answer to SendTargets is left out, with event 114 for it; the others are taken."""
    one = await service.start(faults=[text(b"TargetName=no name\0TargetName=" + NAME.encode() + b"\0")])
    await one.does(api.AddTargetPortal(portal=HOST))
    service.require_events((114, re.compile(r".*no name.*[^?]"), ADDRESS))


@status_case(StatusCode.TRANSPORT_ERROR, events=[113])
async def no_answer(service: ServiceBench) -> None:
    """A portal that does not answer SendTargets has its code and event 113; one that answers is taken."""
    one = await service.start(faults=[told(Drop())])
    await one.gets(api.AddTargetPortal(portal=HOST), StatusCode.TRANSPORT_ERROR)
    service.require_events((113, re.compile(r"transport error \(0xEFFF0024\): .*[^?]"), ADDRESS))
    one.mend()
    await one.does(api.AddTargetPortal(portal=HOST))


@event_case(113, "portal-down")
async def portal_down(service: ServiceBench) -> None:
    """A portal that is down is told by event 113 with its address; one that is up logs nothing."""
    one = await service.start()
    one.connector.portal.endpoints.pop(0)
    await one.gets(api.AddTargetPortal(portal=HOST), StatusCode.CONNECTION_FAILED)
    await one.does(api.AddTargetPortal(portal=Portal(address=HOST.address, port=3262)))
    service.require_events((113, re.compile(r"connection failed \(0xEFFF0003\): .*[^?]"), ADDRESS))


@status_case(StatusCode.OPERATION_NOT_ALL_SUCCESS, events=[113])
async def some_of_all(service: ServiceBench) -> None:
    """A refresh of which one part fails is a warning, with what is known as answer; where all succeed there is none."""
    one = await service.start()
    await one.discover()
    await one.knows(NAME)
    endpoints = list(one.connector.portal.endpoints)
    one.connector.portal.endpoints.clear()
    await one.gets(api.ListTargets(update=True), StatusCode.OPERATION_NOT_ALL_SUCCESS)
    service.require_events((113, re.compile(r"connection failed .*[^?]"), ADDRESS))
    one.connector.portal.endpoints.extend(endpoints)
    await one.does(api.ListTargets(update=True))


# iSNS.


@status_case(StatusCode.ISNS_SERVER_NOT_FOUND, events=[112])
async def no_isns_server(service: ServiceBench) -> None:
    """An iSNS server that is not there has its code and event 112; once it is there it is asked, and kept."""
    network = IsnsNetwork(there=False)
    one = await service.start(isns_link=network.link, addresses=(SERVER,))
    await one.gets(api.AddiSNSServer(server=SERVER), StatusCode.ISNS_SERVER_NOT_FOUND)
    service.require_events((112, re.compile(r"isns server not found \(0xEFFF003A\): .*[^?]"), SERVER))
    network.mend()
    await network.register(PLAIN)
    await one.does(api.AddiSNSServer(server=SERVER))
    await one.log_in()


@status_case(StatusCode.ISNS_SERVER_NOT_FOUND, "silent")
async def silent_isns_server(service: ServiceBench) -> None:
    """An iSNS server that takes a query and does not answer has the code of one that is not there."""
    network = IsnsNetwork(IsnsPolicy(silent_functions=frozenset(range(1, 16))))
    one = await service.start(isns_link=network.link, addresses=(SERVER,))
    await one.gets(api.RefreshiSNSServer(server=SERVER), StatusCode.ISNS_SERVER_NOT_FOUND)
    network.mend()
    await one.does(api.RefreshiSNSServer(server=SERVER))


@status_case(StatusCode.INCOMPATIBLE_ISNS_VERSION, events=[112])
async def other_isns_version(service: ServiceBench) -> None:
    """A server of another iSNS version has its code and event 112; one of version 1 is asked."""
    network = IsnsNetwork(IsnsPolicy(xor_header={"version": 3}))
    one = await service.start(isns_link=network.link, addresses=(SERVER,))
    await one.gets(api.RefreshiSNSServer(server=SERVER), StatusCode.INCOMPATIBLE_ISNS_VERSION)
    service.require_events((112, re.compile(r"incompatible isns version \(0xEFFF0052\): .*[^?]"), SERVER))
    network.mend()
    await one.does(api.RefreshiSNSServer(server=SERVER))


@event_case(112, "error-response")
async def isns_error_response(service: ServiceBench) -> None:
    """A query that the iSNS server refuses is told by event 112 with the server; one that it answers is not."""
    network = IsnsNetwork(IsnsPolicy(answers={(2, 0): 8}))
    one = await service.start(isns_link=network.link, addresses=(SERVER,))
    await one.gets(api.RefreshiSNSServer(server=SERVER), StatusCode.NON_SPECIFIC_ERROR)
    network.mend()
    await one.does(api.RefreshiSNSServer(server=SERVER))
    service.require_events((112, re.compile(r".*the iSNS server says .*[^?]"), SERVER))


@event_case(119, "no-address")
async def no_address(service: ServiceBench) -> None:
    """An initiator without an address of the server's family cannot be registered, and event 119 says so; with one it is."""
    network = IsnsNetwork()
    one = await service.start(isns_link=network.link, addresses=("::1",))
    await one.gets(api.RefreshiSNSServer(server=SERVER), StatusCode.ISNS_SERVER_NOT_FOUND)
    other = await service.start("other", isns_link=network.link, addresses=("::1", SERVER))
    await other.does(api.RefreshiSNSServer(server=SERVER))
    service.require_events(
        (119, "no address of this initiator is of IPv4"), (112, re.compile(r"isns server not found .*[^?]"), SERVER)
    )
