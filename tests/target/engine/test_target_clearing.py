"""The clearing effects of RFC 7143 Appendix E, row by row: what an event takes from the objects of a session.

Y: gone, N: as before. Cells that the standard calls not applicable or not defined, or for which a note does so in the scene
at hand, are left out. The scene: a session of two connections, of which number 1 is "the connection in question", each with a
write that waits for data; on number 1 a function that waits, a command behind a missing one, and bytes that are not sent.
"""

from __future__ import annotations

from typing import Any

import pytest

from iscsi_protocol.pdu import NO_TAG, R2T, LoginResponse, LogoutResponse, NopIn, TaskFunction, encode
from iscsi_target.connection import State

LUN0, LUN1 = bytes(8), bytes((0, 1, 0, 0, 0, 0, 0, 0))
OTHER = bytes.fromhex("800000000007")
TARGET_RESETS = {"warm reset": TaskFunction.TARGET_WARM_RESET, "cold reset": TaskFunction.TARGET_COLD_RESET}

RESETS = ("cold reset", "warm reset", "LU reset")

OBJECTS = {
    "IT": "incomplete transfer tags",
    "IC": "immediate commands that wait",
    "CT": "tasks of the connection",
    "ST": "tasks of the session",
    "PP": "partial PDUs",
    "DC": "commands behind a missing one",
    "SS": "StatSN",
    "CS": "CmdSN",
    "DS": "DataSN",
}
"""Discontiguous data is not among them: Data-Out is put in its place as it comes (DD)."""

_EVENTS = ("IT", "IC", "CT", "ST", "PP", "DC", "SS", "CS", "DS")


def row(cells):
    return dict(zip(_EVENTS, cells.split(), strict=True))


EFFECTS = {
    # event: (recovery levels, effects in the order of OBJECTS; "." where there is nothing to say)
    "connection failure": ((0, 1, 2), row("Y Y N N Y N N N N")),
    "connection state time-out": ((0, 1, 2), row(". . Y N . Y Y N .")),
    "session closure": ((0, 1, 2), row("Y Y Y Y Y Y Y Y .")),
    "session reinstatement": ((0, 1, 2), row("Y Y Y Y . Y Y Y .")),
    "session time-out": ((0, 1, 2), row("Y Y Y Y Y Y Y Y .")),
    "session failure": ((0, 1, 2), row("Y Y N N Y N N N N")),
    "session continuation": ((2,), row(". . N N . N . N N")),
    "connection close logout": ((0, 1, 2), row("Y Y Y N Y Y Y N .")),
    "recovery logout": ((2,), row("Y Y N N Y Y Y N N")),
    "failed logout": ((0, 1), row("Y Y N N Y N N N N")),
    "added connection": ((0, 1, 2), row("N N N N N N N N N")),
    "connection reinstatement": ((0, 1), row("Y Y Y N Y Y Y N .")),
    "connection reinstatement at level 2": ((2,), row("Y Y N N Y Y Y N N")),
    "cold reset": ((0, 1, 2), row("Y Y Y Y Y Y Y Y .")),
    "warm reset": ((0, 1, 2), row("Y Y Y Y . Y N N .")),
    "LU reset": ((0, 1, 2), row("Y Y Y Y . . N N .")),
}


class Scene:
    def __init__(self, bench, make_several, level, fast=False):
        self.bench, self.level = bench, level
        pairs = [("ErrorRecoveryLevel", str(level)), ("DefaultTime2Wait", "1"), ("DefaultTime2Retain", "10")]
        if fast:
            pairs.append(("TaskReporting", "FastAbort"))
        self.several = several = make_several(bench, 2, *pairs)
        self.session = several.session
        self.tsih = self.session.tsih
        self.connection = self.session.connections[1]
        self.writes, self.r2ts = [], []
        for place in (0, 1):
            self.writes.append(several.send(place, "write", blocks=2))
            self.r2ts.append(several[place].take(R2T))
            several.acknowledge(place)
        self.task = self.session.tasks[self.writes[1].itt]
        self.r2t_sn, self.stat_sn = self.task.r2t_sn, self.connection.stat_sn
        self.lost = several.make(0, "command")
        self.behind = several.send(1, "command")
        self.function: Any = None
        self.immediate: Any = None

    def command_waits(self):
        """An immediate command on connection 1 that waits for its data."""
        self.immediate = self.several.send(1, "write", blocks=2, immediate=True)
        self.writes.append(self.immediate)
        self.r2ts.append(self.several[1].take(R2T))

    def function_waits(self):
        """An immediate function on connection 1 that waits for the missing command."""
        self.function = self.several.send(1, "function", TaskFunction.ABORT_TASK_SET, lun=LUN1)
        assert len(self.session.functions) == 1

    def bytes_wait(self):
        """A response on connection 1 that has not gone out."""
        host = self.several[1]
        host.cmd_sn = self.several.cmd_sn
        ping = host.nop_out(b"x" * 512, immediate=True)
        self.bench.engine.receive(host.number, ping_bytes(host, ping), self.bench.clock.now)
        assert self.connection.outbox

    # What is left

    @property
    def live(self):
        return self.session.live and self.bench.engine.core.sessions.of_tsih(self.tsih) is self.session

    def cleared(self, what):
        return "Y" if getattr(self, what.lower())() else "N"

    def it(self):
        return not self.live or self.writes[1].itt not in self.session.tasks or not self.task.r2ts

    def ic(self):
        if self.immediate is not None:
            return not self.live or self.immediate.itt not in self.session.tasks
        return not any(each.itt == self.function.itt for each in self.session.functions)

    def ct(self):
        return not self.live or self.session.tasks.get(self.writes[1].itt) is not self.task

    def st(self):
        return not self.live or self.writes[0].itt not in self.session.tasks

    def pp(self):
        return not any(len(bytes(each)) >= 512 for each in self.connection.outbox)

    def dc(self):
        return not self.live or self.session.waiting.get(self.behind.cmd_sn) is None

    def ss(self):
        """A StatSN is cleared with its connection; as long as that is there, it goes on from where it was."""
        there = self.live and self.session.connections.get(1) is self.connection
        assert not there or self.connection.stat_sn >= self.stat_sn
        return not there

    def cs(self):
        return not self.live

    def ds(self):
        return self.ct() or self.task.r2t_sn < self.r2t_sn


def ping_bytes(host, pdu):
    return encode(pdu).with_digests(header=host.digests[0], data=host.digests[1]).to_bytes()


def numbered(scene, place, kind, *args, **fields):
    return scene.several.make(place, kind, *args, **fields)


def logout(scene, place, reason, cid):
    host = scene.several[place]
    request = numbered(scene, place, "logout", reason, immediate=True, exp_stat_sn=scene.stat_sn, cid=cid)
    host.inbox.clear()
    host.send(request)
    found = [pdu for pdu in host.inbox if isinstance(pdu, LogoutResponse)]
    return found[0].response if found else None


def hang_up(scene, *places):
    for place in places:
        scene.several[place].hang_up()


def login(scene, cid, tsih):
    host = scene.bench.host(cid=cid)
    host.tsih, host.cmd_sn = tsih, scene.several.cmd_sn
    response = host.ask(host.login_request(host.names()), LoginResponse)
    assert response.status == 0, f"{response.status:#06x}"


def close_session(scene):
    assert logout(scene, 0, 0, 0) == 0


def state_time_out(scene):
    hang_up(scene, 1)
    scene.bench.pass_time(13)


def session_time_out(scene):
    hang_up(scene, 0, 1)
    scene.bench.pass_time(13)


def continuation(scene):
    hang_up(scene, 0, 1)
    login(scene, 0, scene.tsih)


def reset(function):
    def do(scene):
        several = scene.several
        several.send(0, "function", function, lun=LUN0)
        for place, r2t in zip((0, 1, 1), scene.r2ts, strict=False):
            host = several[place]
            host.cmd_sn = several.cmd_sn
            host.send(host.data_out(r2t, bytes(1024)))
        if function == TaskFunction.LOGICAL_UNIT_RESET:
            # It waits for the missing command, so that none behind it is discarded (DC).
            assert scene.cleared("DC") == "N"
            several[0].send(scene.lost)
        several.collect()
        for place in (0, 1):
            if scene.live:
                several.acknowledge(place)

    return do


EVENTS = {
    "connection failure": lambda scene: hang_up(scene, 1),
    "connection state time-out": state_time_out,
    "session closure": close_session,
    "session reinstatement": lambda scene: login(scene, 0, 0),
    "session time-out": session_time_out,
    "session failure": lambda scene: hang_up(scene, 0, 1),
    "session continuation": continuation,
    "connection close logout": lambda scene: logout(scene, 0, 1, 1),
    "recovery logout": lambda scene: logout(scene, 0, 2, 1),
    "failed logout": lambda scene: logout(scene, 0, 2, 1),
    "added connection": lambda scene: login(scene, 2, scene.tsih),
    "connection reinstatement": lambda scene: login(scene, 1, scene.tsih),
    "connection reinstatement at level 2": lambda scene: login(scene, 1, scene.tsih),
    "cold reset": reset(TaskFunction.TARGET_COLD_RESET),
    "warm reset": reset(TaskFunction.TARGET_WARM_RESET),
    "LU reset": reset(TaskFunction.LOGICAL_UNIT_RESET),
}

CELLS = [
    pytest.param(event, level, what, effect, id=f"{event} at {level}-{what}")
    for event, (levels, effects) in EFFECTS.items()
    for level in levels
    for what, effect in effects.items()
    if effect != "."
]


def test_every_row_has_its_event():
    assert list(EFFECTS) == list(EVENTS)
    assert tuple(OBJECTS) == _EVENTS


@pytest.mark.parametrize(("event", "level", "what", "effect"), CELLS)
def test_clearing_effect(bench, make_several, event, level, what, effect):
    scene = Scene(bench, make_several, level)
    if what == "IC":
        if event in RESETS:
            scene.command_waits()
        else:
            scene.function_waits()
    if what == "PP":
        scene.bytes_wait()
    assert scene.cleared(what) == "N"
    EVENTS[event](scene)
    assert scene.cleared(what) == effect


@pytest.mark.parametrize("function", [TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET])
def test_under_fast_abort_resets_leave_transfer_tags_valid(bench, make_several, function):
    """Note 20: the tags of terminated tasks are taken back later, and data for them is no error until then."""
    scene = Scene(bench, make_several, 0, fast=True)
    several = scene.several
    several[0].send(scene.lost)
    several.send(0, "function", function, lun=LUN0)
    assert scene.ct()
    several[1].inbox.clear()
    several[1].cmd_sn = several.cmd_sn
    several[1].send(several[1].data_out(scene.r2ts[1], bytes(1024)))
    assert not [pdu for pdu in several[1].inbox if not isinstance(pdu, NopIn)]


@pytest.mark.parametrize("name", TARGET_RESETS)
def test_target_resets_affect_every_initiator(bench, make_several, name):
    """Note 16."""
    scene = Scene(bench, make_several, 0)
    third = bench.session(isid=OTHER)
    third.ask(third.write(blocks=2), R2T)
    EVENTS[name](scene)
    left = [session for session in bench.engine.sessions if session.tsih == third.tsih]
    if name == "cold reset":
        assert left == []
    else:
        assert left[0].tasks == {}


def test_partial_pdus_of_a_lost_connection_are_dropped_in_both_directions(bench, make_several):
    scene = Scene(bench, make_several, 2)
    host = scene.several[1]
    half = ping_bytes(host, host.nop_out(b"never to be whole", itt=NO_TAG - 1))[:50]
    bench.engine.receive(host.number, half, bench.clock.now)
    before = scene.connection.framer
    host.hang_up()
    assert scene.connection.framer is not before
    assert scene.connection.state is State.CLEANUP_WAIT


@pytest.mark.parametrize("lost", [True, False])
def test_only_the_loss_of_the_nexus_reaches_scsi(bench, make_several, lost):
    """Appendix E.2."""
    scene = Scene(bench, make_several, 0)
    if lost:
        session_time_out(scene)
    else:
        state_time_out(scene)
    assert (("lost", scene.tsih) in bench.device.log) is lost
