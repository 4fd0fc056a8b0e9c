"""The result functions of section 6.2 and chapter 13: what an acceptor answers, and what a proposer may be answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_protocol.negotiation.keys import Function, KeyRule
from iscsi_protocol.negotiation.values import parse_value
from iscsi_protocol.text import parse_list

_NUMERIC: Mapping[Function, Callable[[int, int], int]] = MappingProxyType(
    {Function.MINIMUM: min, Function.MAXIMUM: max}
)

INADMISSIBLE: Mapping[Function, str] = MappingProxyType(
    {
        Function.FIRST_SUPPORTED: "R7143-6.2.1-06",
        Function.MINIMUM: "R7143-13-04",
        Function.MAXIMUM: "R7143-13-05",
        Function.AND: "R7143-13-06",
        Function.OR: "R7143-13-06",
    }
)
"""The clause that an answer breaks which its offer does not allow."""


def select(rule: KeyRule, offer: str, wish: str) -> str | None:
    """The acceptor's answer to an offer. `wish`: what this side would choose (a list: all that it supports).

    None when nothing in the list is supported. Raises ValueFormError for an offer that is no value of the key.
    """
    offered, wished = parse_value(rule, offer), parse_value(rule, wish)
    if isinstance(offered, tuple) and isinstance(wished, tuple):
        return next((item for item in offered if item in wished), None)
    if isinstance(offered, bool) and isinstance(wished, bool):
        both = offered and wished if rule.function is Function.AND else offered or wished
        return "Yes" if both else "No"
    if isinstance(offered, int) and isinstance(wished, int):
        return str(_NUMERIC[rule.function](offered, wished))
    raise TypeError(f"{rule.name} is not negotiated")


def admits(rule: KeyRule, offer: str, answer: str) -> bool:
    """Whether `answer` is a possible result of the offer (6.2.1, 6.2.2). Raises ValueFormError if it is no value at all.

    With a side's wish for the offer, this says whether the side can live with a value.
    """
    if rule.function is Function.FIRST_SUPPORTED:
        return answer in parse_list(offer)
    return select(rule, offer, answer) == select(rule, answer, answer)


def answer_required(rule: KeyRule, offer: str) -> bool:
    """Whether the acceptor has to answer: not where the offer fixes a Boolean result by itself (6.2.2)."""
    if rule.function is Function.AND:
        return offer != "No"
    if rule.function is Function.OR:
        return offer != "Yes"
    return rule.negotiated and not rule.answer_optional
