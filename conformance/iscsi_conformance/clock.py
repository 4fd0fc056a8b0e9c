"""Letting time pass on whatever clock the event loop has, real or virtual."""

from __future__ import annotations

import asyncio


async def passed(seconds: float) -> None:
    """Return once so many seconds have passed on the loop's clock."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    timer = loop.call_later(seconds, ended.set)
    try:
        await ended.wait()
    finally:
        timer.cancel()
