"""Commands of the management to LUNs, and how they fail (guide, Appendix D: 0x1D, 0x1F, 0x23, 0x24, 0x38)."""

from __future__ import annotations

import asyncio

import msgspec

from iscsi_conformance.bundled import bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.service import ServiceBench, status_case
from iscsi_conformance.verdict import require
from iscsi_initiator.service import api
from iscsi_initiator.service.live import FULL_DELAY
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.fault import Drop, Fault, Set, Silence, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction


def answers(opcode: Opcode, *what: Set | Drop | Silence, times: int = 1) -> Fault:
    """Something in the first PDUs of a kind from the target, on each connection."""
    return Fault(when=When(direction=Direction.TO_INITIATOR, opcode=opcode, times=times), what=what)


@status_case(StatusCode.SCSI_REQUEST_FAILED)
async def check_condition(service: ServiceBench) -> None:
    """A command that ends with CHECK CONDITION is told with status and sense data; one that ends with GOOD has its data."""
    one = await service.start()
    await one.discover()
    there = (await one.log_in()).session_id
    asked = api.ScsiInquiry(session_id=there, lun=0, evpd_cmddt=1, page_code=0xEE)
    failure = await one.gets(asked, StatusCode.SCSI_REQUEST_FAILED)
    require(failure["scsi_status"] == Status.CHECK_CONDITION, service.about, "the SCSI status is told")
    require(failure["sense"], service.about, "the sense data is told")
    await one.does(api.ScsiInquiry(session_id=there, lun=0, evpd_cmddt=1, page_code=0))


@status_case(StatusCode.SESSION_BUSY)
async def busy_session(service: ServiceBench) -> None:
    """A second command while one is under way on the session is refused; afterwards it is done."""
    one = await service.start()
    await one.discover()
    asked = api.ReportLUNs(session_id=(await one.log_in()).session_id)
    first = asyncio.ensure_future(one.does(asked))
    await asyncio.sleep(0)
    await one.gets(asked, StatusCode.SESSION_BUSY)
    await first
    await one.does(asked)


@status_case(StatusCode.TARGET_OUT_OF_RESORCES)
async def full_task_set(service: ServiceBench) -> None:
    """TASK SET FULL that outlasts the repetitions has its code, after their time; one that does not is outlasted."""
    config = bundled_config()
    config = msgspec.structs.replace(config, targets=[msgspec.structs.replace(config.targets[0], phase_collapse=False)])
    full = answers(Opcode.SCSI_RESPONSE, Set("status", Status.TASK_SET_FULL), times=6)
    one = await service.start(target=config, faults=[full])
    await one.discover()
    asked = api.ReadCapacity(session_id=(await one.log_in(report_to_pnp=False)).session_id, lun=0)
    began = asyncio.get_running_loop().time()
    await one.gets(asked, StatusCode.TARGET_OUT_OF_RESORCES)
    waited = asyncio.get_running_loop().time() - began
    require(waited >= 3 * FULL_DELAY, service.about, "it is tried again three times first", seen=waited)
    await one.does(asked)


@status_case(StatusCode.TRANSPORT_ERROR, "in-the-middle")
async def lost_in_the_middle(service: ServiceBench) -> None:
    """A connection that is lost while a command is under way has its code; once the session is back the command is done."""
    one = await service.start(faults=[answers(Opcode.SCSI_DATA_IN, Silence())])
    await one.discover()
    asked = api.ReportLUNs(session_id=(await one.log_in(report_to_pnp=False)).session_id)
    under_way = asyncio.ensure_future(one.gets(asked, StatusCode.TRANSPORT_ERROR))
    await passed(1)
    endpoints = list(one.connector.portal.endpoints)
    one.connector.portal.endpoints.clear()
    one.connector.links[-1].cut()
    await under_way
    one.mend()
    one.connector.portal.endpoints.extend(endpoints)
    await passed(60)
    await one.does(asked)


@status_case(StatusCode.SEND_FAILED)
async def failed_send(service: ServiceBench) -> None:
    """A send that fails has its code, with event 7 of the driver; once the session is back the command is done."""
    one = await service.start()
    await one.discover()
    asked = api.ReportLUNs(session_id=(await one.log_in(report_to_pnp=False)).session_id)
    one.connector.links[-1].fail_send()
    await one.gets(asked, StatusCode.SEND_FAILED)
    require(7 in service.events(), service.about, "the driver logs event 7", seen=service.events())
    await passed(60)
    await one.does(asked)
