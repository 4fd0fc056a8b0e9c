"""Target port groups and VPD page 88, held against hand-typed bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.designators import relative_target_port, target_port_group
from iscsi_protocol.scsi.target_ports import (
    AccessState,
    DataFormat,
    GroupDescriptor,
    GroupSetting,
    GroupStatus,
    build_groups,
    build_settings,
    parse_groups,
    parse_settings,
    scsi_ports,
)

FIRST = GroupDescriptor(
    preferred=True,
    state=AccessState.STANDBY,
    transitioning_supported=True,
    standby_supported=True,
    active_optimized_supported=True,
    group=0x0102,
    status=GroupStatus.SET_BY_COMMAND,
    port_count=2,
)
SECOND = GroupDescriptor(active_optimized_supported=True, group=3)


def test_groups_have_the_bytes_of_the_standard() -> None:
    raw = build_groups([(FIRST, [1, 0x0203]), (SECOND, [])])
    assert raw.hex() == "00000018" + "8285010200010002" + "0000000100000203" + "0001000300000000"
    extended = build_groups([(FIRST, [1, 0x0203]), (SECOND, [])], DataFormat.EXTENDED, 5)
    assert extended.hex() == "0000001c" + "10050000" + raw[4:].hex()
    for data, data_format in ((raw, DataFormat.LENGTH_ONLY), (extended, DataFormat.EXTENDED)):
        assert parse_groups(data + bytes(9), data_format) == [(FIRST, [1, 0x0203]), (SECOND, [])]


@given(st.integers(0, 28))
def test_groups_may_be_cut_off(cut: int) -> None:
    raw = build_groups([(FIRST, [1, 2]), (SECOND, [])])
    assert len(parse_groups(raw[:cut])) == (cut >= 20) + (cut >= 28)


def test_settings_have_the_bytes_of_the_standard() -> None:
    settings = [GroupSetting(state=AccessState.UNAVAILABLE, group=0x0102), GroupSetting(state=0xF, group=1)]
    raw = build_settings(settings)
    assert raw.hex() == "00000000" + "03000102" + "0f000001"
    assert parse_settings(raw) == settings
    assert parse_settings(raw[:4]) == []
    assert parse_settings(raw[:3]) is None
    assert parse_settings(raw[:-1]) is None


def test_ports_have_the_bytes_of_the_standard() -> None:
    page = scsi_ports([(1, [relative_target_port(1), target_port_group(2)]), (0x0304, [])])
    assert page.build().hex() == (
        "00880028"
        "00000001000000000000" + "0010" + "5194000400000001" + "5195000400000002" + "00000304000000000000" + "0000"
    )
