"""The user's command as a process: started without a shell, in a group of its own, its output kept short."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

KEPT = 2048
"""Bytes of output that are kept: the last ones."""
_ENDING = 2.0
"""Seconds for a group to end behind SIGTERM."""
_PIECE = 1 << 14


class Running:
    """One command. words: its command line. over: set when it has ended."""

    def __init__(self, words: Sequence[str], process: asyncio.subprocess.Process) -> None:
        self.words = list(words)
        self._process = process
        self._output = b""
        self._reader = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, words: Sequence[str]) -> Running:
        """Start it. Raises OSError where it cannot be started."""
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(words, process)

    @property
    def over(self) -> bool:
        """Whether the command has ended; what it left running in its group may still be there."""
        return self._process.returncode is not None

    async def stop(self) -> str:
        """End the whole group, where it has not ended, and say in a line or more what came of it."""
        ended_by_itself = self.over
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        self._signal(signal.SIGKILL)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        how = f"exit code {self._process.returncode}" if ended_by_itself else "ended by the suite"
        said = self._output.decode("utf-8", "backslashreplace").strip()
        return f"{' '.join(self.words)}: {how}" + (f"\n{said}" if said else "")

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _read(self) -> None:
        pipe = self._process.stdout
        while pipe is not None and (data := await pipe.read(_PIECE)):
            self._output = (self._output + data)[-KEPT:]
