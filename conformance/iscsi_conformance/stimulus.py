"""What initiator-role cases do again and again: make the target wrong at one PDU, set it up, and look at what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from iscsi_conformance.bundled import CHAP, DISK_SIZE, MUTUAL, PLAIN, bundled_config, bundled_profile
from iscsi_conformance.deeds import chap_options as options_for
from iscsi_conformance.doing import Doing
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.reaction import by_connection
from iscsi_conformance.scene import Scene
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client, SessionFailed
from iscsi_initiator.settings import ChapOptions, SessionOptions
from iscsi_protocol.fault import Action, Fault, Flip, Part, Test, When
from iscsi_protocol.history import PduRecord, TransportEvent
from iscsi_protocol.pdu import LoginRequest, LogoutRequest, Opcode, Pdu, RawPdu, TextRequest, decode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import scan_pairs
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
    cid: int | None = None,
    tests: Sequence[Test] = (),
    renumber: bool = False,
) -> Fault:
    """The target spoils a PDU that it sends. The arguments are those of `When` and `Fault`."""
    when = When(
        direction=Direction.TO_INITIATOR,
        opcode=opcode,
        stage=stage,
        cid=cid,
        tests=tuple(tests),
        nth=nth,
        times=times,
    )
    return Fault(when=when, what=what, renumber=renumber)


def request(
    opcode: int,
    *what: Action,
    nth: int = 1,
    times: int = 1,
    stage: int | None = None,
    cid: int | None = None,
    tests: Sequence[Test] = (),
    renumber: bool = False,
) -> Fault:
    """The target reads another PDU than the initiator sent."""
    when = When(
        direction=Direction.TO_TARGET, opcode=opcode, stage=stage, cid=cid, tests=tuple(tests), nth=nth, times=times
    )
    return Fault(when=when, what=what, renumber=renumber)


def damaged(opcode: int, part: Part, offset: int = 0, cid: int | None = None) -> Fault:
    """A bit of the first such PDU of the target is flipped on the way; its digests do not know of it."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, stage=FULL_FEATURE, cid=cid)
    return Fault(when=when, what=(Flip(part, offset),), raw=True)


def configured(*, commands: int = 128, switches: Mapping[str, object] | None = None, **keys: str) -> TargetConfig:
    """A server with one node, two writable logical units, these text keys and this width of the command window.

    switches: of the target's policy.
    """
    disk = LunConfig(size=DISK_SIZE)
    return msgspec.structs.replace(
        bundled_config(switches),
        targets=[TargetNode(name=PLAIN, luns={0: disk, 1: disk})],
        keys=keys,
        limits=Limits(commands=commands),
    )


def with_node(**changes: Any) -> TargetConfig:
    """As `configured`, with whatever else `TargetNode` takes."""
    config = configured()
    return msgspec.structs.replace(config, targets=[msgspec.structs.replace(config.targets[0], **changes)])


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


async def must_drop(
    scene: Scene,
    doing: Doing,
    clause: str,
    what: str,
    to: Callable[[RawPdu], object],
    *,
    logout: bool = False,
    **wishes: Any,
) -> None:
    """Have the initiator do something, and require that it ends the connection at the PDU for which `to` holds.

    logout: it may log out before. wishes: as for `Scene.perform`. Raises Failed, or Inconclusive where that PDU was not sent.
    """

    def decided() -> bool:
        reaction = scene.reaction(to)
        return reaction is not None and (reaction.closed or any(not logs_out(pdu) for pdu in reaction.sent))

    def logs_out(pdu: Pdu) -> bool:
        return logout and isinstance(pdu, LogoutRequest)

    await scene.perform(doing, until=decided, **wishes)
    reaction = scene.reached(scene.reaction(to), f"the target did not come to send {what}")
    goes_on = [pdu for pdu in reaction.sent if not logs_out(pdu)]
    require(reaction.closed and not goes_on, clause, f"{what}: the initiator ends the connection", seen=reaction)


def is_a(opcode: int) -> Callable[[RawPdu], bool]:
    """Whether a PDU has this opcode."""
    return lambda raw: raw.opcode == opcode


def says(key: str, value: str | None = None) -> Callable[[RawPdu], bool]:
    """Whether a Login Response has this key, with this value where one is given."""

    def told(raw: RawPdu) -> bool:
        if raw.opcode != Opcode.LOGIN_RESPONSE:
            return False
        found = values(scan_pairs(bytes(raw.data))[0], key)
        return bool(found) and (value is None or value in found)

    return told


async def require_dropped(scene: Scene, clause: str, what: str) -> None:
    """The initiator ends the connection itself. Raises Failed."""
    closed = await scene.until(lambda: scene.transport(TransportEvent.CLOSED_BY_US))
    require(closed, clause, f"{what}: the connection is closed by the initiator")


def one_way_login() -> ChapLogin:
    """Who the initiator is for a target of `guarded`."""
    return _known(bundled_profile().chap)


def mutual_login() -> ChapLogin:
    """Likewise, with what the target proves."""
    return _known(bundled_profile().mutual)


def _known(login: ChapLogin | None) -> ChapLogin:
    if login is None:
        raise LookupError("the bundled target has CHAP")
    return login


def chap_options(login: ChapLogin | None = None) -> ChapOptions:
    """The bundled initiator's side of the bundled target's one-way or mutual CHAP."""
    return options_for(login or one_way_login())


def guarded(*, mutual: bool = False) -> TargetConfig:
    """As `configured`, behind one-way or mutual CHAP."""
    names = MUTUAL if mutual else CHAP
    chap = next(node.chap for node in bundled_config().targets if node.name == names)
    return with_node(chap=chap)


def dialogue(scene: Scene) -> list[tuple[Direction, Pdu]]:
    """Everything that crossed, in order."""
    return [(item.direction, decode(item.raw)) for item in scene.recorder.records if isinstance(item, PduRecord)]


def first_dialogue(scene: Scene) -> list[tuple[Direction, Pdu]]:
    """Everything that crossed on the first connection on which anything did."""
    records = next(iter(by_connection(scene.recorder.records)), [])
    return [(item.direction, decode(item.raw)) for item in records]


def logins(scene: Scene) -> list[list[LoginRequest]]:
    """The Login Requests of each connection. Raises Inconclusive when there are none."""
    found = []
    for records in by_connection(scene.recorder.records):
        sent = [decode(item.raw) for item in records if item.direction is Direction.TO_TARGET]
        found.append([pdu for pdu in sent if isinstance(pdu, LoginRequest)])
    return scene.reached([each for each in found if each], "the initiator sent no LoginRequest")


def text_of(requests: Sequence[LoginRequest | TextRequest]) -> list[tuple[str, str]]:
    """The pairs of a login, those that span several requests as one; what is no pair is left out."""
    return scan_pairs(b"".join(pdu.data for pdu in requests))[0]


def login_keys(scene: Scene) -> list[tuple[str, str]]:
    """The pairs of the first login. Raises Inconclusive when there is none."""
    return text_of(logins(scene)[0])


def values(pairs: Sequence[tuple[str, str]], key: str) -> list[str]:
    """All values of a key."""
    return [value for name, value in pairs if name == key]
