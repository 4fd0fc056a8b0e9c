"""What is told of each event: golden texts, every prefix of every record, unknown numbers, and secrets that stay in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.explain_samples import NAME, SECRET, extra, packet, sample

from iscsi_captures.explain.cases import event_cases
from iscsi_captures.explain.driver import DRIVER_MEANINGS
from iscsi_captures.explain.explanation import explained
from iscsi_captures.explain.found import Found
from iscsi_captures.explain.service import SERVICE_MEANINGS
from iscsi_captures.explain.show import explanation_json, explanation_lines
from iscsi_protocol.eventlog import EVENTS, SECRETS, SERVICE_EVENTS, Dump, EventRecord, words

GOLDEN = (Path(__file__).parent / "golden" / "explain-event.txt").read_text(encoding="utf-8")
SECTIONS = dict(section.split("\n", 1) for section in GOLDEN.split("=== ")[1:])


def lines(found: Found) -> list[str]:
    return [line.plain.rstrip() for line in explanation_lines(explained(found))]


def text(found: Found) -> str:
    """All that is told, without the cases, of which there are more and more."""
    told = lines(found)
    return "\n".join(told[: next((i for i, line in enumerate(told) if " conformance case" in line), None)]) + "\n"


def everything(found: Found) -> str:
    """Whatever comes out anywhere."""
    event = explained(found)
    return repr(event) + json.dumps(explanation_json(event)) + "\n".join(lines(found))


def test_every_event_has_a_meaning_with_causes():
    assert list(DRIVER_MEANINGS) == list(EVENTS)
    assert list(SERVICE_MEANINGS) == list(SERVICE_EVENTS)
    for meaning in (*DRIVER_MEANINGS.values(), *SERVICE_MEANINGS.values()):
        assert meaning.says.endswith(".")
        assert meaning.causes
        assert all(cause and not cause.endswith(".") for cause in meaning.causes)


@pytest.mark.parametrize("event", [*EVENTS, *SERVICE_EVENTS])
def test_golden_text_of(event):
    assert text(sample(event)) == SECTIONS[str(event)]


def test_golden_texts_are_those_of_the_events():
    assert list(SECTIONS) == [str(event) for event in (*EVENTS, *SERVICE_EVENTS)]


@pytest.mark.parametrize("event", EVENTS)
def test_cases_are_named_where_there_are_any(event):
    told = lines(sample(event))
    cases = [case for way in event_cases()[event].variations for case in way.cases]
    if not cases:
        assert event == 64
        assert told[-1] == "  No conformance case reproduces it."
    else:
        assert f"  conformance cases that reproduce it (iscsi-conformance list -k event.{event}.)" in told
        assert any(cases[0] in line for line in told)
        shown = json.loads(json.dumps(explanation_json(explained(sample(event)))))["cases"]
        assert [case for way in shown for case in way["cases"]] == cases


@pytest.mark.parametrize("event", EVENTS)
def test_every_prefix_of_a_record_is_read_as_far_as_it_goes(event):
    whole = packet(event)
    for length in range(len(whole)):
        cut = explained(replace(sample(event), packet=whole[:length]))
        assert cut.id == event
        if length:
            size = len(extra(event)) if length >= 4 else 0
            if event not in SECRETS or length >= 0x10:
                assert cut.missing == 0x28 + size - length
            assert any("cut off" in note for note in cut.notes) == (event not in SECRETS)
        else:
            assert "There is no dump data." in cut.notes
        assert json.dumps(explanation_json(cut))
        assert all(line.plain.isprintable() for line in explanation_lines(cut))
        # The fields that are there are those of the whole.
        assert set(cut.header) <= set(explained(sample(event)).header)


def test_a_pdu_that_is_cut_shows_the_fields_that_are_there():
    whole = packet(10)
    names = [
        each.name for part in explained(replace(sample(10), packet=whole[: 0x28 + 20])).parts for each in part.details
    ]
    assert "itt" in names
    assert "stat_sn" not in names
    assert names[-1] == "cut off"
    told = lines(replace(sample(10), packet=whole[: 0x28 + 20]))
    assert any("20 of 48 bytes" in line for line in told)
    assert "  ! The record is cut off: 48 bytes or more are missing. It is read as far as it goes." in told


@pytest.mark.parametrize("event", [70, 129, 0, 65, 65535])
def test_numbers_that_the_guide_does_not_have_are_said_to_be_unknown(event):
    raw = EventRecord(error_code=0xC0000000 | event, extra=b"\x01\x02").encode()
    found = explained(Found(place="x", source="iScsiPrt", id=event, packet=raw))
    assert (found.known, found.meaning, found.cases, found.severity) == (False, None, None, "error")
    assert f"The guide has no event {event} of iScsiPrt, so nothing is said here of what it means." in found.notes
    assert [each.text for part in found.parts for each in part.details] == ["01 02"]
    service = explained(Found(place="x", source="msiscsi", id=1))
    assert (service.known, service.severity, service.meaning) == (False, "", None)
    assert "The guide has no event 1 of MSiSCSI, so nothing is said here of what it means." in service.notes


# Secrets


def pieces(secret: bytes) -> list[str]:
    """How the secret, or half of it, would look."""
    parts = [secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]]
    return [form for each in parts for form in (each.decode(), each.hex(), each.hex(" "), each.hex().upper())]


@pytest.mark.parametrize("event", sorted(SECRETS))
@pytest.mark.parametrize("length", [2, 8, 0x10, 0x27, 0x28, 0x29, 0x28 + 5, 0x28 + len(SECRET)])
def test_a_secret_is_not_told_however_much_there_is_of_it(event, length):
    told = everything(replace(sample(event), packet=packet(event)[:length]))
    assert not any(piece in told for piece in pieces(SECRET))


@pytest.mark.parametrize("event", sorted(SECRETS))
@pytest.mark.parametrize(
    "data",
    [
        SECRET,
        SECRET * 2,
        SECRET * 6,
        bytes(40) + SECRET,
        packet(20)[:40] + SECRET,
        EventRecord.of(35, b"").encode() + SECRET,
        EventRecord.of(35, words(11)).encode() + SECRET,
        EventRecord.of(36, SECRET.decode().encode("utf-16-le")).encode(),
    ],
)
def test_a_secret_is_not_told_wherever_it_stands(event, data):
    found = replace(sample(event), packet=data, strings=(SECRET.decode(),), text=SECRET.decode())
    told = everything(replace(found, packet=None)) + json.dumps(explanation_json(explained(found)))
    told += "\n".join(lines(found))
    # `packet=None` alone keeps what was found out of the representation.
    assert SECRET.decode() not in told.replace(repr(found), "")
    assert not any(piece in told for piece in pieces(SECRET)[1:])
    assert explained(found).dump is None


@pytest.mark.parametrize("number", [2, 20, 70, 129])
def test_a_record_of_a_secret_under_another_number_is_not_told_either(number):
    told = everything(replace(sample(20), id=number, packet=packet(35)))
    assert not any(piece in told for piece in pieces(SECRET))


def test_our_own_record_has_the_length_alone():
    found = explained(replace(sample(35), packet=EventRecord.of(35, words(11)).encode()))
    assert [each.text for part in found.parts for each in part.details] == ["11 bytes"]
    assert found.header
    assert "The extra data of this event can be a CHAP secret, so nothing of it is shown." in found.notes


# Notes


def test_what_is_ours_is_said_to_be():
    ours = "The guide does not lay this extra data out exactly; it is read as our own initiator writes it."
    for event in EVENTS:
        is_ours = event_cases()[event].dump_source == "ours" and event not in SECRETS
        assert (ours in explained(sample(event)).notes) == is_ours


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (
            Found(place="x", packet=packet(20)),
            "Nothing says which source logged this; it is read as an event of iScsiPrt.",
        ),
        (Found(place="x", source="iScsiPrt", id=20), "There is no dump data."),
        (Found(place="x", source="iScsiPrt", id=20, packet=b""), "There is no dump data."),
        (
            Found(place="x", source="iScsiPrt", id=20, packet=packet(34)),
            "The log says event 20, but its record says 34; it is read as the log says.",
        ),
        (
            Found(place="x", source="iScsiPrt", id=20, packet=bytes(40) + NAME),
            "The dump data has no error code at 0x0c, so it may be no driver's record; it is read as one.",
        ),
        (
            Found(place="x", source="iScsiPrt", id=20, packet=packet(20), broken=True),
            "The input breaks off or has a gap within the record, which is read as far as it goes.",
        ),
        (
            Found(place="x", source="MSiSCSI", id=113),
            "The strings that belong to this event are not all there: export it as XML to have them.",
        ),
        (
            Found(place="x", source="MSiSCSI", id=103, packet=b"\1"),
            "The guide says of no event of the service that it has dump data; its bytes are left as they are.",
        ),
    ],
)
def test_what_to_mind_is_noted(found, note):
    assert explained(found).notes == (note,)
    assert any(note[:40] in line for line in lines(found))


def test_extra_data_is_found_even_without_an_error_code():
    found = explained(Found(place="x", source="iScsiPrt", id=20, packet=bytes(40) + NAME))
    assert [each.text for part in found.parts for each in part.details] == [NAME.decode()]
    assert (found.header, found.missing, found.severity) == ((), 0, "error")


def test_bytes_behind_the_extra_data_are_shown():
    found = explained(replace(sample(34), packet=packet(34) + b"\x05\x06"))
    assert [part.title for part in found.parts] == ["data", "behind the extra data"]
    assert f"    {0x28 + len(NAME):#04x}  bytes  05 06" in lines(replace(sample(34), packet=packet(34) + b"\x05\x06"))


def test_numbers_with_severity_bits_are_numbers():
    assert explained(Found(place="x", source="iScsiPrt", id=0xC0000014)).id == 20


@pytest.mark.parametrize(
    ("string", "shown"),
    [
        ("0xefff0003", "0xefff0003  connection failed (0xEFFF0003)"),
        ("EFFF0003", "EFFF0003  connection failed (0xEFFF0003)"),
        (" 4026466307\n", "4026466307  connection failed (0xEFFF0003)"),
        ("-268500989", "-268500989  connection failed (0xEFFF0003)"),
        ("0x00000005", "0x00000005"),
        ("refused", "refused"),
        ("", ""),
    ],
)
def test_errors_of_the_service_have_their_names(string, shown):
    found = explained(Found(place="x", source="MSiSCSI", id=112, strings=(string, "0xefff0003", "more")))
    assert [(each.name, each.text) for each in found.strings] == [
        ("error", shown),
        ("server", "0xefff0003"),
        ("%3", "more"),
    ]


@given(
    packet=st.none() | st.binary(max_size=120),
    event=st.none() | st.integers(0, 2**32 - 1),
    source=st.sampled_from([None, "iScsiPrt", "MSiSCSI", "ISCSIPRT"]),
    strings=st.lists(st.text(), max_size=3).map(tuple),
    text=st.text(),
    level=st.text(),
)
def test_whatever_was_found_is_told_on_printable_lines(packet, event, source, strings, text, level):
    found = Found(place="x", source=source, id=event, packet=packet, strings=strings, text=text, time=text, level=level)
    event = explained(found)
    assert json.loads(json.dumps(explanation_json(event)))["id"] == event.id
    assert all(line.plain.isprintable() for line in explanation_lines(event))


def test_layouts_of_all_kinds_are_in_the_samples():
    assert {EVENTS[event].dump for event in EVENTS if extra(event)} == set(Dump) - {Dump.NONE}
