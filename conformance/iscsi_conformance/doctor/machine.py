"""What a run needs of the machine that it runs on: ports, limits, the speed of digests, other people's programs."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator

from iscsi_conformance.doctor.check import Check, bad, ok, warn
from iscsi_conformance.profile import DEFAULT_PORT
from iscsi_protocol.digest import crc32c

PEERS = {
    "tgtd": "tgt",
    "iscsi-test-cu": "libiscsi-bin",
    "qemu-img": "qemu-utils",
    "tshark": "tshark",
    "isnsd": "open-isns-server",
    "chromium": "chromium",
}
"""Program to Debian package: other people's software that the interop tests talk to."""

FILES_WANTED = 1024
DIGEST_WANTED = 1.0
"""GB/s. A CRC32C that uses the processor's own instruction does ten times that."""

_DIGESTED = bytes(1 << 18)
_ROUNDS = 64
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def machine() -> Iterator[Check]:
    """Every check of the machine."""
    yield free_port("127.0.0.1")
    yield standard_port(DEFAULT_PORT)
    yield files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield digest_speed(time.perf_counter)
    yield from (peer(program, package, _SEARCH_PATH) for program, package in PEERS.items())


def free_port(host: str) -> Check:
    """Whether the bundled target can listen there."""
    try:
        with socket.create_server((host, 0)) as server:
            return ok("ports", f"{host} takes listeners (port {server.getsockname()[1]} was free)")
    except OSError as error:
        return bad("ports", f"no listening on {host}: {error.strerror}", "bring the loopback interface up")


def standard_port(port: int) -> Check:
    """Whether iSCSI's own port is free."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return ok(f"port {port}", "free for a target or a relay of ours")
    except OSError as error:
        remedy = "give --listen or --portal another port, or 0 for any"
        return warn(f"port {port}", f"not to be had: {error.strerror}", remedy)


def files(soft: int, hard: int) -> Check:
    """Whether so many open files are enough; the limits as getrlimit gives them."""
    if soft in (resource.RLIM_INFINITY, max(soft, FILES_WANTED)):
        return ok("limits", "any number of open files" if soft == resource.RLIM_INFINITY else f"{soft} open files")
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    return warn("limits", f"{soft} open files; cases with many sessions want {FILES_WANTED}", f"ulimit -n {wanted}")


def digest_speed(clock: Callable[[], float]) -> Check:
    """How fast CRC32C goes. clock: gives seconds."""
    started = clock()
    for _ in range(_ROUNDS):
        crc32c(_DIGESTED)
    speed = _ROUNDS * len(_DIGESTED) / max(clock() - started, 1e-9) / 1e9
    says = f"CRC32C at {speed:.1f} GB/s"
    if speed >= DIGEST_WANTED:
        return ok("digest speed", says)
    return warn("digest speed", says, "reinstall the crc32c package from a wheel for this processor")


def peer(program: str, package: str, path: str) -> Check:
    """Whether another's program is installed."""
    found = shutil.which(program, path=path)
    if found is not None:
        return ok(f"peer {program}", found)
    return warn(f"peer {program}", "not installed; `tox -e interop` alone wants it", f"apt install {package}")
