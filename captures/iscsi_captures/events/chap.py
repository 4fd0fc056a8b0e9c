"""The security stage as the initiator has to judge it (RFC 7143 6.3.2, 9.2, 12.1.3): events 13 to 17, 33, 38, 40, 41.

The response is computed here anew, from the secrets that the initiator declares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from enum import Enum
from types import MappingProxyType

from iscsi_captures.events.dumps import words
from iscsi_captures.events.keys import ILLEGAL, Fault, Pair
from iscsi_captures.events.values import binary, number
from iscsi_protocol.negotiation.keys import KEYS, Use
from iscsi_protocol.text import encode_text

LONGEST = 1024
_NAME_LENGTH = 255
_LARGEST_IDENTIFIER = 255

_HASHES: Mapping[int, str] = MappingProxyType({5: "md5", 6: "sha1", 7: "sha256", 8: "sha3_256"})
_OPERATIONAL = frozenset(
    name for name, rule in KEYS.items() if not rule.any_stage and rule.initiator_use is not Use.SECURITY
)


Faults = list[tuple[str, Fault]]


class Step(Enum):
    """What the initiator waits for."""

    METHOD = "AuthMethod"
    ALGORITHM = "CHAP_A, CHAP_I and CHAP_C"
    RESPONSE = "CHAP_N and CHAP_R, or consent"
    DONE = "nothing more"


class Authentication:
    """One login's. offers: the methods that the initiator offered.

    secret, peer_secret: what the initiator, and the target, has to know; peer_name: what the target has to be called.
    """

    def __init__(self, secret: bytes | None, peer_secret: bytes | None, peer_name: str | None) -> None:
        self.offers: list[str] = []
        self.step = Step.METHOD
        self.challenge: bytes | None = None
        self._secret = secret
        self._peer_secret = peer_secret
        self._peer_name = peer_name
        self._algorithms: list[str] = []
        self._algorithm: int | None = None
        self._identifier: int | None = None

    @property
    def ready(self) -> bool:
        """Whether the initiator's next request asks to leave the stage."""
        return self.step in (Step.RESPONSE, Step.DONE)

    def say(self, pairs: list[Pair]) -> None:
        """The initiator's own keys."""
        for key, value in pairs:
            if key == "AuthMethod":
                self.offers = value.split(",")
            elif key == "CHAP_A":
                self._algorithms = value.split(",")
            elif key == "CHAP_I":
                self._identifier = number(value)
            elif key == "CHAP_C":
                self.challenge = binary(value)

    def hear(self, pairs: list[Pair], issued: Container[bytes]) -> list[Fault]:
        """The target's. issued: challenges of the initiator, which may not come back. The faults, as their keys come."""
        own: dict[str, str] = {}
        found: list[tuple[int, Fault]] = []
        admitted = self._admitted()
        for place, (key, value) in enumerate(pairs):
            chap = key.startswith("CHAP_")
            if key in _OPERATIONAL:
                found.append((place, _pair(key, value)))
            elif key in admitted and key not in own:
                own[key] = value
            elif chap or key == "AuthMethod":
                found.append((place, _pair(key, value) if chap else ILLEGAL))
        keys = [key for key, _ in pairs]
        for key, fault in self._judge(own, issued):
            found.append((keys.index(key) if key in own else len(keys), fault))
        return [fault for _, fault in sorted(found, key=lambda entry: entry[0])]

    def _judge(self, own: Mapping[str, str], issued: Container[bytes]) -> Faults:
        """The keys of the step, each fault with the key that it is about; and the next step."""
        match self.step:
            case Step.METHOD:
                return self._choose(own)
            case Step.ALGORITHM:
                return self._challenged(own, issued)
            case Step.RESPONSE:
                return self._answered(own)
            case Step.DONE:
                return []

    def _admitted(self) -> frozenset[str]:
        if self.step is Step.METHOD:
            return frozenset({"AuthMethod"})
        if self.step is Step.ALGORITHM:
            return frozenset({"CHAP_A", "CHAP_I", "CHAP_C"})
        return frozenset({"CHAP_N", "CHAP_R"} if self.step is Step.RESPONSE and self._mutual else ())

    def _choose(self, own: Mapping[str, str]) -> Faults:
        method = own.get("AuthMethod")
        if method is None:
            return [("AuthMethod", (41, b""))]
        self.step = Step.ALGORITHM if method == "CHAP" else Step.DONE
        if method in self.offers:
            return []
        if self.offers == ["CHAP"] and method in ("None", "Reject"):
            return [("AuthMethod", (38, b""))]
        return [("AuthMethod", (40, b"") if method == "CHAP" else (13, encode_text(method)))]

    def _challenged(self, own: Mapping[str, str], issued: Container[bytes]) -> Faults:
        faults: Faults = [(key, ILLEGAL) for key in ("CHAP_A", "CHAP_I", "CHAP_C") if key not in own]
        algorithm, identifier, challenge = own.get("CHAP_A"), own.get("CHAP_I"), own.get("CHAP_C")
        if algorithm is not None:
            self._algorithm = number(algorithm)
            if self._algorithm is None or self._algorithm not in [number(item) for item in self._algorithms]:
                faults.append(("CHAP_A", (14, encode_text(algorithm))))
        if identifier is not None:
            given = number(identifier)
            if given is None or given > _LARGEST_IDENTIFIER:
                faults.append(("CHAP_I", _pair("CHAP_I", identifier)))
        if challenge is not None:
            faults += [("CHAP_C", fault) for fault in _judge_challenge(challenge, issued)]
        self.step = Step.RESPONSE
        return faults

    def _answered(self, own: Mapping[str, str]) -> Faults:
        mutual, self.step = self._mutual, Step.DONE
        if not mutual:
            return []
        faults: Faults = [(key, ILLEGAL) for key in ("CHAP_N", "CHAP_R") if key not in own]
        name, given = own.get("CHAP_N"), own.get("CHAP_R")
        if name is not None and not 0 < len(encode_text(name)) <= _NAME_LENGTH:
            faults.append(("CHAP_N", _pair("CHAP_N", name)))
            name = None
        if given is not None and not self._is_right(given, name):
            faults.append(("CHAP_R", (17, encode_text(given))))
        return faults

    @property
    def _mutual(self) -> bool:
        return self.challenge is not None or self._peer_secret is not None

    def _is_right(self, given: str, name: str | None) -> bool:
        response = binary(given)
        if response is None or len(response) > LONGEST or response == self._response(self._secret):
            return False
        if self._peer_secret is None:
            # A history may be silent about the secret; then nobody can tell.
            return True
        return response == self._response(self._peer_secret) and self._peer_name in (None, name)

    def _response(self, secret: bytes | None) -> bytes | None:
        name = _HASHES.get(self._algorithm or 0)
        identifier, challenge = self._identifier, self.challenge
        if None in (name, secret, challenge, identifier) or (identifier or 0) > _LARGEST_IDENTIFIER:
            return None
        text = bytes([identifier or 0]) + (secret or b"") + (challenge or b"")
        return hashlib.new(name or "", text, usedforsecurity=False).digest()


def _pair(key: str, value: str) -> Fault:
    return 16, encode_text(f"{key}={value}")


def _judge_challenge(value: str, issued: Container[bytes]) -> list[Fault]:
    challenge = binary(value)
    if challenge is None:
        return [(15, encode_text(value))]
    if len(challenge) > LONGEST:
        return [(33, words(len(challenge)))]
    return [ILLEGAL] if challenge in issued else []
