"""Everything that a command prints: the answer as text or JSON, the status code, and the help."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import msgspec

from iscsi_initiator.iscsicli.lines import lun_text, printable
from iscsi_initiator.iscsicli.parameters import NUMBER, Parameter
from iscsi_initiator.iscsicli.places import MAPPING
from iscsi_initiator.iscsicli.table import GROUPS, Command
from iscsi_initiator.service import api
from iscsi_initiator.service.api.values import RANGES
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import status_name

HELP_WIDTH = 100
_GLUE = "\N{NO-BREAK SPACE}"
_LUNS = frozenset({"lun", "target_lun", "luns"})


def code_text(status: int) -> str:
    """The code as the guide prints it."""
    return f"0x{status:08X}"


def code_name(status: int) -> str:
    """The guide's name of a code; 0 has none there."""
    return f"ISDSC_{StatusCode(status).name}" if status else "SUCCESS"


def complaint(status: int, reason: str) -> str:
    """The one line about an error or a warning."""
    kind = "warning" if status and StatusCode(status).is_warning else "error"
    text = StatusCode(status).name.lower().replace("_", " ")
    return f"iscsicli: {kind} {code_text(status)} {code_name(status)}: {printable(reason or text)}"


def detail(failure: api.Failure) -> str:
    """Why something was not done, with what a LUN said about it."""
    if failure.scsi_status is None:
        return failure.message
    sense = parse_sense(failure.sense)
    said = [failure.message, status_name(failure.scsi_status), str(sense) if sense is not None else ""]
    return ": ".join(part for part in said if part)


def text_lines(command: Command, answer: api.Answer) -> list[str]:
    """The answer, and behind it the code."""
    done = "done" if not answer.status else "done, with a warning"
    return [*command.show(answer), f"Status {code_text(answer.status)}: {done}."]


def json_text(command: str, status: int, reason: str, answer: api.Answer | api.Failure | None = None) -> str:
    """One object: command, status, code and name, message, and the fields of the answer. Bytes and LUNs are hexadecimal."""
    fields = {} if answer is None else _plain(msgspec.to_builtins(answer, builtin_types=(bytes,)))
    head = {
        "command": command,
        "status": status,
        "code": code_text(status),
        "name": code_name(status),
        "message": reason,
    }
    return json.dumps({**head, **{name: value for name, value in fields.items() if name not in head}}, indent=2)


def _plain(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            return {str(key): _plain(inside, str(key)) for key, inside in value.items()}
        case list() | tuple():
            return [_plain(inside, name) for inside in value]
        case bytes():
            return value.hex()
        case int() if name in _LUNS:
            return lun_text(value)
        case _:
            return value


def command_help(command: Command) -> list[str]:
    """How one command is used."""
    lines = [*wrap(f"iscsicli {command.usage}", "    "), "", command.summary]
    if command.notes:
        lines.append(command.notes)
    if command.long:
        lines.append(f"The quick form of {command.long}.")
    if command.aliases:
        lines.append(f"Also called {', '.join(command.aliases)}.")
    places = [*command.parameters, *(MAPPING if command.takes_mappings else ())]
    if places:
        width = max(len(each.usage) for each in places)
        lines.append("")
        for each in places:
            lines += wrap(f"  {each.usage:<{width}}  {about(each)}", " " * (width + 4))
    return lines


def wrap(text: str, indent: str) -> list[str]:
    """Text in lines of 100 characters; those behind the first are indented. Words in brackets stay whole."""
    whole = re.sub(r"[<\[][^>\]]*[>\]]", lambda match: match[0].replace(" ", _GLUE), text)
    lines = textwrap.wrap(
        whole,
        HELP_WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return [line.replace(_GLUE, " ") for line in lines]


def about(place: Parameter) -> str:
    """What a parameter is, how it is written, and what `*` stands for."""
    star = f" (*: {place.star.meaning})" if place.star is not None else ""
    return f"{place.about}; {form(place)}{star}"


def form(place: Parameter) -> str:
    """How a parameter is written, and which numbers there are."""
    bounds = RANGES.get(place.field) if place.kind is NUMBER else None
    return f"{place.kind.form}, {bounds.low} to {bounds.high}" if bounds is not None else place.kind.form


def overview() -> list[str]:
    """All commands."""
    width = max(len(each.name) for group in GROUPS.values() for each in group)
    lines = [
        "iscsicli [--json] [--socket PATH] [--timeout SECONDS] COMMAND [ARGUMENT ...]",
        "",
        "Speaks to the iSCSI initiator service. Without a command it asks for one after the other.",
        "Commands may be written in any case. `iscsicli COMMAND /?` tells the arguments of one: * stands for a",
        "default, 0x in front for hexadecimal, ? for a secret that is asked for, @FILE for one in a file.",
    ]
    for heading, group in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {each.name:<{width}}  {each.summary}" for each in group)]
    return lines
