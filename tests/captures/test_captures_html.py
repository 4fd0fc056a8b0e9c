"""The page of a review: everything is in it, text stays text, and it stays small."""

from __future__ import annotations

import base64
import datetime as dt
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.captures.review_samples import START, at, connection, finding, load, review, session, shown, trace

from iscsi_captures.reading import FrameRef
from iscsi_captures.review import review as reviewed
from iscsi_captures.review.html import (
    CONNECTIONS_SHOWN,
    EVENTS_SHOWN,
    FINDINGS_OF_A_RULE,
    FINDINGS_SHOWN,
    GAPS_SHOWN,
    PLOTS_SHOWN,
    SESSIONS_SHOWN,
    TRACES_SHOWN,
    write_html,
)
from iscsi_captures.review.model import Field, FileReview, Moment, PduShown, Step
from iscsi_protocol.pdu import LoginRequest, LoginResponse, ScsiCommand

NOW = dt.datetime(2026, 11, 30, 3, 0, tzinfo=dt.UTC)
CORPUS = Path(__file__).parents[2] / "captures" / "corpus"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' onload=x --><!-- {{ 7*7 }}\x00\u202e"
VOID = {"meta", "br", "input", "path", "img", "link", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, visible text, and whether tags close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        (self.scripts if self.stack and self.stack[-1] in {"script", "style"} else self.words).append(data)

    @property
    def text(self) -> str:
        """All text with its white space made single."""
        return " ".join("".join(self.words).split())

    def ids(self) -> list[str]:
        """All ids."""
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]

    def links(self) -> list[str]:
        """All addresses that something on the page leads to or loads."""
        return [
            str(attributes[name])
            for _, attributes in self.tags
            for name in ("href", "src", "xlink:href", "action")
            if name in attributes
        ]


def page_of(tmp_path, **fields: Any) -> Page:
    path = tmp_path / "review.html"
    write_html(review(**fields), path, now=NOW)
    return Page(path.read_text("utf-8"))


def test_all_parts_are_there(tmp_path):
    """Verdict, counts, findings with bytes and fields, sessions, commands, load, timeline, events, gaps, files."""
    page = page_of(tmp_path)

    for said in (
        "MUST rules broken: 1 by the target, 1 by the initiator.",
        "4321 packets with 2170 iSCSI PDUs in 2 sessions, over 4.2 s from 2025-11-30 10:53:20.250000 UTC",
        "StatSN 705034921 where 705034920 was next",
        "frame.number == 17",
        "tcp.port == 50123 && iscsi.initiatortasktag == 0x10000031",
        "tshark -r 'captures/slow disk.pcapng' -d tcp.port==3281,iscsi",
        "so the initiator believes that a response was lost",
        "seen 37 times",
        "stat_sn24–27705034921",
        "too many connections",
        "iqn.1991-05.com.microsoft:host7.example → iqn.2026-11.example:disk",
        "FirstBurstLength65536",
        "no inferred, 93 %",
        "WRITE(10) 64 KiB, LUN 1",
        "nothing for 200.7 ms",
        "3 PDUs are left out",
        "1950 commands; mean 900 µs",
        "latency of commands, ms",
        "throughput, MB/s",
        "queue depth, commands",
        "iScsiPrt 9a request timed out",
        "1448 bytes are not in the capture",
        "full feature phase of session 1",
        "Dumpcap 4.4",
        "3 TCP connections are not iSCSI",
    ):
        assert said in page.text, said


def test_field_in_question_is_marked(tmp_path):
    """In the hex of the header, in the table of fields, and in the text of a login."""
    page = page_of(tmp_path)

    assert "<mark>2a 05 fa a9</mark>" in page.source
    assert re.search(r'<tr class="on"><td>stat_sn</td>', page.source)
    assert "<mark>HeaderDigest=CRC32</mark>" in page.source
    assert page.source.count('<tr class="on">') == 1


def test_every_link_leads_somewhere(tmp_path):
    """Ids are there once each; nothing is loaded, and what leads out of the page is the text of the standard."""
    page = page_of(tmp_path)
    ids = page.ids()

    assert len(ids) == len(set(ids))
    for link in page.links():
        assert link.removeprefix("#") in ids or link.startswith("https://www.rfc-editor.org/rfc/rfc7143#section-")
    assert {"finding-0", "command-0", "load", "timeline", "events", "gaps"} <= set(ids)


@pytest.mark.parametrize("capture", sorted(CORPUS.rglob("*.broken.pcapng.gz"))[::60], ids=lambda path: path.stem)
def test_pages_of_captures_hold_together(tmp_path, capture):
    """What a real review brings has the same order: ids once, no link into the void, and each finding with its frame."""
    made = reviewed([capture])
    path = tmp_path / "review.html"
    write_html(made, path, now=NOW)
    page = Page(path.read_text("utf-8"))

    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.links() if link.startswith("#")} <= set(ids)
    for each in made.findings:
        assert each.message in page.text
        assert f"frame.number == {each.frame.number}" in page.text


def test_policy_names_style_and_script(tmp_path):
    """Nothing but this style and this script may act, and neither is an attribute."""
    page = page_of(tmp_path)
    policy = next(str(attributes["content"]) for tag, attributes in page.tags if attributes.get("http-equiv"))

    style, readouts, script = page.scripts
    for part, text in (("style", style), ("script", script)):
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert msgspec.json.decode(readouts)[0]["width"] == 2.0**-6
    assert not [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]


def poisoned(value: Any) -> Any:
    """The value with every free text in it made hostile, as a capture could make it."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list | tuple):
        return type(value)(poisoned(item) for item in value)
    if isinstance(value, dict):
        return {poisoned(key) if isinstance(key, str) else key: poisoned(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        fixed = {
            field.name
            for field in msgspec.structs.fields(value)
            if "Literal" in str(field.type) or field.name in {"lun", "rule", "clause", "initiator", "target"}
        }
        free = {name: poisoned(getattr(value, name)) for name in value.__struct_fields__ if name not in fixed}
        return msgspec.structs.replace(value, **free)
    return value


def test_text_of_strangers_stays_text(tmp_path):
    """Names, keys, messages and labels of a capture neither become elements nor end one, and show their hidden characters."""
    clean = page_of(tmp_path)
    path = tmp_path / "hostile.html"
    write_html(poisoned(review()), path, now=NOW)
    page = Page(path.read_text("utf-8"))

    names = [tag for tag, _ in page.tags]
    assert names.count("script") == [tag for tag, _ in clean.tags].count("script") == 2
    assert "img" not in names
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in page.text
    assert "{{ 7*7 }}\\x00\\u202e" in page.text
    assert "\x00" not in page.source
    assert "\u202e" not in page.source


def test_hostile_login_stays_text(tmp_path):
    """The bytes of a login with markup in its names are shown as keys and as letters beside the hex."""
    login = LoginRequest(itt=1, data=b"InitiatorName=iqn.x:<script>alert(1)</script>\0X-a=\xff\x1b[2J\0")
    page = page_of(
        tmp_path, findings=[finding(login, field=Field(name="InitiatorName", part="data", offset=0, length=46))]
    )

    assert "InitiatorName=iqn.x:<script>alert(1)</script>" in page.text
    assert "X-a=\\xff\\x1b[2J" in page.text
    assert "<script>alert" not in page.source


def test_nothing_found(tmp_path):
    """A clean capture says so; parts that would be empty are not there."""
    page = page_of(tmp_path, findings=[], events=[], gaps=[], timeline=[], loads=[], traces=[], sessions=[session()])

    assert "As far as the capture shows, neither side broke a MUST." in page.text
    assert "Nothing was found against either side." in page.text
    assert not {"events", "gaps", "timeline", "load", "commands"} & set(page.ids())


def test_capture_without_iscsi(tmp_path):
    """The verdict is not that all is well."""
    page = page_of(
        tmp_path,
        pdus=0,
        opcodes={},
        packets=0,
        findings=[],
        events=[],
        gaps=[],
        timeline=[],
        loads=[],
        traces=[],
        sessions=[],
    )

    assert "There is no iSCSI in what was captured." in page.text
    assert "neither side" not in page.text


def test_damaged_file_says_so(tmp_path):
    """Beside its name."""
    file = FileReview(
        name="cut.pcap", form="pcap, gzip", packets=1, bytes=2, damage="byte 40: the file ends within a packet"
    )

    assert "cut.pcap byte 40: the file ends within a packet" in page_of(tmp_path, files=[file]).text.replace(
        "pcapbyte", "pcap byte"
    )


def test_frames_of_several_files_name_their_file(tmp_path):
    """A number alone would be ambiguous; the command line is that of the finding's file."""
    files = [FileReview(name=f"in/{name}.pcap", form="pcap", packets=9, bytes=9) for name in ("path-a", "path-b")]
    found = finding(frame=FrameRef(1, 5), first_frame=FrameRef(1, 4))
    end = finding(frame=FrameRef(0, 0), first_frame=FrameRef(0, 0), rule="late.rule")

    page = page_of(tmp_path, files=files, findings=[found, end], traces=[], events=[])

    assert "frame 5 of path-b.pcap, the PDU begins in frame 4 of path-b.pcap" in page.text
    assert "end of the capture" in page.text
    assert "tshark -r in/path-b.pcap" in page.text
    assert "2 captures" in page.text


def test_pdu_that_was_not_kept_whole(tmp_path):
    """A header that is cut off, an opcode that nobody knows, and digests are shown as far as they go."""
    raw = bytes([0x1D]) + bytes(range(47)) + b"ahs!" + b"crc!" + b"data"
    vendor = PduShown(
        opcode=0x1D,
        name="opcode 0x1d",
        way="to target",
        raw=raw,
        length=9000,
        ahs_length=4,
        header_digest_length=4,
        data_length=8944,
    )
    short = PduShown(opcode=0x01, name="SCSI Command", way="to target", raw=raw[:20], length=48)
    ahs = Field(name="type", part="AHS", offset=2, length=1)
    found = [finding(), finding()]
    found[0].pdu, found[0].field, found[1].pdu = vendor, ahs, short

    page = page_of(tmp_path, findings=found, traces=[], events=[])

    assert "Additional header segments, 4 bytes" in page.text
    assert "61 68 <mark>73</mark> 21" in page.source
    assert "Header digest, 4 bytes" in page.text
    assert "8940 bytes are not shown" in page.text
    assert "28 bytes are not shown" in page.text


def test_page_is_the_same_each_time(tmp_path):
    """Nothing of the machine or of chance is in it."""
    assert page_of(tmp_path).source == page_of(tmp_path).source


def test_large_reviews_stay_small(tmp_path):
    """A few megabytes at most whatever was found, and each list says what it leaves out."""
    label = "SCSI Data-Out ttt=0xb0308901 exp_stat_sn=13 data_sn=4711 buffer_offset=57344 +8192 bytes"
    steps = [Step(time=START + place / 100, frame=at(place), way="to target", label=label) for place in range(64)]
    login = LoginRequest(itt=1, data=b"k=v\0" * 2000)
    sample = review()
    one = session(connections=[connection(place) for place in range(50)])
    large = review(
        findings=[finding(login, rule=f"rule.{place % 220}", frame=at(place)) for place in range(5000)],
        dropped={"rule.1": 5000},
        events=sample.events * 5000,
        gaps=sample.gaps * 1000,
        timeline=[Moment(time=START, frame=at(1), connection=1, kind="finding", what="w" * 80)] * 1000,
        loads=[load(number, 400) for number in range(1, 200)],
        sessions=[one] * 500,
        traces=[trace(tuple(range(200)), steps=steps)] * 2000,
    )

    path = tmp_path / "large.html"
    write_html(large, path, now=NOW)
    text = path.read_text("utf-8")

    assert len(text) < 6_000_000
    for count, what in (
        (10_000 - FINDINGS_SHOWN, "more findings are"),
        (5000 - EVENTS_SHOWN, "events are"),
        (1000 - GAPS_SHOWN, "gaps are"),
        (199 - PLOTS_SHOWN, "connections are"),
        (500 - SESSIONS_SHOWN, "sessions are"),
        (2000 - TRACES_SHOWN, "commands are"),
        (50 - CONNECTIONS_SHOWN, "connections are"),
    ):
        assert f"{count} {what} left out here" in text
    assert len(set(re.findall(r'data-rule="([^"]*)"', text))) == 220


def test_one_rule_does_not_crowd_out_the_others(tmp_path):
    """A rule that was broken a thousand times leaves room for one that was broken once."""
    found = [finding(frame=at(place)) for place in range(1, 1000)] + [finding(rule="late.rule", frame=at(5000))]

    page = page_of(tmp_path, findings=found, traces=[], events=[])
    rules = [attributes["data-rule"] for _, attributes in page.tags if "data-rule" in attributes]

    assert rules.count("statsn.scsi-response") == FINDINGS_OF_A_RULE
    assert rules.count("late.rule") == 1


@pytest.mark.parametrize(
    ("pdu", "says"),
    [
        (ScsiCommand(cdb=bytes((0x28, *bytes(15)))), "READ(10)"),
        (LoginResponse(status_class=9, status_detail=9), "no status of the standard"),
    ],
)
def test_codes_are_named(tmp_path, pdu, says):
    """Command descriptor blocks and statuses carry their names, unknown ones too."""
    found = finding()
    found.pdu = shown(pdu)

    assert says in page_of(tmp_path, findings=[found], traces=[], events=[]).text
