"""iscsi-initiator query, invoke and watch: the service's management data on the command line.

Exit codes: 0 done, also with a warning code, 1 an error code, 2 usage.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from iscsi_initiator.command_help import CONTEXT, FAILED, USAGE
from iscsi_initiator.command_help import command_help as _help
from iscsi_initiator.interrupts import interrupts
from iscsi_initiator.iscsicli.lines import printable
from iscsi_initiator.iscsicli.parameters import Usage
from iscsi_initiator.iscsicli.render import code_name, code_text, detail
from iscsi_initiator.iscsicli.secret import Secrets
from iscsi_initiator.service import api
from iscsi_initiator.service.asking import socket_option
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.management.schema import Kind, ManagementClass, Property, Structure, named, value_of
from iscsi_initiator.service.management.table import CLASSES, find
from iscsi_initiator.status_codes import Refused, StatusCode

_where = click.option(
    "--where",
    "conditions",
    metavar="NAME=VALUE",
    multiple=True,
    help="Only instances with this value; may be repeated.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _complain(status: int, reason: str) -> None:
    kind = "warning" if status and StatusCode(status).is_warning else "error"
    click.echo(f"iscsi-initiator: {kind} {code_text(status)} {code_name(status)}: {printable(reason)}", err=True)


def _misused(error: Refused | Usage) -> NoReturn:
    _complain(error.status, error.reason)
    sys.exit(USAGE)


def _failed(error: Refused) -> NoReturn:
    _complain(error.status, detail(api.failure_of(error)))
    sys.exit(FAILED)


def _class(name: str) -> ManagementClass:
    try:
        return find(name)
    except Refused as error:
        _misused(error)


def _pairs(words: Iterable[str], what: str) -> dict[str, str]:
    """NAME=VALUE words; a name stands there once."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals or name in found:
            _misused(Refused(StatusCode.INVALID_PARAMETER, f"{what} is NAME=VALUE, each name once"))
        found[name] = value
    return found


# Out of the service.


def _hexadecimal(properties: Iterable[Property], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its octets in hexadecimal instead of base64."""
    kinds = {each.name: each for each in properties}
    return {name: _shown(kinds[name], value) if name in kinds else value for name, value in row.items()}


def _shown(wanted: Property, value: Any) -> Any:
    kind = wanted.kind
    if value is None:
        return None
    if wanted.array:
        return [_one(kind, each) for each in value]
    return _one(kind, value)


def _one(kind: Kind | Structure, value: Any) -> Any:
    if isinstance(kind, Structure):
        return None if value is None else _hexadecimal(kind.properties, value)
    return b64decode(value).hex() if kind is Kind.OCTETS else value


def _lines(row: Mapping[str, Any], indent: str = "") -> list[str]:
    """A property a line, what is inside of others below them."""
    lines = []
    for name, value in row.items():
        inside = value if isinstance(value, list) else [value]
        if inside and all(isinstance(each, dict) for each in inside):
            for place, each in enumerate(inside):
                lines.append(f"{indent}{name}[{place}]" if isinstance(value, list) else f"{indent}{name}")
                lines += _lines(each, indent + "  ")
        else:
            lines.append(f"{indent}{name} = {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return "" if value is None else printable(str(value))


@click.command(
    "query",
    context_settings=CONTEXT,
    short_help="Show instances of a management class of the service.",
    help=_help(
        "Show the instances of a management class; without one, list the classes.",
        "query",
        "query MSiSCSI_SessionStatistics --json",
        "query MSiSCSIInitiator_TargetClass --where TargetName=iqn.2026-01.org.example:disk",
    ),
)
@click.argument("name", metavar="[CLASS]", required=False)
@_where
@_json
@socket_option
def query(name: str | None, conditions: tuple[str, ...], as_json: bool, path: Path) -> None:
    """Show instances of a management class."""
    if name is None:
        if conditions:
            _misused(Refused(StatusCode.INVALID_PARAMETER, "--where goes with a class"))
        _list(as_json)
        return
    wanted = _class(name)
    where = _pairs(conditions, "--where")
    for each in where:
        try:
            named(wanted.properties, each, wanted.name)
        except Refused as error:
            _misused(error)
    try:
        answer = BlockingClient(path).ask(api.Query(class_name=wanted.name, where=where))
    except Refused as error:
        _failed(error)
    rows = [_hexadecimal(wanted.properties, row) for row in answer.instances]
    if as_json:
        click.echo(json.dumps({"class": wanted.name, "instances": rows}, indent=2))
        return
    click.echo("\n\n".join("\n".join(_lines(row)) for row in rows) if rows else f"no instance of {wanted.name}")


def _list(as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "class": each.name,
                "says": each.says,
                "event": each.is_event,
                "properties": {own.name: own.type for own in each.properties},
                "methods": [method.name for method in each.methods],
            }
            for each in CLASSES.values()
        ]
        click.echo(json.dumps({"classes": rows}, indent=2))
        return
    width = max(len(name) for name in CLASSES)
    for each in CLASSES.values():
        click.echo(f"{each.name:<{width}}  {each.says}{'; to be watched' if each.is_event else ''}")
        for method in each.methods:
            click.echo(f"    {method.name}({', '.join(own.name for own in method.arguments)})")


# Into the service.


class _Arguments:
    """Reads NAME=VALUE words as arguments; a name with dots is a property of a structure."""

    def __init__(self, secret: Secrets) -> None:
        self._secret = secret

    def read(self, properties: tuple[Property, ...], words: Iterable[str], what: str) -> dict[str, Any]:
        """The arguments. Raises Refused, Usage INVALID_PARAMETER."""
        found: dict[str, Any] = {}
        for name, text in _pairs(words, "an argument").items():
            self._put(found, properties, name, text, what)
        return found

    def _put(self, found: dict[str, Any], properties: tuple[Property, ...], path: str, text: str, what: str) -> None:
        name, _, rest = path.partition(".")
        own = named(properties, name, what)
        if not rest:
            found[own.name] = self._value(own, text, what)
        elif isinstance(own.kind, Structure) and not own.array:
            inside = found.setdefault(own.name, {})
            self._put(inside, own.kind.properties, rest, text, f"{what}: {own.name}")
        else:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{what}: {own.name} has no properties; give it as JSON")

    def _value(self, own: Property, text: str, what: str) -> Any:
        if own.array or isinstance(own.kind, Structure):
            try:
                return json.loads(text)
            except ValueError as error:
                raise Refused(StatusCode.INVALID_PARAMETER, f"{what}: {own.name} is given as JSON") from error
        if own.kind is not Kind.OCTETS:
            return value_of(own, text, what)
        return b64encode(
            self._secret(text, own.name) if own.secret else text.encode("utf-8", "surrogateescape")
        ).decode()


def _prompt() -> Secrets:
    def ask(name: str) -> str:
        return str(click.prompt(name, hide_input=True, err=True))

    return Secrets(ask if sys.stdin.isatty() else None)


@click.command(
    "invoke",
    context_settings=CONTEXT,
    short_help="Call a method of a management class of the service.",
    help=_help(
        "Call a method of an instance of a management class.",
        "invoke MSiSCSIInitiator_MethodClass RefreshTargetList",
        "invoke MSiSCSIInitiator_SessionClass SendScsiInquiry --where SessionId=1f-4000013700000002 Lun=0",
        "invoke MSiSCSIInitiator_MethodClass SetIScsiInitiatorCHAPSharedSecret SharedSecret=@secret.txt",
        more="A secret is asked for (?) or read from a file (@FILE). Lists and structures are JSON, a value in a structure "
        "may be given as STRUCTURE.NAME=VALUE.",
    ),
)
@click.argument("name", metavar="CLASS")
@click.argument("method")
@click.argument("words", metavar="[NAME=VALUE]...", nargs=-1)
@_where
@_json
@socket_option
def invoke(
    name: str, method: str, words: tuple[str, ...], conditions: tuple[str, ...], as_json: bool, path: Path
) -> None:
    """Call a method of a management class."""
    wanted = _class(name)
    where = _pairs(conditions, "--where")
    try:
        called = wanted.method(method)
        arguments = _Arguments(_prompt()).read(called.arguments, words, f"{wanted.name}::{called.name}")
        for each in where:
            named(wanted.properties, each, wanted.name)
    except (Refused, Usage) as error:
        _misused(error)
    request = api.Invoke(class_name=wanted.name, method=called.name, where=where, arguments=arguments)
    try:
        answer = BlockingClient(path).ask(request)
    except Refused as error:
        _failed(error)
    results = _hexadecimal(called.gives, answer.results)
    if as_json:
        shown = {"class": wanted.name, "method": called.name, "status": answer.status, "results": results}
        click.echo(json.dumps(shown, indent=2))
    else:
        done = "done" if not answer.status else "done, with a warning"
        click.echo("\n".join([*_lines(results), f"Status {code_text(answer.status)}: {done}."]))
    if answer.status:
        _complain(answer.status, answer.message)


@click.command(
    "watch",
    context_settings=CONTEXT,
    short_help="Show failures of the service's sessions and logins as they happen.",
    help=_help("Show events of management classes as they happen, until interrupted.", "watch", "watch --json"),
)
@click.argument("names", metavar="[CLASS]...", nargs=-1)
@_json
@socket_option
def watch(names: tuple[str, ...], as_json: bool, path: Path) -> None:
    """Show events of management classes as they happen."""
    wanted = [_class(name) for name in names]
    for each in wanted:
        if not each.is_event:
            _misused(Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{each.name} is no class of events: query it"))
    request = api.Watch(classes=tuple(each.name for each in wanted))
    try:
        with interrupts() as interrupted:
            for notice in BlockingClient(path).watch(request, interrupted):
                _tell(notice, as_json)
    except Refused as error:
        _failed(error)
    except KeyboardInterrupt:
        sys.exit(0)


def _tell(notice: api.Notice, as_json: bool) -> None:
    found = None if notice.class_name is None else find(notice.class_name)
    row = {} if found is None else _hexadecimal(found.properties, notice.instance)
    if as_json:
        shown = {"class": notice.class_name, "instance": row, "lost": notice.lost}
        click.echo(json.dumps(shown))
    else:
        if notice.lost:
            click.echo(f"{notice.lost} events were lost")
        if found is not None:
            click.echo("\n".join([found.name, *_lines(row, "  ")]))
    sys.stdout.flush()
