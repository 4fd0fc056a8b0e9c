"""What targets do wrong with the results of negotiations, and with authentication that fails (RFC 7143 6.2, 6.3.2, 7.12,
9.2.1, 11.10, 11.11 and 11.13.5; RFC 1994).
"""

from __future__ import annotations

from iscsi_protocol.fault import (
    Close,
    Drop,
    Fault,
    FieldIs,
    HasKey,
    NamedFault,
    Part,
    Replace,
    Set,
    SetKey,
    Side,
    When,
)
from iscsi_protocol.pdu import NO_TAG, Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.faults import behaves, sends, takes_for
from iscsi_target.faults.login import status

_ANSWER = Opcode.LOGIN_RESPONSE
_TEXT = Opcode.TEXT_RESPONSE
_LENGTH = "MaxRecvDataSegmentLength"
_AUTHENTICATION = (FieldIs("status_class", 2), FieldIs("status_detail", 1))

FAULTS = (
    takes_for(
        "results.takes-another-value",
        "A value out of range is taken for the key's greatest.",
        Opcode.TEXT_REQUEST,
        SetKey(_LENGTH, "65536"),
        tests=(HasKey(_LENGTH, "100"),),
    ),
    NamedFault(
        id="results.failed-values-hold",
        side=Side.TARGET,
        says="A sequence that fails leaves another value than there was before.",
        faults=(
            Fault(
                when=When(
                    direction=Direction.TO_TARGET,
                    opcode=Opcode.TEXT_REQUEST,
                    tests=(HasKey(_LENGTH, "65536"),),
                    times=0,
                ),
                what=(SetKey(_LENGTH, "1024"),),
            ),
        ),
        policy={"apply_partial_negotiation": True},
    ),
    behaves(
        "results.partial-values-hold",
        "What a sequence declared before it failed holds.",
        apply_partial_negotiation=True,
    ),
    sends(
        "results.unfinished-without-tag",
        "A Text Response with F=0 has no transfer tag.",
        _TEXT,
        Set("ttt", NO_TAG),
        Set("continued", False),
        tests=(FieldIs("final", False),),
    ),
    sends(
        "results.more-to-come-without-tag",
        "A Text Response with C=1 has no transfer tag.",
        _TEXT,
        Set("ttt", NO_TAG),
        tests=(FieldIs("continued", True),),
    ),
    sends(
        "results.ends-with-a-tag",
        "The last Text Response has a transfer tag.",
        _TEXT,
        Set("ttt", 7),
        tests=(FieldIs("final", True),),
    ),
    sends(
        "results.goes-on-instead",
        "A new request for a long answer is taken for one that wants its rest.",
        _TEXT,
        Replace(Part.DATA, b"TargetAddress=127.0.0.1:3260,1\0"),
        nth=2,
    ),
    sends(
        "results.failure-without-a-word",
        "A login whose authentication failed just ends.",
        _ANSWER,
        Drop(),
        Close(),
        tests=_AUTHENTICATION,
    ),
    sends(
        "results.failure-without-detail",
        "A failed authentication is told as any error of the initiator's.",
        _ANSWER,
        *status(0x0200),
        tests=_AUTHENTICATION,
    ),
    behaves(
        "results.takes-its-own-response",
        "The response that the target would give itself is taken.",
        accept_any_chap_response=True,
    ),
    sends(
        "results.challenge-repeats",
        "Every login is asked one challenge.",
        _ANSWER,
        SetKey("CHAP_C", "0x" + "5a" * 16),
        tests=(HasKey("CHAP_C"),),
    ),
    sends(
        "results.identifier-repeats",
        "Every challenge has the same identifier.",
        _ANSWER,
        SetKey("CHAP_I", "7"),
        tests=(HasKey("CHAP_I"),),
    ),
)
