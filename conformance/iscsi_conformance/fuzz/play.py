"""One dialogue played from its beginning to the regular logout at its end, and what it left behind."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.fuzz.disk import Disk
from iscsi_conformance.fuzz.ground import (
    BLOCKS,
    PORTALS,
    Entropy,
    Ground,
    options_of,
    settings_of,
    target_of,
)
from iscsi_conformance.fuzz.parrot import mutated
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_conformance.fuzz.rig import Rig
from iscsi_conformance.fuzz.snapshot import Snapshot
from iscsi_conformance.workload.model import BLOCK
from iscsi_initiator.engine import InitiatorEngine
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.requests import (
    EventLogged,
    Ping,
    Request,
    RequestDone,
    ScsiRequest,
    ScsiResult,
    SessionClosed,
    TaskManagement,
    TextNegotiation,
)
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.history import Record, SettingsRecord, TransportEvent
from iscsi_protocol.pdu.codes import Opcode, TaskFunction
from iscsi_protocol.scsi import opcodes
from iscsi_target.shell import make_engine

ROUNDS = 60
"""How many times the clock may jump before faults end, and again before everything has to be over."""

RECONNECTS = 4
"""Attempts to connect, behind which faults end before that."""


class Asked:
    """A request, and what the disk knows of it."""

    __slots__ = ("blocks", "ended", "generation", "lba", "request")

    def __init__(self, request: Request, lba: int = 0, blocks: int = 0, generation: int = 0) -> None:
        self.request = request
        self.lba = lba
        self.blocks = blocks
        self.generation = generation
        self.ended = 0


class Play:
    """The pair, what was asked of it, and what came of it. wrong: what must not be, in words; misread: what reads gave that
    the disk cannot hold.

    logged: the initiator's driver events. records: the history, only where it is kept.
    """

    def __init__(self, ground: Ground) -> None:
        settings, options, config = settings_of(ground), options_of(ground), target_of(ground)
        engine, devices = make_engine(config, random_bytes=Entropy(1))
        self._backend = devices[0].unit(0).backend
        self.options = options
        self.book = RuleBook(events=True)
        self.records: list[Record] | None = None
        self.rig = Rig(
            InitiatorEngine(settings, random_bytes=Entropy(2)), engine, [(portal, 1) for portal in PORTALS], self.tap
        )
        engine.set_portals((1, str(portal)) for portal in PORTALS)
        self.asked: list[Asked] = []
        self.logged: list[EventLogged] = []
        self.wrong: list[str] = []
        self.misread: list[str] = []
        self.disk = Disk(BLOCKS)
        self.closed = 0
        self.session = 0
        self.declared = SettingsRecord(0, {**settings.declared(), **options.declared()})
        self.tap(self.declared)
        if ground.logged_in:
            self.begin()

    def tap(self, record: Record) -> None:
        """Take a record of the history."""
        self.book.record(record)
        if self.records is not None:
            self.records.append(record)

    def begin(self) -> None:
        """Open the session."""
        self.session = self.rig.initiator.open_session(self.options)
        self.rig.pump()
        self._take()

    def play(self, plan: Plan) -> None:
        """Play it to the end. Raises whatever an engine raises, which none may."""
        rig = self.rig
        rig.chunks = plan.chunks
        rig.roads.extend(plan.roads)
        rig.spoil(plan.faults, plan.faulty)
        if plan.mutations:
            rig.have_repeated(mutated(_healthy(plan.ground, plan.script), plan.mutations))
        if not self.session:
            self.begin()
        for step in plan.script:
            self.step(step)
        self.end(heals=not plan.mutations)

    def step(self, step: Step) -> None:
        """Do one thing. What it brings about at once is carried out before the next one, unless that goes out with it."""
        if not step.together:
            self.look()
        if step.pause:
            self._run(self.rig.now + step.pause)
        self._do(step)

    def look(self) -> None:
        """Let everything happen that needs no time, and take note of it."""
        self.rig.pump()
        self._take()

    def end(self, *, heals: bool = True) -> None:
        """Let what is under way end; then, where that is possible, without faults; log out."""
        rig = self.rig
        self.look()
        self._settle(rig.attempts + RECONNECTS)
        rig.heal()
        if heals and not self._settle():
            self.wrong.append("no end: " + "; ".join(self._open()))
        if not self.closed:
            rig.initiator.close_session(self.session, rig.now)
            self.look()
            self._settle(closing=True)
        self.book.finish(rig.now)

    def image(self) -> bytes:
        """Every byte of the disk."""
        return bytes(self._backend.load(0, BLOCKS * BLOCK))

    def _run(self, until: float) -> None:
        self.rig.run(until)
        self._take()

    def _settle(self, attempts: int = 1 << 16, *, closing: bool = False) -> bool:
        """Let time pass until nothing is on its way, or there were so many attempts to connect; whether nothing is."""
        for _ in range(ROUNDS):
            if self.rig.attempts >= attempts:
                break
            if self.closed or (not closing and not self._open()):
                return not self._open()
            due = self.rig.next_deadline()
            if due is None:
                break
            self._run(due)
        return self.closed > 0 or (not closing and not self._open())

    def _open(self) -> list[str]:
        """What is not over."""
        waiting = [type(asked.request).__name__ for asked in self.asked if not asked.ended]
        session = self.rig.initiator.session(self.session)
        if not self.closed and not session.up:
            waiting += [f"connection {each.cid} is {each.state.value}" for each in session.connections.values()]
        return waiting

    # The script.

    def _do(self, step: Step) -> None:
        rig = self.rig
        match step.verb:
            case Verb.CANCEL:
                if step.place < len(self.asked):
                    rig.initiator.cancel(self.asked[step.place].request, rig.now)
            case Verb.LOGOUT:
                rig.initiator.close_session(self.session, rig.now)
            case Verb.CUT:
                if rig.up:
                    event = TransportEvent.FIN if step.size else TransportEvent.RST
                    rig.cut(rig.up[step.place % len(rig.up)], event)
            case Verb.ADD_CONNECTION | Verb.REMOVE_CONNECTION | Verb.BALANCE:
                with suppress(Refused):
                    self._change_connections(step)
            case Verb.WAIT:
                pass
            case _:
                self._ask(self._asked(step))

    def _change_connections(self, step: Step) -> None:
        """Raises Refused."""
        engine, now = self.rig.initiator, self.rig.now
        if step.verb is Verb.ADD_CONNECTION:
            engine.add_connection(self.session, None, now)
        elif step.verb is Verb.REMOVE_CONNECTION:
            engine.remove_connection(self.session, step.place, now)
        else:
            policies = list(LoadBalance)
            paths = [Path(id=cid, active=not cid, weight=cid) for cid in engine.session(self.session).connections]
            engine.set_load_balance(self.session, policies[step.size % len(policies)], paths, now)

    def _asked(self, step: Step) -> Asked:
        """The request of a step."""
        lba, blocks = _extent(step)
        match step.verb:
            case Verb.READ:
                cdb = opcodes.READ_10.build(lba=lba, blocks=blocks)
                request = ScsiRequest(0, cdb, data_in=blocks * BLOCK)
                return Asked(request, lba, blocks, self.disk.begin_read(lba, blocks))
            case Verb.WRITE:
                cdb = opcodes.WRITE_10.build(lba=lba, blocks=blocks)
                generation, data = self.disk.begin_write(lba, blocks)
                return Asked(ScsiRequest(0, cdb, data_out=data), lba, blocks, generation)
            case Verb.INQUIRY:
                return Asked(ScsiRequest(0, opcodes.INQUIRY.build(allocation_length=36), data_in=36, management=True))
            case Verb.FAULTY_COMMAND:
                return Asked(ScsiRequest(0, opcodes.READ_10.build(lba=BLOCKS, blocks=1), data_in=BLOCK))
            case Verb.SEND_TARGETS:
                return Asked(TextNegotiation((("SendTargets", "All"),)))
            case Verb.NEGOTIATE:
                return Asked(TextNegotiation((("MaxRecvDataSegmentLength", str(512 * (1 + step.size))),)))
            case Verb.ABORT_SET:
                return Asked(TaskManagement(TaskFunction.ABORT_TASK_SET))
            case Verb.RESET_LUN:
                return Asked(TaskManagement(TaskFunction.LOGICAL_UNIT_RESET))
            case _:
                return Asked(Ping(bytes(step.size)))

    def _ask(self, asked: Asked) -> None:
        self.asked.append(asked)
        request = asked.request
        request.token = len(self.asked) - 1
        if isinstance(request, ScsiRequest) and request.management:
            said = {"Opcode": int(Opcode.SCSI_COMMAND), "CDB": request.cdb.hex(), "Timeout": None, "Management": True}
            self.tap(SettingsRecord(self.rig.now, {"Request": said}))
        self.rig.initiator.submit(self.session, asked.request, self.rig.now)

    def _take(self) -> None:
        happened = self.rig.happened
        for event in happened:
            if isinstance(event, RequestDone):
                token = event.request.token
                if isinstance(token, int):
                    self._done(self.asked[token])
            elif isinstance(event, EventLogged):
                self.logged.append(event)
            elif isinstance(event, SessionClosed):
                self.closed += 1
        happened.clear()

    def _done(self, asked: Asked) -> None:
        asked.ended += 1
        if asked.ended > 1:
            self.wrong.append(f"a {type(asked.request).__name__} ended twice")
        request = asked.request
        if not isinstance(request, ScsiRequest) or not asked.generation:
            return
        result = request.result
        good = isinstance(result, ScsiResult) and not result.status and not result.response and request.failure is None
        if len(request.data_out):
            self.disk.end_write(asked.lba, asked.blocks, asked.generation, acknowledged=good)
            return
        data = bytes(memoryview(request.data_in)[: result.received]) if good else None
        fault = self.disk.end_read(asked.generation, data)
        if fault:
            self.misread.append(f"a read ended well, and {fault}")


def _extent(step: Step) -> tuple[int, int]:
    lba = step.place % BLOCKS
    return lba, max(1, min(step.size, BLOCKS - lba))


@lru_cache(maxsize=256)
def _snapshot(ground: Ground) -> Snapshot[Play]:
    return Snapshot(Play(ground))


@lru_cache(maxsize=256)
def _healthy(ground: Ground, script: tuple[Step, ...]) -> tuple[bytes, ...]:
    """What the target says where nothing goes wrong."""
    play = fork(ground)
    said: list[bytes] = []
    play.rig.said = said
    play.play(Plan(ground=ground, script=script))
    return tuple(said)


def fork(ground: Ground) -> Play:
    """A pair on this ground, as good as new."""
    return _snapshot(ground).fork()
