"""The parts of docs/iscsicli.md, docs/service-api.md and docs/management.md that are made of tables in the code.

`python -m tests.initiator.iscsicli.document` writes them anew.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec

from iscsi_initiator.iscsicli.places import MAPPING
from iscsi_initiator.iscsicli.render import form
from iscsi_initiator.iscsicli.table import GROUPS, Command
from iscsi_initiator.service import api
from iscsi_initiator.service.api.wire import OPERATIONS
from iscsi_initiator.service.management.schema import Method, Property, structures
from iscsi_initiator.service.management.table import CLASSES

DOCS = Path(__file__).resolve().parents[3] / "docs"


def commands() -> list[str]:
    """A table below each heading: how a command is written, what it does, what else it is called."""
    lines: list[str] = []
    for heading, group in GROUPS.items():
        lines += [f"### {heading}", "", "| command | what it does | also called |", "|---|---|---|"]
        lines += [
            f"| `{each.usage}` | {_text(each)} | {', '.join(f'`{name}`' for name in each.aliases)} |" for each in group
        ]
        lines.append("")
    return lines


def _text(command: Command) -> str:
    more = [command.notes, f"The quick form of `{command.long}`." if command.long else ""]
    outside = "" if command.guide else "Not in Appendix C."
    return " ".join(part for part in (command.summary, *more, outside) if part)


def parameters() -> list[str]:
    """Each parameter once: what it is, how it is written, what a star stands for."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for group in GROUPS.values():
        for command in group:
            for place in (*command.parameters, *(MAPPING if command.takes_mappings else ())):
                star = "" if place.star is None else place.star.meaning
                names = rows.setdefault((place.about, form(place), star), [])
                if place.name not in names:
                    names.append(place.name)
    lines = ["| argument | what it is | how it is written | `*` |", "|---|---|---|---|"]
    lines += [
        f"| {', '.join(names)} | {about} | {written} | {star} |" for (about, written, star), names in rows.items()
    ]
    return [*lines, ""]


def operations() -> list[str]:
    """Each request with its own fields and its answer."""
    common = set(api.Operation.__struct_fields__)
    lines = ["| `op` | fields | answer |", "|---|---|---|"]
    for kind in OPERATIONS:
        fields = [_field(each) for each in msgspec.structs.fields(kind) if each.name not in common]
        lines.append(f"| `{kind.__name__}` | {', '.join(fields)} | `{api.answer_type(kind).__name__}` |")
    return [*lines, ""]


def _field(field: msgspec.structs.FieldInfo) -> str:
    return f"`{field.name}`" + (" (required)" if field.required else "")


def structs() -> list[str]:
    """The fields of what answers and requests are made of."""
    found: dict[str, type[msgspec.Struct]] = {}
    for kind in OPERATIONS:
        for part in (*_inside(kind), *_inside(api.answer_type(kind))):
            found.setdefault(part.__name__, part)
    found["Failure"] = api.Failure
    lines = ["| object | fields |", "|---|---|"]
    for name, part in sorted(found.items()):
        if not issubclass(part, api.Operation):
            lines.append(f"| `{name}` | {', '.join(f'`{each}`' for each in part.__struct_fields__)} |")
    return [*lines, ""]


def _inside(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield kind
    for field in msgspec.structs.fields(kind):
        yield from _parts(field.type)


def _parts(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if get_origin(kind) in (Union, types.UnionType, tuple):
        for inside in get_args(kind):
            yield from _parts(inside)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _inside(kind)


def classes() -> list[str]:
    """Each management class with its properties and methods."""
    lines = ["| class | what it tells | properties | methods |", "|---|---|---|---|"]
    for name, each in CLASSES.items():
        names = "<br>".join(f"`{own}`" for own in (name, *each.aliases))
        says = f"{each.says}; an event" if each.is_event else each.says
        methods = "<br>".join(f"`{_method(method)}`: {method.says}" for method in each.methods)
        lines.append(f"| {names} | {says} | {_properties(each.properties)} | {methods} |")
    return [*lines, ""]


def _method(method: Method) -> str:
    given = ", ".join(_argument(each) for each in method.arguments)
    gives = ", ".join(f"{each.name} {each.type}" for each in method.gives)
    return f"{method.name}({given})" + (f" -> {gives}" if gives else "")


def _argument(each: Property) -> str:
    text = f"{each.name} {each.type}"
    return text if each.required else f"[{text}]"


def _properties(every: tuple[Property, ...]) -> str:
    return ", ".join(f"`{each.name}` {each.type}{' (key)' if each.key else ''}" for each in every)


def inside() -> list[str]:
    """What stands inside of properties and arguments."""
    lines = ["| structure | properties |", "|---|---|"]
    for name, each in structures(CLASSES.values()).items():
        lines.append(f"| `{name}` | {_properties(each.properties)} |")
    return [*lines, ""]


MADE = {
    "management.md": {"classes": classes, "structures": inside},
    "iscsicli.md": {"commands": commands, "arguments": parameters},
    "service-api.md": {"operations": operations, "objects": structs},
}


def filled(name: str) -> str:
    """A document with its made parts as they are now; each stands between comments."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for heading, make in MADE[name].items():
        begin, end = f"\n<!-- {heading} -->\n", f"<!-- end of {heading} -->\n"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, heading
        text = before + begin + "\n" + "\n".join(make()) + "\n" + end + after
    return text


if __name__ == "__main__":
    for each in MADE:
        (DOCS / each).write_text(filled(each), encoding="utf-8")
