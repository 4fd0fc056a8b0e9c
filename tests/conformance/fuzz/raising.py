"""For each event a strategy of dialogues in which it must be logged, and one of near misses in which it must not be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.conformance.fuzz.hand import PROVOKING, SMALL, Hand, Make, answer, login_answer, on_all, request

from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_protocol.fault import (
    Close,
    Drop,
    Fault,
    Flip,
    Hold,
    Insert,
    Of,
    Part,
    Plus,
    Poke,
    Repeat,
    Replace,
    Reset,
    Set,
    SetKey,
    Silence,
    Split,
    Template,
    Truncate,
)
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import R2T, AsyncMessage, Reject
from iscsi_protocol.pdu.codes import NO_TAG, Opcode

READ, WRITE = Step(verb=Verb.READ, size=3), Step(verb=Verb.WRITE, size=3)
A_WHILE = Step(verb=Verb.WAIT, pause=61.7)
PING, LOGOUT, CUT = Step(verb=Verb.PING, size=5), Step(verb=Verb.LOGOUT), Step(verb=Verb.CUT)
NUMBERS = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
CARRIERS = (
    Opcode.SCSI_DATA_IN,
    Opcode.SCSI_RESPONSE,
    Opcode.NOP_IN,
    Opcode.TEXT_RESPONSE,
    Opcode.TASK_MANAGEMENT_RESPONSE,
)
REFUSAL = (Set("transit", value=False), Set("nsg", 0), Replace(Part.DATA, b""))
FIRST_STAT_SN = 739488527
"""Of the first connection of every ground: what its entropy gives."""
QUICK = (*SMALL, ("scsi_request_timeout", 4.1), ("srb_timeout_delta", 6), ("task_management_timeout", 3.3))
TIMED: dict[str, Any] = {"level": 0, "connections": 1}


def status(hand: Hand, *statuses: int) -> Fault:
    """The target refuses the login, at any stage."""
    found = hand.pick(*statuses)
    fields = (Set("status_class", found >> 8), Set("status_detail", found & 0xFF))
    return login_answer(*fields, *REFUSAL, stage=hand.pick(0, 1))


def redirect(hand: Hand, *addresses: str | None) -> Plan:
    fields = (Set("status_class", 1), Set("status_detail", hand.pick(1, 2)))
    given = SetKey("TargetAddress", hand.pick(*addresses))
    return hand.login(login_answer(*fields, *REFUSAL, given, stage=hand.pick(0, 1)))


def key(hand: Hand, name: str, *values: str | None, stage: int, **differs: Any) -> Plan:
    return hand.login(login_answer(SetKey(name, hand.pick(*values)), stage=stage), **differs)


def chap_key(hand: Hand, name: str, *values: str | None, chap: str = "one-way") -> Plan:
    """A key of CHAP, in the response that has it."""
    nth = {"CHAP_A": 2, "CHAP_I": 2, "CHAP_C": 2, "CHAP_R": 3, "CHAP_N": 3}[name]
    when_there = login_answer(SetKey(name, hand.pick(*values)), stage=0, nth=nth)
    return hand.login(when_there, chap=chap)


def window(hand: Hand, low: int, high: int) -> Plan:
    """MaxCmdSN of the final response, so far below ExpCmdSN."""
    below = hand.number(low, high)
    return hand.login(login_answer(Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -below)), stage=1))


def bursts(hand: Hand, low: int, high: int) -> Plan:
    settings = (("first_burst_length", 2048), ("max_burst_length", 4096), ("max_recv_data_segment_length", 1024))
    fault = login_answer(SetKey("MaxBurstLength", str(hand.number(low, high))), stage=1)
    return hand.login(fault, settings=settings)


def carried(hand: Hand, *what: Any, opcodes: tuple[int, ...] = CARRIERS, raw: bool = False, **differs: Any) -> Plan:
    """Something is wrong with one PDU of any of these kinds."""
    opcode = hand.pick(*opcodes)
    return hand.full_feature(answer(opcode, *what, raw=raw), script=(PROVOKING[Opcode(opcode)],), **differs)


def inserted(hand: Hand, template: Template, **differs: Any) -> Plan:
    """One PDU more, before or behind another."""
    fault = answer(Opcode.NOP_IN, Insert(template, before=hand.pick(True, False)), renumber=True)
    return hand.full_feature(fault, script=(PING,), **differs)


def notice(hand: Hand, *events: int, **fields: int) -> Plan:
    return inserted(hand, Template(AsyncMessage, {**NUMBERS, "async_event": hand.pick(*events), **fields}))


def dropped(hand: Hand, verb: Verb, opcode: int, **differs: Any) -> Plan:
    """The answer to something never comes: it is lost, or the request is, or all is silent."""
    how = hand.pick(answer(opcode, Drop(), renumber=True), answer(opcode, Silence()))
    return hand.full_feature(how, script=(Step(verb=verb),), **{**TIMED, **differs})


def logout_unheard(hand: Hand, plan: Plan) -> Plan:
    """The Logout Request is lost: its answer alone would be followed by the target's close."""
    fault = request(Opcode.LOGOUT_REQUEST, hand.pick(Drop(), Silence()), times=0)
    return replace(plan, faults=(*plan.faults, fault), script=(*plan.script, A_WHILE))


def late(hand: Hand, verb: Verb, opcode: int, seconds: float, **differs: Any) -> Plan:
    """The answer comes, in time."""
    return hand.full_feature(answer(opcode, Hold(seconds=seconds)), script=(Step(verb=verb),), **{**TIMED, **differs})


def closing(hand: Hand) -> Fault:
    """The target ends the connection in or behind some PDU of any kind."""
    ending = hand.pick(Close(), Reset())
    within = hand.pick((), (Truncate(hand.number(1, 47)),), (Drop(),))
    return answer(Opcode.NOP_IN, *within, ending)


def damaged_header(hand: Hand) -> Plan:
    # Not TotalAHSLength: that moves the digest itself away.
    offset = hand.pick(*range(4), *range(5, 48))
    what = hand.pick(Flip(Part.BHS, offset, 1 << hand.number(0, 7)), Flip(Part.HEADER_DIGEST, hand.number(0, 3)))
    return carried(hand, what, raw=True, header_digest="required")


def damaged_data(hand: Hand) -> Plan:
    opcode = hand.pick(Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE, Opcode.NOP_IN, Opcode.TEXT_RESPONSE)
    what = hand.pick(Flip(Part.DATA, 0, 1 << hand.number(0, 7)), Flip(Part.DATA_DIGEST, hand.number(0, 3)))
    return carried(hand, what, opcodes=(opcode,), raw=True, data_digest="required")


def invalid_fields(hand: Hand) -> Plan:
    opcode, *what = hand.pick(
        (Opcode.SCSI_RESPONSE, Set("overflow", value=True), Set("underflow", value=True)),
        (Opcode.SCSI_RESPONSE, Set("bidi_overflow", value=True), Set("bidi_underflow", value=True)),
        (Opcode.SCSI_RESPONSE, Set("response", hand.number(2, 0x7F)), Set("underflow", value=False)),
        (Opcode.SCSI_RESPONSE, Replace(Part.DATA, b"")),
        (Opcode.NOP_IN, Set("ttt", hand.number(0, NO_TAG - 1))),
        (Opcode.TASK_MANAGEMENT_RESPONSE, Set("response", hand.number(8, 254))),
        (Opcode.LOGOUT_RESPONSE, Set("response", hand.number(4, 255))),
        (Opcode.TEXT_RESPONSE, Set("continued", value=True)),
        (Opcode.TEXT_RESPONSE, Set("ttt", hand.number(0, NO_TAG - 1))),
    )
    return carried(hand, *what, opcodes=(opcode,))


def ignored_fields(hand: Hand) -> Plan:
    """Reserved bytes, which receivers do not look at, and a vendor's response."""
    opcode, *what = hand.pick(
        (Opcode.NOP_IN, Poke(2, bytes((hand.number(0, 255),)))),
        (Opcode.NOP_IN, Poke(36, hand.bytes(12, 12))),
        (Opcode.TASK_MANAGEMENT_RESPONSE, Poke(36, hand.bytes(12, 12))),
        (Opcode.SCSI_RESPONSE, Poke(10, hand.bytes(6, 6))),
        (Opcode.SCSI_RESPONSE, Set("response", hand.number(0x80, 0xFF)), Set("underflow", value=False)),
    )
    return carried(hand, *what, opcodes=(opcode,))


def no_opcode(hand: Hand) -> Plan:
    opcode = hand.pick(*range(0x20), *range(0x27, 0x31), *range(0x33, 0x3F))
    return carried(hand, Set("opcode", opcode))


def excess_data(hand: Hand) -> Plan:
    """Level 0: above it what was lost may come again."""
    what, nth = hand.pick(
        (Set("buffer_offset", Plus(-hand.number(1, 512))), 2),
        (Set("buffer_offset", Plus(hand.number(1, 4096))), 3),
        (Repeat(), 1),
        (Set("final", value=False), 2),
    )
    fault = answer(Opcode.SCSI_DATA_IN, what, nth=nth)
    return hand.full_feature(fault, script=(READ,), **TIMED, data_digest="none")


def unknown_tag(hand: Hand) -> Plan:
    tag = hand.pick(Of("unused_itt"), Of("unused_itt", 7), hand.number(1 << 20, NO_TAG - 1))
    opcodes = (Opcode.SCSI_RESPONSE, Opcode.TASK_MANAGEMENT_RESPONSE, Opcode.TEXT_RESPONSE, Opcode.SCSI_DATA_IN)
    return carried(hand, Set("itt", tag), opcodes=opcodes, **TIMED)


def invalid_r2t(hand: Hand) -> Plan:
    what = hand.pick(
        Set("desired_data_transfer_length", 0),
        Set("desired_data_transfer_length", hand.number(1025, 0xFFFFFFFF)),
        Set("buffer_offset", hand.number(1024, 0xFFFFFFFF)),
        Set("ttt", NO_TAG),
        Set("r2t_sn", hand.number(1, 1 << 30)),
    )
    return hand.full_feature(answer(Opcode.R2T, what), script=(WRITE,), **TIMED)


def r2t_for_a_read(hand: Hand) -> Plan:
    template = Template(R2T, {**NUMBERS, "itt": Of("open_itt"), "ttt": 1, "desired_data_transfer_length": 512})
    fault = answer(Opcode.SCSI_DATA_IN, Insert(template, before=True))
    return hand.full_feature(fault, script=(READ,), level=hand.pick(0, 1, 2))


def rejecting(hand: Hand, *reasons: int) -> Plan:
    header = bytes((hand.pick(0, 1, 2, 4),)) + bytes(15) + hand.number(1, 9).to_bytes(4, "big") + bytes(28)
    return inserted(hand, Template(Reject, {**NUMBERS, "reason": hand.pick(*reasons), "data": header}))


def wrong_stat_sn(hand: Hand) -> Plan:
    amount = hand.pick(-1, 1, hand.number(1, (1 << 31) - 1), -hand.number(1, (1 << 31) - 1))
    return carried(hand, Set("stat_sn", Plus(amount)), opcodes=(*CARRIERS[1:],), **TIMED)


def wrapping(hand: Hand) -> Plan:
    """StatSN of the whole connection is moved so that it goes over the top; the initiator's ExpStatSN is moved back."""
    amount = (1 << 32) - FIRST_STAT_SN - hand.number(1, 7)
    numbers = [
        answer(op, Set("stat_sn", Plus(amount)), times=0)
        for op in (*CARRIERS[:2], *CARRIERS[2:], Opcode.LOGIN_RESPONSE)
    ]
    numbers += [answer(op, Set("stat_sn", Plus(amount)), times=0) for op in (Opcode.R2T, Opcode.LOGOUT_RESPONSE)]
    back = [
        request(op, Set("exp_stat_sn", Plus(-amount)), times=0)
        for op in (
            *(Opcode.LOGIN_REQUEST, Opcode.SCSI_COMMAND, Opcode.NOP_OUT, Opcode.TEXT_REQUEST),
            Opcode.LOGOUT_REQUEST,
        )
    ]
    return hand.login(*numbers, *back, script=(PING, PING, PING, PING, READ, LOGOUT), level=0)


def reset_answers(hand: Hand, *, fails: bool) -> Plan:
    """A command runs out of time, and what is done about it is answered so."""
    silence = answer(Opcode.SCSI_DATA_IN, Drop(), renumber=True)
    no_abort = answer(Opcode.TASK_MANAGEMENT_RESPONSE, Set("response", 255), times=0 if fails else 1)
    return hand.full_feature(silence, no_abort, script=(Step(verb=Verb.READ),), **TIMED, settings=QUICK)


def no_sense(hand: Hand) -> Plan:
    """A response with data that are no sense data, at protocol level 1."""
    what = hand.pick(
        (Set("status", 0), Set("underflow", value=True)),
        (Replace(Part.DATA, b"\0\x13" + bytes(18)),),
        (Replace(Part.DATA, b"\xff\xff" + bytes(20)),),
        (Replace(Part.DATA, b"\0\x12" + bytes(hand.number(19, 40))),),
    )
    return carried(hand, *what, opcodes=(Opcode.SCSI_RESPONSE,))


def sense(hand: Hand) -> Plan:
    length = hand.number(1, 252)
    return carried(hand, Replace(Part.DATA, length.to_bytes(2, "big") + bytes(length)), opcodes=(Opcode.SCSI_RESPONSE,))


def lost(hand: Hand, **differs: Any) -> Plan:
    """A connection that was up ends, and that is all."""
    if hand.pick(True, False):
        return hand.full_feature(script=(PING, replace(CUT, size=hand.pick(0, 1)), A_WHILE), **differs)
    return hand.full_feature(closing(hand), script=(PING, A_WHILE), **differs)


def closed_in_login(hand: Hand) -> Plan:
    ending = hand.pick(
        (Close(),), (Reset(),), (Drop(), Close()), (Drop(), Reset()), (Truncate(hand.number(1, 47)), Close())
    )
    stage = hand.pick(0, 1)
    ending = ending if stage == 0 else hand.pick((Drop(), Close()), (Drop(), Reset()))
    return hand.login(login_answer(*ending, stage=stage))


def invalid_login(hand: Hand) -> Plan:
    what, stage = hand.pick(
        (Set("nsg", 2), 0),
        (Set("nsg", 0), 0),
        (Set("version_active", hand.number(1, 255)), hand.pick(0, 1)),
        (Set("isid", hand.bytes(6, 6)), hand.pick(0, 1)),
        (Set("itt", Plus(hand.number(1, 1000))), hand.pick(0, 1)),
        (Set("csg", hand.pick(1, 3)), 0),
        (Set("tsih", 0), 1),
        (Set("continued", value=True), hand.pick(0, 1)),
    )
    return hand.login(login_answer(what, stage=stage))


def valid_login(hand: Hand) -> Plan:
    what = hand.pick(
        Set("version_max", hand.number(0, 255)), Poke(16 + 4, hand.bytes(4, 4)), Poke(38, hand.bytes(10, 10))
    )
    return hand.login(login_answer(what, stage=hand.pick(0, 1)))


def oversized(hand: Hand, low: int, high: int) -> Plan:
    if hand.pick(True, False):
        return carried(
            hand, Set("data_segment_length", hand.number(low, high)), data_digest="none", header_digest="none"
        )
    length = min(hand.number(low, high), low + 600)
    return carried(hand, Replace(Part.DATA, bytes(length)), opcodes=(Opcode.NOP_IN,))


def escalation(hand: Hand, *, answered: bool) -> Plan:
    """A command that is never answered; and the functions that follow it, or not."""
    fault = answer(Opcode.SCSI_DATA_IN, Drop(), renumber=True) if answered else answer(Opcode.SCSI_DATA_IN, Silence())
    return hand.full_feature(fault, script=(Step(verb=Verb.READ),), **TIMED, settings=QUICK)


def adding(hand: Hand, *what: Any) -> Plan:
    """The second connection's login."""
    fault = answer(Opcode.LOGIN_RESPONSE, *what, stage=hand.pick(0, 1), cid=1)
    plan = hand.login(fault, script=(A_WHILE,), connections=2, level=0)
    return on_all(plan)


def recovering_logout(hand: Hand, *what: Any) -> Plan:
    """Level 2: a connection is lost, and the logout for recovery over the other one."""
    fault = answer(Opcode.LOGOUT_RESPONSE, *what)
    plan = hand.full_feature(fault, script=(CUT, A_WHILE), level=2, connections=2)
    return on_all(plan)


ROADS = (TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE)
TABLE: dict[int, tuple[Make, Make]] = {
    1: (lambda h: h.login(roads=(h.pick(*ROADS),)), closed_in_login),
    3: (lambda h: window(h, 2, (1 << 31) - 1), lambda h: window(h, -127, 1)),
    4: (lambda h: bursts(h, 512, 2047), lambda h: bursts(h, 2048, 4096)),
    8: (lambda h: recovering_logout(h, Drop()), lambda h: recovering_logout(h, Hold(seconds=h.pick(0.5, 20.3)))),
    9: (
        lambda h: escalation(h, answered=h.pick(True, False)),
        lambda h: late(h, Verb.READ, Opcode.SCSI_DATA_IN, h.pick(0.7, 9.9), settings=QUICK),
    ),
    10: (
        lambda h: h.login(
            status(h, 0x0200, 0x0202, 0x0203, 0x0204, 0x0207, 0x02FF, 0x0300, 0x0301, 0x03FF, 0x0400, 0xFF00)
        ),
        lambda h: h.login(status(h, 0x0201)),
    ),
    11: (invalid_login, valid_login),
    12: (
        lambda h: redirect(h, None, "", "127.0.0.1:0", "127.0.0.1:65536", "[::1:3260", "a b", "127.0.0.1:3261,1"),
        lambda h: redirect(h, "127.0.0.1:3261", "[::1]:3262", "127.0.0.1", "192.0.2.1:3260"),
    ),
    13: (
        lambda h: key(h, "AuthMethod", "Foo", "KRB5", "None,CHAP", "none", stage=0),
        lambda h: key(h, "AuthMethod", "None", stage=0),
    ),
    14: (lambda h: chap_key(h, "CHAP_A", "99", "x", "6", "5,7", ""), lambda h: chap_key(h, "CHAP_A", "5")),
    15: (
        lambda h: chap_key(h, "CHAP_C", "0xZZ", "0b!!!!", "0bQUI", "abcd", "00112233", ""),
        lambda h: chap_key(h, "CHAP_C", "0x00112233445566778899aabbccddeeff", "0bQUJDREVGR0g=", "0X0011aabb"),
    ),
    16: (
        lambda h: h.pick(
            chap_key(h, "CHAP_I", "256", "-1", "x", "1,2"),
            h.login(login_answer(SetKey("CHAP_Q", "1"), stage=0, nth=2), chap="one-way"),
            h.login(login_answer(SetKey("MaxBurstLength", "512"), stage=0, nth=2), chap="one-way"),
        ),
        lambda h: key(h, h.pick("TargetAlias", "X-com.example.key"), "1", "disk", stage=0, chap="one-way"),
    ),
    17: (
        lambda h: chap_key(h, "CHAP_R", "0x" + "00" * 16, "0x" + "00" * 15, "0x" + "ab" * 17, chap="mutual"),
        lambda h: h.login(chap="mutual"),
    ),
    18: (
        lambda h: key(h, "HeaderDigest", "None", None, "Reject", stage=1, header_digest="required"),
        lambda h: key(h, "HeaderDigest", "None", stage=1, header_digest="preferred"),
    ),
    19: (
        lambda h: key(h, "DataDigest", "None", None, "Reject", stage=1, data_digest="required"),
        lambda h: key(h, "DataDigest", "None", stage=1, data_digest="preferred"),
    ),
    20: (lost, lambda h: h.full_feature(script=(READ, LOGOUT))),
    21: (
        lambda h: oversized(h, 513, 0xFFFFFF),
        lambda h: carried(h, Replace(Part.DATA, bytes(512)), opcodes=(Opcode.NOP_IN,)),
    ),
    22: (
        damaged_header,
        lambda h: carried(h, Flip(Part.BHS, 2, 1 << h.number(0, 7)), opcodes=(Opcode.NOP_IN,), header_digest="none"),
    ),
    23: (invalid_fields, ignored_fields),
    24: (no_opcode, lambda h: carried(h, Flip(Part.BHS, 0, h.pick(0x40, 0x80, 0xC0)))),
    25: (damaged_data, lambda h: carried(h, Flip(Part.DATA, 0), opcodes=(Opcode.NOP_IN,), data_digest="none")),
    26: (excess_data, lambda h: h.full_feature(answer(Opcode.SCSI_DATA_IN, Split(h.number(1, 511))), script=(READ,))),
    27: (unknown_tag, lambda h: notice(h, 0, 2, 4)),
    28: (lambda h: h.pick(invalid_r2t, r2t_for_a_read)(h), lambda h: h.full_feature(script=(WRITE, WRITE))),
    29: (lambda h: rejecting(h, *range(2, 13)), lambda h: rejecting(h, 0, 1, 13, 255)),
    32: (lambda h: notice(h, 1, parameter3=h.pick(0, 3, 20)), lambda h: notice(h, 0, 2, 3, 4, 5, 248, 255)),
    33: (
        lambda h: chap_key(h, "CHAP_C", "0x" + "ab" * h.number(1025, 1500), "0b" + "QUJD" * h.number(342, 400)),
        lambda h: chap_key(h, "CHAP_C", "0x" + "ab" * h.number(1000, 1024)),
    ),
    34: (lost, lambda h: lost(h, recover=False)),
    38: (
        lambda h: key(h, "AuthMethod", "None", stage=0, chap=h.pick("one-way", "mutual")),
        lambda h: h.login(chap=h.pick("one-way", "mutual")),
    ),
    39: (lambda h: escalation(h, answered=False), lambda h: escalation(h, answered=True)),
    40: (lambda h: h.login(status(h, 0x0201)), lambda h: h.login(status(h, 0x0201), chap="one-way")),
    41: (lambda h: key(h, "AuthMethod", None, stage=0), lambda h: key(h, "TargetPortalGroupTag", "1", stage=0)),
    42: (wrong_stat_sn, wrapping),
    43: (
        lambda h: h.login(login_answer(h.pick(Drop(), Silence(), Hold(seconds=31.7)), stage=h.pick(0, 1))),
        lambda h: h.login(login_answer(Hold(seconds=h.pick(0.7, 14.1)), stage=h.pick(0, 1))),
    ),
    44: (
        lambda h: logout_unheard(h, h.full_feature(script=(PING, LOGOUT))),
        lambda h: h.full_feature(script=(PING, LOGOUT)),
    ),
    45: (lambda h: adding(h, h.pick(Drop(), Silence())), lambda h: adding(h, Hold(seconds=h.pick(0.7, 14.1)))),
    46: (
        lambda h: dropped(h, Verb.SEND_TARGETS, Opcode.TEXT_RESPONSE),
        lambda h: late(h, Verb.SEND_TARGETS, Opcode.TEXT_RESPONSE, h.pick(0.7, 29.3)),
    ),
    47: (
        lambda h: dropped(h, Verb.INQUIRY, Opcode.SCSI_DATA_IN),
        lambda h: late(h, Verb.INQUIRY, Opcode.SCSI_DATA_IN, h.pick(0.7, 29.3)),
    ),
    48: (
        lambda h: dropped(h, Verb.PING, Opcode.NOP_IN),
        lambda h: late(h, Verb.PING, Opcode.NOP_IN, h.pick(0.7, 29.3)),
    ),
    49: (
        lambda h: dropped(h, h.pick(Verb.RESET_LUN, Verb.ABORT_SET), Opcode.TASK_MANAGEMENT_RESPONSE),
        lambda h: late(h, Verb.RESET_LUN, Opcode.TASK_MANAGEMENT_RESPONSE, h.pick(0.7, 29.3)),
    ),
    50: (
        lambda h: dropped(h, Verb.NEGOTIATE, Opcode.TEXT_RESPONSE),
        lambda h: late(h, Verb.NEGOTIATE, Opcode.TEXT_RESPONSE, h.pick(0.7, 29.3)),
    ),
    51: (
        lambda h: logout_unheard(h, notice(h, 1)),
        lambda h: notice(h, 1),
    ),
    59: (closed_in_login, lambda h: lost(h, recover=False)),
    60: (no_sense, sense),
    61: (lambda h: key(h, "DataPDUInOrder", "No", stage=1), lambda h: key(h, "DataPDUInOrder", "Yes", stage=1)),
    62: (
        lambda h: key(h, "DataSequenceInOrder", "No", stage=1),
        lambda h: key(h, "DataSequenceInOrder", "Yes", stage=1),
    ),
    63: (lambda h: reset_answers(h, fails=True), lambda h: reset_answers(h, fails=False)),
}
"""Event to how it is raised and what is all but that. Events that the history does not decide are not here."""
