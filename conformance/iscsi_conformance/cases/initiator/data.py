"""Read and write data of an initiator (RFC 7143 sections 4.2.5.2, 11.3, 11.7, 11.8, 13.10 to 13.14)."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.reaction import by_connection
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, configured, dialogue, is_a, log_in, must_drop, require_dropped
from iscsi_conformance.verdict import require
from iscsi_initiator.settings import Settings
from iscsi_protocol.fault import Fault, Part, Plus, Replace, Set
from iscsi_protocol.pdu import NO_TAG, R2T, DataIn, DataOut, Opcode, ScsiCommand, TaskManagementRequest, decode

_KIB = 1024
_SEGMENT = 4 * _KIB
_BURST = 8 * _KIB
_ENOUGH = 40
"""R2Ts that show what there is to be seen."""
_SOME = 24
"""Commands that do."""
_IN_FLIGHT = 0.3
"""Seconds in which the latest R2T is answered."""


async def _asks(scene: Scene, *stimulus: Fault, segment: int = _SEGMENT, r2ts: int = 1, burst: int = _BURST) -> None:
    """Bring up a target that asks for every byte, in sequences of 8 KiB of two PDUs unless told otherwise."""
    config = configured(
        InitialR2T="Yes",
        ImmediateData="No",
        MaxRecvDataSegmentLength=str(segment),
        MaxBurstLength=str(burst),
        FirstBurstLength=str(burst),
        MaxOutstandingR2T=str(r2ts),
    )
    await scene.target(*stimulus, config=config)


async def _solicited(
    scene: Scene, *, segment: int = _SEGMENT, r2ts: int = 1, burst: int = _BURST
) -> list[tuple[R2T, list[DataOut]]]:
    """Have something written to such a target: each R2T, with the Data-Out PDUs that have its tag."""
    await _asks(scene, segment=segment, r2ts=r2ts, burst=burst)
    settings = Settings(max_outstanding_r2t=r2ts)
    await scene.perform(Doing.WRITE, until=lambda: len(scene.received(R2T)) >= _ENOUGH, settings=settings, lun=1)
    asked = len(scene.received(R2T))
    await scene.settle(_IN_FLIGHT)
    answers: list[tuple[R2T, list[DataOut]]] = []
    for records in by_connection(scene.recorder.records):
        found: dict[int, list[DataOut]] = {}
        for pdu in (decode(record.raw) for record in records):
            if isinstance(pdu, R2T):
                found[pdu.ttt] = []
                answers.append((pdu, found[pdu.ttt]))
            elif isinstance(pdu, DataOut) and pdu.ttt in found:
                found[pdu.ttt].append(pdu)
    return scene.reached(answers[:asked], "the initiator wrote nothing that was asked for")


async def _write_some(scene: Scene) -> None:
    """Have something written, some commands or all."""
    await scene.perform(
        Doing.WRITE, until=lambda: len([sent for sent in scene.sent(ScsiCommand) if sent.write]) > _SOME
    )


@case(
    "idata.r2t-answer-numbers",
    clauses={
        "R7143-4.2.2.4-03": "idata.number-goes-on",
        "R7143-11.7.5-01": "idata.number-stays",
        "R7143-11.8-05": "idata.never-final",
    },
    role=INITIATOR,
    wire_only=True,
)
async def r2t_answer_numbers(scene: Scene) -> None:
    """The answer to each R2T counts its PDUs from 0, and the last one has F."""
    for _, sent in await _solicited(scene):
        numbers = [pdu.data_sn for pdu in sent]
        require(numbers[:1] == [0], "R7143-4.2.2.4-03", "DataSN begins at 0 in each sequence", seen=numbers)
        due = list(range(len(numbers)))
        require(numbers == due, "R7143-11.7.5-01", "DataSN is the number within the sequence", seen=numbers)
        flags = [pdu.final for pdu in sent]
        require(flags[-1:] == [True], "R7143-11.8-05", "the last PDU of the answer has F", seen=flags)


@case(
    "idata.r2t-answer-tags",
    clauses={"R7143-11.7.4-01": "idata.lun-left-out", "R7143-4.2.5.2-07": "idata.other-transfer-tag"},
    role=INITIATOR,
    wire_only=True,
)
async def r2t_answer_tags(scene: Scene) -> None:
    """The answer to an R2T repeats its transfer tag and its LUN."""
    for r2t, sent in await _solicited(scene):
        require(sent, "R7143-4.2.5.2-07", "the R2T is answered under its tag", seen=hex(r2t.ttt))
        luns = {pdu.lun for pdu in sent}
        require(luns == {r2t.lun}, "R7143-11.7.4-01", f"the LUN is {r2t.lun.hex()}", seen=[lun.hex() for lun in luns])


@case(
    "idata.r2t-answer-place",
    clauses={
        "R7143-11.8-04": "idata.beyond-the-r2t",
        "R7143-11.8-07": "idata.pieces-swapped",
        "R7143-11.7.6-02": "idata.overlap",
        "R7143-11.8-13": "idata.gap",
    },
    role=INITIATOR,
    wire_only=True,
)
async def r2t_answer_place(scene: Scene) -> None:
    """The PDUs that answer an R2T lie within its range, in order, without overlap or gap."""
    for r2t, sent in await _solicited(scene):
        end = r2t.buffer_offset + r2t.desired_data_transfer_length
        pieces = [(pdu.buffer_offset, pdu.buffer_offset + len(pdu.data)) for pdu in sent]
        inside = all(start >= r2t.buffer_offset and stop <= end for start, stop in pieces)
        require(inside, "R7143-11.8-04", f"the answer lies within {r2t.buffer_offset} to {end}", seen=pieces)
        rising = all(one[0] <= other[0] for one, other in pairwise(pieces))
        require(rising, "R7143-11.8-07", "the offsets rise", seen=pieces)
        apart = all(one[1] <= other[0] for one, other in pairwise(pieces))
        require(apart, "R7143-11.7.6-02", "nothing overlaps", seen=pieces)
        joined = all(one[1] == other[0] for one, other in pairwise([(0, r2t.buffer_offset), *pieces, (end, end)]))
        require(joined, "R7143-11.8-13", "there is no gap", seen=pieces)


@case(
    "idata.one-pdu-answer",
    clauses={"R7143-11.8-03": "idata.half-an-answer"},
    role=INITIATOR,
    wire_only=True,
)
async def one_pdu_answer(scene: Scene) -> None:
    """Where one Data-Out is enough for an R2T it has exactly the offset and the length that were asked for."""
    for r2t, sent in await _solicited(scene, segment=_BURST):
        asked = [(r2t.buffer_offset, r2t.desired_data_transfer_length)]
        given = [(pdu.buffer_offset, len(pdu.data)) for pdu in sent]
        require(given == asked, "R7143-11.8-03", f"{asked} is sent", seen=given)


@case(
    "idata.r2ts-in-order",
    clauses={"R7143-11.8-09": "idata.second-r2t-first"},
    touches=["R7143-11.7.6-03", "R7143-13.19-02"],
    role=INITIATOR,
    wire_only=True,
)
async def r2ts_in_order(scene: Scene) -> None:
    """Several R2Ts of a task are answered in the order in which they came."""
    await _solicited(scene, segment=_BURST, r2ts=2)
    asked = [r2t.ttt for r2t in scene.received(R2T)]
    given = [pdu.ttt for pdu in scene.sent(DataOut)]
    require(given == asked[: len(given)], "R7143-11.8-09", f"R2Ts {asked} are answered in turn", seen=given)


@case(
    "idata.target-segment-length",
    clauses={"R7143-13.12-02": "idata.long-segments"},
    touches=["R7143-11.7.1-02"],
    role=INITIATOR,
    wire_only=True,
)
async def target_segment_length(scene: Scene) -> None:
    """No data segment is longer than the target's MaxRecvDataSegmentLength."""
    await _solicited(scene)
    longest = max(len(pdu.data) for pdu in scene.sent(DataOut))
    require(longest <= _SEGMENT, "R7143-13.12-02", f"{_SEGMENT} bytes are the most", seen=longest)


@case(
    "idata.odd-lengths",
    clauses={"R7143-11.8-13": "idata.gap", "R7143-11.8-04": "idata.beyond-the-r2t"},
    role=INITIATOR,
    wire_only=True,
)
async def odd_lengths(scene: Scene) -> None:
    """R2Ts for lengths that are no blocks, from a target that takes segments which are none, are answered whole."""
    for r2t, sent in await _solicited(scene, segment=1028, burst=4100):
        start, end = r2t.buffer_offset, r2t.buffer_offset + r2t.desired_data_transfer_length
        pieces = [(start, start), *((pdu.buffer_offset, pdu.buffer_offset + len(pdu.data)) for pdu in sent), (end, end)]
        inside = all(start <= one and other <= end for one, other in pieces)
        require(inside, "R7143-11.8-04", f"the answer lies within {start} to {end}", seen=pieces)
        joined = all(one[1] == other[0] for one, other in pairwise(pieces))
        require(joined, "R7143-11.8-13", "there is no gap", seen=pieces)


@case(
    "idata.smallest-segments",
    clauses={"R7143-13.12-02": "idata.long-segments"},
    touches=["R7143-11.7.1-02"],
    role=INITIATOR,
    wire_only=True,
)
async def smallest_segments(scene: Scene) -> None:
    """A target that takes 512 bytes in a segment gets no more, in commands and in Data-Out."""
    await scene.target(config=configured(MaxRecvDataSegmentLength="512", InitialR2T="No", ImmediateData="Yes"))
    await _write_some(scene)
    sizes = {len(pdu.data) for pdu in (*scene.sent(ScsiCommand), *scene.sent(DataOut))} - {0}
    longest = max(scene.reached(sizes, "the initiator wrote nothing"))
    require(longest <= 512, "R7143-13.12-02", "512 bytes are the most", seen=longest)


# ---- the four ways to begin a write ----

_FIRST_BURST = 4 * _KIB
_SMALL = 2 * _KIB


async def _write(scene: Scene, initial_r2t: str, immediate_data: str) -> None:
    config = configured(
        InitialR2T=initial_r2t,
        ImmediateData=immediate_data,
        FirstBurstLength=str(_FIRST_BURST),
        MaxBurstLength=str(_BURST),
        MaxRecvDataSegmentLength=str(_SMALL),
    )
    await scene.target(config=config)
    await _write_some(scene)


def _command(scene: Scene) -> ScsiCommand:
    """The first command that writes more than a first burst. Raises Inconclusive where there is none."""
    long = [
        sent for sent in scene.sent(ScsiCommand) if sent.write and sent.expected_data_transfer_length > _FIRST_BURST
    ]
    return scene.reached(long, "the initiator wrote nothing that is longer than a first burst")[0]


def _unsolicited(scene: Scene) -> list[DataOut]:
    """Data-Out of that command that went out before the target asked for any."""
    tag = _command(scene).itt
    before: list[DataOut] = []
    for _, pdu in dialogue(scene):
        if isinstance(pdu, R2T) and pdu.itt == tag:
            break
        if isinstance(pdu, DataOut) and pdu.itt == tag:
            before.append(pdu)
    return before


@case(
    "idata.nothing-unsolicited",
    clauses={
        "R7143-13.11-02": "idata.immediate-all-the-same",
        "R7143-4.2.5.2-05": "idata.unsolicited-all-the-same",
    },
    role=INITIATOR,
    wire_only=True,
)
async def nothing_unsolicited(scene: Scene) -> None:
    """With InitialR2T=Yes and ImmediateData=No no data is sent before it is asked for."""
    await _write(scene, "Yes", "No")
    immediate = len(_command(scene).data)
    require(not immediate, "R7143-13.11-02", "the command carries no data", seen=f"{immediate} bytes")
    early = len(_unsolicited(scene))
    require(not early, "R7143-4.2.5.2-05", "no Data-Out comes before an R2T", seen=f"{early} PDUs")


@case(
    "idata.unsolicited-without-immediate",
    clauses={
        "R7143-13.11-04": "idata.immediate-all-the-same",
        "R7143-4.2.5.2-04": "idata.short-first-burst",
        "R7143-11.7.4-02": "idata.unsolicited-with-tag",
        "R7143-11.3.1-04": "idata.final-in-spite-of-data",
    },
    role=INITIATOR,
    wire_only=True,
)
async def unsolicited_without_immediate(scene: Scene) -> None:
    """With InitialR2T=No and ImmediateData=No the first burst comes as Data-Out, whole, and under the reserved tag."""
    await _write(scene, "No", "No")
    command, early = _command(scene), _unsolicited(scene)
    require(not command.data, "R7143-13.11-04", "the command carries no data", seen=f"{len(command.data)} bytes")
    require(not (command.final and early), "R7143-11.3.1-04", "F tells that no unsolicited data follows")
    tags = {pdu.ttt for pdu in early}
    require(
        tags <= {NO_TAG}, "R7143-11.7.4-02", "unsolicited data has the reserved tag", seen=[hex(tag) for tag in tags]
    )
    total = sum(len(pdu.data) for pdu in early)
    require(total in (0, _FIRST_BURST), "R7143-4.2.5.2-04", f"{_FIRST_BURST} bytes are sent, or none", seen=total)


@case(
    "idata.immediate-alone",
    clauses={"R7143-13.11-07": "idata.unsolicited-all-the-same"},
    role=INITIATOR,
    wire_only=True,
)
async def immediate_alone(scene: Scene) -> None:
    """With InitialR2T=Yes and ImmediateData=Yes nothing but immediate data is sent unasked."""
    await _write(scene, "Yes", "Yes")
    early = len(_unsolicited(scene))
    require(not early, "R7143-13.11-07", "no Data-Out comes before an R2T", seen=f"{early} PDUs")


@case(
    "idata.immediate-and-unsolicited",
    clauses={
        "R7143-11.3.4-03": "idata.short-first-burst",
        "R7143-4.2.5.2-06": "idata.long-first-burst",
    },
    touches=["R7143-13.12-03", "R7143-11.7.1-03"],
    role=INITIATOR,
    wire_only=True,
)
async def immediate_and_unsolicited(scene: Scene) -> None:
    """With InitialR2T=No and ImmediateData=Yes the first burst is sent whole and not exceeded, or is immediate data alone."""
    await _write(scene, "No", "Yes")
    immediate = len(_command(scene).data)
    early = sum(len(pdu.data) for pdu in _unsolicited(scene))
    total = immediate + early
    require(total <= _FIRST_BURST, "R7143-4.2.5.2-06", f"{_FIRST_BURST} bytes are the most", seen=total)
    whole = not early or total == _FIRST_BURST
    require(whole, "R7143-11.3.4-03", f"{_FIRST_BURST} bytes or immediate data alone are sent", seen=total)


@case("idata.all-immediate", clauses={"R7143-11.3.4-02": "idata.data-promised"}, role=INITIATOR, wire_only=True)
async def all_immediate(scene: Scene) -> None:
    """A command whose immediate data is the whole transfer has F."""
    await _write(scene, "No", "Yes")
    whole = [
        sent for sent in scene.sent(ScsiCommand) if sent.data and len(sent.data) == sent.expected_data_transfer_length
    ]
    for command in scene.reached(whole, "no command's immediate data was the whole transfer"):
        require(command.final, "R7143-11.3.4-02", "F is set where nothing follows")


@case(
    "idata.unsolicited-in-turn",
    clauses={"R7143-4.2.5.2-12": "idata.unsolicited-out-of-turn"},
    touches=["R7143-4.2.5.2-10"],
    role=INITIATOR,
)
async def unsolicited_in_turn(scene: Scene) -> None:
    """The unsolicited data of several commands comes in the order of the commands."""
    config = configured(InitialR2T="No", ImmediateData="No", MaxRecvDataSegmentLength="8192")
    await scene.target(config=config)
    client = await log_in(scene)
    await scene.attempt(client.capacity())
    await scene.attempt(asyncio.gather(*(client.write(16 * place, bytes(_BURST)) for place in range(3))))
    order = [sent.itt for sent in scene.sent(ScsiCommand) if sent.write]
    turns = list(dict.fromkeys(pdu.itt for pdu in scene.sent(DataOut) if pdu.ttt == NO_TAG))
    require(turns == order[: len(turns)], "R7143-4.2.5.2-12", f"the data comes in the order {order}", seen=turns)


# ---- reads ----


@case(
    "idata.read-flags",
    clauses={"R7143-11.3.1-01": "idata.neither-write-nor-final", "R7143-11.3.1-03": "idata.no-direction"},
    role=INITIATOR,
    wire_only=True,
)
async def read_flags(scene: Scene) -> None:
    """A command has W or F, and R or W where data is to be transferred."""
    await scene.perform(Doing.READ)
    for sent in scene.some(ScsiCommand):
        require(sent.write or sent.final, "R7143-11.3.1-01", "W or F is set")
        idle = sent.expected_data_transfer_length == 0
        require(idle or sent.read or sent.write, "R7143-11.3.1-03", "R or W is set where there is data")


@case("idata.status-in-data", clauses={"R7143-11.7-02": "idata.does-not-see-the-status"}, role=INITIATOR)
async def status_in_data(scene: Scene) -> None:
    """A read whose status comes within the last Data-In is finished, and the status is acknowledged."""
    client = await log_in(scene)
    error = await scene.attempt(client.read(0, 1))
    require(error is None, "R7143-11.7-02", "status within Data-In ends the read", seen=repr(error))
    require(any(pdu.status_present for pdu in scene.received(DataIn)), "R7143-11.7-02", "the target sent status so")


@case(
    "idata.gap-in-data",
    clauses={"R7143-7.9-01": "idata.does-not-see-the-gap"},
    touches=["R7143-7.8-08"],
    role=INITIATOR,
)
async def gap_in_data(scene: Scene) -> None:
    """A gap in DataSN at recovery level 0 ends the read with an error, and the task is aborted."""
    await scene.target(answer(Opcode.SCSI_DATA_IN, Set("data_sn", Plus(1))))
    client = await log_in(scene)
    error = await scene.attempt(client.capacity())
    aborted = bool(scene.sent(TaskManagementRequest))
    require(error is not None and aborted, "R7143-7.9-01", "missing data is noticed, and the task aborted", seen=error)


# ---- targets that ask for, or send, what they should not ----


@case(
    "idata.r2t-beyond-the-write",
    clauses={"R7143-7.7-01": "idata.answers-any-r2t"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:28"],
)
async def r2t_beyond(scene: Scene) -> None:
    """An R2T for more than the command writes is not answered, and ends the connection."""
    await _asks(scene, answer(Opcode.R2T, Set("buffer_offset", Plus(1 << 24))))
    what = "an R2T beyond the end of the write"
    await must_drop(scene, Doing.WRITE, "R7143-7.7-01", what, is_a(Opcode.R2T), lun=1)


@case(
    "idata.r2t-without-tag",
    clauses={"R7143-7.7-01": "idata.takes-reserved-tag"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:28"],
)
async def r2t_without_tag(scene: Scene) -> None:
    """An R2T with the reserved transfer tag is not answered, and ends the connection."""
    await _asks(scene, answer(Opcode.R2T, Set("ttt", NO_TAG)))
    await must_drop(scene, Doing.WRITE, "R7143-7.7-01", "an R2T without a tag", is_a(Opcode.R2T), lun=1)


@case(
    "idata.data-beyond-the-read",
    clauses={"R7143-4.2.5.3-03": "idata.takes-any-data"},
    role=INITIATOR,
    events=["iScsiPrt:26"],
)
async def data_beyond(scene: Scene) -> None:
    """Data beyond the end of a read breaks the protocol: the connection ends."""
    await scene.target(answer(Opcode.SCSI_DATA_IN, Set("buffer_offset", Plus(1 << 24))))
    what = "data beyond the end of the read"
    await must_drop(scene, Doing.READ, "R7143-4.2.5.3-03", what, is_a(Opcode.SCSI_DATA_IN))


@case(
    "idata.segment-over-own-limit",
    clauses={"R7143-7.7-02": "idata.takes-long-segments"},
    role=INITIATOR,
    events=["iScsiPrt:21"],
)
async def segment_over_limit(scene: Scene) -> None:
    """A data segment over the initiator's own MaxRecvDataSegmentLength ends the connection."""
    await scene.target(answer(Opcode.NOP_IN, Replace(Part.DATA, bytes(1028))))
    client = await log_in(scene, settings=Settings(max_recv_data_segment_length=1024))
    await scene.attempt(client.ping(b"abcd"))
    await require_dropped(scene, "R7143-7.7-02", "1028 bytes where 1024 are the most")
