"""The hostile personality: each of its tricks as it is on the wire, and the bundled initiator among them."""

from __future__ import annotations

import random

import pytest
from tests.target.personalities.conftest import BLOCK, command, read10

from iscsi_initiator.client.errors import ClientError
from iscsi_initiator.raw import PeerClosed, SilentPeer
from iscsi_initiator.settings import REQUIRE_DIGEST, Settings
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import AsyncMessage, DataIn, LogoutRequest, NopIn, NopOut, ScsiResponse, TextRequest
from iscsi_protocol.text import encode_pairs
from iscsi_target.personalities.hostile import DEAD_END, LOOP

PATIENT = Settings(wmi_request_timeout=5, scsi_request_timeout=5, task_management_timeout=5, max_request_hold_time=10)


async def received(connection, count):
    return [(await connection.recv()).pdu for _ in range(count)]


async def until_silence(connection):
    """What comes until nothing does for a second."""
    came = []
    try:
        while True:
            came.append((await connection.recv(1)).pdu)
    except SilentPeer:
        return came


def test_responses_go_wrong_by_counts(imitate):
    """20 commands without data: what comes for each. Every 7th command is BUSY."""

    async def test(served):
        connection, _ = await served.raw()
        sent, came = [], []
        for _ in range(20):
            asked = command(connection, bytes(6))
            sent.append(asked.itt)
            connection.send(asked)
            came += await until_silence(connection)
        answers = [pdu for pdu in came if isinstance(pdu, ScsiResponse)]
        (vendors,) = [pdu for pdu in came if isinstance(pdu, AsyncMessage)]
        assert came.index(vendors) == 3
        assert vendors.async_event >= 248
        tags = [pdu.itt for pdu in answers]
        assert [tag for tag in tags if tag not in sent] == [tags[5], tags[-1]]
        assert [tag for tag in sent if tag not in tags] == [sent[7], sent[19]]
        assert [number for number, tag in enumerate(sent, 1) for pdu in answers if pdu.itt == tag and pdu.status] == [
            7,
            14,
        ]
        numbers = [pdu.stat_sn for pdu in came]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    imitate("hostile", test)


def test_reads_go_wrong_by_counts(imitate):
    async def test(served):
        connection, _ = await served.raw(("HeaderDigest", "CRC32C"))
        connection.follow = False
        answers = []

        async def read_on():
            for _ in range(40):
                connection.send(command(connection, read10(1), read=BLOCK))
                answers.append(await connection.recv())

        with pytest.raises(PeerClosed) as ended:
            await read_on()
        reads = [answer for answer in answers if isinstance(answer.pdu, DataIn)]
        damaged = [number for number, answer in enumerate(reads, 1) if answer.raw.header_digest_error]
        windows = [
            answer.pdu.max_cmd_sn - answer.pdu.exp_cmd_sn for answer in reads if not answer.raw.header_digest_error
        ]
        shut = [(number, window) for number, window in enumerate(windows, 1) if window < 0]
        assert (damaged, shut, len(reads)) == ([24], [(12, -2)], 27)
        assert ended.value.how is TransportEvent.RST
        assert len(ended.value.remainder) == 20

    imitate("hostile", test)


def test_silence_follows_the_32nd_response(imitate):
    async def test(served):
        connection, _ = await served.raw()
        for _ in range(31):
            connection.send(command(connection, bytes(6)))
        assert len(await until_silence(connection)) == 32
        connection.send(command(connection, bytes(6)))
        with pytest.raises(SilentPeer):
            await connection.recv(1)
        connection.send(NopOut(immediate=True, itt=99, cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn))
        with pytest.raises(SilentPeer):
            await connection.recv(1)

    imitate("hostile", test)


def test_sense_data_claims_to_be_longer(imitate):
    async def test(served):
        connection, _ = await served.raw()
        connection.send(command(connection, (0xFF,)))
        (answer,) = await received(connection, 1)
        assert int.from_bytes(answer.data[:2], "big") > len(answer.data) - 2

    imitate("hostile", test)


def test_pings_have_no_tag_and_want_an_answer(imitate):
    async def test(served):
        connection, _ = await served.raw()
        ping = (await connection.recv(60)).pdu
        assert isinstance(ping, NopIn)
        assert ping.ttt == 0xFFFFFFFF
        assert await connection.wait_closed(60)

    imitate("hostile", test)


def test_logouts_and_second_questions_are_not_answered(imitate):
    async def test(served):
        connection, _ = await served.raw(discovery=True)
        for expected in (1, 0):
            numbers = {"cmd_sn": connection.next_cmd_sn(), "exp_stat_sn": connection.exp_stat_sn}
            connection.send(
                TextRequest(itt=connection.next_itt(), data=encode_pairs([("SendTargets", "All")]), **numbers)
            )
            if expected:
                assert b"TargetName" in bytes((await received(connection, 1))[0].data)
            else:
                with pytest.raises(SilentPeer):
                    await connection.recv()
        connection.send(LogoutRequest(reason=0, itt=77, cmd_sn=connection.cmd_sn, exp_stat_sn=connection.exp_stat_sn))
        with pytest.raises(PeerClosed):
            await connection.recv()

    imitate("hostile", test)


@pytest.mark.parametrize("target", [LOOP, DEAD_END])
def test_ways_that_lead_nowhere(imitate, target):
    """The bundled initiator gives up behind so many redirections, and where nobody listens."""

    async def test(served):
        _, login = await served.raw(target=target)
        assert login.status == 0x0101
        address = dict(login.pairs)["TargetAddress"]
        assert address == (str(served.endpoint()) if target == LOOP else "127.0.0.1:9")
        with pytest.raises(ClientError):
            await served.client(target=target, settings=PATIENT)

    imitate("hostile", test)


@pytest.mark.parametrize("digests", [False, True])
def test_the_bundled_initiator_survives_or_fails_cleanly(imitate, digests):
    """Whatever a request ends with, what was written stays written, and a new session works as well as the first."""

    async def test(served):
        wish = {"header_digest": REQUIRE_DIGEST} if digests else {}
        disk, outcomes = {}, {"done": 0, "failed": 0}
        for attempt in range(3):
            client = await served.client(settings=PATIENT, **wish)
            for lba in range(40):
                data = random.Random(attempt * 100 + lba).randbytes(BLOCK)
                try:
                    await client.write(lba, data)
                    disk[lba] = [data]
                    assert bytes(await client.read(lba, 1)) in disk[lba]
                except ClientError:
                    disk[lba] = [*disk.get(lba, [bytes(BLOCK)]), data]
                    outcomes["failed"] += 1
                else:
                    outcomes["done"] += 1
            client.abort()
        assert outcomes["done"] > 20
        assert sum(outcomes.values()) == 120

    imitate("hostile", test)
