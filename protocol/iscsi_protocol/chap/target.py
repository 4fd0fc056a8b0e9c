"""The target's side of the security stage with AuthMethod CHAP or None (RFC 7143 sections 6.3.2, 9.2, 12.1, 12.1.3)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType

from iscsi_protocol.chap.errors import (
    AlgorithmUnknown,
    AuthenticationFailed,
    AuthMethodUnknown,
    ChapKeyInvalid,
    ChapKeyMissing,
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
    SHA1,
    SHA3_256,
    SHA256,
    Credentials,
    Hasher,
    RandomBytes,
    available,
    check_secret,
    hashlib_hasher,
    response,
)
from iscsi_protocol.text import BinaryError, NumberError, parse_binary, parse_list, parse_number

FindSecret = Callable[[str], bytes | None]
"""The secret by which the initiator of a CHAP_N authenticates itself here; None for a name that may not."""

_STEPS: Mapping[Step, tuple[frozenset[str], str]] = MappingProxyType(
    {
        Step.START: (frozenset({"AuthMethod"}), "R7143-12.1-01"),
        Step.PROPOSED: (frozenset({"AuthMethod", "CHAP_A"}), "R7143-12.1-01"),
        Step.ALGORITHM: (frozenset({"CHAP_A"}), "R7143-12.1.3-01"),
        Step.RESPONSE: (frozenset({"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}), "R7143-12.1.3-03"),
        Step.DONE: (frozenset(), "R7143-12.1.3-03"),
    }
)
"""Which keys a step admits, and what the initiator breaks with another."""

_NOBODY = b"no secret of anybody"
_NO_SECRETS: Mapping[str, bytes] = MappingProxyType({})


class ChapTarget:
    """Authenticates the initiator of one connection, and itself to it where the initiator asks for that.

    random_bytes: entropy for CHAP_I and CHAP_C. find_secret: see FindSecret; None where CHAP is not configured. The caller
    binds it to the InitiatorName, so that an identity serves only the names that it belongs to (9.2). credentials: this
    target's own, for an initiator that asks for them; without them such a login is refused. none_allowed: whether this
    initiator may go without authentication. algorithms: those accepted; of them the first in the initiator's order is taken
    (6.2.1), or with own_order the first in the order given here. challenge_length: 1..1024. encrypted: IPsec protects the
    connection. issued: challenges that this node has sent on other connections and that must not come back.

    The constructor raises ShortSecret, HashUnavailable, ChapKeyInvalid for a name that CHAP_N does not take, and ValueError
    for a challenge_length out of bounds and where neither CHAP nor None is possible.
    Read-only: step; method, the one chosen; algorithm; challenge, the one sent; initiator_name, the CHAP_N that was
    authenticated; mutual, whether this target authenticated itself.
    """

    def __init__(
        self,
        *,
        random_bytes: RandomBytes,
        find_secret: FindSecret | None = None,
        credentials: Credentials | None = None,
        none_allowed: bool = False,
        algorithms: Sequence[int] = (SHA3_256, SHA256, SHA1, MD5),
        own_order: bool = False,
        encoding: Encoding = Encoding.HEX,
        challenge_length: int = 16,
        encrypted: bool = False,
        issued: Container[bytes] = frozenset(),
        hasher: Hasher = hashlib_hasher,
    ) -> None:
        check_challenge_length(challenge_length)
        if find_secret is None and not none_allowed:
            raise ValueError("no method is possible: CHAP is not configured and None is not allowed")
        if credentials is not None:
            read_name(credentials.name)
            check_secret(credentials.secret, event_id=36, encrypted=encrypted)
        self._algorithms = available(algorithms, hasher)
        if find_secret is not None and not self._algorithms:
            raise HashUnavailable("no configured CHAP algorithm is performed here", "R7143-12.1.3-09")
        self._random_bytes = random_bytes
        self._chap = find_secret is not None
        self._find_secret: FindSecret = find_secret or _NO_SECRETS.get
        self._credentials = credentials
        self._none_allowed = none_allowed
        self._own_order = own_order
        self._encoding = encoding
        self._challenge_length = challenge_length
        self._issued = issued
        self._hasher = hasher
        self._identifier = 0
        self.step = Step.START
        self.method: str | None = None
        self.algorithm = 0
        self.challenge = b""
        self.initiator_name: str | None = None
        self.mutual = False

    @property
    def finished(self) -> bool:
        """Whether all is said, so that the stage may be left (T=1 may be answered with T=1)."""
        return self.step is Step.DONE

    def method_chosen(self, method: str) -> None:
        """Begin behind a choice of AuthMethod that was negotiated outside.

        Raises ValueError for a method that is not possible here, and ChapStateError once something was received.
        """
        if self.step is not Step.START:
            raise ChapStateError("the exchange has begun")
        if not self._permits(method):
            raise ValueError(f"{method!r} is not possible here")
        self.step = self._enter(method)

    def receive(self, pairs: Pairs) -> list[tuple[str, str]]:
        """All pairs of one Login Request of the security stage; the security pairs for the response, perhaps none.

        Keys other than AuthMethod and CHAP_ are passed over: the negotiation of the stage judges them. Raises the
        ChapError whose login_status, and pairs if there are any, go into the refusing Login Response, and ChapStateError
        after one.
        """
        if self.step is Step.FAILED:
            raise ChapStateError("the exchange has failed")
        step, self.step = self.step, Step.FAILED
        admitted, rule = _STEPS[step]
        own, faults = select_own(pairs, admitted, rule)
        if faults:
            raise faults[0]
        answer = {
            Step.START: self._choose_method,
            Step.PROPOSED: self._take_choice,
            Step.ALGORITHM: self._challenge,
            Step.RESPONSE: self._authenticate,
            Step.DONE: self._say_nothing,
        }[step]
        reply, self.step = answer(own)
        return reply

    def _permits(self, method: str) -> bool:
        return (method == "CHAP" and self._chap) or (method == "None" and self._none_allowed)

    def _enter(self, method: str) -> Step:
        self.method = method
        return Step.ALGORITHM if method == "CHAP" else Step.DONE

    def _choose_method(self, own: Mapping[str, str]) -> tuple[list[tuple[str, str]], Step]:
        offer = own.get("AuthMethod")
        if offer is None:
            if self._none_allowed:
                return [], self._enter("None")
            return [("AuthMethod", "CHAP")], Step.PROPOSED
        for method in parse_list(offer):
            if self._permits(method):
                return [("AuthMethod", method)], self._enter(method)
        raise AuthMethodUnknown(
            "no method offered that may be used",
            "R7143-6.3.2-03",
            "AuthMethod",
            offer,
            pairs=(("AuthMethod", "Reject"),),
        )

    def _take_choice(self, own: Mapping[str, str]) -> tuple[list[tuple[str, str]], Step]:
        method = own.get("AuthMethod")
        if method is None:
            raise ChapKeyMissing("a key is missing", "R7143-12.1-01", "AuthMethod")
        if method != "CHAP":
            raise AuthMethodUnknown("a method that was not proposed", "R7143-6.2.1-06", "AuthMethod", method)
        self._enter(method)
        return self._challenge(own)

    def _challenge(self, own: Mapping[str, str]) -> tuple[list[tuple[str, str]], Step]:
        _require(own, "CHAP_A", rule="R7143-12.1.3-01")
        algorithm, spelling = self._choose_algorithm(own["CHAP_A"])
        self.algorithm = algorithm
        self._identifier = self._random_bytes(1)[0]
        self.challenge = draw_challenge(self._random_bytes, self._challenge_length)
        reply = [
            ("CHAP_A", spelling),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", self._encoding.encode(self.challenge)),
        ]
        return reply, Step.RESPONSE

    def _choose_algorithm(self, offer: str) -> tuple[int, str]:
        offered: dict[int, str] = {}
        for item in parse_list(offer):
            try:
                offered.setdefault(parse_number(item), item)
            except NumberError:
                continue  # what is not understood in a list is passed over (6.2.1)
        first, second = (self._algorithms, offered) if self._own_order else (offered, self._algorithms)
        for algorithm in first:
            if algorithm in second:
                return algorithm, offered[algorithm]
        raise AlgorithmUnknown("no common algorithm", "R7143-12.1.3-02", "CHAP_A", offer)

    def _authenticate(self, own: Mapping[str, str]) -> tuple[list[tuple[str, str]], Step]:
        mutual = "CHAP_I" in own or "CHAP_C" in own
        # Without CHAP_R a target that went on to answer CHAP_C would be a mirror for its own challenge.
        _require(own, "CHAP_R", rule="R7143-9.2-06" if mutual else "R7143-12.1.3-03")
        _require(own, "CHAP_N", *(("CHAP_I", "CHAP_C") if mutual else ()), rule="R7143-12.1.3-03")
        name = read_name(own["CHAP_N"])
        try:
            answer = parse_binary(own["CHAP_R"], MAX_BINARY_LENGTH)
        except BinaryError as error:
            raise ChapKeyInvalid(error.reason, error.clause, "CHAP_R", own["CHAP_R"]) from error
        identifier, challenge = 0, b""
        if mutual:
            identifier = read_identifier(own["CHAP_I"])
            challenge = read_challenge(own["CHAP_C"], _Challenges(self.challenge, self._issued))
        self._verify(name, answer)
        if not mutual:
            self.initiator_name = name
            return [], Step.DONE
        if self._credentials is None:
            raise AuthenticationFailed("no authentication of this target is configured", "R7143-12.1.3-05")
        self.initiator_name = name
        self.mutual = True
        proof = response(self.algorithm, identifier, self._credentials.secret, challenge, self._hasher)
        return [("CHAP_N", self._credentials.name), ("CHAP_R", self._encoding.encode(proof))], Step.DONE

    def _verify(self, name: str, answer: bytes) -> None:
        secret = self._find_secret(name)
        # An unknown name costs the same hash and the same comparison as a wrong secret, and gets the same words.
        right = hmac.compare_digest(answer, self._expected(secret or _NOBODY)) and bool(secret)
        if self._credentials is not None and hmac.compare_digest(answer, self._expected(self._credentials.secret)):
            raise AuthenticationFailed("the response that this target itself would give", "R7143-9.2.1-09")
        if not right:
            raise AuthenticationFailed("authentication failed", "R7143-12.1.3-04")

    def _expected(self, secret: bytes) -> bytes:
        return response(self.algorithm, self._identifier, secret, self.challenge, self._hasher)

    def _say_nothing(self, own: Mapping[str, str]) -> tuple[list[tuple[str, str]], Step]:
        return [], Step.DONE


class _Challenges:
    """One challenge and a collection, as one container."""

    def __init__(self, this: bytes, others: Container[bytes]) -> None:
        self._this = this
        self._others = others

    def __contains__(self, challenge: object) -> bool:
        return challenge == self._this or challenge in self._others


def _require(own: Mapping[str, str], *needed: str, rule: str) -> None:
    missing = find_missing(own, needed, rule)
    if missing:
        raise missing[0]
