"""What initiator-role cases do again and again: make the target wrong at one PDU, set it up, and look at what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from iscsi_conformance.bundled import DISK_SIZE, PLAIN, bundled_config, bundled_profile
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.scene import Scene
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client, SessionFailed
from iscsi_initiator.settings import ChapOptions, SessionOptions
from iscsi_protocol.chap import Credentials
from iscsi_protocol.fault import Action, Fault, Flip, Part, Test, When
from iscsi_protocol.history import PduRecord, TransportEvent
from iscsi_protocol.pdu import LoginRequest, Pdu, decode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import decode_pairs
from iscsi_target.config import Limits, LunConfig, TargetConfig, TargetNode

FULL_FEATURE = 3
"""How a fault names that phase."""

A_MOMENT = 0.05
"""Seconds in which what should not happen would happen."""

NOTHING_LISTENS = "127.0.0.1:1"
"""A portal that nobody has."""


def answer(
    opcode: int,
    *what: Action,
    nth: int = 1,
    times: int = 1,
    stage: int | None = None,
    tests: Sequence[Test] = (),
    renumber: bool = False,
) -> Fault:
    """The target spoils a PDU that it sends. The arguments are those of `When` and `Fault`."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, stage=stage, tests=tuple(tests), nth=nth, times=times)
    return Fault(when=when, what=what, renumber=renumber)


def request(
    opcode: int,
    *what: Action,
    nth: int = 1,
    times: int = 1,
    stage: int | None = None,
    tests: Sequence[Test] = (),
    renumber: bool = False,
) -> Fault:
    """The target reads another PDU than the initiator sent."""
    when = When(direction=Direction.TO_TARGET, opcode=opcode, stage=stage, tests=tuple(tests), nth=nth, times=times)
    return Fault(when=when, what=what, renumber=renumber)


def damaged(opcode: int, part: Part, offset: int = 0) -> Fault:
    """A bit of the first such PDU of the target is flipped on the way; its digests do not know of it."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, stage=FULL_FEATURE)
    return Fault(when=when, what=(Flip(part, offset),), raw=True)


def configured(*, commands: int = 128, **keys: str) -> TargetConfig:
    """A server with one node, two writable logical units, these text keys and this width of the command window."""
    disk = LunConfig(size=DISK_SIZE)
    return msgspec.structs.replace(
        bundled_config(),
        targets=[TargetNode(name=PLAIN, luns={0: disk, 1: disk})],
        keys=keys,
        limits=Limits(commands=commands),
    )


async def log_in(scene: Scene, *, lun: int = 0, settings: Any = None, **options: Any) -> Client:
    """A session that is over when its connection ends. options: of `SessionOptions`. Raises SessionFailed."""
    return await scene.login(settings=settings, lun=lun, options=await once(scene, **options))


async def once(scene: Scene, **options: Any) -> SessionOptions:
    """Wishes for a session that does not recover; the target comes up clean if none is there."""
    stage = scene.stage or await scene.target()
    wishes: dict[str, Any] = {"target_name": PLAIN, "recover": False, **options}
    return SessionOptions(portal=stage.endpoints[0], **wishes)


async def give_up(
    scene: Scene, clause: str, what: str, *, settings: Any = None, lun: int = 0, **options: Any
) -> SessionFailed:
    """Have the initiator log in where it has to give up and to close the connection. Raises Failed."""
    wishes = await once(scene, **options)
    failed = await scene.refused_login(clause, what, settings=settings, lun=lun, options=wishes)
    await require_dropped(scene, clause, what)
    return failed


async def require_dropped(scene: Scene, clause: str, what: str) -> None:
    """The initiator ends the connection itself. Raises Failed."""
    closed = await scene.until(lambda: scene.transport(TransportEvent.CLOSED_BY_US))
    require(closed, clause, f"{what}: the connection is closed by the initiator")


def chap_options(login: ChapLogin | None = None) -> ChapOptions:
    """The initiator's side of the bundled target's one-way or mutual CHAP."""
    login = login or bundled_profile().chap
    if login is None:
        raise LookupError("the bundled target has CHAP")
    return ChapOptions(
        credentials=Credentials(name=login.user, secret=login.secret.encode()),
        target_secret=login.target_secret.encode() if login.target_secret else None,
        target_name=login.target_user,
    )


def dialogue(scene: Scene) -> list[tuple[Direction, Pdu]]:
    """Everything that crossed, in order."""
    return [(item.direction, decode(item.raw)) for item in scene.recorder.records if isinstance(item, PduRecord)]


def login_keys(scene: Scene) -> list[tuple[str, str]]:
    """The pairs of all Login Requests, those that span several as one."""
    text = b"".join(pdu.data for pdu in scene.sent(LoginRequest))
    return decode_pairs(text)


def values(pairs: Sequence[tuple[str, str]], key: str) -> list[str]:
    """All values of a key."""
    return [value for name, value in pairs if name == key]
