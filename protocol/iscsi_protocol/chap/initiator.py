"""The initiator's side of the security stage with AuthMethod CHAP or None (RFC 7143 sections 6.3.2, 12.1, 12.1.3)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from iscsi_protocol.chap.errors import (
    AlgorithmUnknown,
    AuthenticationFailed,
    AuthMethodMissing,
    AuthMethodUnknown,
    ChapError,
    ChapKeyInvalid,
    ChapNotConfigured,
    ChapNotOffered,
    HashUnavailable,
)
from iscsi_protocol.chap.exchange import (
    MAX_BINARY_LENGTH,
    ChapStateError,
    Encoding,
    Pairs,
    Step,
    check_challenge_length,
    draw_challenge,
    find_missing,
    read_challenge,
    read_identifier,
    read_name,
    select_own,
)
from iscsi_protocol.chap.hashes import (
    MD5,
    MIN_SECRET_LENGTH,
    Credentials,
    Hasher,
    RandomBytes,
    available,
    check_secret,
    hashlib_hasher,
    response,
)
from iscsi_protocol.negotiation.keys import KEYS, Use
from iscsi_protocol.text import BinaryError, NumberError, parse_binary, parse_number

_OPERATIONAL_KEYS = frozenset(
    name for name, rule in KEYS.items() if not rule.any_stage and rule.initiator_use is not Use.SECURITY
)

_RULES: Mapping[Step, str] = MappingProxyType(
    {
        Step.METHOD: "R7143-12.1-01",
        Step.ALGORITHM: "R7143-12.1.3-02",
        Step.RESPONSE: "R7143-12.1.3-05",
        Step.DONE: "R7143-12.1.3-05",
    }
)
"""What the target breaks with a key out of place."""

T = TypeVar("T")


class ChapInitiator:
    """Authenticates one connection to a target, and the target to it where that is asked for.

    random_bytes: entropy for CHAP_I and CHAP_C. credentials: this initiator's; None where CHAP is not configured, which
    offers None alone. target_secret: asks for mutual authentication, and is what the target has to know; target_name: the
    CHAP_N that it has to use (None: any). required: with credentials, None is not offered. algorithms: in order of
    preference; what the host does not perform is left out. challenge_length: 1..1024. encrypted: IPsec protects the
    connection, so that short secrets may be used; shortest_secret: bytes that one has otherwise. issued: challenges that
    this node has sent on other connections and that must not come back.

    The constructor raises ShortSecret, HashUnavailable, ChapKeyInvalid for a name that CHAP_N does not take, and
    ValueError for a challenge_length out of bounds and for CHAP that is asked for without credentials.
    Read-only: step; offers, the methods offered in order; method, the one chosen; challenge, the one sent (mutual).
    """

    def __init__(
        self,
        *,
        random_bytes: RandomBytes,
        credentials: Credentials | None = None,
        target_secret: bytes | None = None,
        target_name: str | None = None,
        required: bool = False,
        algorithms: Sequence[int] = (MD5,),
        encoding: Encoding = Encoding.HEX,
        challenge_length: int = 16,
        encrypted: bool = False,
        shortest_secret: int = MIN_SECRET_LENGTH,
        issued: Container[bytes] = frozenset(),
        hasher: Hasher = hashlib_hasher,
    ) -> None:
        check_challenge_length(challenge_length)
        self._algorithms = available(algorithms, hasher)
        if credentials is None and (required or target_secret is not None):
            raise ValueError("CHAP is asked for, and no credentials are given")
        if credentials is not None:
            read_name(credentials.name)
            check_secret(credentials.secret, event_id=35, encrypted=encrypted, shortest=shortest_secret)
            if not self._algorithms:
                raise HashUnavailable("no configured CHAP algorithm is performed here", "R7143-12.1.3-09")
        if target_secret is not None:
            check_secret(target_secret, event_id=36, encrypted=encrypted, shortest=shortest_secret)
        self._credentials = credentials or Credentials(name="", secret=b"")
        if credentials is None:
            self.offers: tuple[str, ...] = ("None",)
        elif required or target_secret is not None:
            self.offers = ("CHAP",)
        else:
            self.offers = ("CHAP", "None")
        self._target_secret = target_secret
        self._random_bytes = random_bytes
        self._target_name = target_name
        self._encoding = encoding
        self._challenge_length = challenge_length
        self._issued = issued
        self._hasher = hasher
        self._algorithm = 0
        self._identifier = 0
        self.step = Step.START
        self.method: str | None = None
        self.challenge = b""

    @property
    def ready(self) -> bool:
        """Whether the next request may ask to leave the stage (T=1): all keys of this side are in it or were sent."""
        return self.step in (Step.RESPONSE, Step.DONE) or (self.step is Step.METHOD and self.offers == ("None",))

    @property
    def finished(self) -> bool:
        """Whether both sides have said all."""
        return self.step is Step.DONE

    @property
    def mutual(self) -> bool:
        """Whether the target is authenticated too."""
        return self._target_secret is not None

    def begin(self) -> list[tuple[str, str]]:
        """The offer for the first request. Raises ChapStateError when it was made already."""
        if self.step is not Step.START:
            raise ChapStateError("the exchange has begun")
        self.step = Step.METHOD
        return [("AuthMethod", ",".join(self.offers))]

    def method_chosen(self, method: str) -> list[tuple[str, str]]:
        """Begin behind a choice of AuthMethod that was negotiated outside; the CHAP pairs for the next request.

        Raises ValueError for a method that is not among `offers`, and ChapStateError after `begin`.
        """
        if self.step is not Step.START:
            raise ChapStateError("the exchange has begun")
        if method not in self.offers:
            raise ValueError(f"{method!r} was not to be offered")
        reply, self.step = self._enter(method)
        return reply

    def receive(self, pairs: Pairs) -> list[tuple[str, str]]:
        """All pairs of one Login Response of the security stage; the CHAP pairs for the next request, perhaps none.

        Keys that are no business of the stage (aliases, X- keys, unknown ones) are passed over. Raises the ChapError
        of the lowest rank; the connection is then to be closed. Raises ChapStateError before `begin` and
        after an error.
        """
        answer = {
            Step.METHOD: self._choose_method,
            Step.ALGORITHM: self._answer_challenge,
            Step.RESPONSE: self._check_target,
            Step.DONE: self._expect_nothing,
        }.get(self.step)
        if answer is None:
            raise ChapStateError(f"nothing is awaited: {self.step.value}")
        step, self.step = self.step, Step.FAILED
        listed = list(pairs)
        faults: list[ChapError] = [
            ChapKeyInvalid("an operational key in the security stage", "R7143-12-02", key, value)
            for key, value in listed
            if key in _OPERATIONAL_KEYS
        ]
        own, more = select_own(listed, self._admitted(step), _RULES[step])
        faults += more
        reply, following = answer(own, faults)
        if faults:
            raise _gravest(faults, listed)
        self.step = following
        return reply

    def _admitted(self, step: Step) -> frozenset[str]:
        if step is Step.METHOD:
            return frozenset({"AuthMethod"})
        if step is Step.ALGORITHM:
            return frozenset({"CHAP_A", "CHAP_I", "CHAP_C"})
        return frozenset({"CHAP_N", "CHAP_R"} if step is Step.RESPONSE and self.mutual else ())

    def _choose_method(self, own: Mapping[str, str], faults: list[ChapError]) -> tuple[list[tuple[str, str]], Step]:
        method = own.get("AuthMethod")
        if method is None:
            faults.append(AuthMethodMissing("no AuthMethod in the security stage", "R7143-6.3.2-02", "AuthMethod"))
        elif method not in self.offers:
            faults.append(self._refuse_method(method))
        return self._enter(method)

    def _enter(self, method: str | None) -> tuple[list[tuple[str, str]], Step]:
        self.method = method
        if method != "CHAP":
            return [], Step.DONE
        return [("CHAP_A", ",".join(map(str, self._algorithms)))], Step.ALGORITHM

    def _refuse_method(self, method: str) -> ChapError:
        if self.offers == ("CHAP",) and method in ("None", "Reject"):
            return ChapNotOffered("the target goes without CHAP", "R7143-6.2.1-03", "AuthMethod", method)
        if method == "CHAP":
            return ChapNotConfigured("the target wants CHAP", "R7143-6.2.1-06", "AuthMethod", method)
        return AuthMethodUnknown("a method that was not offered", "R7143-6.2.1-06", "AuthMethod", method)

    def _answer_challenge(self, own: Mapping[str, str], faults: list[ChapError]) -> tuple[list[tuple[str, str]], Step]:
        faults += find_missing(own, ("CHAP_A", "CHAP_I", "CHAP_C"), _RULES[Step.ALGORITHM])
        algorithm = _attempt(self._read_algorithm, own.get("CHAP_A"), faults)
        identifier = _attempt(read_identifier, own.get("CHAP_I"), faults)
        challenge = _attempt(lambda value: read_challenge(value, self._issued), own.get("CHAP_C"), faults)
        if algorithm is None or identifier is None or challenge is None or faults:
            return [], Step.FAILED
        self._algorithm = algorithm
        answer = response(algorithm, identifier, self._credentials.secret, challenge, self._hasher)
        reply = [("CHAP_N", self._credentials.name), ("CHAP_R", self._encoding.encode(answer))]
        if self.mutual:
            self._identifier = self._random_bytes(1)[0]
            self.challenge = draw_challenge(self._random_bytes, self._challenge_length, challenge)
            reply += [("CHAP_I", str(self._identifier)), ("CHAP_C", self._encoding.encode(self.challenge))]
        return reply, Step.RESPONSE

    def _read_algorithm(self, value: str) -> int:
        try:
            algorithm = parse_number(value)
        except NumberError as error:
            raise AlgorithmUnknown("no algorithm number", error.clause, "CHAP_A", value) from error
        if algorithm not in self._algorithms:
            raise AlgorithmUnknown("an algorithm that was not offered", "R7143-12.1.3-02", "CHAP_A", value)
        return algorithm

    def _check_target(self, own: Mapping[str, str], faults: list[ChapError]) -> tuple[list[tuple[str, str]], Step]:
        if self._target_secret is not None:
            faults += find_missing(own, ("CHAP_N", "CHAP_R"), _RULES[Step.RESPONSE])
            name = _attempt(read_name, own.get("CHAP_N"), faults)
            given = own.get("CHAP_R")
            if given is not None:
                self._verify(self._target_secret, name, given, faults)
        return [], Step.DONE

    def _verify(self, secret: bytes, name: str | None, given: str, faults: list[ChapError]) -> None:
        try:
            answer = parse_binary(given, MAX_BINARY_LENGTH)
        except BinaryError as error:
            faults.append(AuthenticationFailed(error.reason, error.clause, "CHAP_R", given))
            return
        if hmac.compare_digest(answer, self._expected(self._credentials.secret)):
            reason, clause = "the response that this initiator itself would give", "R7143-9.2.1-09"
        elif not hmac.compare_digest(answer, self._expected(secret)):
            reason, clause = "a wrong response", "R1994-4.2-02"
        elif self._target_name not in (None, name):
            reason, clause = "the response of another name", "R7143-9.2-11"
        else:
            return
        faults.append(AuthenticationFailed(reason, clause, "CHAP_R", given))

    def _expected(self, secret: bytes) -> bytes:
        return response(self._algorithm, self._identifier, secret, self.challenge, self._hasher)

    def _expect_nothing(self, own: Mapping[str, str], faults: list[ChapError]) -> tuple[list[tuple[str, str]], Step]:
        return [], Step.DONE


def _attempt(read: Callable[[str], T], value: str | None, faults: list[ChapError]) -> T | None:
    """What `read` makes of the value; None, and a fault more unless the value is missing, when it makes nothing of it."""
    if value is None:
        return None
    try:
        return read(value)
    except ChapError as fault:
        faults.append(fault)
        return None


def _gravest(faults: list[ChapError], pairs: list[tuple[str, str]]) -> ChapError:
    """The fault that is logged: of those with the lowest rank the one that stands first in the PDU."""

    def rank(fault: ChapError) -> tuple[int, int]:
        pair = (fault.key, fault.value)
        return fault.rank, pairs.index(pair) if pair in pairs else len(pairs)

    return min(faults, key=rank)
