"""What stands around a service and does as it is told: IPsec back ends, and adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from iscsi_initiator.discovery.adapters import AdapterFailure, AdapterTarget, KeyCacheFull
from iscsi_initiator.service.ipsec import IpsecFailure, Protection
from iscsi_initiator.store.state import Portal
from iscsi_protocol.history import Endpoint


@dataclass(kw_only=True)
class ScriptedIpsec:
    """A back end. starts: whether it gets ready; refuses: what it is asked for; stalls: answers nothing."""

    starts: bool = True
    refuses: bool = False
    stalls: bool = False

    def start(self) -> None:
        """See IpsecBackend."""
        if not self.starts:
            raise IpsecFailure("no kernel support")

    async def configure(self, protection: Protection) -> None:
        """See IpsecBackend."""
        del protection
        if self.stalls:
            await asyncio.Event().wait()
        if self.refuses:
            raise IpsecFailure("no policy")

    async def release(self, endpoint: Endpoint) -> None:
        """See IpsecBackend."""
        del endpoint


@dataclass(kw_only=True)
class ScriptedAdapter:
    """An adapter. fails: why it does not discover, None where it does; gives: what it discovers."""

    gives: Any = ()
    addresses: tuple[str, ...] = ()
    isid: bytes | None = None
    fails: str | None = None
    host: Any = None

    def discover(self) -> Iterable[AdapterTarget]:
        """See Adapter."""
        if self.fails is not None:
            raise AdapterFailure(self.fails)
        found: Iterable[AdapterTarget] = self.gives
        return found

    def made(self, host: object, argument: str) -> ScriptedAdapter:
        """The plug-in that makes it."""
        del argument
        self.host = host
        return self


@dataclass(kw_only=True)
class KeepingAdapter(ScriptedAdapter):
    """One that keeps IPsec keys, as many as there are slots."""

    slots: int = 1
    keys: dict[Portal, bytes] = field(default_factory=dict, repr=False)

    def cache_key(self, portal: Portal, key: bytes) -> None:
        """See KeyCache."""
        if portal not in self.keys and len(self.keys) >= self.slots:
            raise KeyCacheFull
        self.keys[portal] = key
