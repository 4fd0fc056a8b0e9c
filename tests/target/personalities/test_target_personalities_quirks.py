"""Each personality serves, and shows each of its quirks in a login and some I/O."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.target.personalities.conftest import BLOCK, HOST, NAME, command, data_out, read10, tables, write10

from iscsi_initiator.raw import Digest, PeerClosed, RawConnection
from iscsi_initiator.settings import REQUIRE_DIGEST, ChapOptions, Settings
from iscsi_protocol.chap import ChapInitiator, Credentials
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncEvent,
    AsyncMessage,
    DataIn,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    RejectReason,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
)
from iscsi_protocol.pdu.codes import TaskFunction
from iscsi_protocol.text import decode_pairs, encode_pairs
from iscsi_target.personalities import PERSONALITIES

CHAP = {"users": {"tester": "one-way-secret-1", "0xadmin": "one-way-secret-2"}}
CREDENTIALS = Credentials(name="tester", secret=b"one-way-secret-1")
DIGEST = ("HeaderDigest", "CRC32C")


async def next_of(connection, kind):
    """The next PDU of a kind; others are passed over."""
    for _ in range(50):
        pdu = (await connection.recv(60)).pdu
        if isinstance(pdu, kind):
            return pdu
    raise AssertionError(f"no {kind.__name__} came")


async def asked(connection, pdu, kind):
    connection.send(pdu)
    return await next_of(connection, kind)


@pytest.mark.parametrize("name", PERSONALITIES)
def test_what_is_written_is_read(imitate, name):
    async def test(served):
        wish = {"header_digest": REQUIRE_DIGEST} if name == "strict" else {}
        client = await served.client(settings=Settings(wmi_request_timeout=5), **wish)
        data = random.Random(7).randbytes(300 * BLOCK)
        await client.write(3, data)
        assert await client.read(3, 300) == data
        await client.flush()
        client.abort()

    imitate(name, test)


# strict


def test_strict_wants_digests_and_gives_short_bursts(imitate):
    async def test(served):
        _, refused = await served.raw(("HeaderDigest", "None"))
        assert not refused.full_feature
        _, welcome = await served.raw(discovery=True)
        assert welcome.full_feature
        connection, login = await served.raw(DIGEST, ("InitialR2T", "No"), ("FirstBurstLength", "65536"))
        assert login.agreed("FirstBurstLength") == "1024"
        assert connection.max_cmd_sn - connection.exp_cmd_sn + 1 == 2
        connection.send(command(connection, write10(16), write=16 * BLOCK))
        offset, data = 0, bytes(16 * BLOCK)
        r2t = await next_of(connection, R2T)
        assert r2t.desired_data_transfer_length == 2048
        part = data_out(connection, r2t, data[offset : offset + 512], final=False, data_sn=1)
        connection.send(part)
        with pytest.raises(PeerClosed):
            await next_of(connection, Reject)

    imitate("strict", test)


def test_strict_rejects_an_exp_stat_sn_that_was_never_due(imitate):
    async def test(served):
        connection, _ = await served.raw(DIGEST)
        ahead = NopOut(immediate=True, itt=7, cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn + 1)
        assert (await asked(connection, ahead, Reject)).reason == RejectReason.PROTOCOL_ERROR

    imitate("strict", test)


def test_strict_is_impatient(imitate):
    async def test(served):
        connection, _ = await served.raw(DIGEST)
        assert (await next_of(connection, NopIn)).ttt != NO_TAG
        assert await connection.wait_closed(20)

    imitate("strict", test)


# lenient


def test_lenient_takes_data_with_any_place_and_number(imitate):
    async def test(served):
        connection, _ = await served.raw(("InitialR2T", "Yes"), ("ImmediateData", "No"))
        data = random.Random(3).randbytes(2 * BLOCK)
        r2t = await asked(connection, command(connection, write10(2), write=2 * BLOCK), R2T)
        connection.send(data_out(connection, r2t, data, lun=b"\xff" * 8, data_sn=27))
        assert (await next_of(connection, ScsiResponse)).status == 0
        assert (await asked(connection, command(connection, read10(2), read=2 * BLOCK), DataIn)).data == data

    imitate("lenient", test)


def test_lenient_takes_any_amount_and_unagreed_data(imitate):
    async def test(served):
        connection, _ = await served.raw(("InitialR2T", "Yes"), ("ImmediateData", "No"))
        unasked = command(connection, write10(1), write=BLOCK, data=bytes(BLOCK))
        assert (await asked(connection, unasked, ScsiResponse)).status == 0
        r2t = await asked(connection, command(connection, write10(2), write=2 * BLOCK), R2T)
        connection.send(data_out(connection, r2t, bytes(BLOCK)))
        assert (await next_of(connection, ScsiResponse)).status == 0

    imitate("lenient", test)


def test_lenient_does_not_wait_for_missing_commands(imitate):
    async def test(served):
        connection, _ = await served.raw()
        early = command(connection, bytes(6), cmd_sn=connection.cmd_sn + 3)
        assert (await asked(connection, early, ScsiResponse)).itt == early.itt

    imitate("lenient", test)


def test_lenient_logs_in_whoever_comes(imitate):
    async def test(served):
        connection, login = await served.raw(tsih=77)
        assert login.full_feature
        assert connection.full_feature
        folded, login = await served.raw(("maxburstlength", "4096"))
        assert dict(login.pairs)["maxburstlength"] == "4096"
        answer = await asked(
            folded,
            LogoutRequest(reason=1, cid=99, itt=5, cmd_sn=folded.cmd_sn, exp_stat_sn=folded.exp_stat_sn),
            LogoutResponse,
        )
        assert answer.response == 0

    imitate("lenient", test)


def test_lenient_passes_over_what_is_no_login(imitate):
    async def test(served):
        connection = await RawConnection.open(served.connector, served.endpoint())
        connection.send(NopOut(itt=3))
        first = [("InitiatorName", HOST), ("TargetName", NAME)]
        login = await connection.login(first)
        assert login.full_feature

    imitate("lenient", test)


def test_lenient_needs_no_secret_and_no_right_digest(imitate):
    async def test(served):
        connection, login = await served.raw(("DataDigest", "CRC32C"), first_stage=1)
        assert login.full_feature
        ping = NopOut(immediate=True, itt=9, cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn, data=b"ping")
        connection.send(ping, data_digest=Digest.WRONG)
        assert (await next_of(connection, NopIn)).data == b"ping"

    imitate("lenient", test, tables(chap=CHAP))


# equallogic-like


def test_arrays_have_status_in_responses_and_ask_for_data_behind_a_function(imitate):
    async def test(served):
        connection, login = await served.raw(("TaskReporting", "FastAbort,RFC3720"), place=1)
        assert login.agreed("TaskReporting") == "RFC3720"
        connection.send(command(connection, read10(2), read=2 * BLOCK))
        assert not (await next_of(connection, DataIn)).status_present
        assert (await next_of(connection, ScsiResponse)).exp_data_sn == 1
        write = command(connection, write10(2), write=2 * BLOCK)
        r2t = await asked(connection, write, R2T)
        function = TaskManagementRequest(
            immediate=True, function=TaskFunction.ABORT_TASK_SET, itt=50, lun=bytes(8),
            cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn,
        )  # fmt: skip
        connection.send(function)
        connection.send(data_out(connection, r2t, bytes(2 * BLOCK)))
        assert (await next_of(connection, TaskManagementResponse)).response == 0

    imitate("equallogic-like", test)


def test_arrays_send_logins_on_and_judge_exp_stat_sn(imitate):
    async def test(served):
        _, login = await served.raw()
        assert login.status == 0x0101
        assert dict(login.pairs)["TargetAddress"] == str(served.endpoint(1))
        connection, login = await served.raw(place=1)
        assert login.full_feature
        assert (await next_of(connection, NopIn)).itt == NO_TAG
        ahead = NopOut(immediate=True, itt=7, cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn + 1)
        assert (await asked(connection, ahead, Reject)).reason == RejectReason.PROTOCOL_ERROR

    imitate("equallogic-like", test)


def test_arrays_move_volumes(imitate):
    async def test(served):
        connection, _ = await served.raw(place=1)
        for _ in range(1000):
            await asked(connection, command(connection, bytes(6)), ScsiResponse)
        message = await next_of(connection, AsyncMessage)
        assert (message.async_event, message.parameter3) == (AsyncEvent.LOGOUT_REQUESTED, 0)
        assert await connection.wait_closed()

    imitate("equallogic-like", test)


def test_arrays_are_known_by_their_names(imitate):
    async def test(served):
        async with await served.client() as client:
            assert (await client.inquiry())[8:32] == b"EQLOGIC 100E-00         "
            await client.read(0, 1)
        assert str(served.endpoint(1)) != str(served.endpoint(0))

    imitate("equallogic-like", test)


# freebsd-like


@pytest.mark.parametrize("user", [CREDENTIALS])
def test_freebsd_has_long_challenges(imitate, user):
    async def test(served):
        _, login = await served.raw(chap=ChapInitiator(credentials=user, random_bytes=random.Random(1).randbytes))
        assert len(dict(login.pairs)["CHAP_C"]) == 2 + 2 * 1024
        assert login.full_feature
        client = await served.client(chap=ChapOptions(credentials=user))
        await client.logout()

    imitate("freebsd-like", test, tables(chap=CHAP))


def test_freebsd_lists_its_zones(imitate):
    async def test(served):
        connection, _ = await served.raw(discovery=True)
        request = TextRequest(
            itt=3,
            cmd_sn=connection.cmd_sn,
            exp_stat_sn=connection.exp_stat_sn,
            data=encode_pairs([("SendTargets", "All")]),
        )
        response = await asked(connection, request, object)
        addresses = [value for name, value in decode_pairs(response.data) if name == "TargetAddress"]
        assert addresses == [f"{served.endpoint()},1", "[fe80::1%em0]:3260,1"]

    imitate("freebsd-like", test)


@pytest.mark.parametrize("name", ["freebsd-like", "lio-like"])
@pytest.mark.parametrize("wrong", [{"data_sn": 1}, {"buffer_offset": 512}, {"data": bytes(BLOCK)}])
def test_wrong_data_out_ends_the_session(imitate, name, wrong):
    async def test(served):
        connection, _ = await served.raw(("ImmediateData", "No"))
        r2t = await asked(connection, command(connection, write10(2), write=2 * BLOCK), R2T)
        connection.send(data_out(connection, r2t, **{"data": bytes(2 * BLOCK), **wrong}))
        assert await connection.wait_closed()
        again, login = await served.raw()
        assert login.full_feature
        assert (await asked(again, command(again, bytes(6)), ScsiResponse)).data[2 + 12] == 0x29

    imitate(name, test)


def test_freebsd_agrees_on_little_and_pings(imitate):
    async def test(served):
        offers = {"MaxConnections": "8", "InitialR2T": "No", "MaxOutstandingR2T": "4", "ErrorRecoveryLevel": "2"}
        connection, login = await served.raw(*offers.items(), ("TaskReporting", "FastAbort,RFC3720"))
        assert [login.agreed(key) for key in offers] == ["1", "Yes", "1", "0"]
        assert dict(login.pairs)["TaskReporting"] == "NotUnderstood"
        assert (await next_of(connection, NopIn)).itt == NO_TAG
        assert await connection.wait_closed(20)

    imitate("freebsd-like", test)


# lio-like


def test_lio_offers_keys_and_waits_for_answers(imitate):
    async def test(served):
        connection, login = await served.raw(("ImmediateData", "No"))
        offered = dict(login.pairs)
        assert offered["InitialR2T"] == "Yes"
        assert offered["FirstBurstLength"] == "65536"
        assert connection.full_feature
        _, login = await served.raw(answers=lambda _: [])
        assert not login.full_feature

    imitate("lio-like", test)


@pytest.mark.parametrize(("name", "secret", "admitted"), [("tester", 1, True), ("0xadmin", 2, False)])
def test_lio_takes_the_beginning_of_a_name_for_an_encoding(imitate, name, secret, admitted):
    async def test(served):
        user = Credentials(name=name, secret=f"one-way-secret-{secret}".encode())
        chap = ChapInitiator(credentials=user, random_bytes=random.Random(1).randbytes)
        _, login = await served.raw(chap=chap)
        assert login.full_feature is admitted

    imitate("lio-like", test, tables(chap=CHAP))


def test_lio_closes_for_t_in_a_request_for_a_challenge(imitate):
    async def test(served):
        def transit(request, _number):
            return replace(request, transit=True, nsg=1)

        chap = ChapInitiator(credentials=CREDENTIALS, random_bytes=random.Random(1).randbytes)
        with pytest.raises(PeerClosed):
            await served.raw(chap=chap, change=transit)

    imitate("lio-like", test, tables(chap=CHAP))


@pytest.mark.parametrize(("prefix", "admitted"), [(b"", True), (b"0x", False)])
def test_lio_wants_chap_i_in_decimals(imitate, prefix, admitted):
    async def test(served):
        def asking(request, _number):
            return replace(request, data=bytes(request.data).replace(b"CHAP_I=", b"CHAP_I=" + prefix))

        randomness = random.Random(1).randbytes
        chap = ChapInitiator(credentials=CREDENTIALS, random_bytes=randomness, target_secret=b"other-way-secret")
        _, login = await served.raw(chap=chap, change=asking)
        assert login.full_feature is admitted

    mutual = {"name": "store", "secret": "other-way-secret"}
    imitate("lio-like", test, tables(chap={**CHAP, "mutual": mutual}))


# tgt-like


def test_tgt_agrees_on_the_defaults(imitate):
    async def test(served):
        keys = {"InitialR2T": "No", "MaxOutstandingR2T": "4", "maxburstlength": "4096", "HeaderDigest": "CRC32C,None"}
        strange = {"TaskReporting": "FastAbort,RFC3720", "iSCSIProtocolLevel": "2"}
        _, login = await served.raw(*keys.items(), *strange.items())
        pairs = dict(login.pairs)
        assert "MaxRecvDataSegmentLength" not in pairs
        assert (pairs["InitialR2T"], pairs["MaxOutstandingR2T"], pairs["HeaderDigest"]) == ("Yes", "1", "None")
        assert {pairs[key] for key in strange} == {"NotUnderstood"}
        assert [pairs[key] for key in pairs if key.lower() == "maxburstlength"] == ["4096"]

    imitate("tgt-like", test)


def test_tgt_sends_data_without_end(imitate):
    async def test(served):
        connection, _ = await served.raw(("MaxBurstLength", "1024"), ("MaxRecvDataSegmentLength", "512"))
        connection.send(command(connection, read10(8), read=8 * BLOCK))
        finals = [(await next_of(connection, DataIn)).final for _ in range(8)]
        assert finals == [False] * 7 + [True]
        connection.send(command(connection, read10(1, lba=0), read=2 * BLOCK, write=0))
        assert (await next_of(connection, DataIn)).residual_count == BLOCK
        connection.send(command(connection, (0x28, 0, 0xFF, 0, 0, 0, 0, 0, 1, 0), read=BLOCK))
        assert (await next_of(connection, ScsiResponse)).exp_data_sn == 0

    imitate("tgt-like", test)


def test_tgt_takes_data_as_it_comes(imitate):
    async def test(served):
        connection, _ = await served.raw(("ImmediateData", "No"))
        unasked = command(connection, write10(1), write=BLOCK, data=bytes(BLOCK))
        assert (await asked(connection, unasked, ScsiResponse)).status == 0
        r2t = await asked(connection, command(connection, write10(2), write=2 * BLOCK), R2T)
        connection.send(data_out(connection, r2t, bytes(2 * BLOCK), lun=b"\xff" * 8, data_sn=4))
        assert (await next_of(connection, ScsiResponse)).status == 0

    imitate("tgt-like", test)


def test_tgt_makes_a_session_for_everybody(imitate):
    async def test(served):
        first, one = await served.raw()
        second, two = await served.raw()
        _, three = await served.raw(tsih=4711)
        assert len({each.tsih for each in (one, two, three)}) == 3
        for connection in (first, second):
            assert (await asked(connection, command(connection, bytes(6)), ScsiResponse)).status == 0

    imitate("tgt-like", test)


@pytest.mark.parametrize(("reason", "cid"), [(1, 99), (2, 0), (9, 0)])
def test_tgt_ends_tasks_at_once_and_grants_every_logout(imitate, reason, cid):
    async def test(served):
        connection, _ = await served.raw(("ImmediateData", "No"))
        await asked(connection, command(connection, write10(2), write=2 * BLOCK), R2T)
        function = TaskManagementRequest(
            immediate=True, function=TaskFunction.ABORT_TASK_SET, itt=50, lun=bytes(8),
            cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn,
        )  # fmt: skip
        assert (await asked(connection, function, TaskManagementResponse)).response == 0
        logout = LogoutRequest(
            reason=reason, cid=cid, itt=60, cmd_sn=connection.next_cmd_sn(), exp_stat_sn=connection.exp_stat_sn
        )
        assert (await asked(connection, logout, LogoutResponse)).response == 0

    imitate("tgt-like", test)


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("tgt-like", b"IET     VIRTUAL-DISK    "),
        ("lio-like", b"LIO-ORG VIRTUAL DISK    "),
        ("freebsd-like", b"FreeNAS iSCSI Disk      "),
        ("synology-like", b"SYNOLOGYiSCSI Storage   "),
    ],
)
def test_units_tell_whose_they_are(imitate, name, vendor):
    async def test(served):
        client = await served.client()
        assert (await client.inquiry())[8:32] == vendor
        client.abort()

    imitate(name, test)


# synology-like


def test_synology_pings_at_any_time(imitate):
    async def test(served):
        connection, login = await served.raw(
            ("MaxConnections", "4"), ("ErrorRecoveryLevel", "2"), ("ImmediateData", "No")
        )
        assert (login.agreed("MaxConnections"), login.agreed("ErrorRecoveryLevel")) == ("1", "0")
        connection.send(command(connection, read10(2), read=2 * BLOCK))
        connection.send(command(connection, write10(1), write=BLOCK))
        seen = [(await connection.recv()).pdu for _ in range(4)]
        connection.send(data_out(connection, seen[-1], bytes(BLOCK)))
        seen += [(await connection.recv()).pdu for _ in range(2)]
        assert [type(each) for each in seen] == [NopIn, DataIn, NopIn, R2T, NopIn, ScsiResponse]
        assert {(each.itt, each.ttt) for each in seen[::2]} == {(NO_TAG, NO_TAG)}
        assert (await next_of(connection, NopIn)).ttt != NO_TAG

    imitate("synology-like", test)


# windows-cluster


def test_cluster_storage_has_persistent_reservations_alone(imitate):
    async def test(served):
        connection, _ = await served.raw()
        attention = await asked(connection, command(connection, bytes(6)), ScsiResponse)
        assert (attention.status, attention.data[2 + 12]) == (2, 0x29)
        assert (await asked(connection, command(connection, (0x16,)), ScsiResponse)).data[2 + 12] == 0x20
        keys = command(connection, (0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0), read=8)
        assert (await asked(connection, keys, DataIn)).data == bytes(8)
        luns = command(connection, (0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16), read=16)
        assert (await asked(connection, luns, DataIn)).data[8:10] == b"\x40\x00"
        caching = command(connection, (0x1A, 8, 8, 0, 255, 0), read=255)
        assert not (await asked(connection, caching, DataIn)).data[6] & 0x04

    imitate("windows-cluster", test)


def reserve_out(connection, action, key, service_key, kind=0):
    """PERSISTENT RESERVE OUT with its parameter list as immediate data."""
    data = key.to_bytes(8, "big") + service_key.to_bytes(8, "big") + bytes(8)
    return command(connection, (0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0), write=24, data=data)


def test_cluster_storage_passes_the_order_of_validation(imitate):
    """Register, reserve (write exclusive, registrants only), read both, pre-empt a node with two paths, clear."""

    async def test(served):
        nodes = [await served.raw(isid=bytes((0x80, 0, 0, 0, 0, number))) for number in (1, 2, 3)]
        holder, one, two = (connection for connection, _ in nodes)
        for connection, key in ((holder, 0xA1), (one, 0xB2), (two, 0xB2)):
            assert (await asked(connection, command(connection, bytes(6)), ScsiResponse)).data[2 + 12] == 0x29
            assert (await asked(connection, reserve_out(connection, 0, 0, key), ScsiResponse)).status == 0
        assert (await asked(holder, reserve_out(holder, 1, 0xA1, 0, 5), ScsiResponse)).status == 0
        keys = await asked(two, command(two, (0x5E, 0, 0, 0, 0, 0, 0, 0, 64, 0), read=64), DataIn)
        assert [keys.data[place : place + 8].hex() for place in (8, 16, 24)] == [
            f"{key:016x}" for key in (0xA1, 0xB2, 0xB2)
        ]
        held = await asked(two, command(two, (0x5E, 1, 0, 0, 0, 0, 0, 0, 24, 0), read=24), DataIn)
        assert (held.data[8:16].hex(), held.data[21]) == (f"{0xA1:016x}", 5)
        assert (await asked(holder, reserve_out(holder, 4, 0xA1, 0xB2, 5), ScsiResponse)).status == 0
        for path in (one, two):
            told = await asked(path, command(path, bytes(6)), ScsiResponse)
            assert told.data[2 + 12 : 2 + 14] == b"\x2a\x05"
            assert (
                await asked(path, command(path, write10(1), write=BLOCK, data=bytes(BLOCK)), ScsiResponse)
            ).status == 0x18
        assert (await asked(holder, reserve_out(holder, 3, 0xA1, 0), ScsiResponse)).status == 0
        assert (await asked(one, command(one, write10(1), write=BLOCK, data=bytes(BLOCK)), ScsiResponse)).status == 0

    imitate("windows-cluster", test)
