"""Generated faults of the login: every field of a Login Response, every key at every stage, CHAP included, and its end at
every point.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from iscsi_conformance.fuzz.pdu_faults import value_of
from iscsi_protocol.fault import (
    Action,
    Close,
    Drop,
    Fault,
    Hold,
    Insert,
    Part,
    Plus,
    Repeat,
    Replace,
    Reset,
    Segment,
    Set,
    SetKey,
    Silence,
    Template,
    Truncate,
    When,
)
from iscsi_protocol.pdu import AsyncMessage, LoginResponse, NopIn, Reject, ScsiResponse
from iscsi_protocol.pdu.codes import LoginStatus, Opcode
from iscsi_protocol.stream import Direction

_NUMBERS = ("0", "1", "2", "511", "512", "1024", "65536", "16777215", "16777216", "4294967296", "0x200", "0X200", "-1")
_BOOLEANS = ("Yes", "No", "yes", "Maybe", "1")
_WORDS = ("None", "CRC32C", "Foo", "None,CRC32C", "Reject", "Irrelevant", "NotUnderstood", "", "?", "x" * 256)

_VALUES: dict[str, Sequence[str]] = {
    **dict.fromkeys(("HeaderDigest", "DataDigest"), ("None", "CRC32C", "CRC32", "None,CRC32C", "crc32c")),
    "AuthMethod": ("None", "CHAP", "Foo", "CHAP,None", "KRB5", "SRP", "none", "X-com.example.auth"),
    "CHAP_A": ("5", "7", "6", "8", "99", "x", "5,7", "0x5", "05", ""),
    "CHAP_I": ("0", "255", "256", "-1", "x", "0x10", "1,2"),
    "CHAP_C": (
        *("0x00112233445566778899aabbccddeeff", "0xZZ", "0x1", "0x", "0b!!!!", "0bQUJD", "0bQUI", "0bQQ==", "abcd", ""),
        *("0x" + "ab" * 1024, "0x" + "ab" * 1025, "0b" + "QUJD" * 342, "0X0011"),
    ),
    "CHAP_N": ("target", "somebody", "", "0x00", "n" * 256),
    "CHAP_R": ("0x00", "0x" + "00" * 16, "0x" + "zz" * 16, "0bAAAAAAAAAAAAAAAAAAAAAA==", "0x" + "00" * 20, ""),
    "CHAP_Q": ("1",),
    "MaxConnections": _NUMBERS,
    "InitialR2T": _BOOLEANS,
    "ImmediateData": _BOOLEANS,
    "MaxRecvDataSegmentLength": _NUMBERS,
    "MaxBurstLength": _NUMBERS,
    "FirstBurstLength": _NUMBERS,
    "DefaultTime2Wait": ("0", "1", "2", "3", "3600", "3601", "x"),
    "DefaultTime2Retain": ("0", "1", "20", "3600", "3601"),
    "MaxOutstandingR2T": ("0", "1", "2", "8", "65535", "65536"),
    "DataPDUInOrder": _BOOLEANS,
    "DataSequenceInOrder": _BOOLEANS,
    "ErrorRecoveryLevel": ("0", "1", "2", "3", "x"),
    "iSCSIProtocolLevel": ("0", "1", "2", "31", "32"),
    "TaskReporting": ("RFC3720", "FastAbort", "Foo"),
    "TargetAlias": ("disk", "", "x" * 255, "x" * 256),
    "TargetPortalGroupTag": ("0", "1", "65535", "65536", "x"),
    "TargetAddress": ("127.0.0.1:3261,1", "127.0.0.1", "[::1"),
    "TargetName": ("iqn.2026-11.org.iscsi-conformance:plain",),
    "InitiatorName": ("iqn.2026-11.org.iscsi-conformance:x",),
    "SessionType": ("Normal", "Discovery"),
    "SendTargets": ("All",),
    "X-com.example.key": ("1", ""),
    "X#word": ("1",),
    "Nonsense": ("1", "NotUnderstood"),
}
_TEXTS = (
    *(b"", b"\0", b"AuthMethod", b"AuthMethod\0", b"=\0", b"=None\0", b"AuthMethod=None", b"\xff=\xfe\0", b"a=b\0\0\0"),
    *(b"AuthMethod=None\0AuthMethod=None\0", b"k" * 64 + b"=v\0", b"0a=1\0", b"a=" + b"v" * 8192 + b"\0"),
)
_ADDRESSES = (
    *(
        None,
        "127.0.0.1:3261",
        "127.0.0.1:3260",
        "127.0.0.1",
        "[::1]:3262",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "[::1:3260",
    ),
    *("127.0.0.1:x", "", "127.0.0.1:3261,1", "192.0.2.1:3260", "a b:3260", "target.example:3260"),
)


def of_login(dice: Random) -> Fault:
    """Something is wrong with a Login Response, or with what comes in its place."""
    when = When(
        direction=Direction.TO_INITIATOR,
        opcode=Opcode.LOGIN_RESPONSE,
        stage=dice.choice((0, 0, 1, 1, None)),
        nth=dice.choices((1, 2, 3), (8, 2, 1))[0],
        times=dice.choices((1, 0), (4, 1))[0],
    )
    for _ in range(50):
        try:
            return Fault(when=when, what=tuple(_change(dice)), raw=False)
        except ValueError:
            continue
    return Fault(when=when, what=(Drop(),))


def of_login_request(dice: Random) -> Fault:
    """The target gets another Login Request than was sent, and answers that."""
    when = When(
        direction=Direction.TO_TARGET,
        opcode=Opcode.LOGIN_REQUEST,
        stage=dice.choice((0, 1, None)),
        nth=dice.choice((1, 1, 2)),
    )
    key = dice.choice([*_VALUES])
    what: tuple[Action, ...] = dice.choice(
        (
            (SetKey(key, dice.choice((None, *_VALUES[key]))),),
            (
                SetKey(
                    "TargetName", dice.choice((None, "iqn.2026-11.org.iscsi-conformance:moved", "iqn.2026-11.org:none"))
                ),
            ),
            (Set(name := dice.choice(_REQUEST_FIELDS), value_of(dice, Opcode.LOGIN_REQUEST, name)),),
            (dice.choice((Drop(), Silence(), Close(), Reset(), Repeat(), Hold(seconds=31.9))),),
        )
    )
    return Fault(when=when, what=what)


_REQUEST_FIELDS = ("version_min", "version_max", "tsih", "cmd_sn", "csg", "nsg", "transit", "itt", "isid")
_FIELDS = tuple(LoginResponse.FIELDS)


def _change(dice: Random) -> Sequence[Action]:
    choice = dice.randrange(20)
    if choice < 5:
        name = dice.choice(_FIELDS)
        return (Set(name, value_of(dice, Opcode.LOGIN_RESPONSE, name)),)
    if choice < 11:
        return _key(dice)
    if choice == 11:
        return (Replace(Part.DATA, dice.choice((*_TEXTS, dice.randbytes(dice.randrange(40))))),)
    if choice == 12:
        return _status(dice)
    if choice == 13:
        status = dice.choice((LoginStatus.MOVED_TEMPORARILY, LoginStatus.MOVED_PERMANENTLY))
        return (*_refused(status), Replace(Part.DATA, b""), SetKey("TargetAddress", dice.choice(_ADDRESSES)))
    if choice == 14:
        return _window(dice)
    if choice == 15:
        return (
            dice.choice((Set("opcode", dice.randrange(64)), Set("data_segment_length", Plus(dice.choice((1, -1, 4)))))),
        )
    if choice == 16:
        template = dice.choice(
            (
                *(
                    Template(NopIn, {"ttt": 1}),
                    Template(AsyncMessage, {"async_event": 1}),
                    Template(ScsiResponse, {"itt": 1}),
                ),
                *(
                    Template(Reject, {"reason": 4, "data": bytes(48)}),
                    Template(LoginResponse, {"transit": True, "nsg": 3}),
                ),
            )
        )
        return (Insert(template, before=dice.random() < 0.5),)
    length = dice.choice((0, 1, 47, 48, 50))
    ways: tuple[Sequence[Action], ...] = (
        *((Drop(),), (Silence(),), (Close(),), (Reset(),), (Drop(), Close()), (Drop(), Reset()), (Repeat(),)),
        *((Truncate(length), Close()), (Truncate(length), Reset()), (Truncate(length),), (Segment(1),)),
        *((Hold(seconds=dice.choice((1.03, 28.7, 31.7))),), (Hold(pdus=1),)),
    )
    return dice.choice(ways)


def _key(dice: Random) -> Sequence[Action]:
    key = dice.choice([*_VALUES])
    values = (*_VALUES[key], *_VALUES[key], None, dice.choice(_WORDS))
    return (SetKey(key, dice.choice(values), again=dice.random() < 0.1),)


def _refused(status: int) -> Sequence[Action]:
    return (Set("status_class", status >> 8), Set("status_detail", status & 0xFF), Set("transit", value=False))


def _status(dice: Random) -> Sequence[Action]:
    status = dice.choice((*LoginStatus, 0x0103, 0x02FF, 0x03FF, 0x0400, 0xFF00))
    return _refused(status)


def _window(dice: Random) -> Sequence[Action]:
    """The command window of the final response, near the impossible."""
    exp_cmd_sn = dice.choice((0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
    below = dice.choice((0, 1, 2, 3, 100, (1 << 31) - 1, -1, -127))
    return (Set("exp_cmd_sn", exp_cmd_sn), Set("max_cmd_sn", (exp_cmd_sn - below) & 0xFFFFFFFF))
