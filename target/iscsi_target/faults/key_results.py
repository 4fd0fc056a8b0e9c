"""What targets do wrong with the results of keys (RFC 7143 sections 4.2.9.1, 6.2, 12 and 13)."""

from __future__ import annotations

from iscsi_protocol.fault import Fault, HasKey, Part, Replace, SetKey, When
from iscsi_protocol.pdu import Opcode, Stage
from iscsi_protocol.stream import Direction
from iscsi_target.faults import together
from iscsi_target.faults.login import FINAL, SUCCESS, answer, misread, status


def _request(test: HasKey) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(test,), times=0)


def _response(key: str) -> When:
    tests = (SUCCESS, HasKey(key))
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE, tests=tests, times=0)


FAULTS = (
    answer(
        "keys.segment-length-untold",
        "MaxRecvDataSegmentLength is never told.",
        SetKey("MaxRecvDataSegmentLength", None),
    ),
    misread(
        "keys.guesses-a-length",
        "An initiator that told no segment length is taken to bear 65536 bytes.",
        SetKey("MaxRecvDataSegmentLength", "65536"),
        tests=(HasKey("InitiatorName"),),
    ),
    answer(
        "keys.alias-not-understood",
        "InitiatorAlias is not understood.",
        SetKey("InitiatorAlias", "NotUnderstood"),
        tests=FINAL,
    ),
    answer(
        "keys.burst-rejected",
        "FirstBurstLength is rejected, whatever it is.",
        SetKey("FirstBurstLength", "Reject"),
        tests=(SUCCESS, HasKey("FirstBurstLength")),
    ),
    together(
        "keys.rejects-and-heeds",
        "A rejected MaxOutstandingR2T counts as the largest one.",
        Fault(when=_request(HasKey("MaxOutstandingR2T")), what=(SetKey("MaxOutstandingR2T", "65535"),)),
        Fault(when=_response("MaxOutstandingR2T"), what=(SetKey("MaxOutstandingR2T", "Reject"),)),
    ),
    together(
        "keys.bursts-unchecked",
        "MaxBurstLength is agreed on without a look at FirstBurstLength.",
        Fault(when=_request(HasKey("MaxBurstLength")), what=(SetKey("MaxBurstLength", "131072"),)),
        Fault(when=_response("MaxBurstLength"), what=(SetKey("MaxBurstLength", "8192"),)),
    ),
    answer(
        "keys.digest-in-spite-of-none",
        "There is a header digest though None was agreed on.",
        Replace(Part.HEADER_DIGEST, b"\x12\x34\x56\x78"),
        opcode=Opcode.NOP_IN,
        tests=(),
    ),
    answer("keys.ten-exchanges", "The login is given up at its tenth exchange.", *status(0x0200), nth=10),
    answer(
        "keys.many-r2ts-in-order",
        "MaxOutstandingR2T stays as offered where sequences are in order.",
        SetKey("MaxOutstandingR2T", "8"),
        tests=(SUCCESS, HasKey("MaxOutstandingR2T")),
    ),
    answer(
        "keys.protocol-level-0",
        "iSCSIProtocolLevel is always 0.",
        SetKey("iSCSIProtocolLevel", "0"),
        tests=(SUCCESS, HasKey("iSCSIProtocolLevel")),
    ),
    misread("keys.send-targets-overlooked", "SendTargets at login is passed over.", SetKey("SendTargets", None)),
    answer(
        "login.length-in-security",
        "The segment length is told in the security stage.",
        SetKey("MaxRecvDataSegmentLength", "65536"),
        stage=Stage.SECURITY,
    ),
    misread(
        "login.overlooks-early-digests",
        "Digests in the security stage are overlooked.",
        SetKey("HeaderDigest", None),
        stage=Stage.SECURITY,
    ),
    misread(
        "login.overlooks-a-second-target-name",
        "A second TargetName is overlooked.",
        SetKey("TargetName", None),
        nth=2,
    ),
)
