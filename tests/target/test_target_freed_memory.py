"""The C library is told to keep freed memory, where it can be told."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from iscsi_target.shell.memory import keep_freed_memory


class Mallopt:
    """Takes what it is asked for; answers as told."""

    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.asked: list[tuple[int, int]] = []

    def __call__(self, parameter: int, value: int) -> int:
        self.asked.append((parameter, value))
        return self.answer


def test_both_thresholds_are_raised(monkeypatch: pytest.MonkeyPatch):
    """Either alone would still have blocks given back: mapped ones singly, others from the top of the heap."""
    mallopt = Mallopt(1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory()
    values = dict(mallopt.asked)
    assert set(values) == {-1, -3}
    assert min(values.values()) > 1 << 20


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=Mallopt(0)))
    assert not keep_freed_memory()


def test_a_c_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not keep_freed_memory()
