"""Keys in a configuration: what cannot be negotiated is refused before the target starts."""

from __future__ import annotations

import random

import pytest

from iscsi_target.config import ConfigError, TargetConfig, TargetNode
from iscsi_target.node import settings_for
from iscsi_target.shell import close_devices, make_engine

NAME = "iqn.2026-11.org.example:keys"


def config(**keys: str) -> TargetConfig:
    return TargetConfig(targets=[TargetNode(name=NAME, keys=keys)])


@pytest.mark.parametrize(
    "keys",
    [
        {"MaxBurstLength": "65536", "FirstBurstLength": "131072"},
        {"MaxBurstLength": "511"},
        {"ImmediateData": "perhaps"},
        {"TaskReporting": "ResponseFence"},
    ],
)
def test_impossible_keys_are_refused(keys: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"keys of {NAME}"):
        make_engine(config(**keys), random_bytes=random.Random(1).randbytes)


def test_first_burst_follows_a_smaller_max_burst() -> None:
    made = config(MaxBurstLength="65536")
    assert settings_for(made, made.targets[0], 1)["FirstBurstLength"] == "65536"
    _, devices = make_engine(made, random_bytes=random.Random(1).randbytes)
    close_devices(devices)


def test_first_burst_keeps_its_default_below_a_larger_max_burst() -> None:
    made = config(MaxBurstLength="2097152")
    assert settings_for(made, made.targets[0], 1)["FirstBurstLength"] == "262144"
