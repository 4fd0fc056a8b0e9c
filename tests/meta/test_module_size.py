"""A module is one idea; what passes 600 lines has become two."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "target", "initiator", "captures", "conformance")
LONGEST = 600


def test_no_module_is_longer_than_600_lines():
    """Every Python file of the five rooms stays within the limit."""
    modules = [path for room in ROOMS for path in sorted((CHECKOUT / room).rglob("*.py"))]
    lengths = {path.relative_to(CHECKOUT): len(path.read_bytes().splitlines()) for path in modules}

    assert lengths, "no module was found"
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
