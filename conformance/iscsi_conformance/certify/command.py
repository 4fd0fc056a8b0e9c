"""`iscsi-conformance certify-initiator`: what the command line says, made into a run."""

from __future__ import annotations

import socket
from collections.abc import Callable

from iscsi_conformance.certify.product import ADAPTERS, Product, Template, missing_programs
from iscsi_conformance.certify.scene import Way
from iscsi_conformance.environments import EnvironmentSpec
from iscsi_conformance.profile import Profile
from iscsi_conformance.verdict import PeerGone
from iscsi_protocol.history import Endpoint
from iscsi_target.config import host_and_port

PATIENCE_OF_COMMANDS = 5.0
PATIENCE_OF_OPERATORS = 120.0
"""Seconds for what one case asks for."""


def product_for(command: str | None, adapter: str | None) -> Product | None:
    """The way to the product; None asks the operator. Raises CommandError, PeerGone where a program is missing."""
    product = ADAPTERS[adapter] if adapter is not None else None if command is None else Template(command)
    missing = [] if product is None else missing_programs(product)
    if missing:
        raise PeerGone(f"not installed: {', '.join(missing)}")
    return product


def certification(
    listen: str, product: Product | None, case_time: float | None, say: Callable[[str], None], *, seed: int
) -> EnvironmentSpec:
    """A run's environment. listen: HOST:PORT, whose port 0 becomes a free one. Raises OSError when it cannot be had."""
    host, port = host_and_port(listen)
    endpoint = _bindable(host, port)
    patience = case_time or (PATIENCE_OF_OPERATORS if product is None else PATIENCE_OF_COMMANDS)
    way = Way(listen=endpoint, product=product, patience=patience, say=say)
    name = "operator" if product is None else product.name
    return EnvironmentSpec(kind="initiator", profile=Profile(name=name, portal=str(endpoint)), seed=seed, way=way)


def _bindable(host: str, port: int) -> Endpoint:
    """The address with a port that can be listened at now; each case listens there anew. Raises OSError."""
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    except socket.gaierror as error:
        raise OSError(error.errno, f"not an address of this host: {error.strerror}") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return Endpoint(host, probe.getsockname()[1])
