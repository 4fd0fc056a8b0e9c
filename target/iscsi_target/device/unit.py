"""A logical unit: its storage, its mode parameters, and what it owes each I_T nexus (SAM-5 4.6, 5.14)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.mode import CachingPage, ControlPage, ModePage
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.completion import Completion, Work
from iscsi_target.config import LunConfig, TargetNode
from iscsi_target.device.answer import GOOD, CheckCondition, check, refused, storage_sense
from iscsi_target.device.attention import establish
from iscsi_target.device.clock import DeviceClock
from iscsi_target.device.copies import Copies
from iscsi_target.device.mode_pages import Pages, default_pages, saved_pages
from iscsi_target.device.port_groups import PortGroups
from iscsi_target.device.readiness import PowerCondition, Readiness, interrupted
from iscsi_target.device.reservations.keeping import kept
from iscsi_target.device.reservations.state import Reservations
from iscsi_target.device.statistics import Statistics
from iscsi_target.luns.backend import Backend
from iscsi_target.nexus import Nexus
from iscsi_target.state import StateStore

if TYPE_CHECKING:
    from iscsi_target.device.row import Row

MAX_TRANSFER = 64 << 20
"""Bytes that one command may read or write; Block Limits says so in blocks."""

_LONGEST_ATOMIC = 0xFFFF
"""What TRANSFER LENGTH of WRITE ATOMIC(16) can say."""


class LogicalUnit:
    """One logical unit. `serial` and `number` (below 2^60) tell it from all others; `target_name` is its node's."""

    def __init__(
        self,
        lun: int,
        config: LunConfig,
        backend: Backend,
        target_name: str,
        store: StateStore | None = None,
        target_ports: tuple[int, ...] = (1,),
    ) -> None:
        self.lun = lun
        self.config = config
        self.backend = backend
        self.target_name = target_name
        self.store = store or StateStore()
        self.target_ports = target_ports
        identity = hashlib.sha256(f"{target_name}\n{lun}".encode()).digest()
        self.serial = config.serial or identity[:10].hex().upper()
        self.number = int.from_bytes(hashlib.sha256(identity + self.serial.encode()).digest()[:8], "big") >> 4
        self.block_size = backend.block_size
        self.blocks = backend.blocks
        self.max_transfer = MAX_TRANSFER // backend.block_size
        self.max_write_same = config.max_write_same // backend.block_size
        self.physical_blocks = backend.granularity // backend.block_size
        self.max_atomic = _max_atomic(self.max_transfer, self.physical_blocks) if config.backend == "memory" else 0
        self.paths: dict[Nexus, ItlNexus] = {}
        self.preventing: set[Nexus] = set()
        self.copies = Copies()
        self.neighbours: Mapping[int, LogicalUnit] = {lun: self}
        self.port_groups = PortGroups(TargetNode(name=target_name), target_ports, self.store)
        self.reservations = Reservations()
        if config.reservations in ("persistent", "both"):
            self.reservations = kept(self.store, target_name, lun)
        self.guard: Reservations | None = None
        self.guard_commands()
        self.abort_tasks: Callable[[Nexus, Nexus], None] = _nothing_to_abort
        self.readiness = Readiness(interrupted(self.store, target_name, lun))
        self.ready = self.readiness.active
        self.statistics = Statistics()
        self.clock = DeviceClock()
        self.data_buffer = b""
        self.pages: Pages = {}
        self.write_cache = self.descriptor_sense = self.task_aborted_status = False
        self.write_protection: Sense | None = None
        self.set_pages(self.saved_pages())

    def default_pages(self) -> Pages:
        """The mode pages of a unit that nobody changed."""
        return default_pages(thin=self.backend.thin, write_cache=self.config.write_cache)

    def saved_pages(self) -> Pages:
        """The mode pages after a reset: as they were saved, else the defaults."""
        return saved_pages(self.store, self.target_name, self.lun, self.default_pages())

    def set_pages(self, pages: Mapping[type[ModePage], ModePage]) -> None:
        """Let mode pages take effect; those that are not given stay."""
        self.pages = {**self.pages, **pages}
        caching, control = self.pages[CachingPage], self.pages[ControlPage]
        self.write_cache = isinstance(caching, CachingPage) and caching.write_cache_enable
        self.descriptor_sense = isinstance(control, ControlPage) and control.descriptor_sense
        self.task_aborted_status = isinstance(control, ControlPage) and control.task_aborted_status
        code = None
        if self.config.read_only or self.backend.read_only:
            code = AdditionalSense.WRITE_PROTECTED
        elif isinstance(control, ControlPage) and control.software_write_protect:
            code = AdditionalSense.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED
        self.write_protection = None if code is None else Sense(key=SenseKey.DATA_PROTECT, code=code)

    def set_medium(self, *, loaded: bool, started: bool) -> None:
        """Load or eject, start or stop."""
        self.readiness.loaded, self.readiness.started = loaded, started
        self.readiness.power = PowerCondition.ACTIVE
        self.ready = self.readiness.active

    def refusal(self, row: Row) -> Sense | None:
        """What a command finds in a unit that is not ready; the unit may have become ready meanwhile."""
        sense = self.readiness.refusal(row)
        self.ready = self.readiness.active
        return sense

    def reset(self, code: AdditionalSense) -> None:
        """Logical unit reset (SAM-5 6.3.3): defaults return, and every nexus is told, the one that asked included."""
        self.set_pages(self.saved_pages())
        self.preventing.clear()
        self.copies.forget()
        self.release_from(None)
        self.set_medium(loaded=self.readiness.loaded, started=True)
        for path in self.paths.values():
            path.attentions.clear()
            establish(path.attentions, code)

    def guard_commands(self) -> None:
        """Have commands looked at while there is a reservation, and only then."""
        self.guard = self.reservations if self.reservations.in_force else None

    def release_from(self, nexus: Nexus | None) -> None:
        """What RESERVE reserved for this nexus, or None for whichever, is free again (SPC-2 7.21.2)."""
        if self.reservations.reserved_by is not None and nexus in (None, self.reservations.reserved_by):
            self.reservations.reserved_by = None
            self.guard_commands()

    def tell_others(self, nexus: Nexus, code: AdditionalSense) -> None:
        """Establish a unit attention condition for every nexus but this one."""
        for other, path in self.paths.items():
            if other != nexus:
                establish(path.attentions, code)

    def access_states_changed(self, by: ItlNexus | None) -> None:
        """Target port groups have other states; all nexuses but the one that set them are told."""
        for nexus, path in self.paths.items():
            path.inaccessible = self.port_groups.refusal(nexus.target_portal_group_tag)
            if by is None or nexus != by.nexus:
                establish(path.attentions, AdditionalSense.ASYMMETRIC_ACCESS_STATE_CHANGED)

    def check_range(self, lba: int, blocks: int) -> None:
        """Refuse a range that is not within the unit; an address at the very end is out of it, even without blocks."""
        if lba + (blocks or 1) > self.blocks:
            raise refused(AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)

    def failure(self, error: OSError, *, writing: bool, verifying: bool = False) -> Sense:
        """The sense data for an error of the storage, which is counted."""
        sense = storage_sense(error, writing=writing)
        self.statistics.failed("verify_errors" if verifying else "write_errors" if writing else "read_errors", sense)
        return sense

    def saved(self) -> Work:
        """GOOD, once what was handed to the store outlives the process."""

        def save() -> Completion:
            self.store.save()
            return GOOD

        return Work(_Guarded(self, save, writing=True))

    def slowly(
        self, run: Callable[[], Completion], *, writing: bool = True, verifying: bool = False
    ) -> Completion | Work:
        """What `run` gives, at once when the back end is quick. `run` may raise CheckCondition and OSError."""
        work = Work(_Guarded(self, run, writing=writing, verifying=verifying))
        return work if self.backend.slow else work.run()


def _max_atomic(max_transfer: int, physical_blocks: int) -> int:
    """Blocks of one WRITE ATOMIC, where storage can promise it: memory is written in one step and outlives nothing."""
    most = min(max_transfer, _LONGEST_ATOMIC)
    return most - most % physical_blocks


def _nothing_to_abort(_nexus: Nexus, _by: Nexus) -> None:
    """A device that no engine is attached to has no commands in progress."""


class _Guarded:
    """A piece of work whose failures are completions."""

    __slots__ = ("descriptor", "run", "unit", "verifying", "writing")

    def __init__(
        self, unit: LogicalUnit, run: Callable[[], Completion], *, writing: bool, verifying: bool = False
    ) -> None:
        self.unit = unit
        self.descriptor = unit.descriptor_sense
        self.run = run
        self.writing = writing
        self.verifying = verifying

    def __call__(self) -> Completion:
        try:
            return self.run()
        except CheckCondition as refusal:
            return check(refusal.sense, descriptor=self.descriptor)
        except OSError as error:
            sense = self.unit.failure(error, writing=self.writing, verifying=self.verifying)
            return check(sense, descriptor=self.descriptor)


class ItlNexus:
    """A logical unit as one nexus sees it (SAM-5 4.7.6): with its pending unit attentions in the order in
    which they are reported.

    `luns` are the structures of all that this nexus sees. `inaccessible`: what stands against commands that come
    through its port. `echo_buffer`: what it wrote there, None when it did not.
    """

    __slots__ = ("attentions", "echo_buffer", "inaccessible", "luns", "nexus", "unit")

    def __init__(self, nexus: Nexus, unit: LogicalUnit, luns: tuple[bytes, ...]) -> None:
        self.nexus = nexus
        self.unit = unit
        self.luns = luns
        self.attentions: list[AdditionalSense] = []
        self.echo_buffer: bytes | None = None
        self.inaccessible = unit.port_groups.refusal(nexus.target_portal_group_tag)

    def take_attention(self) -> Sense:
        """The next unit attention, which is thereby cleared; there is one."""
        return Sense(key=SenseKey.UNIT_ATTENTION, code=self.attentions.pop(0))
