"""APTPL: what a restart leaves, and what a state file has to look like (SPC-4 5.12.5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_protocol.scsi.transport_id import TransportId
from iscsi_target.config import ConfigError
from iscsi_target.state import StateStore

WE, EA_AR = ReservationType.WRITE_EXCLUSIVE, ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
NOT_KEPT = (SenseKey.HARDWARE_ERROR, AdditionalSense.INTERNAL_TARGET_FAILURE)


@pytest.fixture
def kept(make_shared):
    return make_shared(kept=True)


def test_registrations_and_reservation_outlive_the_power(kept):
    one, two = kept.port("one"), kept.port("two", tag=2)
    name_alone = TransportId("iqn.2026-11.org.example:three")
    assert one.register(0, 0xFFFFFFFFFFFFFFFF, aptpl=True, initiators=[name_alone]) == "good"
    assert two.join(2, aptpl=True) == "good"
    assert two.reserve(2, WE) == "good"
    assert one.capabilities().persist_through_power_loss_activated
    before = one.full_status()
    kept.lose_power()
    assert one.full_status() == before
    assert (one.generation(), one.reservation()) == (0, (2, WE))
    assert (one.write(), two.write()) == ("conflict", "good")
    assert one.capabilities().persist_through_power_loss_activated
    assert two.release(2, WE) == "good"
    kept.lose_power()
    assert (one.reservation(), len(one.registered()), one.write()) == (None, 3, "good")


def test_a_reservation_of_all_registrants_outlives_it_too(kept):
    one = kept.port("one")
    assert (one.join(1, aptpl=True), one.reserve(1, EA_AR)) == ("good", "good")
    kept.lose_power()
    assert (one.reservation(), one.write(), kept.port("two").write()) == ((0, EA_AR), "good", "conflict")


def test_the_last_word_on_aptpl_counts(kept):
    one, two = kept.port("one"), kept.port("two")
    assert one.join(1, aptpl=True) == "good"
    assert two.join(2) == "good"
    assert not one.capabilities().persist_through_power_loss_activated
    kept.lose_power()
    assert one.registered() == []


def test_reset_by_tmf_keeps_what_is_kept(kept):
    one = kept.port("one")
    assert (one.join(1, aptpl=True), one.reserve(1, WE)) == ("good", "good")
    kept.device.power_on()
    assert (one.registered(), one.reservation(), one.generation()) == ([1], (1, WE), 0)


def test_nothing_is_written_without_aptpl(kept):
    one = kept.port("one")
    assert (one.join(1), one.reserve(1, WE)) == ("good", "good")
    assert not Path(kept.path).exists()
    assert one.join(1, aptpl=True) == "good"
    assert Path(kept.path).exists()


def test_what_cannot_be_saved_is_no_success(kept, monkeypatch):
    one = kept.port("one")
    assert one.join(1, aptpl=True) == "good"
    written = Path(kept.path).read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert one.reserve(1, WE) == NOT_KEPT
    assert Path(kept.path).read_bytes() == written
    assert [each.name for each in Path(kept.path).parent.iterdir()] == ["state.json"]
    assert one.reserve(1, WE) == "good"
    kept.lose_power()
    assert one.reservation() == (1, WE)


def test_other_settings_leave_the_file_alone(kept):
    one = kept.port("one")
    assert (one.join(1, aptpl=True), one.reserve(1, WE)) == ("good", "good")
    kept.settings["reservations"] = "spc2"
    kept.lose_power()
    assert kept.port("two").write() == "good"
    kept.settings["reservations"] = "both"
    kept.lose_power()
    assert one.reservation() == (1, WE)


def registration(**changes):
    return {"name": "iqn.a", "isid": "800000000001", "target_port": 1, "key": "0" * 15 + "1", **changes}


@pytest.mark.parametrize(
    "value",
    [
        7,
        {"registrations": []},
        {"registrations": [registration(key="1")], "type": None, "holder": None},
        {"registrations": [registration(key="0" * 16)], "type": None, "holder": None},
        {"registrations": [registration(isid="80")], "type": None, "holder": None},
        {"registrations": [registration(name="")], "type": None, "holder": None},
        {"registrations": [registration(target_port=65536)], "type": None, "holder": None},
        {"registrations": [registration()] * 2, "type": None, "holder": None},
        {"registrations": [registration()], "type": 2, "holder": 0},
        {"registrations": [registration()], "type": 1, "holder": None},
        {"registrations": [registration()], "type": 1, "holder": 1},
        {"registrations": [registration()], "type": 1, "holder": -1},
        {"registrations": [registration()], "type": None, "holder": 0},
        {"registrations": [registration()], "type": 7, "holder": 0},
        {"registrations": [], "type": 7, "holder": None},
    ],
)
def test_what_was_never_saved_is_refused(kept, value):
    target = "iqn.2026-11.org.example:disk"
    store = StateStore(kept.path)
    store.put(target, 0, "reservation", value)
    store.save()
    written = Path(kept.path).read_bytes()
    with pytest.raises(ConfigError, match=rf"^{kept.path}: reservation of LUN 0 of {target}: [^\n]*$"):
        kept.open()
    assert Path(kept.path).read_bytes() == written


def test_the_file_is_one_that_people_can_read(kept):
    one = kept.port("one")
    assert one.join(0xAABBCCCCBBAA0001, aptpl=True) == "good"
    file = json.loads(Path(kept.path).read_text())
    assert file == {
        "format": "iscsi-target state",
        "version": 1,
        "targets": {
            "iqn.2026-11.org.example:disk": {
                "0": {
                    "reservation": {
                        "registrations": [
                            {
                                "name": "iqn.2026-11.org.example:one",
                                "isid": "800000000001",
                                "target_port": 1,
                                "key": "aabbccccbbaa0001",
                            }
                        ],
                        "type": None,
                        "holder": None,
                    }
                }
            }
        },
    }


def test_a_generation_that_is_full_begins_again(kept):
    one = kept.port("one")
    kept.unit.reservations.generation = 0xFFFFFFFF
    assert one.out(op.REGISTER, 0, 1) == "good"
    assert one.generation() == 0
