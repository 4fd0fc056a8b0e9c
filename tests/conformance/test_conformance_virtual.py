"""The virtual clock: time passes when nothing else is left to do, and what never ends is told."""

from __future__ import annotations

import asyncio

import pytest

from iscsi_conformance import virtual
from iscsi_conformance.clock import passed
from iscsi_conformance.virtual import DeadlockError, LivelockError, run_virtual


def test_an_hour_passes_at_once():
    async def hour() -> float:
        await passed(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(hour()) == 3600


def test_what_waits_for_ever_is_told():
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtual(wait())


def test_what_goes_on_for_ever_at_one_instant_is_told(monkeypatch):
    monkeypatch.setattr(virtual, "TURNS", 1000)

    async def turn(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    run_virtual(turn(900))
    with pytest.raises(LivelockError):
        run_virtual(turn(2000))
