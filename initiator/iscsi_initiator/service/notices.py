"""Events of management classes for whoever watches them, as many as each takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

from iscsi_initiator.service.api.management import Notice

if TYPE_CHECKING:
    from iscsi_initiator.service.management.schema import Row

QUEUE = 256
"""Events that wait for one who watches; what comes beyond is lost, and that is told."""


class Subscription:
    """The events of some classes from now on, until it is closed. Iterating gives them as they come."""

    def __init__(self, notices: Notices, classes: Collection[str], room: int) -> None:
        self._notices = notices
        self._classes = frozenset(classes)
        self._room = room
        self._queue: deque[Notice] = deque()
        self._lost = 0
        self._come = asyncio.Event()

    def put(self, name: str, row: Row) -> None:
        """Something happened."""
        if name not in self._classes:
            return
        if len(self._queue) >= self._room:
            self._lost += 1
        else:
            self._queue.append(Notice(class_name=name, instance=dict(row), lost=self._lost))
            self._lost = 0
        self._come.set()

    async def __aiter__(self) -> AsyncIterator[Notice]:
        """First a notice of no class, from which on nothing is missed; then one for each event. `lost` counts those before
        it that there was no room for; where nothing comes behind them, a notice of no class says so.
        """
        yield Notice()
        while True:
            await self._come.wait()
            self._come.clear()
            while self._queue:
                yield self._queue.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                yield Notice(lost=lost)

    def close(self) -> None:
        """Watch no more."""
        self._notices.leave(self)


class Notices:
    """Who watches."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    def watch(self, classes: Collection[str], room: int = QUEUE) -> Subscription:
        """The events of these classes from now on."""
        made = Subscription(self, classes, room)
        self._subscriptions.append(made)
        return made

    def leave(self, subscription: Subscription) -> None:
        """See `Subscription.close`."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def tell(self, name: str, row: Row) -> None:
        """An event of a class happened."""
        for each in self._subscriptions:
            each.put(name, row)
