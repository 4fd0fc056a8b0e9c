"""Whatever of the target's PDUs is lost, SNACKs bring it again: data is right and nothing is done twice (RFC 7143 7.1.4)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import NO_TAG, R2T, DataIn, NopIn, Reject, ScsiResponse, SnackRequest, SnackType
from iscsi_target.config import Limits, Size

KEYS = {"ErrorRecoveryLevel": "2"}
LUN0 = bytes(8)
BLOCKS = 128


class Forgetful:
    """An initiator on a line that loses what it is told to lose, and that takes responses out of order."""

    def __init__(self, host, lose):
        self.host = host
        self.lose = lose
        self.first = host.exp_stat_sn
        self.stat_sns = set()
        self.tasks = {}

    def send(self, pdu):
        self.host.send(pdu)
        self.take()

    def take(self):
        while True:
            answers = list(self.host.inbox)
            self.host.inbox.clear()
            for pdu in answers:
                if not self.lose():
                    self.have(pdu)
            self.host.exp_stat_sn = self.acknowledged()
            if not self.host.inbox:
                return

    def acknowledged(self):
        """ExpStatSN: nothing behind a response that is missing, nor behind a command whose data is (7.9)."""
        held = {task["status"].stat_sn for task in self.tasks.values() if task["status"] and not whole(task)}
        stat_sn = self.first
        while stat_sn in self.stat_sns and stat_sn not in held:
            stat_sn += 1
        return stat_sn

    def have(self, pdu):
        assert not isinstance(pdu, Reject)
        status = isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present)
        if status or (isinstance(pdu, NopIn) and pdu.itt != NO_TAG):
            self.stat_sns.add(pdu.stat_sn)
        task = self.tasks.get(getattr(pdu, "itt", None))
        if task is None:
            return
        if isinstance(pdu, DataIn):
            again = pdu.data_sn in task["data"]
            task["data"][pdu.data_sn] = pdu
            if pdu.acknowledge and not again and all(sn in task["data"] for sn in range(pdu.data_sn + 1)):
                self.host.send(
                    SnackRequest(
                        snack_type=SnackType.DATA_ACK,
                        exp_stat_sn=self.acknowledged(),
                        ttt=pdu.ttt,
                        lun=pdu.lun,
                        beg_run=pdu.data_sn + 1,
                    )
                )
        elif isinstance(pdu, R2T) and pdu.r2t_sn not in task["r2ts"]:
            task["r2ts"].add(pdu.r2t_sn)
            end = pdu.buffer_offset + pdu.desired_data_transfer_length
            self.host.exp_stat_sn = self.acknowledged()
            self.host.send(self.host.data_out(pdu, task["content"][pdu.buffer_offset : end]))
        if status:
            assert pdu.status == 0
            task["status"] = pdu

    def recover(self):
        for task in self.tasks.values():
            if task["status"] is None or not whole(task):
                self.send(SnackRequest(itt=task["itt"], exp_stat_sn=self.acknowledged()))
        self.send(SnackRequest(snack_type=SnackType.STATUS, exp_stat_sn=self.acknowledged()))


def whole(task):
    status, data = task["status"], task["data"]
    if status is None or task["content"] is not None:
        return status is not None
    count = status.exp_data_sn if isinstance(status, ScsiResponse) else status.data_sn + 1
    return all(sn in data for sn in range(count))


@given(data=st.data())
def test_what_is_lost_is_made_good(make_bench, data):
    bench = make_bench(keys=KEYS, limits=Limits(retained_bytes=Size(16384), retained_responses=4))
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    model = bytearray(chance.randbytes(BLOCKS * 512))
    bench.device.memory[LUN0][: BLOCKS * 512] = model
    host = bench.session(
        ("ErrorRecoveryLevel", "1"),
        ("MaxRecvDataSegmentLength", data.draw(st.sampled_from(["512", "1000", "4096"]))),
        ("MaxBurstLength", data.draw(st.sampled_from(["2048", "8192"]))),
        ("FirstBurstLength", "512"),
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
        ("DataSequenceInOrder", data.draw(st.sampled_from(["Yes", "No"]))),
        ("MaxOutstandingR2T", "3"),
    )
    loss = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
    initiator = Forgetful(host, lambda: chance.random() < loss)
    expected = {}
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, BLOCKS - 1))
        count = data.draw(st.integers(1, min(24, BLOCKS - start)))
        if data.draw(st.booleans()):
            command, content = host.read(start, count), None
        else:
            command, content = host.write(start, count), chance.randbytes(count * 512)
        task = {"itt": command.itt, "content": content, "data": {}, "r2ts": set(), "status": None}
        initiator.tasks[command.itt] = task
        initiator.send(command)
        for _ in range(100):
            if task["status"] is not None and whole(task):
                break
            initiator.recover()
        span = slice(start * 512, (start + count) * 512)
        if content is None:
            expected[command.itt] = bytes(model[span])
        else:
            model[span] = content
    for itt, content in expected.items():
        assert b"".join(bytes(pdu.data) for _, pdu in sorted(initiator.tasks[itt]["data"].items())) == content
    assert bytes(bench.device.memory[LUN0][: BLOCKS * 512]) == model
    assert len(bench.device.log) == 1 + len(initiator.tasks)
    host.exp_stat_sn = initiator.acknowledged()
    host.acknowledge()
    assert bench.engine.core.connections[host.number].retained.held == 0
