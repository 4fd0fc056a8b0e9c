"""iscsi-initiator: look at targets, and read, write and copy their disks.

Exit codes: 0 done, 1 it failed, 2 usage, 3 nothing answers at the portal.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from iscsi_initiator.access import Access, Command, access_of, default_log, shared, sharing
from iscsi_initiator.attach.plan import attach_options, plan_of
from iscsi_initiator.attach.running import attach as serve_devices
from iscsi_initiator.boot.commands import boot_group
from iscsi_initiator.client import Client, ClientError, ScsiError, SessionFailed
from iscsi_initiator.command_help import CONTEXT, FAILED
from iscsi_initiator.command_help import command_help as _help
from iscsi_initiator.copying import CopyError, DiskSide, FileSide, Side, copy
from iscsi_initiator.eventlog import LogReader, Remark
from iscsi_initiator.eventlog.show import event_json, event_lines
from iscsi_initiator.interrupts import LOOK_INTERVAL, interrupts
from iscsi_initiator.management_commands import invoke, query, watch
from iscsi_initiator.registry.commands import settings_group
from iscsi_initiator.service import policy_commands
from iscsi_initiator.service.command import service
from iscsi_initiator.service.serving_commands import (
    OWN_OPTIONS,
    SHARED_OPTIONS,
    attach_devices,
    attached,
    detach,
)
from iscsi_initiator.service.serving_commands import attach_options as service_attach_options
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.tracing.commands import trace_group
from iscsi_initiator.url import IscsiUrl, UrlError, is_url, parse_url
from iscsi_protocol.eventlog import LoggedEvent
from iscsi_protocol.scsi.inquiry import PeripheralDeviceType, PeripheralQualifier, StandardInquiry
from iscsi_protocol.scsi.lun import decode_lun

UNREACHABLE = 3
T = TypeVar("T")


def _url(text: str, *, lun: bool = True) -> IscsiUrl:
    try:
        url = parse_url(text)
    except UrlError as error:
        raise click.UsageError(str(error)) from error
    if lun and (url.target_name is None or url.lun is None):
        raise click.UsageError(f"{text}: a target's name and a LUN are needed: iscsi://host[:port]/iqn/lun")
    return url


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Do it; what goes wrong becomes one line and an exit code."""
    try:
        return asyncio.run(work)
    except SessionFailed as error:
        click.echo(f"iscsi-initiator: {error}", err=True)
        sys.exit(UNREACHABLE if error.unreachable else FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"iscsi-initiator: {where}{error.strerror or error}", err=True)
        sys.exit(FAILED)
    except (ClientError, CopyError, Refused) as error:
        click.echo(f"iscsi-initiator: {error}", err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        click.echo("iscsi-initiator: interrupted", err=True)
        sys.exit(FAILED)


@click.group(
    context_settings=CONTEXT,
    short_help="Look at iSCSI targets, and read, write and copy their disks.",
    help=_help(
        "Look at iSCSI targets, and read, write and copy their disks.",
        "ls iscsi://192.0.2.10",
        "info iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0",
        "copy iscsi://user@192.0.2.10/iqn.2026-01.org.example:disk/0 disk.img",
        more="A secret is asked for, or read from --secret-file; it never stands in a URL.",
    ),
)
@click.version_option(package_name="iscsi-conformance")
def main() -> None:
    """Look at iSCSI targets, and read, write and copy their disks."""


@main.command(
    "ls",
    short_help="List the targets of a portal, or the LUNs of a target.",
    help=_help(
        "List the targets of a portal, or the LUNs of a target.",
        "ls iscsi://192.0.2.10",
        "ls iscsi://192.0.2.10/iqn.2026-01.org.example:disk",
    ),
)
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared
def list_targets(url: str, as_json: bool, **options: Any) -> None:
    """List the targets of a portal, or the LUNs of a target."""
    access, parsed = access_of(options), _url(url, lun=False)
    if parsed.target_name is None:
        targets = _run(_targets(access, parsed))
        if as_json:
            found = [{"name": name, "addresses": addresses} for name, addresses in targets]
            click.echo(json.dumps({"portal": str(parsed.portal), "targets": found}, indent=2))
            return
        for name, addresses in targets:
            click.echo("\t".join([name, *addresses]))
        return
    luns = _run(_luns(access, parsed))
    if as_json:
        click.echo(json.dumps({"target": parsed.target_name, "luns": luns}, indent=2))
        return
    for lun in luns:
        click.echo("\t".join(str(lun[key]) for key in ("lun", "type", "size", "vendor", "product")))


async def _targets(access: Access, url: IscsiUrl) -> list[tuple[str, list[str]]]:
    async with AsyncExitStack() as stack:
        client = await access.open(stack, url)
        return await client.send_targets()


async def _luns(access: Access, url: IscsiUrl) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        client = await access.open(stack, url)
        structures = await client.report_luns()
        found = []
        for structure in structures:
            number = decode_lun(structure)
            if number is not None:
                client.use_lun(number)
                found.append(await _describe(client, await _inquiry(client)))
        return found


def _type_name(code: int) -> str:
    try:
        return PeripheralDeviceType(code).name.lower().replace("_", " ")
    except ValueError:
        return f"type {code:#04x}"


async def _inquiry(client: Client) -> StandardInquiry:
    data = await client.inquiry()
    return StandardInquiry.parse(data.ljust(StandardInquiry.LENGTH, b"\0"))


async def _describe(client: Client, standard: StandardInquiry) -> dict[str, Any]:
    described: dict[str, Any] = {
        "lun": client.lun,
        "type": _type_name(standard.peripheral_device_type),
        "vendor": standard.vendor.strip(),
        "product": standard.product.strip(),
        "revision": standard.revision.strip(),
        "blocks": None,
        "block_size": None,
        "size": None,
    }
    if standard.peripheral_device_type == PeripheralDeviceType.DIRECT_ACCESS:
        try:
            blocks, size = await client.capacity()
        except ScsiError as error:
            described["error"] = str(error)
        else:
            described |= {"blocks": blocks, "block_size": size, "size": blocks * size}
    return described


@main.command(
    short_help="Say what a LUN is, and what its target agreed to.",
    help=_help(
        "Say what a LUN is, and what its target agreed to.",
        "info iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0",
    ),
)
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared
def info(url: str, as_json: bool, **options: Any) -> None:
    """Say what a LUN is, and what its target agreed to."""
    access, parsed = access_of(options), _url(url)
    described = _run(_info(access, parsed))
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    width = max(map(len, described))
    for key, value in described.items():
        click.echo(f"{key.replace('_', ' '):{width}}  {'-' if value is None else value}")


async def _info(access: Access, url: IscsiUrl) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        client = await access.open(stack, url)
        described: dict[str, Any] = {"target": url.target_name, "portal": str(url.portal), "tsih": client.tsih}
        standard = await _inquiry(client)
        if standard.peripheral_qualifier == PeripheralQualifier.NOT_CAPABLE:
            raise ClientError(f"the target has no LUN {url.lun}; `iscsi-initiator ls` lists what there is")
        described |= await _describe(client, standard)
        agreed = client.parameters
        for name in (
            *("header_digest", "data_digest", "initial_r2t", "immediate_data", "first_burst_length"),
            *("max_burst_length", "max_outstanding_r2t", "error_recovery_level"),
            *("max_recv_data_segment_length_initiator", "max_recv_data_segment_length_target"),
        ):
            described[name] = getattr(agreed, name)
        return described


def _amounts(command: Command) -> Command:
    options = (
        click.option("--offset", type=click.IntRange(min=0), default=0, help="Bytes into the LUN."),
        click.option("--length", type=click.IntRange(min=0), help="Bytes to move; all that there is otherwise."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command(
    short_help="Read from a LUN into a FILE.",
    help=_help(
        "Read from a LUN into a FILE.",
        "read iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0 begin.img --length 1048576",
    ),
)
@click.argument("url")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_amounts
@shared
def read(url: str, file: Path, offset: int, length: int | None, **options: Any) -> None:
    """Read from a LUN into a FILE."""
    access = access_of(options)
    _url(url)
    _run(_copy(access, url, str(file), source_offset=offset, length=length))


@main.command(
    short_help="Write a FILE to a LUN.",
    help=_help(
        "Write a FILE to a LUN.",
        "write disk.img iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("url")
@_amounts
@shared
def write(file: Path, url: str, offset: int, length: int | None, **options: Any) -> None:
    """Write a FILE to a LUN."""
    access = access_of(options)
    _url(url)
    _run(_copy(access, str(file), url, target_offset=offset, length=length))


@main.command(
    "copy",
    short_help="Copy SOURCE to TARGET; each is an iscsi:// URL or a file.",
    help=_help(
        "Copy SOURCE to TARGET; each is an iscsi:// URL or a file.",
        "copy iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0 disk.img",
        "copy iscsi://192.0.2.10/iqn.2026-01.org.example:old/0 iscsi://192.0.2.11/iqn.2026-01.org.example:new/0",
    ),
)
@click.argument("source")
@click.argument("target")
@click.option("--source-offset", type=click.IntRange(min=0), default=0, help="Bytes into the source.")
@click.option("--target-offset", type=click.IntRange(min=0), default=0, help="Bytes into the target.")
@click.option("--length", type=click.IntRange(min=0), help="Bytes to move; all that there is otherwise.")
@shared
def copy_command(
    source: str, target: str, source_offset: int, target_offset: int, length: int | None, **options: Any
) -> None:
    """Copy SOURCE to TARGET; each is an iscsi:// URL or a file."""
    access = access_of(options)
    for side in (source, target):
        if is_url(side):
            _url(side)
    _run(_copy(access, source, target, source_offset=source_offset, target_offset=target_offset, length=length))


async def _copy(
    access: Access,
    source: str,
    target: str,
    *,
    source_offset: int = 0,
    target_offset: int = 0,
    length: int | None = None,
) -> None:
    async with AsyncExitStack() as stack:
        from_side = await _side(access, stack, source, writing=False)
        to_side = await _side(access, stack, target, writing=True)
        total = length if length is not None else (from_side.size or 0) - source_offset
        with _progress(f"{source} → {target}", total) as advance:
            await copy(
                from_side,
                to_side,
                source_offset=source_offset,
                target_offset=target_offset,
                length=length,
                progress=advance,
                start=asyncio.ensure_future,
            )


async def _side(access: Access, stack: AsyncExitStack, place: str, *, writing: bool) -> Side:
    if is_url(place):
        return await DiskSide.of(await access.open(stack, _url(place)))
    file = FileSide(Path(place), writing=writing)
    stack.callback(file.close)
    return file


class _progress:  # noqa: N801 - used like a function
    """A progress bar on a terminal, one line at the end in a pipe."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._moved = 0
        self._console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
        self._bar = None
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task(title, total=total)
        self._began = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        if self._bar is not None:
            self._bar.start()
        return self._advance

    def _advance(self, length: int) -> None:
        self._moved += length
        if self._bar is not None:
            self._bar.advance(self._task, length)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            seconds = time.monotonic() - self._began
            click.echo(f"{self._title}: {self._moved} bytes in {seconds:.2f} s", err=True)


@main.command(
    short_help="Serve LUNs to other programs, as NBD exports on a Unix socket.",
    help=_help(
        "Serve LUNs to other programs, as NBD exports on a Unix socket. Several URLs of one target are paths to its disks. "
        "Without a URL the running service serves its disks, and goes on when the command has ended.",
        "attach",
        "attach iscsi://192.0.2.10/iqn.2026-01.org.example:disk/0 --socket disk.sock",
        "attach iscsi://192.0.2.10/iqn.2026-01.org.example:disk iscsi://192.0.2.11/iqn.2026-01.org.example:disk "
        "--socket disk.sock --policy fail-over-only",
    ),
)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@service_attach_options
@attach_options
@sharing(retries=-1, hold_time=15)
def attach(urls: tuple[str, ...], **options: Any) -> None:
    """Serve LUNs to other programs, as NBD exports on a Unix socket."""
    _check_form(bool(urls))
    own = {name: options.pop(name) for name in OWN_OPTIONS}
    if not urls:
        attach_devices(**own, export=options["export"], read_only=options["read_only"])
        return
    plan, access = plan_of(options, len(urls)), access_of(options)
    parsed = [_url(url, lun=False) for url in urls]
    for url, text in zip(parsed, urls, strict=True):
        if url.target_name is None:
            raise click.UsageError(f"{text}: a target's name is needed: iscsi://host[:port]/iqn[/lun]")

    def ready(what: dict[str, Any]) -> None:
        click.echo(json.dumps(what))

    def complain(line: str) -> None:
        click.echo(f"iscsi-initiator: {line}", err=True)

    _run(serve_devices(access, parsed, plan, ready, complain))


def _check_form(urls: bool) -> None:
    """Raises click.UsageError for options of `attach` that are for the other form of it."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if (
            said
            and isinstance(parameter, click.Option)
            and name not in SHARED_OPTIONS
            and (name in OWN_OPTIONS) is urls
        ):
            raise click.UsageError(f"{parameter.opts[0]} goes {'without' if urls else 'with'} a URL")
    if urls and context.params["socket"] is None:
        raise click.UsageError("--socket is needed with a URL")


@main.command(
    short_help="Show logged events with their data.",
    help=_help(
        "Show logged events with their data.",
        "events",
        "events --follow --id 20 --id 34",
        more="What cannot be read is said on standard error, and makes the exit code 1 unless it is the beginning of a line.",
    ),
)
@click.option(
    "--log",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=default_log,
    help="The log; as --event-log of the other commands.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on as events come, until interrupted.")
@click.option(
    "--id", "ids", type=click.IntRange(min=1), multiple=True, help="Only this event; may be given more than once."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def events(path: Path, follow: bool, ids: tuple[int, ...], as_json: bool) -> None:
    """Show logged events with their data."""
    try:
        sound = _events(path, follow, ids, as_json)
    except KeyboardInterrupt:
        if not follow:
            raise
        return
    except BrokenPipeError:
        raise
    except OSError as error:
        click.echo(f"iscsi-initiator: {error.filename or path}: {error.strerror or error}", err=True)
        sys.exit(FAILED)
    if not sound:
        sys.exit(FAILED)


def _events(path: Path, follow: bool, ids: tuple[int, ...], as_json: bool) -> bool:
    """Show them; whether the log was without damage."""
    console = Console(no_color="NO_COLOR" in os.environ, soft_wrap=True, highlight=False, markup=False)
    reader = LogReader(path)
    sound = True

    def show(found: Iterable[LoggedEvent | Remark]) -> None:
        nonlocal sound
        for each in found:
            if isinstance(each, Remark):
                sound = sound and not each.damage
                click.echo(f"iscsi-initiator: {each.text}", err=True)
            elif ids and each.record.id not in ids:
                continue
            elif as_json:
                click.echo(json.dumps(event_json(each)))
            elif console.is_terminal:
                for line in event_lines(each):
                    console.print(line)
            else:
                click.echo("\n".join(line.plain for line in event_lines(each)))

    with closing(reader):
        if follow and not path.exists():
            click.echo(f"iscsi-initiator: waiting for {path}", err=True)
        if follow:
            with interrupts() as interrupted:
                while not interrupted():
                    with suppress(FileNotFoundError):
                        show(reader.read())
                    time.sleep(LOOK_INTERVAL)
            return True
        show(reader.read())
        show(reader.finish())
    return sound


policy_commands.add(service)
main.add_command(service)
main.add_command(detach)
main.add_command(attached)
main.add_command(settings_group)
main.add_command(boot_group)
for each in (query, invoke, watch):
    main.add_command(each)
main.add_command(trace_group)


if __name__ == "__main__":
    main()
