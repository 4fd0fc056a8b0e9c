"""How far the reading is: a bar on stderr, on a terminal alone."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LONG = 16 << 20
"""Bytes. What is shorter is over before a bar can be read."""


class Progress:
    """A context manager whose `read` the reading calls."""

    def __init__(self, console: Console | None = None) -> None:
        """console: where the bar goes; stderr unless said."""
        self._console = console or Console(stderr=True)
        self._bar: tuple[Bar, TaskID] | None = None

    def __enter__(self) -> Self:
        """Nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar[0].stop()

    def read(self, done: int, total: int | None) -> None:
        """So many bytes were read, of so many; None: nobody knows."""
        if not self._console.is_terminal or (total is not None and total < LONG):
            return
        if self._bar is None:
            self._bar = self._begin(total)
        bar, task = self._bar
        bar.update(task, completed=done, total=total)

    def _begin(self, total: int | None) -> tuple[Bar, TaskID]:
        # It takes a while to load, and most reviews show none.
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar  # noqa: PLC0415

        bar = Bar(
            TextColumn("reading"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        bar.start()
        return bar, bar.add_task("reading", total=total)
