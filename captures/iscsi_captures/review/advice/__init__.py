"""Advice on what is slow or fragile and breaks no rule: a table of rows, each with its thresholds and their reasons."""

from __future__ import annotations

from iscsi_captures.review.advice.model import Advice, Whole
from iscsi_captures.review.advice.rows import ADVICE, advise

__all__ = ["ADVICE", "Advice", "Whole", "advise"]
