"""LUN masking: who is let in, and which logical units they see."""

from __future__ import annotations

from iscsi_target.config import TargetNode

EVERYBODY_ELSE = "*"


def visible_luns(node: TargetNode, initiator_name: str) -> frozenset[int] | None:
    """The LUNs that an initiator sees, by their own numbers; None for one that the node's access list does not admit."""
    if node.access is None:
        return frozenset(node.luns)
    luns = node.access.get(initiator_name, node.access.get(EVERYBODY_ELSE))
    return None if luns is None else frozenset(luns)


def is_admitted(node: TargetNode, initiator_name: str) -> bool:
    """Whether the initiator may log in at all (otherwise status 0202h, RFC 7143 11.13.5)."""
    return visible_luns(node, initiator_name) is not None
