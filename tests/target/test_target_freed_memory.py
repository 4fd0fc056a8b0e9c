"""The C library is told to keep freed memory, where it can be told."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest

from iscsi_target.shell.memory import give_back_freed_memory, keep_freed_memory


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


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def test_memory_freed_below_what_is_in_use_is_given_back():
    """Blocks that are too small to be mapped singly, with one of them kept, so that the heap cannot just shrink."""
    blocks = [bytearray(b"x") * 98304 for _ in range(400)]
    kept = blocks[-1]
    blocks.clear()
    before = resident()
    give_back_freed_memory()
    assert before - resident() > 100 * len(kept)


def test_a_c_library_that_cannot_give_back_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not give_back_freed_memory()
