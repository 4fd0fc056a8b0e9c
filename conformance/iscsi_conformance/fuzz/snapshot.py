"""A state kept once and brought back many times: faster than a deep copy, and what never changes is shared."""

from __future__ import annotations

import io
import pickle
from enum import Enum
from types import FunctionType, MappingProxyType
from typing import Generic, TypeVar

T = TypeVar("T")


class Snapshot(Generic[T]):
    """A copy of `state` and all that it holds. Functions, frozen dataclasses, frozen structs and mapping proxies are taken to
    be immutable all the way down, and every copy has the same.
    """

    def __init__(self, state: T) -> None:
        self._shared: list[object] = []
        buffer = io.BytesIO()
        _Pickler(buffer, self._shared).dump(state)
        self._data = buffer.getvalue()

    def fork(self) -> T:
        """A new copy, which shares nothing that can change with any other."""
        unpickler = pickle.Unpickler(io.BytesIO(self._data))  # noqa: S301 - its own bytes
        # No subclass, since this is asked hundreds of times for every copy.
        unpickler.persistent_load = self._shared.__getitem__  # type: ignore[method-assign]
        forked: T = unpickler.load()
        return forked


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, shared: list[object]) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._shared = shared
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: object) -> int | None:
        """The place of an object that copies share."""
        if not _never_changes(obj):
            return None
        place = self._places.get(id(obj))
        if place is None:
            place = self._places[id(obj)] = len(self._shared)
            self._shared.append(obj)
        return place


_KINDS: dict[type, bool] = {FunctionType: True, MappingProxyType: True, type: True}
"""Whether what is of a type never changes."""


def _never_changes(obj: object) -> bool:
    kind = type(obj)
    known = _KINDS.get(kind)
    if known is None:
        declared = getattr(kind, "__struct_config__", None) or getattr(kind, "__dataclass_params__", None)
        known = _KINDS[kind] = issubclass(kind, Enum) or bool(declared is not None and declared.frozen)
    return known
