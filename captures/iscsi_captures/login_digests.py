"""Which digests a login agrees on, for one who only looks on (RFC 7143 6.2, 13.1)."""

from __future__ import annotations

from dataclasses import dataclass

MOST_TEXT = 1 << 16
"""Bytes of one text sequence of which more is not kept."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Which digests the PDUs of a connection carry (11.2.3, 11.2.4)."""

    header: bool = False
    data: bool = False


NO_DIGESTS = Digests()


class LoginDigests:
    """Fed with the text of one connection's login PDUs, knows what was answered to an offer of digests."""

    def __init__(self) -> None:
        self._text = {False: b"", True: b""}
        self._values: dict[str, list[str]] = {"HeaderDigest": [], "DataDigest": []}

    def text(self, data: bytes, *, response: bool, continued: bool) -> None:
        """The data segment of a login PDU of the target (response) or the initiator, and its C bit."""
        text = (self._text[response] + data)[:MOST_TEXT]
        self._text[response] = text if continued else b""
        if not continued:
            for pair in text.split(b"\0"):
                key, _, value = pair.decode("utf-8", "replace").partition("=")
                if key in self._values:
                    self._values[key].append(value)

    def agreed(self) -> Digests:
        """The digests for which the second value, which answers the first, is CRC32C."""
        header, data = (values[1:2] == ["CRC32C"] for values in self._values.values())
        return Digests(header, data)
