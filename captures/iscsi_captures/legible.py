"""Text of strangers as text for people: nothing in it may break a document or hide from its reader."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, of which XML 1.0 (2.2) allows tab and line feed without a quibble
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of the text around them
    "\ud800-\udfff\ufffe\uffff]"  # no characters at all
)


def legible(text: str) -> str:
    r"""The text with control characters, direction marks and lone surrogates as escapes like \x00 and \u202e."""
    return _HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
