"""Events 5 and 7: the network of this host; 37 and 52 to 54: its crypto service and the service beside the driver (guide,
Appendices B and F).
"""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

from iscsi_conformance.bundled import CHAP, PLAIN, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import log_out, write
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.host_acts import connector_of, link_of, logged
from iscsi_conformance.events.logins import chap_session, mutual_login
from iscsi_conformance.events.play import DumpOf, Play, perform
from iscsi_conformance.service_peer import Reaction, ScriptedService, turned_over
from iscsi_conformance.stimulus import chap_options
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_initiator.requests import SecretSealed
from iscsi_initiator.settings import ChapOptions, SessionOptions
from iscsi_initiator.upcalls import UpCallKind
from iscsi_protocol.chap import MD5, SHA1, SHA256, Credentials, approved_hasher
from iscsi_protocol.history import Endpoint, TransportEvent

FOREIGN = Endpoint("192.0.2.1", 0)
"""An address that no host has (RFC 5737)."""


def _error(number: int) -> DumpOf:
    return lambda _: words(number)


# 5: the local end of a connection


async def _from_taken_port(play: Play) -> None:
    """Log in from the port of a connection that is up."""
    stage = await play.bring_up()
    options = SessionOptions(portal=stage.endpoints[0], target_name=PLAIN, isid=bytes.fromhex("801ac5000078"))
    await play.scene.login(settings=play.settings, options=options)
    taken = play.scene.transport(TransportEvent.CONNECTED)[-1].initiator
    if taken is None:
        raise Inconclusive("the history does not say where a connection begins")
    play.options["source"] = taken
    await play.log_in()


async def _address_goes(play: Play) -> None:
    """Lose the connection together with the address that it began at, which comes back later."""
    connector = connector_of(play)
    connector.addresses.clear()
    connector.links[-1].cut()
    await logged(play, 2)
    connector.addresses.add(FOREIGN.host)


async def _from_own_address(play: Play) -> None:
    await play.bring_up()
    connector_of(play).addresses.add(FOREIGN.host)
    await play.log_in()


def _tried_again_soon(play: Play) -> None:
    """The next attempt is made at its time, and not once the session has to be given up."""
    times = {event.id: event.time for event in play.scene.events}
    waited = times[34] - times[5]
    require(waited < 2 * _DELAY, play.name, f"the next attempt comes within {_DELAY} s", seen=waited)


_DELAY = 1
_NOT_AT_ONCE = {"network_ready_retry_count": 0}
_NO_ADDRESS, _TAKEN = {5: _error(errno.EADDRNOTAVAIL)}, {5: _error(errno.EADDRINUSE)}

_LOCAL_ENDS = (
    *(
        EventCase(
            event=5,
            name=f"foreign-source-address{name}",
            variation="foreign-source-address",
            says=f"An address that this host does not have begins no connection; it is looked for {retries + 1} times.",
            settings={"network_ready_retry_count": retries},
            options={"source": FOREIGN},
            logged=(5,),
            dumps=_NO_ADDRESS,
            then=Then.CLOSED_BEFORE,
        )
        for name, retries in (("", 0), ("-retried", 2))
    ),
    EventCase(
        event=5,
        name="source-port-in-use",
        says="A port that another connection has begins no connection.",
        settings=_NOT_AT_ONCE,
        before=_from_taken_port,
        logged=(5,),
        dumps=_TAKEN,
        then=Then.CLOSED_BEFORE,
    ),
    *(
        EventCase(
            event=5,
            name=f"in-recovery-level-{level}",
            variation="foreign-source-address",
            says="A session whose local address is gone comes back once it is there again.",
            level=level,
            settings={**_NOT_AT_ONCE, "delay_between_reconnect": _DELAY},
            options={"source": FOREIGN},
            before=_from_own_address,
            does=_address_goes,
            logged=(20, 5, 34),
            dumps=_NO_ADDRESS,
            watch=_tried_again_soon,
            virtual=True,
        )
        for level in (0, 2)
    ),
)


# 7: a send that fails


async def _send_fails(play: Play, error: int, behind: int, cid: int = 0) -> None:
    """Write while the network takes only so many bytes more of this connection."""
    link_of(play, cid).fail_send(behind, error)
    await write(play)


_SENDS = tuple(
    EventCase(
        event=7,
        name=f"{name}-level-{level}",
        variation="send-fails",
        says=f"At recovery level {level} a send that fails {where} is logged before the connection is lost.",
        level=level,
        does=partial(_send_fails, error=error, behind=behind),
        logged=(7, 20, 34),
        dumps={7: _error(error)},
        proofs=(
            "event.7.silent",
            "event.7.twice",
            "event.7.wrong-dump",
            "event.20.silent",
            "event.20.does-not-react",
        ),
        virtual=True,
    )
    for level in (0, 1, 2)
    for name, where, error, behind in (
        ("within-data", "within the data of a write", errno.ECONNRESET, 50_000),
        ("within-a-header", "within a header", errno.EPIPE, 20),
        ("at-once", "before its first byte", errno.ENETUNREACH, 0),
    )
)


# 37: hashes for CHAP


def _hashes(*algorithms: int, mutual: bool = False, **more: Any) -> dict[str, Any]:
    login = mutual_login() if mutual else None
    known = chap_options(login)
    chap = ChapOptions(
        credentials=known.credentials,
        target_secret=known.target_secret,
        target_name=known.target_name,
        algorithms=algorithms,
    )
    session = chap_session(chap)
    return {**session, "options": {**session["options"], "persistent": True}, "hasher": approved_hasher, **more}


def _nothing_was_tried(play: Play) -> None:
    require(play.connects() == 1, play.name, "no connection is made for it", seen=play.connects())


_CRYPTO = (
    *(
        EventCase(
            event=37,
            name=name,
            variation="md5-refused",
            says="On a host that refuses MD5, a persistent logon that has no other hash is not processed.",
            logged=(37,),
            then=Then.CLOSED_BEFORE,
            watch=_nothing_was_tried,
            **_hashes(MD5, mutual=mutual),
        )
        for name, mutual in (("md5-refused", False), ("md5-refused-mutual", True))
    ),
    *(
        EventCase(
            event=37,
            name=name,
            variation="sha-256-left",
            says="On a host that refuses MD5, a persistent logon goes on with the hash that is left.",
            then=Then.GOES_ON,
            proofs=("event.37.forgets-sha-256",),
            excused=("chap.md5-not-offered",),
            **_hashes(*algorithms),
        )
        for name, algorithms in (("sha-256-left", (MD5, SHA256)), ("sha-256-alone", (SHA256,)), ("sha-1", (SHA1,)))
    ),
)


# 52 and 53: IPsec

_PATIENCE = 4
_IN_TIME = 3.5
_TIMES = {"ipsec_config_timeout": _PATIENCE}
_IPSEC: dict[str, Any] = {"settings": _TIMES, "options": {"ipsec": True}, "virtual": True}


def _service(play: Play) -> ScriptedService:
    if play.service is None:
        raise Inconclusive("there is no service")
    return play.service


async def _stalls_in_recovery(play: Play) -> None:
    """The service says nothing when IPsec is to be configured anew, and does at the next attempt."""
    service = _service(play)
    service.script[UpCallKind.CONFIGURE_IPSEC] = Reaction.STALL
    connector_of(play).links[-1].cut()
    await logged(play, 2)
    service.script[UpCallKind.CONFIGURE_IPSEC] = Reaction.ANSWER


def _asked_again(play: Play) -> None:
    """Beside the first login there was one attempt that came to nothing, and one that did not."""
    asked = _service(play).asked(UpCallKind.CONFIGURE_IPSEC)
    require(len(asked) == 3, play.name, "IPsec is asked for at each attempt", seen=len(asked))


def _connected_once_protected(play: Play) -> None:
    asked = _service(play).asked(UpCallKind.CONFIGURE_IPSEC)
    require(len(asked) == 1, play.name, "IPsec is configured for the one connection", seen=asked)


_PROTECTION = (
    EventCase(
        event=52,
        name="stalled",
        says="Where the service does not configure IPsec in time, no connection is made.",
        service={UpCallKind.CONFIGURE_IPSEC: Reaction.STALL},
        logged=(52,),
        then=Then.CLOSED_BEFORE,
        **_IPSEC,
    ),
    EventCase(
        event=52,
        name="late",
        variation="stalled",
        says="An answer of the service that comes after its time changes nothing any more.",
        service={UpCallKind.CONFIGURE_IPSEC: _PATIENCE + 0.1},
        logged=(52,),
        then=Then.CLOSED_BEFORE,
        **_IPSEC,
    ),
    *(
        EventCase(
            event=52,
            name=f"stalled-in-recovery-level-{level}",
            variation="stalled",
            says="A service that stalls while a session comes back costs it one attempt.",
            level=level,
            service={},
            does=_stalls_in_recovery,
            logged=(20, 52, 34),
            watch=_asked_again,
            **_IPSEC,
        )
        for level in (0, 2)
    ),
    EventCase(
        event=52,
        name="in-time",
        says="A service that takes its time to configure IPsec, but no more, is waited for.",
        service={UpCallKind.CONFIGURE_IPSEC: _IN_TIME},
        then=Then.GOES_ON,
        watch=_connected_once_protected,
        proofs=("event.52.takes-late-for-never",),
        **_IPSEC,
    ),
    EventCase(
        event=53,
        name="stalled",
        says="Where the service does not release IPsec in time, the session is over all the same.",
        service={UpCallKind.RELEASE_IPSEC: Reaction.STALL},
        does=log_out,
        logged=(53,),
        then=Then.OVER,
        **_IPSEC,
    ),
    EventCase(
        event=53,
        name="late",
        variation="stalled",
        says="A release that comes after its time does not end the session twice.",
        service={UpCallKind.RELEASE_IPSEC: _PATIENCE + 0.1},
        does=log_out,
        logged=(53,),
        then=Then.OVER,
        **_IPSEC,
        proofs=("event.53.silent", "event.53.twice", "event.53.wrong-dump"),
    ),
    EventCase(
        event=53,
        name="in-time",
        says="A service that takes its time to release IPsec, but no more, is waited for.",
        service={UpCallKind.RELEASE_IPSEC: _IN_TIME},
        does=log_out,
        then=Then.OVER,
        proofs=("event.53.takes-late-for-never",),
        **_IPSEC,
    ),
)


# 54: secrets at rest


def _sealed(*, mutual: bool = False) -> dict[str, Any]:
    known = chap_options(mutual_login() if mutual else None)
    credentials = Credentials(name=known.credentials.name, secret=turned_over(known.credentials.secret))
    chap = ChapOptions(credentials=credentials, sealed=True)
    return {
        "config": bundled_config(),
        "settings": _TIMES,
        "options": {"target_name": CHAP, "chap": chap, "persistent": True},
        "virtual": True,
    }


def _kept(play: Play) -> list[SecretSealed]:
    return [event for event in play.scene.told if isinstance(event, SecretSealed)]


def _nothing_is_kept(play: Play) -> None:
    require(not _kept(play), play.name, "no secret is given to be kept", seen=len(_kept(play)))


def _the_secret_is_kept(play: Play) -> None:
    require(len(_kept(play)) == 1, play.name, "the secret is given to be kept", seen=len(_kept(play)))


def _in_the_clear() -> dict[str, Any]:
    session = chap_session()
    return {**session, "options": {**session["options"], "persistent": True}, "settings": _TIMES, "virtual": True}


_SECRETS = (
    *(
        EventCase(
            event=54,
            name=name,
            variation="stalled",
            says="Where the service does not decrypt the secret in time, a persistent logon comes to nothing.",
            service={UpCallKind.DECRYPT: reaction},
            logged=(54,),
            then=Then.CLOSED_BEFORE,
            **_sealed(),
        )
        for name, reaction in (("stalled", Reaction.STALL), ("late", _PATIENCE + 0.1))
    ),
    EventCase(
        event=54,
        name="stalled-encrypting",
        variation="stalled",
        says="Where the service does not encrypt the secret in time, the session stays, and nothing is kept.",
        service={UpCallKind.ENCRYPT: Reaction.STALL},
        logged=(54,),
        then=Then.GOES_ON,
        watch=_nothing_is_kept,
        **_in_the_clear(),
    ),
    EventCase(
        event=54,
        name="in-time",
        says="A service that takes its time to decrypt a secret, but no more, is waited for.",
        service={UpCallKind.DECRYPT: _IN_TIME},
        then=Then.GOES_ON,
        proofs=("event.54.takes-late-for-never",),
        **_sealed(),
    ),
    EventCase(
        event=54,
        name="encrypted-in-time",
        variation="in-time",
        says="A service that takes its time to encrypt a secret, but no more, is waited for, and the secret is kept.",
        service={UpCallKind.ENCRYPT: _IN_TIME},
        does=lambda play: play.scene.settle(_IN_TIME + 1),
        then=Then.GOES_ON,
        watch=_the_secret_is_kept,
        proofs=("event.54.takes-late-for-never",),
        **_in_the_clear(),
    ),
)

register(__name__, (*_LOCAL_ENDS, *_SENDS, *_CRYPTO, *_PROTECTION, *_SECRETS), perform)
