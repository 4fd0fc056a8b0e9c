"""The probe takes whatever a product answers."""

from __future__ import annotations

import pytest

from iscsi_conformance.bundled import bundled_config, bundled_profile
from iscsi_conformance.environments import memory_stage
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Environment
from iscsi_conformance.probe import probe
from iscsi_conformance.virtual import run_virtual
from iscsi_protocol.fault import Fault, FieldIs, HasKey, Set, SetKey, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction

RESERVE_6 = b"\x16" + bytes(15)


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
    missing = {feature for feature in Feature if not environment.offer(feature).there}
    assert missing == {Feature.GROUP_PORTAL, Feature.TARGET_WARM_RESET, Feature.TARGET_COLD_RESET}


def refusing(key: str) -> Fault:
    """A target that refuses a login for this key."""
    when = When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(HasKey(key),), times=0)
    return Fault(when=when, what=(Set("version_min", 0x7F),))


def test_a_login_that_a_key_spoils_is_no_end_of_the_probe() -> None:
    environment = run_virtual(probed(refusing("TaskReporting")))
    assert not environment.offer(Feature.FAST_ABORT).there
    assert not environment.offer(Feature.RESPONSE_FENCE).there
    assert environment.offer(Feature.PROTOCOL_LEVEL_2).there


def test_reservations_are_there_when_their_commands_end_well() -> None:
    when = When(direction=Direction.TO_TARGET, opcode=Opcode.SCSI_COMMAND, tests=(FieldIs("cdb", RESERVE_6),), times=0)
    environment = run_virtual(probed(Fault(when=when, what=(Set("cdb", b"\xc0" + bytes(15)),))))
    assert not environment.offer(Feature.SPC2_RESERVATIONS).there
    assert environment.offer(Feature.PERSISTENT_RESERVATIONS).there
