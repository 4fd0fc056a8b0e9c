"""Reviewing captures: what a dialogue shows of its two sides, and what in it breaks which clause."""

from __future__ import annotations
