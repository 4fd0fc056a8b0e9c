"""Operations about devices with several paths, and about what serves them (guide, "Configuring Microsoft MPIO")."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_initiator.multipath import Path
from iscsi_initiator.service import api
from iscsi_initiator.service.attachments import Attachment
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.paths import Known


async def device_list(core: Core, request: api.DeviceList) -> api.MultipathDevices:
    """Every disk that has an identifier."""
    del request
    return api.MultipathDevices(devices=tuple(shown_device(each) for each in core.paths.known.values()))


def shown_device(known: Known) -> api.MultipathDeviceEntry:
    """A device as answers have it; paths that are gone are not in it."""
    device, key = known.core, known.device.key
    statuses = device.statuses
    return api.MultipathDeviceEntry(
        device=known.name,
        number=known.number,
        legacy_name=known.legacy_name,
        identifier=str(key.identity),
        target_name=key.target_name,
        policy=device.policy,
        failback=device.failback,
        removed=device.removed,
        preempted=device.preempted,
        open_by=tuple(known.holders),
        paths=tuple(
            api.DevicePathEntry(
                session_id=known.members[path.id].session.session_id,
                lun=known.members[path.id].device.mapping.target_lun,
                active=path.active,
                weight=path.weight,
                status=statuses[path.id].value,
            )
            for path in device.paths
        ),
    )


async def set_device_policy(core: Core, request: api.SetDevicePolicy) -> api.Answer:
    """Spread the requests to a device over its paths by another policy. Raises Refused: INVALID_PARAMETER for a device that
    is not there, INVALID_LOAD_BALANCE_POLICY, LB_POLICY_NOT_SUPPORTED, and what else the policy is checked for.
    """
    known = await core.paths.find(request.device)
    core.paths.set_policy(known, request.policy, _paths(known, request.paths), request.failback)
    return api.Answer()


def _paths(known: Known, given: Sequence[api.DevicePath]) -> list[Path]:
    """Paths by the numbers of their sessions; one for a session that is none of them has a number that no session has."""
    numbers = {member.session.session_id: number for number, member in known.members.items()}
    strangers = dict.fromkeys(each.session_id for each in given if each.session_id not in numbers)
    numbers |= {name: -1 - place for place, name in enumerate(strangers)}
    return [Path(id=numbers[each.session_id], active=each.active, weight=each.weight) for each in given]


async def attach(core: Core, request: api.Attach) -> api.Attached:
    """Serve a device. Raises Refused as `Attachments.attach`."""
    attached = await core.attachments.attach(
        request.device, request.export, request.block_device, read_only=request.read_only
    )
    return api.Attached(attached=_shown(attached))


def _shown(attached: Attachment) -> api.AttachedEntry:
    export = attached.export
    return api.AttachedEntry(
        device=attached.known.name,
        legacy_name=attached.known.legacy_name,
        identifier=str(attached.known.device.key.identity),
        socket=str(attached.socket),
        export=export.name,
        size=export.size,
        block_size=export.block_size,
        read_only=export.read_only,
        block_device=attached.block_device,
        clients=len(attached.known.holders),
    )


async def detach(core: Core, request: api.Detach) -> api.Answer:
    """Serve a device no more. Raises Refused: INVALID_PARAMETER, DEVICE_BUSY_ON_SESSION."""
    await core.attachments.detach(request.device, force=request.force)
    return api.Answer()


async def list_attached(core: Core, request: api.ListAttached) -> api.AttachedDevices:
    """What is served."""
    del request
    return api.AttachedDevices(devices=tuple(_shown(each) for each in core.attachments.all))
