"""Events out of whatever people have: dumps in every form, exported XML, lines of our log, in every encoding, or damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.explain_samples import SECRET, packet

from iscsi_captures.explain import sources
from iscsi_captures.explain.found import Found, Trouble
from iscsi_captures.explain.sources import Unreadable, events_in, events_of
from iscsi_protocol.eventlog import EventRecord, LoggedEvent

GUIDE = """Event Type:
Error

Event Source:
iScsiPrt

Event Category:
None

Event ID:
5

Description:

The local end could not be set up. Its status is in the data.

Data:

0000: 00 00 04 00 01 00 5e 00   ......^.

0008: 00 00 00 00 05 00 00 c0   .......À

05 00 00 c0 is a status, or so one may think

0010: 00 00 00 00 00 00 00 00   ........

0018: 00 00 00 00 00 00 00 00   ........

0020: 00 00 00 00 00 00 00 00   ........

0028: 07 02 00 c0               ...À
"""
PACKET = bytes.fromhex("0000040001005e0000000000050000c0" + "00" * 24 + "070200c0")


def found(data):
    """What is found in text or bytes."""
    return list(events_of(data.encode() if isinstance(data, str) else data))


def packets(data):
    return [each.packet if isinstance(each, Found) else str(each) for each in found(data)]


def characters(data):
    return "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in data)


def rows(data, form, size=8, column=False, prefix=""):
    """A dump of the Event Viewer, in bytes or in words, or of another tool."""
    lines = []
    for place in range(0, len(data), size):
        piece = data[place : place + size]
        if form == "words":
            groups = [piece[i : i + 4][::-1].hex().upper() for i in range(0, len(piece), 4)]
        elif form == "pairs":
            groups = [piece[i : i + 2].hex() for i in range(0, len(piece), 2)]
        else:
            groups = [f"{each:02X}" for each in piece]
        line = f"{prefix}{place:04x}: {' '.join(groups)}"
        lines.append(line.ljust(3 * size + 9) + characters(piece) if column else line)
    return "\n".join(lines) + "\n"


def test_the_guides_page_is_one_event():
    (event,) = found(GUIDE)
    assert (event.source, event.id, event.packet, event.level, event.broken) == ("iScsiPrt", 5, PACKET, "error", False)


@pytest.mark.parametrize(
    "text",
    [
        rows(PACKET, "bytes"),
        rows(PACKET, "bytes", column=True),
        rows(PACKET, "bytes", size=16, column=True),
        rows(PACKET, "bytes", prefix="    "),
        rows(PACKET, "bytes", prefix="0x"),
        rows(PACKET, "words", size=16),
        rows(PACKET, "pairs", size=16),
        rows(PACKET, "pairs", size=16).replace(": ", "  "),
        rows(PACKET, "words", size=16) + "\nIn Bytes\n\n" + rows(PACKET, "bytes", column=True),
        rows(PACKET, "bytes").replace("\n", "\r\n"),
        "\n".join(
            f"{i:08x}  {PACKET[i : i + 8].hex(' ')}  {PACKET[i + 8 : i + 16].hex(' ')}  |ab cd|" for i in (0, 16, 32)
        ),
        PACKET.hex(),
        PACKET.hex(" ").upper(),
        PACKET.hex("-"),
        "\n".join(PACKET[i : i + 8].hex() for i in range(0, len(PACKET), 8)),
        "0x" + PACKET.hex(),
        ", ".join(f"0x{each:02x}" for each in PACKET),
        " ".join(PACKET[i : i + 4][::-1].hex() for i in range(0, len(PACKET), 4)),
        " ".join(PACKET[i : i + 4].hex() for i in range(0, len(PACKET), 4)),
        "".join(
            f"{i:04x}: {' '.join(PACKET[j : j + 4].hex() for j in range(i, min(i + 16, 44), 4))}\n" for i in (0, 16, 32)
        ),
    ],
    ids=range(20),
)
def test_forms_of_a_dump(text):
    assert packets(text) == [PACKET]


def test_characters_that_look_like_digits_are_none():
    data = EventRecord.of(20, b"ab cd ef 0011 22").encode()
    for size in (8, 16):
        text = rows(data, "bytes", size=size, column=True)
        assert packets(text) == [data]
        # Where spaces were lost on the way, the rows' distance tells.
        assert packets(text.replace("   ", " ").replace("  ", " ")) == [data]
    assert packets(rows(data, "pairs", size=16, column=True)) == [data]


def test_a_last_word_that_is_no_whole_number():
    data = PACKET + b"\x01\x02"
    assert packets(rows(data, "words", size=16)) == [data]
    data = PACKET + b"\x01\x02\x03\x04"
    assert packets(rows(data, "words", size=16) + "0030: 00000001 zz") == [data + bytes([1, 0, 0, 0])]


def test_a_row_ends_where_its_groups_change():
    assert packets(rows(PACKET[:40], "bytes") + "0028: 07 02 00c0\n") == [PACKET[:42]]
    assert packets(rows(PACKET[:40], "pairs", size=20) + "0028: 0702  00c0\n") == [PACKET[:42]]


def test_words_without_an_error_code_are_words():
    text = "Source: iScsiPrt\nEvent ID: 20\n" + rows(bytes(range(16)), "words", size=16)
    assert packets(text) == [bytes(range(16))]


def test_several_dumps_are_several_events():
    other = packet(20)
    assert packets(rows(PACKET, "bytes") + rows(other, "bytes") + rows(other, "bytes")) == [PACKET, other, other]
    assert packets(f"{PACKET.hex()}\n\nand\n{other.hex()}\n") == [PACKET, other]


def test_a_gap_ends_the_record():
    text = rows(PACKET, "bytes")
    (event,) = found("".join(text.splitlines(keepends=True)[:3] + text.splitlines(keepends=True)[4:]))
    assert (event.packet, event.broken) == (PACKET[:24], True)
    (event,) = found(PACKET.hex()[:-1])
    assert (event.packet, event.broken) == (PACKET[:-1], True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows(PACKET, "bytes").partition("\n")[2], "line 1: a dump that does not begin at 0000"),
        (rows(PACKET[:12], "bytes"), "line 1: a dump of 12 bytes, which ends before the event's number at 0x0c"),
        (rows(bytes(44), "bytes"), "line 1: a dump that is no event's record: there is no error code at 0x0c"),
    ],
)
def test_dumps_that_are_no_records(text, said):
    assert packets(text) == [said]


@pytest.mark.parametrize("text", ["", "\n", "nothing here", "00 01 02", "0000: zz", "cafe: 12345", "----"])
def test_texts_without_events(text):
    assert found(text) == []


def test_labels_of_the_event_viewer():
    text = (
        "Log Name:      System\nSource:        iScsiPrt\nDate:          31.01.2026 12:00:00\nEvent ID:      20\n"
        "Task Category: None\nLevel:         Error\nComputer:      HOST\nDescription:\nWhat it says: nothing.\nData:\n"
    )
    first, second, third = found(text + rows(packet(20), "bytes") + text + text)
    assert (first.source, first.id, first.computer, first.time, first.level, first.packet) == (
        "iScsiPrt",
        20,
        "HOST",
        "31.01.2026 12:00:00",
        "error",
        packet(20),
    )
    assert (second.place, second.packet, third.packet) == ("line 21", None, None)
    assert found("Source: disk\nEvent ID: 7\n")[0].is_ours is False
    assert found("Source: iScsiPrt\n") == []
    assert found("Event ID: x\nSource: iScsiPrt\n") == []


def test_a_record_that_is_shorter_than_its_number_is_known_by_the_label():
    (event,) = found("Event ID: 5\nSource: iScsiPrt\n" + rows(PACKET[:8], "bytes"))
    assert (event.id, event.packet) == (5, PACKET[:8])


def test_power_shells_list():
    (event,) = found("TimeCreated  : 1/31/2026\nProviderName : iScsiPrt\nId           : 34\nMessage      : back\n")
    assert (event.source, event.id, event.time) == ("iScsiPrt", 34, "1/31/2026")


def test_the_friendly_view():
    text = (
        "- System\n\n  - Provider\n\n   [ Name]  iScsiPrt\n\n  - EventID 5\n\n   [ Qualifiers]  49152\n\n  - TimeCreated\n\n"
        "   [ SystemTime]  2026-01-31T12:00:00Z\n\n   Computer HOST\n\n- EventData\n\n   \\Device\\RaidPort1\n"
        f"   {PACKET.hex().upper()}\n\nBinary data:\n\nIn Words\n\n{rows(PACKET, 'words', size=16)}\n"
        f"In Bytes\n\n{rows(PACKET, 'bytes', column=True)}"
    )
    (event,) = found(text)
    assert (event.source, event.id, event.time, event.computer) == ("iScsiPrt", 5, "2026-01-31T12:00:00Z", "HOST")
    assert event.packet == PACKET


# XML


def xml(event=20, binary=None, source="iScsiPrt", strings=(), more=""):
    data = "".join(f"<Data>{each}</Data>" for each in strings)
    dump = "" if binary is None else f"<Binary>{binary.hex().upper()}</Binary>"
    return (
        '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>'
        f'<Provider Name="{source}" /><EventID Qualifiers="49152">{event}</EventID><Level>2</Level><Task>0</Task>'
        '<TimeCreated SystemTime="2026-01-31T12:00:00.5Z" /><EventRecordID>4711</EventRecordID>'
        f"<Channel>System</Channel><Computer>HOST</Computer>{more}</System><EventData>{data}{dump}</EventData></Event>"
    )


def test_an_exported_event():
    (event,) = found(xml(binary=packet(20), strings=(r"\Device\RaidPort0", "")))
    assert event == Found(
        place="event 1",
        source="iScsiPrt",
        id=20,
        packet=packet(20),
        strings=(r"\Device\RaidPort0", ""),
        time="2026-01-31T12:00:00.5Z",
        computer="HOST",
        number="4711",
        level="error",
    )


@pytest.mark.parametrize(
    "wrap",
    [
        "{}{}",
        "<Events>{}{}</Events>",
        '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<Events>{}\n{}</Events>\n',
        "Log Name: System\nSource: iScsiPrt\nDescription:\n{}\nEvent Xml:\n{}",
        "- {} - {}",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be-mark"])
def test_wrappings_and_encodings(wrap, encoding):
    text = wrap.format(
        xml(binary=packet(20)), xml(113, source="MSiSCSI", strings=("0xefff0003", "ß & co".replace("&", "&amp;")))
    )
    data = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-mark" else text.encode(encoding)
    first, second = found(data)
    assert (first.packet, first.place) == (packet(20), "event 1")
    assert (second.source, second.id, second.strings, second.packet) == ("MSiSCSI", 113, ("0xefff0003", "ß & co"), None)


def test_prefixes_and_another_name_of_the_source():
    text = xml(binary=PACKET).replace("<", "<e:").replace("<e:/", "</e:").replace("xmlns=", "xmlns:e=")
    assert found(text)[0].packet == PACKET
    renamed = xml().replace('Name="iScsiPrt"', 'Name="Microsoft-x" EventSourceName="iScsiPrt"')
    assert found(renamed)[0].source == "iScsiPrt"


def test_damaged_events_do_not_hide_the_others():
    broken = xml(binary=packet(20))
    text = broken[: broken.index("</Binary>") - 3] + xml(34) + "<Event >&" + xml(1)
    trouble, cut, whole, other, nameless, last = found(text)
    assert str(trouble) == "event 1: its XML breaks off or is damaged (line 1); read as far as it goes"
    assert (cut.packet, cut.broken) == (packet(20)[:-2], True)
    assert (whole.id, whole.broken, last.id) == (34, False, 1)
    assert str(other).startswith("event 3: its XML breaks off")
    assert str(nameless) == "event 3: an event without source or number"


@pytest.mark.parametrize(
    ("digits", "packet"), [("0x00", b""), ("zz", b""), ("0", b""), ("00 0g", b"\0"), ("00\n 01 0", b"\0\1")]
)
def test_binary_that_is_no_hex_is_read_as_far_as_it_goes(digits, packet):
    (event,) = found(xml().replace("<EventData>", f"<EventData><Binary>{digits}</Binary>"))
    assert (event.packet, event.broken) == (packet, True)


def test_entities_do_not_grow():
    declared = "<!DOCTYPE x [<!ENTITY a 'grown'>]>"
    for text in (f"<Event >{declared}&a;</Event>", declared + xml(20, more="&a;")):
        trouble, *rest = found(text)
        assert str(trouble).startswith("event 1: its XML breaks off or is damaged")
        assert "grown" not in repr(rest)


def test_an_event_number_out_of_all_reason():
    assert packets(xml("9" * 5000)) == ["event 1: an event without source or number"]


def test_control_characters_in_an_event_are_no_damage():
    (event,) = found(xml(binary=PACKET, strings=("a\x01b\x00",)))
    assert (event.strings, event.packet) == (("a�b�",), PACKET)


# Our own log


def line(event=20, text=""):
    return LoggedEvent(datetime(2026, 1, 31, tzinfo=UTC), EventRecord.decode(packet(event)), text).line().decode()


def test_lines_of_our_log():
    first, torn, strange, second = found(line(20, "reset") + "\n" + line()[:40] + "\n{}\n" + line(34))
    assert (first.source, first.id, first.packet, first.text, first.number) == (
        "iScsiPrt",
        20,
        packet(20),
        "reset",
        "7",
    )
    assert first.time == "2026-01-31T00:00:00.000000+00:00"
    assert [str(torn), str(strange)] == ["line 3: the line breaks off", "line 4: no event of our log"]
    assert second.place == "line 5"


def test_errors_quote_nothing():
    secret = SECRET.decode()
    for text in (
        json.dumps({"time": secret, "dump": secret}),
        '{"' + secret,
        xml(35).replace("</System>", f"</{secret}>"),
        f"0000: {SECRET.hex(' ')}",
        f"0008: {SECRET.hex(' ')}",
    ):
        troubles = [str(each) for each in found(text) if isinstance(each, Trouble)]
        assert troubles
        assert not any(piece in each for each in troubles for piece in (secret, SECRET.hex(), SECRET.hex(" ")))


# Limits


def test_too_much_text_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "MAX_TEXT", 1 << 20)
    path = tmp_path / "long.txt"
    path.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(Unreadable, match="over 1 MiB"):
        list(events_in(path))
    path.write_text(GUIDE)
    assert len(list(events_in(path))) == 1


PIECES = (
    "<Event ",
    "<Event><",
    "0000: 00\n",
    "ffff: 00\n",
    "ID:\n",
    "00 ",
    "a: ",
    " \n",
    "<Event><Data>",
    "<Event>\n<a>\n",
)


@pytest.mark.parametrize("piece", PIECES)
def test_long_inputs_are_read_once_only(piece):
    # Each is over in about a second. If the rest were read again from every place, it would be minutes.
    before = process_time()
    assert isinstance(found(piece * (200_000 // len(piece))), list)
    assert process_time() - before < 20


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_arbitrary_bytes_are_read(data):
    assert all(isinstance(each, Found | Trouble) for each in found(data))


tokens = st.sampled_from(
    ["<Event>", "</Event>", "<System>", "<Binary>", "00", "ff", "0000: ", "0008: ", "\n", " ", "Event ID: 20", "Source:",
     "iScsiPrt", "{", '"time"', "c0000005 ", "<Data>", "</Data>", "&", "0x", "-", "   ", "[ Name] "]
)  # fmt: skip


@given(st.lists(tokens, max_size=60).map("".join))
def test_pieces_of_events_are_read(text):
    assert all(isinstance(each, Found | Trouble) for each in found(text))


@given(
    data=st.binary(min_size=16, max_size=80), form=st.sampled_from(["words", "bytes", "pairs"]), column=st.booleans()
)
def test_what_is_dumped_comes_back(data, form, column):
    data = data[:12] + bytes.fromhex("140000c0") + data[16:]
    if form != "bytes":
        data = data[: len(data) & ~3]
    size = 8 if form == "bytes" else 16
    text = rows(data, form, size=size, column=column and form == "bytes")
    assert packets(text) == [data]
