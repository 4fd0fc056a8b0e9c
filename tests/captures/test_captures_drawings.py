"""What a page draws and prints, by itself: axes, steps, arrows, units, filters, and PDUs taken apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.review_samples import LUN_1, START, at, connection, finding, load, shown, trace

from iscsi_captures.review import dissection, units
from iscsi_captures.review.filters import command_filter, finding_filters, tshark
from iscsi_captures.review.model import Field, Load, Step
from iscsi_captures.review.plots import LEFT, PLOT, TABLE_ROWS, Incident, plot
from iscsi_captures.review.sequence import diagram
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, ScsiCommand, ScsiResponse, TextRequest


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 µs"), (0.0000204, "20.4 µs"), (0.2043, "204 ms"), (1, "1 s"), (3600, "3600 s"), (-0.005, "-5 ms")],
)
def test_durations(seconds, text):
    """Three digits and a unit that suits them."""
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (8250, "8.06 KiB"), (3 << 30, "3 GiB")]
)
def test_sizes(count, text):
    """Binary units."""
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0 B/s"), (1500, "1.5 kB/s"), (12_345_678, "12.3 MB/s"), (2e9, "2 GB/s")]
)
def test_rates(rate, text):
    """Decimal units, as networks have them."""
    assert units.rate(rate) == text


@pytest.mark.parametrize(
    ("epoch", "text"),
    [(0, "1970-01-01 00:00:00.000000 UTC"), (START, "2025-11-30 10:53:20.250000 UTC"), (-5, "-5.000000 s")],
)
def test_moments(epoch, text):
    """In UTC; what no calendar has stays seconds."""
    assert units.moment(epoch) == text
    assert units.moment(1e300).endswith(" s")


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(1, 12), st.booleans())
def test_steps_of_an_axis_lie_on_it(low, span, wanted, whole):
    """Rising, within the axis, and not many more than asked for."""
    steps = units.round_steps(low, low + span, wanted, whole=whole)
    tolerance = max(abs(low), span) * 1e-6 + (1e-8 if whole else 0)

    assert steps == sorted(steps)
    assert len(steps) <= 1.6 * wanted + 2
    assert all(low - tolerance <= step <= low + span + tolerance for step in steps)
    assert not whole or all(step == round(step) for step in steps if span > 0.01)


def test_steps_are_round():
    """1, 2 or 5 times a power of ten."""
    assert units.round_steps(0, 8.1, 4) == [0, 2, 4, 6, 8]
    assert units.round_steps(0.0213, 0.0298, 4) == pytest.approx([0.022, 0.024, 0.026, 0.028])
    assert units.round_steps(0, 1.08, 4, whole=True) == [0, 1]
    assert units.round_steps(7, 7, 4) == [7]


@given(st.floats(1e-12, 1e15))
def test_numbers_keep_three_digits(value):
    """And say the number that they stand for."""
    text = units.number(value)

    assert float(text) == pytest.approx(value, rel=0.006)
    assert "e" not in text


def test_infinity_has_no_digits():
    """A rate over no time."""
    assert units.number(float("inf")) == "∞"


def bare_load(**fields):
    """Four buckets of a second."""
    values = {
        "connection": 1,
        "start": START,
        "width": 1.0,
        "commands": [2, 0, 1, 1],
        "bytes_in": [0, 1000, 1000, 0],
        "bytes_out": [4000, 0, 0, 0],
        "depth": [1, 3, 2, 0],
        "latency": [0.002, 0.0, 0.004, 0.004],
        "latency_max": [0.003, 0.0, 0.004, 0.004],
        "total": None,
    }
    return Load(**{**values, **fields})


def numbers(path):
    """The coordinates of a path by its commands."""
    return [(letter, float(value)) for letter, value in re.findall(r"([MHV ])(-?[\d.]+)", path)]


def test_latency_is_interrupted_where_nothing_ended():
    """A new line begins behind the pause, and equal steps are one."""
    _, mean = plot(bare_load(), START).panels[0].curves

    assert mean.path.count("M") == 2
    assert [value for letter, value in numbers(mean.path) if letter == "H"] == [LEFT + PLOT / 4, LEFT + PLOT]


def test_largest_value_is_near_the_top():
    """Every curve lies within its panel; the axis begins at 0."""
    drawn = plot(bare_load(), START)

    for panel in drawn.panels:
        assert panel.ticks[0].label == "0"
        assert panel.ticks[0].at == panel.bottom
        heights = [value for curve in panel.curves for letter, value in numbers(curve.path) if letter in "V "]
        assert panel.top < min(heights) < panel.top + 20
        assert max(heights) <= panel.bottom


def test_units_follow_the_values():
    """Titles name the unit of the ticks."""
    titles = [panel.title for panel in plot(bare_load(), START).panels]

    assert titles == ["latency of commands, ms", "throughput, kB/s", "queue depth, commands"]


def test_incidents_of_a_pixel_are_one_line():
    """The gravest is named; what lies outside of the plot is at its edge."""
    incidents = [
        Incident(START + 2, "gap", "lost", "gaps"),
        Incident(START + 2.0001, "MUST", "broken", "finding-1"),
        Incident(START - 50, "event", "logged", "events"),
        Incident(START + 50, "ADVICE", "slow", ""),
    ]

    lines = plot(bare_load(), START, incidents).lines

    assert [(line.at, line.incident.kind, line.count) for line in lines] == [
        (LEFT, "event", 1),
        (LEFT + PLOT // 2, "MUST", 2),
        (LEFT + PLOT, "ADVICE", 1),
    ]


def test_table_sums_up_buckets():
    """Its rows are bounded, and weigh a mean by the commands behind it."""
    one = plot(bare_load(), START).table
    many = plot(load(count=400), START).table

    assert (one[0].commands, one[0].latency, one[0].rate_out) == (2, "2 ms", "4 kB/s")
    assert (one[1].latency, one[1].longest, one[1].depth) == ("", "", 3)
    assert len(many) == TABLE_ROWS
    assert sum(row.commands for row in many) == sum(load(count=400).commands)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1e6), st.integers(0, 1 << 40)), min_size=1, max_size=30))
def test_any_load_can_be_drawn(rows):
    """Curves stay within their panels whatever the numbers are."""
    commands, latency, moved = (list(column) for column in zip(*rows, strict=True))
    drawn = plot(
        bare_load(
            commands=commands,
            latency=latency,
            latency_max=latency,
            bytes_in=moved,
            bytes_out=moved,
            depth=commands,
        ),
        START,
    )

    for panel in drawn.panels:
        for curve in panel.curves:
            for letter, value in numbers(curve.path):
                if letter in "V ":
                    assert panel.top <= value <= panel.bottom
                else:
                    assert LEFT <= value <= LEFT + PLOT + 0.1


def test_arrows_go_down_in_their_order():
    """One for each PDU, with its time since the command and since the one before."""
    drawn = diagram(trace(), [])

    assert [arrow.outward for arrow in drawn.arrows] == [True, False, True, False, True, False]
    assert [arrow.y for arrow in drawn.arrows] == sorted({arrow.y for arrow in drawn.arrows})
    assert drawn.arrows[0].later is None
    assert drawn.arrows[3].later == pytest.approx(0.2007, abs=1e-6)
    assert drawn.arrows[3].since == pytest.approx(0.2011, abs=1e-6)
    assert [rest.says for rest in drawn.rests] == ["nothing for 200.7 ms"]
    assert drawn.height > drawn.arrows[-1].y


def test_arrows_say_what_differs():
    """Name and fields; neither the task nor the unit, which all arrows share."""
    arrow = diagram(trace(), []).arrows[1]

    assert arrow.name == "Ready To Transfer"
    assert "desired_data_transfer_length=32768" in arrow.telling
    assert "itt=" not in arrow.telling
    assert "lun=" not in arrow.telling


def test_label_without_fields():
    """A name alone is a name."""
    step = Step(time=START, frame=at(1), way="to target", label="something that nobody knows")

    (arrow,) = diagram(trace(steps=[step]), []).arrows
    assert (arrow.name, arrow.telling) == ("something that nobody knows", "")


def test_trace_without_steps_is_empty():
    """More commands are followed than have their PDUs kept."""
    assert diagram(trace(steps=[]), []).arrows == ()


def test_finding_stands_on_the_arrow_of_its_pdu():
    """Frame, direction and name tell which; where several fit, it is one."""
    response = finding(ScsiResponse(), frame=at(7))
    steps = [
        Step(time=START, frame=at(7), way="to target", label="SCSI Command READ(10) cmd_sn=1"),
        Step(time=START, frame=at(7), way="to initiator", label="SCSI Data-In data_sn=0"),
        Step(time=START, frame=at(7), way="to initiator", label="SCSI Response stat_sn=4"),
    ]

    arrows = diagram(trace((0,), steps=steps), [response]).arrows

    assert [arrow.level for arrow in arrows] == ["", "", "MUST"]
    assert [each.index for each in arrows[2].callouts] == [0]


def test_what_repeats_is_told_once():
    """The second arrow is coloured and has no words of its own; the gravest level gives the colour."""
    again = [finding(ScsiResponse(), frame=at(place), level=level) for place, level in ((1, "SHOULD"), (2, "SHOULD"))]
    grave = finding(ScsiResponse(), frame=at(2), message="another")
    steps = [Step(time=START, frame=at(place), way="to initiator", label="SCSI Response") for place in (1, 2)]

    arrows = diagram(trace((0, 1, 2), steps=steps), [*again, grave]).arrows

    assert [arrow.level for arrow in arrows] == ["SHOULD", "MUST"]
    assert [[each.index for each in arrow.callouts] for arrow in arrows] == [[0], [2]]


def test_findings_without_an_arrow_are_counted():
    """By rule, with the first of them."""
    found = [finding(frame=at(place), rule=rule) for place, rule in ((50, "a"), (51, "b"), (52, "a"))]

    assert diagram(trace((0, 1, 2)), found).unplaced == ((0, 2), (1, 1))


def test_pdus_that_were_left_out_are_missing_before_the_last():
    """There, and nowhere else."""
    drawn = diagram(trace(omitted=3), [])

    assert [rest.says for rest in drawn.rests] == ["nothing for 200.7 ms", "3 PDUs are left out"]
    assert drawn.arrows[-2].y < drawn.rests[1].y < drawn.arrows[-1].y


def test_filters_of_a_finding():
    """Its packet, and its task on its connection; what has no packet has no filter."""
    assert finding_filters(finding(itt=0x31), connection()) == (
        "frame.number == 17",
        "tcp.port == 50123 && iscsi.initiatortasktag == 0x00000031",
    )
    assert finding_filters(finding(itt=0xFFFFFFFF), None) == ("frame.number == 17",)
    assert finding_filters(finding(frame=at(0)), None) == ()
    assert command_filter(1, None) == "iscsi.initiatortasktag == 0x00000001"
    assert command_filter(1, connection(initiator="[2001:db8::7]:50000")).startswith("tcp.port == 50000 ")


def test_command_line_is_quoted():
    """A file's name cannot become a command; the registered port needs no word."""
    line = tshark("a b;rm -rf x", "frame.number == 1", connection(target="192.0.2.1:3260"))

    assert line == "tshark -r 'a b;rm -rf x' -o tcp.reassemble_out_of_order:TRUE -Y 'frame.number == 1' -V"
    assert "-d tcp.port==3281,iscsi" in tshark("x", "y", connection())


def test_fields_of_one_byte_are_told_apart_by_name():
    """A flag is marked alone, a byte that no field names marks all that share it."""
    pdu = shown(LoginResponse(transit=True, csg=1, nsg=3))
    named = Field(name="nsg", part="header", offset=1, length=1)
    nameless = Field(name="flags", part="header", offset=1, length=1)

    assert [row.name for row in dissection.fields(pdu, named) if row.marked] == ["nsg"]
    assert {row.name for row in dissection.fields(pdu, nameless) if row.marked} == {
        "transit",
        "continued",
        "csg",
        "nsg",
    }
    assert not any(row.marked for row in dissection.fields(pdu, None))


def test_values_say_what_they_stand_for():
    """Codes, units and commands by name."""
    rows = {row.name: row for row in dissection.fields(shown(ScsiCommand(lun=LUN_1, cdb=b"\x2a" + bytes(15))), None)}

    assert rows["opcode"].says == "SCSI Command"
    assert rows["lun"].says == "LUN 1"
    assert rows["cdb"].says == "WRITE(10)"
    assert rows["attribute"].says == "simple"
    assert dissection.lun_text(bytes.fromhex("c101000000000000")) == "c101000000000000"


def test_pairs_of_a_login():
    """Those that the field touches are marked; long ones are cut; other PDUs have none."""
    data = b"A=1\0B=2\0C=" + b"x" * 300 + b"\0"
    rows = dissection.texts(shown(LoginRequest(data=data)), Field(name="B", part="data", offset=4, length=3))

    assert [(row.text[:3], row.marked) for row in rows] == [("A=1", False), ("B=2", True), ("C=x", False)]
    assert dissection.texts(shown(NopIn(data=data)), None) == ()
    assert len(dissection.texts(shown(TextRequest(data=b"k=v\0" * 100)), None)) == dissection.TEXTS_SHOWN


@given(st.binary(max_size=70), st.integers(0, 80), st.integers(0, 80))
def test_lines_hold_all_bytes(data, start, length):
    """In their order, the marked ones being those of the span."""
    lines = list(dissection.hex_lines(data, range(start, start + length)))

    assert bytes.fromhex(" ".join(run.text for line in lines for run in line.runs)) == data
    marked = bytes.fromhex(" ".join(run.text for line in lines for run in line.runs if run.marked))
    assert marked == data[start : start + length]
    assert all(len(line.letters) == len(data[line.offset : line.offset + 16]) for line in lines)
