"""iscsi-initiator service: start, stop and look at the initiator service.

Exit codes: 0 done, 1 it failed, 2 usage, 3 no service is there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
from importlib.resources import files
from pathlib import Path

import click

from iscsi_initiator.access import default_log
from iscsi_initiator.command_help import CONTEXT, command_help
from iscsi_initiator.service import api
from iscsi_initiator.service.asking import ask, complain, fail, socket_option
from iscsi_initiator.service.process import Place, serve
from iscsi_initiator.service.startup import LOGIN_TIME, StartFailed
from iscsi_initiator.store import KeyringKey, default_folder


def _help(summary: str, *examples: str, more: str = "") -> str:
    return command_help(summary, *(f"service {example}" for example in examples), more=more)


@click.group(
    "service",
    context_settings=CONTEXT,
    short_help="Start, stop and look at the initiator service.",
    help=_help("Start, stop and look at the initiator service, which iscsicli speaks to.", "start", "status", "stop"),
)
def service() -> None:
    """Start, stop and look at the initiator service."""


def _adapters(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, _, argument = text.partition("=")
        if not name or name in found:
            raise click.UsageError(f"--adapter {text}: NAME or NAME=TEXT, each name once")
        found[name] = argument
    return found


def _addresses(given: tuple[str, ...]) -> tuple[str, ...]:
    for text in given:
        try:
            ipaddress.ip_address(text)
        except ValueError as error:
            raise click.UsageError(f"--address {text}: no IP address") from error
    return given


def _endpoint(text: str) -> tuple[str, int]:
    """Host and port of --metrics."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError as error:
        raise click.UsageError(f"--metrics {text}: [HOST:]PORT with an IP address and a number") from error
    if not 0 <= number <= 65535:
        raise click.UsageError(f"--metrics {text}: a port is 0 to 65535")
    return host, number


@service.command(
    context_settings=CONTEXT,
    short_help="Be the service, in the foreground, until it is stopped.",
    help=_help(
        "Be the service, in the foreground, until it is stopped by SIGTERM, SIGINT or `stop`.",
        "start",
        "start --store /var/lib/iscsi-initiator --address 192.0.2.5 --address 192.0.2.6",
        more='A line {"ready": SOCKET} is printed when persistent logins are made and bound devices are there; '
        'with --metrics, "metrics" in it says where they are. '
        "Where $NOTIFY_SOCKET is set, systemd is told the same.",
    ),
)
@socket_option
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_folder,
    help="Folder of what outlives the service; $ISCSI_INITIATOR_STORE, else in the state folder.",
)
@click.option("--keyring", is_flag=True, help="Keep the key for secrets in the system's keyring, not in a file.")
@click.option(
    "--event-log",
    type=click.Path(path_type=Path, dir_okay=False),
    default=default_log,
    help="File to append events to.",
)
@click.option(
    "--address",
    "addresses",
    metavar="IP",
    multiple=True,
    help="Address of a port of the software initiator; the first is port 0. Any address unless given.",
)
@click.option(
    "--adapter",
    "adapters",
    metavar="NAME[=TEXT]",
    multiple=True,
    help="Plug-in to load as an adapter, by its entry point, with what it is to be told.",
)
@click.option(
    "--boot-table",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Image of an iSCSI boot firmware table to start from.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Where Prometheus may ask for the counters over HTTP; HOST is 127.0.0.1 unless given.",
)
@click.option(
    "--login-time",
    type=click.FloatRange(min=0),
    default=LOGIN_TIME,
    show_default=True,
    help="Seconds to wait for persistent logins.",
)
def start(
    path: Path,
    store: Path,
    keyring: bool,
    event_log: Path,
    addresses: tuple[str, ...],
    adapters: tuple[str, ...],
    login_time: float,
    boot_table: Path | None,
    metrics: str | None,
) -> None:
    """Be the service, in the foreground, until it is stopped."""
    try:
        image = None if boot_table is None else boot_table.read_bytes()
    except OSError as error:
        fail(f"{boot_table}: {error.strerror}")
    place = Place(
        store=store,
        socket=path,
        event_log=event_log,
        keys=KeyringKey(str(store.resolve())) if keyring else None,
        addresses=_addresses(addresses),
        adapters=_adapters(adapters),
        login_time=login_time,
        boot_table=image,
        metrics=None if metrics is None else _endpoint(metrics),
    )
    told = {"ready": str(path)}

    def measured(address: tuple[str, int]) -> None:
        host, port = address
        told["metrics"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    try:
        asyncio.run(serve(place, lambda: click.echo(json.dumps(told)), complain, measured))
    except StartFailed as error:
        fail(str(error))


@service.command(
    context_settings=CONTEXT,
    short_help="End the service.",
    help=_help("Log out of all sessions and end the service.", "stop", "stop --force"),
)
@socket_option
@click.option("--force", is_flag=True, help="Also where devices are in use.")
def stop(path: Path, force: bool) -> None:
    """End the service."""
    ask(path, api.StopService, force=force)


@service.command(
    context_settings=CONTEXT,
    short_help="Say how the service is.",
    help=_help("Say how the service is.", "status", "status --json"),
)
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(path: Path, as_json: bool) -> None:
    """Say how the service is."""
    state = ask(path, api.ServiceStatus)
    if as_json:
        shown = {"state": state.state, "pid": state.pid, "node_name": state.node_name, "sessions": state.sessions}
        shown |= {"trouble": f"0x{state.trouble:08X}" if state.trouble else None}
        shown |= {"message": state.message, "versions": {each.name: each.version for each in state.versions}}
        click.echo(json.dumps(shown, indent=2))
        return
    sessions = "1 session" if state.sessions == 1 else f"{state.sessions} sessions"
    click.echo(f"{state.state}, process {state.pid}, {sessions} as {state.node_name}")
    if state.message:
        click.echo(state.message)


@service.command(
    context_settings=CONTEXT,
    short_help="Print a unit file for systemd.",
    help=_help("Print a unit file for systemd.", "unit > /etc/systemd/system/iscsi-initiator.service"),
)
def unit() -> None:
    """Print a unit file for systemd."""
    text = (files("iscsi_initiator") / "share" / "iscsi-initiator.service").read_text(encoding="utf-8")
    click.echo(text.replace("@EXECUTABLE@", str(Path(sys.argv[0]).resolve())), nl=False)
