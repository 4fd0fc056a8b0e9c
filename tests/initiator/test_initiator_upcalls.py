"""What the driver asks its service for: IPsec and secrets at rest; answered, refused, and never answered (52 to 54)."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import (
    ConnectionRemoved,
    ConnectionUp,
    Failure,
    ScsiRequest,
    SecretSealed,
    SessionClosed,
    SessionUp,
)
from iscsi_initiator.settings import ChapOptions, SessionOptions, Settings
from iscsi_initiator.upcalls import UpCallKind, UpCallWanted
from iscsi_protocol.chap import Credentials, response
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import LoginRequest, LogoutRequest, LogoutResponse
from iscsi_protocol.text import decode_pairs

PORTAL = Endpoint("192.0.2.10", 3260)
TARGET = "iqn.2026-01.org.example:disk"
SECRET, TARGET_SECRET = b"one-way-secret-1", b"mutual-secret-01"
ELSEWHERE = Endpoint("192.0.2.11", 3260)
PROTECTED = SessionOptions(portal=PORTAL, target_name=TARGET, ipsec=True)


def asked(bench, kind):
    """The only up-call that was not looked at yet, which is of this kind."""
    (call,) = bench.of(UpCallWanted)
    bench.events.remove(call)
    assert call.kind is kind
    assert call.session == bench.session
    return call


def tell(bench, call, answer=b""):
    bench.engine.up_call_answered(call.token, answer, bench.now)
    bench.collect()


def protected(bench, **arguments):
    """A bench that is logged in within IPsec."""
    made = bench(options=PROTECTED, **arguments)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.login()
    return made


def log_out(bench):
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    bench.give(LogoutResponse(itt=bench.take(LogoutRequest).itt, **bench.numbers()))


# IPsec


def test_a_connection_is_made_once_ipsec_is_configured(bench):
    made = bench(options=PROTECTED)
    assert made.wanted == []
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    assert call.payload == PORTAL
    made.advance(14.9)
    tell(made, call)
    assert len(made.wanted) == 1
    made.login()
    assert (made.log, made.ups) == ([], 1)


def test_nothing_is_asked_where_no_ipsec_is_wanted(up):
    bench = up()
    log_out(bench)
    assert bench.of(UpCallWanted) == []
    assert bench.over is not None


@pytest.mark.parametrize("timeout", [15, 60])
def test_52_the_service_does_not_configure_in_time(bench, timeout):
    made = bench(options=PROTECTED, settings=Settings(ipsec_config_timeout=timeout))
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    made.advance(timeout - 0.01)
    assert made.log == []
    made.advance(0.01)
    assert made.log == [52]
    assert made.dump(52) == b""
    assert made.over.event == 52
    tell(made, call)
    assert made.wanted == []
    assert made.of(UpCallWanted) == []


def test_52_an_impatient_driver_waits_half_the_time(bench):
    made = bench(options=PROTECTED, policy=Policy(impatient_with_service=True))
    made.advance(7.4)
    assert made.log == []
    made.advance(0.1)
    assert made.log == [52]


def test_a_refusal_to_configure_fails_the_login_without_an_event_of_the_driver(bench):
    made = bench(options=PROTECTED)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC), None)
    assert made.log == []
    assert made.over.event is None
    assert "configure IPsec" in made.over.reason
    made.advance(100)
    assert made.wanted == []


def test_52_in_recovery_is_a_failed_attempt(bench):
    made = protected(bench)
    made.lose()
    made.advance(2)
    asked(made, UpCallKind.CONFIGURE_IPSEC)
    made.advance(15)
    assert made.log == [20, 52]
    made.advance(1)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.login()
    assert made.log == [20, 52, 34]


def test_a_session_that_is_closed_while_it_waits_for_ipsec_is_over(bench):
    made = bench(options=PROTECTED)
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    made.engine.close_session(made.session, made.now)
    made.collect()
    assert made.over.reason == ""
    tell(made, call)
    made.advance(100)
    assert (made.wanted, made.log) == ([], [])


def test_ipsec_is_released_at_logout_and_only_then_all_is_over(bench):
    made = protected(bench)
    log_out(made)
    call = asked(made, UpCallKind.RELEASE_IPSEC)
    assert call.payload == PORTAL
    assert made.over is None
    made.advance(14.9)
    tell(made, call)
    assert made.over == SessionClosed(made.session)
    made.advance(100)
    assert made.log == []


def test_53_the_service_does_not_release_in_time(bench):
    made = protected(bench)
    log_out(made)
    call = asked(made, UpCallKind.RELEASE_IPSEC)
    made.advance(14.9)
    assert made.log == []
    made.advance(0.1)
    assert made.log == [53]
    assert made.dump(53) == b""
    assert made.over.reason == ""
    tell(made, call)
    assert len(made.of(SessionClosed)) == 1


def test_a_refusal_to_release_ends_the_session_without_an_event_of_the_driver(bench):
    made = protected(bench)
    log_out(made)
    tell(made, asked(made, UpCallKind.RELEASE_IPSEC), None)
    assert made.log == []
    assert made.over is not None


def test_a_session_that_ends_otherwise_releases_too_and_each_portal_once(bench):
    made = protected(bench, settings=Settings(max_connection_retries=1))
    made.lose()
    made.advance(2)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.refuse()
    assert made.log == [20, 1]
    tell(made, asked(made, UpCallKind.RELEASE_IPSEC))
    assert made.over.unreachable


def test_requests_are_held_while_ipsec_is_configured_again(bench):
    made = protected(bench)
    made.lose()
    request = ScsiRequest(0, bytes(6))
    made.submit(request)
    made.advance(2)
    asked(made, UpCallKind.CONFIGURE_IPSEC)
    assert not made.done(request)
    made.advance(100)
    assert request.failure is Failure.NO_DEVICE


# Secrets


def sealed(*, mutual=False):
    chap = ChapOptions(
        credentials=Credentials(name="tester", secret=b"sealed 1"),
        target_secret=b"sealed 2" if mutual else None,
        sealed=True,
    )
    return SessionOptions(portal=PORTAL, target_name=TARGET, chap=chap, persistent=True)


def chap_answer(made):
    """Play the target up to the initiator's response, and give that with the mutual keys."""
    request = made.security()
    made.respond(request, [("AuthMethod", "CHAP")], transit=False, nsg=0)
    made.take(LoginRequest)
    challenge = [("CHAP_A", "5"), ("CHAP_I", "7"), ("CHAP_C", "0x" + "ab" * 16)]
    made.respond(request, challenge, transit=False, nsg=0)
    return dict(decode_pairs(made.take(LoginRequest).data))


@pytest.mark.parametrize("mutual", [False, True])
def test_a_sealed_secret_is_decrypted_before_the_login(bench, mutual):
    made = bench(options=sealed(mutual=mutual))
    assert made.wanted == []
    call = asked(made, UpCallKind.DECRYPT)
    assert call.payload == b"sealed 1"
    assert "sealed" not in repr(call)
    made.advance(14.9)
    tell(made, call, SECRET)
    if mutual:
        call = asked(made, UpCallKind.DECRYPT)
        assert call.payload == b"sealed 2"
        tell(made, call, TARGET_SECRET)
    keys = chap_answer(made)
    assert keys["CHAP_R"] == "0x" + response(5, 7, SECRET, b"\xab" * 16).hex()
    assert ("CHAP_C" in keys) is mutual
    assert made.log == []
    assert made.of(UpCallWanted) == []


@pytest.mark.parametrize("answered", [0, 1])
def test_54_the_service_does_not_decrypt_in_time(bench, answered):
    made = bench(options=sealed(mutual=True))
    call = asked(made, UpCallKind.DECRYPT)
    if answered:
        tell(made, call, SECRET)
        call = asked(made, UpCallKind.DECRYPT)
    made.advance(14.9)
    assert made.log == []
    made.advance(0.1)
    assert made.log == [54]
    assert made.dump(54) == b""
    assert made.over.event == 54
    tell(made, call, SECRET)
    assert (made.wanted, made.log) == ([], [54])


@pytest.mark.parametrize("answered", [False, True])
def test_a_session_that_is_closed_while_it_waits_for_a_secret_is_over(bench, answered):
    made = bench(options=sealed())
    call = asked(made, UpCallKind.DECRYPT)
    made.engine.close_session(made.session, made.now)
    made.collect()
    assert made.over.reason == ""
    if answered:
        tell(made, call, SECRET)
    made.advance(100)
    assert (made.wanted, made.log, len(made.of(SessionClosed))) == ([], [], 1)


def test_a_refusal_to_decrypt_fails_the_login_without_an_event_of_the_driver(bench):
    made = bench(options=sealed())
    tell(made, asked(made, UpCallKind.DECRYPT), None)
    assert made.log == []
    assert "decrypt" in made.over.reason
    assert made.wanted == []


@pytest.mark.parametrize(("plain", "event"), [(bytes(11), 35), (b"", 35), (bytes(12), None)])
def test_35_counts_the_bytes_of_the_secret_itself(bench, plain, event):
    made = bench(options=sealed())
    tell(made, asked(made, UpCallKind.DECRYPT), plain)
    made.connect()
    assert made.log == ([] if event is None else [event])
    if event is not None:
        assert made.dump(35) == len(plain).to_bytes(4, "little")


@pytest.mark.parametrize(("plain", "event"), [(bytes(11), 36), (bytes(12), None)])
def test_36_counts_the_bytes_of_the_targets_secret(bench, plain, event):
    made = bench(options=sealed(mutual=True))
    tell(made, asked(made, UpCallKind.DECRYPT), SECRET)
    tell(made, asked(made, UpCallKind.DECRYPT), plain)
    made.connect()
    assert made.log == ([] if event is None else [event])
    if event is not None:
        assert made.dump(36) == len(plain).to_bytes(4, "little")


@pytest.mark.parametrize(("plain", "event"), [(bytes(11), None), (b"x", None), (b"", 35)])
def test_35_short_secrets_may_be_used_within_ipsec(bench, plain, event):
    made = bench(options=replace(sealed(), ipsec=True))
    tell(made, asked(made, UpCallKind.DECRYPT), plain)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.connect()
    assert made.log == ([] if event is None else [event])


def test_36_short_secrets_may_be_used_within_ipsec(bench):
    made = bench(options=replace(sealed(mutual=True), ipsec=True))
    tell(made, asked(made, UpCallKind.DECRYPT), bytes(11))
    tell(made, asked(made, UpCallKind.DECRYPT), bytes([1]) * 11)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.connect()
    assert made.log == []


def test_no_secret_that_is_sealed_is_declared():
    declared = sealed(mutual=True).declared()
    assert (declared["CHAPConfigured"], declared["CHAPSecret"], declared["MutualCHAPSecret"]) == (True, None, None)


def persistent(up, *, mutual=False, **changes):
    """A persistent session that is up; its target wants no CHAP."""
    chap = ChapOptions(
        credentials=Credentials(name="tester", secret=SECRET),
        target_secret=TARGET_SECRET if mutual else None,
        required=False,
    )
    options = SessionOptions(portal=PORTAL, target_name=TARGET, chap=chap, persistent=True)
    return up(options=replace(options, **changes), answers={"AuthMethod": "None"})


def test_secrets_of_a_persistent_session_are_encrypted_once_it_is_up(up):
    bench = persistent(up)
    assert [type(event) for event in bench.events if not isinstance(event, ConnectionUp)] == [SessionUp, UpCallWanted]
    call = asked(bench, UpCallKind.ENCRYPT)
    assert call.payload == SECRET
    tell(bench, call, b"sealed 1")
    assert bench.of(SecretSealed) == [SecretSealed(bench.session, b"sealed 1", None)]
    bench.lose()
    bench.advance(2)
    bench.login()
    assert bench.of(UpCallWanted) == []
    assert bench.log == [20, 34]


def test_both_secrets_are_encrypted(up, bench):
    made = bench(options=replace(sealed(mutual=True), chap=replace(sealed(mutual=True).chap, sealed=False)))
    engine = made.engine
    session = engine.session(made.session)
    session.preparation.seal(made.now)
    made.collect()
    tell(made, asked(made, UpCallKind.ENCRYPT), b"first")
    call = asked(made, UpCallKind.ENCRYPT)
    assert call.payload == b"sealed 2"
    tell(made, call, b"second")
    assert made.of(SecretSealed) == [SecretSealed(made.session, b"first", b"second")]


@pytest.mark.parametrize("changes", [{"persistent": False}, {"chap": None}])
def test_nothing_is_encrypted_that_nobody_keeps(up, changes):
    assert persistent(up, **changes).of(UpCallWanted) == []


def test_54_the_service_does_not_encrypt_in_time_and_the_session_goes_on(up):
    bench = persistent(up)
    asked(bench, UpCallKind.ENCRYPT)
    bench.advance(14.9)
    assert bench.log == []
    bench.advance(0.1)
    assert bench.log == [54]
    assert bench.dump(54) == b""
    assert bench.over is None
    bench.submit(ScsiRequest(0, bytes(6)))
    assert bench.sent


def test_a_refusal_to_encrypt_changes_nothing(up):
    bench = persistent(up)
    tell(bench, asked(bench, UpCallKind.ENCRYPT), None)
    bench.advance(100)
    assert bench.log == []
    assert bench.of(SecretSealed) == []


# Several connections


def two(bench, **arguments):
    """A protected session whose first of two connections is up, on its way to the second's portal."""
    options = replace(PROTECTED, connections=2, portals=(ELSEWHERE,))
    made = bench(options=options, answers={"MaxConnections": "2"}, **arguments)
    tell(made, asked(made, UpCallKind.CONFIGURE_IPSEC))
    made.login()
    return made


def test_each_connection_is_protected_and_each_portal_released(bench):
    made = two(bench)
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    assert call.payload == ELSEWHERE
    assert made.wanted == []
    tell(made, call)
    assert [wanted.endpoint for wanted in made.wanted] == [ELSEWHERE]
    log_out(made)
    calls = made.of(UpCallWanted)
    assert [(each.kind, each.payload) for each in calls] == [
        (UpCallKind.RELEASE_IPSEC, PORTAL),
        (UpCallKind.RELEASE_IPSEC, ELSEWHERE),
    ]
    tell(made, calls[0])
    assert made.over is None
    made.advance(15)
    assert made.log == [53]
    assert made.over is not None


@pytest.mark.parametrize("in_time", [True, False])
def test_a_connection_that_cannot_be_protected_leaves_the_session_up(bench, in_time):
    made = two(bench)
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    if in_time:
        tell(made, call, None)
    else:
        made.advance(15)
    assert made.log == ([] if in_time else [52])
    assert made.over is None
    assert [event.cid for event in made.of(ConnectionRemoved)] == [1]
    made.submit(ScsiRequest(0, bytes(6)))
    assert made.sent


# Broken reactions: what was not answered is logged, and passed over.


def goes_on(*events):
    return Policy(goes_on_after=frozenset(events))


def test_going_on_without_ipsec(bench):
    made = bench(options=PROTECTED, policy=goes_on(52))
    made.advance(15)
    assert made.log == [52]
    assert len(made.wanted) == 1


def test_going_on_waiting_for_ipsec_to_be_released(bench):
    made = protected(bench, policy=goes_on(53))
    log_out(made)
    made.advance(100)
    assert made.log == [53]
    assert made.over is None


def test_going_on_with_what_the_store_has(bench):
    made = bench(options=sealed(), policy=goes_on(54))
    made.advance(15)
    assert made.log == [54]
    made.connect()
    assert made.log == [54, 35]


# The engine's state


def test_open_up_calls_are_part_of_a_snapshot(bench):
    made = bench(options=PROTECTED)
    call = asked(made, UpCallKind.CONFIGURE_IPSEC)
    fork = copy.deepcopy(made)
    tell(made, call)
    made.login()
    assert made.ups == 1
    assert fork.ups == 0
    fork.advance(15)
    assert fork.log == [52]
    assert made.log == []


def test_an_answer_that_nobody_waits_for_is_passed_over(up):
    bench = up()
    before = list(bench.events)
    bench.engine.up_call_answered(99, b"", bench.now)
    bench.collect()
    assert bench.events == before
