"""`iscsi-target isns-server` and `iscsi-target isns-domains`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from iscsi_protocol.fault import UnknownFault
from iscsi_target.config import ConfigError
from iscsi_target.isns.config import IsnsConfig, load_isns_config
from iscsi_target.isns.faults import policy_of
from iscsi_target.isns.shell import IsnsShell

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
ANSWER_TIME = 10.0
"""Seconds that a server may take for an answer on its control socket."""


class _Stop(click.ClickException):
    """One clear line and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click declares it for the class and reads it from the instance


@click.command("isns-server")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file; the options below stand above it.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen, TCP and UDP; port 0 is any.")
@click.option("--database", type=click.Path(path_type=Path), help="SQLite file of what outlives the process.")
@click.option("--control", type=click.Path(path_type=Path), help="Unix socket for isns-domains.")
@click.option("--control-node", "control_nodes", multiple=True, metavar="NAME", help="A node that may do everything.")
@click.option("--default-domain", is_flag=True, help="New nodes join domain 1, which is enabled.")
@click.option("--fault", "fault_ids", multiple=True, metavar="ID", help="A named fault that the server shows.")
def isns_server(
    config: Path | None,
    listen: str | None,
    database: Path | None,
    control: Path | None,
    control_nodes: Sequence[str],
    default_domain: bool,
    fault_ids: Sequence[str],
) -> None:
    """Serve iSNS until SIGTERM or SIGINT. Prints one line of JSON with the address when it is ready.

    Exit codes: 0 stopped by a signal, 2 usage, 3 an address or file that cannot be used.
    """
    try:
        made = load_isns_config(config) if config else IsnsConfig()
        changes: dict[str, Any] = {
            "listen": made.listen if listen is None else listen,
            "database": str(database) if database else made.database,
            "control": str(control) if control else made.control,
            "control_nodes": [*made.control_nodes, *control_nodes],
            "default_domain": default_domain or made.default_domain,
            "policy": policy_of(fault_ids),
        }
        kept = {name: getattr(made, name) for name in made.__struct_fields__ if name not in changes}
        made = IsnsConfig(**changes, **kept)
    except (ConfigError, UnknownFault, ValueError) as error:
        raise _Stop(str(error), EXIT_USAGE) from None
    try:
        asyncio.run(_serve(made))
    except (OSError, ConfigError) as error:
        raise _Stop(str(error), EXIT_ENVIRONMENT) from None


async def _serve(config: IsnsConfig) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    shell = IsnsShell(config)
    endpoint = await shell.start()
    click.echo(json.dumps({"ready": [str(endpoint)]}))
    shell.on_failure(stopped.set)
    await stopped.wait()
    await shell.stop()
    if shell.failure is not None:
        raise shell.failure


@click.group("isns-domains")
@click.option("--control", required=True, type=click.Path(path_type=Path), help="The server's control socket.")
@click.pass_context
def isns_domains(context: click.Context, control: Path) -> None:
    """Manage the discovery domains of a running iSNS server.

    Exit codes: 0 done, 1 refused by the server, 2 usage, 3 no server at the socket.
    """
    context.obj = control


def ask(control: Path, operation: dict[str, Any]) -> dict[str, Any]:
    """Send one operation to a server and give its answer. Raises click.ClickException where it cannot be had."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIME)
            connection.connect(str(control))
            connection.sendall(json.dumps(operation).encode() + b"\n")
            line = connection.makefile("rb").readline()
    except OSError as error:
        raise _Stop(f"{control}: {error.strerror or error}", EXIT_ENVIRONMENT) from None
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise _Stop(f"{control}: no answer", EXIT_ENVIRONMENT) from None
    if answer["status"]:
        raise _Stop(answer["message"], 1)
    del answer["status"]
    return answer


def _tell(control: Path, operation: dict[str, Any]) -> None:
    answer = ask(control, operation)
    if answer:
        click.echo(json.dumps(answer))


@isns_domains.command("list")
@click.pass_obj
def list_command(control: Path) -> None:
    """Print domains and sets as JSON."""
    _tell(control, {"op": "list"})


@isns_domains.command("nodes")
@click.pass_obj
def nodes_command(control: Path) -> None:
    """Print the registered nodes as JSON."""
    _tell(control, {"op": "nodes"})


@isns_domains.command("create")
@click.argument("name", required=False, default="")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="A member node.")
@click.option("--portal", "portals", multiple=True, metavar="HOST:PORT", help="A member portal.")
@click.pass_obj
def create_command(control: Path, name: str, nodes: Sequence[str], portals: Sequence[str]) -> None:
    """Create a domain and print its number. It counts once it is in an enabled set."""
    _tell(control, {"op": "put-domain", "name": name, "nodes": list(nodes), "portals": list(portals)})


@isns_domains.command("add")
@click.argument("number", type=int)
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="A node that joins.")
@click.option("--portal", "portals", multiple=True, metavar="HOST:PORT", help="A portal that joins.")
@click.pass_obj
def add_command(control: Path, number: int, nodes: Sequence[str], portals: Sequence[str]) -> None:
    """Add members to a domain."""
    _need(nodes or portals, "--node or --portal is missing")
    _tell(control, {"op": "put-domain", "number": number, "nodes": list(nodes), "portals": list(portals)})


@isns_domains.command("remove")
@click.argument("number", type=int)
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="A node that leaves.")
@click.option("--portal", "portals", multiple=True, metavar="HOST:PORT", help="A portal that leaves.")
@click.pass_obj
def remove_command(control: Path, number: int, nodes: Sequence[str], portals: Sequence[str]) -> None:
    """Remove members from a domain."""
    _need(nodes or portals, "--node or --portal is missing; delete removes the whole domain")
    _tell(control, {"op": "take-domain", "number": number, "nodes": list(nodes), "portals": list(portals)})


@isns_domains.command("delete")
@click.argument("number", type=int)
@click.pass_obj
def delete_command(control: Path, number: int) -> None:
    """Delete a domain; its members stay registered."""
    _tell(control, {"op": "take-domain", "number": number})


@isns_domains.command("create-set")
@click.argument("name", required=False, default="")
@click.option("--domain", "domains", multiple=True, type=int, metavar="NUMBER", help="A domain of the set.")
@click.option("--enable", is_flag=True, help="Enable it at once.")
@click.pass_obj
def create_set_command(control: Path, name: str, domains: Sequence[int], enable: bool) -> None:
    """Create a set of domains and print its number."""
    operation = {"op": "put-set", "name": name, "domains": list(domains), "enabled": enable}
    _tell(control, operation)


@isns_domains.command("add-to-set")
@click.argument("number", type=int)
@click.argument("domains", type=int, nargs=-1, required=True)
@click.pass_obj
def add_to_set_command(control: Path, number: int, domains: Sequence[int]) -> None:
    """Add domains to a set."""
    _tell(control, {"op": "put-set", "number": number, "domains": list(domains)})


@isns_domains.command("remove-from-set")
@click.argument("number", type=int)
@click.argument("domains", type=int, nargs=-1, required=True)
@click.pass_obj
def remove_from_set_command(control: Path, number: int, domains: Sequence[int]) -> None:
    """Remove domains from a set."""
    _tell(control, {"op": "take-set", "number": number, "domains": list(domains)})


@isns_domains.command("enable-set")
@click.argument("number", type=int)
@click.pass_obj
def enable_command(control: Path, number: int) -> None:
    """Enable a set: its domains count."""
    _tell(control, {"op": "put-set", "number": number, "enabled": True})


@isns_domains.command("disable-set")
@click.argument("number", type=int)
@click.pass_obj
def disable_command(control: Path, number: int) -> None:
    """Disable a set."""
    _tell(control, {"op": "put-set", "number": number, "enabled": False})


@isns_domains.command("delete-set")
@click.argument("number", type=int)
@click.pass_obj
def delete_set_command(control: Path, number: int) -> None:
    """Delete a set; its domains stay."""
    _tell(control, {"op": "take-set", "number": number})


def _need(given: object, message: str) -> None:
    if not given:
        _usage(message)


def _usage(message: str) -> NoReturn:
    raise click.UsageError(message)
