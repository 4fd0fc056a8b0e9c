"""How logins fail, and the code of each: what the target answers, what it does instead, and what this side lacks."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import msgspec
import pytest
from tests.initiator.service_bench import HOST, QUICK, with_service

from iscsi_conformance.bundled import DENIED, GONE, MOVED, PLAIN, bundled_config
from iscsi_conformance.pipe import Road
from iscsi_initiator.client import ClientError, ConnectionFailed, RequestFailed, ScsiError
from iscsi_initiator.discovery import adapters
from iscsi_initiator.failures import (
    CLOSING_EVENTS,
    FAULTS,
    LOGIN_STATUSES,
    REQUEST_FAILURES,
    status_of,
    status_of_login,
)
from iscsi_initiator.limits import Limits
from iscsi_initiator.requests import Failure, LoginFault, ScsiResult, SessionClosed
from iscsi_initiator.service import api
from iscsi_initiator.settings import Settings
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag, Portal
from iscsi_protocol.fault import Close, Drop, Fault, FieldIs, Part, Replace, Set, SetKey, Silence, When
from iscsi_protocol.pdu.codes import LoginStatus, Opcode, Stage
from iscsi_protocol.stream import Direction

MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)


def at_login(*what, final=False):
    """A fault in the first response of every login, or the last one."""
    tests = (FieldIs("nsg", Stage.FULL_FEATURE), FieldIs("transit", True)) if final else ()
    return Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE, tests=tests, times=9),
        what=tuple(what),
    )


def refused_with(folder, fault=None, **options):
    """The code that a login has, and the driver events that were logged for it."""
    found = []

    async def test(bench):
        await bench.ask(api.AddTarget(target_name=PLAIN, portal=HOST))
        if "road" in options:
            bench.connector.road = options["road"]
        found.append(await bench.refused(api.LoginTarget(target_name=PLAIN)))
        found.append(bench.events("iScsiPrt"))
        assert bench.core.sessions == {}
        assert bench.core.logging_in == []

    with_service(folder, test, faults=[] if fault is None else [fault])
    return found


STATUSES = [status for status in LoginStatus if status >> 8 >= 2]


@pytest.mark.parametrize("status", [*STATUSES, 0x02EE, 0x03EE], ids=hex)
def test_the_status_of_the_target(tmp_path, status):
    wanted = LOGIN_STATUSES.get(status) or (StatusCode.INITIATOR_ERROR if status < 0x300 else StatusCode.TARGET_ERROR)
    fault = at_login(Set("status_class", status >> 8), Set("status_detail", status & 0xFF))
    code, events = refused_with(tmp_path, fault)
    if status == LoginStatus.AUTHENTICATION_FAILURE:
        # CHAP was not offered: the target wants what is not configured here.
        assert (code, events) == (StatusCode.TARGET_AUTHINFO_UNAVAILABLE, [40])
    else:
        assert (code, events) == (wanted, [10])


def test_the_codes_of_the_login_statuses_follow_one_another():
    in_order = [LOGIN_STATUSES[status] for status in sorted(LOGIN_STATUSES)]
    assert in_order == [StatusCode(0xEFFF0006 + place) for place in range(15)]


@pytest.mark.parametrize(
    ("fault", "code", "event"),
    [
        (at_login(Silence()), StatusCode.LOGIN_FAILED, 43),
        (at_login(Drop(), Close()), StatusCode.LOGIN_FAILED, 59),
        (at_login(Set("version_active", 1)), StatusCode.VERSION_MISMATCH, 11),
        (at_login(Replace(Part.DATA, b"no pair\0"), final=True), StatusCode.INVALID_TEXT_KEY, 11),
        (at_login(SetKey("MaxBurstLength", "none"), final=True), StatusCode.INVALID_TEXT_KEY, 11),
        (at_login(Set("itt", 77)), StatusCode.LOGIN_FAILED, 11),
        (at_login(SetKey("DataPDUInOrder", "No"), final=True), StatusCode.LOGON_FAILED, 61),
        (at_login(SetKey("DataSequenceInOrder", "No"), final=True), StatusCode.LOGON_FAILED, 62),
    ],
)
def test_what_is_wrong_with_a_response(tmp_path, fault, code, event):
    assert refused_with(tmp_path, fault) == [code, [event]]


@pytest.mark.parametrize("road", [Road.REFUSED, Road.UNREACHABLE, Road.BLACKHOLE])
def test_no_connection(tmp_path, road):
    assert refused_with(tmp_path, road=road) == [StatusCode.CONNECTION_FAILED, [1]]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (DENIED, StatusCode.AUTHORIZATION_FAILURE),
        (GONE, StatusCode.TARGET_REMOVED),
        ("iqn.2026-01.org.example:nobody", StatusCode.NOT_FOUND),
    ],
)
def test_targets_that_refuse_of_themselves(tmp_path, name, code):
    async def test(bench):
        await bench.ask(api.AddTarget(target_name=name, portal=HOST))
        assert await bench.refused(api.LoginTarget(target_name=name)) == code

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    ("permanent", "code"),
    [(False, StatusCode.TARGET_MOVED_TEMPORARILY), (True, StatusCode.TARGET_MOVED_PERMANENTLY)],
)
@pytest.mark.parametrize("limit", [0, 2])
def test_redirects_without_end(tmp_path, permanent, code, limit):
    settings = Settings(portal_retry_count=0, max_login_redirects=limit)
    config = bundled_config()
    targets = [
        msgspec.structs.replace(each, redirect=msgspec.structs.replace(each.redirect, permanent=permanent))
        if each.redirect is not None
        else each
        for each in config.targets
    ]

    async def test(bench):
        await bench.ask(api.AddTarget(target_name=MOVED, portal=HOST))
        assert await bench.refused(api.LoginTarget(target_name=MOVED)) == code
        assert bench.events("iScsiPrt") == [12]

    with_service(tmp_path, test, settings=settings, target=msgspec.structs.replace(config, targets=targets))


@pytest.mark.parametrize(
    ("limits", "code", "event"),
    [
        (Limits(sessions=1), StatusCode.TOO_MANY_SESSIONS, 2),
        (Limits(connections=1), StatusCode.OUT_OF_RESOURCES, 6),
    ],
)
def test_limits_count_over_all_sessions(tmp_path, limits, code, event):
    settings = Settings(portal_retry_count=0, limits=limits)

    async def test(bench):
        await bench.discover()
        await bench.log_in()
        assert await bench.refused(api.LoginTarget(target_name=PLAIN, options=MULTIPATH)) == code
        assert set(bench.events("iScsiPrt")) == {event}

    with_service(tmp_path, test, settings=settings)


@pytest.fixture
def plugged(monkeypatch):
    """The example is among the entry points, whatever was installed."""
    point = EntryPoint("example", "iscsi_initiator.discovery.example_adapter:make", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda group, name: [point] if name == "example" else [])


def test_an_instance_with_one_isid_has_one_session_with_a_portal_group(tmp_path, plugged):
    flash = tmp_path / "flash.json"
    target = {"name": PLAIN, "portals": ["127.0.0.1:3260"]}
    flash.write_text(json.dumps({"isid": "00023d000001", "targets": [target], "addresses": ["127.0.0.1"]}))
    name = "PLUGIN\\EXAMPLE\\0000_0"

    async def test(bench):
        assert (await bench.ask(api.ListInitiators())).initiators == ("ROOT\\ISCSIPRT\\0000_0", name)
        assert (await bench.ask(api.ListTargets(update=True))).targets == (PLAIN,)
        session = await bench.log_in(initiator=name.lower())
        assert (session.initiator, session.isid.hex()) == (name, "00023d000001")
        again = api.LoginTarget(target_name=PLAIN, options=MULTIPATH)
        assert await bench.refused(again) == StatusCode.SESSION_ALREADY_EXISTS
        elsewhere = Portal(address="127.0.0.1", port=3261)
        other = await bench.log_in(options=MULTIPATH, initiator="root\\iscsiprt\\0000_0", portal=elsewhere)
        assert other.initiator == "ROOT\\ISCSIPRT\\0000_0"
        keyed = api.LoginTarget(target_name=PLAIN, options=MULTIPATH, key=b"key")
        assert await bench.refused(keyed) == StatusCode.HBA_SECURITY_CACHE_NOT_SUPPORTED

    with_service(tmp_path, test, adapters={"example": str(flash)}, virtual=False)


def test_an_adapter_with_a_full_key_cache(tmp_path, plugged):
    flash = tmp_path / "flash.json"
    target = {"name": PLAIN, "portals": ["127.0.0.1:3260"]}
    flash.write_text(json.dumps({"key_slots": 0, "targets": [target]}))

    async def test(bench):
        await bench.ask(api.ListTargets(update=True))
        keyed = api.LoginTarget(target_name=PLAIN, key=b"key")
        assert await bench.refused(keyed) == StatusCode.HBA_SECURITY_CACHE_FULL
        assert bench.events() == [110]

    with_service(tmp_path, test, adapters={"example": str(flash)}, virtual=False)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure.REJECTED, StatusCode.SCSI_REQUEST_FAILED),
        (Failure.UNSUPPORTED, StatusCode.REQUEST_NOT_SUPPORTED),
        (Failure.TARGET_FULL, StatusCode.TARGET_OUT_OF_RESORCES),
    ],
)
def test_a_rejected_request_has_the_code_of_its_reason(failure, code):
    assert status_of(RequestFailed(failure, "REPORT LUNS")) == code


def test_every_failure_has_a_code():
    assert set(REQUEST_FAILURES) == set(Failure)
    assert set(FAULTS) == set(LoginFault)
    assert status_of_login(SessionClosed(1, event=52)) == StatusCode.SERVICE_DID_NOT_RESPOND
    assert status_of_login(SessionClosed(1)) == StatusCode.LOGIN_FAILED
    assert status_of(ConnectionFailed(1)) == StatusCode.LOGIN_FAILED
    assert status_of(ScsiError(ScsiResult(0x28), "READ")) == StatusCode.TARGET_OUT_OF_RESORCES
    assert status_of(ClientError("x")) == StatusCode.LOGON_FAILED
    assert all(not code.is_warning for code in CLOSING_EVENTS.values())
    assert QUICK.portal_retry_count == 0
