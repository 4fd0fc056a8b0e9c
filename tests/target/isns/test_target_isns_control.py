from __future__ import annotations

import json

import pytest
from tests.target.isns.bench import DISK, HOST, Bench

from iscsi_target.isns.control import carry_out


def tell(bench: Bench, **operation):
    return carry_out(bench.server, json.dumps(operation).encode(), bench.now)


def test_domains_are_managed_beside_the_protocol() -> None:
    bench = Bench()
    bench.disk()
    bench.host()
    assert tell(bench, op="put-domain", name="lab", nodes=[DISK, HOST]) == {"status": 0, "number": 1}
    assert tell(bench, op="put-set", name="all", enabled=True, domains=[1]) == {"status": 0, "number": 1}
    assert bench.names(HOST) == [DISK, HOST]
    assert tell(bench, op="put-domain", number=1, portals=["192.0.2.1:3260", "[::1]:5/udp", "192.0.2.1:7/tcp"]) == {
        "status": 0,
        "number": 1,
    }
    assert tell(bench, op="list") == {
        "status": 0,
        "domains": [
            {
                "number": 1,
                "name": "lab",
                "features": 0,
                "nodes": [DISK, HOST],
                "portals": ["192.0.2.1:3260", "[::1]:5/udp", "192.0.2.1:7"],
            }
        ],
        "sets": [{"number": 1, "name": "all", "enabled": True, "domains": [1]}],
    }
    assert tell(bench, op="put-set", number=1, enabled=False) == {"status": 0, "number": 1}
    assert bench.names(HOST) == [HOST]
    assert tell(bench, op="take-domain", number=1, nodes=[DISK], portals=["192.0.2.1:3260"]) == {"status": 0}
    assert tell(bench, op="take-set", number=1, domains=[1]) == {"status": 0}
    assert tell(bench, op="take-domain", number=1) == {"status": 0}
    assert tell(bench, op="take-set", number=1) == {"status": 0}
    assert tell(bench, op="list") == {"status": 0, "domains": [], "sets": []}


def test_nodes_are_listed_with_their_portals() -> None:
    bench = Bench()
    bench.disk()
    (node,) = tell(bench, op="nodes")["nodes"]
    assert node == {"name": DISK, "entity": "disk", "type": 1, "portals": ["192.0.2.1:3260"]}


@pytest.mark.parametrize(
    ("operation", "status", "message"),
    [
        ({"op": "dance"}, 2, "dance"),
        ({"op": "list", "more": 1}, 2, "more"),
        ({"op": "put-domain", "number": 9}, 3, "there is no number 9"),
        ({"op": "put-domain", "nodes": ["disk"]}, 3, "disk"),
        ({"op": "put-domain", "portals": ["here"]}, 3, "HOST:PORT"),
        ({"op": "put-domain", "portals": ["::1:5/x"]}, 3, "brackets"),
        ({"op": "put-domain", "portals": ["192.0.2.1:5/x"]}, 3, "HOST:PORT/tcp"),
        ({"op": "put-set", "domains": [-1]}, 3, ""),
    ],
)
def test_what_cannot_be_done_is_told(operation, status: int, message: str) -> None:
    answer = tell(Bench(), **operation)
    assert answer["status"] == status
    assert message in answer["message"]


def test_a_refused_operation_leaves_nothing_behind() -> None:
    bench = Bench()
    tell(bench, op="put-domain", name="lab")
    bench.server.take_changes()
    assert tell(bench, op="put-domain", name="lab")["status"] == 3
    assert bench.server.take_changes() == []
