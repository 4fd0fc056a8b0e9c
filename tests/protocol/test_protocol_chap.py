"""CHAP in both roles: whole exchanges, and every way in which either side can break one."""

from __future__ import annotations

import copy
import hashlib
import pickle
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import chap
from iscsi_protocol.chap import ChapError, ChapInitiator, ChapTarget, Credentials, Encoding, Step
from iscsi_protocol.pdu.codes import LoginStatus
from iscsi_protocol.text import encode_base64, encode_hex, parse_binary

Pairs = list[tuple[str, str]]

ALICE = Credentials(name="alice", secret=b"alice's own secret")
STORE = Credentials(name="store", secret=b"the store's secret")
CHALLENGE = bytes(range(16))


def entropy(seed: int = 1) -> chap.RandomBytes:
    return random.Random(seed).randbytes


def make_initiator(**changes: Any) -> ChapInitiator:
    given_: dict[str, Any] = {"random_bytes": entropy(2), "credentials": ALICE}
    return ChapInitiator(**(given_ | changes))


def make_target(**changes: Any) -> ChapTarget:
    given_: dict[str, Any] = {
        "random_bytes": entropy(3),
        "find_secret": {ALICE.name: ALICE.secret}.get,
        "credentials": STORE,
    }
    return ChapTarget(**(given_ | changes))


def converse(initiator: ChapInitiator, target: ChapTarget) -> list[Pairs]:
    """The whole exchange, request and response by turns."""
    said = [initiator.begin()]
    while not initiator.finished:
        said.append(target.receive(said[-1]))
        said.append(initiator.receive(said[-1]))
        assert len(said) < 12
    return said[:-1]


def answer_to(challenge: Pairs, credentials: Credentials = ALICE, *more: tuple[str, str]) -> Pairs:
    """What an initiator of these credentials says to CHAP_A, CHAP_I and CHAP_C."""
    keys = dict(challenge)
    proof = chap.response(
        int(keys["CHAP_A"]), int(keys["CHAP_I"]), credentials.secret, parse_binary(keys["CHAP_C"], 1024)
    )
    return [("CHAP_N", credentials.name), ("CHAP_R", encode_hex(proof)), *more]


def without(pairs: Iterable[tuple[str, str]], key: str) -> Pairs:
    return [pair for pair in pairs if pair[0] != key]


def with_value(pairs: Iterable[tuple[str, str]], key: str, value: str) -> Pairs:
    return [(name, value if name == key else old) for name, old in pairs]


# The hash.


def test_own_example():
    assert chap.response(5, 0x2A, b"secretsecret1", CHALLENGE).hex() == "ec81cd0a4bf810bfcb485d7600dadf3f"


@pytest.mark.parametrize(
    ("number", "name", "length"), [(5, "md5", 16), (6, "sha1", 20), (7, "sha256", 32), (8, "sha3_256", 32)]
)
def test_algorithm_table(number: int, name: str, length: int):
    algorithm = chap.ALGORITHMS[number]
    assert (algorithm.number, algorithm.name, algorithm.length) == (number, name, length)
    proof = chap.response(number, 7, b"secret", b"challenge")
    assert proof == hashlib.new(name, b"\x07secretchallenge").digest()
    assert len(proof) == length


def test_no_other_algorithm_is_registered():
    assert set(chap.ALGORITHMS) == {chap.MD5, chap.SHA1, chap.SHA256, chap.SHA3_256} == {5, 6, 7, 8}
    with pytest.raises(ValueError, match="no CHAP algorithm 9"):
        chap.response(9, 0, b"", b"")


@pytest.mark.parametrize("identifier", [-1, 256])
def test_identifier_is_one_octet(identifier: int):
    with pytest.raises(ValueError, match="one octet"):
        chap.response(5, identifier, b"secret", b"challenge")


def refuse_md5(name: str, data: bytes) -> bytes:
    if name == "md5":
        raise ValueError("disabled for FIPS")
    return chap.hashlib_hasher(name, data)


def test_the_approved_hasher_refuses_md5_alone():
    assert chap.available((5, 6, 7, 8), chap.approved_hasher) == (6, 7, 8)
    assert chap.approved_hasher("sha256", b"x") == chap.hashlib_hasher("sha256", b"x")


def test_available_leaves_out_what_the_host_refuses():
    assert chap.available((7, 5, 9, 6)) == (7, 5, 6)
    assert chap.available((7, 5, 6), refuse_md5) == (7, 6)
    assert chap.available((5,), refuse_md5) == ()


# Secrets.


@pytest.mark.parametrize(
    ("length", "encrypted", "clause"),
    [
        (0, False, "R1994-2.3-01"),
        (0, True, "R1994-2.3-01"),
        (11, False, "R7143-9.2.1-07"),
        (1, True, None),
        (12, False, None),
    ],
)
def test_secret_length(length: int, encrypted: bool, clause: str | None):
    if clause is None:
        chap.check_secret(bytes(length), event_id=35, encrypted=encrypted)
        return
    with pytest.raises(chap.ShortSecret) as caught:
        chap.check_secret(bytes(length), event_id=36, encrypted=encrypted)
    assert (caught.value.clause, caught.value.event_id) == (clause, 36)
    assert caught.value.dump == length.to_bytes(4, "little")


def test_generated_secret_is_nothing_but_chance():
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return b"\xa5" * length

    assert chap.generate_secret(source) == b"\xa5" * 16
    assert chap.generate_secret(source, 12) == b"\xa5" * 12
    assert asked == [16, 12]
    with pytest.raises(ValueError, match="12 bytes or more"):
        chap.generate_secret(source, 11)


def test_secrets_are_not_shown():
    assert "secret" not in repr(ALICE).replace("secret=", "")
    assert repr(ALICE) == "Credentials(name='alice')"


# Whole exchanges.


@pytest.mark.parametrize("algorithm", [5, 6, 7, 8])
@pytest.mark.parametrize("initiator_writes", Encoding)
@pytest.mark.parametrize("target_writes", Encoding)
@pytest.mark.parametrize("mutual", [False, True])
def test_exchange(algorithm: int, initiator_writes: Encoding, target_writes: Encoding, mutual: bool):
    secret = STORE.secret if mutual else None
    initiator = make_initiator(
        algorithms=(algorithm,), encoding=initiator_writes, target_secret=secret, target_name="store"
    )
    target = make_target(encoding=target_writes)
    said = converse(initiator, target)
    offer, choice, algorithms, challenge, answer, proof = said
    assert offer == [("AuthMethod", "CHAP" if mutual else "CHAP,None")]
    assert choice == [("AuthMethod", "CHAP")]
    assert algorithms == [("CHAP_A", str(algorithm))]
    assert [key for key, _ in challenge] == ["CHAP_A", "CHAP_I", "CHAP_C"]
    assert [key for key, _ in answer] == ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"][: 4 if mutual else 2]
    assert [key for key, _ in proof] == (["CHAP_N", "CHAP_R"] if mutual else [])
    assert dict(answer)["CHAP_N"] == "alice"
    prefix = {Encoding.HEX: "0x", Encoding.BASE64: "0b"}
    assert dict(challenge)["CHAP_C"].startswith(prefix[target_writes])
    assert all(value.startswith(prefix[initiator_writes]) for key, value in answer if key in ("CHAP_R", "CHAP_C"))
    assert len(parse_binary(dict(answer)["CHAP_R"])) == chap.ALGORITHMS[algorithm].length
    assert target.finished
    assert initiator.finished
    assert (target.method, target.algorithm, target.initiator_name, target.mutual) == (
        "CHAP",
        algorithm,
        "alice",
        mutual,
    )
    assert (initiator.method, initiator.mutual) == ("CHAP", mutual)
    assert parse_binary(dict(challenge)["CHAP_C"]) == target.challenge
    assert (initiator.challenge != b"") == mutual


@given(
    st.sampled_from([5, 6, 7, 8]),
    st.binary(min_size=12, max_size=40),
    st.binary(min_size=12, max_size=40),
    st.text(min_size=1, max_size=30).filter(lambda name: "\0" not in name),
    st.integers(1, 1024),
    st.randoms(use_true_random=False),
    st.sampled_from(Encoding),
)
def test_exchange_with_any_secret_and_challenge(
    algorithm: int, secret: bytes, reverse: bytes, name: str, length: int, chance: random.Random, encoding: Encoding
):
    me, store = Credentials(name=name, secret=secret), Credentials(name="store", secret=reverse)
    shape = {"random_bytes": chance.randbytes, "encoding": encoding, "challenge_length": length}
    initiator = make_initiator(**shape, credentials=me, target_secret=reverse, algorithms=(algorithm,))
    target = make_target(**shape, credentials=store, find_secret={name: secret}.get)
    if secret == reverse:
        with pytest.raises(chap.AuthenticationFailed):
            converse(initiator, target)
        return
    converse(initiator, target)
    assert target.initiator_name == name
    assert len(target.challenge) == len(initiator.challenge) == length
    assert target.challenge != initiator.challenge


@pytest.mark.parametrize("length", [1, 16, 255, 256, 1023, 1024])
@pytest.mark.parametrize("encoding", Encoding)
def test_challenge_lengths(length: int, encoding: Encoding):
    initiator = make_initiator(target_secret=STORE.secret, challenge_length=length, encoding=encoding)
    target = make_target(challenge_length=length, encoding=encoding)
    converse(initiator, target)
    assert target.mutual
    assert len(target.challenge) == length


@pytest.mark.parametrize("length", [0, 1025])
def test_challenge_length_out_of_bounds(length: int):
    with pytest.raises(ValueError, match="1 to 1024"):
        make_initiator(challenge_length=length)
    with pytest.raises(ValueError, match="1 to 1024"):
        make_target(challenge_length=length)


def test_no_chap_configured():
    initiator = make_initiator(credentials=None)
    target = make_target(find_secret=None, none_allowed=True)
    assert converse(initiator, target) == [[("AuthMethod", "None")], [("AuthMethod", "None")]]
    assert initiator.method == target.method == "None"
    assert target.initiator_name is None


def test_target_without_chap_takes_none():
    assert converse(make_initiator(), make_target(find_secret=None, none_allowed=True)) == [
        [("AuthMethod", "CHAP,None")],
        [("AuthMethod", "None")],
    ]


def test_first_method_of_the_initiator_is_taken():
    assert make_target(none_allowed=True).receive([("AuthMethod", "KRB5,Z-com.example,None,CHAP")]) == [
        ("AuthMethod", "None")
    ]
    assert make_target(none_allowed=True).receive([("AuthMethod", "CHAP,None")]) == [("AuthMethod", "CHAP")]
    assert make_target().receive([("AuthMethod", "SRP,None,CHAP")]) == [("AuthMethod", "CHAP")]


def test_method_negotiated_outside():
    initiator, target = make_initiator(), make_target()
    target.method_chosen("CHAP")
    assert target.method == "CHAP"
    request = initiator.method_chosen("CHAP")
    assert request == [("CHAP_A", "5")]
    assert target.receive(initiator.receive(target.receive(request))) == []
    assert initiator.receive([]) == []
    assert (initiator.finished, target.finished) == (True, True)


def test_none_negotiated_outside():
    initiator, target = make_initiator(), make_target(none_allowed=True)
    assert initiator.method_chosen("None") == []
    target.method_chosen("None")
    assert (initiator.finished, target.finished) == (True, True)


@pytest.mark.parametrize("method", ["KRB5", "None", "chap", ""])
def test_method_negotiated_outside_has_to_be_possible(method: str):
    for machine in (make_initiator(required=True), make_target()):
        with pytest.raises(ValueError, match=r"possible|offered"):
            machine.method_chosen(method)
        assert machine.step is Step.START


def test_method_is_chosen_once():
    initiator, target = make_initiator(), make_target()
    initiator.begin()
    target.receive([("AuthMethod", "CHAP")])
    for machine in (initiator, target):
        with pytest.raises(chap.ChapStateError):
            machine.method_chosen("CHAP")


def test_target_proposes_what_a_silent_initiator_has_to_choose():
    target = make_target()
    assert target.receive([("InitiatorName", "iqn.2001-04.com.example:a")]) == [("AuthMethod", "CHAP")]
    challenge = target.receive([("AuthMethod", "CHAP"), ("CHAP_A", "5")])
    assert target.receive(answer_to(challenge)) == []
    assert target.initiator_name == "alice"


def test_silent_initiator_may_go_without():
    target = make_target(none_allowed=True)
    assert target.receive([]) == []
    assert (target.finished, target.method) == (True, "None")


def test_ready_says_when_the_stage_may_be_left():
    initiator, target = make_initiator(), make_target()
    ready = [initiator.ready]
    request = initiator.begin()
    for _ in range(3):
        ready.append(initiator.ready)
        request = initiator.receive(target.receive(request))
    assert [*ready, initiator.ready] == [False, False, False, True, True]
    silent = make_initiator(credentials=None)
    silent.begin()
    assert silent.ready


def test_order_of_the_pairs_does_not_matter():
    initiator, target = make_initiator(target_secret=STORE.secret), make_target()
    request = initiator.begin()
    while not initiator.finished:
        request = initiator.receive(target.receive(request[::-1])[::-1])
    assert target.mutual


def test_other_keys_are_passed_over():
    names = [
        ("TargetAlias", "disk"),
        ("TargetPortalGroupTag", "1"),
        ("X-com.example.key", "1"),
        ("Later", "NotUnderstood"),
    ]
    initiator, target = make_initiator(), make_target()
    request = initiator.begin()
    while not initiator.finished:
        request = initiator.receive([*names, *target.receive([*names, *request])])
    assert target.finished


def test_state_can_be_copied_in_the_middle():
    initiator, target = make_initiator(target_secret=STORE.secret), make_target()
    request = initiator.receive(target.receive(initiator.begin()))
    first, second = (copy.deepcopy((initiator, target)) for _ in range(2))
    for one, other in (first, second):
        assert other.receive(one.receive(other.receive(request)))
        assert other.mutual
    assert target.step is Step.ALGORITHM


def test_response_is_taken_in_any_notation():
    for write in (
        encode_hex,
        encode_base64,
        lambda data: "0X" + data.hex().upper(),
        lambda data: "0B" + encode_base64(data)[2:],
    ):
        target = make_target()
        target.method_chosen("CHAP")
        pairs = answer_to(target.receive([("CHAP_A", "5")]))
        proof = parse_binary(dict(pairs)["CHAP_R"])
        assert target.receive(with_value(pairs, "CHAP_R", write(proof))) == []


@pytest.mark.parametrize("name", ["0xadmin", "0bob", "None", "a b", "ä", "=", "\udcff"])
def test_name_is_taken_as_it_is(name: str):
    me = Credentials(name=name, secret=ALICE.secret)
    target = make_target(find_secret={name: ALICE.secret}.get)
    converse(make_initiator(credentials=me), target)
    assert target.initiator_name == name


@pytest.mark.parametrize("spelling", ["7", "0x07", "0X7"])
def test_identifier_in_any_notation(spelling: str):
    target = make_target()
    target.method_chosen("CHAP")
    challenge = target.receive([("CHAP_A", "5")])
    mutual = [("CHAP_I", spelling), ("CHAP_C", encode_hex(CHALLENGE))]
    proof = target.receive(answer_to(challenge, ALICE, *mutual))
    assert dict(proof)["CHAP_R"] == encode_hex(chap.response(5, 7, STORE.secret, CHALLENGE))
    initiator = make_initiator()
    initiator.method_chosen("CHAP")
    reply = initiator.receive([("CHAP_A", "0x5"), ("CHAP_I", spelling), ("CHAP_C", encode_base64(CHALLENGE))])
    assert dict(reply)["CHAP_R"] == encode_hex(chap.response(5, 7, ALICE.secret, CHALLENGE))


# Algorithms.


@pytest.mark.parametrize(
    ("offer", "accepted", "own_order", "choice"),
    [
        ("5,7", (7, 5), False, "5"),
        ("5,7", (7, 5), True, "7"),
        ("7,5", (5,), False, "5"),
        ("7,5", (5,), True, "5"),
        ("8,6", (5, 6, 7, 8), False, "8"),
        ("8,6", (5, 6, 7, 8), True, "6"),
        ("99,x,,0x7,5", (7, 5), False, "0x7"),
        ("05,5", (5,), False, "5"),
        ("5,0x5", (5,), True, "5"),
    ],
)
def test_target_chooses_by_its_policy(offer: str, accepted: tuple[int, ...], own_order: bool, choice: str):
    target = make_target(algorithms=accepted, own_order=own_order)
    target.method_chosen("CHAP")
    assert target.receive([("CHAP_A", offer)])[0] == ("CHAP_A", choice)
    assert target.algorithm == int(choice, 0)


def test_target_accepts_every_registered_algorithm_by_default():
    for algorithm in chap.ALGORITHMS:
        target = make_target()
        target.method_chosen("CHAP")
        assert target.receive([("CHAP_A", str(algorithm))])[0] == ("CHAP_A", str(algorithm))


@pytest.mark.parametrize("offer", ["7", "", "x", "-5", "MD5", "Reject", "99,6"])
def test_no_common_algorithm(offer: str):
    target = make_target(algorithms=(5,))
    target.method_chosen("CHAP")
    refuse(target, [("CHAP_A", offer)], chap.AlgorithmUnknown, "R7143-12.1.3-02", LoginStatus.AUTHENTICATION_FAILURE)


def test_algorithms_are_offered_in_order_and_only_if_performed():
    assert make_initiator(algorithms=(8, 7, 6, 5)).method_chosen("CHAP") == [("CHAP_A", "8,7,6,5")]
    assert make_initiator(algorithms=(7, 5), hasher=refuse_md5).method_chosen("CHAP") == [("CHAP_A", "7")]


def test_host_without_any_algorithm():
    with pytest.raises(chap.HashUnavailable) as caught:
        make_initiator(hasher=refuse_md5)
    assert (caught.value.event_id, caught.value.dump) == (37, b"")
    with pytest.raises(chap.HashUnavailable) as caught:
        make_target(algorithms=(5,), hasher=refuse_md5)
    assert caught.value.login_status is LoginStatus.TARGET_ERROR
    make_initiator(credentials=None, hasher=refuse_md5)
    make_target(find_secret=None, none_allowed=True, algorithms=(5,), hasher=refuse_md5)


# Configuration.


def test_short_secrets_are_refused():
    short = Credentials(name="alice", secret=b"eleven byte")
    with pytest.raises(chap.ShortSecret) as caught:
        make_initiator(credentials=short)
    assert (caught.value.event_id, caught.value.length) == (35, 11)
    with pytest.raises(chap.ShortSecret) as caught:
        make_initiator(target_secret=short.secret)
    assert (caught.value.event_id, caught.value.length) == (36, 11)
    with pytest.raises(chap.ShortSecret) as caught:
        make_target(credentials=short)
    assert caught.value.event_id == 36
    assert "eleven" not in f"{caught.value}{caught.value!r}"
    make_initiator(credentials=short, encrypted=True)
    make_target(credentials=short, encrypted=True)


def test_an_initiator_may_be_told_another_least_length():
    secret = b"twelve bytes"
    make_initiator(credentials=Credentials(name="alice", secret=secret))
    with pytest.raises(chap.ShortSecret) as caught:
        make_initiator(credentials=Credentials(name="alice", secret=secret), shortest_secret=13)
    assert (caught.value.event_id, caught.value.length) == (35, 12)


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
def test_name_that_cannot_be_sent(name: str):
    bad = Credentials(name=name, secret=ALICE.secret)
    with pytest.raises(chap.ChapKeyInvalid):
        make_initiator(credentials=bad)
    with pytest.raises(chap.ChapKeyInvalid):
        make_target(credentials=bad)


@pytest.mark.parametrize("changes", [{"required": True}, {"target_secret": STORE.secret}])
def test_chap_is_not_asked_for_without_credentials(changes: dict[str, Any]):
    with pytest.raises(ValueError, match="no credentials"):
        make_initiator(credentials=None, **changes)


def test_target_needs_some_method():
    with pytest.raises(ValueError, match="no method is possible"):
        make_target(find_secret=None)


@pytest.mark.parametrize("changes", [{"required": True}, {"target_secret": STORE.secret}])
def test_none_is_not_offered_where_chap_is_required(changes: dict[str, Any]):
    assert make_initiator(**changes).begin() == [("AuthMethod", "CHAP")]


def test_begun_once():
    initiator = make_initiator()
    initiator.begin()
    with pytest.raises(chap.ChapStateError, match="has begun"):
        initiator.begin()


def test_nothing_is_received_before_the_beginning():
    with pytest.raises(chap.ChapStateError, match="nothing was said yet"):
        make_initiator().receive([("AuthMethod", "None")])


# What a target refuses.


def refuse(target: ChapTarget, pairs: Pairs, kind: type[ChapError], clause: str, status: LoginStatus) -> ChapError:
    """The refusal of these pairs, after which the target takes nothing."""
    with pytest.raises(ChapError) as caught:
        target.receive(pairs)
    assert (type(caught.value), caught.value.clause, caught.value.login_status) == (kind, clause, status)
    assert target.step is Step.FAILED
    assert not target.finished
    assert target.initiator_name is None
    assert not target.mutual
    with pytest.raises(chap.ChapStateError, match="has failed"):
        target.receive(pairs)
    return caught.value


def test_no_usable_method():
    error = refuse(
        make_target(),
        [("AuthMethod", "KRB5,None")],
        chap.AuthMethodUnknown,
        "R7143-6.3.2-03",
        LoginStatus.AUTHENTICATION_FAILURE,
    )
    assert error.pairs == (("AuthMethod", "Reject"),)
    assert (error.key, error.value) == ("AuthMethod", "KRB5,None")


def test_chap_alone_where_it_is_not_configured():
    target = make_target(find_secret=None, none_allowed=True)
    refuse(
        target, [("AuthMethod", "CHAP")], chap.AuthMethodUnknown, "R7143-6.3.2-03", LoginStatus.AUTHENTICATION_FAILURE
    )


@pytest.mark.parametrize(
    ("pairs", "kind", "clause", "status"),
    [
        ([], chap.ChapKeyMissing, "R7143-12.1-01", 0x0207),
        ([("CHAP_A", "5")], chap.ChapKeyMissing, "R7143-12.1-01", 0x0207),
        ([("AuthMethod", "CHAP")], chap.ChapKeyMissing, "R7143-12.1.3-01", 0x0207),
        ([("AuthMethod", "None"), ("CHAP_A", "5")], chap.AuthMethodUnknown, "R7143-6.2.1-06", 0x0201),
        ([("AuthMethod", "Reject")], chap.AuthMethodUnknown, "R7143-6.2.1-06", 0x0201),
        ([("AuthMethod", "CHAP"), ("CHAP_N", "alice")], chap.ChapKeyInvalid, "R7143-12.1-01", 0x0200),
    ],
)
def test_proposal_not_taken_up(pairs: Pairs, kind: type[ChapError], clause: str, status: int):
    target = make_target()
    target.receive([])
    refuse(target, pairs, kind, clause, LoginStatus(status))


def at_step(step: Step, **changes: Any) -> tuple[ChapTarget, Pairs]:
    """A target that awaits this step, and the right pairs for it (mutual authentication included)."""
    target = make_target(**changes)
    if step is Step.START:
        return target, [("AuthMethod", "CHAP")]
    target.method_chosen("CHAP")
    if step is Step.ALGORITHM:
        return target, [("CHAP_A", "5")]
    challenge = target.receive([("CHAP_A", "5")])
    right = answer_to(challenge, ALICE, ("CHAP_I", "1"), ("CHAP_C", encode_hex(CHALLENGE)))
    if step is Step.RESPONSE:
        return target, right
    target.receive(right)
    return target, []


@pytest.mark.parametrize("step", [Step.START, Step.ALGORITHM, Step.RESPONSE, Step.DONE])
def test_right_pairs_of_each_step_pass(step: Step):
    target, pairs = at_step(step)
    target.receive(pairs)
    assert target.step is not Step.FAILED


@pytest.mark.parametrize(
    ("step", "clause", "strays"),
    [
        (Step.START, "R7143-12.1-01", ["CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C", "CHAP_Q"]),
        (Step.ALGORITHM, "R7143-12.1.3-01", ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C", "CHAP_Q"]),
        (Step.RESPONSE, "R7143-12.1.3-03", ["CHAP_A", "CHAP_Q", "CHAP_"]),
        (Step.DONE, "R7143-12.1.3-03", ["CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C", "CHAP_Q"]),
    ],
)
def test_key_out_of_order(step: Step, clause: str, strays: list[str]):
    for stray in strays:
        target, pairs = at_step(step)
        error = refuse_again(target, [*pairs, (stray, "1")])
        assert (type(error), error.clause, error.login_status) == (
            chap.ChapKeyInvalid,
            clause,
            LoginStatus.INITIATOR_ERROR,
        )
        assert error.key == stray


def refuse_again(target: ChapTarget, pairs: Pairs) -> ChapError:
    with pytest.raises(ChapError) as caught:
        target.receive(pairs)
    return caught.value


@pytest.mark.parametrize(
    ("step", "key", "kind"),
    [
        (Step.START, "AuthMethod", chap.AuthMethodIllegal),
        (Step.ALGORITHM, "CHAP_A", chap.ChapKeyInvalid),
        (Step.RESPONSE, "CHAP_N", chap.ChapKeyInvalid),
        (Step.RESPONSE, "CHAP_R", chap.ChapKeyInvalid),
        (Step.RESPONSE, "CHAP_I", chap.ChapKeyInvalid),
        (Step.RESPONSE, "CHAP_C", chap.ChapKeyInvalid),
    ],
)
def test_key_twice(step: Step, key: str, kind: type[ChapError]):
    target, pairs = at_step(step)
    twice = [*pairs, (key, dict(pairs)[key])]
    refuse(target, twice, kind, "R7143-6.3-20", LoginStatus.INITIATOR_ERROR)


@pytest.mark.parametrize("step", [Step.ALGORITHM, Step.RESPONSE, Step.DONE])
def test_method_again(step: Step):
    target, pairs = at_step(step)
    error = refuse_again(target, [*pairs, ("AuthMethod", "None")])
    assert (type(error), error.clause) == (chap.AuthMethodIllegal, "R7143-6.3-20")
    assert error.login_status is LoginStatus.INITIATOR_ERROR


@pytest.mark.parametrize(
    ("step", "missing", "clause"),
    [
        (Step.ALGORITHM, ["CHAP_A"], "R7143-12.1.3-01"),
        (Step.RESPONSE, ["CHAP_N"], "R7143-12.1.3-03"),
        (Step.RESPONSE, ["CHAP_R"], "R7143-9.2-06"),
        (Step.RESPONSE, ["CHAP_I"], "R7143-12.1.3-03"),
        (Step.RESPONSE, ["CHAP_C"], "R7143-12.1.3-03"),
        (Step.RESPONSE, ["CHAP_R", "CHAP_I", "CHAP_C"], "R7143-12.1.3-03"),
        (Step.RESPONSE, ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"], "R7143-12.1.3-03"),
    ],
)
def test_key_missing(step: Step, missing: list[str], clause: str):
    target, pairs = at_step(step)
    for key in missing:
        pairs = without(pairs, key)
    error = refuse(target, pairs, chap.ChapKeyMissing, clause, LoginStatus.MISSING_PARAMETER)
    assert error.key in missing


@pytest.mark.parametrize(
    ("key", "value", "kind", "clause"),
    [
        ("CHAP_N", "", chap.ChapKeyInvalid, "R1994-4.1-05"),
        ("CHAP_N", "x" * 256, chap.ChapKeyInvalid, "R7143-6.1-15"),
        ("CHAP_R", "", chap.ChapKeyInvalid, "R7143-6.1-09"),
        ("CHAP_R", "secret", chap.ChapKeyInvalid, "R7143-6.1-09"),
        ("CHAP_R", "0bA", chap.ChapKeyInvalid, "R7143-6.1-12"),
        ("CHAP_R", "12345", chap.ChapKeyInvalid, "R7143-6.1-11"),
        ("CHAP_R", "0x" + "00" * 1025, chap.ChapKeyInvalid, "R7143-6.1-15"),
        ("CHAP_R", "0b" + "AAAA" * 342, chap.ChapKeyInvalid, "R7143-6.1-15"),
        ("CHAP_I", "256", chap.ChapKeyInvalid, "R7143-6.2.2-04"),
        ("CHAP_I", "-1", chap.ChapKeyInvalid, "R7143-6.1-13"),
        ("CHAP_I", "", chap.ChapKeyInvalid, "R7143-6.1-13"),
        ("CHAP_C", "", chap.ChallengeMalformed, "R7143-6.1-09"),
        ("CHAP_C", "0x", chap.ChallengeMalformed, "R7143-6.1-09"),
        ("CHAP_C", "0bZZ", chap.ChallengeMalformed, "R7143-6.1-12"),
        ("CHAP_C", "0x" + "00" * 1025, chap.ChallengeTooLong, "R7143-12.1.3-07"),
    ],
)
def test_value_that_the_step_does_not_have(key: str, value: str, kind: type[ChapError], clause: str):
    target, pairs = at_step(Step.RESPONSE)
    error = refuse(target, with_value(pairs, key, value), kind, clause, LoginStatus.INITIATOR_ERROR)
    assert (error.key, error.value) == (key, value)


def wrong_answers() -> dict[str, Pairs]:
    """Answers to at_step(RESPONSE) that authenticate nobody, by what is wrong with them."""
    _, right = at_step(Step.RESPONSE)
    proof = parse_binary(dict(right)["CHAP_R"])
    flipped = bytes([proof[0] ^ 1]) + proof[1:]
    return {
        "unknown name": with_value(right, "CHAP_N", "mallory"),
        "name in capitals": with_value(right, "CHAP_N", "ALICE"),
        "wrong secret": with_value(right, "CHAP_R", encode_hex(flipped)),
        "too short": with_value(right, "CHAP_R", encode_hex(proof[:-1])),
        "too long": with_value(right, "CHAP_R", encode_hex(proof + b"\0")),
        "longest": with_value(right, "CHAP_R", encode_hex(bytes(1024))),
        "name and secret": with_value(with_value(right, "CHAP_N", "mallory"), "CHAP_R", encode_hex(flipped)),
    }


def test_wrong_answers_are_refused_in_the_same_words():
    """Nobody learns whether the name or the secret was wrong: the whole error is the same."""
    errors = []
    for pairs in wrong_answers().values():
        for asked in (pairs, pairs[:2]):
            target, _ = at_step(Step.RESPONSE)
            status = LoginStatus.AUTHENTICATION_FAILURE
            errors.append(refuse(target, asked, chap.AuthenticationFailed, "R7143-12.1.3-04", status))
    assert len({repr(error) for error in errors}) == 1
    assert all(vars(error) == vars(errors[0]) for error in errors)
    assert (errors[0].key, errors[0].value, errors[0].pairs) == ("", "", ())


def test_unknown_name_costs_the_same_hashes():
    counts = []
    for pairs in wrong_answers().values():
        hashed: list[str] = []

        def count(name: str, data: bytes, hashed: list[str] = hashed) -> bytes:
            hashed.append(name)
            return chap.hashlib_hasher(name, data)

        target, _ = at_step(Step.RESPONSE, hasher=count)
        hashed.clear()
        refuse_again(target, pairs)
        counts.append(hashed)
    assert counts == [["md5", "md5"]] * len(counts)


def test_empty_secret_authenticates_nobody():
    target, _ = at_step(Step.RESPONSE, find_secret={"alice": b""}.get)
    challenge = [("CHAP_A", "5"), ("CHAP_I", str(target._identifier)), ("CHAP_C", encode_hex(target.challenge))]
    pairs = answer_to(challenge, Credentials(name="alice", secret=b""))
    refuse(target, pairs, chap.AuthenticationFailed, "R7143-12.1.3-04", LoginStatus.AUTHENTICATION_FAILURE)


@pytest.mark.parametrize("name", ["alice", "store", "mallory"])
def test_response_that_the_target_itself_would_give(name: str):
    """A mirror, or one secret in both directions (9.2.1)."""
    target, _ = at_step(Step.RESPONSE, find_secret={"alice": STORE.secret}.get)
    challenge = [("CHAP_A", "5"), ("CHAP_I", str(target._identifier)), ("CHAP_C", encode_hex(target.challenge))]
    pairs = answer_to(challenge, Credentials(name=name, secret=STORE.secret))
    refuse(target, pairs, chap.AuthenticationFailed, "R7143-9.2.1-09", LoginStatus.AUTHENTICATION_FAILURE)


@pytest.mark.parametrize("write", [encode_hex, encode_base64])
def test_challenge_reflected_at_the_target(write: Any):
    target, pairs = at_step(Step.RESPONSE)
    mirrored = with_value(pairs, "CHAP_C", write(target.challenge))
    refuse(target, mirrored, chap.ChallengeReflected, "R7143-9.2.1-11", LoginStatus.AUTHENTICATION_FAILURE)


def test_challenge_of_another_connection_reflected_at_the_target():
    target, pairs = at_step(Step.RESPONSE, issued={CHALLENGE})
    refuse(target, pairs, chap.ChallengeReflected, "R7143-9.2.1-11", LoginStatus.AUTHENTICATION_FAILURE)


def test_mutual_where_the_target_has_no_secret():
    target, pairs = at_step(Step.RESPONSE, credentials=None)
    refuse(target, pairs, chap.AuthenticationFailed, "R7143-12.1.3-05", LoginStatus.AUTHENTICATION_FAILURE)
    target, pairs = at_step(Step.RESPONSE, credentials=None)
    assert target.receive(pairs[:2]) == []


# What an initiator refuses.


def hang_up(initiator: ChapInitiator, pairs: Pairs) -> ChapError:
    """The error for these pairs, after which the initiator takes nothing."""
    with pytest.raises(ChapError) as caught:
        initiator.receive(pairs)
    assert initiator.step is Step.FAILED
    assert not initiator.ready
    assert not initiator.finished
    with pytest.raises(chap.ChapStateError, match="nothing ever"):
        initiator.receive(pairs)
    return caught.value


def awaiting(step: Step, **changes: Any) -> tuple[ChapInitiator, Pairs]:
    """An initiator that awaits this step, and the right pairs for it."""
    initiator = make_initiator(**changes)
    initiator.begin()
    if step is Step.METHOD:
        return initiator, [("AuthMethod", "CHAP")]
    initiator.receive([("AuthMethod", "CHAP")])
    challenge = [("CHAP_A", "5"), ("CHAP_I", "42"), ("CHAP_C", encode_hex(CHALLENGE))]
    if step is Step.ALGORITHM:
        return initiator, challenge
    request = dict(initiator.receive(challenge))
    if not initiator.mutual:
        return initiator, []
    theirs = [("CHAP_A", "5"), ("CHAP_I", request["CHAP_I"]), ("CHAP_C", request["CHAP_C"])]
    return initiator, answer_to(theirs, STORE)


MUTUAL = {"target_secret": STORE.secret}


@pytest.mark.parametrize("step", [Step.METHOD, Step.ALGORITHM, Step.RESPONSE])
@pytest.mark.parametrize("changes", [{}, MUTUAL])
def test_right_pairs_of_each_step_please(step: Step, changes: dict[str, Any]):
    initiator, pairs = awaiting(step, **changes)
    initiator.receive(pairs)
    assert initiator.step is not Step.FAILED


@pytest.mark.parametrize(
    ("changes", "value", "event", "dump"),
    [
        ({}, "Foo", 13, b"Foo"),
        ({}, "KRB5", 13, b"KRB5"),
        ({}, "CHAP,None", 13, b"CHAP,None"),
        ({}, "chap", 13, b"chap"),
        ({}, "", 13, b""),
        ({}, "Reject", 13, b"Reject"),
        ({}, "\udcff", 13, b"\xff"),
        ({"required": True}, "Foo", 13, b"Foo"),
        ({"required": True}, "None", 38, b""),
        ({"required": True}, "Reject", 38, b""),
        (MUTUAL, "None", 38, b""),
        ({"credentials": None}, "CHAP", 40, b""),
        ({"credentials": None}, "Reject", 13, b"Reject"),
        ({"credentials": None}, "CHAP,None", 13, b"CHAP,None"),
    ],
)
def test_method_refused(changes: dict[str, Any], value: str, event: int, dump: bytes):
    initiator, pairs = awaiting(Step.METHOD, **changes)
    error = hang_up(initiator, with_value(pairs, "AuthMethod", value))
    assert (error.event_id, error.dump, error.value) == (event, dump, value)


@pytest.mark.parametrize("pairs", [[], [("TargetPortalGroupTag", "1")], [("CHAP_A", "5")], [("MaxBurstLength", "512")]])
@pytest.mark.parametrize("changes", [{}, {"required": True}, {"credentials": None}])
def test_method_missing(pairs: Pairs, changes: dict[str, Any]):
    initiator, _ = awaiting(Step.METHOD, **changes)
    error = hang_up(initiator, pairs)
    assert (error.event_id, error.dump, error.clause) == (41, b"", "R7143-6.3.2-02")


@pytest.mark.parametrize(
    ("key", "value", "event", "dump", "clause"),
    [
        ("CHAP_A", "99", 14, b"99", "R7143-12.1.3-02"),
        ("CHAP_A", "x", 14, b"x", "R7143-6.1-13"),
        ("CHAP_A", "7", 14, b"7", "R7143-12.1.3-02"),
        ("CHAP_A", "5,7", 14, b"5,7", "R7143-6.1-13"),
        ("CHAP_A", "", 14, b"", "R7143-6.1-13"),
        ("CHAP_A", "05", 14, b"05", "R7143-6.1-10"),
        ("CHAP_A", "Reject", 14, b"Reject", "R7143-6.1-13"),
        ("CHAP_C", "0xZZ", 15, b"0xZZ", "R7143-6.1-09"),
        ("CHAP_C", "0x", 15, b"0x", "R7143-6.1-09"),
        ("CHAP_C", "", 15, b"", "R7143-6.1-09"),
        ("CHAP_C", "AB", 15, b"AB", "R7143-6.1-09"),
        ("CHAP_C", "0x zz", 15, b"0x zz", "R7143-6.1-09"),
        ("CHAP_C", "0b!", 15, b"0b!", "R7143-6.1-12"),
        ("CHAP_C", "0bAAA", 15, b"0bAAA", "R7143-6.1-12"),
        ("CHAP_C", "12", 15, b"12", "R7143-6.1-11"),
        ("CHAP_C", "0x" + "00" * 1025, 33, b"\x01\x04\0\0", "R7143-12.1.3-07"),
        ("CHAP_C", "0x" + "0" * 2049, 33, b"\x01\x04\0\0", "R7143-12.1.3-07"),
        ("CHAP_C", encode_base64(bytes(1025)), 33, b"\x01\x04\0\0", "R7143-12.1.3-07"),
        ("CHAP_C", "0x" + "00" * 4096, 33, b"\0\x10\0\0", "R7143-12.1.3-07"),
        ("CHAP_C", "0x" + "00" * 1025 + "g", 15, b"0x" + b"00" * 1025 + b"g", "R7143-6.1-09"),
        ("CHAP_I", "256", 16, b"CHAP_I=256", "R7143-6.2.2-04"),
        ("CHAP_I", "-1", 16, b"CHAP_I=-1", "R7143-6.1-13"),
        ("CHAP_I", "", 16, b"CHAP_I=", "R7143-6.1-13"),
        ("CHAP_I", "\udcff", 16, b"CHAP_I=\xff", "R7143-6.1-13"),
    ],
)
def test_challenge_refused(key: str, value: str, event: int, dump: bytes, clause: str):
    initiator, pairs = awaiting(Step.ALGORITHM)
    error = hang_up(initiator, with_value(pairs, key, value))
    assert (error.event_id, error.dump, error.clause) == (event, dump, clause)
    assert (error.key, error.value) == (key, value)


@pytest.mark.parametrize("write", [encode_hex, encode_base64])
def test_longest_challenge_is_answered(write: Any):
    initiator, pairs = awaiting(Step.ALGORITHM)
    reply = initiator.receive(with_value(pairs, "CHAP_C", write(bytes(1024))))
    assert dict(reply)["CHAP_R"] == encode_hex(chap.response(5, 42, ALICE.secret, bytes(1024)))


@pytest.mark.parametrize(
    ("step", "changes", "clause", "strays"),
    [
        (Step.METHOD, {}, "R7143-12.1-01", ["CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "CHAP_Q"]),
        (Step.ALGORITHM, {}, "R7143-12.1.3-02", ["CHAP_N", "CHAP_R", "CHAP_Q"]),
        (Step.RESPONSE, {}, "R7143-12.1.3-05", ["CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "CHAP_Q"]),
        (Step.RESPONSE, MUTUAL, "R7143-12.1.3-05", ["CHAP_A", "CHAP_I", "CHAP_C", "CHAP_Q"]),
    ],
)
def test_key_unasked_for(step: Step, changes: dict[str, Any], clause: str, strays: list[str]):
    for stray in strays:
        initiator, pairs = awaiting(step, **changes)
        error = hang_up(initiator, [*pairs, (stray, "1")])
        assert (type(error), error.event_id, error.clause) == (chap.ChapKeyInvalid, 16, clause)
        assert error.dump == f"{stray}=1".encode()


def test_chap_key_when_all_is_said():
    initiator, _ = awaiting(Step.METHOD)
    assert initiator.receive([("AuthMethod", "None")]) == []
    assert initiator.receive([("TargetAlias", "x")]) == []
    assert hang_up(initiator, [("CHAP_A", "5")]).event_id == 16


@pytest.mark.parametrize("key", ["CHAP_A", "CHAP_I", "CHAP_C"])
def test_challenge_key_twice(key: str):
    initiator, pairs = awaiting(Step.ALGORITHM)
    error = hang_up(initiator, [*pairs, (key, "other")])
    assert (error.event_id, error.dump, error.clause) == (16, f"{key}=other".encode(), "R7143-6.3-20")


@pytest.mark.parametrize("key", ["CHAP_N", "CHAP_R"])
def test_proof_key_twice(key: str):
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL)
    assert hang_up(initiator, [*pairs, (key, dict(pairs)[key])]).event_id == 16


@pytest.mark.parametrize("step", [Step.METHOD, Step.ALGORITHM, Step.RESPONSE])
@pytest.mark.parametrize(
    "key", ["MaxBurstLength", "HeaderDigest", "MaxRecvDataSegmentLength", "iSCSIProtocolLevel", "OFMarker"]
)
def test_operational_key_in_the_security_stage(step: Step, key: str):
    initiator, pairs = awaiting(step, **MUTUAL)
    error = hang_up(initiator, [*pairs, (key, "512")])
    assert (error.event_id, error.dump, error.clause) == (16, f"{key}=512".encode(), "R7143-12-02")


@pytest.mark.parametrize("step", [Step.ALGORITHM, Step.RESPONSE])
def test_target_changes_its_mind(step: Step):
    initiator, pairs = awaiting(step, **MUTUAL)
    error = hang_up(initiator, [*pairs, ("AuthMethod", "None")])
    assert (type(error), error.event_id, error.clause) == (chap.AuthMethodIllegal, 11, "R7143-6.3-20")
    assert (error.dumps, error.dump) == (chap.Dump.WHOLE_PDU, b"")


def test_method_twice_in_one_response():
    initiator, pairs = awaiting(Step.METHOD)
    assert hang_up(initiator, [*pairs, ("AuthMethod", "CHAP")]).event_id == 11


@pytest.mark.parametrize(
    ("step", "key", "clause"),
    [
        (Step.ALGORITHM, "CHAP_A", "R7143-12.1.3-02"),
        (Step.ALGORITHM, "CHAP_I", "R7143-12.1.3-02"),
        (Step.ALGORITHM, "CHAP_C", "R7143-12.1.3-02"),
        (Step.RESPONSE, "CHAP_N", "R7143-12.1.3-05"),
        (Step.RESPONSE, "CHAP_R", "R7143-12.1.3-05"),
    ],
)
def test_key_not_sent(step: Step, key: str, clause: str):
    initiator, pairs = awaiting(step, **MUTUAL)
    error = hang_up(initiator, without(pairs, key))
    assert (type(error), error.event_id, error.clause, error.key) == (chap.ChapKeyMissing, 11, clause, key)


def test_target_that_does_not_authenticate_itself():
    initiator, _ = awaiting(Step.RESPONSE, **MUTUAL)
    assert isinstance(hang_up(initiator, []), chap.ChapKeyMissing)


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ("0x" + "00" * 16, "R1994-4.2-02"),
        ("0x00", "R1994-4.2-02"),
        ("0x" + "00" * 1024, "R1994-4.2-02"),
        ("0x" + "00" * 1025, "R7143-6.1-15"),
        ("0xg", "R7143-6.1-09"),
        ("", "R7143-6.1-09"),
    ],
)
def test_wrong_proof(value: str, clause: str):
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL)
    error = hang_up(initiator, with_value(pairs, "CHAP_R", value))
    assert (type(error), error.event_id, error.clause) == (chap.AuthenticationFailed, 17, clause)
    assert error.dump == value.encode()


@given(st.data())
def test_any_flipped_bit_of_the_proof_is_seen(data: st.DataObject):
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL)
    proof = bytearray(parse_binary(dict(pairs)["CHAP_R"]))
    bit = data.draw(st.integers(0, len(proof) * 8 - 1))
    proof[bit // 8] ^= 1 << bit % 8
    assert hang_up(initiator, with_value(pairs, "CHAP_R", encode_base64(bytes(proof)))).event_id == 17


def test_initiators_own_response_sent_back():
    initiator, pairs = awaiting(Step.ALGORITHM, **MUTUAL)
    mine = dict(initiator.receive(pairs))["CHAP_R"]
    error = hang_up(initiator, [("CHAP_N", "store"), ("CHAP_R", mine)])
    assert (error.event_id, error.dump) == (17, mine.encode())


def test_same_secret_in_both_directions():
    """The right proof, by a secret that the initiator itself uses (9.2.1)."""
    initiator, _ = awaiting(Step.RESPONSE, target_secret=ALICE.secret)
    proof = encode_hex(chap.response(5, initiator._identifier, ALICE.secret, initiator.challenge))
    error = hang_up(initiator, [("CHAP_N", "store"), ("CHAP_R", proof)])
    assert (error.event_id, error.dump, error.clause) == (17, proof.encode(), "R7143-9.2.1-09")


def test_proof_of_another_name():
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL, target_name="other store")
    error = hang_up(initiator, pairs)
    assert (error.event_id, error.clause) == (17, "R7143-9.2-11")
    assert error.dump == dict(pairs)["CHAP_R"].encode()


@pytest.mark.parametrize("name", ["", "x" * 256])
@pytest.mark.parametrize("expected", [None, "store"])
def test_proof_without_a_proper_name(name: str, expected: str | None):
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL, target_name=expected)
    error = hang_up(initiator, with_value(pairs, "CHAP_N", name))
    assert (error.event_id, error.dump) == (16, f"CHAP_N={name}".encode())


def test_challenge_of_another_connection_reflected_at_the_initiator():
    initiator, pairs = awaiting(Step.ALGORITHM, issued={CHALLENGE})
    error = hang_up(initiator, pairs)
    assert (type(error), error.event_id, error.clause) == (chap.ChallengeReflected, 11, "R7143-9.2.1-11")


def test_initiator_never_reuses_the_challenge():
    """Even a source of chance that repeats what the target sent gives another challenge (9.2.1)."""
    initiator, pairs = awaiting(Step.ALGORITHM, **MUTUAL, random_bytes=lambda length: CHALLENGE[:length])
    reply = dict(initiator.receive(pairs))
    assert parse_binary(reply["CHAP_C"]) == CHALLENGE[:-1] + b"\x0e"


# Precedence.


FAULTS: dict[int, tuple[str, str]] = {
    14: ("CHAP_A", "99"),
    15: ("CHAP_C", "0xg"),
    33: ("CHAP_C", encode_hex(bytes(1025))),
    16: ("CHAP_Q", "1"),
    11: ("AuthMethod", "CHAP"),
}


@given(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1).filter(lambda faults: not {15, 33} <= faults), st.randoms())
def test_first_event_in_the_order_of_the_guide_wins(faults: set[int], chance: random.Random):
    initiator, pairs = awaiting(Step.ALGORITHM)
    for event in faults:
        key, value = FAULTS[event]
        pairs = with_value(pairs, key, value) if key in dict(pairs) else [*pairs, (key, value)]
    chance.shuffle(pairs)
    order = (14, 15, 33, 16, 11)
    assert hang_up(initiator, pairs).event_id == next(event for event in order if event in faults)


def test_unknown_key_goes_before_a_wrong_proof():
    initiator, pairs = awaiting(Step.RESPONSE, **MUTUAL)
    wrong = with_value(pairs, "CHAP_R", "0x00")
    assert hang_up(initiator, [*wrong, ("CHAP_Q", "1")]).event_id == 16
    initiator, _ = awaiting(Step.RESPONSE, **MUTUAL)
    assert hang_up(initiator, without(wrong, "CHAP_N")).event_id == 17


@pytest.mark.parametrize(
    ("changes", "value", "event"), [({"required": True}, "None", 38), ({"credentials": None}, "CHAP", 40)]
)
def test_method_goes_before_everything_but_its_absence(changes: dict[str, Any], value: str, event: int):
    initiator, _ = awaiting(Step.METHOD, **changes)
    assert hang_up(initiator, [("CHAP_Q", "1"), ("AuthMethod", value), ("MaxBurstLength", "1")]).event_id == event


def test_of_equal_faults_the_first_in_the_pdu_is_dumped():
    for stray, other in (("CHAP_Q", "MaxBurstLength"), ("MaxBurstLength", "CHAP_Q")):
        initiator, pairs = awaiting(Step.ALGORITHM)
        assert hang_up(initiator, [(stray, "1"), *pairs, (other, "1")]).dump == f"{stray}=1".encode()
    initiator, pairs = awaiting(Step.ALGORITHM)
    assert hang_up(initiator, [*with_value(pairs, "CHAP_I", "256"), ("CHAP_Q", "1")]).dump == b"CHAP_I=256"


# Whatever comes.


LINES = st.tuples(
    st.sampled_from(
        ["AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "CHAP_Q", "MaxBurstLength", "X-a"]
    ),
    st.sampled_from(["CHAP", "None", "5", "0x2a", "0bAAAA", "alice", "", "Reject"]) | st.text(max_size=8),
)


@given(st.lists(st.lists(LINES, max_size=6), max_size=4))
def test_nothing_but_typed_errors(conversation: list[Pairs]):
    """Neither side ever fails by accident, is authenticated by chance, or goes on after an error."""
    for machine in (make_initiator(target_secret=STORE.secret), make_target()):
        if isinstance(machine, ChapInitiator):
            machine.begin()
        failed: ChapError | None = None
        for pairs in conversation:
            try:
                machine.receive(pairs)
            except ChapError as error:
                failed = error
                break
        assert (machine.step is Step.FAILED) == (failed is not None)
        if failed is not None:
            assert failed.clause
            assert isinstance(failed.dump, bytes)
        assert not machine.finished


def test_errors_can_be_copied():
    errors: list[ChapError] = [
        chap.ChapKeyInvalid("bad", "R7143-12.1.3-02", "CHAP_I", "256"),
        chap.AuthMethodUnknown("bad", "R7143-6.3.2-03", "AuthMethod", "KRB5", pairs=(("AuthMethod", "Reject"),)),
        chap.ShortSecret("short", "R7143-9.2.1-07", 11, 35),
    ]
    for error in errors:
        for twin in (copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert type(twin) is type(error)
            assert vars(twin) == vars(error)
            assert str(twin) == str(error)


def test_errors_in_words():
    assert str(chap.ChapKeyInvalid("bad", "R7143-12.1.3-02", "CHAP_I", "256")) == "bad: 'CHAP_I=256' (R7143-12.1.3-02)"
    assert str(chap.AuthenticationFailed("bad", "R7143-12.1.3-04")) == "bad (R7143-12.1.3-04)"
    assert len(str(chap.ChallengeMalformed("bad", "R7143-6.1-09", "CHAP_C", "0x" + "z" * 5000))) < 120
