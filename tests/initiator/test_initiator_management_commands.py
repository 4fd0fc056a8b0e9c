"""iscsi-initiator query, invoke and watch: what they print, their exit codes, and one line for what is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner
from tests.initiator.service_bench import with_service
from tests.initiator.service_running import Running, target_served

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.cli import main
from iscsi_initiator.interrupts import interrupts
from iscsi_initiator.service import api
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.management.failures import NODE_FAILURE
from iscsi_initiator.service.management.table import CLASSES
from iscsi_initiator.service.operations import STREAMS, perform
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Secrets

ONE_LINE = re.compile(r"iscsi-initiator: (error|warning) 0x[0-9A-F]{8} ISDSC_[A-Z_]+: [^\n]+\n")


class Program:
    """The commands against a service."""

    def __init__(self, bench, path, listener):
        self.bench = bench
        self.path = path
        self.listener = listener

    async def run(self, *words, status=0):
        """What a command printed; on standard error it has one line at most."""
        command = [*words, "--socket", str(self.path)]
        result = await asyncio.to_thread(CliRunner().invoke, main, command)
        assert (result.exit_code, result.exception if status == 0 else None) == (status, None), result.output
        if result.stderr:
            assert ONE_LINE.fullmatch(result.stderr), result.stderr
        assert bool(result.stderr) or status == 0
        self.error = result.stderr
        return result.stdout

    async def json(self, *words):
        return json.loads(await self.run(*words, "--json"))


def over(folder, test):
    async def served(bench):
        core = bench.core

        async def handle(request):
            stream = STREAMS.get(type(request))
            return await perform(core, request) if stream is None else stream(core, request)

        listener = Listener(folder / "s", handle, defect=lambda error: None)
        await listener.start()
        try:
            async with asyncio.timeout(90):
                await test(Program(bench, folder / "s", listener))
        finally:
            await listener.close()

    with_service(folder, served, virtual=False)


def test_classes_are_listed(tmp_path):
    result = CliRunner().invoke(main, ["query"])
    assert result.exit_code == 0
    assert "\n    SetLoadBalancePolicy(LoadBalancePolicies)\n" in result.output
    assert (
        "MSiSCSI_InitiatorNodeFailureEvent       a login or a logout came to nothing; to be watched\n" in result.output
    )
    listed = json.loads(CliRunner().invoke(main, ["query", "--json"]).output)
    assert [each["class"] for each in listed["classes"]] == list(CLASSES)
    assert listed["classes"][0]["properties"]["InstanceName"] == "string"


def test_instances_are_shown(tmp_path):
    async def test(program):
        bench = program.bench
        assert await program.run("query", "MSiSCSI_SessionStatistics") == "no instance of MSiSCSI_SessionStatistics\n"
        await bench.discover()
        session = await bench.log_in()
        shown = await program.run("query", "msiscsi_sessionstatistics")
        assert f"iSCSIName = {PLAIN}\n" in shown
        assert "Active = true\n" in shown
        (row,) = (await program.json("query", "MSiSCSIInitiator_SessionClass"))["instances"]
        assert (row["SessionId"], row["ISID"]) == (session.session_id, session.isid.hex())
        assert row["ConnectionInformation"][0]["CID"] == "0000"
        shown = await program.run(
            "query", "MSiSCSIInitiator_SessionClass", "--where", f"SessionId={session.session_id}"
        )
        assert "ConnectionInformation[0]\n  ConnectionId = " in shown
        none = await program.json("query", "MSiSCSIInitiator_SessionClass", "--where", "SessionId=1-2")
        assert none == {"class": "MSiSCSIInitiator_SessionClass", "instances": []}
        mapped = await program.run("query", "MSiSCSIInitiator_TargetClass", "--where", f"TargetName={PLAIN}")
        assert "Mappings = \n" in mapped

    over(tmp_path, test)


def test_methods_are_called(tmp_path):
    async def test(program):
        bench = program.bench
        await bench.discover()
        login = ["invoke", "MSiSCSIInitiator_TargetClass", "login", "--where", f"TargetName={PLAIN}"]
        options = ["LoginOptions.LoginFlags=2", "LoginOptions.Username=tester", "TargetPortal.Address=127.0.0.1"]
        ids = (await program.json(*login, *options, "TargetPortal.Port=3262"))["results"]
        session = bench.core.session(ids["UniqueSessionId"])
        assert session.portal.port == 3262
        assert session.options.login_flags == 2
        here = ["--where", f"SessionId={session.session_id}"]
        inquiry = await program.json("invoke", "MSiSCSIInitiator_SessionClass", "SendScsiInquiry", "Lun=0", *here)
        assert inquiry["results"]["ResponseBuffer"].startswith("0000")
        text = await program.run("invoke", "MSiSCSIInitiator_SessionClass", "SendScsiReportLuns", *here)
        assert text == f"Luns = 0, {1 << 48}\nStatus 0x00000000: done.\n"
        policy = json.dumps({"UniqueSessionId": session.usid, "LoadBalancePolicy": 1})
        await program.run("invoke", "MSiSCSI_LB_Operations", "SetLoadBalancePolicy", f"LoadBalancePolicies={policy}")
        assert session.client.session.balance.policy == 1
        shown = await program.run("query", "MSiSCSI_QueryLBPolicy")
        assert "LoadBalancePolicies[0]\n" in shown
        assert "  iSCSI_Paths[0]\n    UniqueConnectionId = " in shown

    over(tmp_path, test)


def test_secrets_come_from_a_file(tmp_path):
    """A warning is told on standard error, and is no failure."""
    (tmp_path / "secret").write_bytes(b"a-secret-of-16-b\n")
    (tmp_path / "short").write_bytes(b"short")

    async def test(program):
        method = ["invoke", "MSiSCSIInitiator_MethodClass", "SetIScsiInitiatorCHAPSharedSecret"]
        await program.run(*method, f"SharedSecret=@{tmp_path / 'secret'}")
        store = program.bench.core.store
        assert store.unseal(store.state.secrets.initiator, Secrets.initiator_place) == b"a-secret-of-16-b"
        said = await program.run(*method, f"SharedSecret=@{tmp_path / 'short'}")
        assert said == "Status 0xAFFF0048: done, with a warning.\n"
        assert "warning 0xAFFF0048 ISDSC_SHORT_CHAP_SECRET" in program.error
        await program.run(*method, "SharedSecret=?", status=2)
        assert "no terminal" in program.error
        await program.run(*method, "SharedSecret=@/nowhere", status=2)

    over(tmp_path, test)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["query", "MSiSCSI_Nothing"], 2),
        (["query", "--where", "A=B"], 2),
        (["query", "MSiSCSI_HBAInformation", "--where", "Active"], 2),
        (["query", "MSiSCSI_HBAInformation", "--where", "Colour=red"], 2),
        (["query", "MSiSCSI_HBAInformation", "--where", "Active=true", "--where", "Active=false"], 2),
        (["query", "MSiSCSI_HBAInformation", "--where", "NumberOfPorts=x"], 1),
        (["query", "MSiSCSI_InitiatorNodeFailureEvent"], 1),
        (["invoke", "MSiSCSI_Nothing", "Login"], 2),
        (["invoke", "MSiSCSI_HBAInformation", "Login"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "Logout", "Hard=true"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "Logout", "Hard"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "Logout", "--where", "Colour=red"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "Logout", "--where", "SessionId=1-2"], 1),
        (["invoke", "MSiSCSIInitiator_SessionClass", "SendScsiInquiry"], 1),
        (["invoke", "MSiSCSIInitiator_SessionClass", "SendScsiInquiry", "Lun=many"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "SendScsiInquiry", "Lun.x=0"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "AddConnection", "TargetPortal=x"], 2),
        (["invoke", "MSiSCSIInitiator_SessionClass", "AddConnection", "TargetPortal.Colour=x"], 2),
        (["watch", "MSiSCSI_Nothing"], 2),
        (["watch", "MSiSCSI_HBAInformation"], 2),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, words, status):
    async def test(program):
        assert await program.run(*words, status=status) == ""

    over(tmp_path, test)


@pytest.mark.parametrize(
    "words",
    [["query", "MSiSCSI_HBAInformation"], ["invoke", "MSiSCSIInitiator_MethodClass", "RefreshTargetList"], ["watch"]],
)
def test_without_a_service(tmp_path, words):
    result = CliRunner().invoke(main, [*words, "--socket", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert ONE_LINE.fullmatch(result.stderr)
    assert "0xEFFF003E" in result.stderr


async def watched(program, *words):
    """What `watch` prints of two failures, with three lost between them, until the service ends."""
    notices = program.bench.core.notices
    command = ["watch", *words, "--socket", str(program.path)]
    told = asyncio.get_running_loop().create_task(asyncio.to_thread(CliRunner().invoke, main, command))
    await until(lambda: notices._subscriptions)
    notices.tell(NODE_FAILURE, failure())
    notices._subscriptions[0]._lost = 3
    notices.tell(NODE_FAILURE, failure())
    await until(lambda: not notices._subscriptions[0]._queue)
    await asyncio.to_thread(BlockingClient(program.path).ask, api.ServiceStatus())
    await program.listener.close()
    result = await told
    assert result.exit_code == 1
    assert "0xEFFF003E" in result.stderr
    return result.stdout


def test_events_are_shown(tmp_path):
    async def test(program):
        text = await watched(program)
        assert text.startswith(f"{NODE_FAILURE}\n  InstanceName = x\n  Active = true\n")
        assert "\n3 events were lost\n" in text
        assert "  TargetFailureAddr\n    Type = 1\n" in text

    over(tmp_path, test)


def test_events_as_json(tmp_path):
    async def test(program):
        lines = [json.loads(line) for line in (await watched(program, NODE_FAILURE, "--json")).splitlines()]
        assert [(each["class"], each["lost"]) for each in lines] == [(None, 0), (NODE_FAILURE, 0), (NODE_FAILURE, 3)]
        assert lines[1]["instance"]["TargetFailureAddr"]["IpV6Address"] == "00" * 16

    over(tmp_path, test)


def test_an_interrupt_that_meets_a_destructor_ends_watching(tmp_path, monkeypatch):
    """A service that has nothing to tell, and an exception that is raised where it is lost."""

    class Unlucky:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Quiet(socket.socket):
        turns = 0

        def recv(self, *_):
            Quiet.turns += 1
            assert Quiet.turns < 3
            unlucky = Unlucky()
            del unlucky
            raise TimeoutError

    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(tmp_path / "socket"))
        service.listen()
        monkeypatch.setattr("iscsi_initiator.service.blocking.socket.socket", Quiet)
        result = CliRunner().invoke(main, ["watch", "--socket", str(tmp_path / "socket")])
    assert (result.exit_code, result.output, Quiet.turns) == (0, "", 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_ignored_ends_nothing():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


async def until(true):
    for _ in range(1_000_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError


def failure():
    from iscsi_initiator.service.management.shapes import ip_address

    return {
        "InstanceName": "x",
        "Active": True,
        "FailureTime": 1,
        "FailureType": 0,
        "TargetFailureName": PLAIN,
        "TargetFailureAddr": ip_address("192.0.2.1"),
    }


def test_a_service_in_a_process_of_its_own(tmp_path):
    """Metrics over HTTP, a watcher that is interrupted, and instances, with the programs as they are installed."""
    with target_served() as endpoint:
        service = Running(tmp_path, "--metrics", "0")
        try:
            there = service.ready["metrics"]
            service.ask(api.AddTargetPortal(portal=api_portal(endpoint)))
            made = service.ask(api.LoginTarget(target_name=PLAIN))
            with urllib.request.urlopen(f"http://{there}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            assert f'session="{made.session_id}"' in text
            command = [sys.executable, "-c", "from iscsi_initiator.cli import main; main()"]
            with subprocess.Popen(
                [*command, "watch", "--json", "--socket", str(service.socket)], stdout=subprocess.PIPE, text=True
            ) as watcher:
                assert watcher.stdout is not None
                assert json.loads(watcher.stdout.readline()) == {"class": None, "instance": {}, "lost": 0}
                with pytest.raises(Refused) as refused:
                    service.ask(
                        api.LoginTarget(target_name=PLAIN, options=api.LoginOptions(login_flags=2, auth_type=1))
                    )
                assert refused.value.status is StatusCode.TARGET_AUTHINFO_UNAVAILABLE
                watcher.send_signal(signal.SIGINT)
                assert watcher.wait(30) == 0
            query = subprocess.run(
                [*command, "query", "MSiSCSI_SessionStatistics", "--json", "--socket", str(service.socket)],
                capture_output=True,
                text=True,
                check=True,
            )
            assert json.loads(query.stdout)["instances"][0]["iSCSIName"] == PLAIN
            service.ask(api.StopService())
        finally:
            status, complaints = service.end()
        assert (status, complaints) == (0, "")


def api_portal(endpoint):
    from iscsi_initiator.store.state import Portal

    return Portal(address=endpoint.host, port=endpoint.port)


@pytest.mark.parametrize("text", ["x", "localhost:1", "1:2:3:4", "127.0.0.1:65536", "127.0.0.1:-1", ":"])
def test_where_metrics_cannot_be(tmp_path, text):
    result = CliRunner().invoke(main, ["service", "start", "--metrics", text])
    assert result.exit_code == 2
    assert "--metrics" in result.output
