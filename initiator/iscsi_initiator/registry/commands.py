"""`iscsi-initiator settings`: what driver and service are told, and `.reg` files of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from iscsi_initiator.command_help import CONTEXT, FAILED, command_help
from iscsi_initiator.registry.giving import give
from iscsi_initiator.registry.table import ROWS, Home, Row
from iscsi_initiator.registry.taking import Change, Taken, stored, take
from iscsi_initiator.registry.text import REGEDIT4, VERSION_5, RegError, read_reg, write_reg
from iscsi_initiator.registry.values import type_name
from iscsi_initiator.store import State, Store, StoreError, default_folder, read_state
from iscsi_initiator.store.state import ForeignValue, SettingValue
from iscsi_protocol.eventlog.parts import printable, shortened

SIZE_LIMIT = 16 << 20
"""Bytes of a `.reg` file."""

Command = Callable[..., Any]


def _store(command: Command) -> Command:
    return click.option(
        "--store",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_folder,
        help="Folder of the service's store.",
    )(command)


def _instance(command: Command) -> Command:
    return click.option(
        "--instance",
        metavar="NNNN",
        callback=_four_digits,
        help="Number of the driver's instance below the device class.",
    )(command)


def _four_digits(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    del context, parameter
    if value is not None and not (len(value) == 4 and value.isascii() and value.isdecimal()):
        raise click.BadParameter("four digits, such as 0000")
    return value


@contextmanager
def _told(file: Path | None = None) -> Iterator[None]:
    """What goes wrong becomes one line and an exit code."""
    try:
        yield
    except RegError as error:
        text = f"{file}: {error}"
    except StoreError as error:
        text = str(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        text = f"{error.filename or file}: {error.strerror or error}"
    else:
        return
    click.echo(f"iscsi-initiator: {printable(text)}", err=True)
    sys.exit(FAILED)


@click.group(
    "settings",
    context_settings=CONTEXT,
    short_help="Show, import and export the settings of driver and service.",
    help=command_help(
        "Show, import and export the settings of driver and service.",
        "settings show",
        "settings import windows-host.reg",
        "settings export --defaults settings.reg",
    ),
)
def settings_group() -> None:
    """Show, import and export the settings of driver and service."""


@settings_group.command(
    short_help="Show every setting with its value and its default.",
    help=command_help(
        "Show every setting with its value and its default.",
        "settings show",
        "settings show --set --json",
        more="A setting counts from the next start of the service on.",
    ),
)
@click.option("--set", "only_set", is_flag=True, help="Only what was set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_store
def show(only_set: bool, as_json: bool, folder: Path) -> None:
    """Show every setting with its value and its default."""
    with _told():
        state = read_state(folder)
    rows = [row for row in ROWS if row.home is not Home.ENCRYPTED]
    if only_set:
        rows = [row for row in rows if stored(state, row) is not None]
    if as_json:
        kept = [_foreign_json(each) for each in state.settings.foreign]
        click.echo(json.dumps({"settings": [_json(state, row) for row in rows], "unknown": kept}, indent=2))
        return
    heads = ("section", "name", "type", "unit", "value", "default", "from")
    lines = [_cells(state, row) for row in rows]
    console = Console(no_color="NO_COLOR" in os.environ, highlight=False, markup=False)
    if console.is_terminal:
        table = Table(*heads, box=None)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    else:
        for line in lines:
            click.echo("\t".join(line))
    if state.settings.foreign:
        click.echo(f"iscsi-initiator: {len(state.settings.foreign)} values besides that no table knows", err=True)


@settings_group.command(
    "import",
    short_help="Take settings from a .reg FILE.",
    help=command_help(
        "Take settings from a .reg FILE.",
        "settings import windows-host.reg --dry-run",
        "settings import appendix-e.reg",
        more="The file is taken whole or not at all. Settings count from the next start of the service on.",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_instance
@_store
def import_command(file: Path, dry_run: bool, as_json: bool, instance: str | None, folder: Path) -> None:
    """Take settings from a .reg FILE."""
    with _told(file):
        with file.open("rb") as opened:
            data = opened.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise RegError(f"more than {SIZE_LIMIT} bytes")
        keys = read_reg(data)
        if dry_run:
            taken = take(keys, read_state(folder), instance=instance)
        else:
            with Store(folder) as store:
                taken = take(keys, store.state, instance=instance)
                store.put(taken.state)
    if as_json:
        click.echo(json.dumps(_taken_json(taken), indent=2))
        return
    for line in _taken_lines(taken):
        click.echo(printable(line))


@settings_group.command(
    "export",
    short_help="Write settings to a .reg FILE.",
    help=command_help(
        "Write settings to a .reg FILE, or to standard output where it is -.",
        "settings export settings.reg",
        "settings export --defaults --mounted winpe.reg",
        more="Secrets are not written.",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--defaults", is_flag=True, help="Also what was not set and has a default.")
@click.option("--mounted", is_flag=True, help="Under the hives PE_Soft and PE_Sys of a mounted Windows PE image.")
@click.option("--ansi", is_flag=True, help="In the older form, REGEDIT4, in the ANSI code page instead of UTF-16.")
@_instance
@_store
def export_command(file: Path, defaults: bool, mounted: bool, ansi: bool, instance: str | None, folder: Path) -> None:
    """Write settings to a .reg FILE."""
    with _told(file):
        keys = give(read_state(folder), instance=instance or "0000", defaults=defaults, mounted=mounted)
        data = write_reg(keys, REGEDIT4 if ansi else VERSION_5)
        if str(file) == "-":
            sys.stdout.buffer.write(data)
        else:
            file.write_bytes(data)


def _taken_lines(taken: Taken) -> Iterator[str]:
    news = [each for each in taken.changes if each.before != each.after]
    yield from (_change_line(each) for each in news)
    for value in taken.unknown:
        yield f"kept, unknown: {value.key}\\{value.name or '@'} ({type_name(value.type)})"
    for name in taken.encrypted:
        yield f"not taken, only Windows can decrypt it: {name}"
    if taken.installation:
        yield f"kept: {len(taken.installation)} values that concern the installation of Windows alone"
    same = len(taken.changes) - len(news)
    yield f"{len(news)} changed, {same} as they were; they count from the next start of the service on"


def _change_line(change: Change) -> str:
    row = change.row
    before, after = (
        f"{_text(row, row.default)} (default)" if value is None else _text(row, value)
        for value in (change.before, change.after)
    )
    return f"{row.section} {row.name}: {before} → {after}{f' {row.unit}' if row.unit in ('s', 'ms', 'bytes') else ''}"


def _text(row: Row, value: SettingValue | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        text = ", ".join(value)
    elif isinstance(value, int) and row.unit == "bits":
        text = f"{value:#010x}"
    else:
        text = str(value)
    return shortened(printable(text))


def _cells(state: State, row: Row) -> tuple[str, ...]:
    value = stored(state, row)
    shown, source = (row.default, "default") if value is None else (value, "set")
    cells = (_text(row, shown), _text(row, row.default), source)
    return (row.section, row.name, type_name(row.type), row.unit or "-", *cells)


def _json(state: State, row: Row) -> dict[str, Any]:
    value = stored(state, row)
    return {
        "section": row.section,
        "name": row.name,
        "type": type_name(row.type),
        "unit": row.unit,
        "value": row.default if value is None else value,
        "default": row.default,
        "set": value is not None,
    }


def _foreign_json(value: ForeignValue) -> dict[str, Any]:
    return {"key": value.key, "name": value.name, "type": type_name(value.type), "data": value.data.hex()}


def _taken_json(taken: Taken) -> dict[str, Any]:
    return {
        "settings": [
            {"section": each.row.section, "name": each.row.name, "before": each.before, "after": each.after}
            for each in taken.changes
        ],
        "unknown": [_foreign_json(each) for each in taken.unknown],
        "installation": [_foreign_json(each) for each in taken.installation],
        "encrypted": list(taken.encrypted),
    }
