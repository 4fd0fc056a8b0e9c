"""What a crash may leave of a store: it opens in every state that the disk allows, with each change there or not there.

A shim under the store records every write, fsync, rename and what else changes the disk, while changes are put and secrets
sealed. At every point of that history the states that a crash of the machine may leave are rebuilt. What was synchronised
is there; of names that changed since, any may be there; of content that was not synchronised nothing, zeros, the first half
or all of it. A change that was promised has to be there, one that was not may be; and what is sealed opens.
"""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from iscsi_initiator.store import State, Store, StoreError, files
from iscsi_initiator.store.state import Secrets

NAME = "iqn.2026-01.org.example:disk"


class Shim:
    """Stands for the module `os` in `files`. journal: what changed the disk, in order; files are known by their inodes.

    skip: the fsync (counted from 0) that is left out; fail: the call (counted from 0) that raises OSError.
    """

    def __init__(self, *, skip=None, fail=None):
        self.journal = []
        self.calls = 0
        self.fail = fail
        self.skip = skip
        self.synchronised = 0
        self.open_files = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def _call(self):
        number, self.calls = self.calls, self.calls + 1
        if number == self.fail:
            raise OSError(errno.EIO, "failed on purpose")

    def open(self, path, flags, mode=0o777):
        self._call()
        fd = os.open(path, flags, mode)
        inode: object = os.fstat(fd).st_ino
        if flags & os.O_CREAT and flags & os.O_EXCL:
            inode = ("made", len(self.journal))
            self.journal.append(("link", str(path), inode))
        self.open_files[fd] = inode if not flags & os.O_DIRECTORY else str(path)
        return fd

    def write(self, fd, data):
        self._call()
        data = bytes(data[: max(1, len(data) // 2)])
        self.journal.append(("write", self.open_files[fd], data))
        return os.write(fd, data)

    def fsync(self, fd):
        self._call()
        number, self.synchronised = self.synchronised, self.synchronised + 1
        if number != self.skip:
            self.journal.append(("fsync", self.open_files[fd]))

    def rename(self, old, new):
        self._call()
        Path(old).rename(new)
        self.journal.append(("rename", str(old), str(new)))

    def unlink(self, path):
        self._call()
        Path(path).unlink()
        self.journal.append(("unlink", str(path)))

    def mkdir(self, path, mode):
        self._call()
        Path(path).mkdir(mode)
        self.journal.append(("mkdir", str(path)))


class Disk:
    """What a journal up to some point says of the disk: what is stable, and what may be."""

    def __init__(self, root):
        self.root = str(root)
        self.names = {}
        """Path to inode, or None for a folder; as far as it is stable."""
        self.pending = []
        """Changes of names since, in order, each as (folder, apply)."""
        self.stable, self.written = {}, {}
        """Inode to content."""

    def play(self, entry):
        match entry:
            case ("link", path, inode):
                self.written[inode] = self.stable[inode] = b""
                self.pending.append((str(Path(path).parent), {path: inode}))
            case ("write", inode, data):
                self.written[inode] += data
            case ("rename", old, new):
                now = self.now()
                self.pending.append((str(Path(new).parent), {old: "gone", new: now[old]}))
            case ("unlink", path):
                self.pending.append((str(Path(path).parent), {path: "gone"}))
            case ("mkdir", path):
                self.pending.append((str(Path(path).parent), {path: None}))
            case ("fsync", str(folder)):
                for where, change in self.pending:
                    if where == folder:
                        self.names.update(change)
                self.pending = [each for each in self.pending if each[0] != folder]
            case ("fsync", inode):
                self.stable[inode] = self.written[inode]
            case _:
                raise AssertionError(entry)

    def now(self):
        names = dict(self.names)
        for _, change in self.pending:
            names.update(change)
        return names

    def states(self):
        """Every tree that a crash may leave: path to content, None for a folder."""
        for chosen in itertools.product((False, True), repeat=len(self.pending)):
            names = dict(self.names)
            for (_, change), there in zip(self.pending, chosen, strict=True):
                if there:
                    names.update(change)
            names = {path: inode for path, inode in names.items() if inode != "gone" and self.reachable(path, names)}
            inodes = sorted({inode for inode in names.values() if inode is not None})
            for contents in itertools.product(*(self.contents(inode) for inode in inodes)):
                content = dict(zip(inodes, contents, strict=True)) | {None: None}
                yield {path: content[inode] for path, inode in names.items()}

    def reachable(self, path, names):
        parent = str(Path(path).parent)
        return parent == self.root or (names.get(parent, "gone") is None and self.reachable(parent, names))

    def contents(self, inode):
        stable, written = self.stable[inode], self.written[inode]
        if stable == written:
            return [written]
        half = written[: len(written) // 2]
        return list(dict.fromkeys([stable, written, half, bytes(len(written)), half.ljust(len(written), b"\0")]))


def revised(store, number):
    """The state with one change more, each time another one."""
    state = replace(store.state, isns_servers=(*store.state.isns_servers, f"server-{number}"))
    if number % 2:
        place = Secrets.target_place(f"{NAME}{number}")
        targets = {**state.secrets.targets, f"{NAME}{number}": store.seal(str(number).encode(), place)}
        state = replace(state, secrets=replace(state.secrets, targets=targets))
    return state


def history(tmp_path, monkeypatch, *, changes=5, **shim_options):
    """(root, journal with ("promised", state) and ("begun", state) in it) of a store that was made and changed."""
    root = tmp_path / "disk"
    root.mkdir()
    shim = Shim(**shim_options)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", shim)
        for number in range(changes):
            # Opened anew in the middle, so that the first put of a store that was there is among them.
            if number in (0, 3):
                store = Store(root / "var" / "store")
            state = revised(store, number)
            shim.journal.append(("begun", state))
            store.put(state)
            shim.journal.append(("promised", state))
            if number in (2, changes - 1):
                store.close()
    return root, shim.journal


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_disk(monkeypatch):
    monkeypatch.setattr(files, "os", Shim())


def check(root, journal, tmp_path):
    """How many states were looked at; AssertionError or StoreError for one that breaks the promise."""
    disk, promised, begun = Disk(root), State(), State()
    count = 0
    seen = set()
    for entry in [("fsync", str(root)), *journal]:
        match entry:
            case ("begun", state):
                begun = state
            case ("promised", state):
                promised = state
            case _:
                disk.play(entry)
        for tree in disk.states():
            known = (tuple(sorted(tree.items())), len(promised.isns_servers), len(begun.isns_servers))
            if known in seen:
                continue
            seen.add(known)
            count += 1
            check_state(tree, root, tmp_path / "crashed" / str(count), (promised, begun))
    return count


def check_state(tree, root, place, allowed):
    place.mkdir(parents=True)
    for path, content in sorted(tree.items()):
        here = place / Path(path).relative_to(root)
        if content is None:
            here.mkdir()
        else:
            here.write_bytes(content)
            here.chmod(0o600)
    with Store(place / "var" / "store") as store:
        assert store.state in allowed
        assert store.broken_secrets() == []
        assert {each.name for each in store.folder.iterdir()} <= {"store.json", "key", ".key.new", "lock"}
        # Life goes on.
        store.put(revised(store, 1))


def test_every_state_that_a_crash_may_leave(tmp_path, monkeypatch):
    root, journal = history(tmp_path, monkeypatch)
    assert check(root, journal, tmp_path) > 100


def test_every_barrier_is_needed(tmp_path, monkeypatch):
    """Without any one of the synchronisations some state breaks the promise."""
    _, journal = history(tmp_path, monkeypatch, changes=2)
    barriers = sum(entry[0] == "fsync" for entry in journal)
    for skip in range(barriers):
        here = tmp_path / str(skip)
        here.mkdir()
        root, journal = history(here, monkeypatch, changes=2, skip=skip)
        with pytest.raises((AssertionError, StoreError)):
            check(root, journal, here)


def test_an_error_anywhere_leaves_the_old_state_or_the_new(tmp_path, monkeypatch):
    """Whatever call fails, the change is refused by a typed error, nothing is spoilt, and the next change goes well."""
    fail = 0
    while True:
        folder = tmp_path / str(fail)
        with Store(folder) as store:
            store.put(revised(store, 0))
            before = store.state
            shim = Shim(fail=fail)
            with monkeypatch.context() as patch:
                patch.setattr(files, "os", shim)
                failed = after = None
                try:
                    store.put(after := revised(store, 1))
                except StoreError as error:
                    failed = error
            if failed is not None:
                assert "failed on purpose" in str(failed)
                assert store.state == before
        with Store(folder) as store:
            assert store.state in ((before, after) if failed else (after,))
            assert store.broken_secrets() == []
            store.put(after := revised(store, 3))
        with Store(folder) as store:
            assert store.state == after
        if shim.calls <= fail:
            break
        fail += 1
    assert fail > 10


def test_a_change_that_may_have_come_through_is_written_again(tmp_path, monkeypatch):
    """Behind an error at the folder the file may have the new state; putting the old one again makes it the old one."""
    with Store(tmp_path) as store:
        store.put(old := revised(store, 0))
        shim = Shim(skip=None)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", shim)
            store.put(revised(store, 2))
            last = shim.calls - 1
        store.put(old)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", Shim(fail=last))
            with suppress(StoreError):
                store.put(revised(store, 2))
        assert store.state == old
        store.put(old)
    with Store(tmp_path) as store:
        assert store.state == old
