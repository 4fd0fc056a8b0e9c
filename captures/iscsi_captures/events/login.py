"""One login as the initiator has to judge it (RFC 7143 6.3, 11.12, 11.13): events 3, 10, 11, 12 and those of the keys.

Each row says what makes a Login Response no possible answer; the first that holds counts. What the initiator asked for is
read from its requests; where a response comes before the next request was seen, what that request has to be is worked out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from dataclasses import dataclass

from iscsi_captures.events.chap import Authentication
from iscsi_captures.events.dumps import words
from iscsi_captures.events.keys import ILLEGAL, Fault, Negotiated, gravest, of_a_method
from iscsi_captures.events.values import endpoint
from iscsi_protocol import serial
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import Buffer, Opcode, RawPdu, Stage
from iscsi_protocol.text import TEXT_LIMIT, scan_pairs

LONGEST_LOGIN = 100
"""Responses that an initiator listens to before it gives a login up."""

_FINAL_FLAG, _CONTINUE = 0x80, 0x40
_MOVED, _AUTHENTICATION_FAILURE = 1, 0x0201
_counters = struct.Struct(">24xIII").unpack_from


@dataclass(frozen=True, slots=True)
class Redirected:
    """The target is elsewhere. data: what said so."""

    where: Endpoint
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The final response. tsih, exp_stat_sn: from it."""

    tsih: int
    exp_stat_sn: int


class _Response:
    """The fields of a Login Response."""

    __slots__ = ("continued", "csg", "data", "isid", "itt", "nsg", "status", "transit", "tsih", "version")

    def __init__(self, raw: RawPdu) -> None:
        bhs = raw.bhs
        flags = bhs[1]
        self.transit = bool(flags & _FINAL_FLAG)
        self.continued = bool(flags & _CONTINUE)
        self.csg, self.nsg = flags >> 2 & 3, flags & 3
        self.version = bhs[3]
        self.isid = bytes(bhs[8:14])
        self.tsih = int.from_bytes(bhs[14:16], "big")
        self.itt = int.from_bytes(bhs[16:20], "big")
        self.status = int.from_bytes(bhs[36:38], "big")
        self.data = bytes(raw.data)

    @property
    def final(self) -> bool:
        """Whether the full feature phase begins behind it."""
        return self.transit and self.nsg == Stage.FULL_FEATURE


class Login:
    """The login of one connection, from its first request on."""

    def __init__(self, raw: RawPdu, authentication: Authentication, *, leading: bool) -> None:
        bhs = raw.bhs
        self.isid = bytes(bhs[8:14])
        self.tsih = int.from_bytes(bhs[14:16], "big")
        self.itt = int.from_bytes(bhs[16:20], "big")
        self.authentication = authentication
        self.keys = Negotiated(discovery=False, leading=leading)
        self.stage: int = Stage.SECURITY
        self.asked: int | None = None
        self.unfinished = False
        self.responses = 0
        self._said = bytearray()
        self._heard = bytearray()
        self.request(raw)

    def request(self, raw: RawPdu) -> None:
        """A Login Request of the initiator."""
        flags = raw.bhs[1]
        self.stage = flags >> 2 & 3
        self.unfinished = bool(flags & _CONTINUE)
        if not self.unfinished:
            self.asked = flags & 3 if flags & _FINAL_FLAG else None
        self._said += raw.data[:TEXT_LIMIT]
        if self.unfinished:
            return
        pairs, _ = scan_pairs(bytes(self._said))
        self._said.clear()
        if ("SessionType", "Discovery") in pairs:
            self.keys.discovery = True
        self.authentication.say([pair for pair in pairs if pair[0] == "AuthMethod" or of_a_method(pair[0])])
        self.keys.say([pair for pair in pairs if pair[0] != "AuthMethod" and not of_a_method(pair[0])])

    def response(self, raw: RawPdu, issued: Container[bytes]) -> Fault | Redirected | Finished | None:
        """What the initiator makes of a PDU: an event with its dump (None: the whole PDU), or how the login goes on."""
        if raw.bhs[0] & 0x3F != Opcode.LOGIN_RESPONSE:
            return ILLEGAL
        response = _Response(raw)
        self.responses += 1
        if response.itt != self.itt:
            return ILLEGAL
        if response.status >> 8:
            # Of a refusal the tag alone counts: targets leave the rest of its header zero.
            return self._refused(response)
        if any(row(self, response) for row in _INCONSISTENT):
            return ILLEGAL
        if self.unfinished:
            return None
        if len(self._heard) + len(response.data) > TEXT_LIMIT:
            return ILLEGAL
        self._heard += response.data
        if response.continued:
            return None
        text = bytes(self._heard)
        self._heard.clear()
        return self._whole(raw, response, text, issued)

    def _refused(self, response: _Response) -> Fault | Redirected:
        if response.status >> 8 == _MOVED:
            pairs, _ = scan_pairs(response.data)
            given = [value for key, value in pairs if key == "TargetAddress"]
            where = endpoint(given[0]) if len(given) == 1 else None
            return (12, response.data) if where is None else Redirected(where, response.data)
        if response.status == _AUTHENTICATION_FAILURE and "CHAP" not in self.authentication.offers:
            return 40, b""
        return 10, None

    def _whole(
        self, raw: RawPdu, response: _Response, text: bytes, issued: Container[bytes]
    ) -> Fault | Finished | None:
        pairs, broken = scan_pairs(text)
        faults: list[Fault] = [ILLEGAL] if broken else []
        if self.stage == Stage.SECURITY:
            faults += self.authentication.hear(pairs, issued)
            pairs = [pair for pair in pairs if pair[0] != "AuthMethod" and not of_a_method(pair[0])]
        faults += self.keys.hear(pairs, self.stage, last=response.transit)
        exp_cmd_sn, max_cmd_sn = _window(raw.bhs)
        if response.final:
            faults += self.keys.unanswered()
            if serial.lt(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
                faults.append((3, words(exp_cmd_sn, max_cmd_sn)))
        if faults:
            return gravest(faults)
        if response.final:
            return Finished(response.tsih, serial.add(_counters(raw.bhs)[0]))
        if response.transit:
            self.stage = response.nsg
        self._ask()
        return None

    def _ask(self) -> None:
        """What the next request will ask for."""
        if self.stage == Stage.SECURITY:
            self.asked = Stage.OPERATIONAL if self.authentication.ready else None
        else:
            self.asked = Stage.FULL_FEATURE


def _window(bhs: Buffer) -> tuple[int, int]:
    return _counters(bhs)[1:]


def _stages_wrong(login: Login, response: _Response) -> bool:
    onward = response.nsg in (Stage.OPERATIONAL, Stage.FULL_FEATURE) and response.nsg > response.csg
    return login.asked is None or not onward or response.nsg > login.asked


def _handle_wrong(login: Login, response: _Response) -> bool:
    return response.final and (not response.tsih or (login.tsih not in (0, response.tsih)))


_INCONSISTENT: tuple[Callable[[Login, _Response], bool], ...] = (
    lambda login, response: response.isid != login.isid,
    lambda _, response: response.version != 0,
    lambda login, response: response.csg != login.stage,
    lambda login, _: login.responses > LONGEST_LOGIN,
    lambda login, response: login.unfinished and bool(response.data or response.transit or response.continued),
    lambda _, response: response.transit and response.continued,
    lambda login, response: response.transit and _stages_wrong(login, response),
    _handle_wrong,
)
"""What makes a response that refuses nothing no answer to the request: event 11, whatever else it says."""
