"""What an initiator is asked to do in a case whose verdict comes from the wire alone, in words that any initiator knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iscsi_conformance.profile import ChapLogin


class Doing(StrEnum):
    """What the initiator is to do. Each begins with a login of its own and ends with the logout."""

    DISCOVER = "discover"
    """A discovery session with SendTargets."""
    LOG_IN = "log-in"
    """A normal session with a few commands that move hardly any data, such as TEST UNIT READY or INQUIRY."""
    READ = "read"
    """Something is read, a command at a time."""
    WRITE = "write"
    """16 KiB or more are written in one command at least."""
    LOAD = "load"
    """Reads for a second or longer, several commands at a time where the initiator can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is wanted of the initiator in one case. chap: who it has to be. header_digest: it has to offer CRC32C.
    data_digest: likewise for data.
    """

    doing: Doing
    chap: ChapLogin | None = None
    header_digest: bool = False
    data_digest: bool = False
