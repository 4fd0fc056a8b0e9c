"""The targets side by side, each a process of its own on the loopback: the bundled one and tgtd.

Both serve files of one size from the page cache; the bundled one serves memory besides. They are ended by their process id.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from workload import SIZE

PACKAGES = {"iscsi-perf": "libiscsi-bin", "qemu-img": "qemu-utils and qemu-block-extra", "tgtadm": "tgt", "tgtd": "tgt"}
"""Program → what brings it in Debian."""

_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_TARGET_NAME = "iqn.2026-01.org.example.benchmark:disk"
_PATIENCE = 200
"""How often a starting tgtd is asked whether it is ready, a twentieth of a second apart."""


class PeerMissing(Exception):
    """A program is not there; the message names what brings it."""


class PeerFailed(Exception):
    """A program is there and did not do its work; the message is what it said."""


def find(program: str) -> str:
    """The path of a program of PACKAGES. Raises PeerMissing."""
    found = shutil.which(program, path=_SEARCH_PATH)
    if found is None:
        raise PeerMissing(f"{program} is not installed (Debian: {PACKAGES[program]})")
    return found


def fill(path: Path) -> None:
    """A file of SIZE bytes that has all of its blocks, and is no run of zeros."""
    piece = bytes(range(256)) * 4096
    with path.open("wb") as file:
        for _ in range(SIZE // len(piece)):
            file.write(piece)


_BUNDLED = """
[[portals]]
address = "127.0.0.1:0"

[[targets]]
name = "{name}"
keys = {{ {keys} }}

[targets.luns.1]
backend = "file"
path = "{backing}"

[targets.luns.2]
size = {size}
"""


@contextmanager
def bundled_target(folder: Path, name: str = "bundled", *, header_digest: bool = False) -> Iterator[tuple[str, str]]:
    """Run `iscsi-target serve`; the URLs of a file and of a memory logical unit. name: of its files; header_digest: none is
    refused. Raises PeerFailed.
    """
    backing, configuration = folder / f"{name}.img", folder / f"{name}.toml"
    fill(backing)
    keys = 'HeaderDigest = "CRC32C"' if header_digest else ""
    configuration.write_text(
        _BUNDLED.format(name=_TARGET_NAME, keys=keys, backing=backing, size=SIZE), encoding="utf-8"
    )
    command = [
        sys.executable,
        "-c",
        "from iscsi_target.cli import main; main()",
        "serve",
        "--config",
        str(configuration),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise PeerFailed("iscsi-target serve did not start")
            portal = json.loads(line)["ready"][0]
            yield f"iscsi://{portal}/{_TARGET_NAME}/1", f"iscsi://{portal}/{_TARGET_NAME}/2"
        finally:
            process.terminate()
            _await_end(process)


DIGESTS = {"HeaderDigest": "CRC32C,None"}
"""Without this tgtd refuses a header digest; with it, it takes one from whoever offers it, even as a last choice."""

TUNED = {"MaxRecvDataSegmentLength": "262144", "FirstBurstLength": "262144", "InitialR2T": "No"}
"""What lets tgtd take a write of 256 KiB in one go."""


@contextmanager
def tgtd(folder: Path, *, control: int = 1, keys: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Run tgtd with these keys, and nothing else tuned; the URL of a file logical unit. control: number of its management
    socket, one for each that runs. Raises PeerMissing, PeerFailed.
    """
    daemon, admin = find("tgtd"), [find("tgtadm"), "-C", str(control), "--lld", "iscsi"]
    backing, log_file = folder / f"tgtd{control}.img", folder / f"tgtd{control}.log"
    fill(backing)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A management socket of its own, in a folder whose path is short enough for a socket's address.
    with tempfile.TemporaryDirectory(prefix="tgtd-") as ipc, log_file.open("wb") as log:
        environment = {**os.environ, "TGT_IPC_SOCKET": f"{ipc}/ipc"}
        process = subprocess.Popen(
            [daemon, "-f", "-C", str(control), "--iscsi", f"portal=127.0.0.1:{port}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for_tgtd(process, admin, environment, log_file)
            update = ("--op", "update", "--mode", "target", "--tid", "1")
            for arguments in (
                ("--op", "new", "--mode", "target", "--tid", "1", "-T", _TARGET_NAME),
                *((*update, "--name", key, "--value", value) for key, value in keys.items()),
                ("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", backing, "--bstype", "rdwr"),
                ("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"),
            ):
                done = subprocess.run(
                    [*admin, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
                )
                if done.returncode:
                    raise PeerFailed(f"tgtadm: {done.stdout}{done.stderr}")
            yield f"iscsi://127.0.0.1:{port}/{_TARGET_NAME}/1"
        finally:
            process.kill()  # it leaves SIGTERM unanswered while a target exists
            _await_end(process)


def _wait_for_tgtd(
    process: subprocess.Popen[bytes], admin: list[str], environment: dict[str, str], log_file: Path
) -> None:
    question = [*admin, "--op", "show", "--mode", "portal"]
    for _ in range(_PATIENCE):
        answer = subprocess.run(question, env=environment, capture_output=True, timeout=30, check=False)
        if answer.returncode == 0 and b"127.0.0.1" in answer.stdout:
            return
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise PeerFailed(f"tgtd did not start: {log_file.read_text(errors='replace')}")


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=30)
