"""A failover cluster on one disk: 8-byte keys, 6 for the cluster and 2 for the node, and arbitration by preemption.

The owner holds Write Exclusive - Registrants Only and defends it: whatever key it finds that is not its own, it preempts.
A challenger registers, gives the owner time for that, and preempts the owner if its own key is still there.
"""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.persistent import ReservationType

CLUSTER = 0xAABBCCCCBBAA
SHARED = ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
UNREGISTERED = AdditionalSense.REGISTRATIONS_PREEMPTED


class Node:
    """A member with two paths, one to each target port. Commands take the first path that works."""

    def __init__(self, disk, number):
        self.key = CLUSTER << 16 | number
        self.paths = [disk.port(f"node{number}", tag=tag) for tag in (1, 2)]

    @property
    def path(self):
        return next(path for path in self.paths if path.here)

    def challenge(self):
        return self.path.join(self.key, all_target_ports=True, aptpl=True)

    def defend(self):
        """Throw out whoever of the cluster registered meanwhile."""
        mine = [key for key in self.path.registered() if key >> 16 == CLUSTER and key != self.key]
        return [self.path.preempt(self.key, key, SHARED) for key in dict.fromkeys(mine)]

    def take(self):
        """Preempt the owner, or reserve what nobody owns."""
        owner = self.path.reservation()
        if owner is None:
            return self.path.reserve(self.key, SHARED)
        return self.path.preempt(self.key, owner[0], SHARED, command=op.PREEMPT_AND_ABORT)

    def die(self):
        for path in self.paths:
            path.leave()

    def boot(self):
        return [path.arrive() for path in self.paths]

    def owns(self):
        return self.path.reservation() == (self.key, SHARED)

    def news(self):
        return [path.news() for path in self.paths]

    def write(self):
        return [path.write() for path in self.paths if path.here]


@pytest.fixture
def cluster(make_shared):
    """Three nodes; the first one owns the disk."""
    disk = make_shared(kept=True)
    nodes = [Node(disk, number) for number in (1, 2, 3)]
    assert (nodes[0].challenge(), nodes[0].take()) == ("good", "good")
    return nodes


def test_the_owner_writes_on_every_path_and_nobody_else(cluster):
    one, two, three = cluster
    assert one.owns()
    assert one.path.registered() == [0xAABBCCCCBBAA0001] * 2
    assert one.write() == ["good", "good"]
    assert two.write() + three.write() == ["conflict"] * 4
    assert two.path.read() == "good"


def test_an_owner_that_lives_keeps_the_disk(cluster):
    one, two, _ = cluster
    assert two.challenge() == "good"
    assert one.defend() == ["good"]
    assert two.news() == [[UNREGISTERED], [UNREGISTERED]]
    assert two.take() == "conflict"
    assert two.write() == ["conflict", "conflict"]
    assert one.owns()
    assert one.news() == [[], []]
    assert one.write() == ["good", "good"]


def test_a_node_that_dies_loses_the_disk_to_one_challenger(cluster):
    one, two, three = cluster
    one.die()
    assert two.write() == ["conflict", "conflict"]
    assert (two.challenge(), three.challenge()) == ("good", "good")
    assert two.take() == "good"
    assert two.owns()
    assert three.path.preempt(three.key, one.key, SHARED) == "conflict"
    assert two.defend() == ["good"]
    assert three.news() == [[UNREGISTERED], [UNREGISTERED]]
    assert three.take() == "conflict"
    assert (two.write(), three.write()) == (["good", "good"], ["conflict", "conflict"])
    one.boot()
    assert one.write() == ["conflict", "conflict"]
    assert one.path.reserve(one.key, SHARED) == "conflict"
    assert one.challenge() == "good"
    assert two.defend() == ["good"]
    assert one.news() == [[UNREGISTERED], [UNREGISTERED]]
    assert one.take() == "conflict"
    assert two.owns()


def test_a_node_that_loses_its_paths_has_lost_nothing_when_it_is_back(cluster):
    one, two, _ = cluster
    one.paths[0].leave()
    assert one.write() == ["good"]
    assert one.owns()
    one.die()
    assert two.write() == ["conflict", "conflict"]
    one.boot()
    assert one.write() == ["good", "good"]
    assert one.owns()
    assert two.challenge() == "good"
    assert one.defend() == ["good"]


def test_it_is_the_same_after_the_target_was_away(cluster):
    one, two, three = cluster
    assert two.challenge() == "good"
    one.paths[0].disk.lose_power()
    assert one.owns()
    assert sorted(set(one.path.registered())) == [one.key, two.key]
    assert (one.write(), three.write()) == (["good", "good"], ["conflict", "conflict"])
    one.die()
    assert two.take() == "good"
    two.paths[0].disk.lose_power()
    assert two.owns()
    assert (one.write(), two.write()) == (["conflict", "conflict"], ["good", "good"])


def test_the_key_of_another_cluster_is_seen_as_such(cluster):
    one, *_ = cluster
    stranger = one.paths[0].disk.port("stranger")
    assert stranger.join(0x112233445566_0001) == "good"
    assert {key >> 16 for key in one.path.registered()} == {CLUSTER, 0x112233445566}
    assert one.defend() == []
    assert len(one.path.registered()) == 3


def test_an_owner_that_leaves_in_good_order_frees_the_disk(cluster):
    one, two, _ = cluster
    assert two.challenge() == "good"
    assert one.path.release(one.key, SHARED) == "good"
    assert two.news() == [[AdditionalSense.RESERVATIONS_RELEASED]] * 2
    assert two.take() == "good"
    assert two.owns()
