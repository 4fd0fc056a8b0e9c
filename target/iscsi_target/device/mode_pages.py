"""The mode pages of a unit: which there are, what may be changed, what was saved (SPC-4 7.5, SBC-3 6.5).

Of a saved page only what may be changed is taken up again, so a saved page never contradicts what the unit is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.mode import (
    CachingPage,
    ControlPage,
    InformationalExceptionsControlPage,
    ModePage,
    ReadWriteErrorRecoveryPage,
    page_key,
)
from iscsi_protocol.scsi.mode_pages import (
    ControlExtensionPage,
    DisconnectReconnectPage,
    LogicalBlockProvisioningModePage,
    PowerConditionPage,
)

if TYPE_CHECKING:
    from iscsi_target.state import StateStore

Pages: TypeAlias = dict[type[ModePage], ModePage]

SUBJECT = "mode"
"""Under which the store keeps saved pages: page and subpage code in hexadecimal to the page's bytes."""

CHANGEABLE: Mapping[type[ModePage], ModePage] = {
    ReadWriteErrorRecoveryPage: ReadWriteErrorRecoveryPage(),
    DisconnectReconnectPage: DisconnectReconnectPage(),
    CachingPage: CachingPage(write_cache_enable=True),
    ControlPage: ControlPage(descriptor_sense=True, software_write_protect=True, task_aborted_status=True),
    ControlExtensionPage: ControlExtensionPage(),
    PowerConditionPage: PowerConditionPage(),
    InformationalExceptionsControlPage: InformationalExceptionsControlPage(disable_exception_control=True, test=True),
    LogicalBlockProvisioningModePage: LogicalBlockProvisioningModePage(),
}
"""The mode pages there are, in order of page and subpage code, with ones where MODE SELECT may change them."""

KINDS: Mapping[tuple[int, int], type[ModePage]] = {page_key(each.build()): kind for kind, each in CHANGEABLE.items()}
"""Page and subpage code to page."""

UNRESTRICTED_REORDERING = 1
"""QUEUE ALGORITHM MODIFIER 0001b (SPC-4 7.5.8)."""


ON_REQUEST = 6
"""METHOD OF REPORTING: only REQUEST SENSE tells of informational exceptions (SPC-4 7.5.11)."""


def default_pages(*, thin: bool, write_cache: bool) -> Pages:
    """The pages of a unit as it is made."""
    pages = {kind: kind() for kind in CHANGEABLE if thin or kind is not LogicalBlockProvisioningModePage}
    pages[CachingPage] = CachingPage(write_cache_enable=write_cache)
    # SIMPLE commands are reordered as it comes: a write runs when its data is there.
    pages[ControlPage] = ControlPage(queue_algorithm_modifier=UNRESTRICTED_REORDERING)
    pages[InformationalExceptionsControlPage] = InformationalExceptionsControlPage(method_of_reporting=ON_REQUEST)
    pages[ControlExtensionPage] = ControlExtensionPage(scsi_precedence=True)
    return pages


def saved_pages(store: StateStore, target: str, lun: int, defaults: Pages) -> Pages:
    """The saved values, the defaults where nothing was saved. Raises ConfigError for what cannot have been saved."""
    pages = dict(defaults)
    for name, text in (store.read(target, lun, SUBJECT, dict[str, str]) or {}).items():
        try:
            code, _, subpage = name.partition("/")
            kind, raw = KINDS[int(code, 16), int(subpage or "0", 16)], bytes.fromhex(text)
        except (KeyError, ValueError):
            raise store.damaged(target, lun, SUBJECT, f"there is no page {name!r} of {text!r}") from None
        if kind not in pages:
            continue
        if len(raw) != kind.LENGTH:
            raise store.damaged(target, lun, SUBJECT, f"page {name} has {len(raw)} bytes, not {kind.LENGTH}")
        triples = zip(pages[kind].build(), CHANGEABLE[kind].build(), raw, strict=True)
        merged = bytes(
            own & ~mask & 0xFF | kept & mask if i > 1 else own for i, (own, mask, kept) in enumerate(triples)
        )
        pages[kind] = kind.parse(merged)
    return pages


def exception_code(pages: Pages) -> AdditionalSense:
    """The informational exception to be told. There are none but the one that a user asks for, to try out reporting."""
    page = pages[InformationalExceptionsControlPage]
    if isinstance(page, InformationalExceptionsControlPage) and page.test:
        return AdditionalSense.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE
    return AdditionalSense.NO_ADDITIONAL_SENSE_INFORMATION


def put_pages(store: StateStore, target: str, lun: int, pages: Pages) -> None:
    """Hand the pages to the store, which is to be saved behind this."""
    names = {kind: f"{code:02x}/{subpage:02x}" if subpage else f"{code:02x}" for (code, subpage), kind in KINDS.items()}
    store.put(target, lun, SUBJECT, {names[kind]: page.build().hex() for kind, page in pages.items()})
