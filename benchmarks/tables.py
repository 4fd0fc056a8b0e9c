"""Tables: by rich on a terminal, plain columns in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console
from rich.table import Table

from measure import Spread


def show(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table: words to the left, figures to the right."""
    right = [column > 0 and any(row[column][:1].isdigit() for row in rows) for column in range(len(header))]
    if console.is_terminal:
        table = Table(title=title, title_justify="left")
        for name, to_the_right in zip(header, right, strict=True):
            table.add_column(name, justify="right" if to_the_right else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip_longest(header, *rows, fillvalue="")]
    print(f"\n{title}")
    for row in (header, *rows):
        cells = zip(row, widths, right, strict=True)
        print("  ".join(f"{cell:>{width}}" if r else f"{cell:<{width}}" for cell, width, r in cells).rstrip())


def figures(spread: Spread) -> str:
    """A speed, as `median (lowest–highest)`."""
    return f"{spread.median:,.0f} ({spread.low:,.0f}–{spread.high:,.0f})"


def factor(spread: Spread) -> str:
    """A ratio, likewise."""
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"
