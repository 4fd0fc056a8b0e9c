"""SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-4 6.27, 6.42): self-tests in the foreground, and page 00.

A short test reads the first and the last block and makes stable what was written, an extended one reads all of them.
"""

from __future__ import annotations

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.diagnostic import SUPPORTED_DIAGNOSTIC_PAGES, SelfTestCode, supported_diagnostic_pages
from iscsi_protocol.scsi.log import SelfTestResult
from iscsi_protocol.scsi.opcodes import RECEIVE_DIAGNOSTIC_RESULTS, SEND_DIAGNOSTIC
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, data_in, invalid_field, invalid_parameter, refused
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_CHUNK = 1 << 20
_PAGE_0 = bytes(4)
_FOREGROUND = (SelfTestCode.FOREGROUND_SHORT, SelfTestCode.FOREGROUND_EXTENDED)
_TEST_FAILED = Sense(key=SenseKey.HARDWARE_ERROR, code=AdditionalSense.LOGICAL_UNIT_FAILED_SELF_TEST)
_SEGMENT_FAILED = 7
"""RESULTS: another segment of the test failed (SPC-4 table 380)."""


def send_diagnostic(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """SEND DIAGNOSTIC."""
    fields = SEND_DIAGNOSTIC.parse(cdb)
    unit = path.unit
    code, length = fields["self_test_code"], fields["parameter_list_length"]
    if code:
        if fields["selftest"]:
            raise invalid_field(1, 2)
        if code not in _FOREGROUND:
            raise invalid_field(1, 7)
    if code or fields["selftest"]:
        if length:
            raise invalid_field(3, 7)
        return unit.slowly(lambda: _tested(unit, code), writing=False)
    if length:
        _check_page(fields, data_out)
    return GOOD


def _check_page(fields: dict[str, int], data_out: Buffer) -> None:
    """Page 00 is the only one that can be sent."""
    length = fields["parameter_list_length"]
    if not fields["pf"]:
        raise invalid_field(1, 4)
    if length < len(_PAGE_0):
        raise invalid_field(3, 7)
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    page = bytes(data_out[: len(_PAGE_0)])
    if page[0] != SUPPORTED_DIAGNOSTIC_PAGES or length != len(_PAGE_0):
        raise invalid_parameter(0)
    if page[2:] != _PAGE_0[2:]:
        raise invalid_parameter(2)


def _tested(unit: LogicalUnit, code: int) -> Completion:
    """Carry out a self-test; the default one leaves no result behind. Raises CheckCondition when it fails."""
    size, end = unit.block_size, unit.blocks * unit.block_size
    whole = code == SelfTestCode.FOREGROUND_EXTENDED
    places = range(0, end, _CHUNK) if whole else (0, end - size)
    at = 0
    try:
        for at in places:
            unit.backend.load(at, min(_CHUNK, end - at) if whole else size)
        unit.backend.flush()
    except OSError as error:
        _note(unit, code, at // size)
        raise CheckCondition(_TEST_FAILED) from error
    _note(unit, code, None)
    return GOOD


def _note(unit: LogicalUnit, code: int, failed_at: int | None) -> None:
    if not code:
        return
    if failed_at is None:
        unit.statistics.add_self_test(SelfTestResult(self_test_code=code, first_failure=(1 << 64) - 1))
        return
    unit.statistics.add_self_test(
        SelfTestResult(
            self_test_code=code,
            result=_SEGMENT_FAILED,
            first_failure=failed_at,
            sense_key=_TEST_FAILED.key,
            additional_sense=_TEST_FAILED.code,
        )
    )


def receive_diagnostic_results(_path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RECEIVE DIAGNOSTIC RESULTS: page 00, which is also what the last SEND DIAGNOSTIC can have asked for."""
    fields = RECEIVE_DIAGNOSTIC_RESULTS.parse(cdb)
    if fields["page_code"] != SUPPORTED_DIAGNOSTIC_PAGES:
        raise invalid_field(2, 7)
    return data_in(supported_diagnostic_pages(()), fields["allocation_length"])
