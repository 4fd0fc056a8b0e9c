"""The operator of the bundled target: what cases can make it do beside the wire."""

from __future__ import annotations

from iscsi_conformance.verdict import Inconclusive
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_target.engine import TargetEngine
from iscsi_target.shell.driver import Driver


class BundledOperator:
    """See `peer.Operator`. Everything is done to the latest connection that is in full feature phase."""

    def __init__(self, engine: TargetEngine, driver: Driver) -> None:
        self._engine = engine
        self._driver = driver

    def request_logout(self, seconds: int) -> None:
        """Asynchronous Message 1."""
        self._engine.request_logout(self._latest(), seconds, self._driver.loop.time())
        self._driver.pump()

    def announce_connection_drop(self) -> None:
        """Asynchronous Message 2, then the drop."""
        self._engine.drop_connection(self._latest(), self._driver.loop.time())
        self._driver.pump()

    def announce_session_drop(self) -> None:
        """Asynchronous Message 3, then the drop."""
        tsih = max(session.tsih for session in self._engine.sessions)
        self._engine.drop_session(tsih, self._driver.loop.time())
        self._driver.pump()

    def request_negotiation(self, seconds: int) -> None:
        """Asynchronous Message 4."""
        self._engine.request_negotiation(self._latest(), seconds, self._driver.loop.time())
        self._driver.pump()

    def report_scsi_event(self, sense: bytes) -> None:
        """Asynchronous Message 0 about LUN 0."""
        self._engine.send_scsi_async(self._latest(), encode_lun(0), sense, self._driver.loop.time())
        self._driver.pump()

    def ping(self) -> None:
        """A NOP-In that wants an answer."""
        self._engine.ping(self._latest(), self._driver.loop.time())
        self._driver.pump()

    def tell_counters(self) -> None:
        """A NOP-In that wants none."""
        self._engine.tell_counters(self._latest(), self._driver.loop.time())
        self._driver.pump()

    def _latest(self) -> int:
        for number in sorted(self._engine.connections, reverse=True):
            if self._engine.connections[number].session is not None:
                return number
        raise Inconclusive("the target has no connection in full feature phase")
