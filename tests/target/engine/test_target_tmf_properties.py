"""Functions among random work: two sessions of several connections, every TaskReporting, acknowledgements that come when they
come, data that comes or does not, connections that go away.

Whatever happens, each function on a connection that stays is answered once; at that moment everything that the session was
told before is acknowledged; and no task that the function covered is answered behind it.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    NopIn,
    NopOut,
    ScsiResponse,
    TaskAttribute,
    TaskFunction,
    TaskManagementResponse,
)

OTHER = bytes.fromhex("800000000007")
LUNS = [bytes((0, lun, 0, 0, 0, 0, 0, 0)) for lun in (0, 1)]
SLOW = b"\x35" + bytes(15)
FUNCTIONS = [
    TaskFunction.ABORT_TASK_SET,
    TaskFunction.CLEAR_TASK_SET,
    TaskFunction.LOGICAL_UNIT_RESET,
    TaskFunction.TARGET_WARM_RESET,
]
PATIENCE = 1030
"""The time at which nobody waits for lost connections any more."""

LEVELS = [(), (("ErrorRecoveryLevel", "0"),), (("ErrorRecoveryLevel", "2"),)]
REPORTING = ["RFC3720", "ResponseFence", "FastAbort"]
ATTRIBUTES = [TaskAttribute.SIMPLE, TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE]


class Party:
    """An initiator with one session: what it asked, on which connection, and what it was told."""

    def __init__(self, bench, several):
        self.bench, self.several = bench, several
        self.up = set(range(len(several.hosts)))
        self.commands, self.functions = {}, {}
        self.answered, self.r2ts, self.pings, self.messages = {}, [], [], []
        self.unheard = dict.fromkeys(self.up, 0)

    def command(self, place, kind, lun, attribute):
        fields = {"lun": lun, "attribute": attribute, "exp_stat_sn": self.stale(place)}
        if kind == "write":
            pdu = self.several.send(place, "write", blocks=2, **fields)
        else:
            pdu = self.several.send(place, "command", SLOW if kind == "slow" else bytes(16), **fields)
        self.commands[pdu.itt] = (pdu.cmd_sn, lun, place)
        self.look()

    def function(self, place, function, lun):
        host = self.several[place]
        pdu = self.several.make(place, "function", function, lun=lun, exp_stat_sn=self.stale(place))
        self.functions[pdu.itt] = (function, lun, pdu.cmd_sn, place)
        host.send(pdu)
        self.several.collect()
        self.look()

    def stale(self, place):
        """Nothing is acknowledged by the way."""
        return self.unheard[place] or self.several[place].exp_stat_sn

    def look(self):
        for place in sorted(self.up):
            host = self.several[place]
            while host.inbox:
                pdu = host.inbox.popleft()
                if isinstance(pdu, R2T):
                    self.r2ts.append((place, pdu))
                elif isinstance(pdu, NopIn) and pdu.ttt != NO_TAG:
                    self.pings.append((place, pdu))
                elif isinstance(pdu, AsyncMessage) and pdu.async_event == 5:
                    self.messages.append((place, pdu))
                elif isinstance(pdu, TaskManagementResponse):
                    self.concluded(pdu)
                elif isinstance(pdu, (ScsiResponse, DataIn)):
                    self.told(pdu)
                if isinstance(pdu, (ScsiResponse, DataIn, TaskManagementResponse)) and not self.unheard[place]:
                    self.unheard[place] = pdu.stat_sn

    def told(self, pdu):
        assert pdu.itt not in self.answered
        cmd_sn, lun, _ = self.commands[pdu.itt]
        for itt, (function, at, before, _) in self.functions.items():
            covered = (cmd_sn - before) & 0x80000000 and function in FUNCTIONS
            if itt in self.answered and covered and (lun == at or function == TaskFunction.TARGET_WARM_RESET):
                raise AssertionError(f"{pdu} behind {function}")
        self.answered[pdu.itt] = pdu.status

    def concluded(self, pdu):
        assert pdu.itt not in self.answered
        assert pdu.response == 0
        place = self.functions[pdu.itt][3]
        # Without fences, later responses go out at once behind this one, and may be looked at before it.
        fenced = self.several.session.parameters.response_fence
        for other in self.up - {place} if fenced else ():
            assert not self.unheard[other], "answered before all was acknowledged"
        self.answered[pdu.itt] = 0

    def acknowledge(self, place):
        self.unheard[place] = 0
        host = self.several[place]
        numbers = {"cmd_sn": self.several.cmd_sn, "exp_stat_sn": host.exp_stat_sn}
        pings = [pdu for at, pdu in self.pings if at == place]
        messages = [pdu for at, pdu in self.messages if at == place]
        self.pings = [each for each in self.pings if each[0] != place]
        self.messages = [each for each in self.messages if each[0] != place]
        host.send(
            NopOut(immediate=True, **numbers),
            *[NopOut(immediate=True, ttt=each.ttt, lun=each.lun, **numbers) for each in pings],
            *[NopOut(immediate=True, lun=each.lun, **numbers) for each in messages],
        )
        self.several.collect()
        self.look()

    def give(self):
        place, r2t = self.r2ts.pop(0)
        if place in self.up:
            host = self.several[place]
            host.send(host.data_out(r2t, bytes(1024), exp_stat_sn=self.stale(place)))
            self.several.collect()
            self.look()

    def hang_up(self, place):
        self.look()
        self.up.discard(place)
        self.unheard[place] = 0
        self.pings = [each for each in self.pings if each[0] != place]
        self.messages = [each for each in self.messages if each[0] != place]
        self.several[place].hang_up()
        self.several[place].inbox.clear()
        self.several.collect()
        self.look()

    def end(self):
        """Do whatever is open; whether there was anything."""
        busy = bool(self.r2ts or self.pings or self.messages or any(self.unheard.values()))
        while self.r2ts:
            self.give()
        for place in sorted(self.up):
            if self.unheard[place] or busy:
                self.acknowledge(place)
        return busy


def workload(bench, make_several, choose):
    """Random work, and everything that has to hold at its end. choose: an element of a list."""
    parties = [
        Party(
            bench,
            make_several(bench, choose([1, 2, 3]), ("TaskReporting", choose(REPORTING)), *choose(LEVELS), **fields),
        )
        for fields in ({}, {"isid": OTHER})
    ]
    for party in parties:
        for place in sorted(party.up):
            party.acknowledge(place)
    for _ in range(choose(range(1, 20))):
        step(bench, choose(parties), choose)
        for each in parties:
            each.several.collect()
            each.look()
    for _ in range(30):
        working = bench.engine.work_to_do()
        for each in working:
            bench.engine.work_done(each.token, each.run(), bench.clock.now)
        for party in parties:
            party.several.collect()
            party.look()
        busy = [party.end() for party in parties]
        if True in busy or working:
            continue
        if bench.clock.now > PATIENCE:
            break
        bench.pass_time(31)  # the connections that are gone, and what they held up
    for party in parties:
        check(party)


def step(bench, party, choose):
    place, lun = choose(sorted(party.up)), choose(LUNS)
    what = choose(["command", "command", "function", "give", "work", "acknowledge", "hang up"])
    if what == "command":
        party.command(place, choose(["quick", "slow", "write"]), lun, choose(ATTRIBUTES))
    elif what == "function":
        party.function(place, choose(FUNCTIONS), lun)
    elif what == "give" and party.r2ts:
        party.give()
    elif what == "work":
        bench.work()
    elif what == "acknowledge":
        party.acknowledge(place)
    elif what == "hang up" and len(party.up) > 1:
        party.hang_up(place)


def check(party):
    for itt, (_, _, _, place) in party.functions.items():
        assert (itt in party.answered) or place not in party.up
    session = party.several.session
    assert session.functions == []
    assert session.fence is None or session.fence.armed
    assert not session.draining
    assert not any(task.connection.up for task in session.tasks.values())
    assert session.terminations == []


@given(random=st.randoms())
def test_functions_among_random_work(make_bench, make_several, random):
    workload(make_bench(), make_several, random.choice)
