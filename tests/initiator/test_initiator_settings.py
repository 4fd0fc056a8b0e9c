"""The settings: the guide's list of driver timers, its profile for Windows PE, and bounds."""

from __future__ import annotations

import dataclasses

import pytest

from iscsi_initiator.limits import Limits
from iscsi_initiator.settings import SETTINGS, Settings, needs_reload, status_of_change
from iscsi_protocol.status_codes import StatusCode

APPENDIX_F = (
    ("TCPConnectTime", 15, "s"),
    ("TCPDisconnectTime", 15, "s"),
    ("WMIRequestTimeout", 30, "s"),
    ("DelayBetweenReconnect", 1, "s"),
    ("MaxConnectionRetries", -1, "count"),
    ("MaxRequestHoldTime", 60, "s"),
    ("MaxPendingRequests", 255, "count"),
    ("EnableNOPOut", 0, "boolean"),
    ("MaxTransferLength", 262144, "bytes"),
    ("MaxBurstLength", 262144, "bytes"),
    ("FirstBurstLength", 65536, "bytes"),
    ("MaxRecvDataSegmentLength", 65536, "bytes"),
    ("IPSecConfigTimeout", 15, "s"),
    ("InitialR2T", 0, "boolean"),
    ("ImmediateData", 1, "boolean"),
    ("LinkDownTime", 15, "s"),
    ("PortalRetryCount", 1, "count"),
    ("NetworkReadyRetryCount", 10, "count"),
    ("ErrorRecoveryLevel", 2, "level"),
    ("SRBTimeoutDelta", 15, "s"),
    ("AsyncLogoutPauseTimeout", 10, "s"),
)
"""Name, default and unit of each driver timer, in the order of the guide's Appendix F, typed from it by hand."""

APPENDIX_E = {
    "TCPConnectTime": 0x0F,
    "TCPDisconnectTime": 0x0F,
    "WMIRequestTimeout": 0x1E,
    "DelayBetweenReconnect": 0x05,
    "MaxPendingRequests": 0xFF,
    "EnableNOPOut": 0,
    "MaxTransferLength": 0x40000,
    "MaxBurstLength": 0x40000,
    "FirstBurstLength": 0x10000,
    "MaxRecvDataSegmentLength": 0x10000,
    "MaxConnectionRetries": -1,
    "MaxRequestHoldTime": 0x3C,
    "LinkDownTime": 0x0F,
    "IPSecConfigTimeout": 0x3C,
    "InitialR2T": 0,
    "ImmediateData": 1,
    "ErrorRecoveryLevel": 2,
    "PortalRetryCount": 5,
    "NetworkReadyRetryCount": 10,
    "SRBTimeoutDelta": 0x0F,
}
"""The driver's parameters of Appendix E; 0xffffffff of the registry is the guide's -1."""


def test_the_driver_timers_are_those_of_the_guide():
    declared = Settings().declared()
    timers = sorted((row for row in SETTINGS if row.number), key=lambda row: row.number)
    assert [row.number for row in timers] == list(range(1, 22))
    assert [(row.name, declared[row.name], row.unit) for row in timers] == list(APPENDIX_F)


def test_windows_pe_has_what_appendix_e_sets_and_defaults_beside_it():
    declared = Settings.winpe().declared()
    assert {name: declared[name] for name in APPENDIX_E} == APPENDIX_E
    others = {name: value for name, value in Settings().declared().items() if name not in APPENDIX_E}
    assert {name: declared[name] for name in others} == others


def test_a_profile_can_be_changed():
    assert Settings.winpe(portal_retry_count=2) == Settings(
        portal_retry_count=2, delay_between_reconnect=5, ipsec_config_timeout=60
    )


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_each_row_names_a_field_and_holds_its_bounds(row):
    assert row.field in {field.name for field in dataclasses.fields(Settings)}
    for value in (row.low - 1, row.high + 1):
        with pytest.raises(ValueError, match=row.name):
            Settings(**{row.field: value})


def test_names_and_fields_are_unique():
    assert len({row.name for row in SETTINGS}) == len({row.field for row in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize(("given", "used"), [(0, 15), (4, 15), (5, 5), (6, 6), (20, 20)])
def test_a_short_srb_timeout_delta_is_not_used(given, used):
    assert Settings(srb_timeout_delta=given).effective_srb_timeout_delta == used


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.number], ids=lambda row: row.name)
def test_each_driver_timer_counts_only_after_a_reload(row):
    active = Settings(**{"first_burst_length": 512, row.field: row.low})
    assert needs_reload(active, active) == ()
    assert status_of_change(active, active) is None
    declared = dataclasses.replace(active, **{row.field: row.low + 1})
    assert needs_reload(active, declared) == (row.name,)
    assert status_of_change(active, declared) is StatusCode.OPERATION_REQUIRES_REBOOT
    assert needs_reload(declared, active) == (row.name,)


@pytest.mark.parametrize("change", [{"initiator_alias": "x"}, {"limits": Limits(tags=1)}])
def test_what_is_no_row_needs_a_reload_too(change):
    declared = Settings(**change)
    assert needs_reload(Settings(), declared) == ()
    assert status_of_change(Settings(), declared) is StatusCode.OPERATION_REQUIRES_REBOOT
