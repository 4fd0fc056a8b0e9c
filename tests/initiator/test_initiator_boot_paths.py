"""Root paths of RFC 4173, the DHCP options that carry them, and what Linux shows of a boot table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.boot import (
    BootTableError,
    RootPath,
    RootPathError,
    build_root_path,
    judge,
    parse_root_path,
    split_root_path,
    sysfs,
)
from iscsi_initiator.boot.dhcp import (
    DhcpError,
    Option,
    build_options,
    host_name,
    option,
    pieces,
    read_options,
    root_path,
    write_options,
)
from iscsi_initiator.boot.layout import Initiator, Nic, SecretText, Target, address_text, mac_text, pack_address
from iscsi_initiator.boot.table import assemble, text
from iscsi_protocol.scsi.lun import encode_lun

DISK = "iqn.2026-01.org.example:disk:1"


@pytest.mark.parametrize(
    ("path", "host", "port", "lun"),
    [
        (f"iscsi:192.0.2.10:6:3260:0:{DISK}", "192.0.2.10", 3260, "0000000000000000"),
        (f"iscsi:::::{DISK}", None, 3260, "0000000000000000"),
        (f"iscsi:[2001:db8::10]::3261:1:{DISK}", "2001:db8::10", 3261, "0001000000000000"),
        (f"iscsi:san.example.org:::4752-3A4F-6b7e-2F99:{DISK}", "san.example.org", 3260, "47523a4f6b7e2f99"),
        (f"iscsi:san::65535:6734-9-156f-127:{DISK}", "san", 65535, "67340009156f0127"),
        (f"iscsi:san:::4186-9:{DISK}", "san", 3260, "4186000900000000"),
        ("iscsi:san::::eui.02004567a425678d", "san", 3260, "0000000000000000"),
        ("iscsi:[::ffff:192.0.2.1]::::naa.52004567ba64678d", "::ffff:192.0.2.1", 3260, "0000000000000000"),
    ],
)
def test_root_paths(path, host, port, lun):
    found = parse_root_path(path)
    assert (found.host, found.port_number, found.lun_structure.hex()) == (host, port, lun)
    assert str(found) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "does not begin with 'iscsi:'"),
        ("nfs:192.0.2.1:/root", "does not begin"),
        (f"ISCSI:san::::{DISK}", "it begins with 'ISCSI:'"),
        ("iscsi:san:::iqn.2026-01.org.example", "five fields"),
        ("iscsi:san", "five fields"),
        (f"iscsi:san:17:::{DISK}", "protocol '17'"),
        (f"iscsi:san:06:::{DISK}", "protocol '06'"),
        (f"iscsi:san::0::{DISK}", "'0' is no port"),
        (f"iscsi:san::65536::{DISK}", "is no port"),
        (f"iscsi:san::99999999999999999999::{DISK}", "is no port"),
        (f"iscsi:san::x::{DISK}", "is no port"),
        (f"iscsi:san::²::{DISK}", "is no port"),
        (f"iscsi:san:::12345:{DISK}", "is no LUN"),
        (f"iscsi:san:::1-:{DISK}", "is no LUN"),
        (f"iscsi:san:::1--2:{DISK}", "is no LUN"),
        (f"iscsi:san:::1-2-3-4-5:{DISK}", "is no LUN"),
        (f"iscsi:san:::0x1:{DISK}", "is no LUN"),
        ("iscsi:san::::", "no target name"),
        ("iscsi:san::::disk", "no target name"),
        ("iscsi:san::::IQN.2026-01.org.example", "no target name"),
        (f"iscsi:[192.0.2.1]::::{DISK}", "no IPv6 address in brackets"),
        (f"iscsi:[fe80::1%eth0]::::{DISK}", "no IPv6 address in brackets"),
        (f"iscsi:[]::::{DISK}", "no IPv6 address in brackets"),
        (f"iscsi:2001:db8::10:6:3260:0:{DISK}", "an IPv6 address stands in brackets"),
        (f"iscsi:192.0.2.256::::{DISK}", "no IPv4 address"),
        (f"iscsi:192.0.2::::{DISK}", "no IPv4 address"),
        (f"iscsi:-san::::{DISK}", "no domain name"),
        (f"iscsi:san_1::::{DISK}", "no domain name"),
        (f"iscsi:{'a' * 64}::::{DISK}", "no domain name"),
        (f"iscsi:{'a.' * 127}b::::{DISK}", "no domain name"),
    ],
)
def test_what_is_no_root_path(path, reason):
    with pytest.raises(RootPathError) as caught:
        parse_root_path(path)
    assert reason in str(caught.value)


def test_an_address_without_brackets_is_split_all_the_same():
    found = split_root_path(f"iscsi:2001:db8::10:6:3260:1-2:{DISK}")
    assert found == RootPath("2001:db8::10", "6", "3260", "1-2", DISK)


hosts = st.one_of(
    st.just(""),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(["san", "san.example.org", "a-b"]),
)


@given(hosts, st.one_of(st.none(), st.integers(1, 65535)), st.binary(min_size=8, max_size=8))
def test_what_is_built_says_what_it_was_built_from(host, port, lun):
    found = parse_root_path(str(build_root_path(DISK, server=host, port=port, lun=lun)))
    assert (found.host or "", found.port_number, found.lun_structure, found.target_name) == (
        host,
        port or 3260,
        lun,
        DISK,
    )


def test_the_shortest_form_is_built():
    assert str(build_root_path(DISK)) == f"iscsi:::::{DISK}"
    assert str(build_root_path(DISK, server="::1", port=3260, lun=encode_lun(1))) == f"iscsi:[::1]:::1:{DISK}"
    with pytest.raises(RootPathError):
        build_root_path("disk")
    with pytest.raises(RootPathError):
        build_root_path(DISK, port=0)


fields = st.text(st.characters(exclude_characters=":[]", exclude_categories=["Cs"]))


@given(fields, fields, fields, fields, st.text())
def test_splitting_loses_nothing(server, protocol, port, lun, name):
    path = f"iScsi:{server}:{protocol}:{port}:{lun}:{name}"
    found = split_root_path(path)
    assert str(found) == path
    list(found.judge())


@given(st.text().map(lambda text: f"iscsi:{text}"))
def test_any_text_is_split_or_refused(path):
    try:
        found = split_root_path(path)
    except RootPathError:
        return
    assert str(found) == path
    list(found.judge())


# DHCP.


def test_options_of_a_client():
    path = build_root_path(DISK, server="192.0.2.10")
    data = build_options(host="client-1", path=path)
    assert data == b"\x0c\x08client-1\x11" + bytes([len(str(path))]) + str(path).encode() + b"\xff"
    found = read_options(data)
    assert (host_name(found), root_path(found)) == ("client-1", path)
    assert build_options() == b"\xff"
    assert (host_name(()), root_path(())) == (None, None)


def test_long_options_are_in_pieces():
    path = build_root_path(f"iqn.2026-01.org.example:{'x' * 199}", server=f"{'a' * 60}.{'b' * 60}")
    found = read_options(build_options(path=path))
    assert [(each.code, len(each.data)) for each in found] == [(17, 255), (17, len(str(path)) - 255), (255, 0)]
    assert root_path(found) == path
    assert list(pieces(12, b"")) == [Option(12)]


def test_other_options_are_kept_and_a_nul_at_the_end_is_none():
    data = b"\0\x0c\x05host\0\x2b\x01a\x11\x08/nfsroot\xffrest"
    found = read_options(data)
    assert found == (
        Option(0),
        Option(12, b"host\0"),
        Option(43, b"a"),
        Option(17, b"/nfsroot"),
        Option(255, b"rest"),
    )
    assert (host_name(found), root_path(found), option(found, 43)) == ("host", None, b"a")
    assert write_options(found) == data


@pytest.mark.parametrize("data", [b"\x0c", b"\x0c\x02a", b"\x11\xff"])
def test_options_that_are_cut_off(data):
    with pytest.raises(DhcpError, match="cut off"):
        read_options(data)


@pytest.mark.parametrize("name", [b"", b"-a", b"a b", b"\xff", b"a..b", b"a" * 64, b"a." * 127 + b"bb"])
def test_what_is_no_host_name(name):
    with pytest.raises(DhcpError, match="option 12"):
        host_name((Option(12, name),))


def test_what_is_no_root_path_in_an_option():
    for path in (b"iscsi:", b"iscsi:san::::x", b"iscsi:san::::\xff"):
        with pytest.raises(DhcpError, match="option 17"):
            root_path((Option(17, path),))
    with pytest.raises(DhcpError, match="option 12"):
        build_options(host="a b")
    with pytest.raises(DhcpError, match="has 256 bytes"):
        write_options((Option(1, bytes(256)),))


@given(st.binary(max_size=80))
def test_options_lose_nothing(data):
    try:
        found = read_options(data)
    except DhcpError:
        return
    assert write_options(found) == data


# Linux.


def shown(root, folder, **values):
    """Files as the module iscsi_ibft shows them."""
    place = root / "firmware" / "ibft" / folder
    place.mkdir(parents=True)
    for name, value in values.items():
        (place / name.replace("_", "-" if folder != "acpi_header" else "_")).write_text(f"{value}\n")


@pytest.fixture
def root(tmp_path):
    shown(tmp_path, "acpi_header", signature="iBFT", oem_id="ABC", oem_table_id="DEF")
    shown(tmp_path, "initiator", index=0, flags=3, initiator_name="iqn.2026-01.a:b", isns_server="192.0.2.5")
    shown(
        tmp_path,
        "ethernet0",
        index=0,
        flags=3,
        ip_addr="192.0.2.20",
        subnet_mask="255.255.255.0",
        prefix_len=24,
        origin=3,
        gateway="192.0.2.1",
        primary_dns="2001:0db8:0000:0000:0000:0000:0000:0053",
        dhcp="192.0.2.2",
        vlan=5,
        mac="02:00:00:00:00:01",
        hostname="host",
    )
    (tmp_path / "firmware" / "ibft" / "ethernet0" / "power").mkdir()
    shown(
        tmp_path,
        "target0",
        index=0,
        flags=3,
        ip_addr="192.0.2.10",
        port=3260,
        lun="01000000",
        chap_type=2,
        nic_assoc=0,
        target_name="iqn.2026-01.a:c",
        chap_name="user",
        chap_secret="one",
        rev_chap_name="disk",
        rev_chap_name_secret="two",
    )
    return tmp_path


def test_the_table_that_linux_shows(root):
    found = sysfs.this_host(root)
    expected = assemble(
        Initiator(name=text("iqn.2026-01.a:b"), isns_server=pack_address("192.0.2.5")),
        [
            Nic(
                address=pack_address("192.0.2.20"),
                prefix_length=24,
                origin=3,
                gateway=pack_address("192.0.2.1"),
                primary_dns=pack_address("2001:db8::53"),
                dhcp_server=pack_address("192.0.2.2"),
                vlan=5,
                mac=bytes.fromhex("020000000001"),
                host_name=text("host"),
            )
        ],
        [
            Target(
                address=pack_address("192.0.2.10"),
                port=3260,
                lun=encode_lun(1),
                chap_type=2,
                name=text("iqn.2026-01.a:c"),
                chap_name=text("user"),
                chap_secret=SecretText(b"one"),
                mutual_name=text("disk"),
                mutual_secret=SecretText(b"two"),
            )
        ],
        oem_id=b"ABC",
        oem_table_id=b"DEF",
    )
    assert found == expected
    assert judge(found) == ()


def test_the_acpi_table_itself_goes_first(root):
    place = root / "firmware" / "acpi" / "tables"
    place.mkdir(parents=True)
    own = assemble(Initiator(name=text("iqn.2026-01.a:own")), [], [])
    (place / "iBFT").write_bytes(own.image)
    assert sysfs.this_host(root) == own


def test_numbers_may_be_missing(root):
    (root / "firmware" / "ibft" / "ethernet0").rename(root / "firmware" / "ibft" / "ethernet1")
    found = sysfs.this_host(root)
    assert found.nics[0] is None
    assert found.nics[1] is not None
    assert (mac_text(found.nics[1].mac), address_text(found.nics[1].gateway)) == ("02-00-00-00-00-01", "192.0.2.1")


def test_a_lun_of_sixteen_digits(root):
    (root / "firmware" / "ibft" / "target0" / "lun").write_text("400f000000000000\n")
    found = sysfs.this_host(root).targets[0]
    assert found is not None
    assert found.lun.hex() == "400f000000000000"


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("target0/lun", "1f000000000", "may be more than one LUN"),
        ("target0/port", "x", "port"),
        ("target0/port", "99999", "format"),
        ("ethernet0/mac", "02:00", "six pairs"),
        ("ethernet0/mac", "zz", "mac"),
        ("ethernet0/ip-addr", "x", "ip-addr"),
    ],
)
def test_what_linux_shows_may_be_nonsense(root, place, value, reason):
    (root / "firmware" / "ibft" / place).write_text(f"{value}\n")
    with pytest.raises(BootTableError) as caught:
        sysfs.this_host(root)
    assert reason in str(caught.value)


def test_a_computer_without_a_table(tmp_path):
    with pytest.raises(BootTableError, match="no iSCSI boot firmware table"):
        sysfs.this_host(tmp_path)
