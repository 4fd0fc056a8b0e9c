"""Changes to one PDU: fields, bytes, parts and text (the actions that leave one PDU one PDU)."""

from __future__ import annotations

from dataclasses import replace

from iscsi_protocol.fault.model import Flip, Part, Plus, Poke, Replace, Set, SetKey
from iscsi_protocol.pdu.base import field_of, set_field
from iscsi_protocol.pdu.raw import RawPdu, padding_for

Edit = Set | Poke | Flip | Replace | SetKey


def touches_digest(action: Edit) -> bool:
    """Whether the change is to a digest itself, and so comes after digests are computed."""
    return isinstance(action, Flip | Replace) and action.part in (Part.HEADER_DIGEST, Part.DATA_DIGEST)


def edit(raw: RawPdu, action: Edit, value: int | bool | bytes | Plus | None = None) -> RawPdu:
    """The PDU after one change. value: for Set, the value once it was looked up in the dialogue.

    Raises KeyError for a field that the message does not have, ValueError for a value that does not fit.
    """
    match action:
        case Set():
            return _set(raw, action.name, value)
        case Poke():
            return raw.with_bytes(action.offset, action.value)
        case Flip():
            return _flip(raw, action)
        case Replace():
            return _replace(raw, action.part, action.value)
        case SetKey():
            return _replace(raw, Part.DATA, _with_key(bytes(raw.data), action))


def _set(raw: RawPdu, name: str, value: int | bool | bytes | Plus | None) -> RawPdu:
    field = field_of(raw.opcode, name)
    if value is None:
        raise ValueError(f"no value for {name}")
    if isinstance(value, Plus):
        number = int.from_bytes(raw.bhs, "big") >> field.shift & field.mask
        value = number + value.amount & field.mask
    if field.kind is bytes and isinstance(value, int):
        value = value.to_bytes(field.at.size, "big")
    changed = set_field(raw, name, value)
    changed.data_digest_error = raw.data_digest_error
    return changed


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
    pairs = [pair for pair in text.split(b"\0") if pair]
    present = any(pair.startswith(name) for pair in pairs)
    if action.value is None:
        pairs = [pair for pair in pairs if not pair.startswith(name)]
    else:
        wanted = name + action.value.encode("utf-8", "surrogateescape")
        if present and not action.again:
            pairs = [wanted if pair.startswith(name) else pair for pair in pairs]
        else:
            pairs.append(wanted)
    return b"".join(pair + b"\0" for pair in pairs)
