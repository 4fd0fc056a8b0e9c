"""An initiator that loses connections and has their tasks continued (RFC 7143 7.2.2)."""

from __future__ import annotations

import random

from iscsi_protocol.pdu import (
    AsyncEvent,
    AsyncMessage,
    LogoutReason,
    LogoutResponse,
    LogoutResponseCode,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
)

KEYS = {"ErrorRecoveryLevel": "2", "MaxConnections": "4"}
LEVEL2 = (
    ("ErrorRecoveryLevel", "2"),
    ("MaxConnections", "4"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "10"),
    ("MaxRecvDataSegmentLength", "512"),
    ("DataSequenceInOrder", "No"),
    ("DataPDUInOrder", "No"),
    ("MaxOutstandingR2T", "4"),
    ("ImmediateData", "No"),
    ("MaxBurstLength", "2048"),
    ("FirstBurstLength", "512"),
)
LUN0 = bytes(8)
SLOW = b"\x35" + bytes(15)
PATTERN = random.Random(7143).randbytes(65536)


def changed(**keys):
    return tuple((dict(LEVEL2) | keys).items())


def another(bench, host, cid=1, *, length=512):
    """One more connection of the session."""
    new = bench.host(cid=cid)
    new.tsih = host.tsih
    new.itt = 1000 * new.number
    return new.login(("MaxRecvDataSegmentLength", str(length)))


def lose(host, survivor=None):
    """The connection goes; another one hears of it and goes on with the session's CmdSN."""
    host.hang_up()
    if survivor is not None:
        survivor.collect()
        assert survivor.take(AsyncMessage).async_event == AsyncEvent.CONNECTION_DROP
        survivor.cmd_sn = host.cmd_sn


def reinstate(bench, host, **fields):
    """Implicit logout: a login with the same CID."""
    return another(bench, host, host.cid, **fields)


def log_out(new, cid):
    response = new.ask(new.logout(LogoutReason.RECOVERY, cid=cid, exp_stat_sn=0), LogoutResponse)
    assert response.response == LogoutResponseCode.SUCCESS


def ask_reassign(new, itt, exp_data_sn=0):
    """The response, and what follows it."""
    new.send(new.function(TaskFunction.TASK_REASSIGN, referenced_task_tag=itt, exp_data_sn=exp_data_sn))
    response = new.take(TaskManagementResponse)
    return TaskResponse(response.response), response.stat_sn


def reassign(new, itt, exp_data_sn=0):
    response, stat_sn = ask_reassign(new, itt, exp_data_sn)
    assert response == TaskResponse.FUNCTION_COMPLETE
    return stat_sn


def taken(new):
    answers = list(new.inbox)
    new.inbox.clear()
    return answers


def lost_read(host, blocks=8, got=0, survivor=None):
    """A read of which the initiator got `got` PDUs before the connection went."""
    command = host.read(0, blocks)
    host.send(command)
    answers = taken(host)
    lose(host, survivor)
    return command, answers[:got]


def in_session(bench, host):
    return next(each for each in bench.engine.sessions if each.tsih == host.tsih)
