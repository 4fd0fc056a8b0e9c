"""What a crash of the machine may leave behind: every state that the barriers allow keeps every write that was promised.

A shim under the back end records pwrite, hole punching and fdatasync in their order while a random workload runs through
the real engine and device, with slow work done late and out of order, and commands that come while fdatasync goes on. At
every point of that history the states that a crash may leave are rebuilt: what an fdatasync that has ended covers is there,
of the rest any blocks may be and any may not.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from tests.target.engine.conftest import TARGET, Clock, Host

from iscsi_protocol.pdu import ScsiResponse
from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.provisioning import build_unmap
from iscsi_protocol.scsi.third_party_copy import OWN_UNIT, BlockToBlock, ListIdUsage, build_copy
from iscsi_target.config import LunConfig, Size, TargetConfig, TargetNode
from iscsi_target.device import open_device
from iscsi_target.device.answer import GOOD
from iscsi_target.engine import TargetEngine
from iscsi_target.luns import file
from iscsi_target.luns.file import FileLun

BLOCK = 512
BLOCKS = 16
STEPS = 60
SUBSETS = 6
"""Up to this many block writes that are not stable, every subset of them is tried."""


class Lost(AssertionError):
    """A promised write is missing in a state that a crash may leave."""


class Shim:
    """Stands for the module `os` in the back end. journal: ("write", block, content), ("begin",), ("end",), ("sent", tag) and
    ("done", tag), in order. skip: the fdatasync (counted from 0) that is left out.
    """

    def __init__(self, skip=None):
        self.journal = []
        self.skip = skip
        self.count = 0
        self.moved = {}
        self.meanwhile = lambda: None

    def __getattr__(self, name):
        return getattr(os, name)

    def pwrite(self, fd, data, offset):
        count = os.pwrite(fd, data, offset)
        self._wrote(offset, bytes(data[:count]))
        return count

    def punch_hole(self, fd, offset, length):
        os.pwrite(fd, bytes(length), offset)
        self._wrote(offset, bytes(length))
        return True

    def fdatasync(self, fd):
        number, self.count = self.count, self.count + 1
        if number == self.skip:
            return
        self.journal.append(("begin",))
        self.meanwhile()
        self.journal.append(("end",))

    def _wrote(self, offset, data):
        assert offset % BLOCK == len(data) % BLOCK == 0
        for at in range(0, len(data), BLOCK):
            block, content = (offset + at) // BLOCK, data[at : at + BLOCK]
            self.moved[block] = content
            self.journal.append(("write", block, content))


class Workload:
    """A host that does at random what a disk's user does.

    effects: tag to the blocks that its command writes, with their new content (of a copy: as the shim sees it moved).
    stable: tags whose GOOD promises stability. syncs: tags of SYNCHRONIZE CACHE.
    """

    def __init__(self, engine, shim, seed, *, write_cache):
        self.random = Random(seed)
        self.engine, self.shim, self.write_cache = engine, shim, write_cache
        self.host = Host(engine, Clock()).login()
        self.pending = []
        self.effects, self.stable, self.syncs = {}, set(), set()
        self.version = 0

    def content(self):
        self.version += 1
        return self.version.to_bytes(8, "big") * (BLOCK // 8)

    def send(self, cdb, data=b"", effects=None, *, stable=False, sync=False):
        """Give a command to the engine, whose quick part is carried out at once."""
        command = self.host.command(
            cdb.ljust(16, b"\0"), write=bool(data), expected_data_transfer_length=len(data), data=data
        )
        self.effects[command.itt] = {} if effects is None else effects
        if stable or not self.write_cache:
            self.stable.add(command.itt)
        if sync:
            self.syncs.add(command.itt)
        self.shim.journal.append(("sent", command.itt))
        self.host.send(command)
        self.pending += self.engine.work_to_do()
        self.acknowledged()

    def acknowledged(self):
        self.host.collect()
        while self.host.inbox:
            answer = self.host.take(ScsiResponse)
            assert answer.status == 0, answer
            self.shim.journal.append(("done", answer.itt))

    def work(self):
        """Do one piece of slow work, any of them."""
        if self.pending:
            each = self.pending.pop(self.random.randrange(len(self.pending)))
            task = self.engine.core.pending[each.token].task
            if task.cdb[0] == op.EXTENDED_COPY_LID1.opcode:
                self.shim.moved = self.effects[task.itt]
            result = each.run()
            self.shim.moved = {}
            self.engine.work_done(each.token, result, 1000.0)
            self.pending += self.engine.work_to_do()
            self.acknowledged()

    def command(self):
        blocks = self.random.randint(1, 4)
        lba = self.random.randrange(BLOCKS - blocks + 1)
        new = [self.content() for _ in range(blocks)]
        effects = dict(zip(range(lba, lba + blocks), new, strict=True))
        place = {"lba": lba, "blocks": blocks}
        match self.random.choice(("write", "write", "fua", "verify", "same", "unmap", "sync", "zeros", "copy")):
            case "write":
                self.send(op.WRITE_16.build(**place), b"".join(new), effects)
            case "fua":
                self.send(op.WRITE_10.build(fua=1, **place), b"".join(new), effects, stable=True)
            case "verify":
                self.send(op.WRITE_AND_VERIFY_10.build(**place), b"".join(new), effects, stable=True)
            case "same":
                self.send(op.WRITE_SAME_10.build(**place), new[0], dict.fromkeys(effects, new[0]))
            case "zeros":
                self.send(op.WRITE_SAME_16.build(unmap=1, **place), bytes(BLOCK), dict.fromkeys(effects, bytes(BLOCK)))
            case "unmap":
                data = build_unmap([(lba, blocks)])
                cdb = op.UNMAP.build(parameter_list_length=len(data))
                self.send(cdb, data, dict.fromkeys(effects, bytes(BLOCK)))
            case "copy":
                segment = BlockToBlock(
                    source=OWN_UNIT,
                    destination=OWN_UNIT,
                    blocks=blocks,
                    source_lba=self.random.randrange(BLOCKS - blocks + 1),
                    destination_lba=lba,
                )
                data = build_copy([], [segment], list_id_usage=ListIdUsage.NONE)
                self.send(op.EXTENDED_COPY_LID1.build(parameter_list_length=len(data)), data)
            case "sync":
                self.send(op.SYNCHRONIZE_CACHE_10.build(), sync=True)

    def quickly(self):
        """What comes in while a worker waits for fdatasync."""
        moved, self.shim.moved = self.shim.moved, {}
        if self.random.random() < 0.5:
            self.command()
        self.shim.moved = moved

    def run(self):
        self.shim.meanwhile = self.quickly
        for _ in range(STEPS):
            if self.random.random() < 0.6:
                self.command()
            else:
                self.work()
        while self.pending:
            self.work()


def history(monkeypatch, tmp_path, seed, *, write_cache=True, skip=None):
    """(workload, journal) of a random run on a sparse file."""
    shim = Shim(skip)
    path = tmp_path / f"{seed}-{skip}.img"
    lun = LunConfig(backend="sparse", path=str(path), size=Size(BLOCK * BLOCKS), write_cache=write_cache)
    node = TargetNode(name=TARGET, luns={0: lun})
    with monkeypatch.context() as patch:
        device = open_device(node)
        patch.setattr("iscsi_target.luns.file.os", shim)
        patch.setattr("iscsi_target.luns.sparse.punch_hole", shim.punch_hole)
        engine = TargetEngine(TargetConfig(targets=[node]), {TARGET: device}, random_bytes=bytes)
        workload = Workload(engine, shim, seed, write_cache=write_cache)
        workload.run()
        device.close()
    final = path.read_bytes()
    contents = {block: content for kind, *rest in shim.journal if kind == "write" for block, content in [rest]}
    assert all(final[block * BLOCK : (block + 1) * BLOCK] == content for block, content in contents.items())
    return workload, shim.journal


def crash_states(base, unstable, random):
    """The states (block to content) that a crash may leave: the base, with some of the block writes that are not stable."""
    count = len(unstable)
    if count <= SUBSETS:
        chosen = [[each for bit, each in enumerate(unstable) if mask >> bit & 1] for mask in range(1 << count)]
    else:
        chosen = [unstable[:end] for end in range(count + 1)]
        chosen += [[each] for each in unstable]
        chosen += [unstable[:place] + unstable[place + 1 :] for place in range(count)]
        chosen += [[each for each in unstable if random.random() < 0.5] for _ in range(16)]
    for writes in chosen:
        yield {**base, **dict(writes)}


class Promises:
    """What a user may rely on at a point of the history: for each block the contents that it may have."""

    def __init__(self, workload):
        self.workload = workload
        self.allowed = {block: [bytes(BLOCK)] for block in range(BLOCKS)}
        self.done = []
        self.covered = {}

    def wrote(self, block, content):
        self.allowed[block].append(content)

    def sent(self, tag):
        if tag in self.workload.syncs:
            self.covered[tag] = list(self.done)

    def answered(self, tag):
        if tag in self.workload.stable:
            self._promise(tag)
        for each in self.covered.get(tag, ()):
            self._promise(each)
        self.done.append(tag)

    def _promise(self, tag):
        """Nothing older than what this command wrote may be found."""
        for block, content in self.workload.effects[tag].items():
            places = [place for place, each in enumerate(self.allowed[block]) if each == content]
            if places:
                self.allowed[block] = self.allowed[block][places[0] :]

    def check(self, state):
        for block, content in state.items():
            if content not in self.allowed[block]:
                raise Lost(f"block {block} holds {content[:8].hex()}")


def check_history(workload, journal):
    """Rebuild the crash states at every point and hold them against the promises. How many there were; raises Lost."""
    random = Random(1)
    promises = Promises(workload)
    base = {block: bytes(BLOCK) for block in range(BLOCKS)}
    unstable = []
    begun = 0
    states = 0
    for kind, *rest in journal:
        if kind == "write":
            unstable.append(tuple(rest))
            promises.wrote(*rest)
        elif kind == "begin":
            begun = len(unstable)
        elif kind == "end":
            base.update(unstable[:begun])
            unstable = unstable[begun:]
        elif kind == "sent":
            promises.sent(*rest)
        else:
            promises.answered(*rest)
        for state in crash_states(base, unstable, random):
            promises.check(state)
            states += 1
    return states


@pytest.mark.parametrize("write_cache", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_no_crash_loses_what_was_promised(monkeypatch, tmp_path, seed, write_cache):
    workload, journal = history(monkeypatch, tmp_path, seed, write_cache=write_cache)
    assert check_history(workload, journal) > len(journal)
    assert {kind for kind, *_ in journal} == {"write", "begin", "end", "sent", "done"}


@pytest.mark.parametrize("write_cache", [True, False])
def test_a_flush_that_is_left_out_is_noticed(monkeypatch, tmp_path, write_cache):
    """Not every flush has something to do that no other one does."""
    _, journal = history(monkeypatch, tmp_path, 5, write_cache=write_cache)
    skipped = range(0, journal.count(("begin",)), 5)
    noticed = 0
    for skip in skipped:
        try:
            check_history(*history(monkeypatch, tmp_path, 5, write_cache=write_cache, skip=skip))
        except Lost:
            noticed += 1
    assert noticed >= len(skipped) // 4 > 0


def check_seeds(monkeypatch, tmp_path):
    for seed in range(4):
        check_history(*history(monkeypatch, tmp_path, seed))


def flush_too_early(self):
    """Takes the end of an fdatasync that began before the write for one that covers it."""
    wanted = self._begun
    with self._flushing:
        if not wanted or self._flushed < wanted:
            self._begun += 1
            vars(file)["os"].fdatasync(self._fd)
            self._flushed = self._begun


@pytest.mark.parametrize("flush", [lambda self: None, flush_too_early])
def test_a_flush_that_does_too_little_is_noticed(monkeypatch, tmp_path, flush):
    monkeypatch.setattr(FileLun, "flush", flush)
    with pytest.raises(Lost):
        check_seeds(monkeypatch, tmp_path)


@pytest.mark.parametrize("name", ["device.cache", "device.verify", "device.read_write"])
def test_an_answer_without_a_flush_is_noticed(monkeypatch, tmp_path, name):
    monkeypatch.setattr(f"iscsi_target.{name}.flushed", lambda unit: GOOD)
    with pytest.raises(Lost):
        check_seeds(monkeypatch, tmp_path)
