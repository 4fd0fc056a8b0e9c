"""What a host may have that this one lacks: an evaluation period, and a firewall with a list of programs (guide, Appendix B:
118, 120, 121). Whoever embeds the service says so; the command does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iscsi_initiator.service.journal import Journal
from iscsi_initiator.status_codes import Refused, StatusCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """evaluation_ends: seconds since 1970, None for never. firewall: whether the firewall lets the service through, None for
    no firewall; exempt: puts the service on its list, None where that cannot be done. Both raise OSError.
    """

    evaluation_ends: float | None = None
    firewall: Callable[[], bool] | None = None
    exempt: Callable[[], None] | None = None

    def begin(self, journal: Journal) -> None:
        """Look at the start, and log what is found."""
        if self._over(journal):
            journal.tell(118)
        if self.firewall is None:
            return
        try:
            if not self.firewall():
                journal.tell(120)
        except OSError as error:
            journal.tell(121, str(error))

    def check_evaluation(self, journal: Journal) -> None:
        """Raises Refused EVALUATION_PEROID_EXPIRED, with event 118 logged, when it is over."""
        if self._over(journal):
            journal.tell(118)
            raise Refused(StatusCode.EVALUATION_PEROID_EXPIRED, "nothing is logged in to any more")

    def _over(self, journal: Journal) -> bool:
        return self.evaluation_ends is not None and journal.wall() >= self.evaluation_ends
