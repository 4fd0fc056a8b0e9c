"""What a review leaves behind, seen by others: its page in headless Chromium, its comments in tshark."""

from __future__ import annotations

import datetime as dt
import gzip
import subprocess
import tempfile

import pytest
from tests.interop.browser import LOGGED, OPTIONS

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_captures.review import review
from iscsi_captures.review.annotate import annotate
from iscsi_captures.review.html import write_html
from iscsi_protocol.history import Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import DataIn, LoginRequest, LoginResponse, ScsiCommand, ScsiResponse, encode
from iscsi_protocol.stream import Direction

NOW = dt.datetime(2026, 11, 30, 3, 0, tzinfo=dt.UTC)
START = 1_764_500_000.0
LUN = bytes((0, 1, 0, 0, 0, 0, 0, 0))
READ_10 = bytes.fromhex("28000000000000000800") + bytes(6)
NAME = "iqn.2026-11.example:tester"
HOSTILE = "iqn.x:</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\u202e"
COMMANDS = 40


def pdus(name):
    """A login and reads, the second half of which is answered with a StatSN that is one too high."""
    keys = f"InitiatorName={name}\0TargetName=iqn.2026-11.example:disk\0SessionType=Normal\0".encode()
    yield LoginRequest(itt=1, csg=1, nsg=3, transit=True, isid=bytes.fromhex("400001370000"), cmd_sn=1, data=keys)
    yield LoginResponse(
        itt=1,
        csg=1,
        nsg=3,
        transit=True,
        isid=bytes.fromhex("400001370000"),
        tsih=7,
        stat_sn=3,
        exp_cmd_sn=1,
        max_cmd_sn=64,
        data=b"TargetPortalGroupTag=1\0",
    )
    due = 4
    for place in range(COMMANDS):
        itt, number = 0x10 + place, 1 + place
        stat_sn = 4 + place + (1 if place >= COMMANDS // 2 else 0)
        yield ScsiCommand(
            itt=itt,
            lun=LUN,
            read=True,
            expected_data_transfer_length=4096,
            cmd_sn=number,
            exp_stat_sn=due,
            cdb=READ_10,
        )
        yield DataIn(itt=itt, exp_cmd_sn=number + 1, max_cmd_sn=number + 64, data=bytes(4096))
        yield ScsiResponse(itt=itt, stat_sn=stat_sn, exp_cmd_sn=number + 1, max_cmd_sn=number + 64, exp_data_sn=1)
        due = stat_sn + 1


def recorded(path, name=NAME):
    """A capture of these PDUs."""
    ends = Endpoint("192.0.2.7", 50123), Endpoint("192.0.2.40", 3260)
    with PcapngRecorder(path, comment="a dialogue that was made up") as recorder:
        recorder.record(TransportRecord(1, START, TransportEvent.CONNECTED, *ends))
        for place, pdu in enumerate(pdus(name), 1):
            direction = Direction.TO_INITIATOR if pdu.OPCODE >= 0x20 else Direction.TO_TARGET
            recorder.record(PduRecord(1, START + place / 1000, direction, encode(pdu)))
    return path


def page_of(folder, name=NAME):
    """The address of the page about such a capture."""
    page = folder / "review.html"
    write_html(review([recorded(folder / "sample.pcapng", name)]), page, now=NOW)
    return page.as_uri()


@pytest.fixture
def page(tmp_path):
    """The address of the page about a capture with a finding."""
    return page_of(tmp_path)


def test_page_shows_and_filters_findings(browser, page):
    """The finding is told with its frame and its bytes, and a filter that does not fit it leaves nothing."""
    browser.open(page)

    assert "MUST rules broken: 1 by the target" in browser.text(".verdict")
    assert "StatSN" in browser.text("#list li .inside")
    assert browser.text("#list .bytes mark").count(" ") == 3
    assert browser.text("#shown").endswith(" findings")
    for wanted, count in (("target", "findings"), ("initiator", "0 of")):
        browser.run(
            f"(() => {{ const role = document.getElementById('role'); role.value = '{wanted}';"
            " role.dispatchEvent(new Event('change')); })()"
        )
        assert count in browser.text("#shown")
    assert browser.run("[...document.querySelectorAll('#list > li')].every((row) => row.hidden)")
    assert browser.complaints() == []


def test_link_to_a_finding_opens_it(browser, page):
    """From the command's diagram to the finding, though it was filtered out and closed."""
    browser.open(page)
    browser.run("document.querySelector('#list details').open = false")
    browser.run("document.querySelector('#list li').hidden = true")

    browser.run("document.querySelector('.sequence a[href=\"#finding-0\"]').dispatchEvent(new MouseEvent('click'))")
    browser.run("new Promise(requestAnimationFrame)")
    browser.run("new Promise(requestAnimationFrame)")

    assert browser.run("document.querySelector('#finding-0 details').open")
    assert browser.complaints() == []


def test_plots_are_read_out(browser, page):
    """By pointer and by key."""
    browser.open(page)

    browser.run(
        "(() => { const box = document.querySelector('.plot').getBoundingClientRect();"
        " document.querySelector('.plot').dispatchEvent(new PointerEvent('pointermove',"
        " {clientX: box.left + box.width / 2, clientY: box.top + 50})); })()"
    )
    first = browser.text(".readout")
    browser.run(
        "document.querySelector('.plot').parentElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    )

    assert "command" in first
    assert "depth" in first
    assert browser.text(".readout") != first
    assert browser.complaints() == []


def test_everything_but_filters_is_there_without_scripts(browser, page):
    """Findings, diagrams, plots and numbers stand in the document."""
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page)

    text = browser.text("main")
    for said in ("MUST rules broken", "StatSN", "READ(10)", "queue depth", "full feature"):
        assert said in text or said in browser.run("document.querySelector('main').textContent")
    assert browser.run("document.querySelector('#filters').offsetParent === null")
    assert browser.run("document.querySelectorAll('.copy button').length") == 0
    assert browser.run("document.querySelector('.sequence').getBoundingClientRect().height > 100")
    assert browser.complaints() == []


def test_text_of_the_capture_stays_text(browser, tmp_path):
    """A name with markup in it neither runs nor loads anything."""
    browser.open(page_of(tmp_path, HOSTILE))

    assert browser.run("document.title") == "sample.pcapng: iSCSI capture review"
    assert "onerror=alert(1)>\\u202e" in browser.text("#sessions")
    assert browser.run("document.images.length") == 0
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_is_no_wider_than_the_window(browser, page, width, scheme):
    """Nothing has to be scrolled sideways, and text stands out from what is behind it."""
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page)
    browser.run("document.querySelectorAll('details').forEach((row) => { row.open = true; })")
    browser.run("new Promise(requestAnimationFrame)")

    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light is (scheme == "light")
    assert browser.complaints() == []


def test_console_stays_empty(peer, page):
    """What Chromium logs has no line of the console in it."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [peer("chromium"), *OPTIONS, f"--user-data-dir={profile}", *LOGGED, "--dump-dom", page],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert 'id="finding-0"' in done.stdout
    assert "CONSOLE" not in done.stderr


def tshark(peer, path, *arguments):
    """The lines that tshark prints for a capture."""
    done = subprocess.run(
        [peer("tshark"), "-r", path, "-T", "fields", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


FIELDS = [part for name in ("frame.number", "frame.len", "tcp.seq", "iscsi.opcode") for part in ("-e", name)]


@pytest.mark.parametrize("form", ["pcapng", "pcapng.gz", "pcap"])
def test_tshark_shows_each_finding_at_its_frame(peer, tmp_path, form):
    """The comments stand where the findings were, times and packets are those of the capture."""
    source = recorded(tmp_path / "sample.pcapng")
    if form == "pcap":
        subprocess.run(
            [peer("tshark"), "-r", source, "-F", "pcap", "-w", tmp_path / "sample.pcap"],
            check=True,
            capture_output=True,
        )
        source = tmp_path / "sample.pcap"
    elif form == "pcapng.gz":
        source = source.rename(tmp_path / "plain")
        source = tmp_path / "sample.pcapng.gz"
        source.write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    found = review([source])
    out = tmp_path / "out.pcapng"

    assert annotate([source], found, out) == len(found.findings) > 0

    rows = tshark(peer, out, "-Y", 'frame.comment contains "MUST"', "-e", "frame.number", "-e", "frame.comment")
    shown = {int(number): comment for number, comment in (row.split("\t", 1) for row in rows)}
    assert set(shown) == {finding.frame.number for finding in found.findings}
    for finding in found.findings:
        assert finding.message in shown[finding.frame.number]
    assert tshark(peer, out, *FIELDS) == tshark(peer, source, *FIELDS)
    times = [[float(time) for time in tshark(peer, path, "-e", "frame.time_epoch")] for path in (source, out)]
    assert times[0] == times[1]
