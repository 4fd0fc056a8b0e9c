"""The state file: whole or not at all, and never written over what it cannot have been."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iscsi_target.config import ConfigError
from iscsi_target.state import StateStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.json"


def test_values_come_back(path):
    store = StateStore(path)
    assert store.get("t", 0, "mode") is None
    value = {"a": [1, "é", None]}
    store.put("t", 0, "mode", value)
    value["a"].append(2)
    store.put("t", -1, "groups", [1])
    store.put("u", 16383, "mode", "x")
    assert not path.exists()
    store.save()
    again = StateStore(path)
    assert again.get("t", 0, "mode") == {"a": [1, "é", None]}
    assert again.get("t", -1, "groups") == [1]
    assert again.read("u", 16383, "mode", str) == "x"
    again.put("t", 0, "mode", None)
    again.put("t", 0, "mode", None)
    again.save()
    assert StateStore(path).read("t", 0, "mode", dict) is None


def test_what_is_another_type_is_named(path):
    store = StateStore(path)
    store.put("t", 3, "mode", "x")
    with pytest.raises(ConfigError, match=rf"{path}: mode of LUN 3 of t: Expected `int`"):
        store.read("t", 3, "mode", int)


def test_only_changes_are_written(path):
    store = StateStore(path)
    store.save()
    assert not path.exists()
    store.put("t", 0, "mode", 1)
    store.save()
    first = path.stat()
    store.put("t", 0, "mode", 1)
    store.save()
    assert path.stat() == first
    reopened = StateStore(path)
    reopened.put("t", 0, "mode", 1)
    reopened.save()
    assert path.stat() == first


def test_without_a_file_nothing_lasts():
    store = StateStore()
    assert not store.persistent
    store.put("t", 0, "mode", 1)
    store.save()
    assert store.get("t", 0, "mode") == 1


def test_the_new_file_is_stable_before_it_is_the_file_and_its_name_after(path, monkeypatch):
    """fsync of the data, then the rename, then fsync of the folder."""
    steps = []
    fsync, replace = os.fsync, type(path).replace

    def seen_fsync(number):
        steps.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        return fsync(number)

    def seen_replace(old, new):
        steps.append("rename")
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(type(path), "replace", seen_replace)
    store = StateStore(path)
    store.put("t", 0, "mode", 1)
    store.save()
    assert steps == [str(path.with_name(".state.json.new")), "rename", str(path.parent)]
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"format": "something else", "version": 1, "targets": {}}',
        b'{"format": "iscsi-target state", "version": 2, "targets": {}}',
        b'{"format": "iscsi-target state", "version": 1, "targets": {}, "more": 1}',
        b'{"format": "iscsi-target state", "version": 1, "targets": {"t": {"x": {}}}}',
        b'{"format": "iscsi-target state", "version": 1, "targets": {"t": {"0": {"mode": {]}}}}',
    ],
)
def test_files_that_are_none_are_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{path}: [^\n]+$"):
        StateStore(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        StateStore(tmp_path / "missing" / "state.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        StateStore(tmp_path)


def test_a_failed_save_leaves_the_old_file_and_is_tried_again(path, monkeypatch):
    store = StateStore(path)
    store.put("t", 0, "mode", 1)
    store.save()

    def full(number):
        raise OSError(28, "No space left on device")

    store.put("t", 0, "mode", 2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.save()
    assert StateStore(path).get("t", 0, "mode") == 1
    store.save()
    assert StateStore(path).get("t", 0, "mode") == 2
