"""ISIDs, port names and session handles: built, read back and refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import identity
from iscsi_protocol.identity import InitiatorPort, Isid, IsidType, Nexus, TargetPort
from iscsi_protocol.pdu.codes import LoginStatus

NAME = "iqn.2001-04.com.example:a,b"
OUIS = st.integers(0, 2**24 - 1).map(lambda oui: oui & 0xFCFFFF)
BITS_16 = st.integers(0, 2**16 - 1)
BITS_24 = st.integers(0, 2**24 - 1)
ISIDS = st.binary(min_size=6, max_size=6).map(Isid)


# ISID.


@pytest.mark.parametrize(
    ("isid", "wire", "kind", "authority", "qualifier"),
    [
        (Isid.from_oui(0x00023D, 0x000001), "00023d000001", IsidType.OUI, 0x00023D, 1),
        (Isid.from_oui(0xFCFFFF, 0xFFFFFF), "3fffffffffff", IsidType.OUI, 0xFCFFFF, 0xFFFFFF),
        (Isid.from_oui(0x040000, 0), "010000000000", IsidType.OUI, 0x040000, 0),
        (Isid.from_enterprise(0x000137, 0x4000), "400001374000", IsidType.ENTERPRISE, 0x137, 0x4000),
        (Isid.from_enterprise(0xFFFFFF, 0xFFFF), "40ffffffffff", IsidType.ENTERPRISE, 0xFFFFFF, 0xFFFF),
        (Isid.from_random(0x123456, 0x789A), "80123456789a", IsidType.RANDOM, 0x123456, 0x789A),
        (Isid(bytes.fromhex("c00000000000")), "c00000000000", IsidType.RESERVED, 0, 0),
    ],
)
def test_formats(isid: Isid, wire: str, kind: IsidType, authority: int, qualifier: int):
    assert bytes(isid).hex() == wire
    assert str(isid) == f"0x{wire}"
    assert (isid.type, isid.authority, isid.qualifier, isid.reserved) == (kind, authority, qualifier, 0)


@given(OUIS, BITS_24)
def test_oui_format_comes_back(oui: int, qualifier: int):
    isid = Isid.from_oui(oui, qualifier)
    assert (isid.type, isid.authority, isid.qualifier, isid.reserved) == (IsidType.OUI, oui, qualifier, 0)


@given(BITS_24, BITS_16)
def test_other_formats_come_back(number: int, qualifier: int):
    for isid, kind in (
        (Isid.from_enterprise(number, qualifier), IsidType.ENTERPRISE),
        (Isid.from_random(number, qualifier), IsidType.RANDOM),
    ):
        assert (isid.type, isid.authority, isid.qualifier, isid.reserved) == (kind, number, qualifier, 0)


def rebuild(isid: Isid) -> bytes:
    """The bytes out of the parts, by the picture in section 11.12.5."""
    kind = isid.type << 46
    if isid.type is IsidType.OUI:
        return (kind | (isid.authority >> 18) << 40 | (isid.authority & 0xFFFF) << 24 | isid.qualifier).to_bytes(
            6, "big"
        )
    if isid.type is IsidType.RESERVED:
        return (kind | isid.reserved).to_bytes(6, "big")
    return (kind | isid.reserved << 40 | isid.authority << 16 | isid.qualifier).to_bytes(6, "big")


@given(ISIDS)
def test_decoding_loses_nothing(isid: Isid):
    assert rebuild(isid) == isid.value


@pytest.mark.parametrize(
    ("wire", "reserved"),
    [("7f0000000000", 0x3F), ("a00000000000", 0x20), ("c00000000001", 1), ("ffffffffffff", 2**46 - 1)],
)
def test_reserved_bits(wire: str, reserved: int):
    assert Isid(bytes.fromhex(wire)).reserved == reserved


def test_drawn_isid_is_random_by_type():
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return bytes.fromhex("a1b2c3")

    assert bytes(Isid.draw(source, 7)).hex() == "80a1b2c30007"
    assert bytes(Isid.draw(source)).hex() == "80a1b2c30000"
    assert asked == [3, 3]


@pytest.mark.parametrize(
    ("build", "arguments", "words"),
    [
        (Isid.from_oui, (0x010000, 0), "I/G or U/L"),
        (Isid.from_oui, (0x020000, 0), "I/G or U/L"),
        (Isid.from_oui, (2**24, 0), "OUI has 24 bits"),
        (Isid.from_oui, (-1, 0), "OUI has 24 bits"),
        (Isid.from_oui, (0, 2**24), "qualifier has 24 bits"),
        (Isid.from_enterprise, (2**24, 0), "enterprise number has 24 bits"),
        (Isid.from_enterprise, (0, 2**16), "qualifier has 16 bits"),
        (Isid.from_random, (-1, 0), "random part has 24 bits"),
        (Isid.from_random, (0, -1), "qualifier has 16 bits"),
        (Isid, (bytes(5),), "6 bytes, got 5"),
        (Isid, (bytes(7),), "6 bytes, got 7"),
    ],
)
def test_what_does_not_fit(build: Any, arguments: tuple[Any, ...], words: str):
    with pytest.raises(ValueError, match=words):
        build(*arguments)


# Port names.


def test_port_names_on_the_wire():
    initiator = InitiatorPort("iqn.2001-04.com.example:a", Isid(bytes.fromhex("00023d0000ff")))
    target = TargetPort("iqn.2001-04.com.example:b", 1)
    assert str(initiator) == "iqn.2001-04.com.example:a,i,0x00023d0000ff"
    assert str(target) == "iqn.2001-04.com.example:b,t,0x0001"
    assert bytes(initiator) == b"iqn.2001-04.com.example:a,i,0x00023d0000ff\0"
    assert bytes(target) == b"iqn.2001-04.com.example:b,t,0x0001\0"
    # 15 and 7 bytes for the hex constant with its prefix and its NUL
    assert len(bytes(initiator).rpartition(b",")[2]) == 15
    assert len(bytes(target).rpartition(b",")[2]) == 7
    assert str(Nexus(initiator, target)) == f"{initiator} {target}"


@given(st.text(min_size=1, max_size=30).filter(lambda name: name.isprintable()), ISIDS, BITS_16)
def test_port_names_come_back(name: str, isid: Isid, tag: int):
    for port in (InitiatorPort(name, isid), TargetPort(name, tag)):
        assert identity.parse_port_name(str(port)) == port
        assert identity.decode_port_name(bytes(port)) == port


def test_port_name_with_bytes_that_are_not_utf_8_comes_back():
    data = b"iqn.\xff,t,0x0001\0"
    assert bytes(identity.decode_port_name(data)) == data


def test_prefix_and_digits_in_either_case():
    assert identity.parse_port_name(f"{NAME},i,0X00023D0000FF") == InitiatorPort(
        NAME, Isid(bytes.fromhex("00023d0000ff"))
    )
    assert identity.parse_port_name(f"{NAME},t,0X00Ff") == TargetPort(NAME, 255)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        f"{NAME},i,0x00023d0000f",
        f"{NAME},i,0x00023d0000ff0",
        f"{NAME},i,00023d0000ff",
        f"{NAME},i,0x0001",
        f"{NAME},t,0x00023d0000ff",
        f"{NAME},t,0x001",
        f"{NAME},t,0x000g",
        f"{NAME},x,0x0001",
        f"{NAME},T,0x0001",
        f"{NAME};t,0x0001",
        f"{NAME},t,0x0001\0",
        ",t,0x0001",
    ],
)
def test_no_port_name(text: str):
    with pytest.raises(identity.PortNameError) as caught:
        identity.parse_port_name(text)
    assert (caught.value.clause, caught.value.offender) == ("R7143-4.4.2-03", text)


@pytest.mark.parametrize("data", [b"", b"a,t,0x0001", b"a,t,0x0001\0\0", b"\0"])
def test_port_name_ends_with_one_nul(data: bytes):
    with pytest.raises(identity.PortNameError):
        identity.decode_port_name(data)


@pytest.mark.parametrize("tag", [-1, 65536])
def test_portal_group_tag_has_16_bits(tag: int):
    with pytest.raises(ValueError, match="16 bits"):
        TargetPort(NAME, tag)


def test_ports_and_nexus_are_keys():
    """Sessions are looked up by them: equal by value, usable in sets, ordered."""
    port = InitiatorPort(NAME, Isid.from_random(1, 2))
    twin = InitiatorPort(NAME, Isid.from_random(1, 2))
    assert {Nexus(port, TargetPort(NAME, 0))} == {Nexus(twin, TargetPort(NAME, 0))}
    assert Nexus(port, TargetPort(NAME, 0)) < Nexus(port, TargetPort(NAME, 1))
    assert Isid.from_random(1, 2) < Isid.from_random(1, 3)


# TSIH.


@given(st.integers(0, 65535), st.sets(st.integers(1, 65535), max_size=20))
def test_next_tsih_is_free_and_never_zero(last: int, in_use: set[int]):
    tsih = identity.next_tsih(last, in_use)
    assert 1 <= tsih <= 65535
    assert tsih not in in_use
    # nothing free was passed over on the way
    step = last
    while (step := step % 65535 + 1) != tsih:
        assert step in in_use


@pytest.mark.parametrize(
    ("last", "in_use", "tsih"), [(0, (), 1), (1, (), 2), (65535, (), 1), (65534, (65535, 1), 2), (5, (6, 7), 8)]
)
def test_next_tsih(last: int, in_use: tuple[int, ...], tsih: int):
    assert identity.next_tsih(last, in_use) == tsih


def test_last_free_tsih_is_found():
    assert identity.next_tsih(10, set(range(1, 65536)) - {10}) == 10


def test_all_tsihs_in_use():
    with pytest.raises(identity.TsihExhausted) as caught:
        identity.next_tsih(10, range(1, 65536))
    assert caught.value.login_status is LoginStatus.OUT_OF_RESOURCES


def test_a_new_session_has_no_tsih():
    assert identity.NEW_SESSION_TSIH == 0
