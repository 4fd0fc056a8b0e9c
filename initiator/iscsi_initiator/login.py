"""One login of the initiator (RFC 7143 chapter 6, 11.12, 11.13): requests out, responses in, and every response judged.

A login always begins in the security stage, with AuthMethod=None where CHAP is not configured, so that a target that wants
CHAP can say so. What a response breaks is told by the event that the guide has for it; of several the first in the order of
`EVENT_ORDER` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import LoginFault
from iscsi_initiator.settings import SessionOptions, Settings, negotiation_wishes
from iscsi_protocol import serial
from iscsi_protocol.chap import (
    MD5,
    AuthenticationFailed,
    ChapError,
    ChapInitiator,
    Hasher,
    Step,
    hashlib_hasher,
)
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import EVENT_ORDER, NegotiationError
from iscsi_protocol.negotiation.keys import Role, SessionType
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.negotiation.permission import split_security_keys
from iscsi_protocol.negotiation.values import TargetAddress, parse_target_address
from iscsi_protocol.pdu import LoginRequest, LoginResponse, RawPdu, decode, encode
from iscsi_protocol.pdu.codes import LoginStatus, Stage, login_status_text
from iscsi_protocol.text import (
    PairError,
    TextAssembler,
    TextTooLong,
    ValueFormError,
    decode_pairs,
    encode_pairs,
    scan_pairs,
    split_text,
)

LOGIN_SEGMENT_LIMIT = 8192
"""Bytes of text in one login PDU, whatever was declared (6.3)."""

MAX_EXCHANGES = 100
"""Responses without progress to the full feature phase, behind which a target is not listened to any longer."""


class LoginFailed(Exception):
    """The login is over. event, extra: what is logged, None for nothing; status: the target's, None where we end it;
    fault: what event 11 does not tell.
    """

    def __init__(
        self, event: int | None, extra: bytes, text: str, status: int | None = None, fault: LoginFault | None = None
    ) -> None:
        super().__init__(text)
        self.event = event
        self.extra = extra
        self.text = text
        self.status = status
        self.fault = fault


class LoginRedirected(Exception):
    """The target is elsewhere (0101, 0102). address: where; permanent: for all later logins too."""

    def __init__(self, address: TargetAddress, data: bytes, *, permanent: bool) -> None:
        super().__init__(str(address))
        self.address = address
        self.data = data
        self.permanent = permanent


class LoginExchange:
    """The login of one connection.

    isid, tsih, cid, cmd_sn, itt: as they go into every request; a TSIH of 0 makes a session. exp_stat_sn: of the connection
    that is to be reinstated, else 0. current: what holds in the session that it joins. issued: CHAP challenges that were sent
    before. outbox: PDUs to send.
    finished: the final response came; then parameters, tsih, exp_stat_sn, exp_cmd_sn, max_cmd_sn and declared hold.

    The constructor raises ChapError for secrets that may not be used, and ValueError for wishes that no one may have.
    """

    def __init__(
        self,
        settings: Settings,
        options: SessionOptions,
        policy: Policy,
        random_bytes: Callable[[int], bytes],
        *,
        isid: bytes,
        cmd_sn: int,
        itt: int,
        tsih: int = 0,
        cid: int = 0,
        exp_stat_sn: int = 0,
        issued: Container[bytes] = frozenset(),
        hasher: Hasher = hashlib_hasher,
        current: OperationalParameters | None = None,
    ) -> None:
        self._policy = policy
        self._isid = isid
        self._joins = tsih
        self._cid = cid
        self._cmd_sn = cmd_sn
        self._itt = itt
        session_type = SessionType.DISCOVERY if options.target_name is None else SessionType.NORMAL
        self._negotiator = Negotiator(
            Role.INITIATOR, negotiation_wishes(settings, options), session_type, not tsih, current=current
        )
        chap = options.chap
        self._chap = ChapInitiator(
            random_bytes=random_bytes,
            credentials=chap.credentials if chap else None,
            target_secret=chap.target_secret if chap else None,
            target_name=chap.target_name if chap else None,
            required=chap.required if chap else False,
            algorithms=chap.algorithms if chap else (MD5,),
            shortest_secret=policy.shortest_chap_secret,
            issued=issued,
            hasher=hasher,
            encrypted=options.ipsec,
        )
        self._stage = Stage.SECURITY
        self._asked: Stage | None = None
        self._chunks: list[bytes] = []
        self._assembler = TextAssembler()
        self._exchanges = 0
        self.outbox: list[RawPdu] = []
        self.finished = False
        self.tsih = 0
        self.exp_stat_sn = exp_stat_sn
        self.exp_cmd_sn = cmd_sn
        self.max_cmd_sn = cmd_sn

    @property
    def parameters(self) -> OperationalParameters:
        """What was agreed."""
        return self._negotiator.result

    @property
    def negotiator(self) -> Negotiator:
        """The negotiator, which serves the full feature phase too."""
        return self._negotiator

    @property
    def challenge(self) -> bytes | None:
        """The CHAP challenge that was sent in this login."""
        return self._chap.challenge

    def declared(self, key: str) -> str | None:
        """What the target declared for a key."""
        return next(iter(self._negotiator.declared.get(key, ())), None)

    def begin(self) -> None:
        """Make the first request."""
        self._ask([*self._negotiator.offers(Stage.SECURITY), *self._chap.begin()])

    def receive(self, raw: RawPdu) -> None:
        """Take one PDU. Raises LoginFailed, LoginRedirected."""
        response = decode(raw)
        if not isinstance(response, LoginResponse):
            raise self._invalid(raw, f"opcode {raw.opcode:#04x} during login")
        self._exchanges += 1
        fault = self._inconsistency(response)
        if fault and not self._policy.accept_invalid_login:
            version = not response.status_class and response.version_active != 0
            raise self._invalid(raw, fault, LoginFault.VERSION if version else None)
        if response.status_class:
            self._refused(raw, response)
        self.exp_stat_sn = serial.add(response.stat_sn)
        self.exp_cmd_sn, self.max_cmd_sn = response.exp_cmd_sn, response.max_cmd_sn
        if self._chunks:
            self._send_chunk()
            return
        text = self._assemble(raw, response)
        if text is None:
            # T stays: the last piece of the response may then answer the request that all of it answers.
            self._send(b"", transit=self._asked is not None, continued=False)
            return
        self._take(raw, response, text)

    # Judging.

    def _inconsistency(self, response: LoginResponse) -> str:
        """What makes a response no possible answer to the request, empty for nothing (11.13)."""
        if response.itt != self._itt:
            return "another Initiator Task Tag"
        if response.status_class:
            # A refusal has to fit by its tag alone: targets in use leave the rest of the header zero.
            return ""
        if response.isid != self._isid:
            return "another ISID"
        if response.version_active != 0:
            return f"Version-active {response.version_active}"
        if response.csg != self._stage:
            return f"CSG {response.csg} in stage {self._stage}"
        if self._exchanges > MAX_EXCHANGES:
            return "no end of the login"
        if self._chunks and (response.data or response.transit or response.continued):
            return "an answer to an unfinished request that is not empty"
        return self._transition_fault(response) if response.transit else ""

    def _transition_fault(self, response: LoginResponse) -> str:
        if response.continued:
            return "T with C"
        if self._asked is None:
            return "T without the request's T"
        if response.nsg not in (Stage.OPERATIONAL, Stage.FULL_FEATURE) or response.nsg <= response.csg:
            return f"NSG {response.nsg} from CSG {response.csg}"
        if response.nsg > self._asked:
            return f"NSG {response.nsg} where {int(self._asked)} was asked for"
        if response.nsg == Stage.FULL_FEATURE and not response.tsih:
            return "TSIH 0 in the final response"
        if response.nsg == Stage.FULL_FEATURE and self._joins not in (0, response.tsih):
            return f"TSIH {response.tsih} in the final response, {self._joins} was joined"
        return ""

    def _refused(self, raw: RawPdu, response: LoginResponse) -> None:
        status = response.status
        if response.status_class == LoginStatus.MOVED_TEMPORARILY >> 8:
            raise self._redirect(response)
        if status == LoginStatus.AUTHENTICATION_FAILURE and "CHAP" not in self._chap.offers:
            raise LoginFailed(40, b"", "the target requires CHAP", status)
        text = f"the target refused the login with status {login_status_text(status)}"
        raise LoginFailed(10, raw.to_bytes(), text, status)

    def _redirect(self, response: LoginResponse) -> Exception:
        pairs, _ = scan_pairs(response.data)
        given = [value for key, value in pairs if key == "TargetAddress"]
        try:
            address = parse_target_address(given[0]) if len(given) == 1 else None
        except ValueFormError:
            address = None
        if address is None or address.tag is not None:
            return LoginFailed(12, response.data, "a redirect without a usable address", response.status)
        permanent = response.status == LoginStatus.MOVED_PERMANENTLY
        return LoginRedirected(address, response.data, permanent=permanent)

    def _invalid(self, raw: RawPdu, text: str, fault: LoginFault | None = None) -> LoginFailed:
        return LoginFailed(11, raw.to_bytes(), text, fault=fault)

    # Text.

    def _assemble(self, raw: RawPdu, response: LoginResponse) -> bytes | None:
        try:
            text = self._assembler.add(response.data, response.continued)
        except TextTooLong as error:
            raise self._invalid(raw, str(error)) from error
        if text is not None:
            self._assembler.reset()
        return text

    def _take(self, raw: RawPdu, response: LoginResponse, text: bytes) -> None:
        """One whole logical response."""
        faults: list[LoginFailed] = []
        try:
            pairs = decode_pairs(text)
        except PairError as error:
            pairs, _ = scan_pairs(text)
            faults.append(self._invalid(raw, str(error), LoginFault.TEXT))
        negotiated, authentication = split_security_keys(pairs)
        answers: list[tuple[str, str]] = []
        stage = self._stage
        if stage == Stage.SECURITY:
            answers += self._authenticate(raw, pairs, faults)
            negotiated = [pair for pair in negotiated if pair[0] != "AuthMethod"]
        else:
            negotiated = pairs if authentication else negotiated
        final = response.transit and response.nsg == Stage.FULL_FEATURE
        try:
            answers += self._negotiator.receive(negotiated, stage, last=response.transit)
        except NegotiationError as error:
            faults.append(self._failure(raw, error))
        if final:
            self._conclude(raw, response, faults)
        if faults:
            raise min(faults, key=lambda fault: EVENT_ORDER.index(fault.event or 0))
        if final:
            self.tsih = response.tsih
            self.finished = True
            return
        if response.transit:
            self._stage = Stage(response.nsg)
        self._ask([*answers, *self._negotiator.offers(self._stage)])

    def _authenticate(
        self, raw: RawPdu, pairs: list[tuple[str, str]], faults: list[LoginFailed]
    ) -> list[tuple[str, str]]:
        try:
            return self._chap.receive(pairs)
        except AuthenticationFailed as error:
            if self._policy.accept_any_target_authentication:
                self._chap.step = Step.DONE
                return []
            faults.append(LoginFailed(error.event_id, error.dump, str(error)))
        except ChapError as error:
            extra = raw.to_bytes() if error.event_id == 11 else error.dump
            faults.append(LoginFailed(error.event_id, extra, str(error)))
        return []

    def _conclude(self, raw: RawPdu, response: LoginResponse, faults: list[LoginFailed]) -> None:
        """What only the final response shows: keys never answered, and a command window that is none."""
        try:
            if faults:
                self._negotiator.check_answered()
            else:
                self._negotiator.commit(Stage.FULL_FEATURE)
        except NegotiationError as error:
            faults.append(self._failure(raw, error))
        if serial.lt(response.max_cmd_sn, serial.add(response.exp_cmd_sn, -1)):
            extra = words(response.exp_cmd_sn, response.max_cmd_sn)
            faults.append(LoginFailed(3, extra, "MaxCmdSN is below ExpCmdSN - 1"))

    def _failure(self, raw: RawPdu, error: NegotiationError) -> LoginFailed:
        event = error.event or 11
        extra = b""
        if event == 4 and error.against is not None:
            extra = words(int(error.value, 0), int(error.against[1], 0))
        elif event == 11:
            extra = raw.to_bytes()
        elif event == 13:
            extra = error.value.encode("utf-8", "surrogateescape")
        return LoginFailed(event, extra, str(error), fault=LoginFault.TEXT if event == 11 else None)

    # Sending.

    def _ask(self, pairs: list[tuple[str, str]]) -> None:
        """The next logical request: these pairs, and a wish to go on where this side is ready to."""
        if self._stage == Stage.SECURITY:
            ready, following = self._chap.ready, Stage.OPERATIONAL
        else:
            ready, following = True, Stage.FULL_FEATURE
        self._chunks = split_text(encode_pairs(pairs), LOGIN_SEGMENT_LIMIT)
        self._asked = following if ready else None
        self._send_chunk()

    def _send_chunk(self) -> None:
        chunk = self._chunks.pop(0)
        last = not self._chunks
        self._send(chunk, transit=last and self._asked is not None, continued=not last)

    def _send(self, data: bytes, *, transit: bool, continued: bool) -> None:
        request = LoginRequest(
            transit=transit,
            continued=continued,
            csg=self._stage,
            nsg=self._asked if transit and self._asked is not None else 0,
            isid=self._isid,
            itt=self._itt,
            tsih=self._joins,
            cid=self._cid,
            cmd_sn=self._cmd_sn,
            exp_stat_sn=self.exp_stat_sn,
            data=data,
        )
        self.outbox.append(encode(request))
