"""Plans as JSON, and back: what a corpus keeps, and what a failing dialogue is told as.

Every dataclass is an object with its class under "is" and the fields that differ from their defaults; bytes, enums, tuples
and message classes are objects or arrays that say so.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any

from iscsi_conformance.fuzz.chunks import Chunks
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.parrot import Change, Mutation
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_protocol import fault
from iscsi_protocol import pdu as messages
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import Pdu
from iscsi_protocol.stream import Direction

_CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (Plan, Ground, Step, Chunks, Mutation)}
_CLASSES |= {name: getattr(fault, name) for name in fault.__all__ if is_dataclass(getattr(fault, name))}
_ENUMS: dict[str, Any] = {
    kind.__name__: kind for kind in (Verb, Change, TransportEvent, Direction, fault.Part, fault.Relation)
}


def told(thing: Any) -> Any:
    """A plan, or a part of one, as what JSON can hold."""
    if is_dataclass(thing) and not isinstance(thing, type):
        said = {
            each.name: told(value) for each in fields(thing) if (value := getattr(thing, each.name)) != _default(each)
        }
        return {"is": type(thing).__name__, **said}
    if isinstance(thing, Enum) and type(thing).__name__ in _ENUMS:
        return {type(thing).__name__: thing.name}
    if isinstance(thing, bytes):
        return {"bytes": thing.hex()}
    if isinstance(thing, type) and issubclass(thing, Pdu):
        return {"message": thing.__name__}
    if isinstance(thing, tuple | list):
        return [told(each) for each in thing]
    if isinstance(thing, dict):
        return {"values": {name: told(value) for name, value in thing.items()}}
    return thing if thing is None or isinstance(thing, bool | float | str) else int(thing)


def read(said: Any) -> Any:
    """The reverse of `told`. Raises KeyError, TypeError or ValueError for what nothing is told as."""
    if isinstance(said, list):
        return tuple(read(each) for each in said)
    if not isinstance(said, dict):
        return said
    if "is" in said:
        kind = _CLASSES[said["is"]]
        return kind(**{name: read(value) for name, value in said.items() if name != "is"})
    ((word, value),) = said.items()
    if word == "bytes":
        return bytes.fromhex(value)
    if word == "message":
        return getattr(messages, value)
    if word == "values":
        return {name: read(each) for name, each in value.items()}
    return _ENUMS[word][value]


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
