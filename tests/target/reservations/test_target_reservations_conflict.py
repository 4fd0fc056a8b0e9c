"""The conflict tables of SPC-4 (5.12.1), SBC-3 (4.17) and SPC-2, command by command, against what the device server does."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_target.device.attention import establish
from iscsi_target.device.reservations.conflict import conflicts
from iscsi_target.device.table import ROWS

# Columns: RESERVE of another; Write Exclusive; Exclusive Access; Write Exclusive and Exclusive Access of registrants, to
# who is not one. A command passes (p) or conflicts (-).
ALWAYS, STATUS, READS, WRITES = "ppppp", "-pppp", "-p-p-", "-----"
TABLE = {
    "TEST UNIT READY": STATUS,
    "REQUEST SENSE": ALWAYS,
    "INQUIRY": ALWAYS,
    "REPORT LUNS": ALWAYS,
    "MODE SENSE(6)": READS,
    "MODE SENSE(10)": READS,
    "MODE SELECT(6)": WRITES,
    "MODE SELECT(10)": WRITES,
    "LOG SENSE": ALWAYS,
    "LOG SELECT": WRITES,
    "START STOP UNIT": WRITES,
    "PREVENT ALLOW MEDIUM REMOVAL": ALWAYS,
    "READ CAPACITY(10)": ALWAYS,
    "READ CAPACITY(16)": ALWAYS,
    "READ(6)": READS,
    "READ(10)": READS,
    "READ(12)": READS,
    "READ(16)": READS,
    "WRITE(6)": WRITES,
    "WRITE(10)": WRITES,
    "WRITE(12)": WRITES,
    "WRITE(16)": WRITES,
    "WRITE ATOMIC(16)": WRITES,
    "VERIFY(10)": READS,
    "VERIFY(12)": READS,
    "VERIFY(16)": READS,
    "WRITE AND VERIFY(10)": WRITES,
    "WRITE AND VERIFY(12)": WRITES,
    "WRITE AND VERIFY(16)": WRITES,
    "COMPARE AND WRITE": WRITES,
    "ORWRITE(16)": WRITES,
    "WRITE SAME(10)": WRITES,
    "WRITE SAME(16)": WRITES,
    "UNMAP": WRITES,
    "GET LBA STATUS": READS,
    "PRE-FETCH(10)": READS,
    "PRE-FETCH(16)": READS,
    "REPORT IDENTIFYING INFORMATION": ALWAYS,
    "SET IDENTIFYING INFORMATION": WRITES,
    "REPORT TIMESTAMP": ALWAYS,
    "SET TIMESTAMP": WRITES,
    "WRITE BUFFER": WRITES,
    "READ BUFFER(10)": READS,
    "SEND DIAGNOSTIC": WRITES,
    "RECEIVE DIAGNOSTIC RESULTS": READS,
    "READ DEFECT DATA(10)": READS,
    "READ DEFECT DATA(12)": READS,
    "SYNCHRONIZE CACHE(10)": WRITES,
    "SYNCHRONIZE CACHE(16)": WRITES,
    "SANITIZE (OVERWRITE)": WRITES,
    "SANITIZE (BLOCK ERASE)": WRITES,
    "SANITIZE (CRYPTOGRAPHIC ERASE)": WRITES,
    "SANITIZE (EXIT FAILURE MODE)": WRITES,
    "REPORT SUPPORTED OPERATION CODES": READS,
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": READS,
    "REPORT TARGET PORT GROUPS": STATUS,
    "SET TARGET PORT GROUPS": WRITES,
    "EXTENDED COPY(LID1)": WRITES,
    "RECEIVE COPY STATUS(LID1)": STATUS,
    "RECEIVE COPY DATA(LID1)": STATUS,
    "RECEIVE COPY OPERATING PARAMETERS": STATUS,
    "RECEIVE COPY FAILURE DETAILS(LID1)": STATUS,
    "PERSISTENT RESERVE IN (READ KEYS)": STATUS,
    "PERSISTENT RESERVE IN (READ RESERVATION)": STATUS,
    "PERSISTENT RESERVE IN (REPORT CAPABILITIES)": STATUS,
    "PERSISTENT RESERVE IN (READ FULL STATUS)": STATUS,
}
JUDGES_ITSELF = ("RESERVE(", "RELEASE(", "PERSISTENT RESERVE OUT")
COLUMNS = [
    None,
    ReservationType.WRITE_EXCLUSIVE,
    ReservationType.EXCLUSIVE_ACCESS,
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
    ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
]
COLUMN_OF = {each: number if number < 5 else number - 2 for number, each in enumerate(COLUMNS)}

every_reservation = pytest.mark.parametrize("kind", COLUMNS, ids=lambda kind: kind.name if kind else "RESERVE")


@pytest.fixture
def one(make_shared):
    return make_shared(backend="memory", removable=True).port("one")


def hold(port, kind):
    """Make the reservation."""
    if kind is None:
        assert port.run(op.RESERVE_6) == "good"
    else:
        assert (port.join(1), port.reserve(1, kind)) == ("good", "good")


def rows():
    return [row for row in ROWS if not row.command.name.startswith(JUDGES_ITSELF)]


def test_every_command_is_in_the_table():
    """The table has more than the device server knows: it is the standards'."""
    assert {row.command.name for row in rows()} - TABLE.keys() == set()


@every_reservation
def test_every_command_is_judged_as_the_table_says(one, kind):
    two = one.disk.port("two")
    hold(one, kind)
    guard = one.disk.unit.guard
    for row in rows():
        cdb = row.command.build()
        passes = TABLE[row.command.name][COLUMN_OF[kind]] == "p"
        assert conflicts(guard, two.nexus, row.access, cdb) != passes, row.command.name
        own = kind is not None or row.command.opcode != op.READ_KEYS.opcode
        assert conflicts(guard, one.nexus, row.access, cdb) != own, row.command.name


def test_the_device_asks_for_every_command(one):
    """Commands that no reservation of another lets through, whatever else is wrong with them."""
    two = one.disk.port("two")
    hold(one, ReservationType.EXCLUSIVE_ACCESS)
    for row in rows():
        if row.known_to(one.disk.unit):
            conflict = TABLE[row.command.name][2] == "-"
            assert (two.run(row.command) == "conflict") == conflict, row.command.name
            two.news()


@every_reservation
def test_reading_and_writing(one, kind):
    two = one.disk.port("two")
    hold(one, kind)
    assert (one.read(), one.write()) == ("good", "good")
    assert two.write() == "conflict"
    assert two.read() == ("good" if kind and not kind.exclusive_access else "conflict")


@every_reservation
def test_registered_nexuses_share_where_the_type_says_so(one, kind):
    two = one.disk.port("two")
    if kind is None:
        hold(one, kind)
        assert two.join(2) == "conflict"
        return
    assert two.join(2) == "good"
    hold(one, kind)
    assert two.write() == ("good" if kind.registrants else "conflict")
    assert two.read() == ("conflict" if kind is ReservationType.EXCLUSIVE_ACCESS else "good")


@every_reservation
def test_preventing_removal_and_stopping_change_things_but_allowing_and_starting_do_not(one, kind):
    two = one.disk.port("two")
    hold(one, kind)
    assert two.run(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=1) == "conflict"
    assert two.run(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=0) == "good"
    assert two.run(op.START_STOP_UNIT, start=1) == "good"
    assert two.run(op.START_STOP_UNIT, start=1, power_condition=1) == "conflict"
    assert two.run(op.START_STOP_UNIT, start=0) == "conflict"


def test_a_conflict_comes_before_refusals_but_behind_resets(one):
    """SAM-5 5.3.3: news of a reset, then the conflict, then other news and other refusals."""
    two = one.disk.port("two")
    hold(one, ReservationType.WRITE_EXCLUSIVE)
    waiting = one.disk.unit.paths[two.nexus].attentions
    establish(waiting, AdditionalSense.MODE_PARAMETERS_CHANGED)
    assert two.run(op.WRITE_10, lba=1 << 20, blocks=1) == "conflict"
    assert two.run(op.WRITE_10, control=4, blocks=1) == "conflict"
    assert two.read() == (6, AdditionalSense.MODE_PARAMETERS_CHANGED)
    establish(waiting, AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
    assert two.write() == (6, AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
    assert two.write() == "conflict"


def test_without_a_reservation_nothing_is_looked_at(one):
    assert one.disk.unit.guard is None
    hold(one, ReservationType.WRITE_EXCLUSIVE)
    assert one.disk.unit.guard is not None
    assert one.release(1, ReservationType.WRITE_EXCLUSIVE) == "good"
    assert one.disk.unit.guard is None
