"""`iscsi-initiator boot`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import re
import stat
import string

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iscsi_initiator.boot import BootTableError, build_root_path, decode, judge, logins, sysfs
from iscsi_initiator.boot.commands import boot_group
from iscsi_initiator.boot.dhcp import build_options
from iscsi_initiator.boot.layout import Origin, address_text, pci_text
from iscsi_initiator.cli import main

HOST = "iqn.2026-01.org.example:host"
DISK = "iqn.2026-01.org.example:disk"
SECRET = "correct horse battery"
MAC = ("--initiator-name", HOST, "--mac", "02:00:00:00:00:0a")
WHERE = ("--target-name", DISK, "--portal", "192.0.2.10:3261")


def run(*arguments):
    return CliRunner().invoke(main, ["boot", *map(str, arguments)])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "ibft.bin"
    result = run("write", path, *MAC, *WHERE, "--lun", "5", "--address", "192.0.2.20/24")
    assert (result.exit_code, result.output) == (0, "")
    return path


def test_show_begins_with_the_adapter_that_boots(image):
    result = run("show", image, "--strict")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "boot adapter  02-00-00-00-00-0A"
    assert "  address                 192.0.2.10" in lines
    assert "  lun                     5" in lines
    assert not any(line.startswith("  gateway") for line in lines)


def test_show_json(image):
    shown = json.loads(run("show", image, "--json").stdout)
    assert shown["boot_adapters"] == ["02-00-00-00-00-0A"]
    assert [each["place"] for each in shown["structures"]] == ["initiator", "nic 0", "target 0"]
    assert shown["structures"][2]["lun"] == 5
    assert (shown["structures"][1]["gateway"], shown["findings"]) == ("", [])


def test_show_tells_what_is_wrong(image):
    data = bytearray(image.read_bytes())
    data[9] ^= 1
    image.write_bytes(data)
    for options, code in (((), 0), (("--strict",), 1)):
        result = run("show", image, *options)
        assert result.exit_code == code
        assert re.fullmatch(
            rf"iscsi-initiator: {re.escape(str(image))}: header: the checksum is wrong: .*\n", result.stderr
        )
    assert json.loads(run("show", image, "--json").stdout)["findings"][0]["place"] == "header"


def test_show_refuses_what_is_no_table(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 100)
    for file in (tmp_path / "x", tmp_path / "none", tmp_path):
        result = run("show", file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"iscsi-initiator: {file}: ")
        assert result.stderr.count("\n") == 1


def test_show_auto(image, monkeypatch):
    monkeypatch.setattr(sysfs, "this_host", lambda: decode(image.read_bytes()))
    assert run("show", "auto").stdout == run("show", image).stdout

    def absent():
        raise BootTableError("none here")

    monkeypatch.setattr(sysfs, "this_host", absent)
    result = run("show", "auto")
    assert (result.exit_code, result.stderr) == (1, "iscsi-initiator: auto: none here\n")


def test_show_without_an_adapter(tmp_path, image):
    data = bytearray(image.read_bytes())
    data[int.from_bytes(data[58:60], "little") + 5] = 0
    image.write_bytes(data)
    assert run("show", image).stdout.startswith("boot adapter  none\n")


def test_write_everything(tmp_path):
    for name in ("secret", "mutual"):
        (tmp_path / name).write_text(f"{SECRET} {name}\n")
    path = tmp_path / "ibft.bin"
    path.write_text("old")
    result = run(
        *("write", path, *MAC, *WHERE, "--user", "user", "--secret-file", tmp_path / "secret"),
        *("--mutual-user", "disk", "--mutual-secret-file", tmp_path / "mutual"),
        *("--address", "2001:db8::20/64", "--gateway", "2001:db8::1", "--dns", "192.0.2.3", "--dns", "192.0.2.4"),
        *("--dhcp-server", "192.0.2.2", "--vlan", "7", "--pci", "02:1f.3", "--host-name", "host"),
        *(
            "--isns-server",
            "192.0.2.5",
            "--slp-server",
            "192.0.2.6",
            "--oem-id",
            "ABCDEF",
            "--oem-table-id",
            "ABCDEFGH",
        ),
    )
    assert (result.exit_code, result.output) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    table = decode(path.read_bytes())
    assert judge(table) == ()
    assert (table.header.oem_id, table.header.oem_table_id) == (b"ABCDEF", b"ABCDEFGH")
    (adapter, _), initiator = table.nics, table.initiator
    assert adapter is not None
    assert initiator is not None
    assert (address_text(adapter.address), adapter.prefix_length) == ("2001:db8::20", 64)
    assert (address_text(adapter.primary_dns), address_text(adapter.secondary_dns)) == ("192.0.2.3", "192.0.2.4")
    assert (adapter.origin, adapter.vlan, pci_text(adapter.pci)) == (Origin.DHCP, 7, "02:1f.3")
    assert (adapter.host_name.text, address_text(initiator.slp_server)) == ("host", "192.0.2.6")
    (login,) = logins(table)
    assert login.options.chap is not None
    assert login.options.chap.credentials.secret == f"{SECRET} secret".encode()
    assert login.options.chap.target_secret == f"{SECRET} mutual".encode()
    assert str(login.options.portal) == "192.0.2.10:3261"
    shown = run("show", path).stdout + run("show", path, "--json").stdout
    assert SECRET not in shown


def test_write_one_way_chap(tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "ibft.bin"
    assert run("write", path, *MAC, *WHERE, "--user", "u", "--secret-file", tmp_path / "secret").exit_code == 0
    assert "  chap type               chap" in run("show", path).stdout.splitlines()


def test_write_from_a_root_path(tmp_path):
    path = tmp_path / "ibft.bin"
    root_path = f"iscsi:[2001:db8::10]::3262:1-2:{DISK}"
    assert run("write", path, *MAC, "--root-path", root_path).exit_code == 0
    (login,) = logins(decode(path.read_bytes()))
    assert (str(login.options.portal), login.lun.hex()) == ("[2001:db8::10]:3262", "0001000200000000")


def test_write_from_dhcp_options(tmp_path):
    options = tmp_path / "options"
    options.write_bytes(build_options(host="client", path=build_root_path(DISK, server="192.0.2.10")))
    path = tmp_path / "ibft.bin"
    assert run("write", path, *MAC, "--dhcp-options", options).exit_code == 0
    lines = run("show", path).stdout.splitlines()
    assert "  host name               client" in lines
    assert "  port                    3260" in lines


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((*MAC,), "where the target is has to be said"),
        ((*MAC, "--target-name", DISK), "where the target is has to be said"),
        ((*MAC, *WHERE, "--root-path", f"iscsi:san::::{DISK}"), "are what a root path says already"),
        ((*MAC, "--root-path", f"iscsi:san::::{DISK}", "--lun", "0"), "are what a root path says already"),
        ((*MAC, "--root-path", f"iscsi:san::::{DISK}"), "san is no IP address"),
        ((*MAC, "--root-path", f"iscsi:::::{DISK}"), "the root path has no server"),
        ((*MAC, "--root-path", "x"), "does not begin with"),
        ((*MAC, "--target-name", DISK, "--portal", "san:3260"), "san is no IP address"),
        ((*MAC, "--target-name", DISK, "--portal", "192.0.2.1:0"), "is not a port"),
        ((*MAC, "--target-name", "disk", "--portal", "192.0.2.1:1"), "has no iSCSI name"),
        ((*MAC, "--target-name", DISK.upper(), "--portal", "192.0.2.1:1"), "name: "),
        (("--mac", "02:00:00:00:00:0a", "--initiator-name", "x", *WHERE), "has no iSCSI name"),
        (("--mac", "01:00:00:00:00:0a", "--initiator-name", HOST, *WHERE), "that of a group"),
        (("--mac", "x", "--initiator-name", HOST, *WHERE), "x is no MAC address"),
        ((*WHERE, "--mac", "02:00:00:00:00:0a"), "Missing option '--initiator-name'"),
        ((*MAC, *WHERE, "--address", "x"), "x is no ADDRESS/BITS"),
        ((*MAC, *WHERE, "--gateway", "x"), "x is no IP address"),
        ((*MAC, *WHERE, "--dns", "x"), "--dns"),
        ((*MAC, *WHERE, "--dns", "::1", "--dns", "::2", "--dns", "::3"), "two name servers at most"),
        ((*MAC, *WHERE, "--pci", "1"), "bus:device.function"),
        ((*MAC, *WHERE, "--vlan", "4095"), "4095 is not in the range"),
        ((*MAC, *WHERE, "--lun", "-1"), "-1 is not in the range"),
        ((*MAC, *WHERE, "--oem-id", "ABCDEFG"), "--oem-id has up to 6 bytes"),
        ((*MAC, *WHERE, "--user", "u"), "--user and --secret-file go together"),
        ((*MAC, *WHERE, "--mutual-user", "u"), "--mutual-user and --mutual-secret-file go together"),
        ((*MAC, *WHERE, "--mutual-user", "u", "--mutual-secret-file", "FILE"), "--user is missing"),
        ((*MAC, *WHERE, "--user", "u", "--secret-file", "EMPTY"), "no secret in it"),
        ((*MAC, "--dhcp-options", "FILE"), "cut off"),
        ((*MAC, "--dhcp-options", "EMPTY"), "where the target is has to be said"),
        ((*MAC, *WHERE, "--host-name", "a\x07"), "host name is no printable text"),
    ],
)
def test_write_refuses(tmp_path, options, reason):
    (tmp_path / "FILE").write_text(SECRET)
    (tmp_path / "EMPTY").write_text("")
    options = [str(tmp_path / each) if each in ("FILE", "EMPTY") else each for each in options]
    result = run("write", tmp_path / "ibft.bin", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in " ".join(result.stderr.split())
    assert SECRET not in result.output
    assert not (tmp_path / "ibft.bin").exists()


def test_write_tells_what_the_system_refuses(tmp_path):
    for arguments in (
        (tmp_path / "none" / "x", *MAC, *WHERE),
        (tmp_path / "x", *MAC, *WHERE, "--user", "u", "--secret-file", tmp_path / "none"),
    ):
        result = run("write", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.fullmatch(r"iscsi-initiator: .*: No such file or directory\n", result.stderr)


OPTIONS = sorted(option for each in boot_group.commands["write"].params for option in each.opts)
WORDS = st.one_of(st.sampled_from([*OPTIONS, HOST, DISK, "02:00:00:00:00:0a", "192.0.2.1"]), st.text(string.printable))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=12))
def test_whatever_is_given_ends_in_a_known_way(tmp_path, words):
    result = run("write", tmp_path / "fuzzed.bin", *(word.replace("/", "_") for word in words))
    assert result.exit_code in (0, 1, 2), result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
