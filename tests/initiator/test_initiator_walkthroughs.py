"""The guide's walk-throughs as docs/walkthroughs.md has them, over TCP, with work on the disks while paths come and go."""

from __future__ import annotations

import pytest
from tests.initiator.walkthrough import MCS, MPIO, TARGET, Work, scene, until

from iscsi_initiator.multipath import LoadBalance
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import Refused, StatusCode


def refused(service, request):
    """The code with which a request is refused."""
    with pytest.raises(Refused) as caught:
        service.ask(request)
    return caught.value.status


def ended(there):
    """Have the service stop; what it complained about."""
    there.service.ask(api.StopService())
    code, complaints = there.service.end()
    assert code == 0
    return complaints.splitlines()


def test_four_connections_with_round_robin(tmp_path):
    with scene(tmp_path) as there:
        lines = there.run(MCS)
        assert f"    {TARGET}" in lines
        (session,) = there.sessions()
        ports = [each.target_portal.port for each in session.connections]
        assert ports == [way.port for way in there.ways]

        def connections():
            return len(there.sessions()[0].connections)

        with Work(there.exports[0]) as work:
            assert there.carried(work) == [True] * 4
            for number in (1, 0):
                there.ways[number].cut()
                until(lambda: connections() == 3, "the connection is lost")
                assert there.carried(work) == [place != number for place in range(4)]
                for _ in range(4):
                    assert there.service.ask(api.ReadCapacity(session_id=session.session_id, lun=0)).last_block == 2047
                    assert len(there.service.ask(api.ScsiInquiry(session_id=session.session_id, lun=0)).data) >= 36
                there.ways[number].mend()
                until(lambda: connections() == 4, "the connection is back")
                assert there.carried(work) == [True] * 4
        assert there.statuses(0) == ["active"], "the session was there all the time"
        assert ended(there) == []


def test_four_sessions_with_round_robin(tmp_path):
    with scene(tmp_path) as there:
        there.run(MPIO)
        sessions = there.sessions()
        assert len({each.session_id for each in sessions}) == 4
        names = [tuple(device.legacy_name for device in each.devices) for each in sessions]
        assert names == [("PhysicalDrive0", "PhysicalDrive1")] * 4
        first, second = there.devices()
        assert (first.policy, second.policy) == (LoadBalance.ROUND_ROBIN, LoadBalance.FAIL_OVER_ONLY)
        assert there.statuses(0) == ["active"] * 4
        assert there.statuses(1) == ["active", "standby", "standby", "standby"]
        with Work(there.exports[0]) as work, Work(there.exports[1]) as other:
            assert there.carried(work) == [True] * 4
            for session in sessions:
                logout = api.LogoutTarget(session_id=session.session_id)
                assert refused(there.service, logout) == StatusCode.DEVICE_BUSY_ON_SESSION
            for number in (1, 0):
                there.ways[number].cut()
                until(lambda: len(there.statuses(0)) == 3, "the path is gone")
                assert there.carried(work) == [place != number for place in range(4)]
                assert there.statuses(1)[0] == "active"
                there.ways[number].mend()
                until(lambda: there.statuses(0) == ["active"] * 4, "the path is back")
                until(lambda: there.statuses(1) == ["active"] + ["standby"] * 3, "it fails back")
                assert there.carried(work) == [True] * 4
                assert there.carried(other)[0]
        until(lambda: not there.devices()[0].open_by and not there.devices()[1].open_by, "the clients are gone")
        told = [line.rpartition(": ")[2] for line in ended(there)]
        assert told.count("the path is down") == told.count("the path is up") == 4
        assert set(told) == {"the path is down", "the path is up"}
