"""Reading a target's configuration, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_target.config import (
    ChapConfig,
    ChapMutual,
    ConfigError,
    Redirect,
    Size,
    TargetConfig,
    TargetNode,
    host_and_port,
    load_config,
    parse_config,
    parse_lun,
)

WHOLE = """
keys = { MaxBurstLength = "131072" }

[[portals]]
address = "127.0.0.1:0"

[[portals]]
address = "[::1]:3261"
group_tag = 2
advertised = "disks.example.org:3261"

[limits]
commands = 4
send_buffer = "1MiB"

[timers]
login = 5.5

[discovery_chap]
users = { finder = "finders-keepers" }

[[targets]]
name = "iqn.2026-11.org.example:all"
alias = "everything"
portal_groups = [2]
keys = { InitialR2T = "No", "X-org.example.key" = "1" }
initial_unit_attention = true

[targets.luns.0]
size = "64MiB"

[targets.luns.7]
backend = "sparse"
path = "/var/lib/disk.img"
size = 8192
block_size = 4096
read_only = true
removable = true
serial = "A1"

[targets.access]
"iqn.2026-11.org.example:one" = [0, 7]
"*" = [7]

[targets.chap]
users = { one = "one-way-secret-1" }
required = false
algorithms = [7, 5]

[targets.chap.mutual]
name = "disks"
secret = "mutual-secret-22"

[[targets]]
name = "eui.0123456789abcdef"

[targets.redirect]
address = "192.0.2.1:3260"
permanent = true
"""


def test_everything_can_be_said():
    config = parse_config(WHOLE)
    assert [portal.group_tag for portal in config.portals] == [1, 2]
    assert config.limits.commands == 4
    assert config.limits.send_buffer == 1 << 20
    assert config.timers.login == 5.5
    assert config.discovery_chap is not None
    first, second = config.targets
    assert first.luns[0].size == 64 << 20
    assert (first.luns[7].backend, first.luns[7].block_size, first.luns[7].size) == ("sparse", 4096, 8192)
    assert first.access == {"iqn.2026-11.org.example:one": [0, 7], "*": [7]}
    assert first.chap is not None
    assert first.chap.algorithms == [7, 5]
    assert second.redirect is not None
    assert second.redirect.status == 0x0102
    assert config.node("eui.0123456789abcdef") is second
    assert config.node("eui.0123456789abcdee") is None


def test_defaults_stand_for_what_is_left_out():
    config = parse_config('[[targets]]\nname = "iqn.2026-11.org.example:a"\nluns.0.size = 512')
    assert config == TargetConfig(targets=[TargetNode(name="iqn.2026-11.org.example:a", luns=config.targets[0].luns)])
    assert [portal.address for portal in config.portals] == ["127.0.0.1:3260"]
    assert config.targets[0].luns[0].block_size == 512
    assert Redirect(address="a").status == 0x0101


NODE = '[[targets]]\nname = "iqn.2026-11.org.example:a"\n'

REFUSED = [
    ("nonsense", "not TOML"),
    ("", "targets"),
    (f"{NODE}colour = 1", "colour"),
    (f"[policy]\ncolour = 1\n{NODE}", "colour"),
    (f"policy = 1\n{NODE}", "policy"),
    (NODE + NODE, "two targets"),
    ('[[targets]]\nname = "disk"', "disk"),
    (f"portals = []\n{NODE}", "portal"),
    (f"{NODE}portal_groups = [9]", "portal group 9"),
    ('targets = []\n[[portals]]\naddress = "::1:3260"', "brackets"),
    ('targets = []\n[[portals]]\naddress = "localhost"', "HOST:PORT"),
    ('targets = []\n[[portals]]\naddress = "a:1"\nadvertised = "b"', "HOST:PORT"),
    ('targets = []\n[[portals]]\naddress = "a:70000"', "HOST:PORT"),
    ('targets = []\n[[portals]]\naddress = "a:1"\ngroup_tag = 65536', "group_tag"),
    (f"{NODE}luns.0.size = 1000", "multiple of the block size"),
    (f"{NODE}luns.0.size = 0", "multiple of the block size"),
    (f'{NODE}luns.0.size = "1 mile"', "64MiB"),
    (f"{NODE}luns.0.size = true", "64MiB"),
    (f"{NODE}luns.0.block_size = 520", "520"),
    (f'{NODE}luns.0.path = "/a"', "no path"),
    (f"{NODE}luns.0.read_only = true", "needs a size"),
    (f'{NODE}luns.0.backend = "file"', "needs a path"),
    (f'{NODE}luns.0 = {{ size = 512, vendor = "much too long" }}', "vendor"),
    (f'{NODE}luns.0 = {{ size = 512, serial = "\\u00e4" }}', "serial"),
    (f"{NODE}luns.16384.size = 512", "16383"),
    (f'{NODE}luns.0.size = 512\naccess = {{ "*" = [1] }}', "LUN 1"),
    (f'{NODE}keys = {{ MaxBurst = "1" }}', "MaxBurst"),
    (f'keys = {{ MaxBurst = "1" }}\n{NODE}', "MaxBurst"),
    (f"{NODE}chap.users = {{}}", "at least one user"),
    (f'{NODE}chap.users = {{ a = "short" }}', "12 to 255"),
    (f'{NODE}chap.users = {{ "" = "long-enough-secret" }}', "CHAP name"),
    (f'{NODE}chap = {{ users = {{ a = "long-enough-secret" }}, algorithms = [] }}', "algorithms"),
    (f'{NODE}chap = {{ users = {{ a = "long-enough-secret" }}, algorithms = [5, 5] }}', "algorithms"),
    (f'{NODE}chap = {{ users = {{ a = "long-enough-secret" }}, algorithms = [4] }}', "4"),
    (f"[limits]\nsessions = 0\n{NODE}", "sessions"),
    (f"[timers]\nlogin = -1.0\n{NODE}", "login"),
    (f"[timers]\nlogin = inf\n{NODE}", "login"),
    (f'{NODE}luns.0.size = "8388608TiB"', "size is at most 9223372036854775807"),
    (
        f'{NODE}luns.0 = {{ size = 512, max_write_same = "8388608TiB" }}',
        "max_write_same is at most 9223372036854775807",
    ),
    (f'{NODE}luns.0 = {{ backend = "file", path = "a\\u0000" }}', "no NUL"),
    (f'state = "a\\u0000"\n{NODE}', "a path has no NUL"),
    (f"targets = {'[' * 100000}", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_cannot_work_is_refused_in_one_line(text, says):
    with pytest.raises(ConfigError) as refused:
        parse_config(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_secret_for_both_directions_is_refused():
    same = "the-same-secret-1"
    with pytest.raises(ValueError, match="share one secret"):
        ChapConfig(users={"a": same}, mutual=ChapMutual(name="b", secret=same))


def test_secrets_are_not_shown():
    chap = ChapConfig(users={"a": "one-way-secret-1"}, mutual=ChapMutual(name="b", secret="mutual-secret-22"))
    shown = repr(TargetNode(name="iqn.2026-11.org.example:a", chap=chap))
    assert "'a'" in shown
    assert "secret" not in shown


@given(st.integers(0, 1 << 40), st.sampled_from([("", 1), ("KiB", 1 << 10), (" MiB", 1 << 20), ("GiB", 1 << 30)]))
def test_sizes_are_numbers_with_a_binary_suffix(number, suffix):
    text, factor = suffix
    assert Size.parse(f"{number}{text}") == number * factor
    assert Size.parse(number) == number


@given(st.one_of(st.text(), st.floats(), st.booleans(), st.integers(max_value=-1), st.none()))
def test_no_other_size_is_taken(value):
    try:
        size = Size.parse(value)
    except ValueError:
        return
    assert isinstance(value, str)
    assert value.strip()[0] in "0123456789"
    assert size >= 0


@pytest.mark.parametrize(
    ("text", "lun", "backend", "path", "size"),
    [
        ("0=memory:64MiB", 0, "memory", None, 64 << 20),
        ("3=file:/tmp/a.img", 3, "file", "/tmp/a.img", None),
        ("3=file:/tmp/a.img:4KiB", 3, "file", "/tmp/a.img", 4096),
        ("3=file:/tmp/a:b", 3, "file", "/tmp/a:b", None),
        ("16383=sparse:disk:1GiB", 16383, "sparse", "disk", 1 << 30),
    ],
)
def test_luns_of_the_command_line(text, lun, backend, path, size):
    number, config = parse_lun(text)
    assert (number, config.backend, config.path, config.size) == (lun, backend, path, size)


@pytest.mark.parametrize(
    "text", ["", "0", "0=memory", "x=memory:1MiB", "0=memory:1", "0=memory:much", "0=tape:x", "16384=memory:1MiB"]
)
def test_other_luns_are_refused(text):
    with pytest.raises(ConfigError, match=r"^[^\n]+$"):
        parse_lun(text)


def test_addresses_are_taken_apart():
    assert host_and_port("[::1]:3260") == ("::1", 3260)
    assert host_and_port("host:0") == ("host", 0)
    for wrong in ("", ":1", "host:", "host:x", "host:-1", "::1"):
        with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
            host_and_port(wrong)


def test_files_are_named_when_they_cannot_be_read(tmp_path):
    path = tmp_path / "target.toml"
    path.write_text(WHOLE)
    assert load_config(path) == parse_config(WHOLE)
    with pytest.raises(ConfigError, match=r"absent.toml: No such file"):
        load_config(tmp_path / "absent.toml")
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"target.toml: not UTF-8"):
        load_config(path)
    path.write_text("targets = 3")
    with pytest.raises(ConfigError, match=r"target.toml: Expected"):
        load_config(path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("queue_depth = -1", "queue_depth is 0 to 65535, got -1"),
        ("busy = 70000", "busy is 0 to 65535, got 70000"),
        ("busy = 1", "busy=1 would answer every command BUSY"),
        ("retry_delay = 16368", "retry_delay is 0 to 16367, got 16368"),
    ],
)
def test_limits_of_a_task_set_that_cannot_be(setting, message):
    text = f'[[targets]]\nname = "iqn.2026-11.org.example:disk"\n[targets.luns.0]\nsize = 512\n{setting}\n'
    with pytest.raises(ConfigError, match=message):
        parse_config(text)
