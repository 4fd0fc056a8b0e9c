"""Random work over one to four connections at every level: no wrong byte, no write lost or done twice, no finding."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.target.workloads import BLOCKS, findings, in_memory, over_tcp, over_uneven_connections

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.virtual import run_virtual
from iscsi_conformance.workload.model import BLOCK, ModelDisk, WrongData
from iscsi_conformance.workload.plan import Abort, Damage, Function, Gather, Harm, Lose, Read, Setting, Step, Write
from iscsi_protocol.fault import Drop, Fault, FieldIs, Reset, When
from iscsi_protocol.pdu import Opcode, TaskAttribute, TaskFunction
from iscsi_protocol.stream import Direction
from iscsi_target.config import Limits, Size

OVER_TCP = 20
"""So many examples in memory for each one over TCP."""

connections = st.integers(0, 3)
ranges = st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 24))
FUNCTIONS = (TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET)
ORDERS = (TaskAttribute.SIMPLE, TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE)
attributes = st.sampled_from(ORDERS)
reads = st.builds(
    lambda connection, where, how: Read(connection, where[0], where[1], how), connections, ranges, attributes
)
writes = st.builds(
    lambda connection, where, how: Write(connection, where[0], where[1], how), connections, ranges, attributes
)
harms = st.builds(Harm, st.sampled_from(Damage), st.integers(1, 6))
steps: st.SearchStrategy[Step] = st.one_of(
    reads,
    writes,
    writes,
    harms,
    harms,
    st.just(Gather()),
    st.builds(Abort, st.integers(0, 7)),
    st.builds(Function, connections, st.sampled_from(FUNCTIONS)),
    st.builds(Lose, connections, st.booleans()),
)
KEYS = {
    "MaxRecvDataSegmentLength": ("512", "2048", "8192"),
    "MaxBurstLength": ("2048", "4096", "65536"),
    "FirstBurstLength": ("512", "2048"),
    "InitialR2T": ("Yes", "No"),
    "ImmediateData": ("Yes", "No"),
    "MaxOutstandingR2T": ("1", "4"),
    "DataPDUInOrder": ("Yes", "No"),
    "DataSequenceInOrder": ("Yes", "No"),
    "TaskReporting": ("RFC3720,ResponseFence", "ResponseFence,RFC3720", "FastAbort,ResponseFence,RFC3720"),
}
keys = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in KEYS.items()})
session_settings = st.builds(
    lambda level, count, digests, pairs: Setting(
        level=level, connections=count, digests=digests, keys=tuple(pairs.items())
    ),
    st.integers(0, 2),
    st.integers(1, 4),
    st.booleans(),
    keys,
)


@given(setting=session_settings, plan=st.lists(steps, max_size=25))
def test_random_work_in_memory(setting: Setting, plan: list[Step]) -> None:
    book = RuleBook()
    run_virtual(in_memory(setting, plan, book))
    assert not findings(book)


@given(setting=session_settings, plan=st.lists(steps, max_size=25), seed=st.integers(0, 2**32))
def test_random_work_over_uneven_connections(setting: Setting, plan: list[Step], seed: int) -> None:
    dice = Random(seed)
    run_virtual(over_uneven_connections(setting, plan, lambda _: (dice.random() ** 3, dice.random() ** 3)))


shortages = st.builds(
    Limits,
    commands=st.sampled_from((1, 2, 4, 128)),
    retained_responses=st.sampled_from((1, 3, 1024)),
    retained_bytes=st.sampled_from((1, 4096, 1 << 20)),
    send_buffer=st.sampled_from((1, 2048, 1 << 20)),
)


BEHIND_A_FENCE = (
    Limits(commands=1, retained_responses=1, retained_bytes=Size(1), send_buffer=Size(1)),
    Setting(
        level=1,
        connections=2,
        digests=False,
        keys=(
            ("MaxRecvDataSegmentLength", "512"),
            ("MaxBurstLength", "2048"),
            ("FirstBurstLength", "512"),
            ("InitialR2T", "Yes"),
            ("ImmediateData", "Yes"),
            ("MaxOutstandingR2T", "1"),
            ("DataPDUInOrder", "Yes"),
            ("DataSequenceInOrder", "Yes"),
            ("TaskReporting", "RFC3720,ResponseFence"),
        ),
    ),
    [
        Read(0, 0, 1, TaskAttribute.SIMPLE),
        Gather(),
        Harm(Damage.DATA_CAME, 1),
        Read(1, 0, 1, TaskAttribute.SIMPLE),
        Function(0, TaskFunction.ABORT_TASK_SET),
    ],
)
"""A ping on a connection that owes no acknowledgement, while responses behind a fence wait for another one that does."""


@example(*BEHIND_A_FENCE)
@given(limits=shortages, setting=session_settings, plan=st.lists(steps, max_size=25))
def test_random_work_under_pressure(limits: Limits, setting: Setting, plan: list[Step]) -> None:
    book = RuleBook()
    run_virtual(in_memory(setting, plan, book, limits=limits))
    assert not findings(book)


@settings(max_examples=max(settings().max_examples // OVER_TCP, 1))
@given(setting=session_settings, plan=st.lists(steps, max_size=25))
def test_random_work_over_tcp(setting: Setting, plan: list[Step]) -> None:
    book = RuleBook()
    asyncio.run(over_tcp(setting, plan, book))
    assert not findings(book)


EACH_DAMAGE = [
    pytest.param(level, damage, id=f"level-{level}-{damage.name.lower()}")
    for level in (0, 1, 2)
    for damage in Damage
    if level or damage is not Damage.PDU_CAME
]


@pytest.mark.parametrize(("level", "damage"), EACH_DAMAGE)
def test_each_damage_at_each_level_is_done_and_survived(level: int, damage: Damage) -> None:
    setting = Setting(level=level, connections=2, digests=True, keys=(("ImmediateData", "No"),))
    plan: list[Step] = [Harm(damage, 1), Write(0, 3, 8), Gather(), Read(0, 3, 8), Gather()]
    book = RuleBook()
    exerciser = run_virtual(in_memory(setting, plan, book))
    assert exerciser.harmed == [damage]
    # A connection goes with a bad header, and below level 2 the session with it.
    assert exerciser.recoveries == (damage in (Damage.HEADER_SENT, Damage.HEADER_CAME))
    assert not findings(book)


def test_a_lost_connection_has_its_tasks_continued_by_another_one() -> None:
    setting = Setting(level=2, connections=2, digests=False, keys=(("InitialR2T", "Yes"), ("ImmediateData", "No")))
    plan: list[Step] = [
        Write(0, 0, 8),
        Lose(0, logout=True),
        Gather(),
        Write(0, 20, 4),
        Lose(1, logout=False),
        Gather(),
    ]
    book = RuleBook()
    exerciser = run_virtual(in_memory(setting, plan, book))
    assert exerciser.recoveries == 2
    assert exerciser.sessions == 1
    assert not findings(book)


def test_an_heir_that_breaks_has_the_tasks_of_the_first_connection_continued_as_well() -> None:
    """It breaks before the first of two reassignments is answered."""
    setting = Setting(level=2, connections=1, digests=False, keys=(("InitialR2T", "Yes"), ("ImmediateData", "No")))
    plan: list[Step] = [Write(0, 0, 8), Write(0, 20, 4), Lose(0, logout=False), Gather()]
    # Task tags: two of logins, two of the writes.
    first = When(direction=Direction.TO_INITIATOR, opcode=Opcode.TASK_MANAGEMENT_RESPONSE, tests=(FieldIs("itt", 5),))
    breaks = Fault(when=first, what=(Drop(), Reset()))
    book = RuleBook()
    exerciser = run_virtual(in_memory(setting, plan, book, faults=[breaks]))
    assert exerciser.recoveries == 2
    assert not findings(book)


def test_an_heir_that_breaks_before_it_can_log_out_the_first_connection_costs_no_time() -> None:
    """The second connection has a bad header on its way when the first one breaks; what the target retains of the first it
    would have given up long before the exerciser loses its patience.
    """
    setting = Setting(
        level=2,
        connections=2,
        digests=True,
        keys=(("InitialR2T", "Yes"), ("ImmediateData", "No")),
        patience=30.0,
        retain=10,
    )
    plan: list[Step] = [
        Write(0, 0, 8),
        Harm(Damage.HEADER_SENT, 1),
        Write(1, 20, 4),
        Lose(0, logout=True),
        Gather(),
    ]
    delays = {0: (0.0, 3.0), 1: (1.0, 0.0)}
    exerciser = run_virtual(over_uneven_connections(setting, plan, lambda place: delays.get(place, (0.0, 0.0))))
    assert exerciser.harmed == [Damage.HEADER_SENT]
    assert exerciser.sessions == 1


def test_an_abort_whose_answer_is_lost_may_have_ended_the_task() -> None:
    setting = Setting(level=2, connections=1, digests=False, keys=(("InitialR2T", "Yes"), ("ImmediateData", "No")))
    plan: list[Step] = [Write(0, 0, 8), Abort(0), Gather()]
    answer = When(direction=Direction.TO_INITIATOR, opcode=Opcode.TASK_MANAGEMENT_RESPONSE, tests=(FieldIs("itt", 3),))
    book = RuleBook()
    lost = Fault(when=answer, what=(Drop(), Reset()))
    exerciser = run_virtual(in_memory(setting, plan, book, faults=[lost]))
    assert exerciser.recoveries == 1
    assert not findings(book)


def test_a_function_whose_answer_is_lost_is_asked_for_again() -> None:
    """It reaches the target before the second read, on a slower connection, which it ends without a word (4.2.2.1); its
    answer waits for the status of the first read (11.6.1), and goes with the connection.
    """
    setting = Setting(level=2, connections=2, digests=False)
    plan: list[Step] = [
        Harm(Damage.HEADER_CAME, 1),
        Read(0, 0, 8),
        Read(1, 20, 8),
        Function(0, TaskFunction.CLEAR_TASK_SET),
        Gather(),
    ]
    delays = ((0.0, 2.0), (1.0, 0.0), (0.0, 0.0))
    exerciser = run_virtual(over_uneven_connections(setting, plan, lambda place: delays[place]))
    assert exerciser.harmed == [Damage.HEADER_CAME]
    assert exerciser.recoveries == 1


def test_the_model_tells_a_wrong_block_a_stale_block_and_one_in_the_wrong_place() -> None:
    disk = ModelDisk(4)
    generation, data = disk.begin_write(1, 2)
    disk.acknowledge(1, 2, generation)
    disk.check(1, data)
    for wrong in (bytes(BLOCK), data[BLOCK:], b"\1" * BLOCK):
        with pytest.raises(WrongData):
            disk.check(1, wrong)


def test_a_write_that_nobody_acknowledged_may_have_happened_but_only_once() -> None:
    disk = ModelDisk(1)
    _, data = disk.begin_write(0, 1)
    disk.check(0, bytes(BLOCK))
    with pytest.raises(WrongData):
        disk.check(0, data)
