"""Subpages, and mode pages that are saved."""

from __future__ import annotations

import errno
import json

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.mode import CachingPage, ControlPage, ModeParameters, PageControl, page_key, parse_mode
from iscsi_protocol.scsi.mode_pages import ControlExtensionPage
from iscsi_protocol.scsi.sense import FieldPointer, parse_sense
from iscsi_target.config import ConfigError
from iscsi_target.state import StateStore

INVALID_FIELD = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
BAD_PARAMETER = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST)
ALL = 0x3F


def pages(disk, page_code=ALL, **fields):
    data = disk.good(op.MODE_SENSE_10, page_code=page_code, allocation_length=255, dbd=1, **fields)
    return parse_mode(data, 10).pages


def select(disk, *chosen, **fields):
    data = ModeParameters(pages=tuple(page.build() for page in chosen)).build(10, select=True)
    return disk.run(op.MODE_SELECT_10, data, parameter_list_length=len(data), pf=1, **fields)


def caching(disk, control=PageControl.CURRENT):
    return CachingPage.parse(pages(disk, 8, page_control=control)[0])


@pytest.fixture
def store(tmp_path):
    return StateStore(tmp_path / "state.json")


def test_subpages_come_where_they_are_asked_for(make_disk):
    disk, full = make_disk(), make_disk("file")
    plain = [(code, 0) for code in (1, 2, 8, 0x0A, 0x1A, 0x1C)]
    every = sorted([*plain, (0x0A, 1), (0x1C, 2)])
    assert [page_key(page) for page in pages(disk)] == plain
    assert [page_key(page) for page in pages(disk, subpage_code=0xFF)] == every
    assert [page_key(page) for page in pages(full, subpage_code=0xFF)] == [key for key in every if key != (0x1C, 2)]
    assert [page_key(page) for page in pages(disk, 0x0A, subpage_code=0xFF)] == [(0x0A, 0), (0x0A, 1)]
    assert [page_key(page) for page in pages(disk, 0x0A, subpage_code=1)] == [(0x0A, 1)]
    assert ControlExtensionPage.parse(pages(disk, 0x0A, subpage_code=1)[0]).scsi_precedence
    for code, subpage in ((0x0A, 2), (8, 1)):
        assert disk.refusal(op.MODE_SENSE_10, page_code=code, subpage_code=subpage) == INVALID_FIELD
    assert full.refusal(op.MODE_SENSE_10, page_code=0x1C, subpage_code=2) == INVALID_FIELD


def test_a_subpage_is_selected_in_its_own_format(disk):
    kept = ControlExtensionPage(scsi_precedence=True)
    assert select(disk, kept).status == 0
    for wrong in (ControlExtensionPage(), ControlExtensionPage(scsi_precedence=True, initial_command_priority=1)):
        sense = parse_sense(select(disk, wrong).sense)
        assert sense is not None
        assert (sense.key, sense.code) == BAD_PARAMETER


def test_pages_are_saved_and_come_back(make_disk, store):
    disk = make_disk(store=store)
    assert all(page[0] & 0x80 for page in pages(disk))
    assert caching(disk, PageControl.SAVED).write_cache_enable
    assert select(disk, CachingPage()).status == 0
    assert caching(disk, PageControl.SAVED).write_cache_enable
    assert select(disk, ControlPage(descriptor_sense=True, queue_algorithm_modifier=1), sp=1).status == 0
    assert not caching(disk, PageControl.SAVED).write_cache_enable
    assert caching(disk, PageControl.DEFAULT).write_cache_enable
    disk.device.reset_lun(bytes(8))
    disk.good(op.REQUEST_SENSE, allocation_length=18)
    assert not caching(disk).write_cache_enable
    again = make_disk(store=StateStore(store.path))
    assert not caching(again).write_cache_enable
    assert again.run(op.READ_10, lba=1 << 20, blocks=1).sense[0] == 0x72


def test_reverting_can_be_saved_too(make_disk, store):
    disk = make_disk(store=store)
    select(disk, CachingPage(), sp=1)
    select(disk, rtd=1, sp=1)
    assert caching(make_disk(store=StateStore(store.path))).write_cache_enable


def test_what_cannot_be_saved_is_said(make_disk, store, monkeypatch):
    disk = make_disk(store=store)

    def full():
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(store, "save", full)
    sense = parse_sense(select(disk, CachingPage(), sp=1).sense)
    assert sense is not None
    assert sense.key == SenseKey.MEDIUM_ERROR


def test_only_what_may_change_is_taken_up_again(make_disk, store, tmp_path):
    disk = make_disk(store=store)
    select(disk, sp=1)
    kept = json.loads(store.path.read_text())
    mode = kept["targets"][disk.device.node.name]["0"]["mode"]
    assert set(mode) == {"01", "02", "08", "0a", "0a/01", "1a", "1c", "1c/02"}
    mode["08"] = CachingPage(read_cache_disable=True).build().hex()
    store.path.write_text(json.dumps(kept))
    found = caching(make_disk("file", store=StateStore(store.path)))
    assert (found.write_cache_enable, found.read_cache_disable) == (False, False)


@pytest.mark.parametrize("wrong", [{"03": "00"}, {"08": "zz"}, {"08": "0812"}, {"x": ""}])
def test_pages_that_cannot_have_been_saved_are_an_error(make_disk, store, wrong):
    store.put("iqn.2026-11.org.example:disk", 0, "mode", wrong)
    with pytest.raises(ConfigError, match=r"state\.json: mode of LUN 0"):
        make_disk(store=store)


@pytest.mark.parametrize("subpage", [0x01, 0x02, 0xFE])
def test_all_pages_are_asked_for_with_two_subpage_codes(disk, subpage):
    for command in (op.MODE_SENSE_6, op.MODE_SENSE_10):
        sense = disk.sense(command, page_code=ALL, subpage_code=subpage, allocation_length=255)
        assert (sense.key, sense.code) == INVALID_FIELD
        assert sense.field_pointer == FieldPointer(byte=3, bit=7)
