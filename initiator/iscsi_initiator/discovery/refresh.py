"""Asking the mechanisms again: at the start, on demand, and when one of them says that something changed.

Each mechanism puts what it found into the catalogue and logs its failure as its event: 111 static targets, 113 and 114
SendTargets, 115 adapters; iSNS servers do it themselves (`isns_servers`). A failure leaves what was found before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from iscsi_initiator.client import Client
from iscsi_initiator.discovery.adapters import Adapter, Teller, discovered
from iscsi_initiator.discovery.catalogue import Catalogue
from iscsi_initiator.discovery.instance import STATIC, Instance, Kind, Source, portal_text
from iscsi_initiator.discovery.isns import Found
from iscsi_initiator.discovery.isns_servers import isns_instance, isns_source
from iscsi_initiator.discovery.portal import ask_portal
from iscsi_initiator.discovery.static import static_instances
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import StaticTarget, TargetPortal

Refresh = Callable[[], Awaitable[None]]
Targets = tuple[list[Instance], list[str]]
InThread = Callable[[Callable[[], Targets]], Awaitable[Targets]]


async def in_thread(work: Callable[[], Targets]) -> Targets:
    """Do what may block where it holds nobody up."""
    return await asyncio.to_thread(work)


def source_of(portal: TargetPortal) -> Source:
    """The mechanism that a portal is."""
    return Source(Kind.SEND_TARGETS, portal_text(portal.portal), portal.initiator, portal.initiator_port)


class Discovery:
    """connect: makes a discovery session with a portal; raises ClientError, Refused. unseal: opens stored secrets.

    in_thread: runs the discovery of an adapter.
    """

    def __init__(
        self,
        tell: Teller,
        connect: Callable[[TargetPortal], Awaitable[Client]],
        unseal: Callable[[Sealed, str], bytes],
        in_thread: InThread = in_thread,
    ) -> None:
        self.catalogue = Catalogue()
        self._tell = tell
        self._connect = connect
        self._unseal = unseal
        self._in_thread = in_thread

    async def portal(self, portal: TargetPortal) -> None:
        """Ask one portal. Raises Refused."""
        source = source_of(portal)
        try:
            told, dropped = await ask_portal(lambda: self._connect(portal), portal.portal)
        except Refused as error:
            event = 114 if error.status is StatusCode.INVALID_SENDTARGETS_TEXT else 113
            self._tell(event, str(error), portal_text(portal.portal))
            raise
        for reason in dropped:
            self._tell(114, reason, portal_text(portal.portal))
        self.catalogue.put(
            source,
            [
                Instance(
                    source=source,
                    name=each.name,
                    groups=each.groups,
                    options=portal.options,
                    password_place=portal.place,
                )
                for each in told
            ],
        )

    async def adapter(self, name: str, adapter: Adapter) -> None:
        """Ask the adapter that an initiator instance is, in a thread of its own as it may block. Raises Refused."""
        try:
            instances, dropped = await self._in_thread(lambda: discovered(name, adapter))
        except Refused as error:
            self._tell(115, str(error), name)
            raise
        for reason in dropped:
            self._tell(115, reason, name)
        self.catalogue.put(Source(Kind.HBA, name, name), instances)

    def server(self, name: str, found: Found) -> None:
        """Take over what an iSNS server told; event 114 for names that are none."""
        source = isns_source(name)
        for each in found.invalid:
            self._tell(114, f"{each!r} is no iSCSI name", name)
        self.catalogue.put(source, [isns_instance(source, target) for target in found.targets])

    def static(self, records: Iterable[StaticTarget]) -> None:
        """Take over what was configured by hand; damaged records are left out. Raises Refused CACHE_CORRUPTED for those."""
        instances, damaged = static_instances(records, self._unseal)
        self.catalogue.put(STATIC, instances)
        for each in damaged:
            self._tell(111, f"{each.name}: {each.reason}")
        if damaged:
            names = ", ".join(each.name for each in damaged)
            raise Refused(StatusCode.CACHE_CORRUPTED, f"damaged records of static targets: {names}")

    async def all(self, mechanisms: Sequence[Refresh]) -> list[Refused]:
        """Ask all of them at once; the failures."""
        results = await asyncio.gather(*(ask() for ask in mechanisms), return_exceptions=True)
        failures = []
        for result in results:
            if isinstance(result, Refused):
                failures.append(result)
            elif result is not None:
                raise result
        return failures


def outcome(asked: int, failures: Sequence[Refused]) -> Refused | None:
    """How a refresh of so many mechanisms went: None; the first failure where all failed; OPERATION_NOT_ALL_SUCCESS, a
    warning, where some did.
    """
    if not failures or len(failures) == asked:
        return failures[0] if failures else None
    reasons = "; ".join(str(error) for error in failures)
    return Refused(StatusCode.OPERATION_NOT_ALL_SUCCESS, f"{len(failures)} of {asked} failed: {reasons}")
