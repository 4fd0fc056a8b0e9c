"""Changes to one PDU: fields, bytes, parts and text (the actions that leave one PDU one), and PDUs from templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

from iscsi_protocol.fault.action import Flip, Of, Part, Plus, Poke, Replace, Set, SetKey, Template
from iscsi_protocol.pdu.base import encode, field_of, get_field, set_field
from iscsi_protocol.pdu.raw import RawPdu, padding_for

Edit = Set | Poke | Flip | Replace | SetKey
LookUp = Callable[[Of], int]
"""Gives a number of the dialogue."""


def touches_digest(action: Edit) -> bool:
    """Whether the change is to a digest itself, and so comes after digests are computed."""
    return isinstance(action, Flip | Replace) and action.part in (Part.HEADER_DIGEST, Part.DATA_DIGEST)


def edit(raw: RawPdu, action: Edit, look_up: LookUp) -> RawPdu:
    """The PDU after one change, digests as they were.

    Raises KeyError for a field that the message does not have, ValueError for a value that does not fit.
    """
    match action:
        case Set():
            return _set(raw, action, look_up)
        case Poke():
            return raw.with_bytes(action.offset, action.value)
        case Flip():
            return _flip(raw, action)
        case Replace():
            return _replace(raw, action.part, action.value)
        case SetKey():
            return _replace(raw, Part.DATA, _with_key(bytes(raw.data), action))
        case _:
            assert_never(action)


def build(template: Template, look_up: LookUp) -> RawPdu:
    """The PDU that a template describes, without digests."""
    values: dict[str, Any] = {
        name: field_of(template.pdu.OPCODE, name).wrap(look_up(value)) if isinstance(value, Of) else value
        for name, value in template.values.items()
    }
    return encode(template.pdu(**values))


def field_number(raw: RawPdu, name: str) -> int:
    """A header field as a number, bytes too. Raises KeyError."""
    return as_number(get_field(raw, name))


def as_number(value: int | bool | bytes) -> int:
    """A field's value as the number that it is on the wire."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)


def _set(raw: RawPdu, action: Set, look_up: LookUp) -> RawPdu:
    value = action.value
    if isinstance(value, Plus):
        value = field_of(raw.opcode, action.name).wrap(field_number(raw, action.name) + value.amount)
    elif isinstance(value, Of):
        value = field_of(raw.opcode, action.name).wrap(look_up(value))
    return set_field(raw, action.name, value)


def _flip(raw: RawPdu, action: Flip) -> RawPdu:
    part = bytearray(getattr(raw, action.part.value))
    if not -len(part) <= action.offset < len(part):
        return raw
    part[action.offset] ^= action.mask
    return _with_part(raw, action.part, bytes(part))


def _replace(raw: RawPdu, part: Part, value: bytes) -> RawPdu:
    changed = _with_part(raw, part, value)
    if part is Part.DATA:
        changed = set_field(changed, "data_segment_length", len(value))
        changed.padding = bytes(padding_for(len(value)))
    elif part is Part.AHS:
        changed = set_field(changed, "total_ahs_length", len(value) // 4)
    return changed


def _with_part(raw: RawPdu, part: Part, value: bytes) -> RawPdu:
    changed = replace(raw)
    setattr(changed, part.value, value)
    return changed


def _with_key(text: bytes, action: SetKey) -> bytes:
    name = action.key.encode() + b"="
    *pairs, unfinished = text.split(b"\0")
    if action.value is None:
        pairs = [pair for pair in pairs if not pair.startswith(name)]
    else:
        wanted = name + action.value.encode("utf-8", "surrogateescape")
        if not action.again and any(pair.startswith(name) for pair in pairs):
            pairs = [wanted if pair.startswith(name) else pair for pair in pairs]
        else:
            pairs.append(wanted)
    return b"\0".join((*pairs, unfinished))
