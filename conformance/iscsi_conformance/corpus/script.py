"""A scripted dialogue of an honest pair, PDU by PDU, whose every field may be set otherwise.

What the rule book's histories are made of: the script fills in what an honest side would send next, and a history says
where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self

from iscsi_captures.login_digests import NO_DIGESTS, Digests, LoginDigests
from iscsi_captures.rulebook import Finding, RuleBook
from iscsi_conformance.corpus.secrets import SECRETS
from iscsi_conformance.corpus.steps import verb
from iscsi_protocol.history import (
    BytesRecord,
    Endpoint,
    PduRecord,
    Record,
    SettingsRecord,
    TransportEvent,
    TransportRecord,
)
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    RawPdu,
    Reject,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    bidirectional_read_length,
    decode,
    encode,
    encode_ahs,
)
from iscsi_protocol.pdu.raw import Buffer
from iscsi_protocol.serial import add
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import encode_pairs

INITIATOR = "iqn.2026-01.com.example:initiator"
TARGET = "iqn.2026-01.com.example:target"
NAMES = (("InitiatorName", INITIATOR), ("TargetName", TARGET))
DISCOVERY = (("InitiatorName", INITIATOR), ("SessionType", "Discovery"))
TAG = (("TargetPortalGroupTag", "1"),)
DIGESTS = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
WINDOW = 32
SENSE = b"\x00\x12\x70\x00\x05\x00\x00\x00\x00\x0a" + bytes(10)

KeyValue = tuple[str, str]
Pairs = Iterable[KeyValue]
Edit = Callable[[RawPdu], RawPdu]


class Script:
    """Builds a history. Each verb sends one PDU and returns the script; keyword arguments set fields of that PDU.

    Two more arguments work with each: `edit` changes the raw PDU, `to` the direction. What the verbs fill in is what an
    honest side would send next; a field that a test sets otherwise does not count for later ones, unless it is a tag.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.connection = 1
        self.cmd_sn = 100
        self.stat_sns: dict[int, int] = {}
        self.itt = 0
        self.tsih = 0
        self.cid = 0
        self.task: dict[str, Any] = {}
        self.former: dict[str, Any] = {}
        self.waited = 0.0
        self.cids: dict[int, int] = {}
        self.steps: list[str] = []
        self.digests: dict[int, Digests] = {}
        self._logins: dict[int, LoginDigests] = {}
        self.connect(1)
        self.steps.clear()

    # Connections and plain sending

    @property
    def now(self) -> float:
        """A second goes by with each record."""
        return len(self.records) + self.waited

    @verb
    def wait(self, seconds: float) -> Self:
        """Nothing happens for so long."""
        self.waited += seconds
        return self

    @verb
    def connect(self, number: int) -> Self:
        """A TCP connection is made; the verbs speak on it from now on."""
        self.records.append(TransportRecord(number, self.now, TransportEvent.CONNECTED))
        return self.on(number)

    @verb
    def on(self, number: int) -> Self:
        """Speak on that connection."""
        self.connection = number
        self.stat_sns.setdefault(number, 1000 * number)
        return self

    @verb
    def transport(self, event: TransportEvent) -> Self:
        """Something happens to the connection."""
        self.records.append(TransportRecord(self.connection, self.now, event))
        return self

    def junk(self, direction: Direction = Direction.TO_TARGET) -> Self:
        """Bytes that are no PDU go by."""
        self.records.append(BytesRecord(self.connection, 0.0, direction, b"junk", "framing was lost"))
        return self

    def send(
        self,
        pdu: Pdu,
        *,
        edit: Any = None,
        to: Any = None,
        **fields: Any,
    ) -> Self:
        """One PDU, with these fields set otherwise."""
        raw = encode(replace(pdu, **fields))
        if edit is not None:
            raw = edit(raw)
        raw = self._with_digests(raw)
        if to is None:
            to = Direction.TO_TARGET if pdu.OPCODE < 0x20 else Direction.TO_INITIATOR
        self.records.append(PduRecord(self.connection, self.now, to, raw))
        return self

    def _with_digests(self, raw: RawPdu) -> RawPdu:
        """The PDU with the digests that the login agreed on; a wrong one where an edit says that it is."""
        digests = self.digests.get(self.connection, NO_DIGESTS)
        if not (digests.header or digests.data):
            return raw
        whole = raw.with_digests(header=digests.header, data=digests.data)
        return replace(
            whole,
            header_digest=_spoilt(whole.header_digest, raw.header_digest_error),
            data_digest=_spoilt(whole.data_digest, raw.data_digest_error),
            header_digest_error=raw.header_digest_error,
            data_digest_error=raw.data_digest_error,
        )

    def _hear(self, pdu: LoginRequest | LoginResponse) -> None:
        """Learn from the text of the login which digests hold behind it."""
        login = self._logins.setdefault(self.connection, LoginDigests())
        login.text(bytes(pdu.data), response=isinstance(pdu, LoginResponse), continued=pdu.continued)
        if isinstance(pdu, LoginResponse) and pdu.transit and pdu.nsg == 3 and not pdu.status_class:
            self.digests[self.connection] = login.agreed()

    @property
    def stat_sn(self) -> int:
        return self.stat_sns[self.connection]

    def _status(self) -> int:
        number = self.stat_sns[self.connection]
        self.stat_sns[self.connection] = add(number)
        return number

    def _number(self, immediate: bool = False) -> int:
        number = self.cmd_sn
        if not immediate:
            self.cmd_sn = add(self.cmd_sn)
        return number

    def _tag(self, fields: dict[str, Any]) -> int:
        self.itt += 1
        return int(fields.pop("itt", self.itt))

    def _window(self) -> dict[str, Any]:
        return {"exp_cmd_sn": self.cmd_sn, "max_cmd_sn": add(self.cmd_sn, WINDOW)}

    # Login

    @verb
    def login_request(self, pairs: Pairs = NAMES, **values: Any) -> Self:
        fields: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 0x10, "tsih": self.tsih}
        fields |= {"cid": self.cid, "data": encode_pairs(pairs), "cmd_sn": self.cmd_sn, "exp_stat_sn": self.stat_sn}
        fields |= values
        self.cids[fields["cid"]] = self.connection
        return self._login(LoginRequest(), **fields)

    @verb
    def login_response(self, pairs: Pairs = TAG, **fields: Any) -> Self:
        fields = {"transit": True, "csg": 1, "nsg": 3, "itt": 0x10, "data": encode_pairs(pairs)} | fields
        if fields["transit"] and fields["nsg"] == 3 and not fields.get("status_class"):
            self.tsih = self.tsih or 7
        fields = {"tsih": self.tsih} | fields
        if not fields.get("status_class"):
            fields = {"stat_sn": self._status()} | self._window() | fields
        return self._login(LoginResponse(), **fields)

    def _login(self, pdu: LoginRequest | LoginResponse, **fields: Any) -> Self:
        said = {name: value for name, value in fields.items() if name not in ("edit", "to")}
        self.send(pdu, **fields)
        self._hear(replace(pdu, **said))
        return self

    @verb
    def ready(self, **keys: str) -> Self:
        """A login in one exchange; both sides say the same of each key, but for the list that TaskReporting offers."""
        offers = keys | ({"TaskReporting": "FastAbort,ResponseFence,RFC3720"} if "TaskReporting" in keys else {})
        return self.login_request((*NAMES, *offers.items())).login_response((*TAG, *keys.items()))

    @verb
    def discovery(self) -> Self:
        """A discovery session."""
        return self.login_request(DISCOVERY).login_response(())

    @verb
    def security(self, pairs: Pairs = (), **fields: Any) -> Self:
        """A Login Request of the security stage, without T."""
        return self.login_request(pairs, **({"csg": 0, "nsg": 0, "transit": False} | fields))

    @verb
    def security_response(self, pairs: Pairs = (), **fields: Any) -> Self:
        """A Login Response of the security stage, without T."""
        return self.login_response(pairs, **({"csg": 0, "nsg": 0, "transit": False} | fields))

    @verb
    def operational(self, pairs: Pairs = (), **fields: Any) -> Self:
        """A Login Request of the operational stage, without T."""
        return self.login_request(pairs, **({"nsg": 0, "transit": False} | fields))

    @verb
    def operational_response(self, pairs: Pairs = (), **fields: Any) -> Self:
        """A Login Response of the operational stage, without T."""
        return self.login_response(pairs, **({"nsg": 0, "transit": False} | fields))

    # SCSI

    @verb
    def command(self, data: int = 0, **fields: Any) -> Self:
        """A SCSI Command with so many bytes of immediate data."""
        itt = self._tag(fields)
        fields = {"cmd_sn": self._number(fields.get("immediate", False)), "exp_stat_sn": self.stat_sn} | fields
        length = fields.get("expected_data_transfer_length", 0)
        self.task = {
            "itt": itt,
            "length": length,
            "in": 0,
            "in_sn": 0,
            "r2t_sn": 0,
            "out": data,
            "out_sn": 0,
            "ttt": NO_TAG,
        }
        self.task |= {"lun": fields.get("lun", bytes(8)), "end": length}
        return self.send(ScsiCommand(itt=itt, data=bytes(data)), **fields)

    @verb
    def read(self, length: int = 4096, **fields: Any) -> Self:
        return self.command(read=True, expected_data_transfer_length=length, **fields)

    @verb
    def write(self, length: int = 4096, data: int = 0, **fields: Any) -> Self:
        return self.command(data, write=True, expected_data_transfer_length=length, **fields)

    @verb
    def both(self, length: int = 4096, read: int = 4096, **fields: Any) -> Self:
        fields = {"ahs": encode_ahs([bidirectional_read_length(read)])} | fields
        return self.command(read=True, write=True, expected_data_transfer_length=length, **fields)

    @verb
    def data_in(self, length: int = 4096, **fields: Any) -> Self:
        """The next Data-In; with F and S where it completes a read."""
        task = self.task
        end = task["in"] + length == task["length"]
        fields = {"final": end, "status_present": end, "buffer_offset": task["in"], "data_sn": task["in_sn"]} | fields
        if fields["status_present"] and "stat_sn" not in fields:
            fields["stat_sn"] = self._status()
        task["in"] = fields["buffer_offset"] + length
        task["in_sn"] += 1
        return self.send(DataIn(itt=task["itt"], data=bytes(length), **self._window()), **fields)

    @verb
    def r2t(self, length: int | None = None, **fields: Any) -> Self:
        """The next R2T, for all that is left unless said otherwise."""
        task = self.task
        fields = {"buffer_offset": task["out"], "r2t_sn": task["r2t_sn"], "ttt": 0x50 + task["r2t_sn"]} | fields
        length = task["length"] - fields["buffer_offset"] if length is None else length
        task |= {"r2t_sn": task["r2t_sn"] + 1, "ttt": fields["ttt"], "out_sn": 0}
        task |= {"out": fields["buffer_offset"], "end": fields["buffer_offset"] + length}
        fields = {"desired_data_transfer_length": length, "stat_sn": self.stat_sn, "lun": task["lun"]} | fields
        return self.send(R2T(itt=task["itt"], **self._window()), **fields)

    @verb
    def data_out(self, length: int = 4096, **fields: Any) -> Self:
        """The next Data-Out; with F where it completes its burst."""
        task = self.task
        fields = {"buffer_offset": task["out"], "data_sn": task["out_sn"], "ttt": task["ttt"]} | fields
        fields = {"final": fields["buffer_offset"] + length == task["end"], "exp_stat_sn": self.stat_sn} | fields
        if fields["ttt"] != NO_TAG:
            fields = {"lun": task["lun"]} | fields
        task |= {"out": fields["buffer_offset"] + length, "out_sn": task["out_sn"] + 1}
        return self.send(DataOut(itt=task["itt"], data=bytes(length)), **fields)

    @verb
    def response(self, **fields: Any) -> Self:
        """The SCSI Response of the command."""
        fields = {"itt": self.task["itt"], "exp_data_sn": self.task.get("in_sn", 0)} | fields
        if "stat_sn" not in fields:
            fields["stat_sn"] = self._status()
        return self.send(ScsiResponse(**self._window()), **fields)

    @verb
    def check_condition(self, **fields: Any) -> Self:
        return self.response(**({"status": 2, "data": SENSE} | fields))

    # Everything else

    @verb
    def nop_out(self, **fields: Any) -> Self:
        """A ping; with itt=NO_TAG what wants no answer."""
        itt = self._tag(fields)
        fields = {"immediate": itt == NO_TAG} | fields
        self.task = {"itt": itt}
        fields = {"cmd_sn": self._number(fields["immediate"]), "exp_stat_sn": self.stat_sn} | fields
        return self.send(NopOut(itt=itt), **fields)

    @verb
    def nop_in(self, **fields: Any) -> Self:
        """The answer to the ping; with itt=NO_TAG one of the target's own."""
        fields = {"itt": self.task.get("itt", NO_TAG)} | fields
        if "stat_sn" not in fields:
            fields["stat_sn"] = self.stat_sn if fields["itt"] == NO_TAG else self._status()
        return self.send(NopIn(**self._window()), **fields)

    @verb
    def tmf(self, function: int = 5, **fields: Any) -> Self:
        itt = self._tag(fields)
        self.former, self.task = self.task, {"itt": itt}
        fields = {"immediate": True} | fields
        fields = {"cmd_sn": self._number(fields["immediate"]), "exp_stat_sn": self.stat_sn} | fields
        return self.send(TaskManagementRequest(itt=itt, function=function), **fields)

    @verb
    def tmf_response(self, **fields: Any) -> Self:
        fields = {"itt": self.task["itt"], "stat_sn": self._status()} | fields
        return self.send(TaskManagementResponse(**self._window()), **fields)

    @verb
    def text(self, pairs: Pairs = (), **fields: Any) -> Self:
        """A Text Request that begins an exchange, or with `itt` and `ttt` goes on with one."""
        itt = self._tag(fields)
        self.task = {"itt": itt}
        number = self._number(fields.get("immediate", False))
        fields = {"data": encode_pairs(pairs), "cmd_sn": number, "exp_stat_sn": self.stat_sn} | fields
        return self.send(TextRequest(itt=itt), **fields)

    @verb
    def text_response(self, pairs: Pairs = (), **fields: Any) -> Self:
        fields = {"data": encode_pairs(pairs), "stat_sn": self._status(), "itt": self.task["itt"]} | fields
        return self.send(TextResponse(**self._window()), **fields)

    @verb
    def logout(self, reason: int = 1, **fields: Any) -> Self:
        itt = self._tag(fields)
        self.task = {"itt": itt}
        fields = {"immediate": True, "cid": self.cid} | fields
        subject = self.cids.get(fields["cid"], self.connection) if reason else self.connection
        fields = {"cmd_sn": self._number(fields["immediate"]), "exp_stat_sn": self.stat_sns[subject]} | fields
        return self.send(LogoutRequest(itt=itt, reason=reason), **fields)

    @verb
    def logout_response(self, **fields: Any) -> Self:
        fields = {"itt": self.task["itt"], "stat_sn": self._status()} | fields
        return self.send(LogoutResponse(**self._window()), **fields)

    @verb
    def asynchronous(self, event: int = 0, **fields: Any) -> Self:
        fields = {"async_event": event, "stat_sn": self._status()} | fields
        return self.send(AsyncMessage(**self._window()), **fields)

    @verb
    def reject(self, reason: int = 4, **fields: Any) -> Self:
        """A Reject of the last PDU of the initiator."""
        last = next(
            record.raw
            for record in reversed(self.records)
            if isinstance(record, PduRecord) and record.direction is Direction.TO_TARGET
        )
        fields = {"data": bytes(last.bhs), "stat_sn": self._status()} | fields
        if last.bhs[0] == ScsiCommand.OPCODE:
            # It does not count as received, and its number is free again (7.3).
            self.cmd_sn = int.from_bytes(last.bhs[24:28], "big")
        return self.send(Reject(reason=reason, **self._window()), **fields)

    @verb
    def snack(self, kind: int = 1, **fields: Any) -> Self:
        return self.send(SnackRequest(snack_type=kind, exp_stat_sn=self.stat_sn), **fields)

    @verb
    def again(self, back: int = 1, to: Direction = Direction.TO_INITIATOR, **fields: Any) -> Self:
        """The PDU of that side that many before comes again, on the connection in use."""
        sent = [record.raw for record in self.records if isinstance(record, PduRecord) and record.direction is to]
        return self.send(decode(sent[-back]), to=to, **fields)

    # What the rule book says of it

    def findings(self) -> list[Finding]:
        """The findings of a rule book that knows the corpus's secrets."""
        book = RuleBook(chap_secrets=SECRETS)
        for record in self.records:
            book.record(record)
        return book.findings

    # What the oracle says of it

    def events(self, **settings: object) -> list[tuple[int, bytes]]:
        """The events that the initiator has to log by now, with their extra data."""
        book = RuleBook(settings, events=True)
        for record in self.records:
            book.record(record)
        book.finish(self.now)
        return [(event.id, event.dump) for event in book.events]

    def last(self, back: int = 1) -> RawPdu:
        """The target's PDU that many before the end."""
        sent = [each.raw for each in self.records if isinstance(each, PduRecord) and each.direction]
        return sent[-back]

    def bhs(self, back: int = 1) -> bytes:
        """The header of that PDU."""
        return bytes(self.last(back).bhs)

    def attempt(self, number: int, event: TransportEvent, target: Endpoint) -> Self:
        """An attempt to connect that comes to nothing."""
        self.records.append(TransportRecord(number, self.now, TransportEvent.CONNECT, target=target))
        self.records.append(TransportRecord(number, self.now, event, target=target))
        return self

    def closed(self) -> Self:
        """The initiator closes the connection."""
        return self.transport(TransportEvent.CLOSED_BY_US)

    def declare(self, **settings: object) -> Self:
        """The initiator declares settings."""
        self.records.append(SettingsRecord(self.now, settings))
        return self

    def rest(self, data: bytes) -> Self:
        """What was left of an unfinished PDU of the target when the connection ended."""
        reason = "the stream ended within a PDU"
        self.records.append(BytesRecord(self.connection, self.now, Direction.TO_INITIATOR, data, reason))
        return self


def _spoilt(digest: Buffer, wrong: bool) -> bytes:
    return bytes(byte ^ 0xFF for byte in digest) if wrong else bytes(digest)
