"""SANITIZE (SBC-3 4.11, 5.26): overwrite, block erase, exit failure mode. Nothing is enciphered here, so there is no
cryptographic erase.

The operation goes on whatever becomes of the command and its nexus; while it does, most commands find SANITIZE IN
PROGRESS. A thread of its own moves it along and touches nothing but the back end and its `Sanitizing`; the logical unit
looks at that when it is asked the next time. A command that waits for the end does so in short steps, so that it can be
aborted in between. With a state file, an operation that the end of the process cut off has failed in the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.opcodes import SANITIZE_BLOCK_ERASE, SANITIZE_EXIT_FAILURE_MODE, SANITIZE_OVERWRITE
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sanitize import OVERWRITE_HEADER_LENGTH, Overwrite, parse_overwrite
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, check, invalid_field, refused
from iscsi_target.device.readiness import SANITIZE_FAILED, SUBJECT, Sanitizing
from iscsi_target.device.unit import ItlNexus, LogicalUnit
from iscsi_target.luns.backend import Backend

_CHUNK = 1 << 20
_FIRST_PAUSE = 0.001
_PAUSE = 0.05


def _begin(unit: LogicalUnit, command: Command, cdb: Buffer) -> dict[str, int]:
    """The fields of a CDB that may start an operation. Raises CheckCondition."""
    _no_stray_bits(command, cdb)
    fields = command.parse(cdb)
    if fields["znr"]:
        raise invalid_field(1, 6)
    failure = unit.readiness.failure
    if failure is not None and failure.restricted and fields["ause"]:
        raise invalid_field(1, 5)
    return fields


def _no_stray_bits(command: Command, cdb: Buffer) -> None:
    """SANITIZE destroys everything, so a CDB that says more than is understood is not carried out."""
    for byte, bits in enumerate(command.stray(cdb)):
        if bits:
            raise invalid_field(byte, bits.bit_length() - 1)


def overwrite(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """SANITIZE (OVERWRITE)."""
    unit = path.unit
    fields = _begin(unit, SANITIZE_OVERWRITE, cdb)
    length = fields["parameter_list_length"]
    if not OVERWRITE_HEADER_LENGTH < length <= OVERWRITE_HEADER_LENGTH + unit.block_size:
        raise invalid_field(7)
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    try:
        how = parse_overwrite(data_out[:length], unit.block_size)
    except ParameterListError as error:
        raise CheckCondition(error.sense) from error
    backend = unit.backend
    return _started(unit, fields, lambda sanitizing: _overwrite(backend, sanitizing, how))


def block_erase(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
    """SANITIZE (BLOCK ERASE): all storage is given back."""
    unit = path.unit
    fields = _begin(unit, SANITIZE_BLOCK_ERASE, cdb)
    if fields["parameter_list_length"]:
        raise invalid_field(7)
    backend = unit.backend
    return _started(unit, fields, lambda sanitizing: _erase(backend, sanitizing))


def exit_failure_mode(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
    """SANITIZE (EXIT FAILURE MODE): without a failure it does nothing; it ends one that allowed it (AUSE)."""
    unit = path.unit
    _no_stray_bits(SANITIZE_EXIT_FAILURE_MODE, cdb)
    fields = SANITIZE_EXIT_FAILURE_MODE.parse(cdb)
    if fields["znr"]:
        raise invalid_field(1, 6)
    if fields["parameter_list_length"]:
        raise invalid_field(7)
    failure = unit.readiness.failure
    if failure is None:
        return GOOD
    if failure.restricted:
        raise invalid_field(1, 4)
    unit.readiness.failure = None
    unit.ready = unit.readiness.active
    unit.store.put(unit.target_name, unit.lun, SUBJECT, None)
    return unit.saved()


def _started(unit: LogicalUnit, fields: dict[str, int], run: Callable[[Sanitizing], None]) -> Completion | Work:
    """Begin the operation. With IMMED the status does not wait for it."""
    sanitizing = Sanitizing(restricted=not fields["ause"], seconds=unit.config.sanitize_seconds)
    descriptor = unit.descriptor_sense
    unit.readiness.sanitizing = sanitizing
    unit.ready = False
    unit.store.put(unit.target_name, unit.lun, SUBJECT, sanitizing.restricted)

    def operation() -> None:
        try:
            unit.store.save()
            started = time.monotonic()
            run(sanitizing)
            _take_time(sanitizing, started)
            unit.store.put(unit.target_name, unit.lun, SUBJECT, None)
            unit.store.save()
        except OSError:
            sanitizing.failed = True
        sanitizing.over = True

    def wait(pause: float) -> Completion | Work:
        if not sanitizing.over:
            time.sleep(pause)
            return Work(lambda: wait(min(2 * pause, _PAUSE)))
        return check(SANITIZE_FAILED, descriptor=descriptor) if sanitizing.failed else GOOD

    in_background(operation)
    return GOOD if fields["immed"] else Work(lambda: wait(_FIRST_PAUSE))


def in_background(operation: Callable[[], object]) -> None:
    """Begin what goes on whatever becomes of the command."""
    threading.Thread(target=operation, name="sanitize", daemon=True).start()


def _take_time(sanitizing: Sanitizing, started: float) -> None:
    """Last as long as the configuration says, as a medium does whose erasure is slow."""
    while (left := started + sanitizing.seconds - time.monotonic()) > 0:
        sanitizing.waited = 1 - left / sanitizing.seconds
        time.sleep(min(left, _PAUSE))
    sanitizing.waited = 1.0


def _overwrite(backend: Backend, sanitizing: Sanitizing, how: Overwrite) -> None:
    """All passes, each made stable. Raises OSError."""
    size, end = backend.block_size, backend.blocks * backend.block_size
    for number in range(how.count):
        repeated = how.block(number, size) * min(_CHUNK // size, backend.blocks)
        with memoryview(repeated) as view:
            for at in range(0, end, len(view)):
                with view[: min(len(view), end - at)] as piece:
                    backend.write(at, piece)
                sanitizing.done = (number + (at + len(view)) / end) / how.count
        backend.flush()


def _erase(backend: Backend, sanitizing: Sanitizing) -> None:
    """Give back all storage and make that stable. Raises OSError."""
    backend.unmap(0, backend.blocks * backend.block_size)
    backend.flush()
    sanitizing.done = 1.0
