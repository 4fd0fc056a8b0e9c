"""What the initiator declares about itself, as far as events depend on it: the names of Appendix F and of its options.

A name that was not declared has the value that the guide, or RFC 7143, gives to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TIMERS: Mapping[str, float] = MappingProxyType(
    {
        "WMIRequestTimeout": 30,
        "SRBTimeoutDelta": 15,
        "ScsiRequestTimeout": 60,
        "NOPOutTimeout": 30,
        "TaskManagementTimeout": 30,
        "SNACKTimeout": 5,
        "MaxLoginRedirects": 8,
    }
)
"""Seconds, but for the last one, which is a count."""

SHORTEST_DELTA = 5
"""Seconds of SRBTimeoutDelta, below which its default is used."""

REQUEST = "Request"
"""Not a setting: says of the next request of its kind what no PDU does."""

REQUESTS_KEPT = 256


class Declared:
    """The settings of one session."""

    __slots__ = ("logout", "name", "nop", "redirects", "scsi", "settings", "snack", "task_management", "text")

    def __init__(self, settings: Mapping[str, object]) -> None:
        self.settings = settings
        delta = self._number("SRBTimeoutDelta")
        if delta < SHORTEST_DELTA:
            delta = TIMERS["SRBTimeoutDelta"]
        self.scsi = self._number("ScsiRequestTimeout") + delta
        self.logout = self.text = self._number("WMIRequestTimeout")
        self.nop = self._number("NOPOutTimeout")
        self.task_management = self._number("TaskManagementTimeout")
        self.snack = self._number("SNACKTimeout")
        self.redirects = int(self._number("MaxLoginRedirects"))

    def _number(self, name: str) -> float:
        value = self.settings.get(name)
        return value if isinstance(value, int | float) else TIMERS[name]

    @property
    def resets_target(self) -> bool:
        """Whether the initiator resets the whole target where resetting a LUN did not help."""
        return not self.settings.get("NoTargetReset")

    @property
    def delta(self) -> float:
        """Seconds added to the time-out of a SCSI request."""
        return self.scsi - self._number("ScsiRequestTimeout")

    def secret(self, name: str) -> bytes | None:
        """A CHAP secret, None where there is none."""
        value = self.settings.get(name)
        return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else None

    def text_of(self, name: str) -> str | None:
        """A setting that is text, None where there is none."""
        value = self.settings.get(name)
        return value if isinstance(value, str) else None


class Terms:
    """What was said of one request. timeout: seconds, None for the setting's; management: it is that interface's."""

    __slots__ = ("management", "said", "timeout")

    def __init__(self, said: Mapping[str, object]) -> None:
        timeout = said.get("Timeout")
        self.said = said
        self.timeout = timeout if isinstance(timeout, int | float) else None
        self.management = bool(said.get("Management"))


class OwnTerms:
    """What was said of requests that are not sent yet, or are to be sent again behind a recovery."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Mapping[str, object]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def say(self, what: object) -> None:
        """Take note of what a history says of a request."""
        if isinstance(what, Mapping):
            self._waiting.append(what)
            del self._waiting[:-REQUESTS_KEPT]

    def take(self, opcode: int, cdb: bytes) -> Terms | None:
        """What was said of the request that is sent now."""
        for place, said in enumerate(self._waiting):
            if said.get("Opcode") == opcode and said.get("CDB") in (None, cdb.hex()):
                return Terms(self._waiting.pop(place))
        return None
