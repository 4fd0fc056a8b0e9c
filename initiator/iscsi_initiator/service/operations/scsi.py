"""Operations that send a SCSI command (guide, Appendix C: SCSI Commands). All sessions take them, reported or not."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core


async def scsi_inquiry(core: Core, request: api.ScsiInquiry) -> api.ScsiData:
    """INQUIRY. Raises Refused."""
    session = core.session(request.session_id)
    data = await session.inquiry(request.lun, request.evpd_cmddt, request.page_code, request.length)
    return api.ScsiData(data=data)


async def read_capacity(core: Core, request: api.ReadCapacity) -> api.Capacity:
    """READ CAPACITY. Raises Refused."""
    last, length = await core.session(request.session_id).read_capacity(request.lun)
    return api.Capacity(last_block=last, block_length=length)


async def report_luns(core: Core, request: api.ReportLUNs) -> api.Luns:
    """REPORT LUNS. Raises Refused."""
    return api.Luns(luns=tuple(await core.session(request.session_id).report_luns()))
