"""The login phase at the target (RFC 7143 6.3, 11.12, 11.13): one object per connection, gone when the phase is over.

A login is judged PDU by PDU: fields that have to stay the same, stages, the C bit; then its text by the Negotiator and, in
the security stage, by CHAP. The first complete text also says who wants to go where (`admission`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from iscsi_protocol.chap import AuthenticationFailed, ChapError, ChapTarget, Credentials
from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import NegotiationError
from iscsi_protocol.negotiation.keys import KEYS, Role, SessionType
from iscsi_protocol.negotiation.permission import is_authentication_key
from iscsi_protocol.pdu import LoginRequest, LoginResponse, LoginStatus, Opcode, RawPdu, Stage, packer, unpacker
from iscsi_protocol.text import TextAssembler, TextError, decode_pairs, encode_pairs, split_text
from iscsi_target import admission
from iscsi_target.admission import Admission
from iscsi_target.config import ChapConfig
from iscsi_target.connection import LOGIN_DATA_LIMIT, Connection, State
from iscsi_target.core import Core
from iscsi_target.node import settings_for
from iscsi_target.session import Session
from iscsi_target.violation import DropConnection, PeerViolation, refused_login

_TRANSIT = 0x80
_CONTINUE = 0x40
_STAGES = frozenset({Stage.SECURITY, Stage.OPERATIONAL, Stage.FULL_FEATURE})
VERSION = 0
"""The only version there is (11.12.4)."""

Pair = tuple[str, str]

_NAMES = {name.lower(): name for name in KEYS}

_fields = unpacker(LoginRequest, "@0", "@1", "version_max", "version_min", "isid", "tsih", "itt", "cid", "cmd_sn")
_response = packer(
    LoginResponse,
    "@0",
    "@1",
    "version_max",
    "version_active",
    "@5",
    "@6",
    "@7",
    "isid",
    "tsih",
    "itt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
)


@dataclass(slots=True)
class Dialogue:
    """What there is from the first complete text on: where the login leads, and who talks about it."""

    admission: Admission
    negotiator: Negotiator
    chap: ChapTarget


class Login:
    """The login phase of one connection.

    first: header of the first request, whose fields count for the whole phase. replies: segments still to be sent of an
    answer that needs more than one response.
    """

    __slots__ = ("assembler", "dialogue", "first", "replies", "stage")

    def __init__(self, core: Core, first: bytes) -> None:
        self.first = first
        self.stage = Stage(first[1] >> 2 & 3) if first[1] >> 2 & 3 in _STAGES else Stage.FULL_FEATURE
        self.assembler = TextAssembler(core.limits.text_bytes)
        self.replies: list[bytes] = []
        self.dialogue: Dialogue | None = None

    @property
    def joins(self) -> Session | None:
        """The session that the login adds or reinstates a connection of, as far as that is known."""
        return None if self.dialogue is None else self.dialogue.admission.joins


def receive(core: Core, connection: Connection, raw: RawPdu) -> None:
    """A PDU that arrives before the full feature phase. Raises PeerViolation."""
    login = connection.login
    if raw.opcode != Opcode.LOGIN_REQUEST:
        if login is None:
            raise PeerViolation("R7143-4.2.4-06", "a PDU before the first Login Request", DropConnection())
        raise refused_login(LoginStatus.INVALID_DURING_LOGIN, "R7143-4.2.4-07", "no Login Request, during login")
    if login is None:
        login = connection.login = Login(core, bytes(raw.bhs))
        connection.cid = int.from_bytes(login.first[20:22], "big")
        connection.state = State.IN_LOGIN
    _check_header(core, login, raw)
    flags = raw.bhs[1]
    try:
        whole = login.assembler.add(raw.data, bool(flags & _CONTINUE))
    except TextError as error:
        raise refused_login(LoginStatus.INITIATOR_ERROR, error.clause, str(error)) from error
    if login.replies and login.dialogue is not None:
        if len(raw.data) or flags & _CONTINUE:
            raise _error("R7143-6.2-02", "text where the rest of the answer is to be fetched")
        _send_next(core, connection, login, login.dialogue, flags)
    elif whole is None:
        _send(connection, login, 0, b"")
    else:
        _take_text(core, connection, login, flags, whole)


def too_long(connection: Connection, raw: RawPdu, message: str) -> PeerViolation:
    """What a PDU with more than 8192 bytes of data is answered before the full feature phase (6.3)."""
    if connection.login is None and raw.opcode != Opcode.LOGIN_REQUEST:
        return PeerViolation("R7143-4.2.4-06", message, DropConnection())
    return _error("R7143-6.3-02", message)


def _error(clause: str, message: str) -> PeerViolation:
    return refused_login(LoginStatus.INITIATOR_ERROR, clause, message)


def _check_header(core: Core, login: Login, raw: RawPdu) -> None:
    """Everything in the header of a Login Request (11.12, 6.3). Raises PeerViolation."""
    byte0, flags, _, _, isid, tsih, itt, cid, _ = _fields(raw.bhs, 0)
    first = _fields(login.first, 0)
    version_min = first[3]
    if version_min > VERSION:
        raise refused_login(LoginStatus.UNSUPPORTED_VERSION, "R7143-11.12.4-02", f"version {version_min} at least")
    if core.policy.accept_any_login_request:
        return
    if raw.bhs[4]:
        raise _error("R7143-7.7-01", "a Login Request with additional header segments")
    if not byte0 & 0x40:
        raise _error("R7143-11.12-02", "a Login Request without the I bit")
    if itt == 0xFFFFFFFF:
        raise _error("R7143-11.2.1.8-02", "a login with the reserved task tag")
    changed = (
        (raw.bhs[2:4] != login.first[2:4], "R7143-11.12.4.1-01", "version"),
        (isid != first[4], "R7143-6.3-22", "ISID"),
        (tsih != first[5], "R7143-11.12.6-03", "TSIH"),
        (itt != first[6], "R7143-11.12-03", "task tag"),
        (cid != first[7], "R7143-11.12.7-01", "CID"),
    )
    for differs, clause, name in changed:
        if differs:
            raise _error(clause, f"another {name} than in the first Login Request")
    _check_stages(login, flags)


def _check_stages(login: Login, flags: int) -> None:
    """CSG, NSG, T and C (6.3, 11.12.1 to 11.12.3). Raises PeerViolation."""
    csg, nsg = flags >> 2 & 3, flags & 3
    if flags & _TRANSIT and flags & _CONTINUE:
        raise _error("R7143-11.12.2-01", "a Login Request with T and C")
    if csg not in (Stage.SECURITY, Stage.OPERATIONAL):
        raise _error("R7143-6.3-17", f"no login takes place in stage {csg}")
    if csg != login.stage:
        raise _error("R7143-6.3-12", f"stage {csg} where {login.stage.value} is the current one")
    if flags & _TRANSIT and (nsg not in _STAGES or nsg <= csg):
        raise _error("R7143-6.3-17", f"no way leads from stage {csg} to {nsg}")


def _take_text(core: Core, connection: Connection, login: Login, flags: int, whole: bytes) -> None:
    """A complete logical text segment: answer it, and leave the stage if both sides are ready."""
    try:
        pairs = decode_pairs(whole)
    except TextError as error:
        raise _error(error.clause, str(error)) from error
    written: dict[str, str] = {}
    if core.policy.fold_key_names:
        pairs, written = _unfold(pairs)
    dialogue = login.dialogue
    if dialogue is None:
        dialogue = login.dialogue = _begin(core, connection, login, pairs)
        if login.joins is not None:
            login.joins.joining[connection.number] = connection
    negotiator = dialogue.negotiator
    transit = bool(flags & _TRANSIT)
    try:
        reply = [(written.get(name, name), value) for name, value in _negotiate(core, login, dialogue, pairs)]
        reply += negotiator.offers(login.stage, closing=transit)
        ready = transit and negotiator.finished(login.stage) and _security_over(core, login, dialogue)
        text = encode_pairs(reply)
        parts = split_text(text, LOGIN_DATA_LIMIT)
        if ready and len(parts) == 1:
            _leave(core, connection, login, dialogue, Stage(flags & 3), parts[0])
            return
    except NegotiationError as error:
        raise refused_login(error.login_status, error.clause, str(error)) from error
    except ChapError as error:
        raise refused_login(error.login_status, error.clause, str(error), error.pairs) from error
    login.replies = parts
    _send_next(core, connection, login, dialogue, flags)


def _unfold(pairs: list[Pair]) -> tuple[list[Pair], dict[str, str]]:
    """The pairs with the keys' own names, and those names as they were written."""
    named = [(_NAMES.get(name.lower(), name), name, value) for name, value in pairs]
    return [(own, value) for own, _, value in named], {own: name for own, name, _ in named}


def _begin(core: Core, connection: Connection, login: Login, pairs: list[Pair]) -> Dialogue:
    """Who wants what (6.3.1): admission, and what this login is negotiated with."""
    admitted = admission.admit(core, connection, login.first, pairs)
    node = admitted.node.config if admitted.node is not None else None
    settings = settings_for(core.config, node, connection.portal_group_tag)
    session = admitted.joins
    negotiator = Negotiator(
        Role.TARGET,
        settings,
        SessionType.DISCOVERY if admitted.discovery else SessionType.NORMAL,
        leading=session is None,
        current=session.parameters if session is not None else None,
        propose=node.keys_proposed if node is not None else (),
    )
    chap = node.chap if node is not None else core.config.discovery_chap
    required = chap is not None and chap.required
    if required and login.stage is not Stage.SECURITY and not core.policy.skip_authentication:
        raise refused_login(
            LoginStatus.AUTHENTICATION_FAILURE, "R7143-6.3.1-08", "the security stage was left out, and is required"
        )
    return Dialogue(admitted, negotiator, _authenticator(core, chap))


def _authenticator(core: Core, chap: ChapConfig | None) -> ChapTarget:
    if chap is None:
        return ChapTarget(random_bytes=core.random_bytes, none_allowed=True)
    mutual = chap.mutual
    users = {name: secret.encode() for name, secret in chap.users.items()}
    return ChapTarget(
        random_bytes=core.random_bytes,
        find_secret=partial(_find_stripped, users) if core.policy.strip_chap_name_prefix else users.get,
        credentials=Credentials(name=mutual.name, secret=mutual.secret.encode()) if mutual is not None else None,
        none_allowed=not chap.required or core.policy.skip_authentication,
        algorithms=tuple(chap.algorithms),
        challenge_length=chap.challenge_length,
    )


def _find_stripped(users: Mapping[str, bytes], name: str) -> bytes | None:
    return users.get(re.sub("^0[xXbB]", "", name))


def _negotiate(core: Core, login: Login, dialogue: Dialogue, pairs: list[Pair]) -> list[Pair]:
    """The answers to the pairs: the authentication method's by CHAP, all others by the Negotiator."""
    if login.stage is not Stage.SECURITY:
        return dialogue.negotiator.receive(pairs, login.stage)
    security = [pair for pair in pairs if pair[0] == "AuthMethod" or is_authentication_key(pair[0])]
    others = [pair for pair in pairs if pair not in security]
    reply = dialogue.negotiator.receive(others, login.stage)
    try:
        return reply + dialogue.chap.receive(security)
    except AuthenticationFailed:
        if not core.policy.accept_any_chap_response:
            raise
        dialogue.chap = ChapTarget(random_bytes=core.random_bytes, none_allowed=True)
        return reply + dialogue.chap.receive([])


def _security_over(core: Core, login: Login, dialogue: Dialogue) -> bool:
    """Whether the authentication, where this stage is about it, is finished."""
    if login.stage is not Stage.SECURITY or core.policy.skip_authentication:
        return True
    return dialogue.chap.finished


def _leave(core: Core, connection: Connection, login: Login, dialogue: Dialogue, to: Stage, data: bytes) -> None:
    """The stage is over, and for the full feature phase the login is (6.3, T5)."""
    parameters = dialogue.negotiator.commit(to)
    flags = _TRANSIT | login.stage << 2 | to
    if to is not Stage.FULL_FEATURE:
        login.stage = to
        _send(connection, login, flags, data)
        return
    admitted, user = dialogue.admission, dialogue.chap.initiator_name
    session = admission.settle(core, connection, login.first, admitted, parameters, user)
    _send(connection, login, flags, data, tsih=session.tsih)
    admission.enter_full_feature_phase(core, connection, session, admitted, parameters, dialogue.negotiator)


def _send_next(core: Core, connection: Connection, login: Login, dialogue: Dialogue, flags: int) -> None:
    """The next part of an answer, with C while there are more; the last one may have been asked to leave the stage."""
    data = login.replies.pop(0)
    if login.replies:
        _send(connection, login, _CONTINUE | login.stage << 2, data)
    elif flags & _TRANSIT and dialogue.negotiator.finished(login.stage) and _security_over(core, login, dialogue):
        try:
            _leave(core, connection, login, dialogue, Stage(flags & 3), data)
        except NegotiationError as error:
            raise refused_login(error.login_status, error.clause, str(error)) from error
    else:
        _send(connection, login, login.stage << 2, data)


def _send(connection: Connection, login: Login, flags: int, data: bytes, tsih: int | None = None) -> None:
    """A Login Response of class 0; only the last one of a new session tells its TSIH (11.13.3)."""
    fields = _fields(login.first, 0)
    session = connection.session
    cmd_sn = fields[8]
    length = len(data)
    joined = login.joins
    exp_cmd_sn = joined.exp_cmd_sn if joined is not None else cmd_sn
    max_cmd_sn = joined.max_cmd_sn if joined is not None else exp_cmd_sn
    if session is not None:
        exp_cmd_sn, max_cmd_sn = session.exp_cmd_sn, session.max_cmd_sn
    connection.send(
        _response(
            Opcode.LOGIN_RESPONSE,
            flags or login.stage << 2,
            VERSION,
            VERSION,
            length >> 16,
            length >> 8 & 0xFF,
            length & 0xFF,
            fields[4],
            fields[5] if tsih is None else tsih,
            fields[6],
            connection.next_stat_sn(),
            exp_cmd_sn,
            max_cmd_sn,
        ),
        data,
    )
