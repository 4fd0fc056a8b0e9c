"""How bytes travel between the initiator's shells and a target portal: over TCP, or whatever else speaks these protocols."""

from __future__ import annotations

from iscsi_initiator.transport.base import BindFailed, ConnectFailed, Connector, Receiver, Transport
from iscsi_initiator.transport.tapped import TappedConnector
from iscsi_initiator.transport.tcp import TCP_CONNECT_TIME, TCP_DISCONNECT_TIME, TcpConnector

__all__ = [
    "TCP_CONNECT_TIME",
    "TCP_DISCONNECT_TIME",
    "BindFailed",
    "ConnectFailed",
    "Connector",
    "Receiver",
    "TappedConnector",
    "TcpConnector",
    "Transport",
]
