"""Events 1 and 59: no connection comes up, or the target drops it before the full feature phase (RFC 7143 4.2.1, 6.3)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.logins import (
    OPERATIONAL,
    RESPONSE,
    SECURITY,
    UNFINISHED,
    chap_session,
    ends_login,
    mutual_session,
    status,
)
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.events.roads import (
    BROADCAST,
    CLOSED,
    CLOSED_IPV6,
    MULTICAST_IPV6,
    opened_later,
    slammed,
    swallowed,
    unreachable,
)
from iscsi_conformance.stimulus import answer
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Close, Drop, Part, Replace, Reset, Set, Truncate

_SOON = {"tcp_connect_time": 0.1}
_AGAIN = {"portal_retry_count": 2}


def _tries(times: int, play: Play) -> None:
    """Nothing but these attempts, and that of the proof of life."""
    seen = play.connects()
    require(seen == times + 1, play.name, f"{times} connect attempts are made", seen=seen - 1)


# ---- 1: no connection ----

_NO_ROAD = tuple(
    EventCase(
        event=1,
        name=name,
        variation=variation,
        says=says,
        before=before,
        options={} if portal is None else {"portal": portal},
        settings={**_SOON, **more},
        logged=(1,) * times,
        then=Then.CLOSED_BEFORE,
        watch=partial(_tries, times),
        virtual=virtual,
    )
    for name, variation, says, before, portal, more, times, virtual in (
        ("refused", "refused", "A closed port ends the attempt.", None, CLOSED, {}, 1, False),
        ("refused-ipv6", "ipv6", "A closed port of IPv6 ends the attempt.", None, CLOSED_IPV6, {}, 1, False),
        (
            "refused-again",
            "refused",
            "Each of three attempts at a closed port is told.",
            None,
            CLOSED,
            _AGAIN,
            3,
            False,
        ),
        ("black-hole", "black-hole", "An attempt without any answer ends in time.", swallowed, None, {}, 1, False),
        (
            "black-hole-ipv6",
            "ipv6",
            "An attempt over IPv6 without any answer ends in time.",
            partial(swallowed, host="::1"),
            None,
            {},
            1,
            False,
        ),
        (
            "black-hole-again",
            "black-hole",
            "Each of three attempts without any answer is told.",
            swallowed,
            None,
            {**_AGAIN, "tcp_connect_time": 15},
            3,
            True,
        ),
        (
            "unreachable",
            "unreachable",
            "A network that is not there ends the attempt.",
            unreachable,
            BROADCAST,
            {},
            1,
            False,
        ),
        (
            "unreachable-ipv6",
            "ipv6",
            "A network of IPv6 that is not there ends the attempt.",
            unreachable,
            MULTICAST_IPV6,
            {},
            1,
            False,
        ),
        (
            "unreachable-again",
            "unreachable",
            "Each of three attempts at a network that is not there is told.",
            unreachable,
            BROADCAST,
            _AGAIN,
            3,
            False,
        ),
    )
)

_LATE = EventCase(
    event=1,
    name="opened-later",
    variation="refused",
    says="A portal that opens between two attempts is logged in to.",
    before=partial(opened_later, attempts=2),
    settings=_AGAIN,
    logged=(1, 1),
    then=Then.GOES_ON,
    virtual=True,
)

_MOVED_AWAY = tuple(
    ends_login(
        1,
        f"redirected-{name}",
        f"A redirection to a closed port ({address}) is followed, and the attempt there is told.",
        status(code, Replace(Part.DATA, f"TargetAddress={address}\0".encode())),
        variation=variation,
        then=Then.CLOSED_BEFORE,
        touches=("R7143-11.13.5-23",),
    )
    for name, code, address, variation in (
        ("for-now", 0x0101, "127.0.0.1:1", "refused"),
        ("for-good", 0x0102, "127.0.0.1:1", "refused"),
        ("to-ipv6", 0x0101, "[::1]:1", "ipv6"),
    )
)

# ---- 59: dropped during login ----

_ENDS = (("fin", "closes", Close()), ("rst", "resets", Reset()))

_DROPPED = tuple(
    ends_login(
        59,
        f"{name}-{how}",
        f"A target that {does} the connection {where} is told of, and is tried no further.",
        answer(RESPONSE, *what, end, stage=stage, nth=nth),
        variation="reset" if how == "rst" else variation,
        then=Then.CLOSED_BEFORE,
        watch=partial(_tries, 1),
        **session,
    )
    for how, does, end in _ENDS
    for name, variation, where, what, stage, nth, session in (
        ("no-answer", "before-any-answer", "in place of its first answer", (Drop(),), SECURITY, 1, {}),
        ("half-answer", "before-any-answer", "in the middle of its first answer", (Truncate(20),), SECURITY, 1, {}),
        ("behind-method", "security-stage", "behind its first answer", (), SECURITY, 1, {}),
        ("chap-method", "security-stage", "when it has chosen CHAP", (), SECURITY, 1, chap_session()),
        ("no-challenge", "security-stage", "in place of a challenge", (Drop(),), SECURITY, 2, chap_session()),
        ("behind-challenge", "security-stage", "behind its challenge", (), SECURITY, 2, chap_session()),
        ("no-consent", "security-stage", "in place of its consent", (Drop(),), SECURITY, 3, chap_session()),
        ("no-proof", "security-stage", "in place of its own response", (Drop(),), SECURITY, 3, mutual_session()),
        ("behind-proof", "security-stage", "behind its own response", (), SECURITY, 3, mutual_session()),
        ("no-final", "operational-stage", "in place of the final answer", (Drop(),), OPERATIONAL, 1, {}),
        ("half-final", "operational-stage", "in the middle of the final answer", (Truncate(52),), OPERATIONAL, 1, {}),
        (
            "chap-no-final",
            "operational-stage",
            "in place of the last answer",
            (Drop(),),
            OPERATIONAL,
            1,
            chap_session(),
        ),
        (
            "part-of-text",
            "operational-stage",
            "in the middle of its text",
            (*UNFINISHED, Set("continued", True), Replace(Part.DATA, b"TargetAlias=begun")),
            OPERATIONAL,
            1,
            {},
        ),
    )
)

_AT_ONCE = EventCase(
    event=59,
    name="at-once",
    variation="before-any-answer",
    says="A portal that ends every connection as soon as it is up is told of.",
    before=slammed,
    logged=(59,),
    then=Then.CLOSED_BEFORE,
)

register(__name__, (*_NO_ROAD, _LATE, *_MOVED_AWAY, *_DROPPED, _AT_ONCE), perform)
