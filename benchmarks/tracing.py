"""What debug messages cost the initiator: microseconds of processor time a command, in memory, with nobody to tell, with
nothing to tell, with the guide's flags for most purposes, and with all of them into a trace.

    python benchmarks/tracing.py [depth]
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable
from functools import partial

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.pipe import MemoryConnector
from iscsi_initiator.client import Client
from iscsi_initiator.tracing.flags import SPEW_ALL, TROUBLESHOOTING, effective
from iscsi_initiator.tracing.session import SessionTrace
from iscsi_initiator.tracing.teller import Teller
from iscsi_initiator.tracing.trace import Trace, TraceOptions
from iscsi_protocol.history import Endpoint
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

COMMANDS = 6400
ROUNDS = 7
BLOCK = bytes(4096)


class Nowhere:
    """A trace's file that takes everything."""

    def write(self, offset: int, data: bytes) -> None:
        """See `File`."""

    def close(self) -> None:
        """See `File`."""


def tracing(flags: int) -> SessionTrace:
    """A session whose messages go into a trace; flags: 0 for none."""
    teller = Teller()
    if flags:
        trace = Trace(
            TraceOptions(name="t", path="/t", flags=flags), Nowhere(), started=0, process=0, wake=lambda _delay: None
        )
        teller.add(effective(flags), trace.take)
    return SessionTrace(teller, PLAIN)


async def spent(trace: SessionTrace | None, depth: int) -> float:
    """Microseconds a command, reads and writes of 4 KiB by turns."""
    config = bundled_config()
    engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
    portal = MemoryPortal(engine, config.portals)
    place = Endpoint("127.0.0.1", 3260)
    client = await Client.connect(place, target_name=PLAIN, lun=0, connector=MemoryConnector(portal), trace=trace)
    await client.capacity()

    async def work() -> None:
        for _ in range(COMMANDS // depth // 2):
            await client.read(0, len(BLOCK) // 512)
            await client.write(0, BLOCK)

    begun = time.process_time()
    await asyncio.gather(*(work() for _ in range(depth)))
    result = (time.process_time() - begun) / COMMANDS * 1e6
    await client.logout()
    portal.close()
    close_devices(devices)
    return result


def main() -> None:
    """Measure by turns, and print the least and the median."""
    depth = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    ways: dict[str, Callable[[], SessionTrace | None]] = {
        "nobody to tell": lambda: None,
        "nothing to tell": partial(tracing, 0),
        f"{TROUBLESHOOTING:#010x}": partial(tracing, TROUBLESHOOTING),
        "all": partial(tracing, SPEW_ALL),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, make in ways.items():
            times[name].append(asyncio.run(spent(make(), depth)))
    for name, each in times.items():
        print(f"{name:16} {min(each):7.2f} us a command, median {sorted(each)[ROUNDS // 2]:.2f}")


if __name__ == "__main__":
    main()
