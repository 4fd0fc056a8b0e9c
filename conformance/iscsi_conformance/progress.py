"""How far a run is: a bar with verdict counts on a terminal, one line a case in a pipe, nothing when the output is JSON."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from iscsi_conformance.result import CaseResult
from iscsi_conformance.verdict import Verdict

STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.UNSUPPORTED: "cyan",
    Verdict.SKIPPED: "dim",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold white on red",
}


class Progress:
    """A context manager whose `selected` and `done` the runner calls."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, emoji=False, quiet=quiet)
        self._counts: Counter[Verdict] = Counter()
        self._bar: Bar | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[counts]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("cases", total=None, counts="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def selected(self, count: int) -> None:
        """So many cases will run."""
        if self._bar is not None:
            self._bar.update(self._task, total=count)

    def done(self, result: CaseResult) -> None:
        """A case ended."""
        self._counts[result.verdict] += 1
        line = f"[{STYLES[result.verdict]}]{result.verdict.value:<12}[/] {result.id} ({result.duration_s:.2f} s)"
        if result.reason:
            line += f" [dim]{_plain(result.reason)}[/]"
        if self._bar is None:
            self._console.print(line, soft_wrap=True)
            return
        counts = "  ".join(
            f"[{STYLES[verdict]}]{verdict.value} {number}[/]" for verdict, number in sorted(self._counts.items())
        )
        if result.verdict not in (Verdict.PASS, Verdict.SKIPPED, Verdict.UNSUPPORTED):
            self._bar.console.print(line, soft_wrap=True)
        self._bar.update(self._task, advance=1, counts=counts)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
