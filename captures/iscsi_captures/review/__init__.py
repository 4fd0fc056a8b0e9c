"""Reviewing captures: what a dialogue shows of its two sides, and what in it breaks which clause.

`reviewer` takes a history and has the rule book judge it, `assemble` makes a `model.Review` of what it brings; `text`,
`schema` and `html` show it.
"""

from __future__ import annotations

from iscsi_captures.review.model import Review
from iscsi_captures.review.review import review

__all__ = ["Review", "review"]
