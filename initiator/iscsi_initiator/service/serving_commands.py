"""iscsi-initiator attach without a URL, detach and attached: what the running service serves to other programs.

Exit codes: 0 done, 1 it failed, 2 usage, 3 no service is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from iscsi_initiator.command_help import CONTEXT, command_help
from iscsi_initiator.service import api
from iscsi_initiator.service.asking import ask, fail
from iscsi_initiator.service.place import default_socket

service_option = click.option(
    "--service",
    "service",
    type=click.Path(path_type=Path),
    default=default_socket,
    help="The service's Unix socket; $ISCSI_INITIATOR_SOCKET, else in the runtime folder.",
)
OWN_OPTIONS = frozenset({"devices", "service", "block_device"})
"""What `attach` takes without a URL alone."""

SHARED_OPTIONS = frozenset({"export", "read_only"})
"""What it takes with and without."""


def attach_options(command: Any) -> Any:
    """The options of `attach` that are for the service's devices."""
    for option in (
        click.option(
            "--block-device",
            metavar="FILE",
            help="Block device of this host, such as /dev/nbd0, that is to serve the device in turn; with one --device.",
        ),
        service_option,
        click.option(
            "--device",
            "devices",
            metavar="NAME",
            multiple=True,
            help="Device of the service; may be given more than once. All of its disks unless given.",
        ),
    ):
        command = option(command)
    return command


def attach_devices(
    service: Path, devices: Sequence[str], export: str | None, block_device: str | None, *, read_only: bool
) -> None:
    """Have the service serve these devices, all of them where none is named, and print where they are found."""
    if len(devices) != 1 and (export is not None or block_device is not None):
        raise click.UsageError("--export and --block-device go with one --device")
    there = () if devices else ask(service, api.ListAttached).devices
    wanted = devices or [
        each.device
        for each in ask(service, api.DeviceList).devices
        if each.device not in {attached.device for attached in there}
    ]
    if not wanted and not there:
        fail("the service has no disk")
    served = [
        ask(service, api.Attach, device=each, export=export, read_only=read_only, block_device=block_device).attached
        for each in wanted
    ]
    click.echo(json.dumps({"exports": [_shown(each) for each in (*there, *served)]}))


def _shown(entry: api.AttachedEntry) -> dict[str, Any]:
    return {
        "device": entry.device,
        "legacy_name": entry.legacy_name,
        "identifier": entry.identifier,
        "uri": _uri(entry),
        "socket": entry.socket,
        "name": entry.export,
        "size": entry.size,
        "block_size": entry.block_size,
        "read_only": entry.read_only,
        "block_device": entry.block_device,
        "clients": entry.clients,
    }


def _uri(entry: api.AttachedEntry) -> str:
    return f"nbd+unix:///{quote(entry.export, safe='')}?socket={quote(entry.socket)}"


@click.command(
    context_settings=CONTEXT,
    short_help="Have the service serve its devices no more.",
    help=command_help(
        "Have the service serve devices no more, all of them unless some are named.",
        "detach",
        "detach PhysicalDrive0 --force",
    ),
)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@service_option
@click.option("--force", is_flag=True, help="Also where they have clients.")
def detach(devices: tuple[str, ...], service: Path, force: bool) -> None:
    """Have the service serve its devices no more."""
    for each in devices or [entry.device for entry in ask(service, api.ListAttached).devices]:
        ask(service, api.Detach, device=each, force=force)


@click.command(
    context_settings=CONTEXT,
    short_help="Say which devices the service serves.",
    help=command_help("Say which devices the service serves, and where.", "attached", "attached --json"),
)
@service_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def attached(service: Path, as_json: bool) -> None:
    """Say which devices the service serves."""
    entries = ask(service, api.ListAttached).devices
    if as_json:
        click.echo(json.dumps({"exports": [_shown(each) for each in entries]}, indent=2))
        return
    for each in entries:
        clients = "1 client" if each.clients == 1 else f"{each.clients} clients"
        click.echo("\t".join((each.legacy_name, each.device, _uri(each), str(each.size), clients)))
