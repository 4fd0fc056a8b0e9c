"""`iscsi-initiator boot`: what the firmware's boot table says, and images of such tables."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from iscsi_initiator.boot import sysfs
from iscsi_initiator.boot.dhcp import DhcpError, host_name, read_options, root_path
from iscsi_initiator.boot.judge import judge
from iscsi_initiator.boot.layout import (
    ChapType,
    Initiator,
    Nic,
    Origin,
    SecretText,
    Table,
    Target,
    mac_text,
    pack_address,
)
from iscsi_initiator.boot.login import boot_nics, logins
from iscsi_initiator.boot.root_path import RootPath, RootPathError, parse_root_path
from iscsi_initiator.boot.show import table_json, table_lines
from iscsi_initiator.boot.table import LARGEST, BootTableError, assemble, decode, text
from iscsi_initiator.command_help import CONTEXT, FAILED, command_help
from iscsi_initiator.url import DEFAULT_PORT, UrlError, parse_url
from iscsi_protocol.eventlog.parts import printable
from iscsi_protocol.scsi.lun import encode_lun

AUTO = "auto"
Command = Callable[..., Any]
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    "boot",
    context_settings=CONTEXT,
    short_help="Show and write iSCSI boot firmware tables.",
    help=command_help("Show and write iSCSI boot firmware tables.", "boot show auto", "boot show ibft.bin --json"),
)
def boot_group() -> None:
    """Show and write iSCSI boot firmware tables."""


@boot_group.command(
    short_help="Show a boot table and the adapter that boots.",
    help=command_help(
        "Show a boot table and the MAC address of the adapter that boots.",
        "boot show auto",
        "boot show ibft.bin --strict",
        more="FILE is an image of a table; auto is this computer's own. Secrets are not shown.",
    ),
)
@click.argument("file", metavar="FILE|auto")
@click.option("--strict", is_flag=True, help="Fail where anything is wrong with the table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: str, strict: bool, as_json: bool) -> None:
    """Show a boot table and the adapter that boots."""
    try:
        table = sysfs.this_host() if file == AUTO else decode(_bytes(Path(file)))
    except BootTableError as error:
        _fail(f"{file}: {error}")
    except OSError as error:
        _fail(f"{error.filename or file}: {error.strerror or error}")
    found = judge(table)
    adapters = [mac_text(nic.mac) for nic in boot_nics(table)]
    if as_json:
        findings = [{"place": each.place, "reason": each.reason} for each in found]
        click.echo(json.dumps({"boot_adapters": adapters, **table_json(table), "findings": findings}, indent=2))
    else:
        click.echo(f"boot adapter  {', '.join(adapters) or 'none'}")
        for line in table_lines(table):
            click.echo(line)
        for each in found:
            click.echo(f"iscsi-initiator: {printable(f'{file}: {each}')}", err=True)
    if strict and found:
        sys.exit(FAILED)


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    del context, parameter
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise click.BadParameter(f"{value} is no IP address") from None


def _mac(context: click.Context, parameter: click.Parameter, value: str) -> bytes:
    del context, parameter
    digits = value.replace("-", "").replace(":", "")
    if not re.fullmatch("[0-9a-fA-F]{12}", digits):
        raise click.BadParameter(f"{value} is no MAC address")
    return bytes.fromhex(digits)


def _pci(context: click.Context, parameter: click.Parameter, value: str | None) -> int:
    del context, parameter
    if value is None:
        return 0
    found = re.fullmatch("([0-9a-fA-F]{1,2}):([01]?[0-9a-fA-F])[.]([0-7])", value)
    if found is None:
        raise click.BadParameter("bus:device.function, such as 02:00.0")
    bus, device, function = (int(part, 16) for part in found.groups())
    return bus << 8 | device << 3 | function


def _interface(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int]:
    del context, parameter
    if value is None:
        return "", 0
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise click.BadParameter(f"{value} is no ADDRESS/BITS") from None
    return str(found.ip), found.network.prefixlen


def _adapter(command: Command) -> Command:
    options = (
        click.option("--mac", required=True, callback=_mac, help="MAC address of the adapter."),
        click.option("--address", metavar="ADDRESS/BITS", callback=_interface, help="Its address and subnet."),
        click.option("--gateway", metavar="ADDRESS", callback=_address, help="Its gateway."),
        click.option("--dns", metavar="ADDRESS", multiple=True, help="A name server; up to two."),
        click.option("--dhcp-server", metavar="ADDRESS", callback=_address, help="Where it has its address from."),
        click.option("--vlan", type=click.IntRange(0, 4094), default=0, help="Its VLAN; 0 for none."),
        click.option("--pci", metavar="BB:DD.F", callback=_pci, help="Its place on the PCI bus."),
        click.option("--host-name", metavar="NAME", help="Name of the computer; that of DHCP option 12 unless said."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _where(command: Command) -> Command:
    options = (
        click.option("--initiator-name", metavar="IQN", required=True, help="Name to log in with."),
        click.option("--target-name", metavar="IQN", help="Name of the target."),
        click.option("--portal", metavar="ADDRESS:PORT", help="Its portal."),
        click.option("--lun", type=click.IntRange(0, 2**40 - 1), help="The disk."),
        click.option("--root-path", metavar="TEXT", help="All three as a root path of RFC 4173 instead."),
        click.option("--dhcp-options", type=_FILE, help="DHCP options as bytes: option 17 is the root path."),
        click.option("--isns-server", metavar="ADDRESS", callback=_address, help="An iSNS server."),
        click.option("--slp-server", metavar="ADDRESS", callback=_address, help="An SLP server."),
        click.option("--user", metavar="NAME", help="CHAP name; needs --secret-file."),
        click.option("--secret-file", type=_FILE, help="File with the secret of --user."),
        click.option("--mutual-user", metavar="NAME", help="CHAP name of the target; needs --mutual-secret-file."),
        click.option("--mutual-secret-file", type=_FILE, help="File with the secret that the target has to know."),
        click.option("--oem-id", default="", help="Up to 6 characters of the ACPI header."),
        click.option("--oem-table-id", default="", help="Up to 8 characters of the ACPI header."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@boot_group.command(
    short_help="Write an image of a boot table to a FILE.",
    help=command_help(
        "Write an image of a boot table to a FILE.",
        "boot write ibft.bin --initiator-name iqn.2026-01.org.example:host --mac 02-00-00-00-00-01"
        " --address 192.0.2.20/24 --portal 192.0.2.10:3260 --target-name iqn.2026-01.org.example:disk",
        "boot write ibft.bin --initiator-name iqn.2026-01.org.example:host --mac 02-00-00-00-00-01"
        " --root-path iscsi:192.0.2.10::::iqn.2026-01.org.example:disk",
        more="The image holds the secrets in clear; the file is its owner's alone.",
    ),
)
@click.argument("file", type=_FILE)
@_where
@_adapter
def write(file: Path, **options: Any) -> None:
    """Write an image of a boot table to a FILE."""
    try:
        table = _table(options)
        logins(table)
    except (BootTableError, DhcpError, RootPathError, UrlError) as error:
        raise click.UsageError(printable(str(error))) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror or error}")
    if found := judge(table):
        raise click.UsageError(printable(str(found[0])))
    try:
        file.unlink(missing_ok=True)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as image:  # noqa: PTH123 - it is open already
            image.write(table.image)
    except OSError as error:
        _fail(f"{file}: {error.strerror or error}")


def _table(options: dict[str, Any]) -> Table:
    path, named = _from_dhcp(options["dhcp_options"])
    if options["root_path"] is not None:
        path = parse_root_path(options["root_path"])
    address, bits = options["address"]
    names = [*options["dns"], "", ""]
    if len(names) > 4:
        raise BootTableError("a table has two name servers at most")
    try:
        dns = [pack_address(name) for name in names[:2]]
    except ValueError as error:
        raise BootTableError(f"--dns: {error}") from None
    nic = Nic(
        address=pack_address(address),
        prefix_length=bits,
        origin=Origin.DHCP if options["dhcp_server"] else Origin.MANUAL,
        gateway=pack_address(options["gateway"]),
        primary_dns=dns[0],
        secondary_dns=dns[1],
        dhcp_server=pack_address(options["dhcp_server"]),
        vlan=options["vlan"],
        mac=options["mac"],
        pci=options["pci"],
        host_name=text(options["host_name"] or named or ""),
    )
    initiator = Initiator(
        name=text(options["initiator_name"]),
        isns_server=pack_address(options["isns_server"]),
        slp_server=pack_address(options["slp_server"]),
    )
    oem = {name: options[name].encode() for name in ("oem_id", "oem_table_id")}
    if len(oem["oem_id"]) > 6 or len(oem["oem_table_id"]) > 8:
        raise BootTableError("--oem-id has up to 6 bytes, --oem-table-id up to 8")
    return assemble(initiator, [nic], [_target(options, path)], **oem)


def _from_dhcp(file: Path | None) -> tuple[RootPath | None, str | None]:
    if file is None:
        return None, None
    found = read_options(_bytes(file))
    return root_path(found), host_name(found)


def _target(options: dict[str, Any], path: RootPath | None) -> Target:
    name, portal, lun = options["target_name"], options["portal"], encode_lun(options["lun"] or 0)
    if path is not None:
        if name is not None or portal is not None or options["lun"] is not None:
            raise BootTableError("--target-name, --portal and --lun are what a root path says already")
        if path.host is None:
            raise BootTableError("the root path has no server: a boot table needs its address")
        name, address, port, lun = path.target_name, path.host, path.port_number, path.lun_structure
    elif name is None or portal is None:
        raise BootTableError("where the target is has to be said: --target-name and --portal, or --root-path")
    else:
        endpoint = parse_url(f"iscsi://{portal}").portal
        address, port = endpoint.host, endpoint.port or DEFAULT_PORT
    try:
        packed = pack_address(address)
    except ValueError:
        raise BootTableError(f"{address} is no IP address, which is all that a boot table can hold") from None
    return Target(address=packed, port=port, lun=lun, name=text(name), **_chap(options))


def _chap(options: dict[str, Any]) -> dict[str, Any]:
    user, mutual = options["user"], options["mutual_user"]
    if (user is None) != (options["secret_file"] is None):
        raise BootTableError("--user and --secret-file go together")
    if (mutual is None) != (options["mutual_secret_file"] is None):
        raise BootTableError("--mutual-user and --mutual-secret-file go together")
    if user is None:
        if mutual is not None:
            raise BootTableError("a target proves itself to an initiator that does: --user is missing")
        return {}
    found = {"chap_type": ChapType.CHAP, "chap_name": text(user), "chap_secret": _secret(options["secret_file"])}
    if mutual is not None:
        found |= {"chap_type": ChapType.MUTUAL_CHAP, "mutual_name": text(mutual)}
        found["mutual_secret"] = _secret(options["mutual_secret_file"])
    return found


def _secret(file: Path) -> SecretText:
    secret = _bytes(file).rstrip(b"\r\n")
    if not secret:
        raise BootTableError(f"{file}: no secret in it")
    return SecretText(secret)


def _bytes(file: Path) -> bytes:
    """A file; of a longer one than any table is, its beginning and a byte more."""
    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)


def _fail(reason: str) -> NoReturn:
    click.echo(f"iscsi-initiator: {printable(reason)}", err=True)
    sys.exit(FAILED)
