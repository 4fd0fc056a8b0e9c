"""LOG SENSE and LOG SELECT (SPC-4 6.5, 6.6). Nothing is saved, there are no thresholds, and what is told was counted.

LOG SELECT only resets: with PCR, or with the default cumulative values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.log import (
    ALL_SUBPAGES,
    BINARY_LIST,
    DATA_COUNTER,
    DEDICATED,
    USED_RESOURCES,
    ErrorCounter,
    LogPage,
    LogPageCode,
    LogParameter,
    PageValues,
    ResourceCount,
    supported_log_pages,
    supported_log_subpages,
)
from iscsi_protocol.scsi.opcodes import LOG_SELECT, LOG_SENSE
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, data_in, invalid_field
from iscsi_target.device.mode_pages import exception_code
from iscsi_target.device.statistics import SELF_TESTS_KEPT, Statistics
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_COUNTER = 4
_NO_SENSOR = 0xFF
_NO_THRESHOLDS = (PageValues.THRESHOLD, PageValues.DEFAULT_THRESHOLD)
_MOST = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    """parameters: their codes and values; zeroed, a unit that has counted nothing tells its defaults. control: data counters,
    or a list of values, for which PC means nothing. counters: what LOG SELECT resets. thin: only thin provisioned units have
    the page. slow: it has to look at the storage.
    """

    parameters: Callable[[LogicalUnit, Statistics], dict[int, bytes]]
    control: int = BINARY_LIST
    counters: tuple[str, ...] = ()
    thin: bool = False
    slow: bool = False


def _count(value: int) -> bytes:
    return min(value, _MOST).to_bytes(_COUNTER, "big")


def _errors(name: str) -> _Page:
    def parameters(_unit: LogicalUnit, counted: Statistics) -> dict[int, bytes]:
        return {ErrorCounter.UNCORRECTED: _count(getattr(counted, name))}

    return _Page(parameters=parameters, control=DATA_COUNTER, counters=(name,))


def _non_medium(_unit: LogicalUnit, counted: Statistics) -> dict[int, bytes]:
    return {0: _count(counted.other_errors)}


def _provisioning(unit: LogicalUnit, _counted: Statistics) -> dict[int, bytes]:
    """Blocks that have storage; how many more there could be, a file system does not promise."""
    at, used, end = 0, 0, unit.blocks * unit.block_size
    while at < end:
        mapped, length = unit.backend.extent(at)
        used += length if mapped else 0
        at += length
    return {USED_RESOURCES: ResourceCount(count=min(used // unit.block_size, _MOST), scope=DEDICATED).build()}


def _temperature(_unit: LogicalUnit, _counted: Statistics) -> dict[int, bytes]:
    return {0: bytes((0, _NO_SENSOR))}


def _start_stop(unit: LogicalUnit, counted: Statistics) -> dict[int, bytes]:
    found = {4: _count(counted.starts)}
    return {**found, 6: _count(counted.loads)} if unit.config.removable else found


def _self_tests(_unit: LogicalUnit, counted: Statistics) -> dict[int, bytes]:
    results = [each.build() for each in counted.self_tests]
    return {
        number + 1: result for number, result in enumerate(results + [bytes(16)] * (SELF_TESTS_KEPT - len(results)))
    }


def _exceptions(unit: LogicalUnit, _counted: Statistics) -> dict[int, bytes]:
    return {0: exception_code(unit.pages).to_bytes(2, "big") + bytes((_NO_SENSOR,))}


_PAGES: Mapping[int, _Page] = {
    LogPageCode.WRITE_ERROR_COUNTERS: _errors("write_errors"),
    LogPageCode.READ_ERROR_COUNTERS: _errors("read_errors"),
    LogPageCode.VERIFY_ERROR_COUNTERS: _errors("verify_errors"),
    LogPageCode.NON_MEDIUM_ERRORS: _Page(parameters=_non_medium, control=DATA_COUNTER, counters=("other_errors",)),
    LogPageCode.LOGICAL_BLOCK_PROVISIONING: _Page(parameters=_provisioning, thin=True, slow=True),
    LogPageCode.TEMPERATURE: _Page(parameters=_temperature),
    LogPageCode.START_STOP_CYCLES: _Page(parameters=_start_stop, counters=("starts", "loads")),
    LogPageCode.SELF_TEST_RESULTS: _Page(parameters=_self_tests),
    LogPageCode.INFORMATIONAL_EXCEPTIONS: _Page(parameters=_exceptions),
}


def _pages_of(unit: LogicalUnit) -> dict[int, _Page]:
    return {code: page for code, page in _PAGES.items() if unit.backend.thin or not page.thin}


def log_sense(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
    """LOG SENSE."""
    fields = LOG_SENSE.parse(cdb)
    unit = path.unit
    code, subpage, pointer = fields["page_code"], fields["subpage_code"], fields["parameter_pointer"]
    control = fields["page_control"]
    if fields["sp"]:
        raise invalid_field(1, 0)
    if fields["ppc"]:
        raise invalid_field(1, 1)
    pages = _pages_of(unit)
    if code and code not in pages:
        raise invalid_field(2, 5)
    if subpage not in (0, ALL_SUBPAGES):
        raise invalid_field(3, 7)
    if not code or subpage:
        if pointer:
            raise invalid_field(5, 7)
        return data_in(_list(pages, code, subpage).build(), fields["allocation_length"])
    page = pages[code]
    if page.control == DATA_COUNTER and control in _NO_THRESHOLDS:
        raise invalid_field(2, 7)
    defaults = page.control == DATA_COUNTER and control == PageValues.DEFAULT_CUMULATIVE
    counted = Statistics() if defaults else unit.statistics

    def tell() -> Completion:
        parameters = page.parameters(unit, counted)
        if pointer > max(parameters):
            raise invalid_field(5, 7)
        body = b"".join(
            LogParameter(code=each, value=value, control=page.control).build()
            for each, value in parameters.items()
            if each >= pointer
        )
        return data_in(LogPage(code=code, body=body).build(), fields["allocation_length"])

    return unit.slowly(tell, writing=False) if page.slow else tell()


def _list(pages: Mapping[int, _Page], code: int, subpage: int) -> LogPage:
    """Page 00, or a subpage FF."""
    keys: list[tuple[int, int]] = [(LogPageCode.SUPPORTED_PAGES, 0), (LogPageCode.SUPPORTED_PAGES, ALL_SUBPAGES)]
    for each in pages:
        keys += [(each, 0), (each, ALL_SUBPAGES)]
    if not subpage:
        return supported_log_pages({LogPageCode.SUPPORTED_PAGES, *pages})
    return supported_log_subpages([key for key in keys if code in (key[0], LogPageCode.SUPPORTED_PAGES)], code)


def log_select(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """LOG SELECT without a parameter list (SPC-4 6.7.2); page 00 without subpages means all pages. SP is refused where it
    would save something.
    """
    fields = LOG_SELECT.parse(cdb)
    unit = path.unit
    code = fields["page_code"]
    if fields["sp"] and fields["page_control"] in (PageValues.THRESHOLD, PageValues.CUMULATIVE):
        raise invalid_field(1, 0)
    if fields["parameter_list_length"]:
        raise invalid_field(7)
    pages = _pages_of(unit)
    if code and code not in pages:
        raise invalid_field(2, 5)
    subpage = fields["subpage_code"]
    if subpage not in (0, ALL_SUBPAGES):
        raise invalid_field(3, 7)
    if not fields["pcr"] and fields["page_control"] != PageValues.DEFAULT_CUMULATIVE:
        return GOOD
    chosen = [pages[code]] if code else [] if subpage else pages.values()
    unit.statistics.reset(tuple(name for page in chosen for name in page.counters))
    unit.tell_others(path.nexus, AdditionalSense.LOG_PARAMETERS_CHANGED)
    return GOOD
