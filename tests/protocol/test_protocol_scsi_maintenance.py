"""Timestamps, identifying information, diagnostic pages, buffers, and VPD pages 87 and 8A."""

from __future__ import annotations

from iscsi_protocol.scsi.diagnostic import BufferDescriptor, EchoBufferDescriptor, supported_diagnostic_pages
from iscsi_protocol.scsi.maintenance import (
    InformationType,
    SupportedInformation,
    Timestamp,
    TimestampOrigin,
    build_information,
    build_supported_information,
    parse_information,
)
from iscsi_protocol.scsi.vpd import ModePagePolicy, PowerConditionSupport


def test_timestamps():
    stamp = Timestamp(origin=TimestampOrigin.SET_TIMESTAMP, milliseconds=0x010203040506)
    assert stamp.build().hex() == "000a02000102030405060000"
    assert Timestamp.parse(stamp.build()) == stamp


def test_identifying_information():
    assert build_information(b"here").hex() == "00000004" + b"here".hex()
    assert parse_information(build_information(b"here") + b"more") == b"here"
    assert parse_information(build_information(b"here")[:6]) == b"he"
    assert parse_information(b"") == b""
    types = [SupportedInformation(information_type=InformationType.TEXT, maximum_length=256)]
    assert build_supported_information(types).hex() == "0000000404000100"


def test_diagnostic_page_0_lists_itself():
    assert supported_diagnostic_pages([0x40]).hex() == "000000020040"


def test_buffer_descriptors():
    assert BufferDescriptor(offset_boundary=9, capacity=0x10000).build().hex() == "09010000"
    assert EchoBufferDescriptor(overwritten_separately=True, capacity=4096).build().hex() == "01001000"


def test_vpd_pages():
    assert ModePagePolicy().build().hex() == "008700043fff0000"
    assert PowerConditionSupport(idle_a=True, standby_z=True, stopped_recovery_time=7).build().hex() == (
        "008a000e" + "01010007" + "00" * 10
    )
