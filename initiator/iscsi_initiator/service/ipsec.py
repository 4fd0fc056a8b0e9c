"""IPsec around connections: which key, flags and tunnel address a portal has, and who sets that up (guide, Appendix C: IPSEC
Commands, Security Flags; "How targets are organized").

The service has a back end for it or none. Where it has none, everything that asks for IPsec is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from iscsi_initiator.discovery.merging import Secret, StoredSecret
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import GroupKey, IdType, PresharedKey, SecurityFlag, State, TunnelAddress
from iscsi_protocol.history import Endpoint


class IpsecFailure(Exception):
    """A back end could not do what it was asked for. The text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """How connections to a portal are protected. flags: of SecurityFlag; tunnel: the outer address, if any."""

    endpoint: Endpoint
    flags: int
    key: bytes = field(repr=False)
    tunnel: str | None = None


class IpsecBackend(Protocol):
    """Does for a host what the service decides."""

    def start(self) -> None:
        """Get ready, once, when the service starts. Raises IpsecFailure (event 105)."""

    async def configure(self, protection: Protection) -> None:
        """Protect connections to a portal from now on. Raises IpsecFailure (event 117)."""

    async def release(self, endpoint: Endpoint) -> None:
        """Protect them no more. Raises IpsecFailure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a login says about IPsec. required: it is not to go without; initiator, port: through which it goes."""

    required: bool
    flags: int
    key: Secret | None
    initiator: str
    port: int | None


def preshared_key(
    state: State, id_type: int, identity: str, initiator: str | None, port: int | None
) -> PresharedKey | None:
    """The key that is set for an IKE identity, of this initiator and port or of all; the most particular one counts."""
    found = [
        each
        for each in state.preshared_keys
        if (int(each.id_type), each.id.casefold()) == (id_type, identity.casefold()) and _is_for(each, initiator, port)
    ]
    return max(found, key=lambda each: (each.initiator is not None, each.initiator_port is not None), default=None)


def tunnel_address(state: State, destination: str, initiator: str | None, port: int | None) -> TunnelAddress | None:
    """The outer address that is set for a destination."""
    found = [
        each for each in state.tunnel_addresses if each.destination == destination and _is_for(each, initiator, port)
    ]
    return max(found, key=lambda each: (each.initiator is not None, each.initiator_port is not None), default=None)


def _is_for(record: PresharedKey | TunnelAddress, initiator: str | None, port: int | None) -> bool:
    named = record.initiator is None or (initiator or "").casefold() == record.initiator.casefold()
    return named and record.initiator_port in (None, port)


def is_wanted(state: State, wish: Wish, address: str) -> bool:
    """Whether a connection to an address is to be protected: the call says so, or the key that is set for the address."""
    known = preshared_key(state, IdType.IPV4_ADDRESS, address, wish.initiator, wish.port)
    flags = wish.flags if known is None else known.security_flags
    return wish.required or bool(flags & SecurityFlag.IPSEC_ENABLED)


def protection(state: State, wish: Wish, endpoint: Endpoint, open_secret: Callable[[Secret], bytes]) -> Protection:
    """How a connection is to be protected. What is set for the portal supersedes what the call says; the group's key stands
    in where there is no other.

    open_secret: a secret in the clear; raises Refused CACHE_CORRUPTED. Raises Refused besides:
    TARGET_PRESHAREDKEY_UNAVAILABLE, NO_TUNNEL_OUTER_MODE_ADDRESS.
    """
    known = preshared_key(state, IdType.IPV4_ADDRESS, endpoint.host, wish.initiator, wish.port)
    key: Secret | None = wish.key
    flags = wish.flags
    if known is not None:
        key, flags = StoredSecret(known.place, known.key), known.security_flags
    elif key is None and state.group_key is not None:
        key = StoredSecret(GroupKey.place, state.group_key.key)
    if key is None:
        raise Refused(StatusCode.TARGET_PRESHAREDKEY_UNAVAILABLE, f"there is no IPsec key for {endpoint.host}")
    tunnel = None
    if flags & SecurityFlag.TUNNEL_MODE and not flags & SecurityFlag.TRANSPORT_MODE:
        outer = tunnel_address(state, endpoint.host, wish.initiator, wish.port)
        if outer is None:
            raise Refused(StatusCode.NO_TUNNEL_OUTER_MODE_ADDRESS, f"no tunnel address is set for {endpoint.host}")
        tunnel = open_secret(StoredSecret(outer.place, outer.tunnel)).decode()
    return Protection(endpoint=endpoint, flags=flags, key=open_secret(key), tunnel=tunnel)
