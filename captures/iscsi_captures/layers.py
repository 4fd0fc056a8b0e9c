# SPDX-License-Identifier: GPL-2.0-only
"""iSCSI for scapy: a second reading of every PDU (RFC 7143 chapter 11), which shares nothing with the codec.

`ISCSI(data)` gives the layer of the opcode; one that RFC 7143 does not define stays an `ISCSI`. Whether digests are there
is no property of the bytes: `Dissector` keeps it for one connection, told or learnt from the login, and TCPSession uses one
for each. Dissecting loses nothing: what is built again is what was dissected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from crc32c import crc32c
from scapy import fields
from scapy.layers.inet import TCP
from scapy.packet import Packet, Padding, Raw, bind_bottom_up, bind_layers

from iscsi_captures import code_names as codes
from iscsi_captures.login_digests import NO_DIGESTS, Digests, LoginDigests

AnyField = fields.Field[Any, Any]

ISCSI_PORT = 3260
BHS = 48
LONGEST_DATA_SEGMENT = 0xFFFFFF
MOST_AHS = 0xFF
MOST_PAIRS = 4000
"""Pairs of one text data segment that get a layer each; the rest stays bytes."""


def digest(data: bytes) -> bytes:
    """CRC32C of some bytes as it goes on the wire (13.1)."""
    return crc32c(data).to_bytes(4, "little")


NOTHING = cast("bytes", None)


class _PaddingField(fields.XStrLenField):
    """Padding to 4 bytes; None builds zeros."""

    def __init__(self, name: str, part: Callable[[Packet], int]) -> None:
        super().__init__(name, NOTHING, length_from=lambda packet: -part(packet) & 3)

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        if x is None and pkt is not None:
            return bytes(-pkt.unpadded_length() & 3)
        return bytes(super().i2m(pkt, x))


class _DigestField(fields.XStrLenField):
    """A digest where the connection has one; None builds room for it, which `post_build` fills."""

    def __init__(self, name: str, present: Callable[[Packet], bool]) -> None:
        super().__init__(name, NOTHING, length_from=lambda packet: 4 if present(packet) else 0)

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        if x is None and pkt is not None:
            return bytes(4 if self.length_from is not None and self.length_from(pkt) else 0)
        return bytes(super().i2m(pkt, x))


class _Part(Packet):
    """A thing within a PDU: what follows it is the next one's."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s


def _layout(*parts: AnyField | list[AnyField]) -> list[Any]:
    """A fields_desc from fields and runs of fields, in wire order."""
    return [field for part in parts for field in (part if isinstance(part, list) else [part])]


def _bits(name: str, size: int = 1, default: int = 0, names: dict[int, str] | None = None) -> AnyField:
    return fields.BitField(name, default, size) if names is None else fields.BitEnumField(name, default, size, names)


def _request(opcode: int, immediate: int = 0) -> list[AnyField]:
    return [_bits("Rsvd0"), _bits("I", 1, immediate), _bits("Opcode", 6, opcode, codes.OPCODES)]


def _plain(opcode: int) -> list[AnyField]:
    return [_bits("Rsvd0", 2), _bits("Opcode", 6, opcode, codes.OPCODES)]


def _code(name: str, names: dict[int, str]) -> AnyField:
    return fields.ByteEnumField(name, 0, names)


def _bytes(name: str, size: int) -> AnyField:
    return fields.XStrFixedLenField(name, bytes(size), size)


def _rsvd(offset: int, size: int) -> AnyField:
    return _bytes(f"Rsvd{offset}", size)


def _octets(*names: str) -> list[AnyField]:
    """A byte each."""
    return [fields.ByteField(name, 0) for name in names]


def _numbers(*names: str) -> list[AnyField]:
    """A 32-bit number each."""
    return [fields.IntField(name, 0) for name in names]


class AHS(_Part):
    """Additional header segment (11.2.2) of a type, or of a length, that has no layer of its own."""

    name = "AHS"
    fields_desc = _layout(
        [fields.ShortField("AHSLength", None), _bits("Rsvd2", 2), _bits("AHSType", 6)],
        fields.XStrLenField("Contents", b"", length_from=lambda packet: packet.AHSLength),
        _PaddingField("Padding", lambda packet: 3 + packet.AHSLength),
    )

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_args: Any, **_kargs: Any) -> type[Packet]:
        """The layer of these bytes' type."""
        if cls is AHS and _pkt is not None and len(_pkt) >= 4:
            length, kind = int.from_bytes(_pkt[:2], "big"), _pkt[2] & 0x3F
            if kind == 1 and length:
                return ExtendedCDB
            if kind == 2 and length == 5 and len(_pkt) >= 8:
                return BidirectionalReadLength
        return cls

    def unpadded_length(self) -> int:
        """Bytes without the padding."""
        return 3 + len(self.Contents)

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length that was left None."""
        if self.AHSLength is None:
            pkt = (self.unpadded_length() - 3).to_bytes(2, "big") + pkt[2:]
        return pkt + pay


class ExtendedCDB(AHS):
    """The CDB from its byte 16 on (11.2.2.3)."""

    name = "Extended CDB"
    fields_desc = _layout(
        [fields.ShortField("AHSLength", None), _bits("Rsvd2", 2), _bits("AHSType", 6, 1), fields.ByteField("Rsvd3", 0)],
        fields.XStrLenField("ExtendedCDB", b"", length_from=lambda packet: packet.AHSLength - 1),
        _PaddingField("Padding", lambda packet: 3 + packet.AHSLength),
    )

    def unpadded_length(self) -> int:
        """Bytes without the padding."""
        return 4 + len(self.ExtendedCDB)


class BidirectionalReadLength(AHS):
    """Read length of a bidirectional command (11.2.2.4)."""

    name = "Bidirectional Read Length"
    fields_desc = _layout(
        [fields.ShortField("AHSLength", 5), _bits("Rsvd2", 2), _bits("AHSType", 6, 2), fields.ByteField("Rsvd3", 0)],
        _numbers("ReadLength"),
    )

    def unpadded_length(self) -> int:
        """Bytes without the padding; there is none."""
        return 8


class KeyValue(_Part):
    """One pair of a text data segment with the NUL that ends it (6.1); a piece without "=" or NUL keeps to that."""

    name = "Key"
    fields_desc = _layout(
        fields.StrField("Key", b""),
        fields.StrField("Equals", b"="),
        fields.StrField("Value", b""),
        fields.StrField("End", b"\0"),
    )

    def do_dissect(self, s: bytes) -> bytes:
        """Take one pair off."""
        pair, end, rest = s.partition(b"\0")
        for name, part in zip(("Key", "Equals", "Value"), pair.partition(b"="), strict=True):
            self.fields[name] = part
        self.fields["End"] = end
        self.explicit = 1
        return rest

    def mysummary(self) -> str:
        """The pair as people write it."""
        pair: bytes = self.Key + self.Equals + self.Value
        return pair.decode("utf-8", "backslashreplace")


def _next_pair(_pdu: Packet, pairs: list[Any], _last: Any, _rest: bytes) -> type[Packet]:
    """Beyond MOST_PAIRS the rest stays bytes."""
    return KeyValue if len(pairs) < MOST_PAIRS - 1 else Raw


def _body(data: AnyField) -> list[AnyField]:
    """What follows the BHS."""
    return [
        fields.PacketListField(
            "AHS", [], AHS, max_count=MOST_AHS, length_from=lambda packet: 4 * packet.TotalAHSLength
        ),
        _DigestField("HeaderDigest", lambda packet: packet.digests.header),
        data,
        _PaddingField("Padding", lambda packet: packet.DataSegmentLength),
        _DigestField("DataDigest", lambda packet: packet.digests.data and packet.has_data()),
    ]


def _data_length(packet: Packet) -> int:
    return int(packet.DataSegmentLength)


BODY = _body(fields.XStrLenField("Data", b"", length_from=_data_length))
TEXT = _body(
    fields.PacketListField("Text", [], next_cls_cb=_next_pair, max_count=MOST_PAIRS + 1, length_from=_data_length)
)

ONE = [_bits("One", 1, 1), _bits("Rsvd1", 7)]
STAGE_BITS = [_bits("CSG", 2, 0, codes.STAGES), _bits("NSG", 2, 0, codes.STAGES)]
LOGIN_FLAGS = [*map(_bits, "TC"), _bits("Rsvd1", 2), *STAGE_BITS]
LENGTHS = [fields.ByteField("TotalAHSLength", None), fields.ThreeBytesField("DataSegmentLength", cast("int", None))]
ITT = fields.XIntField("InitiatorTaskTag", 0xFFFFFFFF)
TTT = fields.XIntField("TargetTransferTag", 0xFFFFFFFF)
# Bytes 4 to 19: with a LUN, without one, and in login PDUs.
LUN_ITT = [*LENGTHS, _bytes("LUN", 8), ITT]
ONLY_ITT = [*LENGTHS, _rsvd(8, 8), ITT]
ISID_ITT = [*LENGTHS, _bytes("ISID", 6), fields.XShortField("TSIH", 0), ITT]
CID = [fields.ShortField("CID", 0), _rsvd(22, 2)]
# Bytes 24 on: of numbered requests, and of what a target sends.
REQUEST = _numbers("CmdSN", "ExpStatSN")
RESPONSE = _numbers("StatSN", "ExpCmdSN", "MaxCmdSN")


class ISCSI(Packet):
    """A PDU: the base of all, and the layer of an opcode that RFC 7143 does not define."""

    name = "iSCSI"
    __slots__ = ["digests"]
    match_subclass = True
    digests: Digests
    DATA: ClassVar[str] = "Data"
    fields_desc = _layout(_request(0), _bytes("Specific1", 3), LENGTHS, _bytes("Specific8", 40), BODY)

    def __init__(self, *args: Any, digests: Digests | None = None, **kwargs: Any) -> None:
        """digests: what this PDU carries; None takes over what the PDU before it in the same bytes carried."""
        before = kwargs.get("_underlayer")
        if digests is None:
            digests = before.digests if isinstance(before, ISCSI) else NO_DIGESTS
        self.digests = digests
        super().__init__(*args, **kwargs)
        self.name = codes.OPCODES.get(self.Opcode, "unknown PDU")

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_args: Any, **_kargs: Any) -> type[Packet]:
        """The layer of these bytes' opcode."""
        if cls is ISCSI and _pkt:
            return LAYERS.get(_pkt[0] & 0x3F, ISCSI)
        return cls

    def copy(self) -> ISCSI:
        """A copy that has its digests as well."""
        copied: ISCSI = super().copy()
        copied.digests = self.digests
        return copied

    def clone_with(self, *args: Any, **kwargs: Any) -> Any:
        """The same for the copies that scapy makes of layers."""
        cloned = super().clone_with(*args, **kwargs)
        cloned.digests = self.digests
        return cloned

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Behind a PDU comes a PDU, if there is enough for one."""
        return ISCSI if len(payload) >= BHS else Raw

    def data(self) -> bytes:
        """The data segment without padding."""
        value = self.getfieldval(self.DATA)
        return b"".join(map(bytes, value)) if isinstance(value, list) else bytes(value)

    def has_data(self) -> bool:
        """Whether DataSegmentLength, given or to be built, is above 0."""
        return bool(self.data() if self.DataSegmentLength is None else self.DataSegmentLength)

    def unpadded_length(self) -> int:
        """Bytes that the padding of the data segment fills up."""
        return len(self.data())

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the lengths and digests that were left None."""
        ahs, data = b"".join(map(bytes, self.AHS)), self.data()
        if self.TotalAHSLength is None:
            pkt = pkt[:4] + bytes([len(ahs) >> 2]) + pkt[5:]
        if self.DataSegmentLength is None:
            pkt = pkt[:5] + len(data).to_bytes(3, "big") + pkt[8:]
        header = BHS + len(ahs)
        if self.digests.header and self.HeaderDigest is None:
            pkt = pkt[:header] + digest(pkt[:header]) + pkt[header + 4 :]
        if self.digests.data and self.DataDigest is None and self.has_data():
            start = header + (4 if self.digests.header else 0)
            pkt = pkt[:-4] + digest(pkt[start:-4])
        return pkt + pay

    def digest_errors(self) -> list[str]:
        """Names of the digests that are there and wrong."""
        header = bytes(self.self_build())[: BHS + sum(len(bytes(part)) for part in self.AHS)]
        covered = {"HeaderDigest": header, "DataDigest": self.data() + bytes(self.Padding or b"")}
        return [name for name, part in covered.items() if self.getfieldval(name) not in {None, b"", digest(part)}]

    def mysummary(self) -> str:
        """One line for people: name, the fields that matter, how much data."""
        shown = [f"{name}={self.sprintf(f'%{name}%')}" for name in codes.SHOWN.get(self.name, ("Opcode",))]
        data = self.data()
        if data:
            shown.append(f"{len(data)} bytes")
        return " ".join(["iSCSI", self.name, *shown, *(f"wrong {name}" for name in self.digest_errors())])

    @classmethod
    def tcp_reassemble(cls, data: bytes, _metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """One PDU of a TCP stream, for scapy's TCPSession; None until it is whole."""
        dissector: Dissector = session.setdefault("iscsi", Dissector())
        return dissector.take(data)


class _TextPDU(ISCSI):
    """A PDU whose data segment is text."""

    DATA = "Text"

    def pairs(self) -> list[tuple[str, str]]:
        """Key and value of every pair of this PDU alone, which may start or end within one."""
        return [
            (pair.Key.decode("utf-8", "surrogateescape"), pair.Value.decode("utf-8", "surrogateescape"))
            for pair in self.Text
            if isinstance(pair, KeyValue)
        ]

    def mysummary(self) -> str:
        """The line of all PDUs, and the pairs."""
        return " ".join([super().mysummary(), *(pair.mysummary() for pair in self.Text)])


class NopOut(ISCSI):
    """NOP-Out (11.18)."""

    fields_desc = _layout(_request(0x00), ONE, _rsvd(2, 2), LUN_ITT, TTT, REQUEST, _rsvd(32, 16), BODY)


class SCSICommand(ISCSI):
    """SCSI Command (11.3)."""

    fields_desc = _layout(
        [
            *_request(0x01),
            _bits("F", 1, 1),
            *map(_bits, "RW"),
            _bits("Rsvd1", 2),
            _bits("Attr", 3, 1, codes.ATTRIBUTES),
        ],
        [_bits("Priority", 4), _bits("Rsvd2", 4), _rsvd(3, 1), *LUN_ITT, *_numbers("ExpectedDataTransferLength")],
        [*REQUEST, _bytes("CDB", 16), *BODY],
    )


class TaskManagementRequest(ISCSI):
    """Task Management Function Request (11.5)."""

    fields_desc = _layout(
        [*_request(0x02), _bits("One", 1, 1), _bits("Function", 7, 1, codes.TASK_FUNCTIONS), _rsvd(2, 2), *LUN_ITT],
        [fields.XIntField("ReferencedTaskTag", 0xFFFFFFFF), *REQUEST, *_numbers("RefCmdSN", "ExpDataSN")],
        [_rsvd(40, 8), *BODY],
    )


class LoginRequest(_TextPDU):
    """Login Request (11.12)."""

    fields_desc = _layout(
        [*_request(0x03, 1), *LOGIN_FLAGS, *_octets("VersionMax", "VersionMin"), *ISID_ITT],
        [*CID, *REQUEST, _rsvd(32, 16), *TEXT],
    )


class TextRequest(_TextPDU):
    """Text Request (11.10)."""

    fields_desc = _layout(
        [*_request(0x04), _bits("F", 1, 1), _bits("C"), _bits("Rsvd1", 6), _rsvd(2, 2), *LUN_ITT, TTT],
        [*REQUEST, _rsvd(32, 16), *TEXT],
    )


class SCSIDataOut(ISCSI):
    """SCSI Data-Out (11.7)."""

    fields_desc = _layout(
        [*_plain(0x05), _bits("F", 1, 1), _bits("Rsvd1", 7), _rsvd(2, 2), *LUN_ITT, TTT, _rsvd(24, 4)],
        [*_numbers("ExpStatSN"), _rsvd(32, 4), *_numbers("DataSN", "BufferOffset"), _rsvd(44, 4), *BODY],
    )


class LogoutRequest(ISCSI):
    """Logout Request (11.14)."""

    fields_desc = _layout(
        [*_request(0x06), _bits("One", 1, 1), _bits("Reason", 7, 0, codes.LOGOUT_REASONS), _rsvd(2, 2), *ONLY_ITT],
        [*CID, *REQUEST, _rsvd(32, 16), *BODY],
    )


class SNACKRequest(ISCSI):
    """SNACK Request (11.16). Bytes 20 to 23 are a Target Transfer Tag or a SNACK Tag, by the type."""

    fields_desc = _layout(
        [*_plain(0x10), _bits("One", 1, 1), _bits("Rsvd1", 3), _bits("Type", 4, 0, codes.SNACK_TYPES), _rsvd(2, 2)],
        [*LUN_ITT, fields.XIntField("Tag", 0xFFFFFFFF), _rsvd(24, 4), *_numbers("ExpStatSN"), _rsvd(32, 8)],
        [*_numbers("BegRun", "RunLength"), *BODY],
    )


class NopIn(ISCSI):
    """NOP-In (11.19)."""

    fields_desc = _layout(_plain(0x20), ONE, _rsvd(2, 2), LUN_ITT, TTT, RESPONSE, _rsvd(36, 12), BODY)


class SCSIResponse(ISCSI):
    """SCSI Response (11.4): o and u are the bidirectional read residual's overflow and underflow."""

    fields_desc = _layout(
        [*_plain(0x21), _bits("One", 1, 1), _bits("Rsvd1", 2), *map(_bits, "ouOU"), _bits("Rsvd1Low")],
        [_code("Response", codes.SCSI_RESPONSES), _code("Status", codes.SCSI_STATUSES), *LENGTHS],
        [fields.XShortField("StatusQualifier", 0), _rsvd(10, 6), ITT, fields.XIntField("SNACKTag", 0), *RESPONSE],
        [*_numbers("ExpDataSN", "BidiReadResidualCount", "ResidualCount"), *BODY],
    )

    def sense(self) -> bytes:
        """The sense data that SenseLength in the data segment counts, as far as it is there."""
        data = self.data()
        return data[2 : 2 + int.from_bytes(data[:2], "big")]


class TaskManagementResponse(ISCSI):
    """Task Management Function Response (11.6)."""

    fields_desc = _layout(
        [*_plain(0x22), *ONE, _code("Response", codes.TASK_RESPONSES), _rsvd(3, 1), *LENGTHS],
        [fields.ThreeBytesField("AdditionalInformation", 0), _rsvd(11, 5), ITT, _rsvd(20, 4), *RESPONSE],
        [_rsvd(36, 12), *BODY],
    )


class LoginResponse(_TextPDU):
    """Login Response (11.13)."""

    fields_desc = _layout(
        [*_plain(0x23), *LOGIN_FLAGS, *_octets("VersionMax", "VersionActive"), *ISID_ITT, _rsvd(20, 4)],
        [*RESPONSE, *_octets("StatusClass", "StatusDetail"), _rsvd(38, 10), *TEXT],
    )

    def status(self) -> str:
        """What class and detail mean."""
        code = self.StatusClass << 8 | self.StatusDetail
        return codes.LOGIN_STATUSES.get(code, f"status {code:04x}")

    def mysummary(self) -> str:
        """The line of all text PDUs, and the status."""
        return f"{super().mysummary()} ({self.status()})"


class TextResponse(_TextPDU):
    """Text Response (11.11)."""

    fields_desc = _layout(
        [*_plain(0x24), _bits("F", 1, 1), _bits("C"), _bits("Rsvd1", 6), _rsvd(2, 2), *LUN_ITT, TTT],
        [*RESPONSE, _rsvd(36, 12), *TEXT],
    )


class SCSIDataIn(ISCSI):
    """SCSI Data-In (11.7)."""

    fields_desc = _layout(
        [*_plain(0x25), _bits("F", 1, 1), _bits("A"), _bits("Rsvd1", 3), *map(_bits, "OUS"), _rsvd(2, 1)],
        [_code("Status", codes.SCSI_STATUSES), *LUN_ITT, TTT, *RESPONSE],
        [*_numbers("DataSN", "BufferOffset", "ResidualCount"), *BODY],
    )


class LogoutResponse(ISCSI):
    """Logout Response (11.15)."""

    fields_desc = _layout(
        [*_plain(0x26), *ONE, _code("Response", codes.LOGOUT_RESPONSES), _rsvd(3, 1), *ONLY_ITT, _rsvd(20, 4)],
        [*RESPONSE, _rsvd(36, 4), fields.ShortField("Time2Wait", 0), fields.ShortField("Time2Retain", 0), _rsvd(44, 4)],
        BODY,
    )


class ReadyToTransfer(ISCSI):
    """R2T (11.8)."""

    fields_desc = _layout(
        [*_plain(0x31), *ONE, _rsvd(2, 2), *LUN_ITT, TTT, *RESPONSE],
        [*_numbers("R2TSN", "BufferOffset", "DesiredDataTransferLength"), *BODY],
    )


class AsyncMessage(ISCSI):
    """Asynchronous Message (11.9)."""

    fields_desc = _layout(
        [*_plain(0x32), *ONE, _rsvd(2, 2), *LUN_ITT, _rsvd(20, 4), *RESPONSE],
        [_code("AsyncEvent", codes.ASYNC_EVENTS), *_octets("AsyncVCode")],
        [*(fields.ShortField(f"Parameter{number}", 0) for number in (1, 2, 3)), _rsvd(44, 4), *BODY],
    )


class Reject(ISCSI):
    """Reject (11.17)."""

    fields_desc = _layout(
        [*_plain(0x3F), *ONE, _code("Reason", codes.REJECT_REASONS), _rsvd(3, 1), *ONLY_ITT, _rsvd(20, 4)],
        [*RESPONSE, *_numbers("DataSN"), _rsvd(40, 8), *BODY],
    )

    def rejected(self) -> Packet | None:
        """The header of the PDU at fault, None where the data segment holds less than one."""
        header = self.data()[:BHS]
        return ISCSI(header) if len(header) == BHS else None


LAYERS: dict[int, type[ISCSI]] = {
    layer().Opcode: layer for base in (ISCSI, _TextPDU) for layer in base.__subclasses__() if layer is not _TextPDU
}


class Dissector:
    """Takes PDUs off the bytes of one connection, both ways, and learns from its login which digests they carry.

    digests: what they carry already, for a connection that is not seen from its start; longest: bytes of data segment above
    which a header is taken for no header.
    """

    def __init__(self, digests: Digests = NO_DIGESTS, *, longest: int = LONGEST_DATA_SEGMENT) -> None:
        self.digests = digests
        self.longest = longest
        self._login = LoginDigests()

    def length(self, data: bytes) -> int | None:
        """Bytes of the PDU that starts there, digests included; None for what cannot be a header. `data` has 48 or more."""
        segment = int.from_bytes(data[5:8], "big")
        if data[0] & 0x3F not in codes.OPCODES or segment > self.longest:
            return None
        length = BHS + 4 * data[4] + 4 * self.digests.header
        return length + (segment + 3 & ~3) + 4 * self.digests.data if segment else length

    def take(self, data: bytes) -> Packet | None:
        """The first PDU, with what follows it as Padding; None until it is whole. Bytes that cannot be a PDU come as Raw."""
        if len(data) < BHS:
            return None
        length = self.length(data)
        if length is None:
            return Raw(data)
        if len(data) < length:
            return None
        pdu = ISCSI(data[:length], digests=self.digests)
        if isinstance(pdu, LoginRequest | LoginResponse):
            self._follow(pdu)
        return pdu / Padding(data[length:]) if len(data) > length else pdu

    def _follow(self, pdu: LoginRequest | LoginResponse) -> None:
        response = isinstance(pdu, LoginResponse)
        self._login.text(pdu.data(), response=response, continued=bool(pdu.C))
        if response and pdu.T and pdu.NSG == 3 and not pdu.StatusClass:
            self.digests = self._login.agreed()


def bind_port(port: int) -> None:
    """Have scapy take TCP segments from or to this port for iSCSI."""
    bind_bottom_up(TCP, ISCSI, sport=port)
    bind_bottom_up(TCP, ISCSI, dport=port)


bind_port(ISCSI_PORT)
bind_layers(TCP, ISCSI, sport=ISCSI_PORT, dport=ISCSI_PORT)
