"""Plans out of dice: the same seed gives the same plan."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from iscsi_conformance.fuzz import insertions, login_faults, pdu_faults
from iscsi_conformance.fuzz.chunks import WHOLE, Chunks
from iscsi_conformance.fuzz.ground import PLAIN, Ground
from iscsi_conformance.fuzz.parrot import Change, Mutation
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_protocol.fault import Fault, Flip, Poke, Set
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu.codes import Opcode

_SMALL = {"max_recv_data_segment_length": 512, "first_burst_length": 512, "max_burst_length": 1024}
_PROFILES: tuple[dict[str, Any], ...] = (
    {**_SMALL},
    {**_SMALL, "max_connection_retries": 1, "delay_between_reconnect": 0},
    {**_SMALL, "enable_nop_out": True, "nop_out_interval": 7.0, "nop_out_timeout": 3.0, "max_request_hold_time": 5},
    {
        **_SMALL,
        "scsi_request_timeout": 4.0,
        "srb_timeout_delta": 6,
        "task_management_timeout": 3.0,
        "wmi_request_timeout": 5.2,
    },
    {**_SMALL, "immediate_data": False, "initial_r2t": True, "max_pending_requests": 2, "portal_retry_count": 0},
    {
        "max_recv_data_segment_length": 1024,
        "first_burst_length": 2048,
        "max_burst_length": 2048,
        "max_outstanding_r2t": 2,
    },
)
_KEYS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("MaxRecvDataSegmentLength", "512"), ("MaxBurstLength", "512"), ("FirstBurstLength", "512")),
    (("InitialR2T", "Yes"), ("DefaultTime2Wait", "3")),
)
_DIGESTS = (("none", "none"), ("none", "none"), ("required", "required"), ("preferred", "none"), ("none", "preferred"))
_ROADS = (TransportEvent.CONNECTED, TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE)

_VERBS = (
    *((Verb.READ, 10), (Verb.WRITE, 10), (Verb.PING, 4), (Verb.INQUIRY, 2), (Verb.FAULTY_COMMAND, 3)),
    *((Verb.SEND_TARGETS, 2), (Verb.NEGOTIATE, 2), (Verb.ABORT_SET, 2), (Verb.RESET_LUN, 1), (Verb.CANCEL, 2)),
    *((Verb.LOGOUT, 1), (Verb.CUT, 3), (Verb.WAIT, 2), (Verb.ADD_CONNECTION, 1), (Verb.REMOVE_CONNECTION, 1)),
    (Verb.BALANCE, 1),
)

_ANSWERS: dict[Verb, tuple[int, ...]] = {
    Verb.READ: (Opcode.SCSI_DATA_IN, Opcode.SCSI_DATA_IN, Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE),
    Verb.WRITE: (Opcode.SCSI_RESPONSE, Opcode.SCSI_RESPONSE, Opcode.R2T),
    Verb.PING: (Opcode.NOP_IN,),
    Verb.INQUIRY: (Opcode.SCSI_DATA_IN,),
    Verb.FAULTY_COMMAND: (Opcode.SCSI_RESPONSE,),
    Verb.SEND_TARGETS: (Opcode.TEXT_RESPONSE,),
    Verb.NEGOTIATE: (Opcode.TEXT_RESPONSE,),
    Verb.ABORT_SET: (Opcode.TASK_MANAGEMENT_RESPONSE,),
    Verb.RESET_LUN: (Opcode.TASK_MANAGEMENT_RESPONSE,),
    Verb.LOGOUT: (Opcode.LOGOUT_RESPONSE,),
}
"""What the target answers."""

_REQUESTS: dict[Verb, tuple[int, ...]] = {
    Verb.READ: (Opcode.SCSI_COMMAND,),
    Verb.WRITE: (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT),
    Verb.PING: (Opcode.NOP_OUT,),
    Verb.INQUIRY: (Opcode.SCSI_COMMAND,),
    Verb.FAULTY_COMMAND: (Opcode.SCSI_COMMAND,),
    Verb.SEND_TARGETS: (Opcode.TEXT_REQUEST,),
    Verb.NEGOTIATE: (Opcode.TEXT_REQUEST,),
    Verb.ABORT_SET: (Opcode.TASK_MANAGEMENT_REQUEST,),
    Verb.RESET_LUN: (Opcode.TASK_MANAGEMENT_REQUEST,),
    Verb.LOGOUT: (Opcode.LOGOUT_REQUEST,),
}
"""What the initiator asks."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    dice = Random(seed)
    kind = dice.random()
    if kind < 0.16:
        return _login(dice)
    return _full_feature(dice) if kind < 0.86 else _repeated(dice)


def _ground(dice: Random) -> Ground:
    header, data = dice.choice(_DIGESTS)
    return Ground(
        level=dice.choices((0, 1, 2), (5, 2, 3))[0],
        connections=dice.choices((1, 2, 3), (8, 3, 1))[0],
        header_digest=header,
        data_digest=data,
        target=None if dice.random() < 0.05 else PLAIN,
        settings=tuple(sorted(dice.choice(_PROFILES).items())),
        keys=dice.choices(_KEYS, (6, 1, 1))[0],
        recover=dice.random() < 0.55,
    )


def _before_login(dice: Random) -> Ground:
    ground = _ground(dice)
    chap = dice.choices(("none", "one-way", "mutual", "secret only"), (8, 4, 4, 1))[0]
    connections = ground.connections if dice.random() < 0.3 else 1
    return replace(ground, logged_in=False, connections=connections, chap=chap if ground.target else "none")


# Few, because the first dialogue on each is slow.
_LOGGED_IN = tuple(_ground(Random(seed)) for seed in range(64))
_BEFORE_LOGIN = tuple(_before_login(Random(seed)) for seed in range(48))


def _login(dice: Random) -> Plan:
    """A dialogue that is about its login."""
    faults = [_login_fault(dice) for _ in range(dice.choices((1, 2, 0), (8, 3, 1))[0])]
    roads = tuple(dice.choice(_ROADS) for _ in range(dice.choice((1, 2)))) if dice.random() < 0.1 else ()
    script = _script(dice, 1) if dice.random() < 0.4 else ()
    if script and dice.random() < 0.3:
        faults.append(_fault(dice, script))
    return Plan(
        ground=dice.choice(_BEFORE_LOGIN),
        script=script,
        faults=_in_order(faults),
        faulty=dice.choice((1, 2, None)),
        roads=roads,
        chunks=_chunks(dice),
    )


def _full_feature(dice: Random) -> Plan:
    """A dialogue behind a login without fault."""
    ground = dice.choice(_LOGGED_IN)
    script = _script(dice, dice.choice((1, 1, 2, 2, 3, 4)))
    faults = [_fault(dice, script, ground.level) for _ in range(dice.choices((1, 2, 3, 0), (28, 8, 2, 1))[0])]
    if dice.random() < 0.1:
        faults.append(_login_fault(dice))
    roads = tuple(dice.choice(_ROADS) for _ in range(dice.choice((1, 2, 3)))) if dice.random() < 0.2 else ()
    return Plan(
        ground=ground,
        script=script,
        faults=_in_order(faults),
        faulty=dice.choices((1, 2, None), (10, 2, 3))[0],
        roads=roads,
        chunks=_chunks(dice),
    )


def _repeated(dice: Random) -> Plan:
    """A healthy dialogue whose bytes are changed without regard to what they mean."""
    place = dice.randrange(64)
    ground = _LOGGED_IN[place] if dice.random() < 0.8 else _BEFORE_LOGIN[place % len(_BEFORE_LOGIN)]
    script = tuple(replace(step, pause=min(step.pause, 2.9)) for step in _script(Random(place), 4))
    mutations = tuple(_mutation(dice) for _ in range(dice.choices((1, 2, 3), (6, 3, 1))[0]))
    return Plan(ground=ground, script=script, chunks=_chunks(dice), mutations=mutations)


def _mutation(dice: Random) -> Mutation:
    """Mostly within the header of the first PDU of what is said at once."""
    at = dice.choices((dice.randrange(48), dice.randrange(48), dice.randrange(700)), (4, 2, 3))[0]
    what = dice.choices(
        (bytes((1 << dice.randrange(8),)), dice.randbytes(dice.randrange(1, 5)), b"\0", b"\xff\xff"), (5, 3, 1, 1)
    )[0]
    change = dice.choices(list(Change), (6, 8, 2, 2, 2, 2, 1))[0]
    return Mutation(change=change, answer=dice.randrange(24), at=at, what=what)


def _fault(dice: Random, script: tuple[Step, ...], level: int = 0) -> Fault:
    """Of what the script has the two sides send; of what recovery adds to it, too."""
    answers = [opcode for step in script for opcode in _ANSWERS.get(step.verb, ())]
    requests = [opcode for step in script for opcode in _REQUESTS.get(step.verb, ())]
    if level:
        requests.append(Opcode.SNACK_REQUEST)
    if level > 1 and dice.random() < 0.3:
        answers += (Opcode.LOGOUT_RESPONSE, Opcode.TASK_MANAGEMENT_RESPONSE)
        requests += (Opcode.LOGOUT_REQUEST, Opcode.TASK_MANAGEMENT_REQUEST)
    kind = dice.choices((0, 1, 2), (10, 4, 3))[0]
    if kind == 2:
        fault = pdu_faults.of_request(dice, requests or [Opcode.NOP_OUT])
    else:
        make = insertions.insertion if kind else pdu_faults.of_answer
        fault = make(dice, answers or [Opcode.NOP_IN])
    if dice.random() < 0.15:
        return replace(fault, when=replace(fault.when, cid=dice.choice((0, 0, 1, 2))))
    return fault


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    """Behind a change of the opcode no fault finds the fields that it is about."""
    return tuple(sorted(faults, key=_changes_opcode))


def _changes_opcode(fault: Fault) -> bool:
    return any(
        (isinstance(action, Set) and action.name == "opcode")
        or (isinstance(action, Poke | Flip) and action.offset in (0, -48))
        for action in fault.what
    )


def _login_fault(dice: Random) -> Fault:
    return login_faults.of_login(dice) if dice.random() < 0.85 else login_faults.of_login_request(dice)


def _chunks(dice: Random) -> Chunks:
    choice = dice.random()
    if choice < 0.6:
        return WHOLE
    return Chunks(
        size=dice.choice((1, 3, 16, 47, 48, 49, 100, 600)) if choice < 0.7 else 600, spread=dice.randrange(1 << 16)
    )


def _script(dice: Random, length: int) -> tuple[Step, ...]:
    verbs = dice.choices([verb for verb, _ in _VERBS], [weight for _, weight in _VERBS], k=length)
    return tuple(
        Step(
            verb=verb,
            place=dice.randrange(60) if verb in (Verb.READ, Verb.WRITE) else dice.randrange(4),
            size=dice.choice((1, 1, 2, 3, 4)) if verb is not Verb.CUT else dice.randrange(2),
            pause=dice.choices((0.0, 0.41, 2.9, 8.3, 41.9, 151.7), (20, 2, 2, 2, 1, 1))[0],
            together=dice.random() < 0.3,
        )
        for verb in verbs
    )
