"""`iscsi-target`: the command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_protocol.fault import Fault, UnknownFault
from iscsi_protocol.text import ValueFormError
from iscsi_target.config import (
    ChapConfig,
    ChapMutual,
    ConfigError,
    IsnsRegistration,
    LunConfig,
    PortalConfig,
    TargetConfig,
    TargetNode,
    config_from,
    load_config,
    parse_lun,
)
from iscsi_target.faults import fault as named_fault
from iscsi_target.isns.command import isns_domains, isns_server
from iscsi_target.isns.registrar import TargetRegistrar
from iscsi_target.luns.backend import LunError
from iscsi_target.personalities import PERSONALITIES, Personality, UnknownPersonality, personality
from iscsi_target.personalities.apply import faults_of, under, wished, with_further_nodes
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine
from iscsi_target.shell.memory import GIVE_BACK_EVERY, give_back_freed_memory, keep_freed_memory

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
DEFAULT_NAME = "iqn.2026-11.org.iscsi-conformance:disk"
DEFAULT_PORT = 3260
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3

EXAMPLES = """\b
Examples:
  iscsi-target serve --lun 0=memory:64MiB --portal 127.0.0.1:0
  iscsi-target serve --name iqn.2024-01.com.example:store --lun 0=file:disk.img:1GiB --lun 1=memory:8MiB,ro,bs=4096
  iscsi-target serve --config target.toml --pcap session.pcapng
"""


class Refused(click.ClickException):
    """One clear line, and the exit code of a mistake in what was asked for."""

    exit_code = EXIT_USAGE


class Unavailable(click.ClickException):
    """One clear line, and the exit code of a portal, file or LUN that cannot be opened."""

    exit_code = EXIT_ENVIRONMENT


@click.group(context_settings=CONTEXT, epilog=EXAMPLES)
@click.version_option(package_name="iscsi-conformance")
def main() -> None:
    """An iSCSI target that keeps to RFC 7143, and breaks it where it is told to."""


main.add_command(isns_server)
main.add_command(isns_domains)


@main.command(epilog=EXAMPLES)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file; the options below add to it.")
@click.option("--portal", "portals", multiple=True, metavar="HOST:PORT[,TAG]", help="Where to listen; port 0 is any.")
@click.option("--name", help=f"Name of the target node (default {DEFAULT_NAME}).")
@click.option(
    "--lun",
    "luns",
    multiple=True,
    metavar="N=memory:SIZE | N=file:PATH[:SIZE] | N=sparse:PATH[:SIZE]",
    help="A logical unit; ',ro' and ',bs=4096' may follow.",
)
@click.option("--chap-file", type=click.Path(path_type=Path), help="Lines of 'user secret'; 'mutual NAME SECRET' too.")
@click.option("--max-connections", type=click.IntRange(1, 65535), help="Connections in a session (MaxConnections).")
@click.option("--error-recovery-level", type=click.IntRange(0, 2), help="ErrorRecoveryLevel to be offered.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="File of what outlives the process (APTPL, saved pages)."
)
@click.option("--isns", metavar="HOST[:PORT]", help="The iSNS server to register with.")
@click.option("--personality", "personality_name", metavar="NAME", help=f"What to imitate: {', '.join(PERSONALITIES)}.")
@click.option("--fault", "fault_ids", multiple=True, metavar="ID", help="A named fault that every connection shows.")
@click.option("--pcap", type=click.Path(path_type=Path), help="Write everything that crosses to a pcapng file.")
def serve(
    config: Path | None,
    portals: Sequence[str],
    name: str | None,
    luns: Sequence[str],
    chap_file: Path | None,
    max_connections: int | None,
    error_recovery_level: int | None,
    state: Path | None,
    isns: str | None,
    personality_name: str | None,
    fault_ids: Sequence[str],
    pcap: Path | None,
) -> None:
    """Serve until SIGTERM or SIGINT. Prints one line of JSON with the portals when it is ready.

    Exit codes: 0 stopped by a signal, 2 usage, 3 a portal, file or LUN that cannot be opened.
    """
    try:
        imitated = None if personality_name is None else personality(personality_name)
        made = _with_options(_base(config, name, imitated), portals, luns, chap_file, imitated)
        made = _with_keys(made, max_connections, error_recovery_level)
        if state is not None:
            made = msgspec.structs.replace(made, state=str(state))
        if isns is not None:
            made = msgspec.structs.replace(made, isns=_struct(IsnsRegistration, server=isns))
        faults, switches = _faults(fault_ids)
        if switches:
            made = msgspec.structs.replace(made, policy=replace(made.policy, **switches))
        if imitated is not None:
            made = with_further_nodes(imitated, made)
            faults = faults_of(imitated) + faults
        engine, devices = make_engine(made, random_bytes=os.urandom)
    except (ConfigError, UnknownFault, UnknownPersonality) as error:
        raise Refused(str(error)) from None
    except LunError as error:
        raise Unavailable(str(error)) from None
    recorder = None
    try:
        if pcap is not None:
            recorder = PcapngRecorder(pcap)
        keep_freed_memory()
        server = TargetServer(engine, tap=None if recorder is None else recorder.record, faults=faults)
        asyncio.run(_serve(server, made))
    except ConfigError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Unavailable(str(error)) from None
    finally:
        close_devices(devices)
        if recorder is not None:
            recorder.close()


async def _serve(server: TargetServer, config: TargetConfig) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    endpoints = await server.start(config.portals)
    registrar = None if config.isns is None else TargetRegistrar(config, config.isns)
    if registrar is not None:
        try:
            await registrar.start(endpoints)
        except (ConfigError, OSError):
            await server.stop()
            raise
    click.echo(json.dumps({"ready": [str(endpoint) for endpoint in endpoints]}))
    while not stopped.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), GIVE_BACK_EVERY)
        give_back_freed_memory()
    if registrar is not None:
        await registrar.stop()
    await server.stop()


def _base(path: Path | None, name: str | None, imitated: Personality | None) -> TargetConfig:
    """The file's configuration, or one with a single node, and what a personality adds to it. Raises ConfigError."""
    change = None if imitated is None else partial(under, imitated)
    if path is None:
        alone: TargetNode = _struct(TargetNode, name=DEFAULT_NAME if name is None else name)
        if change is not None:
            return config_from(change({"targets": [{"name": alone.name}]}))
        return TargetConfig(targets=[alone])
    config = load_config(path, change)
    if name is not None:
        if len(config.targets) > 1:
            raise ConfigError("--name: the configuration file has several targets")
        config = msgspec.structs.replace(
            config, targets=[msgspec.structs.replace(node, name=name) for node in config.targets]
        )
    return config


def _struct(kind: Any, **values: object) -> Any:
    try:
        return kind(**values)
    except (ValueError, ValueFormError) as error:
        raise ConfigError(str(error)) from error


def _with_options(
    config: TargetConfig,
    portals: Sequence[str],
    luns: Sequence[str],
    chap_file: Path | None,
    imitated: Personality | None,
) -> TargetConfig:
    if portals:
        config = msgspec.structs.replace(config, portals=[_portal(text) for text in portals])
    if not luns and chap_file is None:
        return config
    if len(config.targets) != 1:
        raise ConfigError("--lun and --chap-file: the configuration file has to have one target")
    node = config.targets[0]
    values: dict[str, Any] = {field: getattr(node, field) for field in node.__struct_fields__}
    lun = {} if imitated is None else wished(imitated, "lun")
    values["luns"] = {**node.luns, **dict(_lun(text, lun) for text in luns)}
    if chap_file is not None:
        chap = {} if imitated is None else wished(imitated, "chap")
        values["chap"] = msgspec.structs.replace(read_chap_file(chap_file), **chap)
    return msgspec.structs.replace(config, targets=[_struct(TargetNode, **values)])


def _portal(text: str) -> PortalConfig:
    address, comma, tag = text.partition(",")
    if comma and not (tag.isascii() and tag.isdigit()):
        raise ConfigError(f"{text}: a portal group tag is a number")
    if ":" not in address.rpartition("]")[2]:
        address = f"{address}:{DEFAULT_PORT}"
    portal: PortalConfig = _struct(PortalConfig, address=address, group_tag=int(tag) if comma else 1)
    return portal


def _lun(text: str, settings: Mapping[str, object]) -> tuple[int, LunConfig]:
    """A LUN with its suffixes; settings: those that a personality has for it. Raises ConfigError."""
    head, *suffixes = text.split(",")
    changes: dict[str, object] = dict(settings)
    for suffix in suffixes:
        if suffix == "ro":
            changes["read_only"] = True
        elif suffix in ("bs=512", "bs=4096"):
            changes["block_size"] = int(suffix[3:])
        else:
            raise ConfigError(f"{text}: {suffix!r} is no suffix; there are ro, bs=512 and bs=4096")
    number, lun = parse_lun(head)
    values = {field: getattr(lun, field) for field in lun.__struct_fields__}
    return number, _struct(LunConfig, **{**values, **changes})


def read_chap_file(path: Path) -> ChapConfig:
    """Users from a file: `user secret` a line, `mutual name secret` for the target's own; # begins a comment."""
    users: dict[str, str] = {}
    mutual = None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 3 and words[0] == "mutual":
            mutual = _struct(ChapMutual, name=words[1], secret=words[2])
        elif len(words) == 2:
            users[words[0]] = words[1]
        else:
            raise ConfigError(f"{path}, line {number}: expected 'user secret' or 'mutual name secret'")
    chap: ChapConfig = _struct(ChapConfig, users=users, mutual=mutual)
    return chap


def _with_keys(config: TargetConfig, max_connections: int | None, error_recovery_level: int | None) -> TargetConfig:
    keys = dict(config.keys)
    if max_connections is not None:
        keys["MaxConnections"] = str(max_connections)
    if error_recovery_level is not None:
        keys["ErrorRecoveryLevel"] = str(error_recovery_level)
    return msgspec.structs.replace(config, keys=keys)


def _faults(ids: Sequence[str]) -> tuple[list[Fault], dict[str, Any]]:
    """The faults and policy switches of the named ones. Raises UnknownFault."""
    faults: list[Fault] = []
    switches: dict[str, Any] = {}
    for fault_id in ids:
        named = named_fault(fault_id)
        faults += named.faults
        switches |= named.policy
    return faults, switches
