"""The probe takes whatever a product answers."""

from __future__ import annotations

import pytest

from iscsi_conformance.bundled import bundled_config, bundled_profile
from iscsi_conformance.environments import memory_stage
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Environment
from iscsi_conformance.probe import probe
from iscsi_conformance.virtual import run_virtual
from iscsi_protocol.fault import Fault, HasKey, SetKey, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction


async def probed(*faults: Fault) -> Environment:
    async with memory_stage(bundled_config(), faults) as stage:
        environment = Environment(
            profile=bundled_profile(),
            connector=stage.connector,
            endpoints=stage.endpoints,
            transport="memory",
            clock="virtual",
            random_bytes=bytes,
        )
        await probe(environment)
    return environment


@pytest.mark.parametrize(
    ("key", "feature"),
    [("MaxConnections", Feature.MULTIPLE_CONNECTIONS), ("MaxBurstLength", Feature.SMALL_BURST)],
)
def test_garbage_for_a_number_is_no_feature(key: str, feature: Feature) -> None:
    when = When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE, tests=(HasKey(key),), times=0)
    environment = run_virtual(probed(Fault(when=when, what=(SetKey(key, "plenty"),))))
    assert not environment.offer(feature).there
    assert environment.offer(Feature.SCSI_DISK).there


def test_the_bundled_target_offers_what_it_should() -> None:
    environment = run_virtual(probed())
    assert environment.offer(Feature.SMALL_BURST).there
    assert environment.offer(Feature.TEXT_NEGOTIATION).there
    assert not environment.offer(Feature.MULTIPLE_CONNECTIONS).there
