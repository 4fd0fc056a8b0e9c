"""`iscsi-initiator trace`: start, stop and query traces of the service, and show what is in their files (guide, Appendix A).

Exit codes: 0 done, 1 refused or damaged, 2 usage, 3 no service is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from iscsi_initiator.command_help import CONTEXT, FAILED, command_help
from iscsi_initiator.service import api
from iscsi_initiator.service.asking import answer_to, complain, socket_option
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.tracing.debuglog import line_of
from iscsi_initiator.tracing.flags import (
    LEVELS,
    PROCTHREADIDS,
    TIMESTAMP,
    TRACE_FLAGS,
    effective,
    name_of,
    names_of,
    parse_flags,
)
from iscsi_initiator.tracing.guids import read_providers
from iscsi_initiator.tracing.layout import LayoutError
from iscsi_initiator.tracing.reader import Remark, TraceReader
from iscsi_initiator.tracing.teller import Message
from iscsi_protocol.eventlog.parts import printable


def _flags(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A mask as `parse_flags` takes it."""
    del context, parameter
    try:
        return None if value is None else parse_flags(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    "trace",
    context_settings=CONTEXT,
    short_help="Trace what the initiator service does.",
    help=command_help(
        "Trace what the initiator service does, into a file.",
        "trace start iScsiTrace --buffers 16 256 --buffer-size 64 --output iScsiTr.log --flags 0x006f0007",
        "trace query iScsiTrace",
        "trace stop iScsiTrace",
        "trace show iScsiTr.log",
    ),
)
def trace_group() -> None:
    """Trace what the initiator service does."""


@trace_group.command(
    context_settings=CONTEXT,
    short_help="Start a trace.",
    help=command_help(
        "Start a trace with the given NAME.",
        "trace start iScsiTrace -nb 16 256 -bs 64 -o iScsiTr.log -pf trguid.ctl",
        "trace start wire --output wire.trace --flags recurring,tcp --circular --maximum-size 65536",
        more="Flags are a mask or names of the guide's SPEW table. A trace ends with the service, or when it is stopped.",
    ),
)
@click.argument("name")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; one that is there has to be of an older trace.",
)
@click.option("--flags", callback=_flags, help=f"What to tell of; {TRACE_FLAGS:#010x} unless said.")
@click.option("--level", type=click.IntRange(LEVELS[0], LEVELS[-1]), help="1 fatal to 5 all; 0, unless said, for any.")
@click.option(
    "--providers",
    "-pf",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the driver's GUID, flags and level, instead of --flags and --level.",
)
@click.option(
    "--buffers", "-nb", type=(int, int), default=(16, 256), show_default=True, help="Buffers, at least and most."
)
@click.option(
    "--buffer-size", "-bs", "buffer_kib", type=int, default=64, show_default=True, help="KiB of a buffer, 4 to 1024."
)
@click.option("--circular", is_flag=True, help="Overwrite the oldest buffers of the file when it has its size.")
@click.option("--maximum-size", "maximum_kib", type=int, default=0, help="KiB of the file; 0, unless said, for any.")
@click.option(
    "--flush-time", type=float, default=1.0, show_default=True, help="Seconds after which buffers are written."
)
@_json
@socket_option
def start(
    path: Path,
    name: str,
    output: Path,
    flags: int | None,
    level: int | None,
    providers: Path | None,
    buffers: tuple[int, int],
    as_json: bool,
    **rest: Any,
) -> None:
    """Start a trace."""
    if providers is not None:
        if flags is not None or level is not None:
            raise click.UsageError("--providers has flags and level already")
        try:
            flags, level = read_providers(providers)
        except OSError as error:
            raise click.UsageError(f"{providers}: {error.strerror}") from error
        except ValueError as error:
            raise click.UsageError(f"{providers}: {error}") from error
    try:
        request = api.StartTrace(
            name=name,
            path=str(output.absolute()),
            flags=TRACE_FLAGS if flags is None else flags,
            level=level or 0,
            minimum_buffers=buffers[0],
            maximum_buffers=buffers[1],
            **rest,
        )
    except Refused as error:
        raise click.UsageError(error.reason) from error
    entry = answer_to(path, request).trace
    if as_json:
        click.echo(json.dumps(_entry_json(entry), indent=2))
    else:
        click.echo(f"{entry.name}: started, flags {entry.flags:#010x}, level {entry.level}, to {entry.path}")


@trace_group.command(
    context_settings=CONTEXT,
    short_help="Stop a trace.",
    help=command_help("Stop the trace with the given NAME; what it has in memory is written.", "trace stop iScsiTrace"),
)
@click.argument("name")
@_json
@socket_option
def stop(path: Path, name: str, as_json: bool) -> None:
    """Stop a trace."""
    entry = answer_to(path, _request(api.StopTrace, name)).trace
    if as_json:
        click.echo(json.dumps(_entry_json(entry), indent=2))
    else:
        click.echo(f"{entry.name}: stopped, {entry.messages} messages, {entry.lost} lost, {entry.path}")
    if entry.failure:
        complain(f"{entry.path}: {entry.failure}")
        sys.exit(FAILED)


@trace_group.command(
    context_settings=CONTEXT,
    short_help="Say which traces run, or how one is.",
    help=command_help(
        "Say which traces run, or how the one with the given NAME is.", "trace query", "trace query wire"
    ),
)
@click.argument("name", required=False)
@_json
@socket_option
def query(path: Path, name: str | None, as_json: bool) -> None:
    """Say which traces run, or how one is."""
    entries = answer_to(path, _request(api.QueryTrace, name)).traces
    if as_json:
        click.echo(json.dumps({"traces": [_entry_json(entry) for entry in entries]}, indent=2))
    elif name is None:
        for entry in entries:
            click.echo("\t".join((entry.name, f"{entry.flags:#010x}", str(entry.level), entry.path)))
    else:
        for label, value in _extended(entries[0]):
            click.echo(f"{label + ':':<20} {value}")


def _request(kind: type[Any], name: str | None) -> Any:
    try:
        return kind(name=name)
    except Refused as error:
        raise click.UsageError(error.reason) from error


def _extended(entry: api.TraceEntry) -> Iterator[tuple[str, str]]:
    yield "Name", entry.name
    yield "Status", "running"
    yield "Started", _when(entry.started)
    yield "Flags", f"{entry.flags:#010x} ({', '.join(names_of(entry.flags))})"
    yield "Level", str(entry.level)
    yield "Log file", entry.path
    yield "Log mode", "circular" if entry.circular else "sequential"
    yield "Maximum size", f"{entry.maximum_kib} KiB" if entry.maximum_kib else "any"
    yield "File size", f"{entry.file_size} bytes at most"
    yield "Buffer size", f"{entry.buffer_kib} KiB"
    yield "Buffers", f"{entry.minimum_buffers} to {entry.maximum_buffers}"
    yield "Buffers in memory", f"{entry.buffers}, {entry.free_buffers} free"
    yield "Buffers written", str(entry.buffers_written)
    yield "Flush time", f"{entry.flush_time:g} s"
    yield "Messages", str(entry.messages)
    yield "Messages lost", str(entry.lost)
    yield "Write failure", entry.failure or "none"


def _entry_json(entry: api.TraceEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@trace_group.command(
    context_settings=CONTEXT,
    short_help="Show the messages in a trace's FILE.",
    help=command_help(
        "Show the messages in a trace's FILE, the oldest first; the trace may still run.",
        "trace show iScsiTr.log",
        "trace show iScsiTr.log --flags error,tcp --json",
        more="What is missing is said on standard error; exit code 1 where the file is damaged.",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--flags", callback=_flags, default="all", help="Only messages of these flags.")
@click.option("--level", type=click.IntRange(LEVELS[0], LEVELS[-1]), default=0, help="Only messages up to this level.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, the first about the trace itself.")
def show(file: Path, flags: int, level: int, as_json: bool) -> None:
    """Show the messages in a trace's file."""
    sound, mask = True, effective(flags, level) if level else flags
    try:
        with closing(TraceReader(file)) as reader:
            click.echo(json.dumps(_header_json(reader)) if as_json else _header_line(reader))
            for each in reader.read():
                if isinstance(each, Remark):
                    sound = sound and not each.damage
                    complain(f"{file}: {each.text}")
                elif each.mask & mask:
                    line = printable(line_of(each, TIMESTAMP | PROCTHREADIDS))
                    click.echo(json.dumps(_message_json(each)) if as_json else line)
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{file}: {error.strerror or error}")
        sound = False
    except LayoutError as error:
        complain(f"{file}: {error}")
        sound = False
    if not sound:
        sys.exit(FAILED)


def _header_line(reader: TraceReader) -> str:
    header, ended = reader.header, reader.closing
    until = "" if ended is None else f" to {_when(ended.ended / 1e9)}"
    what = f"flags {header.flags:#010x}, level {header.level}"
    return f"# {printable(header.name)}, {_when(header.started / 1e9)}{until}, {what}"


def _header_json(reader: TraceReader) -> dict[str, Any]:
    header, ended = reader.header, reader.closing
    return {
        "trace": header.name,
        "flags": header.flags,
        "level": header.level,
        "mode": header.mode.name.lower(),
        "process": header.process,
        "started": _when(header.started / 1e9),
        "stopped": None if ended is None else _when(ended.ended / 1e9),
        "lost": None if ended is None else ended.lost,
    }


def _message_json(message: Message) -> dict[str, Any]:
    seconds, nanoseconds = divmod(message.time, 1_000_000_000)
    return {
        "time": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z",
        "process": message.process,
        "thread": message.thread,
        "flag": name_of(message.mask),
        "text": message.text,
    }
