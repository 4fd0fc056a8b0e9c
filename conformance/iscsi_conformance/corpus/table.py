"""What the tables of histories are made of: by rule, the histories that break it, and those that only nearly do."""

from __future__ import annotations

from collections.abc import Callable

from iscsi_conformance.corpus.script import Script

Sample = Callable[[Script], Script]
"""Writes a history with an empty script, and returns it."""

Row = tuple[tuple[Sample, ...], tuple[Sample, ...]]
"""Histories that break a rule, and near misses, which break none."""

Table = dict[str, Row]
"""By the rule's id."""
