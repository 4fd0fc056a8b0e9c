"""A process that is killed at random points of 200 changes leaves a store that opens, with each change there or not."""

from __future__ import annotations

import random
import subprocess
import sys

from iscsi_initiator.store import Store
from iscsi_initiator.store.state import Secrets

CHANGES = 200
KILLS = 8

WORKER = """
import sys
from pathlib import Path
from msgspec.structs import replace
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import Secrets

store = Store(Path(sys.argv[1]))
for number in range(len(store.state.isns_servers), int(sys.argv[2])):
    place = Secrets.target_place(f"iqn.2026-01.org.example:{number}")
    targets = store.state.secrets.targets
    if number % 4 == 0:
        targets = {**targets, place.removeprefix("secret of target "): store.seal(str(number).encode(), place)}
    servers = (*store.state.isns_servers, f"server-{number}")
    store.put(replace(store.state, isns_servers=servers, secrets=replace(store.state.secrets, targets=targets)))
    print(number, flush=True)
"""

DEADLY = """
import os, signal, sys
sys.path[:0] = {path!r}
from iscsi_initiator.store import Store, files


class Deadly:
    def __init__(self, point):
        self.left = point

    def __getattr__(self, name):
        call = getattr(os, name)
        if name not in ("open", "write", "fsync", "rename", "unlink", "ftruncate", "pwrite"):
            return call

        def deadly(*arguments):
            self.step()
            done = call(*arguments)
            self.step()
            return done

        return deadly

    def step(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


os.dup2(2, 1)
for point in range(1, 200):
    if not (child := os.fork()):
        files.os = Deadly(point)
        sys.argv[1:] = [os.path.join({folder!r}, str(point)), "2"]
        exec({worker!r})
        os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        break
"""
"""One interpreter imports everything; a child of it makes two changes, and is killed at the first, second, third point."""


def test_killed_at_random_points(tmp_path):
    chance = random.SystemRandom()
    points = sorted(chance.sample(range(1, CHANGES - 1), KILLS))
    promised = 0
    for point in [*points, None]:
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(CHANGES)], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                promised = int(line) + 1
                if point is not None and promised >= point:
                    break
            worker.kill()
            for line in worker.stdout:
                # What it had said before it was killed.
                promised = int(line) + 1
        with Store(tmp_path) as store:
            servers = store.state.isns_servers
            assert servers == tuple(f"server-{number}" for number in range(len(servers)))
            assert len(servers) in (promised, promised + 1)
            due = [f"iqn.2026-01.org.example:{number}" for number in range(0, len(servers), 4)]
            assert sorted(store.state.secrets.targets) == sorted(due)
            for name, sealed in store.state.secrets.targets.items():
                assert store.unseal(sealed, Secrets.target_place(name)) == name.rpartition(":")[2].encode()
            assert {each.name for each in tmp_path.iterdir()} <= {"store.json", "key", "lock"}
    assert promised == CHANGES


def test_killed_before_and_behind_every_call(tmp_path):
    """The same at each call that touches the disk, just before it and just behind it."""
    program = DEADLY.format(path=sys.path, folder=str(tmp_path), worker=WORKER)
    subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, timeout=60, check=True)
    points = sorted(int(each.name) for each in tmp_path.iterdir())
    assert len(points) > 20
    counts = []
    for point in points:
        with Store(tmp_path / str(point)) as store:
            counts.append(len(store.state.isns_servers))
            assert store.broken_secrets() == []
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}
