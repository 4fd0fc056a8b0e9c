"""The operator of the bundled target: what cases can make it do beside the wire."""

from __future__ import annotations

from iscsi_conformance.verdict import Inconclusive
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_target.engine import TargetEngine
from iscsi_target.shell.driver import Driver


class BundledOperator:
    """See `peer.Operator`."""

    def __init__(self, engine: TargetEngine, driver: Driver) -> None:
        self._engine = engine
        self._driver = driver

    def request_logout(self, seconds: int, *, cid: int | None = None) -> None:
        """Asynchronous Message 1."""
        self._engine.request_logout(self._connection(cid), seconds, self._driver.loop.time())
        self._driver.pump()

    def announce_connection_drop(self, *, cid: int | None = None) -> None:
        """Asynchronous Message 2, then the drop."""
        self._engine.drop_connection(self._connection(cid), self._driver.loop.time())
        self._driver.pump()

    def announce_session_drop(self) -> None:
        """Asynchronous Message 3, then the drop."""
        self._engine.drop_session(self._tsih(), self._driver.loop.time())
        self._driver.pump()

    def request_negotiation(self, seconds: int, *, cid: int | None = None) -> None:
        """Asynchronous Message 4."""
        self._engine.request_negotiation(self._connection(cid), seconds, self._driver.loop.time())
        self._driver.pump()

    def report_scsi_event(self, sense: bytes, *, cid: int | None = None) -> None:
        """Asynchronous Message 0 about LUN 0."""
        self._engine.send_scsi_async(self._connection(cid), encode_lun(0), sense, self._driver.loop.time())
        self._driver.pump()

    def ping(self, *, cid: int | None = None) -> None:
        """A NOP-In that wants an answer."""
        self._engine.ping(self._connection(cid), self._driver.loop.time())
        self._driver.pump()

    def tell_counters(self, *, cid: int | None = None) -> None:
        """A NOP-In that wants none."""
        self._engine.tell_counters(self._connection(cid), self._driver.loop.time())
        self._driver.pump()

    def mend(self) -> None:
        """No connection from now on has faults."""
        self._driver.spoilt_connections = 0

    def mend_behind(self, connections: int) -> None:
        """The next so many connections have faults, those behind them none."""
        self._driver.spoilt_connections = connections

    def _tsih(self) -> int:
        """The session whose connection is the latest of all."""
        for number in sorted(self._engine.connections, reverse=True):
            session = self._engine.connections[number].session
            if session is not None:
                return session.tsih
        raise Inconclusive("the target has no connection in full feature phase")

    def _connection(self, cid: int | None) -> int:
        """The number of the latest session's connection, the latest one unless a CID is given."""
        tsih = self._tsih()
        for number in sorted(self._engine.connections, reverse=True):
            connection = self._engine.connections[number]
            if connection.session is not None and connection.session.tsih == tsih and cid in (None, connection.cid):
                return number
        raise Inconclusive(f"the target has no connection {cid} in full feature phase")
