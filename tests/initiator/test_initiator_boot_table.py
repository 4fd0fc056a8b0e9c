"""Boot tables are read leniently and without loss, judged strictly, laid out exactly, and make logins."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iscsi_initiator.boot import EVENT, BootTableError, assemble, decode, encode, judge, logins, start
from iscsi_initiator.boot.layout import (
    NO_ADDRESS,
    BlockFlag,
    ChapType,
    Control,
    Header,
    Initiator,
    Nic,
    Origin,
    SecretText,
    Target,
    Text,
    address_text,
    mac_text,
    pack_address,
    pci_text,
)
from iscsi_initiator.boot.login import boot_nics
from iscsi_initiator.boot.show import table_json, table_lines
from iscsi_initiator.boot.table import sealed, text
from iscsi_protocol.eventlog.rows import EVENTS

HOST = "iqn.2026-01.org.example:host"
DISK = "iqn.2026-01.org.example:disk"

GOLDEN = bytes.fromhex(
    # header
    "69424654 6c010000 01 00 434f4e464f52 54455354494e4700"
    + "00" * 24
    +
    # control
    "01 01 1200 00 00 0000 5000 a000 1001 0000 0000"
    + "00" * 14
    +
    # initiator
    "02 01 4a00 00 03 00000000000000000000ffffc0000205"
    + "00" * 48
    + "0a00 4601"
    + "00" * 6
    +
    # nic
    "03 01 6600 00 07 00000000000000000000ffffc0000214 18 03 00000000000000000000ffffc0000201"
    "20010db8000000000000000000000053" + "00" * 16 + "00000000000000000000ffffc0000202"
    "6400 02005e100001 1802 0400 5101" + "00" * 10 +
    # target
    "04 01 3600 00 03 00000000000000000000ffffc000020a bc0c 0001000000000000 01 00"
    "0a00 5601 0100 6101 0300 6301 0000 0000 0000 0000" +
    # heap
    "69716e2e612d622e633a00 686f737400 6575692e30303a64697300 7500 73656300"
    + "00" * 5
)
"""A table laid out as iPXE does, structures at multiples of 16; written byte by byte."""


def table(*, initiator=None, nics=None, targets=None, **options):
    """A table that is right, with changes."""
    return assemble(
        initiator or Initiator(name=text(HOST)),
        [nic()] if nics is None else nics,
        [target()] if targets is None else targets,
        **options,
    )


def nic(**changes):
    return Nic(
        **{
            "address": pack_address("192.0.2.20"),
            "prefix_length": 24,
            "origin": Origin.DHCP,
            "mac": bytes.fromhex("020000000001"),
            "host_name": text("host"),
            **changes,
        }
    )


def target(**changes):
    return Target(**{"address": pack_address("192.0.2.10"), "port": 3260, "name": text(DISK), **changes})


def chap(**changes):
    return target(
        **{
            "chap_type": ChapType.MUTUAL_CHAP,
            "chap_name": text("user"),
            "chap_secret": SecretText(b"secret of user"),
            "mutual_name": text("disk"),
            "mutual_secret": SecretText(b"secret of disk"),
            **changes,
        }
    )


def reasons(changed):
    return [str(each) for each in judge(changed)]


def test_every_field_is_where_it_has_to_be():
    found = decode(GOLDEN)
    assert found.header == Header(length=0x16C, oem_id=b"CONFOR", oem_table_id=b"TESTING\0")
    assert found.control == Control(offsets=(0x50, 0xA0, 0x110, 0, 0))
    assert found.initiator is not None
    assert address_text(found.initiator.isns_server) == "192.0.2.5"
    assert (found.initiator.name.offset, found.initiator.name.length) == (0x146, 10)
    assert found.nics[1] is None
    adapter = found.nics[0]
    assert adapter is not None
    assert [address_text(each) for each in (adapter.address, adapter.gateway, adapter.primary_dns)] == [
        "192.0.2.20",
        "192.0.2.1",
        "2001:db8::53",
    ]
    assert (adapter.prefix_length, adapter.origin, adapter.vlan) == (24, Origin.DHCP, 100)
    assert (address_text(adapter.secondary_dns), address_text(adapter.dhcp_server)) == ("", "192.0.2.2")
    assert (mac_text(adapter.mac), pci_text(adapter.pci)) == ("02-00-5E-10-00-01", "02:03.0")
    assert adapter.flags == BlockFlag.VALID | BlockFlag.BOOT_SELECTED | BlockFlag.GLOBAL_ADDRESS
    disk = found.targets[0]
    assert disk is not None
    assert (address_text(disk.address), disk.port, disk.lun) == ("192.0.2.10", 3260, bytes([0, 1]).ljust(8, b"\0"))
    assert (disk.chap_type, disk.nic, disk.name.offset) == (ChapType.CHAP, 0, 0x156)
    assert (disk.chap_name.offset, disk.chap_secret.length, disk.mutual_secret.length) == (0x161, 3, 0)
    assert encode(found) == GOLDEN


def test_an_assembled_table_is_right_and_reads_as_it_was_written():
    made = table(
        nics=[nic(), nic(mac=bytes.fromhex("020000000002"), flags=BlockFlag.VALID)],
        targets=[chap(), target(nic=1, flags=BlockFlag.VALID, address=pack_address("2001:db8::10"))],
        oem_id=b"ABC",
        oem_table_id=b"DEF",
        failover=True,
    )
    assert judge(made) == ()
    assert decode(made.image) == made
    assert encode(made) == made.image
    assert sum(made.image) & 0xFF == 0
    assert all(block.offset % 8 == 0 for block in made.blocks())
    assert made.control.flags == 1


def test_more_than_two_of_a_kind():
    made = table(nics=[nic()] * 3, targets=[target(nic=2)])
    assert judge(made) == ()
    assert made.control.length == 22
    assert [each is not None for each in made.nics] == [True] * 3
    assert [each is not None for each in decode(made.image).targets] == [True, False, False]


def test_no_more_than_32_are_looked_at():
    image = bytearray(b"iBFT" + b"\xc8\0" * 32766)
    image[48:56] = bytes.fromhex("0101e8fd00000000")
    found = decode(bytes(image))
    assert (len(found.nics), len(found.targets)) == (32, 32)
    assert encode(found) == image
    assert "control: a length of 65000; what is beyond 32 NICs and targets is not looked at" in reasons(found)
    assert judge(table(nics=[nic()] * 32, targets=[target()] * 32)) == ()
    with pytest.raises(BootTableError, match="32 NICs and targets at most"):
        table(nics=[nic()] * 33)


def test_a_table_has_64_kib_at_most():
    with pytest.raises(BootTableError, match="65535 are the most"):
        table(initiator=Initiator(name=text("x" * 0xFFFF)))


@pytest.mark.parametrize("data", [b"", b"iBF", b"DSDT" + bytes(100), b"iBFT" + bytes(61)])
def test_what_is_no_table(data):
    with pytest.raises(BootTableError):
        decode(data)


addresses = st.one_of(
    st.just(NO_ADDRESS),
    st.ip_addresses().map(lambda address: pack_address(str(address))),
    st.binary(min_size=16, max_size=16),
)
texts = st.one_of(st.just(Text()), st.binary(max_size=30).map(Text))
secrets = st.binary(max_size=20).map(SecretText)
octets, words = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
heads = {"version": octets, "flags": octets}
initiators = st.builds(
    Initiator, **heads, isns_server=addresses, slp_server=addresses, primary_radius_server=addresses, name=texts
)
adapters = st.builds(
    Nic,
    **heads,
    address=addresses,
    prefix_length=octets,
    origin=octets,
    gateway=addresses,
    dhcp_server=addresses,
    vlan=words,
    mac=st.binary(min_size=6, max_size=6),
    pci=words,
    host_name=texts,
)
disks = st.builds(
    Target,
    **heads,
    address=addresses,
    port=words,
    lun=st.binary(min_size=8, max_size=8),
    chap_type=octets,
    nic=octets,
    name=texts,
    chap_name=texts,
    chap_secret=secrets,
    mutual_name=texts,
    mutual_secret=secrets,
)


def contents(block):
    """The fields of a structure without where things are."""
    if block is None:
        return None
    values = {
        name: getattr(block, name) for name in type(block).__dataclass_fields__ if name not in ("offset", "index")
    }
    return {name: value.data if isinstance(value, Text) else value for name, value in values.items()}


@given(initiators, st.lists(adapters, max_size=4), st.lists(disks, max_size=4))
def test_whatever_is_written_is_read(initiator, nics, targets):
    made = assemble(initiator, nics, targets)
    found = decode(made.image)
    assert found == made
    assert encode(found) == made.image
    assert contents(found.initiator) == contents(initiator)
    assert [contents(each) for each in found.nics[: len(nics)]] == [contents(each) for each in nics]
    assert [contents(each) for each in found.targets[: len(targets)]] == [contents(each) for each in targets]
    assert "checksum" not in " ".join(reasons(found))


def harmless(image):
    """Everything that is done with an image gives a result or its own error."""
    try:
        found = decode(image)
    except BootTableError:
        return
    assert encode(found) == image
    for each in judge(found):
        assert "\n" not in str(each)
    list(table_lines(found))
    repr(found)
    with suppress(BootTableError):
        logins(found)


images = st.one_of(
    st.binary(max_size=400).map(lambda data: b"iBFT" + data),
    st.tuples(st.lists(st.tuples(st.integers(0, 0x16B), octets), max_size=8), st.integers(48, 0x16C)).map(
        lambda drawn: overwritten(*drawn)
    ),
)


def overwritten(changes, length):
    image = bytearray(GOLDEN)
    for at, byte in changes:
        image[at] = byte
    return bytes(image[:length])


@given(images)
@example(GOLDEN[:0x36] + b"\x30\0" * 5 + GOLDEN[0x40:])
@example(GOLDEN[:0x32] + b"\xff\xff" + GOLDEN[0x34:])
def test_hostile_images_do_no_harm(image):
    harmless(image)


@given(st.integers(0, len(GOLDEN) - 1), octets)
def test_a_changed_byte_is_found(at, byte):
    whole = table(targets=[chap()]).image
    at %= len(whole)
    changed = decode(whole[:4] + (whole[4:at] + bytes([byte]) + whole[at + 1 :] if at >= 4 else whole[4:]))
    assert (changed.image == whole) == (judge(changed) == ())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda made: replace(made, header=replace(made.header, length=5)), "header: its length is 5, the table has"),
        (lambda made: replace(made, header=replace(made.header, revision=2)), "header: revision 2"),
        (
            lambda made: replace(made, header=replace(made.header, checksum=made.header.checksum ^ 1)),
            "header: the checksum",
        ),
        (lambda made: replace(made, header=replace(made.header, reserved=b"\1" + bytes(23))), "header: reserved bytes"),
        (lambda made: replace(made, control=replace(made.control, id=9)), "control: structure 9 instead of 1"),
        (lambda made: replace(made, control=replace(made.control, version=2)), "control: version 2"),
        (lambda made: replace(made, control=replace(made.control, length=16)), "control: a length of 16"),
        (lambda made: replace(made, control=replace(made.control, length=19)), "control: a length of 19"),
        (lambda made: replace(made, control=replace(made.control, length=4000)), "control: its 4000 bytes are beyond"),
        (lambda made: replace(made, control=replace(made.control, index=1)), "control: index 1"),
        (lambda made: replace(made, control=replace(made.control, flags=2)), "control: unknown flags 0x02"),
        (lambda made: replace(made, control=replace(made.control, extensions=0x51)), "control: at 0x51, which is no"),
        (lambda made: replace(made, control=replace(made.control, extensions=0x30)), "control: at 0x30, within"),
        (lambda made: replace(made, control=replace(made.control, extensions=0x4000)), "control: at 0x4000, beyond"),
    ],
)
def test_header_and_control_are_judged(changed, reason):
    made = changed(table())
    found = reasons(decode(encode(replace(made, image=made.image))))
    assert any(each.startswith(reason) for each in found), found


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"initiator": Initiator(name=text(HOST), version=2)}, "initiator: version 2"),
        ({"initiator": Initiator(name=text(HOST), id=7)}, "initiator: structure 7 instead of 2"),
        ({"initiator": Initiator(name=text(HOST), length=70)}, "initiator: a length of 70, not 74"),
        ({"initiator": Initiator(name=text(HOST), flags=7)}, "initiator: unknown flags 0x04"),
        ({"initiator": Initiator(name=text(HOST), flags=2)}, "initiator: selected for booting, and not valid"),
        ({"initiator": Initiator(name=text(HOST), flags=0)}, "table: the initiator is not valid"),
        ({"initiator": Initiator()}, "initiator: no name"),
        ({"initiator": Initiator(name=text("Host"))}, "initiator: name: "),
        ({"initiator": Initiator(name=text(f"{HOST}\0x"))}, "initiator: name has a NUL within"),
        ({"initiator": Initiator(name=text(b"\xff"))}, "initiator: name is no printable text"),
        ({"nics": []}, "table: no valid NIC"),
        ({"nics": []}, "target 0: its adapter, NIC 0, is not there"),
        ({"nics": [nic(flags=1)]}, "table: no NIC is selected for booting"),
        ({"nics": [nic(mac=bytes(6))]}, "nic 0: no MAC address"),
        ({"nics": [nic(mac=b"\1\0\0\0\0\0")]}, "nic 0: the MAC address is that of a group"),
        ({"nics": [nic(prefix_length=33)]}, "nic 0: a prefix of 33 bits; 32 are the most"),
        ({"nics": [nic(address=pack_address("::1"), prefix_length=0)]}, "nic 0: a prefix of 0 bits; 128 are"),
        ({"nics": [nic(origin=5)]}, "nic 0: unknown origin 5"),
        ({"nics": [nic(vlan=4095)]}, "nic 0: VLAN 4095"),
        ({"targets": []}, "table: no valid target"),
        ({"targets": [target(flags=1)]}, "table: no target is selected"),
        ({"targets": [target(nic=2)]}, "target 0: its adapter, NIC 2, is not there"),
        ({"targets": [target(nic=1)]}, "target 0: its adapter, NIC 1, is not there"),
        ({"targets": [target(address=NO_ADDRESS)]}, "target 0: no address"),
        ({"targets": [target(address=pack_address("0.0.0.0"))]}, "target 0: no address"),
        ({"targets": [target(port=0)]}, "target 0: no port"),
        ({"targets": [target(chap_type=3)]}, "target 0: unknown CHAP type 3"),
        ({"targets": [chap(chap_secret=SecretText())]}, "target 0: CHAP without name or secret"),
        ({"targets": [chap(mutual_secret=SecretText())]}, "target 0: mutual CHAP without the target's secret"),
        ({"targets": [target(name=text("disk"))]}, "target 0: name: "),
    ],
)
def test_structures_are_judged(parts, reason):
    found = reasons(table(**parts))
    assert any(each.startswith(reason) for each in found), found


def test_places_are_judged():
    made = table()
    assert made.initiator is not None
    initiator = made.initiator

    def moved(**changes):
        return reasons(decode(encode(replace(made, initiator=replace(initiator, **changes)))))

    assert "initiator: index 3, not 0" in moved(index=3)
    beyond = moved(name=Text(b"", 9, 0x7000))
    assert any("name: 9 bytes at 0x7000 are beyond the table" in each for each in beyond)
    assert any("name at 0x10, within header" in each for each in moved(name=Text(b"", 9, 0x10)))
    assert any("name has no NUL behind it" in each for each in moved(name=replace(initiator.name, data=b"", length=3)))
    gone = decode(encode(replace(made, control=replace(made.control, offsets=(0, 0x4000, 0x4000, 0x50, 0)))))
    assert "initiator: there is none" in reasons(gone)
    assert "nic 0: 102 bytes at 0x4000 are beyond the table" in reasons(gone)
    first = made.control.offsets[0]
    twice = decode(
        encode(replace(made, control=replace(made.control, offsets=(first, first, *made.control.offsets[2:]))))
    )
    assert f"table: the structures at {first:#x} and {first:#x} overlap" in reasons(twice)


def test_nothing_is_written_beyond_the_image():
    made = table()
    assert made.initiator is not None
    with pytest.raises(BootTableError, match="beyond the"):
        encode(replace(made, initiator=replace(made.initiator, offset=len(made.image) - 1)))


def test_sealing_makes_length_and_checksum_right():
    made = table()
    spoilt = replace(made, header=replace(made.header, length=1, checksum=7, oem_id=b"OTHER!"))
    assert [each for each in reasons(sealed(spoilt)) if each.startswith("header")] == []
    assert sealed(spoilt).image != made.image


def test_no_secret_is_shown():
    made = table(targets=[chap()])
    shown = repr(made) + "\n".join(table_lines(made)) + str(table_json(made)) + str(logins(made))
    assert "secret of" not in shown
    assert "14 bytes, not shown" in shown


def test_words_for_what_is_unknown():
    made = table(
        nics=[nic(origin=99, flags=0xF7)],
        targets=[target(chap_type=9, lun=bytes.fromhex("c101000000000000"), flags=0xFF), target(name=text(b"\xff"))],
    )
    lines = list(table_lines(made))
    assert "  flags                   valid, boot selected, global address, unknown 0xf0" in lines
    assert "  flags                   valid, boot selected, RADIUS CHAP, RADIUS mutual CHAP, unknown 0xf0" in lines
    assert "  origin                  99" in lines
    assert "  chap type               9" in lines
    assert "  lun                     c101-0000-0000-0000" in lines
    assert "  name                    \\xff" in lines
    bare = table(nics=[nic(flags=0)])
    assert "  flags                   none" in table_lines(bare)


# Logins.


def test_a_start_logs_event_64_and_gives_the_login():
    told: list[int] = []
    (login,) = start(table(targets=[target(lun=bytes([0, 3]).ljust(8, b"\0"))]), told.append, isid=b"\x80abcde")
    assert told == [EVENT] == [64]
    assert EVENT in EVENTS
    assert login.initiator_name == HOST
    assert str(login.options.portal) == "192.0.2.10:3260"
    assert (login.options.target_name, login.options.chap, login.options.isid) == (DISK, None, b"\x80abcde")
    assert (login.lun[:2], login.mac, login.address) == (b"\0\3", "02-00-00-00-00-01", "192.0.2.20")


def test_the_event_is_told_also_where_no_login_comes_of_it():
    told: list[int] = []
    with pytest.raises(BootTableError):
        start(table(targets=[]), told.append)
    assert told == [64]


def test_chap_of_a_table():
    (login,) = logins(table(targets=[chap()]))
    mutual = login.options.chap
    assert mutual is not None
    assert (mutual.credentials.name, mutual.credentials.secret) == ("user", b"secret of user")
    assert (mutual.target_secret, mutual.target_name, mutual.required) == (b"secret of disk", "disk", True)
    one_way = logins(table(targets=[chap(chap_type=ChapType.CHAP, mutual_name=Text())]))[0].options.chap
    assert one_way is not None
    assert one_way.target_secret is None
    any_name = logins(table(targets=[chap(mutual_name=Text())]))[0].options.chap
    assert any_name is not None
    assert any_name.target_name is None


def test_which_target_is_logged_in_to():
    first = target(flags=BlockFlag.VALID, address=pack_address("2001:db8::1"))
    both = [first, target(nic=9)]
    assert [str(each.options.portal) for each in logins(table(targets=both))] == ["192.0.2.10:3260"]
    in_turn = logins(table(targets=both, failover=True))
    assert [str(each.options.portal) for each in in_turn] == ["192.0.2.10:3260", "[2001:db8::1]:3260"]
    assert [each.mac for each in in_turn] == ["", "02-00-00-00-00-01"]
    assert logins(table(nics=[nic(flags=0)]))[0].mac == ""


def test_which_adapters_boot():
    selected, valid, neither = nic(), nic(flags=1), nic(flags=2)
    assert [each.flags for each in boot_nics(table(nics=[valid, selected, neither]))] == [selected.flags]
    assert [each.flags for each in boot_nics(table(nics=[valid, neither]))] == [1]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"initiator": Initiator(name=text(HOST), flags=0)}, "no valid initiator"),
        ({"initiator": Initiator(name=text("x"))}, "the table's initiator has no iSCSI name"),
        ({"targets": [target(flags=0)]}, "no valid target"),
        ({"targets": [target(name=text(b"\xff"))]}, "the table's target has no iSCSI name"),
        ({"targets": [target(port=0)]}, "no portal"),
        ({"targets": [target(address=NO_ADDRESS)]}, "no portal"),
        ({"targets": [target(chap_type=3)]}, "unknown type 3"),
        ({"targets": [chap(flags=7)]}, "RADIUS server, which is not supported"),
        ({"targets": [chap(chap_name=Text())]}, "lacks the name or the secret"),
        ({"targets": [chap(chap_name=text(b"\xff"))]}, "a CHAP name that is no text"),
        ({"targets": [chap(mutual_secret=SecretText())]}, "lacks the target's secret"),
    ],
)
def test_what_keeps_from_logging_in(parts, reason):
    with pytest.raises(BootTableError, match=reason):
        logins(table(**parts))


def test_a_table_without_an_initiator_gives_no_login():
    made = table()
    with pytest.raises(BootTableError, match="no valid initiator"):
        logins(replace(made, initiator=None))


def test_addresses():
    assert pack_address("") == NO_ADDRESS
    assert pack_address("192.0.2.1") == bytes(10) + b"\xff\xff\xc0\0\2\1"
    assert [address_text(pack_address(each)) for each in ("2001:db8::1", "192.0.2.1", "0.0.0.0", "::")] == [
        "2001:db8::1",
        "192.0.2.1",
        "",
        "",
    ]
