"""Commands that write what follows from what they read, beside work that goes on in another thread (SBC-3 4.27, 5.3)."""

from __future__ import annotations

import threading

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.provisioning import build_unmap
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Work

BLOCKS = 8
NEW = b"\x55" * 512 * BLOCKS
A_WHILE = 0.05
"""Seconds that the other thread has to get between; it cannot use them."""


class Meddler:
    """A back end whose next `load` has work begin in another thread, and gives it a while."""

    def __init__(self, backend, work):
        self._backend = backend
        self._thread = threading.Thread(target=work)
        self._begun = False

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def load(self, offset, length):
        data = self._backend.load(offset, length)
        if not self._begun:
            self._begun = True
            self._thread.start()
            self._thread.join(A_WHILE)
        return data

    def end(self):
        assert self._begun
        self._thread.join(10)
        assert not self._thread.is_alive()


def filling():
    return op.WRITE_SAME_16, b"\xaa" * 512, {"blocks": BLOCKS}


def giving_back():
    return op.WRITE_SAME_16, bytes(512), {"blocks": BLOCKS, "unmap": 1}


def unmapping():
    data = build_unmap([(0, BLOCKS)])
    return op.UNMAP, data, {"parameter_list_length": len(data)}


@pytest.mark.parametrize("kind", [filling, giving_back, unmapping])
@pytest.mark.parametrize("command", [op.COMPARE_AND_WRITE, op.OR_WRITE_16], ids=lambda command: command.name)
def test_nothing_is_written_between_reading_and_writing(make_disk, kind, command):
    disk = make_disk("sparse")
    other, sent, fields = kind()
    work = disk.device.execute(disk.nexus, encode_lun(disk.lun), other.build(**fields).ljust(16, b"\0"), sent)
    assert isinstance(work, Work)
    unit = disk.device._units[0]
    meddler = unit.backend = Meddler(unit.backend, work.run)
    data = bytes(len(NEW)) + NEW if command is op.COMPARE_AND_WRITE else NEW
    assert disk.run(command, data, blocks=BLOCKS).status == Status.GOOD
    meddler.end()
    # It was equal, and so it came first: what is there in the end is the other's.
    assert disk.good(op.READ_16, blocks=BLOCKS) == (b"\xaa" if kind is filling else b"\0") * len(NEW)
