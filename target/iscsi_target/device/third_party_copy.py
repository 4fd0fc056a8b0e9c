"""EXTENDED COPY(LID1) and RECEIVE COPY RESULTS (SPC-4 6.4, 6.17 to 6.20): copies between the units of a target node.

The copy manager works for the nexus that asked: units that it does not see cannot be reached, and its reservations count.
There are no inline and no held data, so there is nothing that could be asked for with RECEIVE COPY DATA.
"""

from __future__ import annotations

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.inquiry import PeripheralDeviceType
from iscsi_protocol.scsi.opcodes import (
    EXTENDED_COPY_LID1,
    RECEIVE_COPY_DATA_LID1,
    RECEIVE_COPY_FAILURE_DETAILS_LID1,
    RECEIVE_COPY_OPERATING_PARAMETERS,
    RECEIVE_COPY_STATUS_LID1,
)
from iscsi_protocol.scsi.sense import FieldPointer, Sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.third_party_copy import (
    CSCD_LENGTH,
    OWN_UNIT,
    SEGMENT_HEADER_LENGTH,
    SEGMENTS,
    BlockToBlock,
    BlockToBlockOffset,
    CopyHeader,
    CopyState,
    CopyStatus,
    DescriptorCode,
    IdentificationCscd,
    ListIdUsage,
    OperatingParameters,
    failure_details,
    operating_parameters,
    split_segments,
    third_party_copy_page,
    transfer_count,
)
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, data_in, invalid_field, invalid_parameter, refused
from iscsi_target.device.copies import MAX_CONCURRENT_COPIES
from iscsi_target.device.copying import CopyOperation, Segment, SegmentFailed
from iscsi_target.device.identity import unit_designators
from iscsi_target.device.unit import ItlNexus

MAX_SEGMENT_LENGTH = 1 << 28
"""Bytes that one segment may move: all that 16 bits count in blocks of 4096."""

_NO_DATA = bytes(4)
"""Parameter data whose AVAILABLE DATA is 0."""

CODES = (DescriptorCode.IDENTIFICATION, *SEGMENTS)
LIMITS = OperatingParameters(
    supports_no_list_identifier=True,
    maximum_cscd_count=64,
    maximum_segment_count=64,
    maximum_list_length=4096,
    maximum_segment_length=MAX_SEGMENT_LENGTH,
    total_concurrent_copies=MAX_CONCURRENT_COPIES,
    maximum_concurrent_copies=MAX_CONCURRENT_COPIES,
)
_OPERATING_PARAMETERS = operating_parameters(LIMITS, CODES)
_COMMANDS = (
    EXTENDED_COPY_LID1,
    RECEIVE_COPY_STATUS_LID1,
    RECEIVE_COPY_DATA_LID1,
    RECEIVE_COPY_OPERATING_PARAMETERS,
    RECEIVE_COPY_FAILURE_DETAILS_LID1,
)


def page(_path: ItlNexus) -> bytes:
    """VPD page 8F."""
    commands: dict[int, list[int]] = {}
    for command in _COMMANDS:
        commands.setdefault(command.opcode, []).append(command.service_action or 0)
    return third_party_copy_page(commands, LIMITS, CODES, [*range(LIMITS.maximum_cscd_count), OWN_UNIT]).build()


def extended_copy(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """EXTENDED COPY(LID1). What the list says wrong is refused before anything is copied."""
    length = EXTENDED_COPY_LID1.parse(cdb)["parameter_list_length"]
    if not length:
        return GOOD
    if len(data_out) < length or length < CopyHeader.LENGTH:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    data = bytes(data_out[:length])
    header = CopyHeader.parse(data)
    _check_header(header, length)
    segments_at = CopyHeader.LENGTH + header.cscd_list_length
    cscds = _cscds(data[CopyHeader.LENGTH : segments_at])
    descriptors = _segments(data[segments_at : segments_at + header.segment_list_length], segments_at)
    copies, nexus = path.unit.copies, path.nexus
    identifier = None if header.list_id_usage == ListIdUsage.NONE else header.list_identifier
    if identifier is not None and copies.busy(nexus, identifier):
        raise refused(AdditionalSense.OPERATION_IN_PROGRESS)
    if copies.full:
        return Completion(Status.BUSY)
    places = [CopyHeader.LENGTH + CSCD_LENGTH * number for number in range(len(cscds))]
    parties = [_party(path, cscd, at) for cscd, at in zip(cscds, places, strict=True)]
    planned = [_planned(path, segment, at, cscds, parties) for segment, at in descriptors]
    operation = CopyOperation(planned, descriptor_sense=path.unit.descriptor_sense)
    copies.add(nexus, identifier, operation)
    return operation.begin()


def _check_header(header: CopyHeader, length: int) -> None:
    if header.list_id_usage not in ListIdUsage.__members__.values():
        raise invalid_parameter(1, 4)
    if header.list_id_usage == ListIdUsage.NONE and header.list_identifier:
        raise invalid_parameter(0)
    if header.inline_data_length:
        raise refused(AdditionalSense.INLINE_DATA_LENGTH_EXCEEDED)
    lists = header.cscd_list_length + header.segment_list_length
    if lists > LIMITS.maximum_list_length or CopyHeader.LENGTH + lists > length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)


def _cscds(data: bytes) -> list[IdentificationCscd]:
    if len(data) % CSCD_LENGTH:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    if len(data) > CSCD_LENGTH * LIMITS.maximum_cscd_count:
        raise refused(AdditionalSense.TOO_MANY_TARGET_DESCRIPTORS)
    for at in range(0, len(data), CSCD_LENGTH):
        if data[at] != DescriptorCode.IDENTIFICATION:
            raise _in_list(AdditionalSense.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE, CopyHeader.LENGTH + at)
    return [IdentificationCscd.parse(data, at) for at in range(0, len(data), CSCD_LENGTH)]


def _segments(data: bytes, at: int) -> list[tuple[BlockToBlock | BlockToBlockOffset, int]]:
    """The segment descriptors, each with its place in the parameter list."""
    descriptors = split_segments(data)
    if descriptors is None:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    if len(descriptors) > LIMITS.maximum_segment_count:
        raise refused(AdditionalSense.TOO_MANY_SEGMENT_DESCRIPTORS)
    found: list[tuple[BlockToBlock | BlockToBlockOffset, int]] = []
    for descriptor in descriptors:
        kind = SEGMENTS.get(descriptor[0])
        if kind is None:
            raise _in_list(AdditionalSense.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE, at)
        if len(descriptor) != kind.LENGTH:
            raise _in_list(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, at + SEGMENT_HEADER_LENGTH - 2)
        found.append((kind.parse(descriptor), at))
        at += len(descriptor)
    return found


def _in_list(code: AdditionalSense, at: int) -> CheckCondition:
    pointer = FieldPointer(byte=at, in_cdb=False).build()
    return CheckCondition(Sense(key=SenseKey.ILLEGAL_REQUEST, code=code, sense_key_specific=pointer))


def _aborted(code: AdditionalSense, at: int) -> SegmentFailed:
    """COPY ABORTED with a pointer into the parameter list."""
    pointer = FieldPointer(byte=at, in_cdb=False).build()
    return SegmentFailed(Sense(key=SenseKey.COPY_ABORTED, code=code, sense_key_specific=pointer))


def _party(path: ItlNexus, cscd: IdentificationCscd, at: int) -> ItlNexus | SegmentFailed:
    """The logical unit that a CSCD descriptor names, if this nexus sees it."""
    if cscd.peripheral_device_type != PeripheralDeviceType.DIRECT_ACCESS:
        return _aborted(AdditionalSense.INCORRECT_COPY_TARGET_DEVICE_TYPE, at + 1)
    for unit in path.unit.neighbours.values():
        party = unit.paths.get(path.nexus)
        if party is not None and any(map(cscd.names, unit_designators(unit))):
            if cscd.block_length != unit.block_size:
                return _aborted(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, at + 29)
            return party
    return _aborted(AdditionalSense.COPY_TARGET_DEVICE_NOT_REACHABLE, at)


def _planned(
    path: ItlNexus,
    segment: BlockToBlock | BlockToBlockOffset,
    at: int,
    cscds: list[IdentificationCscd],
    parties: list[ItlNexus | SegmentFailed],
) -> Segment | SegmentFailed:
    """What a segment descriptor comes to, or why it cannot be processed."""
    found: list[ItlNexus] = []
    pads: list[bool] = []
    for number, place in ((segment.source, at + 4), (segment.destination, at + 6)):
        party: ItlNexus | SegmentFailed = _aborted(AdditionalSense.UNREACHABLE_COPY_TARGET, place)
        pad = False
        if number == OWN_UNIT:
            party = path
        elif number < len(parties):
            party, pad = parties[number], cscds[number].pad
        if isinstance(party, SegmentFailed):
            return party
        found.append(party)
        pads.append(pad)
    source, destination = found
    if isinstance(segment, BlockToBlock):
        return _by_blocks(segment, source, destination, pads, at)
    return _by_bytes(segment, source, destination, at)


def _places(segment: BlockToBlock | BlockToBlockOffset) -> tuple[int | None, int | None]:
    """Where the CSCD descriptors of a segment's source and destination are in the parameter list."""
    source, destination = (
        None if each == OWN_UNIT else CopyHeader.LENGTH + CSCD_LENGTH * each
        for each in (segment.source, segment.destination)
    )
    return source, destination


def _by_blocks(
    segment: BlockToBlock, source: ItlNexus, destination: ItlNexus, pads: list[bool], at: int
) -> Segment | SegmentFailed:
    """Segment 02h. Where the blocks of the one do not fill those of the other, PAD decides; nothing is carried over to the
    next segment (SPC-4 5.16.7.2).
    """
    from_size, to_size = source.unit.block_size, destination.unit.block_size
    length = segment.blocks * (to_size if segment.dc else from_size)
    source_pads, destination_pads = pads
    inexact_source, inexact_destination = length % from_size, length % to_size
    if segment.cat and (inexact_source or inexact_destination):
        return _aborted(AdditionalSense.UNEXPECTED_INEXACT_SEGMENT, at + 1)
    if (inexact_source and not source_pads) or (inexact_destination and not destination_pads):
        return _aborted(AdditionalSense.UNEXPECTED_INEXACT_SEGMENT, at + 10)
    return Segment(
        source=source,
        destination=destination,
        source_at=segment.source_lba * from_size,
        destination_at=segment.destination_lba * to_size,
        length=length,
        padding=-length % to_size,
        cscds=_places(segment),
    )


def _by_bytes(segment: BlockToBlockOffset, source: ItlNexus, destination: ItlNexus, at: int) -> Segment | SegmentFailed:
    from_size, to_size = source.unit.block_size, destination.unit.block_size
    if segment.byte_count > MAX_SEGMENT_LENGTH:
        return _aborted(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, at + 8)
    if segment.source_offset >= from_size or segment.destination_offset >= to_size:
        return _aborted(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, at + 28)
    return Segment(
        source=source,
        destination=destination,
        source_at=segment.source_lba * from_size + segment.source_offset,
        destination_at=segment.destination_lba * to_size + segment.destination_offset,
        length=segment.byte_count,
        cscds=_places(segment),
    )


def _known(path: ItlNexus, fields: dict[str, int]) -> CopyOperation:
    operation = path.unit.copies.find(path.nexus, fields["list_identifier"])
    if operation is None:
        raise invalid_field(2)
    return operation


def copy_status(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RECEIVE COPY STATUS(LID1): how it goes as often as one asks, how it ended once (SPC-4 6.25)."""
    fields = RECEIVE_COPY_STATUS_LID1.parse(cdb)
    operation = _known(path, fields)
    if operation.told:
        raise invalid_field(2)
    operation.told = operation.state is not CopyState.IN_PROGRESS
    units, count = transfer_count(operation.moved)
    status = CopyStatus(
        state=operation.state,
        segments_processed=operation.segments_processed,
        transfer_count_units=units,
        transfer_count=count,
    )
    return data_in(status.build(), fields["allocation_length"])


def copy_data(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RECEIVE COPY DATA(LID1): no segment there is holds data; a copy in progress is refused as one that is not known."""
    fields = RECEIVE_COPY_DATA_LID1.parse(cdb)
    if _known(path, fields).state is CopyState.IN_PROGRESS:
        raise invalid_field(2)
    path.unit.copies.drop(path.nexus, fields["list_identifier"])
    return data_in(_NO_DATA, fields["allocation_length"])


def copy_operating_parameters(_path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RECEIVE COPY OPERATING PARAMETERS."""
    return data_in(_OPERATING_PARAMETERS, RECEIVE_COPY_OPERATING_PARAMETERS.parse(cdb)["allocation_length"])


def copy_failure_details(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RECEIVE COPY FAILURE DETAILS(LID1); what a copy that did not fail has to say is nothing. It is kept until all of it is
    fetched, or an allocation length of 0 says that it is not wanted.
    """
    fields = RECEIVE_COPY_FAILURE_DETAILS_LID1.parse(cdb)
    operation = _known(path, fields)
    if operation.state is CopyState.IN_PROGRESS:
        raise invalid_field(2)
    ended = operation.ended
    data = _NO_DATA if ended is None or not ended.sense else failure_details(ended.status, ended.sense)
    length = fields["allocation_length"]
    if not length or length >= len(data):
        path.unit.copies.drop(path.nexus, fields["list_identifier"])
    return data_in(data, length)
