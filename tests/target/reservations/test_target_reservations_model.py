"""Random clusters against a small model of persistent reservations, written apart from the device server.

The model keeps a list of (port, key) pairs and one (type, holder), and answers in words of the standard's tables.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from iscsi_protocol.scsi import opcodes as op

NAMES = ("one", "two", "three", "four")
RESERVES_WRITING, RESERVES_ALL = (1, 5, 7), (3, 6, 8)
SHARED_BY_REGISTRANTS, HELD_BY_ALL = (5, 6, 7, 8), (7, 8)
RELEASED, PREEMPTED, UNREGISTERED = 0x2A04, 0x2A03, 0x2A05

whoever = st.sampled_from(NAMES)
who = st.integers(0, 23)
"""Turned into a name by `member`: mostly somebody who is registered, since all else is a conflict."""
keys = st.integers(1, 3)
any_key = st.integers(0, 4)
seldom = st.sampled_from((False,) * 5 + (True,))
types = st.sampled_from((1, 3, 5, 6, 7, 8))


class Model:
    """What ought to be so."""

    def __init__(self):
        self.keys = {}
        self.type = 0
        self.holder = None
        self.generation = 0
        self.kept = False
        self.news: dict[str, list[int]] = {name: [] for name in NAMES}

    def tell(self, names, code, by):
        for name in names:
            if name != by and code not in self.news[name]:
                self.news[name].append(code)

    def is_holder(self, name):
        return self.type and name in self.keys and (self.type in HELD_BY_ALL or name == self.holder)

    def drop(self, names, by, *, silently=False):
        """Registrations go, and what goes with them."""
        for name in names:
            del self.keys[name]
        if self.type and (not self.keys if self.type in HELD_BY_ALL else self.holder in names):
            if self.type in SHARED_BY_REGISTRANTS:
                self.tell(self.keys, RELEASED, by)
            self.type, self.holder = 0, None

    def may(self, name, access):
        if not self.type or self.is_holder(name):
            return True
        if self.type in SHARED_BY_REGISTRANTS and name in self.keys:
            return True
        return access == "read" and self.type in RESERVES_WRITING


class Machine(RuleBasedStateMachine):
    """Four ports, few keys; each answer is the model's. `make` comes from the fixture."""

    make: Any = None
    transport_id: Any = None

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.disk = self.make(str(Path(self.folder.name) / "state.json"))
        self.ports = {name: self.disk.port(name) for name in NAMES}
        self.model = Model()
        for number, name in enumerate(NAMES[:3]):
            assert self.ports[name].join(number // 2 + 1, aptpl=True) == "good"
            self.registered(name, number // 2 + 1, True)

    def member(self, number):
        members = list(self.model.keys)
        return members[number % len(members)] if members and number % 6 else NAMES[number % len(NAMES)]

    def teardown(self):
        if hasattr(self, "disk"):
            self.disk.device.close()
            self.folder.cleanup()

    @rule(name=whoever, wrong=seldom, new=any_key, aptpl=st.booleans())
    def register(self, name, wrong, new, aptpl):
        model = self.model
        key = model.keys.get(name, 0) + wrong
        if model.keys.get(name, 0) != key:
            assert self.ports[name].register(key, new, aptpl=aptpl) == "conflict"
            return
        assert self.ports[name].register(key, new, aptpl=aptpl) == "good"
        self.registered(name, new, aptpl)

    @rule(name=whoever, new=keys, aptpl=st.booleans())
    def join(self, name, new, aptpl):
        assert self.ports[name].join(new, aptpl=aptpl) == "good"
        self.registered(name, new, aptpl)

    def registered(self, name, new, aptpl):
        model = self.model
        model.generation += 1
        model.kept = aptpl
        if new:
            model.keys[name] = new
        elif name in model.keys:
            model.drop([name], name)

    @rule(name=who, wrong=seldom, kind=types)
    def reserve(self, name, wrong, kind):
        model, name = self.model, self.member(name)
        known = name in model.keys and not wrong
        good = known and (not model.type or (model.is_holder(name) and model.type == kind))
        key = model.keys.get(name, 0) + (9 if wrong else 0)
        assert self.ports[name].reserve(key, kind) == ("good" if good else "conflict")
        if good and not model.type:
            model.type, model.holder = kind, None if kind in HELD_BY_ALL else name

    @rule(name=who, kind=types, wrong=seldom)
    def release(self, name, kind, wrong):
        model, name = self.model, self.member(name)
        if not wrong:
            name, kind = model.holder or name, model.type or kind
        outcome = self.ports[name].release(model.keys.get(name, 0), kind)
        if name not in model.keys:
            assert outcome == "conflict"
        elif not model.is_holder(name):
            assert outcome == "good"
        elif model.type != kind:
            assert outcome == (5, 0x2604)
        else:
            assert outcome == "good"
            if kind in SHARED_BY_REGISTRANTS:
                model.tell(model.keys, RELEASED, name)
            model.type, model.holder = 0, None

    @rule(name=who, really=seldom)
    def clear(self, name, really):
        model, name = self.model, self.member(name)
        if name in model.keys and not really:
            return
        good = name in model.keys
        assert self.ports[name].clear(model.keys.get(name, 0)) == ("good" if good else "conflict")
        if good:
            model.tell(model.keys, PREEMPTED, name)
            model.keys, model.type, model.holder = {}, 0, None
            model.generation += 1

    @rule(name=who, victim=who | st.none(), kind=types, aborting=st.booleans())
    def preempt(self, name, victim, kind, aborting):
        model, name = self.model, self.member(name)
        loser = model.holder if victim is None else self.member(victim)
        victim = model.keys.get(loser, 0 if victim is None else 4)
        command = op.PREEMPT_AND_ABORT if aborting else op.PREEMPT
        outcome = self.ports[name].preempt(model.keys.get(name, 0), victim, kind, command=command)
        losers = [each for each, key in model.keys.items() if key == victim]
        if name not in model.keys:
            assert outcome == "conflict"
        elif not victim and model.type not in HELD_BY_ALL:
            assert outcome == (5, 0x2600)
        elif victim and not losers:
            assert outcome == "conflict"
        else:
            assert outcome == "good"
            model.generation += 1
            if not victim:
                losers = list(model.keys)
            if not victim or model.holder in losers:
                losers = [each for each in losers if each != name]
                for each in losers:
                    del model.keys[each]
                if kind != model.type:
                    model.tell(model.keys, RELEASED, name)
                model.type, model.holder = kind, None if kind in HELD_BY_ALL else name
            else:
                model.drop(losers, name)
            model.tell(losers, UNREGISTERED, name)

    @rule(name=who, to=whoever, new=keys, unregister=st.booleans(), aptpl=st.booleans())
    def move(self, name, to, new, unregister, aptpl):
        from_iscsi = self.ports[to].nexus
        model, name = self.model, self.member(name)
        name = model.holder or name
        destination = self.transport_id(from_iscsi.initiator_name, from_iscsi.isid)
        outcome = self.ports[name].move(model.keys.get(name, 0), new, destination, unregister=unregister, aptpl=aptpl)
        if name not in model.keys:
            assert outcome == "conflict"
        elif not model.type:
            assert outcome == (5, 0x2400)
        elif model.holder != name:
            assert outcome == "conflict"
        elif to == name:
            assert outcome == (5, 0x2600)
        else:
            assert outcome == "good"
            model.generation += 1
            model.kept = aptpl
            model.keys[to] = new
            model.holder = to
            if unregister:
                del model.keys[name]

    @rule(name=whoever)
    def lose_paths(self, name):
        """A session goes and comes back."""
        self.ports[name].leave()
        self.ports[name].arrive()
        self.model.news[name] = []

    @rule(really=seldom)
    def lose_power(self, really):
        if not (self.model.kept or really):
            return
        self.disk.lose_power()
        model = self.model
        model.generation = 0
        model.news = {name: [] for name in NAMES}
        if not model.kept:
            model.keys, model.type, model.holder = {}, 0, None

    @rule(name=whoever)
    def read(self, name):
        expected = "good" if self.model.may(name, "read") else "conflict"
        self.drain(name)
        assert self.ports[name].read() == expected

    @rule(name=whoever)
    def write(self, name):
        expected = "good" if self.model.may(name, "write") else "conflict"
        self.drain(name)
        assert self.ports[name].write() == expected

    @invariant()
    def as_the_model_says(self):
        if not hasattr(self, "disk"):
            return
        model, port = self.model, self.ports["one"]
        status = {each.transport_id.name.rpartition(":")[2]: each for each in port.full_status()}
        assert {name: each.key for name, each in status.items()} == model.keys
        assert sorted(port.registered()) == sorted(model.keys.values())
        assert {name for name, each in status.items() if each.holder} == set(filter(model.is_holder, model.keys))
        held = (0 if model.type in HELD_BY_ALL else model.keys[model.holder], model.type) if model.type else None
        assert port.reservation() == held
        assert port.generation() == model.generation
        assert port.capabilities().persist_through_power_loss_activated == model.kept
        for name in NAMES:
            self.drain(name)

    def drain(self, name):
        """Every unit attention that is due, and no other."""
        assert sorted(self.ports[name].news()) == sorted(self.model.news[name])
        self.model.news[name] = []


def test_the_device_is_as_the_model(make_disk_of, make_transport_id, monkeypatch):
    # Thousands of saves: here they need not be stable.
    monkeypatch.setattr(os, "fsync", lambda number: None)
    kinds = {"make": staticmethod(make_disk_of), "transport_id": staticmethod(make_transport_id)}
    machine = type("Cluster", (Machine,), kinds)
    run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=30, deadline=None))
