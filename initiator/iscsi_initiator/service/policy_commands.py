"""iscsi-initiator service devices and policy: disks with their paths, and how requests are spread over these.

Exit codes: 0 done, 1 it failed, 2 usage, 3 no service is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from iscsi_initiator.command_help import CONTEXT, command_help
from iscsi_initiator.multipath import MAX_WEIGHT, LoadBalance
from iscsi_initiator.service import api
from iscsi_initiator.service.api.values import unique_id
from iscsi_initiator.service.asking import ask, fail, socket_option
from iscsi_initiator.status_codes import Refused, StatusCode

POLICIES = {policy.name.lower().replace("_", "-"): policy for policy in LoadBalance}


@click.command(
    context_settings=CONTEXT,
    short_help="Say which disks there are, and by which paths.",
    help=command_help(
        "Say which disks the sessions have, and by which paths.", "service devices", "service devices --json"
    ),
)
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def devices(path: Path, as_json: bool) -> None:
    """Say which disks there are, and by which paths."""
    found = ask(path, api.DeviceList).devices
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins({"devices": found}), indent=2))
        return
    for device in found:
        policy = LoadBalance(device.policy).name.lower().replace("_", "-")
        words = [policy, *(["no failback"] if not device.failback else []), *(["gone"] if device.removed else [])]
        click.echo(f"{device.legacy_name}\t{device.device}\t{device.identifier}\t{', '.join(words)}")
        for each in device.paths:
            weight = f", weight {each.weight}" if each.weight else ""
            click.echo(f"\tsession {each.session_id}\t{each.status}{weight}")


@click.command(
    context_settings=CONTEXT,
    short_help="Say how requests are spread over paths.",
    help=command_help(
        "Say how the requests to a disk are spread over its sessions, or those of a session over its connections.",
        "service policy PhysicalDrive0 round-robin",
        "service policy PhysicalDrive1 fail-over-only --no-failback",
        "service policy 1f-4000013700000001 weighted-paths --weight 1f-10000=1 --weight 1f-10001=2",
        more="NAME is a disk (PhysicalDrive0 or its interface name) or the id of a session. Until the service ends.",
    ),
)
@click.argument("name")
@click.argument("policy", type=click.Choice(list(POLICIES)), required=False)
@socket_option
@click.option(
    "--standby",
    "standbys",
    metavar="ID",
    multiple=True,
    help="This path is a standby; may be given more than once. With fail-over-only all but the first are, unless given.",
)
@click.option(
    "--weight", "weights", metavar="ID=W", multiple=True, help="Weight of a path; may be given more than once."
)
@click.option(
    "--failback/--no-failback",
    default=None,
    help="Whether a path that was active is so again when it is back; of a disk only. As it was, unless given.",
)
def policy(
    path: Path,
    name: str,
    policy: str | None,
    standbys: tuple[str, ...],
    weights: tuple[str, ...],
    failback: bool | None,
) -> None:
    """Say how requests are spread over paths."""
    if policy is None and (failback is None or standbys or weights):
        raise click.UsageError("a policy is needed")
    session = _unique_id(name)
    if session is not None and (failback is not None or policy is None):
        raise click.UsageError("--failback and --no-failback are of a disk")
    chosen = None if policy is None else POLICIES[policy]
    heavy, resting = dict(_weight(each) for each in weights), [_path_id("--standby", each) for each in standbys]
    special = bool(standbys or weights) or chosen is LoadBalance.FAIL_OVER_ONLY
    ids = _ids(path, name, session) if special else []
    paths = _paths(chosen, ids, resting, heavy)
    if session is not None:
        settings = tuple(api.PathSetting(connection_id=each, active=on, weight=weight) for each, on, weight in paths)
        ask(path, api.SetLoadBalancePolicy, session_id=session, policy=chosen, paths=settings)
    else:
        ways = tuple(api.DevicePath(session_id=each, active=on, weight=weight) for each, on, weight in paths)
        ask(path, api.SetDevicePolicy, device=name, policy=chosen, paths=ways, failback=failback)


def _unique_id(text: str) -> str | None:
    """An id of a session or connection in the form in which it is compared; None for what is none."""
    try:
        return unique_id(text, StatusCode.INVALID_PATH_ID)
    except Refused:
        return None


def _path_id(option: str, text: str) -> str:
    found = _unique_id(text)
    if found is None:
        raise click.UsageError(f"{option} {text}: the id of a session or connection is needed")
    return found


def _ids(path: Path, name: str, session: str | None) -> list[str]:
    """The paths that there are."""
    for each in ask(path, api.SessionList).sessions:
        if each.session_id == session:
            return [connection.connection_id for connection in each.connections]
    for device in ask(path, api.DeviceList).devices:
        if name in (device.device, device.legacy_name):
            return [way.session_id for way in device.paths]
    return fail(f"there is no disk or session {name}")


def _paths(
    policy: LoadBalance | None, ids: Sequence[str], standbys: Sequence[str], weights: Mapping[str, int]
) -> list[tuple[str, bool, int]]:
    """(id, active, weight) of each path, also of those that are named and not there, for the service to refuse."""
    resting = set(standbys)
    if policy is LoadBalance.FAIL_OVER_ONLY and not resting:
        resting = set(ids[1:])
    everyone = dict.fromkeys((*ids, *standbys, *weights))
    return [(each, each not in resting, weights.get(each, 0)) for each in everyone]


def _weight(text: str) -> tuple[str, int]:
    name, _, weight = text.rpartition("=")
    if not name or not (weight.isascii() and weight.isdigit()) or int(weight) > MAX_WEIGHT:
        raise click.UsageError(f"--weight {text}: the id of a path, =, and a weight of 0 to {MAX_WEIGHT}")
    return _path_id("--weight", name), int(weight)


def add(group: click.Group) -> None:
    """Put the commands of this module into `service`."""
    group.add_command(devices)
    group.add_command(policy)
