"""The rows of personalities: what they name exists, where they come from is said, and what the operator gave holds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iscsi_target.cli import main
from iscsi_target.config import LunConfig, config_from, parse_config
from iscsi_target.faults import fault
from iscsi_target.personalities import PERSONALITIES, UnknownPersonality, personality
from iscsi_target.personalities.apply import faults_of, switches_of, under, wished, with_further_nodes

NAMES = [
    "strict",
    "lenient",
    "equallogic-like",
    "freebsd-like",
    "lio-like",
    "tgt-like",
    "synology-like",
    "windows-cluster",
    "hostile",
]
EVERYTHING = """
[[targets]]
name = "iqn.2026-11.org.example:imitated"
[targets.luns.0]
size = "1MiB"
[targets.chap]
users = { tester = "one-way-secret-1" }
"""


def test_there_are_these_nine():
    assert list(PERSONALITIES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_quirk_does_something_and_says_where_it_is_from(name):
    for quirk in personality(name).quirks:
        assert quirk.says.endswith(".")
        assert quirk.sources
        assert all(source.startswith(("https://", "http://")) for source in quirk.sources)
        settings = (quirk.keys, quirk.node, quirk.lun, quirk.chap, quirk.limits, quirk.timers, quirk.policy)
        assert any((*settings, quirk.faults, quirk.own, quirk.portals, quirk.targets))
        for fault_id in quirk.faults:
            assert fault(fault_id).id == fault_id


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_are_taken(name):
    """Each setting of a personality is in the configuration that comes of it."""
    imitated = personality(name)
    made = parse_config(EVERYTHING, lambda tables: under(imitated, tables))
    (node,) = made.targets
    assert {key: made.keys[key] for key in wished(imitated, "keys")} == wished(imitated, "keys")
    for where, place in ((node.luns[0], "lun"), (node.chap, "chap"), (made.limits, "limits"), (made.timers, "timers")):
        for key, value in wished(imitated, place).items():
            assert getattr(where, key) == value
    for key, value in switches_of(imitated).items():
        assert getattr(made.policy, key) == value
    for key, value in wished(imitated, "node").items():
        found = getattr(node, key)
        assert (found.portal if key == "redirect" else found) == (value["portal"] if key == "redirect" else value)


def test_a_lun_of_the_command_line_has_room_for_all_settings():
    """No personality sets what --lun says."""
    for each in PERSONALITIES.values():
        assert not set(wished(each, "lun")) & {"backend", "path", "size", "read_only", "block_size"}
        assert set(wished(each, "lun")) <= set(LunConfig.__struct_fields__)


def test_what_the_file_says_holds():
    given = """
    keys = { MaxBurstLength = "4096" }
    portals = [{ address = "127.0.0.1:0" }]
    [limits]
    commands = 9
    [timers]
    login = 17.0
    [policy]
    drop_bad_data_out = false
    [[targets]]
    name = "iqn.2026-11.org.example:imitated"
    judge_exp_stat_sn = false
    [targets.luns.0]
    size = "1MiB"
    vendor = "MINE"
    """
    strict = parse_config(given, lambda tables: under(personality("strict"), tables))
    assert strict.keys["MaxBurstLength"] == "4096"
    assert strict.keys["FirstBurstLength"] == "1024"
    assert strict.limits.commands == 9
    assert (strict.timers.login, strict.timers.data_out) == (17.0, 5.0)
    assert not strict.policy.drop_bad_data_out
    assert not strict.targets[0].judge_exp_stat_sn
    arrays = parse_config(given, lambda tables: under(personality("equallogic-like"), tables))
    assert [portal.address for portal in arrays.portals] == ["127.0.0.1:0"]
    assert (arrays.targets[0].luns[0].vendor, arrays.targets[0].luns[0].product) == ("MINE", "100E-00")


@pytest.mark.parametrize(
    ("given", "node", "found"),
    [({}, {}, "CRC32C"), ({"HeaderDigest": "None"}, {}, None), ({}, {"HeaderDigest": "None"}, "None")],
)
def test_keys_of_the_file_hold_against_keys_for_nodes(given, node, found):
    tables = {"keys": given, "targets": [{"name": "iqn.2026-11.org.example:imitated", "keys": node}]}
    made = config_from(under(personality("strict"), tables))
    assert made.targets[0].keys.get("HeaderDigest") == found
    assert made.keys.get("HeaderDigest") == given.get("HeaderDigest")


def test_a_node_of_the_same_name_is_the_operator_s():
    hostile = personality("hostile")
    names = [node["name"] for quirk in hostile.quirks for node in quirk.targets]
    assert len(names) == 2
    mine = config_from({"targets": [{"name": names[0]}]})
    made = with_further_nodes(hostile, mine)
    assert [node.name for node in made.targets] == names
    assert made.targets[0].redirect is None
    assert with_further_nodes(personality("strict"), mine) is mine


@pytest.mark.parametrize("broken", [{"targets": 5}, {"targets": [5]}, {"keys": 5, "targets": []}, {"policy": []}])
def test_tables_that_are_none_are_left_for_the_configuration_to_refuse(broken):
    assert under(personality("strict"), broken).get("targets") == broken.get("targets")
    with pytest.raises(ValueError, match=r"targets|keys|policy"):
        config_from(under(personality("strict"), broken))


def test_an_unknown_name_is_one_line_and_exit_2():
    with pytest.raises(UnknownPersonality, match="no personality is named 'windows'; there are strict, "):
        personality("windows")
    result = CliRunner().invoke(main, ["serve", "--personality", "windows", "--lun", "0=memory:1MiB"])
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert all(name in line for name in NAMES)


def test_the_help_names_them():
    output = CliRunner().invoke(main, ["serve", "-h"], terminal_width=200).output
    assert all(name in output for name in NAMES)


def test_faults_of_the_command_line_come_on_top():
    assert len(faults_of(personality("tgt-like"))) == len(
        [each for quirk in personality("tgt-like").quirks for name in quirk.faults for each in fault(name).faults]
    ) + sum(len(quirk.own) for quirk in personality("tgt-like").quirks)


def test_serve_takes_a_personality_under_its_options(tmp_path):
    """One process: portals, LUN, CHAP and the level of recovery are the operator's; the rest is the personality's."""
    secrets = tmp_path / "chap"
    secrets.write_text("tester one-way-secret-1\n")
    code = (
        "import sys, json, iscsi_target.cli as cli\n"
        "def made(config, **_):\n"
        "    node = config.targets[0]\n"
        "    print(json.dumps([len(config.portals), config.keys['ErrorRecoveryLevel'], config.keys['MaxConnections'],\n"
        "        node.luns[0].vendor, node.chap.challenge_length, config.policy.drop_bad_data_out]))\n"
        "    raise cli.ConfigError('seen')\n"
        "cli.make_engine = made\n"
        "cli.main()\n"
    )
    options = ["--personality", "freebsd-like", "--portal", "127.0.0.1:0", "--error-recovery-level", "1"]
    options += ["--lun", "0=memory:1MiB", "--chap-file", str(secrets)]
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", *options], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout) == [1, "1", "1", "FreeNAS", 1024, True]
