"""A long copy between other work: the engine does it step by step, and no step more for nobody."""

from __future__ import annotations

import pytest
from tests.target.engine.conftest import TARGET, Clock, Host

from iscsi_protocol.pdu import ScsiResponse, TaskFunction, TaskManagementResponse
from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.third_party_copy import OWN_UNIT, BlockToBlock, build_copy
from iscsi_target.config import LunConfig, Size, TargetConfig, TargetNode
from iscsi_target.device import open_device
from iscsi_target.engine import TargetEngine, Work

MIB = 1 << 20
HALF = 20 * MIB


class Copying:
    """A host whose copy of the second half of a disk to its first one has begun."""

    def __init__(self):
        node = TargetNode(name=TARGET, luns={0: LunConfig(size=Size(2 * HALF))})
        self.device = open_device(node)
        self.backend = self.device._units[0].backend
        self.backend.write(HALF, b"z" * HALF)
        engine = TargetEngine(TargetConfig(targets=[node]), {TARGET: self.device}, random_bytes=bytes)
        self.engine = engine
        self.host = Host(engine, Clock()).login()
        self.copy = self.begin()
        self.work: Work | None = engine.work_to_do()[0]

    def begin(self):
        segment = BlockToBlock(source=OWN_UNIT, destination=OWN_UNIT, blocks=HALF // 512, source_lba=HALF // 512)
        data = build_copy([], [segment], list_identifier=1)
        cdb = op.EXTENDED_COPY_LID1.build(parameter_list_length=len(data))
        copy = self.host.command(cdb, write=True, expected_data_transfer_length=len(data), data=data)
        self.host.send(copy)
        return copy

    def step(self):
        """Do one step, and tell the engine what came of it."""
        assert self.work is not None
        self.engine.work_done(self.work.token, self.work.run(), 1000.0)
        self.host.collect()
        found = self.engine.work_to_do()
        self.work = found[0] if found else None

    @property
    def copied(self):
        return bytes(self.backend.load(0, HALF)).count(b"z")


@pytest.fixture
def copying():
    made = Copying()
    yield made
    made.device.close()


def test_commands_go_through_between_the_steps(copying):
    for done in (8 * MIB, 16 * MIB):
        copying.step()
        assert copying.copied == done
        assert copying.host.ask(copying.host.command(), ScsiResponse).status == 0
    copying.step()
    assert copying.host.take(ScsiResponse).itt == copying.copy.itt
    assert copying.work is None
    assert copying.copied == HALF


def test_an_aborted_copy_takes_no_further_step(copying):
    copying.step()
    abort = copying.host.function(
        TaskFunction.ABORT_TASK, referenced_task_tag=copying.copy.itt, ref_cmd_sn=copying.copy.cmd_sn
    )
    copying.host.send(abort)
    copying.step()
    assert copying.work is None
    assert copying.copied == 16 * MIB
    assert copying.host.take(TaskManagementResponse).response == 0
    copying.begin()
    (work,) = copying.engine.work_to_do()
    assert not copying.host.inbox
    work.run()


def test_a_copy_ends_with_its_session(copying):
    copying.step()
    copying.host.send(copying.host.logout())
    copying.host.hang_up()
    copying.step()
    assert copying.work is None
    assert copying.copied == 8 * MIB
    assert not copying.engine.core.pending
