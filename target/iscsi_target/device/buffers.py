"""READ BUFFER and WRITE BUFFER (SPC-4 6.18, 6.49): a data buffer of all, and an echo buffer for each nexus, to try out
the path to the unit.

There is no microcode to be loaded.
"""

from __future__ import annotations

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.diagnostic import BufferDescriptor, BufferMode, EchoBufferDescriptor
from iscsi_protocol.scsi.opcodes import READ_BUFFER, WRITE_BUFFER
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import GOOD, data_in, invalid_field, refused
from iscsi_target.device.unit import ItlNexus

DATA_CAPACITY = 65536
ECHO_CAPACITY = 4096


def read_buffer(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ BUFFER(10) of the modes data, descriptor, echo and echo descriptor."""
    fields = READ_BUFFER.parse(cdb)
    unit, mode, offset, length = path.unit, fields["mode"], fields["buffer_offset"], fields["allocation_length"]
    if mode == BufferMode.DATA:
        if fields["buffer_id"]:
            raise invalid_field(2, 7)
        if offset > DATA_CAPACITY:
            raise invalid_field(3, 7)
        return data_in(bytes(unit.data_buffer.ljust(DATA_CAPACITY, b"\0")[offset:]), length)
    if mode == BufferMode.DESCRIPTOR:
        # Of a buffer that is not there the descriptor is all zeros (SPC-4 6.18.5).
        return data_in(BufferDescriptor(capacity=0 if fields["buffer_id"] else DATA_CAPACITY).build(), length)
    if mode == BufferMode.ECHO:
        if path.echo_buffer is None:
            raise refused(AdditionalSense.COMMAND_SEQUENCE_ERROR)
        return data_in(path.echo_buffer, length)
    if mode == BufferMode.ECHO_DESCRIPTOR:
        return data_in(EchoBufferDescriptor(capacity=ECHO_CAPACITY).build(), length)
    raise invalid_field(1, 4)


def write_buffer(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion:
    """WRITE BUFFER of the modes data and echo."""
    fields = WRITE_BUFFER.parse(cdb)
    unit, mode, offset, length = path.unit, fields["mode"], fields["buffer_offset"], fields["parameter_list_length"]
    if mode not in (BufferMode.DATA, BufferMode.ECHO):
        raise invalid_field(1, 4)
    if fields["mode_specific"]:
        raise invalid_field(1, 7)
    if mode == BufferMode.DATA and fields["buffer_id"]:
        raise invalid_field(2, 7)
    if mode == BufferMode.DATA and offset > DATA_CAPACITY:
        raise invalid_field(3, 7)
    if (offset if mode == BufferMode.DATA else 0) + length > (
        DATA_CAPACITY if mode == BufferMode.DATA else ECHO_CAPACITY
    ):
        raise invalid_field(6, 7)
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    data = bytes(data_out[:length])
    if mode == BufferMode.ECHO:
        path.echo_buffer = data
    else:
        held = unit.data_buffer.ljust(offset + length, b"\0")
        unit.data_buffer = held[:offset] + data + held[offset + length :]
    return GOOD
