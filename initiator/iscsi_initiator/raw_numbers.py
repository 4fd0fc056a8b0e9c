"""The counters of the case authors' instrument (RFC 7143 section 4.2.2): those of a session, and a connection's StatSN.

Plain numbers that a case may set as it likes. What comes moves them as the standard says.
"""

from __future__ import annotations

from iscsi_protocol import serial


class SessionNumbers:
    """What all connections of a session count together (4.2.2.1).

    cmd_sn: the next to use; exp_cmd_sn, max_cmd_sn: the latest from the target; itt: the task tag used last.
    """

    def __init__(self) -> None:
        self.cmd_sn = 1
        self.exp_cmd_sn = 1
        self.max_cmd_sn = 0
        self.itt = 0

    def begin(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """The numbers of a leading login's response, whatever they are."""
        self.exp_cmd_sn, self.max_cmd_sn = exp_cmd_sn, max_cmd_sn

    def heard(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """A PDU told these: older ones, which come by another connection, move nothing, nor does a negative window."""
        if serial.ge(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
            if serial.gt(exp_cmd_sn, self.exp_cmd_sn):
                self.exp_cmd_sn = exp_cmd_sn
            if serial.gt(max_cmd_sn, self.max_cmd_sn):
                self.max_cmd_sn = max_cmd_sn


class StatusNumbers:
    """The StatSNs that came on a connection (4.2.2.2).

    due: the one awaited next; withheld: the ExpStatSN that is told while acknowledgements are kept back, else None.
    """

    def __init__(self) -> None:
        self.due = 0
        self.withheld: int | None = None
        self._known = False
        self._early: set[int] = set()

    @property
    def told(self) -> int:
        """The ExpStatSN for what is sent now."""
        return self.due if self.withheld is None else self.withheld

    @told.setter
    def told(self, number: int) -> None:
        self.due = number
        self._early.clear()
        if self.withheld is not None:
            self.withheld = number

    def begin(self, stat_sn: int) -> None:
        """The first Login Response gives the first number; later calls change nothing."""
        if not self._known:
            self._known = True
            self.due = stat_sn

    def came(self, stat_sn: int) -> None:
        """A status with this number came; one behind a gap counts once the gap is filled."""
        if serial.gt(stat_sn, self.due):
            self._early.add(stat_sn)
        if stat_sn == self.due:
            self.due = serial.add(stat_sn)
            while self.due in self._early:
                self._early.remove(self.due)
                self.due = serial.add(self.due)

    def lost(self, stat_sn: int) -> None:
        """A status that came is to count as one that never did."""
        if serial.gt(self.due, stat_sn):
            behind = serial.add(stat_sn)
            while behind != self.due:
                self._early.add(behind)
                behind = serial.add(behind)
            self.due = stat_sn
        self._early.discard(stat_sn)
