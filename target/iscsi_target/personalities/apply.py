"""A personality put under what the operator asks for: whatever was given stays, and the personality fills in the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from iscsi_protocol.fault import Fault
from iscsi_target.config import TargetConfig, config_from
from iscsi_target.faults import fault
from iscsi_target.personalities.model import Personality


def wished(personality: Personality, name: str) -> dict[str, Any]:
    """The settings of all quirks under one of the names that `Quirk` has; of two that set the same, lists add up and the
    later one holds otherwise.
    """
    found: dict[str, Any] = {}
    for quirk in personality.quirks:
        for key, value in getattr(quirk, name).items():
            before = found.get(key)
            found[key] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    return found


def faults_of(personality: Personality) -> list[Fault]:
    """What goes wrong on the wire."""
    named = [each for quirk in personality.quirks for name in quirk.faults for each in fault(name).faults]
    return named + [each for quirk in personality.quirks for each in quirk.own]


def switches_of(personality: Personality) -> dict[str, Any]:
    """Switches of the policy, those of the named faults too."""
    switches = {
        switch: value
        for quirk in personality.quirks
        for name in quirk.faults
        for switch, value in fault(name).policy.items()
    }
    return switches | wished(personality, "policy")


def under(personality: Personality, given: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of a configuration (as of TOML) with the personality's settings where they have none of their own.

    What is no table where there has to be one is left as it is, to be refused by `config_from`.
    """
    tables = dict(given)
    for name in ("keys", "limits", "timers"):
        _fill(tables, name, wished(personality, name))
    _fill(tables, "policy", switches_of(personality))
    portals = [{"address": address} for quirk in personality.quirks for address in quirk.portals]
    if portals:
        tables.setdefault("portals", portals)
    nodes = tables.get("targets")
    if isinstance(nodes, list):
        common = given.get("keys", {})
        tables["targets"] = [_node(personality, node, common) for node in nodes]
    if isinstance(tables.get("discovery_chap"), Mapping):
        _fill(tables, "discovery_chap", wished(personality, "chap"))
    return tables


def _node(personality: Personality, node: Any, common: Any) -> Any:
    """One node; `common`: the operator's keys for all nodes, which a personality's keys for nodes do not override."""
    if not isinstance(node, Mapping):
        return node
    settings = wished(personality, "node")
    filled = {**settings, **node}
    if "keys" in settings and isinstance(common, Mapping):
        filled["keys"] = node.get("keys", {})
        _fill(filled, "keys", {key: value for key, value in settings["keys"].items() if key not in common})
    if isinstance(filled.get("chap"), Mapping):
        _fill(filled, "chap", wished(personality, "chap"))
    luns, lun = filled.get("luns"), wished(personality, "lun")
    if isinstance(luns, Mapping):
        filled["luns"] = {
            number: {**lun, **each} if isinstance(each, Mapping) else each for number, each in luns.items()
        }
    return filled


def _fill(tables: dict[str, Any], name: str, settings: Mapping[str, Any]) -> None:
    own = tables.get(name, {})
    if settings and isinstance(own, Mapping):
        tables[name] = {**settings, **own}


def with_further_nodes(personality: Personality, config: TargetConfig) -> TargetConfig:
    """The configuration with the personality's own nodes behind those that are there; a name that is there is passed over."""
    there = {node.name for node in config.targets}
    further = [dict(node) for quirk in personality.quirks for node in quirk.targets if node["name"] not in there]
    if not further:
        return config
    return msgspec.structs.replace(config, targets=[*config.targets, *config_from({"targets": further}).targets])
