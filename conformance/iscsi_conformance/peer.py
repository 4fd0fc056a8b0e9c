"""The product under test as cases reach it: connections, logins, discovery, and what is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from iscsi_conformance.feature import Feature
from iscsi_conformance.profile import ChapLogin, Profile
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Failed, Inconclusive, PeerGone, Unsupported
from iscsi_conformance.wire import Pairs, Wire
from iscsi_initiator.raw import PeerClosed, RawConnection, SilentPeer
from iscsi_initiator.raw_login import Change, RawLogin
from iscsi_initiator.transport import ConnectFailed, Connector, TappedConnector
from iscsi_protocol.chap import ChapError, ChapInitiator, Credentials
from iscsi_protocol.history import Endpoint, SettingsRecord

if TYPE_CHECKING:
    from iscsi_conformance.scene import OpenStage, Scene
    from iscsi_protocol.fault import NamedFault

TESTER_ISID = bytes.fromhex("800000000001")
RandomBytes = Callable[[int], bytes]


class Operator(Protocol):
    """What can be asked of the bundled target beside the wire; foreign products have none.

    All is done to the latest session, by its latest connection or by that of the CID given.
    """

    def request_logout(self, seconds: int, *, cid: int | None = None) -> None:
        """Ask the initiator to log out (Asynchronous Message 1)."""

    def announce_connection_drop(self, *, cid: int | None = None) -> None:
        """Announce that a connection will be dropped (2), and drop it."""

    def announce_session_drop(self) -> None:
        """Announce that all connections will be dropped (3), and drop them."""

    def request_negotiation(self, seconds: int, *, cid: int | None = None) -> None:
        """Ask for a text negotiation (4)."""

    def report_scsi_event(self, sense: bytes, *, cid: int | None = None) -> None:
        """Send a SCSI asynchronous event (0) with this sense data for LUN 0."""

    def ping(self, *, cid: int | None = None) -> None:
        """Send a NOP-In that asks for an answer."""

    def tell_counters(self, *, cid: int | None = None) -> None:
        """Send a NOP-In that asks for none."""

    def mend(self) -> None:
        """Have no faults on the connections to come."""

    def mend_behind(self, connections: int) -> None:
        """Have no faults on the connections behind the next so many."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the probe found of a feature: whether it is there, and what was seen."""

    there: bool
    evidence: str


@dataclass(kw_only=True)
class Environment:
    """Where a case runs.

    endpoints: the portals, the first one standard. group_portal: another one of the first one's group. transport: tcp or
    memory; clock: real or virtual. offers: filled by the probe. connector: opens connections to the product. operator: see
    there. open_stage: brings up a bundled target for an initiator-role case; initiator_fault: what the bundled initiator
    does wrong there. make_scene: for a foreign initiator, makes the scene of the case with that id. bench_fault: what the
    bundled iSNS server or client, or the initiator's service, does wrong.
    """

    profile: Profile
    connector: Connector
    endpoints: Sequence[Endpoint]
    transport: str
    clock: str
    random_bytes: RandomBytes
    group_portal: Endpoint | None = None
    operator: Operator | None = None
    open_stage: OpenStage | None = None
    make_scene: Callable[[str, Recorder], Scene] | None = None
    initiator_fault: NamedFault | None = None
    bench_fault: NamedFault | None = None
    offers: dict[Feature, Offer] = field(default_factory=dict)

    def offer(self, feature: Feature) -> Offer:
        """What is known of a feature; the profile's word stands above the probe's."""
        if feature in self.profile.absent:
            return Offer(False, "the profile says that it is absent")
        if feature in self.profile.features:
            return Offer(True, "the profile says that it is there")
        return self.offers.get(feature, Offer(False, "the probe did not find it"))


class Peer:
    """The product, for one case. Every connection is recorded."""

    def __init__(self, environment: Environment, recorder: Recorder) -> None:
        self.environment = environment
        self.profile = environment.profile
        self.recorder = recorder
        self.wires: list[Wire] = []
        self._connector = TappedConnector(environment.connector, tap=recorder.record)
        self._declared = False

    @property
    def target_name(self) -> str:
        """The node under test. Raises Unsupported where the operator named none."""
        return self.node("target_name", Feature.NORMAL_SESSION)

    def node(self, which: str, feature: Feature) -> str:
        """A node of the profile by its field. Raises Unsupported where the profile has none."""
        name = getattr(self.profile, which)
        if not isinstance(name, str):
            raise Unsupported(feature, f"the profile names no {which}")
        return name

    @property
    def operator(self) -> Operator:
        """The bundled target's operator. Raises Unsupported for a foreign product."""
        if self.environment.operator is None:
            raise Unsupported(Feature.PROVOKED_EVENTS, "a foreign product cannot be told to do this")
        return self.environment.operator

    def require(self, feature: Feature) -> None:
        """Raise Unsupported, with the probe's evidence, unless the feature is there."""
        offer = self.environment.offer(feature)
        if not offer.there:
            raise Unsupported(feature, offer.evidence)

    def _endpoint(self, portal: int | Endpoint) -> Endpoint:
        endpoints = self.environment.endpoints
        if isinstance(portal, Endpoint):
            return portal
        if portal >= len(endpoints):
            raise Unsupported(Feature.SECOND_PORTAL, "the profile names no second portal")
        return endpoints[portal]

    @property
    def group_portal(self) -> Endpoint:
        """Another portal of the first one's group. Raises Unsupported where none is known."""
        if self.environment.group_portal is None:
            raise Unsupported(Feature.GROUP_PORTAL, "the profile names no further portal of the group")
        return self.environment.group_portal

    async def connect(self, *, portal: int | Endpoint = 0, target_name: str | None = None) -> Wire:
        """A TCP connection, nothing said yet. Raises PeerGone when the portal does not take it."""
        self._declare()
        try:
            raw = await RawConnection.open(self._connector, self._endpoint(portal))
        except ConnectFailed as error:
            raise PeerGone(f"no connection: {error}") from None
        name = target_name or self.profile.target_name or ""
        wire = Wire(raw, self.profile.response_time, self.profile.initiator_name, name)
        self.wires.append(wire)
        return wire

    async def try_login(
        self,
        keys: Pairs = (),
        *,
        session_type: str = "Normal",
        chap: ChapLogin | None = None,
        portal: int | Endpoint = 0,
        target_name: str | None = None,
        isid: bytes = TESTER_ISID,
        tsih: int = 0,
        cid: int = 0,
        into: Session | None = None,
        first_stage: int | None = None,
        change: Change | None = None,
    ) -> tuple[Wire, RawLogin]:
        """Connect and walk the login, wherever it ends. Raises Inconclusive when no answer comes at all.

        into: the session that the connection is to belong to; it gives ISID, TSIH and target, and counts on.
        """
        wire = await self.connect(portal=portal, target_name=into.target_name if into else target_name)
        if into is not None:
            isid, tsih = into.isid, into.tsih
            wire.raw.join(into.raw.numbers)
        wire.isid = isid
        try:
            login = await wire.raw.login(
                [*wire.names(session_type=session_type, leading=not tsih), *keys],
                chap=self._authentication(chap),
                isid=isid,
                tsih=tsih,
                cid=cid,
                first_stage=first_stage,
                change=change,
                timeout=self.profile.response_time,
            )
        except (PeerClosed, SilentPeer, ChapError) as error:
            login = wire.raw.logins[-1]
            if not login.responses:
                raise Inconclusive(f"the login was not answered: {error}") from None
        return wire, login

    async def login(
        self,
        keys: Pairs = (),
        *,
        lun: int | None = None,
        clause: str | None = None,
        session_type: str = "Normal",
        chap: ChapLogin | None = None,
        portal: int | Endpoint = 0,
        target_name: str | None = None,
        isid: bytes = TESTER_ISID,
        tsih: int = 0,
        cid: int = 0,
        into: Session | None = None,
        first_stage: int | None = None,
    ) -> Session:
        """A session in full feature phase. Where it is not reached: Failed if a clause says it must be, else Inconclusive."""
        wire, login = await self.try_login(
            keys,
            session_type=session_type,
            chap=chap or (self.profile.chap if target_name is None and self.profile.chap_target is None else None),
            portal=portal,
            target_name=target_name,
            isid=isid,
            tsih=tsih,
            cid=cid,
            into=into,
            first_stage=first_stage,
        )
        if not login.full_feature:
            status = "no answer" if login.status is None else f"status {login.status:04x}"
            reason = f"the login did not reach full feature phase ({status})"
            raise Failed(clause, reason) if clause else Inconclusive(reason)
        if into is not None and login.tsih != into.tsih:
            reason = f"the login led to the session of TSIH {login.tsih:#x} and not into that of {into.tsih:#x}"
            raise Failed(clause, reason) if clause else Inconclusive(reason)
        leading = (into.leading or into) if into else None
        session = Session(wire.raw, login, wire, self.profile.lun if lun is None else lun, cid=cid, leading=leading)
        self.wires[self.wires.index(wire)] = session
        return session

    async def join(self, session: Session, cid: int = 1, keys: Pairs = (), **options: Any) -> Session:
        """One more connection of a session, or one in the place of the connection that has this CID (reinstatement).

        options: clause, chap and portal as for `login`, which says what is raised.
        """
        return await self.login(keys, cid=cid, into=session, **options)

    async def disk(self, keys: Pairs = (), **options: Any) -> Session:
        """A session whose logical unit was asked for its size, and that has no unit attention pending."""
        session = await self.login(keys, **options)
        await session.measure()
        return session

    async def discovery(self, keys: Pairs = (), *, clause: str | None = None) -> Session:
        """A discovery session."""
        return await self.login(keys, session_type="Discovery", clause=clause)

    def _declare(self) -> None:
        """Say in the history, once, who the initiator is: an instrument without timers or recovery of its own."""
        if not self._declared:
            self._declared = True
            settings = {"InitiatorName": self.profile.initiator_name, "ResponseTime": self.profile.response_time}
            self.recorder.record(SettingsRecord(asyncio.get_running_loop().time(), settings))

    async def close(self) -> None:
        """End every connection that is still open."""
        for wire in self.wires:
            wire.raw.close()

    def ending(self) -> str:
        """How the latest connection ended."""
        if not self.wires:
            return "never connected"
        closed = self.wires[-1].raw.closed
        return "open" if closed is None else closed.value

    def closed_by_peer(self) -> bool:
        """Whether the product ended one of the connections."""
        return any(wire.raw.closed is not None and wire.raw.closed.value != "closed by us" for wire in self.wires)

    def _authentication(self, chap: ChapLogin | None) -> ChapInitiator | None:
        if chap is None:
            return None
        return ChapInitiator(
            random_bytes=self.environment.random_bytes,
            credentials=Credentials(name=chap.user, secret=chap.secret.encode()),
            target_secret=chap.target_secret.encode() if chap.target_secret else None,
            target_name=chap.target_user,
            required=True,
        )


def answers(table: Mapping[Feature, Offer]) -> list[str]:
    """The probe's findings, a line each, for reports."""
    return [f"{name}: {'yes' if offer.there else 'no'} ({offer.evidence})" for name, offer in sorted(table.items())]
