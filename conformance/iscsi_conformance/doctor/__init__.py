"""What stands in the way of a run: of this machine, of the profile, and of the product."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from iscsi_conformance.doctor.check import Check, State, bad
from iscsi_conformance.doctor.machine import machine
from iscsi_conformance.doctor.product import product
from iscsi_conformance.doctor.secrets import name_checks, profile_checks
from iscsi_conformance.environments import EnvironmentSpec, open_environment
from iscsi_conformance.peer import Environment
from iscsi_conformance.profile import Profile
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint
from iscsi_target.config import host_and_port


async def examine(profile: Profile, path: Path | None = None) -> AsyncIterator[Check]:
    """Every check, as it comes. path: where the profile was read from. Without a portal the bundled target is asked."""
    for check in (*machine(), *profile_checks(profile, path)):
        yield check
    if profile.portal is None:
        try:
            async with open_environment(EnvironmentSpec(kind="bundled", profile=profile)) as environment:
                async for check in product(environment):
                    yield check
        except OSError as error:
            yield bad("bundled target", f"it cannot listen: {error.strerror}", "bring the loopback interface up")
        return
    portals = [profile.portal, *([profile.second_portal] if profile.second_portal else [])]
    connector = TcpConnector(connect_time=profile.response_time)
    environment = Environment(
        profile=profile,
        connector=connector,
        endpoints=[Endpoint(*host_and_port(portal)) for portal in portals],
        group_portal=Endpoint(*host_and_port(profile.group_portal)) if profile.group_portal else None,
        transport="tcp",
        clock="real",
        random_bytes=os.urandom,
    )
    async for check in product(environment):
        yield check
    await connector.finish()


__all__ = ["Check", "State", "examine", "name_checks"]
