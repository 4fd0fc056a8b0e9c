"""What all requests have in common: a name on the wire, a version, and the type of the answer."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.values import Discreet, check_ranges
from iscsi_initiator.status_codes import Refused, StatusCode

VERSION = 1
"""Of the whole vocabulary of requests and answers."""

A_co = TypeVar("A_co", bound=Answer, covariant=True)


class Operation(
    Discreet, Generic[A_co], frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag=True
):
    """A request. buffer_size: the bytes of answer that the caller takes, None for any number; version: VERSION.

    On the wire the name of the class is the field `op`. Raises Refused when made out of values that cannot be.
    """

    version: int = VERSION
    buffer_size: int | None = None

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise Refused(
                StatusCode.REQUEST_NOT_SUPPORTED, f"requests of version {VERSION} are taken, not {self.version}"
            )
        check_ranges(self, "buffer_size")
        self.check()

    def check(self) -> None:
        """What an operation asks of its own fields. Raises Refused."""


def answer_type(operation: type[Operation[Any]]) -> type[Answer]:
    """The answer that a kind of request has when it was done."""
    for kind in operation.__mro__:
        for base in kind.__dict__.get("__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, Answer):
                    return argument
    raise TypeError(f"{operation.__name__} says no answer")
