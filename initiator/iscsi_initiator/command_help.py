"""What the commands of iscsi-initiator have in common: how their help looks, and how they end."""

from __future__ import annotations

from typing import Any

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes."""

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def command_help(summary: str, *examples: str, more: str = "") -> str:
    """The help of a command: examples first, kept as they are (the backspace says so to click)."""
    lines = "\n".join(f"  iscsi-initiator {example}" for example in examples)
    return f"\b\nExamples:\n{lines}\n\n{summary}" + (f"\n\n{more}" if more else "")
