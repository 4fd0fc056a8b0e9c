"""certify-initiator: how a foreign initiator is brought to a case, whose connections count, and what comes of it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iscsi_conformance.case import load_cases
from iscsi_conformance.certify.own import OwnConnections
from iscsi_conformance.certify.process import Running
from iscsi_conformance.certify.product import LIBISCSI, QEMU_IMG, CommandError, Place, Template
from iscsi_conformance.cli import main
from iscsi_conformance.clock import passed
from iscsi_conformance.doing import Doing, Wish
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.reaction import by_connection, reaction_to
from iscsi_conformance.result import read_results
from iscsi_conformance.verdict import Unsupported, Verdict
from iscsi_protocol.history import Endpoint, PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, NopOut, Opcode, ScsiCommand, encode
from iscsi_protocol.stream import Direction

PLACE = Place(portal=Endpoint("127.0.0.1", 3260), target="iqn.2026-11.org.example:a", lun=0)
URL = "iscsi://127.0.0.1:3260/iqn.2026-11.org.example:a/0"
ONE_WAY = ChapLogin(user="me", secret="twelve bytes")
MUTUAL = ChapLogin(user="me", secret="s", target_user="you", target_secret="t")
BUNDLED = f'{sys.executable} -c "from iscsi_initiator.cli import main; main()" info {{url}}'


def wish(doing=Doing.LOG_IN, **wishes):
    """What a case wishes for."""
    return Wish(doing=doing, **wishes)


# ---- products ----


def test_template_fills_its_placeholders_in():
    """Words are taken apart first, so that what is filled in stays one word."""
    template = Template("'my tool' --to={portal} {target}/{lun} {url} {doing} {user}:{secret}")
    words = template.command(wish(Doing.READ, chap=ONE_WAY), PLACE)
    assert words == ["my tool", "--to=127.0.0.1:3260", f"{PLACE.target}/0", URL, "read", "me:twelve bytes"]
    assert template.programs == ["my tool"]


@pytest.mark.parametrize(
    "text", ["", "tool {no-such}", "tool 'open", "tool {}", "tool {0}", "tool {", "tool {lun.x}", "tool {lun[x]}"]
)
def test_template_that_cannot_be_used_is_refused(text):
    """An unknown placeholder or an open quote is a matter of usage."""
    with pytest.raises(CommandError):
        Template(text)


@pytest.mark.parametrize(("text", "login"), [("tool {user}", ONE_WAY), ("tool {user} {secret}", MUTUAL)])
def test_template_without_chap_lacks_it(text, login):
    """A command that cannot be told secrets, or is to prove the target, has no CHAP."""
    with pytest.raises(Unsupported):
        Template(text).command(wish(chap=login), PLACE)


def test_libiscsi_is_told_by_its_url():
    """Credentials, the target's, and the header digest stand in the URL; discovery names no target."""
    assert LIBISCSI.command(wish(Doing.DISCOVER), PLACE) == ["iscsi-ls", "-s", "iscsi://127.0.0.1:3260"]
    given = LIBISCSI.command(wish(chap=MUTUAL, header_digest=True), PLACE)[-1]
    assert given == URL.replace("//", "//me%s@", 1) + "?target_user=you&target_password=t&header_digest=crc32c"


def test_qemu_is_told_by_url_or_options():
    """A header digest goes into options, which have no place for a format beside them."""
    assert QEMU_IMG.command(wish(), PLACE) == ["qemu-img", "info", "-f", "raw", URL]
    words = QEMU_IMG.command(wish(header_digest=True), PLACE)
    assert words[:3] == ["qemu-img", "info", "--image-opts"]
    assert "file.header-digest=crc32c" in words[3]
    assert "-f" not in words


@pytest.mark.parametrize(
    ("product", "lacking"),
    [
        (LIBISCSI, wish(data_digest=True)),
        (QEMU_IMG, wish(data_digest=True)),
        (QEMU_IMG, wish(chap=MUTUAL)),
        (QEMU_IMG, wish(Doing.DISCOVER)),
    ],
)
def test_what_tools_lack_is_said(product, lacking):
    """What the tools have no option for is UNSUPPORTED, not tried."""
    with pytest.raises(Unsupported):
        product.command(lacking, PLACE)


# ---- histories ----


def pdu(connection, message, direction=Direction.TO_TARGET, time=0.0):
    """A record of a PDU."""
    return PduRecord(connection, time, direction, encode(message))


def event(connection, what, direction=Direction.TO_TARGET):
    """A record of something below iSCSI."""
    return TransportRecord(connection, 0.0, what, direction=direction)


def login(connection, target):
    """A Login Request that names this target, or none."""
    names = "InitiatorName=iqn.x:i\0" + (f"TargetName={target}\0" if target else "")
    return pdu(connection, LoginRequest(data=names.encode()))


def test_logins_to_other_targets_are_left_out():
    """What is known of a stranger only by its login is dropped from the first record on; the case's own all comes."""
    taken: list[Record] = []
    own = OwnConnections("iqn.x:mine", taken.append)
    mine = [event(1, TransportEvent.CONNECTED), login(1, "iqn.x:mine"), pdu(1, NopOut())]
    other = [event(2, TransportEvent.CONNECTED), login(2, "iqn.x:former"), pdu(2, NopOut())]
    discovery = [event(3, TransportEvent.CONNECTED), login(3, None)]
    silent = [event(4, TransportEvent.CONNECTED), event(4, TransportEvent.FIN)]
    for record in [part for parts in zip(mine, other, strict=True) for part in parts] + discovery + silent:
        own.record(record)
    assert taken == [*mine, *discovery]
    own.finish()
    assert taken == [*mine, *discovery, *silent]
    assert own.strangers == {2: "iqn.x:former"}


def is_ping(raw):
    """Whether the target pings."""
    return raw.opcode == Opcode.NOP_IN


PING = pdu(1, NopIn(ttt=5), Direction.TO_INITIATOR, 1.0)
GONE = event(1, TransportEvent.FIN)


@pytest.mark.parametrize(
    ("behind", "dropped"),
    [
        ([GONE], True),
        ([event(1, TransportEvent.RST)], True),
        ([event(1, TransportEvent.CLOSED_BY_US, Direction.TO_INITIATOR)], True),
        ([event(1, TransportEvent.FIN, Direction.TO_INITIATOR)], False),
        ([pdu(1, ScsiCommand()), GONE], False),
        ([event(2, TransportEvent.FIN)], False),
        ([pdu(2, ScsiCommand()), GONE], True),
        ([event(1, TransportEvent.CONNECTED), GONE], False),
        ([], False),
    ],
)
def test_ending_the_connection_is_told_from_going_on(behind, dropped):
    """Only an initiator that says nothing more on that connection, and ends it, has dropped it."""
    reaction = reaction_to([pdu(1, ScsiCommand()), PING, *behind], is_ping)
    assert reaction is not None
    assert reaction.dropped is dropped


def test_reaction_counts_connections_and_time():
    """Connections opened behind the PDU are counted from either side's history, answers by their time."""
    late = pdu(1, NopOut(), time=9.0)
    reopened = [event(2, TransportEvent.CONNECT), event(2, TransportEvent.CONNECTED)]
    reaction = reaction_to([event(1, TransportEvent.CONNECTED), PING, late, *reopened], is_ping)
    assert reaction is not None
    assert (reaction.connects, len(reaction.sent), len(reaction.within(2))) == (1, 1, 0)
    assert reaction_to([late], is_ping) is None


def test_a_number_that_is_given_again_is_another_connection():
    """Two logins over connections with the same number are two."""
    answer = pdu(1, LoginResponse(), Direction.TO_INITIATOR)
    records = [login(1, "a"), answer, event(1, TransportEvent.CONNECTED), login(1, "a"), login(2, "a")]
    assert [len(each) for each in by_connection(records)] == [2, 1, 1]


# ---- the command ----


def certify(*arguments):
    """Run the command line."""
    return CliRunner().invoke(main, ["certify-initiator", "--listen", "127.0.0.1:0", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--command", "true", "--adapter", "libiscsi"], 2, "exclude each other"),
        (["--command", "true {what}"], 2, "the placeholders are"),
        (["--command", "no-such-program-of-anybody {url}"], 3, "not installed: no-such-program-of-anybody"),
        (["--adapter", "nobody"], 2, "nobody"),
        (["--case-time", "0"], 2, "--case-time"),
        (["--case-time", "nan"], 2, "no number of seconds"),
        (["--time-limit", "inf"], 2, "no number of seconds"),
        (["--command", "true", "-k", "no-case-has-this"], 4, ""),
        (["--command", "true", "-k", "datain"], 4, ""),
        (["--command", "true", "--out", "/proc/nowhere"], 3, "/proc/nowhere"),
    ],
)
def test_what_cannot_run_is_refused(arguments, code, says):
    """One clear line, and the exit codes of `run`; cases for targets, or about events, are not among them."""
    done = certify(*arguments)
    assert done.exit_code == code
    assert says in done.output


def test_port_that_is_taken_is_refused(unused_endpoint):
    """An address that somebody else has is exit code 3."""
    done = CliRunner().invoke(main, ["certify-initiator", "--listen", "192.0.2.1:0", "--command", "true"])
    assert done.exit_code == 3


def test_a_name_is_no_address_to_listen_at():
    """What is wanted is said, and not that the name is unknown."""
    done = CliRunner().invoke(main, ["certify-initiator", "--listen", "localhost:0", "--command", "true"])
    assert (done.exit_code, "localhost:0: not an address of this host" in done.output) == (3, True)


def test_bundled_initiator_as_a_foreign_one(tmp_path):
    """The bundled initiator's command is judged over TCP like anybody's, by its PDUs alone, and leaves captures."""
    cases = "ilogin.header-stays or ilogout.closes or idata.r2t-answer-tags or ichap.one-way"
    done = certify("--command", BUNDLED, "--out", tmp_path, "-k", cases)
    results = read_results(tmp_path / "results.json")
    verdicts = {result.id: (result.verdict, result.reason) for result in results.cases}
    assert verdicts["ilogin.header-stays"] == (Verdict.PASS, "")
    assert verdicts["ilogout.closes"] == (Verdict.PASS, "")
    assert verdicts["idata.r2t-answer-tags"] == (
        Verdict.INCONCLUSIVE,
        "the initiator wrote nothing that was asked for",
    )
    assert verdicts["ichap.one-way"][0] is Verdict.UNSUPPORTED
    assert done.exit_code == 1
    assert results.dut["kind"] == "initiator"
    assert (tmp_path / "captures" / "ilogout.closes.pcapng").stat().st_size > 1000
    (note,) = next(result for result in results.cases if result.id == "ilogout.closes").evidence.notes
    assert "exit code 0" in note
    assert "iqn.2026-11.org.iscsi-conformance:ilogout.closes" in note


def test_nobody_comes():
    """A command that does not log in shows nothing, and it is told whether it had its time."""
    named = "nobody logged in to iqn.2026-11.org.iscsi-conformance:ilogout.closes"
    hangs = certify("--command", "sleep 60", "--json", "--case-time", "0.2", "-k", "ilogout.closes")
    assert (hangs.exit_code, f"{named} within 0.2 s" in hangs.output) == (1, True)
    ends = certify("--command", "true", "--json", "--case-time", "20", "-k", "ilogout.closes")
    assert (ends.exit_code, f"{named} before the command ended" in ends.output) == (1, True)


def test_a_command_that_cannot_be_started_ends_the_run(tmp_path):
    """No case could start it; it is no defect of the suite."""
    tool = tmp_path / "tool"
    tool.write_bytes(b"neither a program nor a script")
    tool.chmod(0o700)
    done = certify("--command", tool, "--json", "-k", "ilogout")
    assert done.exit_code == 3
    assert "suspect" not in done.stderr
    (only,) = json.loads(done.stdout)["cases"]
    assert (only["verdict"], only["reason"]) == ("INCONCLUSIVE", f"{tool} cannot be started: Exec format error")


LEAVES_SOMETHING = """
import os, sys, time
ready, running = os.pipe()
if os.fork():
    os.read(ready, 1)
    print("the last words", flush=True)
    sys.exit(3)
os.setsid()
open(sys.argv[1], "w").write(str(os.getpid()))
os.write(running, b"x")
time.sleep(60)
"""


def test_what_a_command_leaves_behind_does_not_hold_the_suite(tmp_path):
    """A process that left the group has the end of the output for itself: it is not waited for, and nothing stays open."""

    async def run():
        running = await Running.start([sys.executable, "-c", LEAVES_SOMETHING, str(tmp_path / "pid")])
        while not running.over:
            await passed(0.01)
        return await running.stop()

    said = asyncio.run(run())
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    gc.collect()
    assert said.endswith("exit code 3\nthe last words")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_command_behind(tmp_path, number):
    """The command hears of no signal to the suite, in its group of its own; what was found by then is kept."""
    told = tmp_path / "told"
    os.mkfifo(told)
    words = ["--listen", "127.0.0.1:0", "--case-time", "60", "--out", tmp_path / "out", "-k", "ilogout"]
    words += ["--command", f"sh -c 'echo $$ > {told}; exec sleep 60'"]
    line = [
        sys.executable,
        "-c",
        "from iscsi_conformance.cli import main; main()",
        "certify-initiator",
        *map(str, words),
    ]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        pid = int(told.read_text())
        run.send_signal(number)
        assert b"interrupted" in run.communicate(timeout=30)[1]
    assert run.returncode == 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert read_results(tmp_path / "out" / "results.json").cases == []


def test_cases_for_any_initiator_are_told():
    """`explain` says which cases certify-initiator runs."""
    open_to_all = [case.id for case in load_cases().values() if case.wire_only]
    assert len(open_to_all) > 80
    page = CliRunner().invoke(main, ["explain", open_to_all[0]]).output
    assert "certify-initiator runs it too" in page
