"""What targets do wrong when keys are negotiated (RFC 7143 chapters 6 and 13)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    HasKey,
    Insert,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    SetKey,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, TextResponse
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import encode_pairs
from iscsi_target.faults import behaves, changes, sends

_OPERATIONAL = FieldIs("csg", 1)


def _response(*tests: Test, nth: int = 1, times: int = 0) -> When:
    return When(
        direction=Direction.TO_INITIATOR,
        opcode=Opcode.LOGIN_RESPONSE,
        tests=(_OPERATIONAL, FieldIs("status_class", 0), *tests),
        nth=nth,
        times=times,
    )


def _request(*tests: Test) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=tests, times=0)


def _text_response(*tests: Test, nth: int = 1, times: int = 0) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.TEXT_RESPONSE, tests=tests, nth=nth, times=times)


def _text_request(*tests: Test, nth: int = 1, times: int = 0) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.TEXT_REQUEST, tests=tests, nth=nth, times=times)


ANSWERS_ABOVE_OFFER: tuple[tuple[str, str], ...] = (
    ("MaxConnections", "9"),
    ("MaxBurstLength", "16777215"),
    ("FirstBurstLength", "16777215"),
    ("DefaultTime2Retain", "3600"),
    ("MaxOutstandingR2T", "65535"),
    ("ErrorRecoveryLevel", "2"),
    ("iSCSIProtocolLevel", "31"),
)
"""Minimum keys with an answer that is above what the cases offer."""

ANSWERS_AGAINST_BOOLEAN: tuple[tuple[str, str], ...] = (
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("DataPDUInOrder", "No"),
    ("DataSequenceInOrder", "No"),
)
"""Boolean keys with an answer that contradicts an offer which settles the result."""

FAULTS = (
    *(
        changes(
            f"keys.{key.lower()}-above-offer",
            f"The answer to {key} is above the offer.",
            _response(HasKey(key)),
            SetKey(key, value),
        )
        for key, value in ANSWERS_ABOVE_OFFER
    ),
    *(
        changes(
            f"keys.{key.lower()}-against-offer",
            f"{key}={value} is answered where the offer allows no such result.",
            _response(),
            SetKey(key, value),
        )
        for key, value in ANSWERS_AGAINST_BOOLEAN
    ),
    changes(
        "keys.time2wait-below-offer",
        "The answer to DefaultTime2Wait is below the offer.",
        _response(HasKey("DefaultTime2Wait")),
        SetKey("DefaultTime2Wait", "0"),
    ),
    changes(
        "keys.offer-unanswered",
        "An offered value is not answered.",
        _response(HasKey("MaxBurstLength")),
        SetKey("MaxBurstLength", None),
    ),
    changes(
        "keys.boolean-unanswered",
        "A Boolean whose result the offer does not settle is not answered.",
        _response(),
        SetKey("InitialR2T", None),
        SetKey("ImmediateData", None),
    ),
    changes(
        "keys.unknown-key-rejected",
        "A key that is not known is answered with Reject.",
        _response(HasKey("X-org.iscsi-conformance.unknown")),
        SetKey("X-org.iscsi-conformance.unknown", "Reject"),
    ),
    changes(
        "keys.known-key-not-understood",
        "A key of the standard is answered with NotUnderstood.",
        _response(HasKey("MaxOutstandingR2T")),
        SetKey("MaxOutstandingR2T", "NotUnderstood"),
    ),
    changes(
        "keys.not-the-first-of-the-list",
        "A later value of the list is chosen although the first one is supported.",
        _response(HasKey("HeaderDigest")),
        SetKey("HeaderDigest", "CRC32C"),
    ),
    changes(
        "keys.unknown-list-value-rejected",
        "A list with an unknown value in it is rejected as a whole.",
        _response(HasKey("HeaderDigest")),
        SetKey("HeaderDigest", "Reject"),
    ),
    changes(
        "keys.none-unasked",
        "None is chosen though it was not offered.",
        _response(HasKey("HeaderDigest")),
        SetKey("HeaderDigest", "None"),
    ),
    changes(
        "keys.boolean-in-any-word",
        "A word that is neither Yes nor No is taken for Yes.",
        _request(HasKey("ImmediateData")),
        SetKey("ImmediateData", "Yes"),
    ),
    changes(
        "keys.agrees-out-of-range",
        "A value out of range is agreed on.",
        _response(HasKey("MaxBurstLength")),
        SetKey("MaxBurstLength", "511"),
    ),
    changes(
        "keys.case-ignored",
        "Key names are compared without regard to case.",
        _response(HasKey("MaxburstLength")),
        SetKey("MaxburstLength", "4096"),
    ),
    changes(
        "keys.hexadecimal-rejected",
        "A number in hexadecimal is rejected.",
        _response(HasKey("MaxBurstLength")),
        SetKey("MaxBurstLength", "Reject"),
    ),
    changes(
        "keys.text-without-end",
        "The last pair has no NUL behind it.",
        _response(HasKey("MaxBurstLength")),
        Replace(Part.DATA, b"MaxBurstLength=4096"),
    ),
    changes(
        "keys.leading-zero",
        "Numbers are written with a leading zero.",
        _response(HasKey("MaxBurstLength")),
        SetKey("MaxBurstLength", "04096"),
    ),
    *(
        changes(
            f"keys.{key.lower()}-not-understood",
            f"{key} is answered with NotUnderstood.",
            _response(),
            SetKey(key, "NotUnderstood"),
        )
        for key in ("IFMarker", "IFMarkInt")
    ),
    changes(
        "keys.ofmarkint-accepted", "OFMarkInt is answered with a number.", _response(), SetKey("OFMarkInt", "2048")
    ),
    changes("keys.ofmarker-accepted", "OFMarker is agreed on.", _response(), SetKey("OFMarker", "Yes")),
    changes(
        "keys.task-reporting-not-offered",
        "A TaskReporting is chosen that was not offered.",
        _response(HasKey("TaskReporting")),
        SetKey("TaskReporting", "FastAbort"),
    ),
    changes(
        "keys.first-burst-above-max-burst",
        "FirstBurstLength comes out above MaxBurstLength.",
        _response(HasKey("FirstBurstLength")),
        SetKey("FirstBurstLength", "65536"),
    ),
    changes(
        "keys.segment-length-below-range",
        "A MaxRecvDataSegmentLength of 100 is declared.",
        _response(),
        SetKey("MaxRecvDataSegmentLength", "100"),
    ),
    sends(
        "keys.impatient",
        "The login is given up at its fifth exchange.",
        Opcode.LOGIN_RESPONSE,
        Set("status_class", 2),
        Set("status_detail", 0),
        nth=5,
    ),
    changes(
        "keys.short-of-text-buffer",
        "Text beyond 4096 bytes is lost.",
        _request(FieldIs("data_length", 4096, Relation.ABOVE)),
        Replace(Part.DATA, encode_pairs([("InitiatorName", "iqn.2026-11.org.example:nobody")])),
    ),
    changes("text.other-itt", "A Text Response has another task tag.", _text_response(), Set("itt", Plus(1))),
    changes(
        "text.final-with-tag",
        "The last Text Response has a transfer tag.",
        _text_response(FieldIs("final", True)),
        Set("ttt", 77),
    ),
    changes(
        "text.ends-unasked",
        "F=0 in a Text Request is answered with F=1.",
        _text_response(FieldIs("final", False)),
        Set("final", True),
        Set("ttt", NO_TAG),
    ),
    changes(
        "text.goes-on-without-tag",
        "A Text Response with F=0 has no transfer tag.",
        _text_response(FieldIs("final", False)),
        Set("ttt", NO_TAG),
    ),
    changes("text.not-numbered", "A Text Response repeats a StatSN.", _text_response(), Set("stat_sn", Plus(-1))),
    changes(
        "text.repetition-overlooked",
        "Of a key that is given twice the last value is taken.",
        _text_request(),
        SetKey("MaxRecvDataSegmentLength", None),
        SetKey("MaxRecvDataSegmentLength", "4096"),
    ),
    changes(
        "text.login-key-accepted",
        "A key of the leading login is negotiated anew.",
        _text_request(HasKey("MaxBurstLength")),
        SetKey("MaxBurstLength", None),
        Insert(
            Template(
                TextResponse,
                {
                    "itt": Of("trigger.itt"),
                    "stat_sn": Of("stat_sn"),
                    "exp_cmd_sn": Of("exp_cmd_sn", 1),
                    "max_cmd_sn": Of("max_cmd_sn"),
                    "data": encode_pairs([("MaxBurstLength", "4096")]),
                },
            ),
            direction=Direction.TO_INITIATOR,
        ),
    ),
    changes(
        "text.unknown-key-ignored",
        "A key that is not known is not answered.",
        _text_response(),
        SetKey("X-org.iscsi-conformance.unknown", None),
    ),
    behaves("text.applies-at-once", "A value holds before the negotiation has ended.", apply_partial_negotiation=True),
    changes(
        "text.declaration-forgotten",
        "A declaration in full feature phase is answered and not heeded.",
        _text_request(HasKey("MaxRecvDataSegmentLength")),
        SetKey("MaxRecvDataSegmentLength", None),
    ),
    changes("text.no-answer", "A Text Request is not answered.", _text_request(), Drop()),
    changes(
        "text.response-too-long",
        "A Text Response is longer than the initiator takes.",
        _text_response(),
        Replace(Part.DATA, encode_pairs([("TargetName", "iqn.2026-11.org.example:" + "x" * 180)] * 4)),
    ),
    changes(
        "text.continued-and-final",
        "The last Text Response has C=1.",
        _text_response(FieldIs("final", True)),
        Set("continued", True),
    ),
    changes(
        "text.answers-half-a-text",
        "A Text Request with C=1 is answered with pairs.",
        _text_response(FieldIs("data_length", 0)),
        Replace(Part.DATA, encode_pairs([("X-org.iscsi-conformance.unknown", "NotUnderstood")])),
    ),
)
