"""PERSISTENT RESERVE IN and OUT, service action by service action (SPC-4 5.12, 6.15, 6.16)."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.persistent import BasicFields, MoveFields, ReservationType, build_basic, build_move
from iscsi_protocol.scsi.transport_id import TransportId
from iscsi_target.device.reservations import changes

WE, EA = ReservationType.WRITE_EXCLUSIVE, ReservationType.EXCLUSIVE_ACCESS
WE_RO, EA_RO = (
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
)
WE_AR, EA_AR = (
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
    ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
)
ILLEGAL = SenseKey.ILLEGAL_REQUEST
BAD_CDB = (ILLEGAL, Code.INVALID_FIELD_IN_CDB)
BAD_LIST = (ILLEGAL, Code.INVALID_FIELD_IN_PARAMETER_LIST)
BAD_LENGTH = (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)
UNKNOWN = (ILLEGAL, Code.INVALID_COMMAND_OPERATION_CODE)
RELEASED, PREEMPTED, UNREGISTERED = (
    Code.RESERVATIONS_RELEASED,
    Code.RESERVATIONS_PREEMPTED,
    Code.REGISTRATIONS_PREEMPTED,
)

every_type = pytest.mark.parametrize("kind", list(ReservationType), ids=lambda kind: kind.name)


@pytest.fixture
def trio(shared):
    """Three ports, registered with the keys 1, 2 and 3."""
    ports = [shared.port(name) for name in ("one", "two", "three")]
    for key, port in enumerate(ports, 1):
        assert port.join(key) == "good"
    return ports


def name_of(port, *, isid=True):
    return TransportId(port.nexus.initiator_name, port.nexus.isid if isid else None)


# REGISTER


def test_registering_changing_and_unregistering(shared):
    one = shared.port("one")
    assert one.register(7, 1) == "conflict"
    assert one.register(0, 0) == "good"
    assert one.registered() == []
    assert one.register(0, 1) == "good"
    assert one.registered() == [1]
    assert one.register(0, 2) == "conflict"
    assert one.register(2, 2) == "conflict"
    assert one.register(1, 2) == "good"
    assert one.registered() == [2]
    assert one.register(2, 0) == "good"
    assert one.registered() == []


def test_ignoring_the_existing_key(shared):
    one = shared.port("one")
    assert one.out(op.REGISTER_AND_IGNORE_EXISTING_KEY, 99, 1) == "good"
    assert one.out(op.REGISTER_AND_IGNORE_EXISTING_KEY, 99, 2) == "good"
    assert one.registered() == [2]
    assert one.join(0) == "good"
    assert one.registered() == []
    assert one.join(0) == "good"


def test_generation_counts_what_changes_registrations(trio):
    one, two, _ = trio
    assert one.generation() == 3
    assert one.reserve(1, WE) == "good"
    assert one.release(1, WE) == "good"
    assert two.register(9, 2) == "conflict"
    assert one.generation() == 3
    assert two.register(2, 2) == "good"
    assert one.preempt(1, 2, WE) == "good"
    assert one.clear(1) == "good"
    assert one.generation() == 6


def test_initiators_are_registered_for_others_at_once(shared):
    one, two, three, four = (shared.port(name) for name in ("one", "two", "three", "four"))
    assert one.register(0, 1, initiators=[name_of(two), name_of(three)]) == "good"
    assert one.registered() == [1, 1, 1]
    assert three.reserve(1, EA) == "good"
    assert four.read() == "conflict"
    by_name = {each.transport_id: each.key for each in one.full_status()}
    assert by_name == dict.fromkeys([name_of(one), name_of(two), name_of(three)], 1)


@pytest.mark.parametrize("isid", [True, False])
def test_nobody_is_registered_where_one_of_the_others_is(shared, isid):
    one, two, three = (shared.port(name) for name in ("one", "two", "three"))
    if isid:
        assert two.join(2) == "good"
    else:
        assert shared.port("four").register(0, 2, initiators=[name_of(two, isid=False)]) == "good"
    before = one.registered(), one.generation()
    assert one.register(0, 1, initiators=[name_of(three), name_of(two)]) == BAD_LIST
    assert (one.registered(), one.generation()) == before


def test_a_name_alone_stands_for_all_its_ports(shared):
    one, two, again = shared.port("one"), shared.port("two"), shared.port("two", isid=b"\x80\0\0\0\0\x02")
    assert one.register(0, 1, initiators=[name_of(two, isid=False)]) == "good"
    assert one.reserve(1, EA_RO) == "good"
    assert (two.write(), again.write()) == ("good", "good")
    assert again.register(1, 5) == "good"
    assert sorted(one.registered()) == [1, 5]
    assert [each.transport_id.isid for each in one.full_status() if each.key == 5] == [None]
    assert two.register(5, 0) == "good"
    assert (two.write(), again.write()) == ("conflict", "conflict")


def test_other_initiators_are_refused_where_nobody_registers(shared):
    one, two = shared.port("one"), shared.port("two")
    others = [name_of(two)]
    assert one.register(0, 0, initiators=others) == "good"
    assert one.registered() == []
    assert one.out(op.REGISTER_AND_IGNORE_EXISTING_KEY, 0, 1, initiators=others) == BAD_LIST
    assert one.register(0, 1, initiators=[TransportId("no name")]) == BAD_LIST
    assert one.register(9, 1, initiators=others) == "conflict"
    assert one.registered() == []
    assert one.register(0, 1) == "good"
    assert one.register(1, 2, initiators=others) == BAD_LIST
    for command in (op.RESERVE, op.RELEASE, op.CLEAR, op.PREEMPT):
        assert one.out(command, 1, 1, kind=WE, initiators=others) == BAD_LIST
        assert two.out(command, 1, 1, kind=WE, initiators=others) == "conflict"
    assert one.registered() == [1]


def test_all_target_ports_are_registered_as_if_each_had_been_asked(shared):
    one, other_way = shared.port("one"), shared.port("one", tag=2)
    assert one.register(0, 1, all_target_ports=True) == "good"
    assert {(each.relative_target_port, each.key) for each in one.full_status()} == {(1, 1), (2, 1)}
    assert other_way.reserve(1, WE) == "good"
    assert one.write() == "conflict"
    assert other_way.register(1, 2) == "good"
    assert one.register(1, 3, all_target_ports=True) == "conflict"
    assert one.registered() == [1, 2]
    assert other_way.register(2, 0) == "good"
    assert one.register(1, 3, all_target_ports=True) == "conflict"
    assert one.register(1, 0, all_target_ports=True) == "good"
    assert one.registered() == []


def test_room_for_registrations_ends(shared, monkeypatch):
    monkeypatch.setattr(changes, "MAX_REGISTRATIONS", 2)
    one, two, three = (shared.port(name) for name in ("one", "two", "three"))
    no_room = (ILLEGAL, Code.INSUFFICIENT_REGISTRATION_RESOURCES)
    assert one.register(0, 1, initiators=[name_of(two), name_of(three)]) == no_room
    assert one.registered() == []
    assert (one.join(1), two.join(2), three.join(3)) == ("good", "good", no_room)
    assert one.reserve(1, WE) == "good"
    assert one.move(1, 3, name_of(three)) == no_room
    assert (one.registered(), one.reservation()) == ([1, 2], (1, WE))


def test_aptpl_needs_somewhere_to_keep_it(shared):
    one = shared.port("one")
    assert one.register(0, 1, aptpl=True) == BAD_LIST
    assert one.join(1, aptpl=True) == BAD_LIST
    assert one.registered() == []
    capabilities = one.capabilities()
    assert not capabilities.persist_through_power_loss
    assert not capabilities.persist_through_power_loss_activated


# RESERVE, RELEASE, CLEAR


@every_type
def test_reserving(trio, kind):
    one, two, _ = trio
    assert one.reservation() is None
    assert one.reserve(1, kind) == "good"
    assert two.reservation() == (0 if kind.all_registrants else 1, kind)
    assert one.reserve(1, kind) == "good"
    assert one.reserve(1, WE if kind is EA else EA) == "conflict"
    assert two.reserve(2, kind) == ("good" if kind.all_registrants else "conflict")
    holders = {each.key for each in one.full_status() if each.holder}
    assert holders == ({1, 2, 3} if kind.all_registrants else {1})
    assert {each.type for each in one.full_status() if each.holder} == {kind}
    assert {each.type for each in one.full_status() if not each.holder} <= {0}


def test_who_may_reserve(trio):
    one = trio[0]
    stranger = one.disk.port("stranger")
    assert stranger.reserve(0, WE) == "conflict"
    assert stranger.reserve(0, 0) == "conflict"
    assert one.reserve(2, WE) == "conflict"
    for number in (0, 2, 4, 9, 15):
        assert one.reserve(1, number) == BAD_CDB
    assert one.reserve(1, WE, scope=1) == BAD_CDB
    assert one.reservation() is None


@every_type
def test_releasing(trio, kind):
    one, two, three = trio
    assert one.reserve(1, kind) == "good"
    assert one.release(2, kind) == "conflict"
    assert one.disk.port("stranger").release(0, kind) == "conflict"
    wrong = (ILLEGAL, Code.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    assert one.release(1, WE if kind is not WE else EA) == wrong
    assert one.release(1, kind, scope=1) == wrong
    if not kind.all_registrants:
        assert two.release(2, kind) == "good"
        assert one.reservation() == (1, kind)
    assert one.release(1, kind) == "good"
    assert one.reservation() is None
    assert one.release(1, kind) == "good"
    assert one.news() == []
    told = [RELEASED] if kind.registrants else []
    assert (two.news(), three.news()) == (told, told)
    assert one.registered() == [1, 2, 3]


@every_type
def test_clearing(trio, kind):
    one, two, three = trio
    stranger = one.disk.port("stranger")
    assert one.reserve(1, kind) == "good"
    assert stranger.clear(0) == "conflict"
    assert two.clear(1) == "conflict"
    assert two.clear(2) == "good"
    assert (one.registered(), one.reservation()) == ([], None)
    assert [port.news() for port in (one, two, three, stranger)] == [[PREEMPTED], [], [PREEMPTED], []]


@every_type
def test_a_holder_that_unregisters(trio, kind):
    one, two, three = trio
    assert one.reserve(1, kind) == "good"
    assert one.register(1, 0) == "good"
    assert (two.reservation() is not None) == kind.all_registrants
    told = [RELEASED] if kind in (WE_RO, EA_RO) else []
    assert (two.news(), three.news()) == (told, told)
    assert two.join(0) == "good"
    assert three.join(0) == "good"
    assert three.reservation() is None
    assert three.news() == []


@every_type
def test_another_that_unregisters_changes_no_reservation(trio, kind):
    one, two, _ = trio
    assert one.reserve(1, kind) == "good"
    assert two.register(2, 0) == "good"
    assert one.reservation() is not None
    assert one.news() == []


def test_a_changed_key_is_the_holders(trio):
    one = trio[0]
    assert one.reserve(1, WE) == "good"
    assert one.register(1, 8) == "good"
    assert one.reservation() == (8, WE)


# PREEMPT


@every_type
def test_preempting_the_holder(trio, kind):
    one, two, three = trio
    assert one.reserve(1, kind) == "good"
    assert two.preempt(2, 1, EA_RO) == "good"
    assert one.registered() == [2, 3]
    # Where all are holders one key says nothing about the reservation.
    assert one.reservation() == ((0, kind) if kind.all_registrants else (2, EA_RO))
    assert one.news() == [UNREGISTERED]
    assert two.news() == []
    assert three.news() == ([] if kind in (EA_RO, WE_AR, EA_AR) else [RELEASED])
    assert two.generation() == 4


@every_type
def test_preempting_all_registrants(trio, kind):
    one, two, three = trio
    assert one.reserve(1, kind) == "good"
    if not kind.all_registrants:
        assert two.preempt(2, 0, EA) == BAD_LIST
        assert one.registered() == [1, 2, 3]
        return
    assert two.preempt(2, 0, 0) == BAD_CDB
    assert two.preempt(2, 0, EA) == "good"
    assert two.registered() == [2]
    assert two.reservation() == (2, EA)
    assert (one.news(), three.news()) == ([UNREGISTERED], [UNREGISTERED])


@every_type
def test_preempting_a_registration_only(trio, kind):
    one, two, three = trio
    assert one.reserve(1, kind) == "good"
    # Scope and type do not count here.
    assert two.preempt(2, 3, 15, scope=15) == "good"
    assert two.registered() == [1, 2]
    assert two.reservation() == (0 if kind.all_registrants else 1, kind)
    assert (one.news(), three.news()) == ([], [UNREGISTERED])


def test_preempting_without_a_reservation(trio):
    one, two, three = trio
    assert one.preempt(1, 9, WE) == "conflict"
    assert one.preempt(1, 0, WE) == BAD_LIST
    assert one.preempt(2, 3, WE) == "conflict"
    assert one.disk.port("stranger").preempt(0, 1, WE) == "conflict"
    assert one.preempt(1, 3, WE) == "good"
    assert (two.registered(), two.reservation()) == ([1, 2], None)
    assert (two.news(), three.news()) == ([], [UNREGISTERED])


def test_preempting_oneself_takes_a_new_type_and_keeps_the_registration(trio):
    one, two, three = trio
    assert three.register(3, 1) == "good"
    assert one.reserve(1, WE_RO) == "good"
    assert one.preempt(1, 1, 0) == BAD_CDB
    assert one.preempt(1, 1, EA_AR) == "good"
    assert (one.registered(), one.reservation()) == ([1, 2], (0, EA_AR))
    assert (one.news(), two.news(), three.news()) == ([], [RELEASED], [UNREGISTERED])


def test_ones_own_registration_may_go_with_others(trio):
    one, two, three = trio
    assert three.reserve(3, WE) == "good"
    assert two.register(2, 1) == "good"
    assert one.preempt(1, 1, WE) == "good"
    assert one.registered() == [3]
    assert (one.news(), two.news()) == ([], [UNREGISTERED])


def test_the_last_of_all_registrants_takes_the_reservation_along(shared):
    one = shared.port("one")
    assert (one.join(1), one.reserve(1, EA_AR), one.preempt(1, 1, EA)) == ("good", "good", "good")
    assert (one.registered(), one.reservation(), shared.unit.guard) == ([], None, None)


@pytest.mark.parametrize("victim", [1, 3])
def test_preempt_and_abort_ends_the_commands_of_who_was_preempted(trio, victim):
    one, two, three = trio
    ended = []
    one.disk.device.attach(lambda nexus, lun, by: ended.append((nexus, lun, by)))
    assert one.reserve(1, WE) == "good"
    assert three.run(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=0) == "good"
    unit = one.disk.unit
    unit.preventing |= {one.nexus, two.nexus, three.nexus}
    assert two.preempt(2, victim, EA) == "good"
    assert ended == []
    assert len(unit.preventing) == 3
    assert two.join(2) == "good"
    loser = one if victim == 1 else three
    assert UNREGISTERED in loser.news()
    assert loser.join(9) == "good"
    held = two.reservation()
    assert two.preempt(2, 9, EA, command=op.PREEMPT_AND_ABORT) == "good"
    assert ended == [(loser.nexus, bytes(8), two.nexus)]
    assert unit.preventing == {one.nexus, two.nexus, three.nexus} - {loser.nexus}
    assert two.reservation() == held
    assert two.preempt(2, 77, EA, command=op.PREEMPT_AND_ABORT) == "conflict"
    assert len(ended) == 1


def test_preempt_and_abort_ends_the_commands_of_all_registrants(trio):
    """Where all hold the reservation and all are preempted, also those of who asks, which stays registered."""
    one, two, three = trio
    ended = []
    one.disk.device.attach(lambda nexus, lun, by: ended.append(nexus))
    assert one.reserve(1, WE_AR) == "good"
    one.disk.unit.preventing |= {one.nexus, two.nexus, three.nexus}
    assert two.preempt(2, 0, EA, command=op.PREEMPT_AND_ABORT) == "good"
    assert ended == [one.nexus, two.nexus, three.nexus]
    assert one.disk.unit.preventing == set()
    assert (two.registered(), two.reservation()) == ([2], (2, EA))
    assert (one.news(), two.news()) == ([UNREGISTERED], [])


# REGISTER AND MOVE


def test_moving_a_reservation(trio):
    one, two, _ = trio
    assert one.reserve(1, EA) == "good"
    assert one.move(1, 8, name_of(two)) == "good"
    assert (one.registered(), one.reservation()) == ([1, 8, 3], (8, EA))
    assert (one.write(), two.write()) == ("conflict", "good")
    assert (one.news(), two.news()) == ([], [])
    assert two.generation() == 4
    assert two.move(8, 9, TransportId("iqn.2026-11.org.example:new", bytes(6)), 2, unregister=True) == "good"
    assert one.registered() == [1, 3, 9]
    new = two.disk.port("new", isid=bytes(6), tag=2)
    assert (two.write(), new.write()) == ("conflict", "good")


def test_what_cannot_be_moved(trio):
    one, two, three = trio
    to = name_of(three)
    assert one.move(2, 8, to) == "conflict"
    assert one.disk.port("stranger").move(0, 8, to) == "conflict"
    assert one.move(1, 8, to) == BAD_CDB
    assert one.reserve(1, WE_AR) == "good"
    assert one.move(1, 8, to) == "conflict"
    assert one.release(1, WE_AR) == "good"
    assert one.reserve(1, WE) == "good"
    assert two.news() == [RELEASED]
    assert two.move(2, 8, to) == "conflict"
    assert one.move(1, 0, to) == BAD_LIST
    assert one.move(1, 8, to, 3) == BAD_LIST
    assert one.move(1, 8, to, 0) == BAD_LIST
    assert one.move(1, 8, name_of(one)) == BAD_LIST
    assert one.move(1, 8, name_of(one, isid=False)) == BAD_LIST
    assert one.move(1, 8, TransportId("no name")) == BAD_LIST
    assert one.move(1, 8, to, aptpl=True) == BAD_LIST
    assert (one.registered(), one.reservation()) == ([1, 2, 3], (1, WE))


def test_who_may_not_move_is_told_so_before_the_destination_is_looked_at(trio):
    one, two, three = trio
    assert one.reserve(1, WE) == "good"
    for port, key, answer in ((one, 1, BAD_LIST), (one, 3, "conflict"), (two, 2, "conflict")):
        fields = MoveFields(key=key, service_action_key=8, relative_target_port=1)
        data = bytearray(build_move(fields, name_of(three)))
        data[24] = 7
        assert port.run(op.REGISTER_AND_MOVE, bytes(data), parameter_list_length=len(data)) == answer


# Lists, units, settings


def test_lists_of_another_length(shared):
    one = shared.port("one")
    whole = build_basic(BasicFields(service_action_key=1))
    for command in (op.REGISTER, op.REGISTER_AND_IGNORE_EXISTING_KEY, op.RESERVE, op.CLEAR, op.REGISTER_AND_MOVE):
        for length in (0, 8, 23):
            assert one.run(command, whole[:length], parameter_list_length=length) == BAD_LENGTH
    assert one.run(op.REGISTER, whole + bytes(4), parameter_list_length=28) == BAD_LENGTH
    assert one.run(op.REGISTER, whole[:20], parameter_list_length=24) == BAD_LENGTH
    assert one.run(op.CLEAR, whole + bytes(4), parameter_list_length=28) == "conflict"
    assert one.registered() == []
    assert shared.device.data_out_length(bytes(8), op.REGISTER.build(parameter_list_length=24)) == 24


@pytest.mark.parametrize(("extra", "answer"), [(0, BAD_LIST), (2, BAD_LENGTH)])
def test_lists_are_as_long_as_a_field_pointer_reaches(shared, extra, answer):
    """What is no TransportID at the end of the longest list is pointed at; a longer list is not looked at."""
    one = shared.port("one")
    each = TransportId("iqn.2026-11.org.example:another").build()
    none = bytes((7, 0, 0, 20)) + bytes(20)
    room = (65536 - 28 - len(none)) // len(each)
    basic = BasicFields(service_action_key=1, specify_initiator_ports=True)
    body = each * (room + extra) + none
    data = basic.build() + len(body).to_bytes(4, "big") + body
    assert one.run(op.REGISTER, data, parameter_list_length=len(data)) == answer
    assert one.registered() == []


def test_what_the_device_says_it_can(make_shared):
    capabilities = make_shared(kept=True).port("one").capabilities()
    assert capabilities.build().hex() == "00081dc0ea010000"
    assert not make_shared(reservations="persistent").port("one").capabilities().compatible_reservation_handling


def test_answers_are_cut_at_the_allocation_length(trio):
    one = trio[0]
    assert len(one.raw(op.READ_KEYS, allocation_length=12).data) == 12
    assert one.raw(op.READ_FULL_STATUS, allocation_length=0).length == 0


@pytest.mark.parametrize("setting", ["none", "spc2", "persistent", "both"])
def test_the_setting_says_which_commands_there_are(make_shared, setting):
    one = make_shared(reservations=setting).port("one")
    legacy, persistent = setting in ("spc2", "both"), setting in ("persistent", "both")
    for command in (op.RESERVE_6, op.RELEASE_6, op.RESERVE_10, op.RELEASE_10):
        assert one.run(command) == ("good" if legacy else UNKNOWN)
    assert one.run(op.READ_KEYS, allocation_length=8) == ("good" if persistent else UNKNOWN)
    assert one.join(1) == ("good" if persistent else UNKNOWN)
    assert one.run(op.REPLACE_LOST_RESERVATION) == (BAD_CDB if persistent else UNKNOWN)


def test_a_unit_that_cannot_be_used_can_be_reserved(make_shared):
    one = make_shared(read_only=True, removable=True).port("one")
    assert one.run(op.START_STOP_UNIT, loej=1) == "good"
    assert (one.join(1), one.reserve(1, EA), one.reservation()) == ("good", "good", (1, EA))


def test_persistent_means_over_resets_and_lost_nexuses(trio):
    one, two, _ = trio
    assert one.reserve(1, EA) == "good"
    device = one.disk.device
    device.reset_lun(bytes(8), two.nexus)
    device.reset_target(two.nexus)
    one.leave()
    two.news()
    assert two.write() == "conflict"
    assert two.registered() == [1, 2, 3]
    one.arrive()
    assert one.write() == "good"
    assert one.reservation() == (1, EA)


def test_without_aptpl_power_takes_it_all(trio):
    one, two, _ = trio
    assert one.reserve(1, EA) == "good"
    one.disk.device.power_on()
    assert (two.registered(), two.reservation(), two.generation(), two.write()) == ([], None, 0, "good")
