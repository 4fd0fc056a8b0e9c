"""The copy operations of a logical unit's copy manager, by I_T nexus and list identifier (SPC-4 5.16.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_protocol.scsi.third_party_copy import CopyState
from iscsi_target.nexus import Nexus

if TYPE_CHECKING:
    from iscsi_target.device.copying import CopyOperation

MAX_CONCURRENT_COPIES = 16
"""Copies in progress at once, those of all nexuses together."""

RESULTS_KEPT = 64
"""Copies that are over and may still be asked about; beyond these the oldest is forgotten."""


class Copies:
    """What goes on, and what came of it."""

    def __init__(self) -> None:
        self._known: dict[tuple[Nexus, int], CopyOperation] = {}
        self._nameless: list[tuple[Nexus, CopyOperation]] = []

    def find(self, nexus: Nexus, list_identifier: int) -> CopyOperation | None:
        """The copy that a nexus gave this identifier last."""
        return self._known.get((nexus, list_identifier))

    def busy(self, nexus: Nexus, list_identifier: int) -> bool:
        """Whether that copy is still in progress."""
        found = self.find(nexus, list_identifier)
        return found is not None and found.state is CopyState.IN_PROGRESS

    @property
    def full(self) -> bool:
        """Whether no more copies are taken now."""
        running = [each for each in self._known.values() if each.state is CopyState.IN_PROGRESS]
        self._nameless = [each for each in self._nameless if each[1].state is CopyState.IN_PROGRESS]
        return len(running) + len(self._nameless) >= MAX_CONCURRENT_COPIES

    def add(self, nexus: Nexus, list_identifier: int | None, operation: CopyOperation) -> None:
        """Keep a copy; None: nobody can ask about it."""
        if list_identifier is None:
            self._nameless.append((nexus, operation))
            return
        self._known.pop((nexus, list_identifier), None)
        self._known[nexus, list_identifier] = operation
        over = [key for key, each in self._known.items() if each.state is not CopyState.IN_PROGRESS]
        for key in over[: max(len(over) - RESULTS_KEPT, 0)]:
            del self._known[key]

    def drop(self, nexus: Nexus, list_identifier: int) -> None:
        """Forget the results of a copy; one that is not known is no error."""
        self._known.pop((nexus, list_identifier), None)

    def forget(self, nexus: Nexus | None = None) -> None:
        """A nexus is lost, or (None) the unit is reset: its copies end where they are, and their results are gone."""
        for key, operation in list(self._known.items()):
            if nexus is None or key[0] == nexus:
                operation.cancel()
                del self._known[key]
        for owner, operation in self._nameless:
            if nexus is None or owner == nexus:
                operation.cancel()
