"""Events of the login, each with histories that raise it and others that all but do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.text import encode_pairs

Script = Any
INITIATOR, TARGET = "iqn.2026-01.com.example:initiator", "iqn.2026-01.com.example:target"
NAMES = (("InitiatorName", INITIATOR), ("TargetName", TARGET))
FIN, RST = TransportEvent.FIN, TransportEvent.RST
OWN, PEER = b"the-secret-of-ours", b"the-secret-of-theirs"
CHALLENGE, COUNTER = bytes(range(16)), bytes(range(16, 32))


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def whole(script: Script) -> bytes:
    return bytes(script.last().to_bytes())


def text(value: str) -> Callable[[Script], bytes]:
    return lambda _: value.encode()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A login, and what is due for it."""

    event: int | None
    name: str
    history: Callable[[Script], Script]
    dump: Callable[[Script], bytes] = lambda _: b""

    def __str__(self) -> str:
        return f"{self.event}-{self.name}"


def asked(script: Script, *offers: tuple[str, str]) -> Script:
    """The last request, with these offers."""
    return script.login_request((*NAMES, *offers))


def answer(
    *pairs: tuple[str, str], offers: tuple[tuple[str, str], ...] = (), **fields: Any
) -> Callable[[Script], Script]:
    """A login in one exchange, with this answer."""
    return lambda script: asked(script, *offers).login_response(pairs, **fields)


def both(key: str, offer: str, *pairs: tuple[str, str]) -> Callable[[Script], Script]:
    return answer(*pairs, offers=((key, offer),))


def security(methods: str, *pairs: tuple[str, str], **fields: Any) -> Callable[[Script], Script]:
    """The first exchange of the security stage."""
    alone = methods == "None"
    asks = {"transit": alone, "nsg": 1 if alone else 0}
    return lambda script: script.security((*NAMES, ("AuthMethod", methods)), **asks).security_response(pairs, **fields)


def challenged(*pairs: tuple[str, str], offered: str = "5") -> Callable[[Script], Script]:
    """CHAP as far as the target's challenge."""

    def history(script: Script) -> Script:
        security("CHAP", ("AuthMethod", "CHAP"))(script)
        return script.security((("CHAP_A", offered),)).security_response(pairs)

    return history


GOOD = (("CHAP_A", "5"), ("CHAP_I", "7"), ("CHAP_C", f"0x{CHALLENGE.hex()}"))


def chap(name: str, identifier: int, secret: bytes, challenge: bytes) -> str:
    return "0x" + hashlib.new(name, bytes([identifier]) + secret + challenge, usedforsecurity=False).hexdigest()


def mutual(
    *pairs: tuple[str, str], number: str = "5", hasher: str = "md5", final: bool = True
) -> Callable[[Script], Script]:
    """CHAP in both directions as far as the target's response."""

    def history(script: Script) -> Script:
        challenged(("CHAP_A", number), *GOOD[1:], offered="8,7,6,5")(script)
        response = chap(hasher, 7, OWN, CHALLENGE)
        own = (("CHAP_N", "me"), ("CHAP_R", response), ("CHAP_I", "9"), ("CHAP_C", f"0x{COUNTER.hex()}"))
        script.security(own, transit=True, nsg=1)
        return script.security_response(pairs, transit=True, nsg=1)

    return history


def peer_response(hasher: str = "md5") -> tuple[tuple[str, str], ...]:
    return ("CHAP_N", "them"), ("CHAP_R", chap(hasher, 9, PEER, COUNTER))


ROWS = (
    Row(event=3, name="window", history=answer(exp_cmd_sn=100, max_cmd_sn=98), dump=lambda _: words(100, 98)),
    Row(
        event=3,
        name="over-the-wrap",
        history=answer(exp_cmd_sn=0, max_cmd_sn=0xFFFFFFFE),
        dump=lambda _: words(0, 0xFFFFFFFE),
    ),
    Row(event=None, name="closed-window", history=answer(exp_cmd_sn=100, max_cmd_sn=99)),
    Row(
        event=4,
        name="bursts",
        history=answer(
            ("MaxBurstLength", "4096"),
            ("FirstBurstLength", "8192"),
            offers=(("MaxBurstLength", "65536"), ("FirstBurstLength", "8192")),
        ),
        dump=lambda _: words(8192, 4096),
    ),
    Row(
        event=None,
        name="equal-bursts",
        history=answer(
            ("MaxBurstLength", "8192"),
            ("FirstBurstLength", "8192"),
            offers=(("MaxBurstLength", "65536"), ("FirstBurstLength", "8192")),
        ),
    ),
    Row(event=10, name="class-2", history=answer(status_class=2, status_detail=3), dump=whole),
    Row(event=10, name="class-3", history=answer(status_class=3, status_detail=1), dump=whole),
    Row(event=10, name="unknown-class", history=answer(status_class=9), dump=whole),
    Row(
        event=10,
        name="authentication-of-one-with-chap",
        history=security("CHAP,None", status_class=2, status_detail=1),
        dump=whole,
    ),
    Row(event=40, name="authentication-of-one-without", history=security("None", status_class=2, status_detail=1)),
    Row(event=11, name="other-tag", history=answer(itt=0x11), dump=whole),
    Row(event=11, name="tag-of-a-refusal", history=answer(itt=0x11, status_class=2), dump=whole),
    Row(event=11, name="other-isid", history=answer(isid=b"\1\2\3\4\5\6"), dump=whole),
    Row(event=11, name="version", history=answer(version_active=1), dump=whole),
    Row(event=11, name="stage", history=answer(csg=0), dump=whole),
    Row(event=11, name="reserved-stage", history=answer(nsg=2), dump=whole),
    Row(event=11, name="back", history=answer(nsg=0), dump=whole),
    Row(event=11, name="no-handle", history=answer(tsih=0), dump=whole),
    Row(event=11, name="continued", history=answer(continued=True), dump=whole),
    Row(event=11, name="unasked-transit", history=lambda s: s.operational(NAMES).login_response(), dump=whole),
    Row(event=11, name="no-pair", history=answer(data=b"nothing\0"), dump=whole),
    Row(event=11, name="no-nul", history=answer(data=b"TargetAlias=x"), dump=whole),
    Row(event=11, name="over-the-offer", history=both("MaxConnections", "2", ("MaxConnections", "3")), dump=whole),
    Row(event=11, name="no-number", history=both("MaxConnections", "2", ("MaxConnections", "x")), dump=whole),
    Row(event=11, name="unanswered", history=both("MaxConnections", "2"), dump=whole),
    Row(event=11, name="brought-up-late", history=answer(("MaxConnections", "2")), dump=whole),
    Row(event=11, name="initiators-key", history=answer(("InitiatorName", "x")), dump=whole),
    Row(event=11, name="not-a-login-response", history=lambda s: asked(s).nop_in(itt=0x10), dump=whole),
    Row(event=None, name="private-key", history=answer(("X-com.example.key", "1"))),
    Row(event=None, name="alias", history=answer(("TargetAlias", "disk"))),
    Row(event=None, name="protocol-level-unasked", history=answer(("iSCSIProtocolLevel", "2"))),
    Row(event=None, name="protocol-level-unanswered", history=both("iSCSIProtocolLevel", "2")),
    Row(
        event=24,
        name="opcode",
        history=lambda s: asked(s).nop_in(itt=1, edit=lambda r: r.with_bytes(0, b"\x33")),
        dump=lambda s: s.bhs(),
    ),
    Row(event=12, name="no-address", history=answer(status_class=1, status_detail=1, data=b""), dump=lambda _: b""),
    *(
        Row(
            event=12,
            name=f"address-{value}",
            history=answer(("TargetAddress", value), status_class=1, status_detail=2),
            dump=lambda s: bytes(s.last().data),
        )
        for value in ("host:0", "host:65536", "[::1", "host,1", "1.2.3", "-x")
    ),
    *(
        Row(
            event=None,
            name=f"address-{value}",
            history=answer(("TargetAddress", value), status_class=1, status_detail=1),
        )
        for value in ("host:3261", "10.0.0.1", "[::1]:1", "a.example.:0x10")
    ),
    Row(event=13, name="unknown-method", history=security("CHAP,None", ("AuthMethod", "Foo")), dump=lambda _: b"Foo"),
    Row(
        event=13,
        name="list",
        history=security("CHAP,None", ("AuthMethod", "CHAP,None")),
        dump=lambda _: b"CHAP,None",
    ),
    Row(event=14, name="algorithm", history=challenged(("CHAP_A", "99"), *GOOD[1:]), dump=lambda _: b"99"),
    Row(event=14, name="no-number", history=challenged(("CHAP_A", "x"), *GOOD[1:]), dump=lambda _: b"x"),
    Row(event=None, name="hexadecimal-algorithm", history=challenged(("CHAP_A", "0x5"), *GOOD[1:])),
    *(
        Row(
            event=15,
            name=f"challenge-{value}",
            history=challenged(*GOOD[:2], ("CHAP_C", value)),
            dump=text(value),
        )
        for value in ("0xZZ", "0b$$$$", "0bAAB=", "0bAAA", "123", "0x", "abcd")
    ),
    *(
        Row(event=None, name=f"challenge-{value}", history=challenged(*GOOD[:2], ("CHAP_C", value)))
        for value in ("0xabc", "0bAAA=", "0BAAAA", "0x" + 1024 * "00")
    ),
    Row(
        event=33,
        name="challenge-too-long",
        history=challenged(*GOOD[:2], ("CHAP_C", "0x" + 1025 * "00")),
        dump=lambda _: words(1025),
    ),
    Row(event=16, name="unknown-key", history=challenged(*GOOD, ("CHAP_Q", "1")), dump=lambda _: b"CHAP_Q=1"),
    Row(event=16, name="twice", history=challenged(*GOOD, GOOD[1]), dump=lambda _: b"CHAP_I=7"),
    Row(
        event=16,
        name="identifier",
        history=challenged(GOOD[0], ("CHAP_I", "256"), GOOD[2]),
        dump=lambda _: b"CHAP_I=256",
    ),
    Row(
        event=16,
        name="operational-key",
        history=challenged(*GOOD, ("HeaderDigest", "None")),
        dump=lambda _: b"HeaderDigest=None",
    ),
    Row(event=None, name="alias-beside-it", history=challenged(*GOOD, ("TargetAlias", "x"), ("X-a", "b"))),
    Row(event=11, name="no-challenge", history=challenged(*GOOD[:2]), dump=whole),
    Row(
        event=11,
        name="own-challenge",
        history=lambda s: (
            mutual(*peer_response())(s),
            s.connect(2),
            challenged(*GOOD[:2], ("CHAP_C", f"0x{COUNTER.hex()}"))(s),
        )[2],
        dump=whole,
    ),
    Row(event=17, name="wrong", history=mutual(("CHAP_N", "them"), ("CHAP_R", "0x00")), dump=lambda _: b"0x00"),
    Row(
        event=17,
        name="our-own",
        history=mutual(("CHAP_N", "them"), ("CHAP_R", chap("md5", 9, OWN, COUNTER))),
        dump=lambda _: chap("md5", 9, OWN, COUNTER).encode(),
    ),
    *(
        Row(event=None, name=f"right-{hasher}", history=mutual(*peer_response(hasher), number=number, hasher=hasher))
        for number, hasher in (("5", "md5"), ("6", "sha1"), ("7", "sha256"), ("8", "sha3_256"))
    ),
    *(
        Row(event=event, name=name, history=both(key, offer, *pairs))
        for event, key in ((18, "HeaderDigest"), (19, "DataDigest"))
        for name, offer, pairs in (
            ("none", "CRC32C", ((key, "None"),)),
            ("missing", "CRC32C", ()),
            ("reject", "CRC32C", ((key, "Reject"),)),
        )
    ),
    Row(event=None, name="digest-preferred", history=both("HeaderDigest", "CRC32C,None", ("HeaderDigest", "None"))),
    Row(event=61, name="no", history=both("DataPDUInOrder", "Yes", ("DataPDUInOrder", "No"))),
    Row(event=62, name="no", history=both("DataSequenceInOrder", "Yes", ("DataSequenceInOrder", "No"))),
    Row(event=None, name="order-unanswered", history=both("DataPDUInOrder", "Yes")),
    Row(event=38, name="none", history=security("CHAP", ("AuthMethod", "None"))),
    Row(event=38, name="reject", history=security("CHAP", ("AuthMethod", "Reject"))),
    Row(event=None, name="none-where-it-may-be", history=security("CHAP,None", ("AuthMethod", "None"))),
    Row(event=40, name="chap-only", history=security("None", ("AuthMethod", "CHAP"))),
    Row(event=41, name="no-method", history=security("CHAP,None")),
    Row(event=59, name="before-a-word", history=lambda s: asked(s).transport(FIN)),
    Row(event=59, name="reset", history=lambda s: security("None", ("AuthMethod", "None"))(s).transport(RST)),
    Row(event=None, name="closed-by-us", history=lambda s: asked(s).closed()),
    Row(event=41, name="before-38", history=security("CHAP", ("HeaderDigest", "None"))),
    Row(event=10, name="and-no-59", history=lambda s: answer(status_class=3)(s).transport(FIN), dump=whole),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_events_of_a_login(row: Row, script: Script) -> None:
    history = row.history(script)
    due = [] if row.event is None else [(row.event, row.dump(history))]
    assert history.events(CHAPSecret=OWN, MutualCHAPSecret=PEER) == due


def test_the_name_of_the_target_counts_in_chap(script: Script) -> None:
    mutual(*peer_response())(script)
    assert script.events(CHAPSecret=OWN, MutualCHAPSecret=PEER, MutualCHAPName="them") == []
    response = peer_response()[1][1].encode()
    assert script.events(CHAPSecret=OWN, MutualCHAPSecret=PEER, MutualCHAPName="others") == [(17, response)]


@pytest.mark.parametrize(
    ("target", "dump"),
    [
        (Endpoint("10.1.2.3", 3260), b"\x02\0\xbc\x0c\x0a\1\2\3"),
        (Endpoint("::1", 1), b"\x17\0\1\0" + bytes(15) + b"\1"),
        (Endpoint("disk.example", 3260), b"\0\0\xbc\x0cdisk.example"),
    ],
)
@pytest.mark.parametrize("how", [TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE])
def test_no_connection(script: Script, how: TransportEvent, target: Endpoint, dump: bytes) -> None:
    assert script.attempt(2, how, target).events() == [(1, dump)]


def test_redirects_without_end(script: Script) -> None:
    data = encode_pairs([("TargetAddress", "10.0.0.1")])
    for number in range(1, 4):
        if number > 1:
            script.connect(number)
        answer(status_class=1, status_detail=1, data=data)(script).closed()
    assert script.events(MaxLoginRedirects=3) == []
    assert script.events(MaxLoginRedirects=2) == [(12, data)]


def test_a_failed_attempt_begins_redirects_anew(script: Script) -> None:
    data = encode_pairs([("TargetAddress", "10.0.0.1")])
    answer(status_class=1, status_detail=1, data=data)(script).closed()
    script.attempt(2, TransportEvent.REFUSED, Endpoint("10.0.0.1", 3260))
    answer(status_class=1, status_detail=1, data=data)(script.connect(3))
    assert [event for event, _ in script.events(MaxLoginRedirects=1)] == [1]


def test_text_over_several_responses_is_judged_whole(script: Script) -> None:
    script.operational((*NAMES, ("MaxConnections", "2")), transit=True, nsg=3)
    script.operational_response(continued=True, data=b"MaxConn").login_request((), transit=True, nsg=3)
    assert script.login_response(data=b"ections=2\0").events() == []
    script.records.pop()
    assert script.login_response(data=b"ections=3\0").events() == [(11, whole(script))]


def test_a_second_answer_to_one_request_is_held_against_the_next_request(script: Script) -> None:
    security("None", ("AuthMethod", "None"), transit=True, nsg=1)(script)
    assert script.events() == []
    assert script.again().events() == [(11, whole(script))]
