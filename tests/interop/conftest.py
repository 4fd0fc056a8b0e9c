"""Other people's software for the tests in this folder: how it is found, started and ended.

A peer that is not installed skips the test with its package named. Where CI=true is set it fails the test instead:
there, a skip would only look like success.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.interop.browser import Browser

PACKAGES = {
    "chromium": "chromium",
    "dumpcap": "wireshark-common",
    "fio": "fio",
    "iscsi-inq": "libiscsi-bin",
    "iscsi-ls": "libiscsi-bin",
    "iscsi-perf": "libiscsi-bin",
    "iscsi-readcapacity16": "libiscsi-bin",
    "iscsi-test-cu": "libiscsi-bin",
    "isnsadm": "open-isns-utils",
    "isnsd": "open-isns-server",
    "mergecap": "wireshark-common",
    "nbdcopy": "libnbd-bin",
    "nbdinfo": "libnbd-bin",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "tgtadm": "tgt",
    "tgtd": "tgt",
    "tshark": "tshark",
}
"""Program → the Debian package that brings it."""

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Daemons live in sbin, which an ordinary user's PATH often lacks."""

TARGET_NAME = "iqn.2024-01.example.interop:disk"

STARTS = 5
"""A free port may be taken by somebody else before the daemon binds it; then the next one is tried."""

PATIENCE = 200
"""How often a starting daemon is asked whether it is ready, a twentieth of a second apart."""


def peer(name: str) -> Path:
    """Return the path of a program of PACKAGES; without it, fail under CI=true and skip elsewhere."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is not None:
        return Path(found)
    lacking = f"{name} is not installed (Debian package {PACKAGES[name]})"
    if os.environ.get("CI") == "true":
        pytest.fail(lacking)
    pytest.skip(lacking)


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NotStartedError(Exception):
    """The daemon ended, or never became ready; the message is its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tgtd:
    """A running tgtd with one target: LUN 0 is its controller, LUN 1 is the backing file."""

    process: subprocess.Popen[bytes]
    admin: tuple[str, ...]
    environment: dict[str, str]
    port: int
    backing: Path
    log_file: Path
    target_name: str = TARGET_NAME
    lun: int = 1

    @property
    def portal(self) -> str:
        """The portal as HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The LUN as iscsi://HOST:PORT/IQN/LUN, without credentials."""
        return f"iscsi://{self.portal}/{self.target_name}/{self.lun}"

    @property
    def log(self) -> str:
        """What the daemon has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def tgtadm(self, *arguments: str) -> str:
        """Run one tgtadm command against this daemon and return its output; a failure shows what it said."""
        done = subprocess.run(
            [*self.admin, *arguments], env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"tgtadm {' '.join(arguments)}: {done.stdout}{done.stderr}\n{self.log}"
        return done.stdout

    def parameter(self, name: str, value: str) -> None:
        """Set a key of the target as tgtadm names it, for the logins that follow."""
        self.tgtadm("--op", "update", "--mode", "target", "--tid", "1", "--name", name, "--value", value)

    def account(self, user: str, secret: str, *, outgoing: bool = False) -> None:
        """Create a CHAP account and bind it: what initiators must prove, or with outgoing what the target proves."""
        self.tgtadm("--op", "new", "--mode", "account", "--user", user, "--password", secret)
        direction = ["--outgoing"] if outgoing else []
        self.tgtadm("--op", "bind", "--mode", "account", "--tid", "1", "--user", user, *direction)

    def listen_at(self, port: int) -> None:
        """Open one more portal on the loopback."""
        self.tgtadm("--op", "new", "--mode", "portal", "--param", f"portal=127.0.0.1:{port}")

    def wait_until_ready(self) -> None:
        """Return once the daemon answers tgtadm; raise NotStartedError if it ends or stays mute."""
        question = [*self.admin, "--op", "show", "--mode", "portal"]
        for _ in range(PATIENCE):
            answer = subprocess.run(question, env=self.environment, capture_output=True, timeout=30, check=False)
            if answer.returncode == 0 and self.portal.encode() in answer.stdout:
                return
            try:
                self.process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        raise NotStartedError(self.log)


@contextmanager
def launched(folder: Path, backing: Path) -> Iterator[Tgtd]:
    """Start tgtd with its log in folder, and end it by its own process id."""
    daemon, admin = str(peer("tgtd")), str(peer("tgtadm"))
    port = free_port()
    log_file = folder / "tgtd.log"
    # The management socket has a folder of its own: no privileges needed, any number of daemons side by side, none of
    # the machine's own in reach. The folder is not pytest's, whose paths can outgrow a socket address.
    with tempfile.TemporaryDirectory(prefix="tgtd-") as ipc, log_file.open("wb") as log:
        environment = {**os.environ, "TGT_IPC_SOCKET": f"{ipc}/ipc"}
        process = subprocess.Popen(
            [daemon, "-f", "-C", "1", "--iscsi", f"portal=127.0.0.1:{port}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            tgtd = Tgtd(
                process=process,
                admin=(admin, "-C", "1", "--lld", "iscsi"),
                environment=environment,
                port=port,
                backing=backing,
                log_file=log_file,
            )
            tgtd.wait_until_ready()
            yield tgtd
        finally:
            # tgtd leaves SIGTERM unanswered while a target exists.
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
def start_tgtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Tgtd]]:
    """Return a function that starts another tgtd; all of them end with the test.

    Its arguments: size of the backing file in bytes, or backing, a file that there is; also_at, a port where it listens
    besides once it has its target; chap and mutual_chap as (user, secret); header_digest and
    data_digest as the list that the target offers, best first, such as "CRC32C,None".
    """
    with ExitStack() as running:

        def start(
            *,
            size: int = 16 << 20,
            backing: Path | None = None,
            also_at: int | None = None,
            chap: tuple[str, str] | None = None,
            mutual_chap: tuple[str, str] | None = None,
            header_digest: str = "None",
            data_digest: str = "None",
        ) -> Tgtd:
            folder = tmp_path_factory.mktemp("tgtd")
            if backing is None:
                backing = folder / "lun1.img"
                with backing.open("wb") as file:
                    file.truncate(size)
            for attempt in range(STARTS):
                try:
                    tgtd = running.enter_context(launched(folder, backing))
                    break
                except NotStartedError:
                    if attempt == STARTS - 1:
                        raise
            tgtd.tgtadm("--op", "new", "--mode", "target", "--tid", "1", "-T", tgtd.target_name)
            unit = ["--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(tgtd.lun)]
            tgtd.tgtadm(*unit, "-b", str(backing), "--bstype", "rdwr")
            tgtd.parameter("HeaderDigest", header_digest)
            tgtd.parameter("DataDigest", data_digest)
            if chap:
                tgtd.account(*chap)
            if mutual_chap:
                tgtd.account(*mutual_chap, outgoing=True)
            tgtd.tgtadm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
            if also_at is not None:
                tgtd.listen_at(also_at)
            return tgtd

        yield start


@pytest.fixture
def tgtd(request: pytest.FixtureRequest, start_tgtd: Callable[..., Tgtd]) -> Tgtd:
    """A tgtd of the test's own; an indirect parameter is a mapping of start_tgtd's arguments."""
    return start_tgtd(**getattr(request, "param", {}))


@pytest.fixture(name="peer", scope="session")
def peer_lookup() -> Callable[[str], Path]:
    """Return the function that finds a program of PACKAGES, or ends the test for want of it."""
    return peer


@pytest.fixture
def browser(peer: Callable[[str], Path]) -> Iterator[Browser]:
    """A headless Chromium with an empty profile of its own."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        browser = Browser(peer("chromium"), profile)
        try:
            yield browser
        finally:
            browser.close()
