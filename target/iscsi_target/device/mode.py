"""MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14): current, changeable, default and, with a state file, saved values.

Pages are those of all nexuses together; the others are told of a change by unit attention.
"""

from __future__ import annotations

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.mode import (
    DPO_FUA,
    WRITE_PROTECT,
    CdbSize,
    InformationalExceptionsControlPage,
    LongBlockDescriptor,
    ModePage,
    ModeParameters,
    PageControl,
    ShortBlockDescriptor,
    page_key,
    parse_mode,
    unchangeable_byte,
)
from iscsi_protocol.scsi.mode import ModePageCode as Code
from iscsi_protocol.scsi.opcodes import MODE_SELECT_6, MODE_SELECT_10, MODE_SENSE_6, MODE_SENSE_10
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, data_in, invalid_field, invalid_parameter, refused
from iscsi_target.device.mode_pages import CHANGEABLE, KINDS, Pages, put_pages
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_ALL_SUBPAGES = 0xFF
_SUBPAGE_FORMAT = 0x40
_SHORT_LIMIT = 0xFFFFFFFF
_PS = 0x80


def mode_sense_6(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """MODE SENSE(6)."""
    return _sense(path.unit, MODE_SENSE_6.parse(cdb), 6)


def mode_sense_10(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """MODE SENSE(10)."""
    return _sense(path.unit, MODE_SENSE_10.parse(cdb), 10)


def _sense(unit: LogicalUnit, fields: dict[str, int], size: CdbSize) -> Completion:
    control, code, subpage = fields["page_control"], fields["page_code"], fields["subpage_code"]
    saving = unit.store.persistent
    if control == PageControl.SAVED and not saving:
        raise refused(AdditionalSense.SAVING_PARAMETERS_NOT_SUPPORTED)
    values = _values(unit, PageControl(control))
    if code != Code.ALL_PAGES and not any(key[0] == code for key, kind in KINDS.items() if kind in values):
        raise invalid_field(2, 5)
    if code == Code.ALL_PAGES and subpage not in (0, _ALL_SUBPAGES):
        raise invalid_field(3, 7)
    wanted = [
        values[kind]
        for key, kind in KINDS.items()
        if kind in values and code in (key[0], Code.ALL_PAGES) and subpage in (key[1], _ALL_SUBPAGES)
    ]
    if not wanted:
        raise invalid_field(3, 7)
    pages = [page.build() for page in wanted]
    long_lba = size == 10 and bool(fields["llbaa"])
    parameters = ModeParameters(
        device_specific=DPO_FUA | (WRITE_PROTECT if unit.write_protection else 0),
        long_lba=long_lba and not fields["dbd"],
        block_descriptors=b"" if fields["dbd"] else _block_descriptor(unit, long_lba=long_lba),
        pages=tuple(bytes((page[0] | _PS,)) + page[1:] for page in pages) if saving else tuple(pages),
    )
    return data_in(parameters.build(size), fields["allocation_length"])


def _values(unit: LogicalUnit, control: PageControl) -> Pages:
    if control == PageControl.CHANGEABLE:
        return {kind: CHANGEABLE[kind] for kind in unit.pages}
    if control == PageControl.CURRENT:
        return unit.pages
    return unit.saved_pages() if control == PageControl.SAVED else unit.default_pages()


def _block_descriptor(unit: LogicalUnit, *, long_lba: bool) -> bytes:
    if long_lba:
        return LongBlockDescriptor(blocks=unit.blocks, block_length=unit.block_size).build()
    return ShortBlockDescriptor(blocks=min(unit.blocks, _SHORT_LIMIT), block_length=unit.block_size).build()


def mode_select_6(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """MODE SELECT(6)."""
    return _select(path, MODE_SELECT_6.parse(cdb), data_out, 6)


def mode_select_10(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """MODE SELECT(10)."""
    return _select(path, MODE_SELECT_10.parse(cdb), data_out, 10)


def _select(path: ItlNexus, fields: dict[str, int], data_out: Buffer, size: CdbSize) -> Completion | Work:
    """Nothing is changed unless all of the list can be. With SP all pages are saved as they then are."""
    if fields["sp"] and not path.unit.store.persistent:
        raise invalid_field(1, 0)
    if not fields["pf"]:
        raise invalid_field(1, 4)
    length = fields["parameter_list_length"]
    if not length:
        return GOOD
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    parameters = parse_mode(_without_length(data_out[:length], size), size)
    if parameters.truncated:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    unit = path.unit
    if parameters.medium_type:
        raise invalid_parameter(1 if size == 6 else 2)
    at = 4 if size == 6 else 8
    _check_block_descriptors(unit, parameters, at)
    at += len(parameters.block_descriptors)
    pages = unit.default_pages() if fields["rtd"] else dict(unit.pages)
    if not fields["rtd"]:
        for page in parameters.pages:
            changed = _changed_page(unit, page, at)
            pages[type(changed)] = changed
            at += len(page)
    cached = unit.write_cache
    if pages != unit.pages:
        unit.set_pages(pages)
        unit.tell_others(path.nexus, AdditionalSense.MODE_PARAMETERS_CHANGED)
    if fields["sp"]:
        put_pages(unit.store, unit.target_name, unit.lun, pages)
    if cached and not unit.write_cache:
        # Whoever switches the cache off sends no SYNCHRONIZE CACHE any more, for what is in it neither.
        return unit.slowly(lambda: _without_cache(unit, saving=bool(fields["sp"])))
    return unit.saved() if fields["sp"] else GOOD


def _without_cache(unit: LogicalUnit, *, saving: bool) -> Completion:
    """What was written while there was a cache is made stable. Raises OSError."""
    unit.backend.flush()
    saved = unit.saved() if saving else GOOD
    while isinstance(saved, Work):
        saved = saved.run()
    return saved


def _without_length(data: Buffer, size: CdbSize) -> bytes:
    """MODE DATA LENGTH is reserved in a parameter list, so it is not looked at."""
    reserved = 1 if size == 6 else 2
    return bytes(reserved) + bytes(data[reserved:])


def _check_block_descriptors(unit: LogicalUnit, parameters: ModeParameters, at: int) -> None:
    """At most one, and it says what is so: capacity and block length cannot be changed."""
    raw = parameters.block_descriptors
    if not raw:
        return
    kind = LongBlockDescriptor if parameters.long_lba else ShortBlockDescriptor
    if len(raw) != kind.LENGTH:
        raise invalid_parameter(at - 1)
    descriptor = kind.parse(raw)
    unknown = _SHORT_LIMIT if kind is ShortBlockDescriptor else 0xFFFFFFFFFFFFFFFF
    if descriptor.blocks not in (0, unknown, unit.blocks):
        raise invalid_parameter(at)
    if descriptor.block_length != unit.block_size:
        raise invalid_parameter(at + kind.LENGTH - (3 if kind is ShortBlockDescriptor else 4))


def _changed_page(unit: LogicalUnit, page: bytes, at: int) -> ModePage:
    kind = KINDS.get(page_key(page))
    if kind is None or kind not in unit.pages or page[0] & _SUBPAGE_FORMAT != kind().build()[0] & _SUBPAGE_FORMAT:
        raise invalid_parameter(at, 5)
    byte = unchangeable_byte(unit.pages[kind].build(), CHANGEABLE[kind].build(), page)
    if byte is not None:
        raise invalid_parameter(at + byte)
    changed = kind.parse(bytes((page[0] & 0x7F,)) + page[1:])
    if isinstance(changed, InformationalExceptionsControlPage) and changed.test and changed.disable_exception_control:
        raise invalid_parameter(at + 2, 2)
    return changed
