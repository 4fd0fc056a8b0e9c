"""Whatever the service answers can be shown, as text and as JSON."""

from __future__ import annotations

import enum
import json
import types
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsi_initiator.iscsicli.render import json_text, text_lines
from iscsi_initiator.iscsicli.table import GROUPS
from iscsi_initiator.service import api
from iscsi_initiator.service.api import wire
from iscsi_initiator.status_codes import StatusCode

ROWS = {each.show: each for group in GROUPS.values() for each in group}.values()
"""One command for each way to show an answer."""

NUMBERS = {"login_flags": 3, "maximum_connections": 9, "default_time2wait": 9, "default_time2retain": 9, "auth_type": 2}
"""The highest value of fields that are checked on the way in."""

texts = st.text(max_size=8).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text)


def of(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of the type of a field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if name == "user_name":
        return st.sampled_from([None, "user"])
    if name == "password":
        return st.none()
    if origin is Annotated:
        return of(arguments[0], name)
    if origin in (Union, types.UnionType):
        return st.one_of([of(each, name) for each in arguments])
    if origin is tuple:
        return st.lists(of(arguments[0], name), max_size=2).map(tuple)
    if issubclass(kind, msgspec.Struct):
        return built(kind)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    low = 1 if name in ("port", "maximum_connections") else 0
    simple: dict[type, st.SearchStrategy[Any]] = {
        int: st.integers(low, NUMBERS.get(name, 60000)),
        str: texts.map(lambda text: text or "x"),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
        types.NoneType: st.none(),
    }
    return simple[kind]


def built(kind: type[msgspec.Struct], **given_values: Any) -> st.SearchStrategy[Any]:
    """Structs of a kind."""
    fields = {
        each.name: of(each.type, each.name) for each in msgspec.structs.fields(kind) if each.name not in given_values
    }
    return st.builds(kind, **fields, **{name: st.just(value) for name, value in given_values.items()})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@settings(max_examples=10)
@given(data=st.data())
def test_any_answer_is_shown(row, data):
    """Lines without control characters, the code in the last; and an object with all the fields."""
    status = data.draw(st.sampled_from([0, StatusCode.OPERATION_NOT_ALL_SUCCESS]))
    answer = data.draw(built(api.answer_type(row.request), status=status))
    assert wire.decode_answer(wire.encode_answer(answer), row.request) == answer
    lines = text_lines(row, answer)
    assert [line for line in lines if not line.isprintable()] == []
    assert f"0x{status:08X}" in lines[-1]
    told = json.loads(json_text(row.name, answer.status, answer.message, answer))
    assert set(answer.__struct_fields__) <= set(told)


@given(built(api.Failure, status=StatusCode.SCSI_REQUEST_FAILED))
def test_any_failure_is_shown(failure):
    """Sense data of any kind makes one line and one object."""
    with pytest.raises(api.RequestFailed) as failed:
        wire.decode_answer(wire.encode_answer(failure), api.ReportLUNs)
    assert failed.value.failure == failure
    assert json.loads(json_text("ReportLUNs", failure.status, failure.message, failure))["sense"] == failure.sense.hex()
