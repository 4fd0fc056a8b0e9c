"""Plots of a connection's load: latency, throughput and queue depth over one axis of time, as geometry for an SVG.

Every bucket is a step of its own width. Where no command ended there is no latency, and the line is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from iscsi_captures.review.model import Load
from iscsi_captures.review.units import RATE_UNITS, TIME_UNITS, duration, number, rate, round_steps, unit_for

WIDTH = 1120
LEFT, RIGHT = 72, 12
TOP = 40
PANEL, BETWEEN = 118, 34
BOTTOM = 40
PLOT = WIDTH - LEFT - RIGHT
TABLE_ROWS = 40
"""Rows of the table beside a plot, each of which may stand for several buckets."""
_HEADROOM = 1.08


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in pixels of the drawing, and its number."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line or a filled area. kind: names its style. says: for the legend."""

    kind: str
    path: str
    says: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity. top, bottom: pixels."""

    title: str
    top: int
    bottom: int
    ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened at a time, in seconds since the epoch. kind: one of GRAVITY. link: within the page, or ""."""

    time: float
    kind: str
    says: str
    link: str


@dataclass(frozen=True, slots=True)
class Line:
    """An incident at its place; where several share it, the gravest, and how many they are."""

    at: float
    incident: Incident
    count: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """Some buckets in numbers, ready to print."""

    time: str
    commands: int
    latency: str
    longest: str
    rate_in: str
    rate_out: str
    depth: int


@dataclass(frozen=True, slots=True)
class Plot:
    """The drawing of one connection. readout: the buckets as the page's script wants them, times since the capture began."""

    connection: int
    height: int
    panels: tuple[Panel, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    table: tuple[TableRow, ...]
    readout: dict[str, object]


GRAVITY = ("MUST", "SHOULD", "ADVICE", "gap", "event")
"""Kinds of incidents, the gravest first."""


def plot(load: Load, origin: float, incidents: Iterable[Incident] = ()) -> Plot:
    """Draw a load that has at least one bucket; times on the axis count from `origin` (seconds since the epoch)."""
    count = len(load.commands)
    end = load.start + count * load.width
    rates_in = [value / load.width for value in load.bytes_in]
    rates_out = [value / load.width for value in load.bytes_out]
    panels = (
        _panel(
            0,
            "latency of commands",
            max(load.latency_max, default=0.0),
            TIME_UNITS,
            (
                ("latency-max", "longest", load.latency_max, load.commands),
                ("latency", "mean", load.latency, load.commands),
            ),
        ),
        _panel(
            1,
            "throughput",
            max(*rates_in, *rates_out, 0.0),
            RATE_UNITS,
            (("in area", "to the initiator", rates_in, None), ("out", "to the target", rates_out, None)),
        ),
        _panel(
            2,
            "queue depth",
            float(max(load.depth, default=0)),
            ((1.0, "commands"),),
            (("depth area", "most commands open at once", load.depth, None),),
        ),
    )

    def place(time: float) -> float:
        return LEFT + PLOT * (time - load.start) / (end - load.start)

    seconds = round_steps(load.start - origin, end - origin, 10)
    return Plot(
        connection=load.connection,
        height=panels[-1].bottom + BOTTOM,
        panels=panels,
        ticks=tuple(Tick(round(place(at + origin), 1), f"{at:.10g}") for at in seconds),
        lines=_lines(incidents, place),
        table=tuple(_table(load, origin)),
        readout={
            "left": LEFT,
            "plot": PLOT,
            "start": round(load.start - origin, 6),
            "width": load.width,
            "commands": load.commands,
            "in": load.bytes_in,
            "out": load.bytes_out,
            "depth": load.depth,
            "latency": [round(value, 7) for value in load.latency],
            "longest": [round(value, 7) for value in load.latency_max],
        },
    )


_Series = tuple[str, str, Sequence[float], Sequence[int] | None]


def _panel(
    place: int, title: str, largest: float, units: Sequence[tuple[float, str]], series: Sequence[_Series]
) -> Panel:
    top = TOP + place * (PANEL + BETWEEN)
    bottom = top + PANEL
    size, name = unit_for(largest, units)
    whole = len(units) == 1
    high = (largest / size or 1.0) * _HEADROOM

    def level(value: float) -> float:
        return bottom - PANEL * min(value / size, high) / high

    ticks = tuple(Tick(round(level(at * size), 1), number(at)) for at in round_steps(0.0, high, 4, whole=whole))
    curves = tuple(
        Curve(
            kind,
            _steps([level(value) for value in values], counted, bottom if kind.endswith(" area") else None),
            says,
        )
        for kind, says, values, counted in series
    )
    return Panel(f"{title}, {name}", top, bottom, ticks, curves)


def _steps(levels: Sequence[float], counted: Sequence[int] | None, ground: int | None) -> str:
    """The path of a step curve. counted: a bucket with 0 has no value. ground: fill down to it."""
    width = PLOT / len(levels)
    path: list[str] = []
    open_before = False
    for index, level in enumerate(levels):
        if counted is not None and not counted[index]:
            open_before = False
            continue
        if not open_before:
            path.append(f"M{LEFT + index * width:.1f} {ground if ground is not None else format(level, '.1f')}")
        if index == 0 or not open_before or format(level, ".1f") != format(levels[index - 1], ".1f"):
            path.append(f"V{level:.1f}")
            path.append(f"H{LEFT + (index + 1) * width:.1f}")
        else:
            # The level goes on: the last step becomes longer.
            path[-1] = f"H{LEFT + (index + 1) * width:.1f}"
        open_before = True
    if ground is not None and path:
        path.append(f"V{ground}Z")
    return "".join(path)


def _lines(incidents: Iterable[Incident], place: Callable[[float], float]) -> tuple[Line, ...]:
    """One line a pixel at most."""
    columns: dict[int, list[Incident]] = {}
    for incident in incidents:
        at = round(place(incident.time))
        columns.setdefault(min(max(at, LEFT), LEFT + PLOT), []).append(incident)
    return tuple(
        Line(at, min(group, key=lambda each: GRAVITY.index(each.kind)), len(group))
        for at, group in sorted(columns.items())
    )


def _table(load: Load, origin: float) -> Iterable[TableRow]:
    count = len(load.commands)
    step = -(-count // TABLE_ROWS)
    for first in range(0, count, step):
        part = slice(first, first + step)
        commands, width = sum(load.commands[part]), load.width * len(load.commands[part])
        weighed = sum(mean * ended for mean, ended in zip(load.latency[part], load.commands[part], strict=True))
        yield TableRow(
            time=f"{load.start - origin + first * load.width:.6f}",
            commands=commands,
            latency=duration(weighed / commands) if commands else "",
            longest=duration(max(load.latency_max[part])) if commands else "",
            rate_in=rate(sum(load.bytes_in[part]) / width),
            rate_out=rate(sum(load.bytes_out[part]) / width),
            depth=max(load.depth[part]),
        )
