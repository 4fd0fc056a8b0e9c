"""A device server with one nexus in front of it, driven by command rows, with slow work done on the spot."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.sense import Sense, parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Completion, FileSlice, Work
from iscsi_target.config import LunConfig, Size, TargetNode
from iscsi_target.device import open_device
from iscsi_target.nexus import Nexus

TARGET = "iqn.2026-11.org.example:disk"
NEXUS = Nexus(
    initiator_name="iqn.2026-11.org.example:one", isid=bytes.fromhex("800000000001"), tsih=1, target_portal_group_tag=1
)
OTHER = replace(NEXUS, initiator_name="iqn.2026-11.org.example:two", tsih=2)


def content(completion: Completion) -> bytes:
    """The bytes that go to the initiator."""
    whole = completion.data
    pieces = whole if isinstance(whole, tuple) and not isinstance(whole, FileSlice) else (whole,)
    data = b"".join(
        os.pread(piece.fd, piece.length, piece.offset) if isinstance(piece, FileSlice) else bytes(piece)
        for piece in pieces
    )
    assert len(data) == completion.length
    return data


class Disk:
    """A target node with LUN 0 (or `luns`), addressed as `lun` by `nexus` unless a call says otherwise."""

    def __init__(self, luns, node, store=None):
        self.device = open_device(TargetNode(name=TARGET, luns=luns, **node), store)
        self.device.nexus_made(NEXUS)
        self.nexus, self.other, self.lun = NEXUS, OTHER, 0
        self.block_size = luns[0].block_size if 0 in luns else 512

    def raw(self, cdb, data_out=b"", *, nexus=None, lun=None) -> Completion:
        """Carry out CDB bytes, work included."""
        structure = encode_lun(self.lun if lun is None else lun)
        answer = self.device.execute(nexus or self.nexus, structure, cdb, data_out)
        while isinstance(answer, Work):
            answer = answer.run()
        assert (answer.status == Status.CHECK_CONDITION) == bool(answer.sense)
        return answer

    def run(self, command: Command, data_out=b"", *, nexus=None, lun=None, **fields) -> Completion:
        """Carry out a command of the table, its CDB padded as it travels in a PDU."""
        return self.raw(command.build(**fields).ljust(16, b"\0"), data_out, nexus=nexus, lun=lun)

    def good(self, command: Command, data_out=b"", **fields) -> bytes:
        """The data of a command that has to end with GOOD."""
        answer = self.run(command, data_out, **fields)
        assert answer.status == Status.GOOD, str(parse_sense(answer.sense))
        return content(answer)

    def sense(self, command: Command, data_out=b"", **fields) -> Sense:
        """The sense data of a command that has to end with CHECK CONDITION."""
        answer = self.run(command, data_out, **fields)
        assert answer.status == Status.CHECK_CONDITION
        assert answer.length == 0
        sense = parse_sense(answer.sense)
        assert sense is not None
        return sense

    def refusal(self, command: Command, data_out=b"", **fields) -> tuple[int, int]:
        """(sense key, additional sense code) of such a command."""
        sense = self.sense(command, data_out, **fields)
        return sense.key, sense.code


@pytest.fixture
def make_disk(tmp_path):
    """make_disk(backend=, blocks=, block_size=, luns=, node={...}, store=, **lun settings) -> Disk, closed at the end."""
    made: list[Disk] = []

    def make(backend="memory", blocks=256, block_size=512, luns=None, node=None, store=None, **settings):
        if luns is None:
            path = None if backend == "memory" else str(tmp_path / f"{len(made)}.img")
            size = Size(blocks * block_size)
            luns = {0: LunConfig(backend=backend, path=path, size=size, block_size=block_size, **settings)}
        disk = Disk(luns, node or {}, store)
        made.append(disk)
        return disk

    yield make
    for disk in made:
        disk.device.close()


@pytest.fixture
def disk(make_disk):
    """A memory disk of 256 blocks of 512 bytes."""
    return make_disk()
