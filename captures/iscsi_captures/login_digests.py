"""Which digests a login agrees on, for one who only looks on (RFC 7143 6.2, 13.1)."""

from __future__ import annotations

DIGEST_KEYS = ("HeaderDigest", "DataDigest")
MOST_TEXT = 1 << 16
"""Bytes of one text sequence of which more is not kept."""


class LoginDigests:
    """Fed with the text of one connection's login PDUs, knows what was answered to an offer of digests."""

    def __init__(self) -> None:
        self._text = {False: b"", True: b""}
        self._values: dict[str, list[str]] = {key: [] for key in DIGEST_KEYS}

    def text(self, data: bytes, *, response: bool, continued: bool) -> None:
        """The data segment of a login PDU of the target (response) or the initiator, and its C bit."""
        text = (self._text[response] + data)[:MOST_TEXT]
        self._text[response] = text if continued else b""
        if not continued:
            for pair in text.split(b"\0"):
                key, _, value = pair.decode("utf-8", "replace").partition("=")
                if key in self._values:
                    self._values[key].append(value)

    def agreed(self, key: str) -> bool:
        """Whether the second value of that key, which answers the first, is CRC32C."""
        return self._values[key][1:2] == ["CRC32C"]
