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
_LAST_WORDS = 0.2
"""Seconds for the rest of the output once the group has ended: what left the group may hold the pipe for good."""


class _Output(asyncio.Protocol):
    """The reading end of the command's output."""

    def __init__(self) -> None:
        self.kept = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Keep the last of it."""
        self.kept = (self.kept + data)[-KEPT:]

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody writes any more."""
        self.ended.set()


class Running:
    """One command. words: its command line."""

    def __init__(
        self,
        words: Sequence[str],
        process: asyncio.subprocess.Process,
        pipe: asyncio.ReadTransport,
        output: _Output,
    ) -> None:
        self.words = list(words)
        self._process = process
        self._pipe = pipe
        self._output = output

    @classmethod
    async def start(cls, words: Sequence[str]) -> Running:
        """Start it. Raises OSError where it cannot be started."""
        # A pipe of our own: one of asyncio's is closed only when all who have the other end have gone.
        reading, writing = os.pipe()
        pipe, output = await asyncio.get_running_loop().connect_read_pipe(_Output, os.fdopen(reading, "rb", 0))
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(writing)
        return cls(words, process, pipe, output)

    @property
    def over(self) -> bool:
        """Whether the command has ended; what it left running in its group may still be there."""
        return self._process.returncode is not None

    async def stop(self) -> str:
        """End the whole group, where it has not ended, and say in a line or more what came of it."""
        ended_by_itself = self.over
        self._signal(signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDING):
                    await self._process.wait()
        finally:
            self._signal(signal.SIGKILL)
        await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._output.ended.wait()
        self._pipe.close()
        how = f"exit code {self._process.returncode}" if ended_by_itself else "ended by the suite"
        said = self._output.kept.decode("utf-8", "backslashreplace").strip()
        return f"{' '.join(self.words)}: {how}" + (f"\n{said}" if said else "")

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
