"""Where a dialogue begins: the pair with its settings, before it logs in or behind that."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from iscsi_initiator.settings import NO_DIGEST, PREFER_DIGEST, REQUIRE_DIGEST, ChapOptions, SessionOptions, Settings
from iscsi_protocol.chap import Credentials
from iscsi_protocol.history import Endpoint
from iscsi_target.config import (
    ChapConfig,
    ChapMutual,
    LunConfig,
    PortalConfig,
    Redirect,
    Size,
    TargetConfig,
    TargetNode,
    Timers,
)

_PREFIX = "iqn.2026-11.org.iscsi-conformance"
PLAIN, CHAP, MOVED = f"{_PREFIX}:plain", f"{_PREFIX}:chap", f"{_PREFIX}:moved"
PORTALS = (Endpoint("127.0.0.1", 3260), Endpoint("127.0.0.1", 3261), Endpoint("::1", 3262))
BLOCKS = 64

# Known to everyone who reads this: they guard a target that only this process reaches.
_USER, _SECRET = "fuzz", "one-way-secret-1"
_TARGET_USER, _TARGET_SECRET = "target", "mutual-secret-22"

DIGESTS = {"none": NO_DIGEST, "preferred": PREFER_DIGEST, "required": REQUIRE_DIGEST}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """level: ErrorRecoveryLevel that the initiator wants; connections: of the session. header_digest, data_digest: keys of
    DIGESTS. chap: "none", "one-way", "mutual", or "secret only": configured at the initiator, and the node has none. target:
    name of the node, None for a discovery session. settings: fields of `Settings`; keys: what the target wants besides.
    logged_in: whether the login is over when the dialogue begins. recover: as of `SessionOptions`.
    """

    level: int = 0
    connections: int = 1
    header_digest: str = "none"
    data_digest: str = "none"
    chap: str = "none"
    target: str | None = PLAIN
    settings: tuple[tuple[str, Any], ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    logged_in: bool = True
    recover: bool = True


class Entropy:
    """Bytes that a seed repeats, and that a copy goes on with."""

    __slots__ = ("_drawn", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def __call__(self, length: int) -> bytes:
        """That many bytes, no two calls the same."""
        drawn = b""
        while len(drawn) < length:
            self._drawn += 1
            drawn += blake2b(self._drawn.to_bytes(8, "big"), key=self._seed.to_bytes(8, "big")).digest()
        return drawn[:length]


def settings_of(ground: Ground) -> Settings:
    """The initiator's settings."""
    wishes = {"initiator_name": f"{_PREFIX}:initiator", "error_recovery_level": ground.level}
    return Settings(**{**wishes, **dict(ground.settings)})


def options_of(ground: Ground) -> SessionOptions:
    """The session's."""
    mutual = ground.chap == "mutual"
    chap = ChapOptions(
        credentials=Credentials(name=_USER, secret=_SECRET.encode()),
        target_secret=_TARGET_SECRET.encode() if mutual else None,
        target_name=_TARGET_USER if mutual else None,
    )
    return SessionOptions(
        portal=PORTALS[0],
        target_name=ground.target,
        chap=None if ground.chap == "none" else chap,
        header_digest=DIGESTS[ground.header_digest],
        data_digest=DIGESTS[ground.data_digest],
        recover=ground.recover,
        connections=ground.connections,
    )


def target_of(ground: Ground) -> TargetConfig:
    """A server with the node that the session wants, and others."""
    disk = LunConfig(size=Size(BLOCKS * 512))
    users = {_USER: _SECRET}
    mutual = ChapMutual(name=_TARGET_USER, secret=_TARGET_SECRET) if ground.chap == "mutual" else None
    chap = ChapConfig(users=users, mutual=mutual) if ground.chap in ("one-way", "mutual") else None
    node = TargetNode(name=ground.target or PLAIN, luns={0: disk}, chap=chap)
    return TargetConfig(
        targets=[node, TargetNode(name=MOVED, redirect=Redirect(address=str(PORTALS[1])))],
        portals=[PortalConfig(address=str(portal)) for portal in PORTALS],
        keys={"MaxRecvDataSegmentLength": "1024", "DefaultTime2Wait": "0", **dict(ground.keys)},
        timers=Timers(login=0),
    )
