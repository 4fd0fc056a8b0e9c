"""Who may log in where, and what the login does to the session table (RFC 7143 6.3.1, 6.3.4, 6.3.5, 7.4.2, 11.13.5)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.identity import TsihExhausted
from iscsi_protocol.names import IscsiNameError, check_name
from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import LoginStatus
from iscsi_target import events, recovery
from iscsi_target.config import Redirect
from iscsi_target.connection import NOTHING_RIDES, Connection, State
from iscsi_target.core import Core
from iscsi_target.nexus import Nexus
from iscsi_target.node import NO_DEVICE, Node
from iscsi_target.session import Session, SessionKey
from iscsi_target.timers import Timer
from iscsi_target.violation import PeerViolation, refused_login

Pair = tuple[str, str]
_WIDEST_WINDOW = 2**31 - 1
_RECOVERY_LEVEL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What a login will lead to. joins: the session that it adds or reinstates a connection of, None for a new session."""

    key: SessionKey
    node: Node | None
    discovery: bool
    joins: Session | None


def admit(core: Core, connection: Connection, first: bytes, pairs: list[Pair]) -> Admission:
    """Judge the first complete text of a login. Raises PeerViolation with the status that belongs to what is wrong."""
    given: dict[str, str] = {}
    for name, value in pairs:
        given.setdefault(name, value)
    isid, tsih, cid = first[8:14], int.from_bytes(first[14:16], "big"), int.from_bytes(first[20:22], "big")
    initiator_name = _name(given, "InitiatorName", "R7143-6.3-03")
    discovery = _session_type(given) == "Discovery"
    if isid[0] & 0xC0 == 0xC0:
        raise refused_login(LoginStatus.INITIATOR_ERROR, "R7143-11.12.5-01", "an ISID of the reserved type")
    node = None
    if "TargetName" in given or not discovery:
        node = _find_node(core, connection, _name(given, "TargetName", "R7143-6.3-05"), initiator_name, tsih)
    key = SessionKey(
        initiator_name=initiator_name,
        isid=isid,
        target_name=node.name if node is not None else None,
        portal_group_tag=connection.portal_group_tag if node is not None else 0,
        portal=None if node is not None or core.policy.merge_discovery_portals else str(connection.local),
    )
    joins = None
    if tsih and not core.policy.accept_any_tsih:
        joins = _session_to_join(core, key, tsih, cid)
        discovery = joins.discovery
    else:
        _check_sessions(core, key)
    return Admission(key=key, node=node, discovery=discovery, joins=joins)


def _check_sessions(core: Core, key: SessionKey) -> None:
    if core.sessions.find(key) is None and len(core.sessions) >= core.limits.sessions:
        raise refused_login(LoginStatus.OUT_OF_RESOURCES, "R7143-11.13.5-12", "no more sessions")


def _name(given: dict[str, str], key: str, clause: str) -> str:
    name = given.get(key)
    if name is None:
        raise refused_login(LoginStatus.MISSING_PARAMETER, clause, f"{key} is missing")
    try:
        check_name(name, upper_hex=True)
    except IscsiNameError as error:
        raise refused_login(LoginStatus.INITIATOR_ERROR, error.clause, str(error)) from error
    # eui. and naa. names are compared in lower case, as they should have been sent (4.2.7.1).
    return name.lower() if name.isascii() else name


def _session_type(given: dict[str, str]) -> str:
    session_type = given.get("SessionType", "Normal")
    if session_type not in ("Normal", "Discovery"):
        raise refused_login(
            LoginStatus.SESSION_TYPE_NOT_SUPPORTED, "R7143-11.13.5-11", f"session type {session_type!r}"
        )
    return session_type


def _find_node(core: Core, connection: Connection, name: str, initiator_name: str, tsih: int) -> Node:
    node = core.nodes.get(name)
    if node is None:
        raise refused_login(LoginStatus.NOT_FOUND, "R7143-11.13.5-06", f"no target {name!r} here")
    if node.config.removed:
        raise refused_login(LoginStatus.TARGET_REMOVED, "R7143-11.13.5-07", "the target is gone")
    redirect = node.config.redirect
    if redirect is not None and (address := redirect.address or _other_portal(core, connection, redirect)):
        text = (("TargetAddress", address),)
        raise refused_login(redirect.status, "R7143-11.13.5-01", "the target has moved", text)
    if node.config.unavailable:
        raise refused_login(LoginStatus.SERVICE_UNAVAILABLE, "R7143-11.13.5-12", "the target is not operational")
    if not node.behind(connection.portal_group_tag):
        if tsih:
            raise _elsewhere()
        raise refused_login(LoginStatus.NOT_FOUND, "R7143-11.13.5-06", "the target is not at this address")
    if not node.admits(initiator_name):
        raise refused_login(LoginStatus.AUTHORIZATION_FAILURE, "R7143-11.13.5-18", "the initiator is not allowed")
    return node


def _other_portal(core: Core, connection: Connection, redirect: Redirect) -> str | None:
    """Where a login is sent from the portal that it came to; None where it may stay."""
    here = str(connection.local)
    if redirect.portal == "same":
        return here
    portals = core.portals
    place = portals.index(here) if here in portals else len(portals)
    return portals[place + 1] if place + 1 < len(portals) else None


def _elsewhere() -> PeerViolation:
    return refused_login(
        LoginStatus.CANNOT_INCLUDE_IN_SESSION, "R7143-11.13.5-10", "the session belongs to another portal group"
    )


def _session_to_join(core: Core, key: SessionKey, tsih: int, cid: int) -> Session:
    """The rows of the table in 6.3.1 with a TSIH that is not zero."""
    session = core.sessions.find(key)
    if session is None or session.tsih != tsih:
        other = core.sessions.of_tsih(tsih)
        if other is not None and _spans_groups(other.key, key):
            raise _elsewhere()
        raise refused_login(
            LoginStatus.SESSION_DOES_NOT_EXIST, "R7143-6.3.1-06" if session else "R7143-6.3.1-01", f"no session {tsih}"
        )
    _check_room(session, cid)
    return session


def _check_room(session: Session, cid: int) -> None:
    """MaxConnections counts what is in full feature phase, so that a session can be continued by a connection with a new CID
    beside one that is lost (6.3.6). As many again may wait for their cleanup.
    """
    most = session.parameters.max_connections
    if cid in session.connections:
        return
    if len(session.full_feature_connections) >= most or len(session.connections) >= 2 * most:
        raise refused_login(LoginStatus.TOO_MANY_CONNECTIONS, "R7143-11.13.5-08", "no more connections in the session")


def _spans_groups(one: SessionKey, other: SessionKey) -> bool:
    """Whether two keys differ in nothing but the portal group."""
    return (one.initiator_name, one.isid, one.target_name) == (other.initiator_name, other.isid, other.target_name)


def settle(
    core: Core,
    connection: Connection,
    first: bytes,
    admitted: Admission,
    parameters: OperationalParameters,
    user: str | None,
) -> Session:
    """The login has succeeded: make or take over the session (6.3.4, 6.3.5). Raises PeerViolation."""
    connection.cid = int.from_bytes(first[20:22], "big")
    session = admitted.joins
    if session is None:
        session = _new_session(core, first, admitted, parameters, user)
    else:
        if not session.live:
            raise refused_login(LoginStatus.SESSION_DOES_NOT_EXIST, "R7143-6.3.1-06", "the session ended meanwhile")
        if user != session.user and not core.policy.mix_identities:
            raise refused_login(
                LoginStatus.AUTHENTICATION_FAILURE, "R7143-9.2-13", "another identity than the session's"
            )
        # Others may have come while this login was under way.
        _check_room(session, connection.cid)
        _replace_connection(core, session, connection, first)
    session.connections[connection.cid] = connection
    connection.session = session
    connection.user = user
    return session


def _new_session(
    core: Core, first: bytes, admitted: Admission, parameters: OperationalParameters, user: str | None
) -> Session:
    # Others may have logged in while this login was under way.
    _check_sessions(core, admitted.key)
    old = core.sessions.find(admitted.key)
    if old is not None and not core.policy.keep_reinstated_session:
        core.end_session(old, "session reinstatement")
    try:
        tsih = core.sessions.new_tsih()
    except TsihExhausted as error:
        raise refused_login(LoginStatus.OUT_OF_RESOURCES, "R7143-11.13.5-12", str(error)) from error
    key = admitted.key
    cmd_sn = int.from_bytes(first[24:28], "big")
    width = min(core.limits.commands, _WIDEST_WINDOW)
    session = Session(
        tsih=tsih,
        key=key,
        node=admitted.node,
        device=NO_DEVICE if admitted.node is None else admitted.node.device,
        nexus=Nexus(
            initiator_name=key.initiator_name,
            isid=key.isid,
            tsih=tsih,
            target_portal_group_tag=key.portal_group_tag,
            protocol_level=parameters.iscsi_protocol_level,
        ),
        discovery=admitted.discovery,
        parameters=parameters,
        exp_cmd_sn=cmd_sn,
        max_cmd_sn=(cmd_sn + width - 1) & 0xFFFFFFFF,
        user=user,
    )
    core.sessions.add(session)
    if not session.discovery:
        session.device.nexus_made(session.nexus)
    return session


def _replace_connection(core: Core, session: Session, new: Connection, first: bytes) -> None:
    """Connection reinstatement: the old connection is logged out implicitly, for recovery at recovery level 2, else for good
    (6.3.4, 11.14). The first Login Request has the ExpStatSN of the old connection (11.12.9).
    """
    old = session.connections.get(new.cid)
    if old is None:
        return
    core.acknowledge(old, int.from_bytes(first[28:32], "big"))
    # The new one stands in its place first, so that the session does not end with the old one.
    session.connections[new.cid] = new
    how = "rst" if old.state is State.CLEANUP_WAIT else "fin"
    old.shed()
    if session.parameters.error_recovery_level >= _RECOVERY_LEVEL:
        core.logout_for_recovery(old, "connection reinstatement", how)
    else:
        core.logout_connection(old, "connection reinstatement", how)


def enter_full_feature_phase(
    core: Core,
    connection: Connection,
    session: Session,
    admitted: Admission,
    parameters: OperationalParameters,
    negotiator: Negotiator,
) -> None:
    """T5: digests and lengths hold from the next PDU on (13.1)."""
    connection.state = State.LOGGED_IN
    core.login_over(connection)
    connection.negotiator = negotiator
    connection.max_send = parameters.max_recv_data_segment_length_initiator
    connection.header_digest = parameters.header_digest
    connection.data_digest = connection.in_memory = parameters.data_digest
    if admitted.node is not None and not admitted.node.config.phase_collapse:
        connection.riding = NOTHING_RIDES
    recovery.begin(core, connection, session)
    framer = connection.framer
    framer.header_digest = parameters.header_digest
    framer.data_digest = parameters.data_digest
    framer.max_data_segment_length = parameters.max_recv_data_segment_length_target
    if core.config.timers.ping_interval and not session.discovery:
        core.timers.start(Timer.PING_INTERVAL, connection.number, core.now + core.config.timers.ping_interval)
    core.tell(
        events.LoggedIn(
            connection=connection.number,
            cid=connection.cid,
            tsih=session.tsih,
            isid=session.key.isid,
            initiator_name=session.key.initiator_name,
            target_name=session.key.target_name,
            discovery=session.discovery,
            new_session=admitted.joins is None,
            user=connection.user,
        )
    )
