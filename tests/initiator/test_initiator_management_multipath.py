"""Management data about multipath devices: policies of disks, and the timers and counters of MPIO."""

from __future__ import annotations

import pytest
from tests.initiator.paths_bench import DISK, PORTS, SECOND_DISK, listed, log_in, statuses, with_paths

from iscsi_conformance.clock import passed
from iscsi_initiator.devices import MpioTimers
from iscsi_initiator.service import api
from iscsi_initiator.service.management.multipath import PATH, PATH_V2
from iscsi_initiator.service.tunables import device_settings
from iscsi_initiator.status_codes import StatusCode

STATES = ("PrimaryPath", "PreferredPath", "FailedPath", "TargetPortGroup_State")
TIMERS = ("PathVerifyEnabled", "PathVerificationPeriod", "PDORemovePeriod", "RetryCount", "RetryInterval")


async def policies(bench):
    rows = (await bench.ask(api.Query(class_name="DSM_QueryLBPolicy_V2"))).instances
    return {row["InstanceName"]: row["LoadBalancePolicy"] for row in rows}


def setting(name, policy, *paths, method="DsmSetLoadBalancePolicy", **more):
    given = {"LoadBalancePolicy": policy, "DSM_Paths": list(paths), **more}
    return api.Invoke(
        class_name="DSM_LB_Operations",
        method=method,
        where={"InstanceName": name},
        arguments={"LoadBalancePolicy": given},
    )


def way(session, **fields):
    return {"DsmPathId": session.usid, **fields}


def test_policies_are_told_and_set(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        told = await policies(bench)
        assert list(told) == [DISK, SECOND_DISK]
        assert (told[DISK]["LoadBalancePolicy"], told[DISK]["DSMPathCount"]) == (2, 2)
        first = told[DISK]["DSM_Paths"][0]
        assert list(first) == [each.name for each in PATH_V2.properties]
        assert first["DsmPathId"] == one.usid
        assert (first["PrimaryPath"], first["PreferredPath"], first["FailedPath"], first["TargetPortGroup_State"]) == (
            1,
            0,
            0,
            0,
        )
        answer = await bench.ask(setting(DISK, 1, way(one, PrimaryPath=0), way(other)))
        assert answer.results == {"Status": 0}
        assert await statuses(bench) == ["standby", "active"]
        told = await policies(bench)
        shown = [
            (each["PrimaryPath"], each["PreferredPath"], each["TargetPortGroup_State"])
            for each in told[DISK]["DSM_Paths"]
        ]
        assert shown == [(0, 0, 2), (1, 1, 0)]
        assert told[SECOND_DISK]["LoadBalancePolicy"] == 2, "each disk has its own"
        weights = (way(one, PathWeight=9), way(other, PathWeight=3))
        await bench.ask(setting(SECOND_DISK, 5, *weights, method="DsmSetLoadBalancePolicyALUA", DSMPathCount=2))
        assert [each["PathWeight"] for each in (await policies(bench))[SECOND_DISK]["DSM_Paths"]] == [9, 3]
        assert await statuses(bench, 1) == ["standby", "active"]
        await bench.ask(setting(SECOND_DISK, 2))
        assert await statuses(bench, 1) == ["active", "active"]

    with_paths(tmp_path, test)


def test_the_preferred_path_says_whether_there_is_a_failback(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        primary, standby = way(one, PreferredPath=0), way(other, PrimaryPath=0, PreferredPath=0)
        await bench.ask(setting(DISK, 1, primary, standby))
        assert not (await listed(bench))[0].failback
        ways.cut(PORTS[0])
        await passed(1)
        failed = (await policies(bench))[DISK]["DSM_Paths"]
        assert [[each[name] for name in STATES] for each in failed] == [[0, 0, 1, 3], [1, 0, 0, 0]]
        ways.mend(PORTS[0])
        await passed(5)
        assert await statuses(bench) == ["standby", "active"]
        await bench.ask(setting(DISK, 1, {**primary, "PreferredPath": 1}, standby))
        assert (await listed(bench))[0].failback
        request = setting(DISK, 1, primary, {**standby, "PreferredPath": 1})
        assert await bench.refused(request) == StatusCode.INVALID_PARAMETER

    with_paths(tmp_path, test)


@pytest.mark.parametrize(
    ("policy", "shape", "more", "status"),
    [
        (4, "ab", {}, StatusCode.LB_POLICY_NOT_SUPPORTED),
        (6, "ab", {}, StatusCode.INVALID_LOAD_BALANCE_POLICY),
        (2, "a", {}, StatusCode.PATH_COUNT_MISMATCH),
        (2, "ab", {"DSMPathCount": 3}, StatusCode.PATH_COUNT_MISMATCH),
        (2, "ax", {}, StatusCode.INVALID_PATH_ID),
        (2, "aa", {}, StatusCode.DUPLICATE_PATH_SPECIFIED),
        (1, "ab", {}, StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED),
    ],
)
def test_policies_that_are_refused(tmp_path, policy, shape, more, status):
    """shape: a and b are the sessions, x is a stranger."""

    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        numbers = {"a": one.usid, "b": other.usid, "x": 77}
        before = await policies(bench)
        paths = [{"DsmPathId": numbers[each]} for each in shape]
        assert await bench.refused(setting(DISK, policy, *paths, **more)) == status
        assert await policies(bench) == before

    with_paths(tmp_path, test)


def test_a_disk_that_is_not_there(tmp_path):
    async def test(bench, ways, notices):
        assert await bench.refused(setting(DISK, 2)) == StatusCode.INVALID_PARAMETER

    with_paths(tmp_path, test)


async def control(bench, name):
    (row,) = (await bench.ask(api.Query(class_name=name))).instances
    return row


def counters(context=1, **values):
    arguments = {"DsmContext": context, "DsmCounters": values}
    return api.Invoke(class_name="MPIO_WMI_METHODS", method="SetDSMCounters", arguments=arguments)


def test_timers_and_counters_are_told_and_count_at_once_and_later(tmp_path):
    """The procedure of Appendix F: the DSM's context is looked up, and SetDSMCounters called with it."""

    async def test(bench, ways, notices):
        await log_in(bench, *PORTS[:2])
        first = await control(bench, "MPIO_TIMERS_COUNTERS")
        assert [first[name] for name in TIMERS] == [0, 30, 20, 3, 1]
        dsm = await control(bench, "MPIO_REGISTERED_DSM")
        (parameters,) = dsm["DsmParameters"]
        assert dsm["NumberDSMs"] == 1
        assert parameters["DsmCounters"] == {name: first[name] for name in TIMERS}
        assert list(parameters["DsmVersion"]) == ["MajorVersion", "MinorVersion", "ProductBuild", "QfeNumber"]
        await bench.ask(
            counters(parameters["DsmContext"], PathVerifyEnabled=1, PathVerificationPeriod=7, PDORemovePeriod=3)
        )
        second = await control(bench, "MPIO_TIMERS_COUNTERS")
        assert [second[name] for name in TIMERS] == [1, 7, 3, 3, 1]
        wanted = MpioTimers(path_verify_enabled=True, path_verification_period=7, pdo_remove_period=3)
        assert device_settings(bench.core.store.state.settings).timers == wanted
        for link in bench.connector.links:
            link.swallow()
        await passed(400)
        assert any(line.endswith("the path is down") for line in notices), "paths are verified from now on"
        await bench.ask(counters(PathVerifyEnabled=0))
        assert not (await control(bench, "MPIO_TIMERS_COUNTERS"))["PathVerifyEnabled"]

    with_paths(tmp_path, test)


@pytest.mark.parametrize("request_", [counters(2), counters(PathVerificationPeriod=0), counters(PathVerifyEnabled=2)])
def test_timers_that_are_refused(tmp_path, request_):
    async def test(bench, ways, notices):
        assert await bench.refused(request_) == StatusCode.INVALID_PARAMETER
        assert bench.core.store.state.settings.mpio == {}

    with_paths(tmp_path, test)


def test_a_path_of_the_first_version_is_the_beginning_of_one_of_the_second():
    assert PATH_V2.properties[: len(PATH.properties)] == PATH.properties
