"""The vocabulary of faults: what cannot be is refused when it is made, and tables of faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.fault import (
    Close,
    Drop,
    Fault,
    FieldIs,
    Flip,
    HasKey,
    Hold,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Poke,
    Relation,
    Repeat,
    Replace,
    Segment,
    Set,
    SetKey,
    Side,
    Split,
    Template,
    Truncate,
    UnknownFault,
    When,
    table,
)
from iscsi_protocol.fault.discovery import faults_of
from iscsi_protocol.fault.match import Armed
from iscsi_protocol.pdu import (
    PDU_CLASSES,
    DataIn,
    LoginRequest,
    NopIn,
    NopOut,
    Opcode,
    RawPdu,
    Reject,
    ScsiCommand,
    UnknownPdu,
    encode,
    get_field,
)
from iscsi_protocol.stream import Direction, LoginWatch

OUT, BACK = Direction.TO_TARGET, Direction.TO_INITIATOR
ANY = When(direction=OUT)
PING = When(direction=OUT, opcode=Opcode.NOP_OUT)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Of("itt"), "a dialogue has no 'itt'"),
        (lambda: Poke(0, b""), "do not lie within the header"),
        (lambda: Poke(-1, b"a"), "1 bytes at -1"),
        (lambda: Poke(47, b"ab"), "2 bytes at 47"),
        (lambda: Flip(Part.DATA, mask=0), "mask 0x0"),
        (lambda: Flip(Part.DATA, mask=0x100), "mask 0x100"),
        (lambda: Replace(Part.BHS, bytes(47)), "the header has 48 bytes, got 47"),
        (lambda: Replace(Part.AHS, bytes(3)), "got 3 bytes"),
        (lambda: Replace(Part.AHS, bytes(1024)), "got 1024 bytes"),
        (lambda: Replace(Part.DATA, bytes(1 << 24)), "does not fit the header"),
        (Hold, "for some PDUs or for some seconds"),
        (lambda: Hold(pdus=1, seconds=1.0), "for some PDUs or for some seconds"),
        (lambda: Hold(pdus=-1, seconds=1.0), "for some PDUs or for some seconds"),
        (lambda: Hold(pdus=1, seconds=-1.0), "for some PDUs or for some seconds"),
        (lambda: Repeat(0), "once or more"),
        (lambda: Split(0), "behind its first byte"),
        (lambda: Segment(0), "a byte or more"),
        (lambda: Truncate(-1), "no fewer than 0"),
        (lambda: Template(NopIn, {"cmd_sn": 1}), "NopIn has no cmd_sn"),
        (lambda: Template(NopIn, {"itt": Plus(1)}), "no value of its own"),
        (lambda: Template(NopIn, {"data": Of("stat_sn")}), "data is no header field"),
        (lambda: Template(NopIn, {"reserved": Of("stat_sn")}), "reserved is no header field"),
        (lambda: Template(NopIn, {"itt": 1 << 32}), "itt takes"),
        (lambda: Template(NopIn, {"ahs": b"abc"}), "multiple of 4"),
        (lambda: When(direction=OUT, nth=0), "counted from 1"),
        (lambda: When(direction=OUT, times=-1), "counted from 1"),
        (lambda: When(direction=OUT, tests=(FieldIs("nonsense", 1),)), "no such header field: nonsense"),
        (lambda: When(direction=OUT, opcode=0, tests=(FieldIs("stat_sn", 1),)), "no such header field: stat_sn"),
        (lambda: When(direction=OUT, opcode=0x1C, tests=(FieldIs("itt", 1),)), "no such header field: itt"),
        (lambda: Fault(when=PING, what=()), "does something"),
        (lambda: Fault(when=PING, what=(Set("stat_sn", 1),)), "no such header field: stat_sn"),
        (lambda: Fault(when=ANY, what=(Set("nonsense", 1),)), "no such header field: nonsense"),
        (lambda: Fault(when=PING, what=(Set("itt", 1 << 32),)), "itt takes"),
        (lambda: Fault(when=PING, what=(Set("lun", b"short"),)), "lun takes 8 bytes"),
        (lambda: Fault(when=PING, what=(Set("final", 2),)), "final takes"),
        # A field of that name is smaller in one message than in another.
        (lambda: Fault(when=ANY, what=(Set("reason", 0x80),)), "reason takes 0 to 0x7f"),
        (lambda: Fault(when=PING, what=(Set("itt", Of("trigger.stat_sn")),)), "no such header field: stat_sn"),
        (
            lambda: Fault(when=PING, what=(Insert(Template(NopIn, {"itt": Of("trigger.r2t_sn")})),)),
            "no such header field: r2t_sn",
        ),
        # Behind a change of the opcode the fields are those of the other message.
        (lambda: Fault(when=PING, what=(Set("opcode", 0x20), Set("cmd_sn", 1))), "no such header field: cmd_sn"),
        (lambda: Fault(when=PING, what=(Poke(0, b"\x20"), Set("cmd_sn", 1))), "no such header field: cmd_sn"),
        (lambda: Fault(when=PING, what=(Flip(Part.BHS, 0, 0x20), Set("cmd_sn", 1))), "no such header field: cmd_sn"),
        (lambda: Fault(when=PING, what=(Flip(Part.BHS, -48, 0x20), Set("cmd_sn", 1))), "no such header field: cmd_sn"),
        (
            lambda: Fault(when=PING, what=(Replace(Part.BHS, b"\x20" + bytes(47)), Set("cmd_sn", 1))),
            "no such header field: cmd_sn",
        ),
        (lambda: Fault(when=ANY, what=(Flip(Part.BHS), Set("itt", 1))), "itt .* cannot be told"),
        (lambda: Fault(when=PING, what=(Set("opcode", Plus(1)), Set("itt", 1))), "itt .* cannot be told"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize(
    "what",
    [
        (Set("opcode", 0x20), Set("stat_sn", 1)),
        (Poke(0, b"\x60"), Set("stat_sn", 1)),
        (Flip(Part.BHS, 0, 0x20), Set("stat_sn", 1)),
        (Flip(Part.BHS, 0, 0x40), Set("cmd_sn", 1)),
        (Flip(Part.DATA, 0, 0x20), Set("cmd_sn", 1)),
        (Poke(1, b"\x20"), Set("cmd_sn", 1)),
        (
            Set("lun", 5),
            Set("lun", bytes(8)),
            Set("final", 1),
            Set("itt", Plus(-5)),
            Set("itt", Of("stat_sn", 1 << 31)),
        ),
        (Close(),),
        (SetKey("X-a", "b"),),
        (Insert(Template(NopIn, {"lun": Of("trigger.lun"), "data": b"x", "total_ahs_length": 7})),),
    ],
)
def test_what_can_be_is_taken(what):
    assert Fault(when=PING, what=what).opcodes == {Opcode.NOP_OUT}


def having(*names: str) -> set[int]:
    return {opcode for opcode, cls in PDU_CLASSES.items() if set(names) <= set(cls.FIELDS)}


@pytest.mark.parametrize(
    ("fault", "opcodes"),
    [
        (Fault(when=ANY, what=(Drop(),)), set(range(0x40))),
        (Fault(when=When(direction=OUT, opcode=0x1C), what=(Drop(),)), {0x1C}),
        (Fault(when=ANY, what=(Set("total_ahs_length", 1),)), set(range(0x40))),
        (Fault(when=ANY, what=(Set("cmd_sn", Plus(1)),)), having("cmd_sn")),
        (
            Fault(when=When(direction=OUT, tests=(FieldIs("ttt", 1), FieldIs("data_length", 3))), what=(Drop(),)),
            having("ttt"),
        ),
        (
            Fault(when=When(direction=OUT, tests=(FieldIs("ttt", 1),)), what=(Set("itt", Of("trigger.data_sn")),)),
            having("ttt", "data_sn", "itt"),
        ),
        (
            Fault(when=ANY, what=(Insert(Template(Reject, {"data_sn": Of("trigger.r2t_sn")})),)),
            having("r2t_sn"),
        ),
        (Fault(when=ANY, what=(Set("opcode", 0x20), Set("opcode", 1))), set(range(0x40))),
    ],
)  # fmt: skip
def test_a_fault_without_opcode_waits_for_pdus_that_have_its_fields(fault, opcodes):
    assert fault.opcodes == opcodes


def seen(stage: int) -> LoginWatch:
    watch = LoginWatch()
    watch.stage = stage
    return watch


def test_a_pdu_without_the_field_does_not_match():
    armed = Armed(Fault(when=When(direction=OUT, tests=(FieldIs("cdb", bytes(16)),)), what=(Drop(),)))
    assert armed.waits_for(encode(ScsiCommand()), seen(3))
    assert not armed.waits_for(encode(NopOut()), seen(3))
    assert not armed.waits_for(encode(UnknownPdu(opcode=0x1C)), seen(3))


NUMBERS = st.integers(0, 0xFFFFFFFF) | st.integers(0, 3)


@given(NUMBERS, NUMBERS)
def test_relations(found, wanted):
    raw = encode(NopOut(itt=found))

    def holds(relation: Relation) -> bool:
        when = When(direction=OUT, tests=(FieldIs("itt", wanted, relation),))
        return Armed(Fault(when=when, what=(Drop(),))).waits_for(raw, seen(3))

    assert holds(Relation.EQUAL) is (found == wanted)
    assert holds(Relation.DIFFERENT) is (found != wanted)
    assert holds(Relation.BELOW) is (found < wanted)
    assert holds(Relation.ABOVE) is (found > wanted)
    assert holds(Relation.BITS) is (found & wanted == wanted)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (FieldIs("lun", b"\0\1" + bytes(6)), True),
        (FieldIs("lun", 0x0001 << 48), True),
        (FieldIs("lun", bytes(8), Relation.ABOVE), True),
        (FieldIs("lun", bytes(8), Relation.BELOW), False),
        (FieldIs("final", True), True),
        (FieldIs("immediate", True), False),
        (FieldIs("data_length", 9), True),
        (FieldIs("data_length", 9, Relation.BELOW), False),
        (FieldIs("data_segment_length", 9), True),
        (HasKey("A"), True),
        (HasKey("A", "1"), True),
        (HasKey("A", "2"), True),
        (HasKey("A", "3"), False),
        (HasKey("B"), False),
        (HasKey("1"), False),
        (HasKey("A", prefix="1"), True),
        (HasKey("A", prefix="12"), False),
        (HasKey("A", "2", "2"), True),
        (HasKey("A", "2", "1"), False),
    ],
)
def test_tests(test, expected):
    raw = encode(NopOut(lun=b"\0\1" + bytes(6), data=b"A=1\0A=2\0\0"))
    armed = Armed(Fault(when=When(direction=OUT, opcode=0, tests=(test,)), what=(Drop(),)))
    assert armed.waits_for(raw, seen(3)) is expected


def test_bytes_that_are_no_utf_8_are_compared():
    raw = encode(LoginRequest(data=b"A=\xff\xfe\0"))
    armed = Armed(Fault(when=When(direction=OUT, tests=(HasKey("A", "\udcff\udcfe"),)), what=(Drop(),)))
    assert armed.waits_for(raw, seen(3))


@pytest.mark.parametrize(
    ("nth", "times", "changed"),
    [(1, 1, {1}), (3, 1, {3}), (1, 0, {1, 2, 3, 4, 5, 6}), (4, 0, {4, 5, 6}), (2, 3, {2, 3, 4}), (7, 0, set())],
)
def test_which_of_the_matching_pdus_are_changed(nth, times, changed):
    armed = Armed(Fault(when=When(direction=OUT, nth=nth, times=times), what=(Drop(),)))
    assert {index for index in range(1, 7) if armed.fires()} == changed


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_stages(stage):
    armed = Armed(Fault(when=When(direction=OUT, stage=stage), what=(Drop(),)))
    for now in (0, 1, 3):
        assert armed.waits_for(encode(NopOut()), seen(now)) is (now == stage)
        # A login PDU says itself which stage it is of.
        assert armed.waits_for(encode(LoginRequest(csg=now)), seen(9)) is (now == stage)


def test_actions_by_step():
    flip, damage, drop = Flip(Part.DATA), Replace(Part.DATA_DIGEST, b"oops"), Drop()
    armed = Armed(Fault(when=ANY, what=(drop, damage, flip, Split(4), Insert(Template(NopIn)))))
    assert (armed.making, armed.damage, armed.moving) == ([flip, Split(4), Insert(Template(NopIn))], [damage], [drop])


def named(fault_id: str, side: Side = Side.TARGET, **given: object) -> NamedFault:
    values = given or {"faults": (Fault(when=ANY, what=(Drop(),)),)}
    return NamedFault(id=fault_id, side=side, says="It drops.", **values)  # type: ignore[arg-type]  # per test


def test_a_table_of_faults():
    first, second = named("a.one"), named("b.two", policy={"late": True})
    assert table((first,), (second,)) == {"a.one": first, "b.two": second}
    with pytest.raises(ValueError, match=r"a\.one is given twice"):
        table((first,), (second, first))
    with pytest.raises(ValueError, match=r"a\.one does nothing"):
        table((named("a.one", policy={}),))


def test_an_unknown_fault_names_its_neighbours():
    error = UnknownFault("nop.wrong", ["nop.one", "login.two", "nop.three"])
    assert str(error) == "no fault is named 'nop.wrong'; known ones: nop.one, nop.three"
    assert str(UnknownFault("text.wrong", ["nop.one"])) == "no fault is named 'text.wrong'"
    assert error.fault_id == "nop.wrong"
    assert isinstance(error, KeyError)


MODULE = """
from iscsi_protocol.fault import NamedFault, Side

FAULTS = (NamedFault(id="{}", side=Side.{}, says="It is late.", policy={{"late": True}}),)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an importable package of faults from its modules' texts; forgotten behind the test."""

    def make(name: str, **modules: str) -> str:
        folder: Path = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_faults_are_found_in_the_modules_of_a_package(package):
    name = package("faults_found", b=MODULE.format("a.two", "TARGET"), a=MODULE.format("b.one", "TARGET"))
    assert list(faults_of(name, Side.TARGET)) == ["a.two", "b.one"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no FAULTS"),
        (MODULE.format("a.one", "INITIATOR"), "a.one is a fault of the initiator"),
        (MODULE.format("a.two", "TARGET"), "a.two is given twice"),
    ],
)
def test_a_package_that_is_wrong(package, text, complaint):
    name = package("faults_wrong", one=MODULE.format("a.two", "TARGET"), other=text)
    with pytest.raises(ValueError, match=complaint):
        faults_of(name, Side.TARGET)


def test_fields_of_one_message_only():
    fault = Fault(when=ANY, what=(Set("cdb", bytes(16)),))
    assert fault.opcodes == {Opcode.SCSI_COMMAND}
    assert get_field(RawPdu(bytes([Opcode.SCSI_COMMAND]) + bytes(47)), "cdb") == bytes(16)
    assert Fault(when=ANY, what=(Set("acknowledge", True),)).opcodes == {DataIn.OPCODE}
