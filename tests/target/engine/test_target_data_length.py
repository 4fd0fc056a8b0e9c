"""Commands whose device wants exactly the data that their CDB means."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import ScsiResponse
from iscsi_target.completion import Completion

SENSE = bytes.fromhex("700005000000000a000000002400000000" + "00")


@pytest.fixture
def exact(bench):
    """A device that refuses all but 1,024 bytes, and a session with it."""
    refused = Completion(0x02, sense=SENSE)
    bench.device.length_refusal = lambda nexus, lun, cdb, expected: None if expected == 1024 else refused
    return bench.session()


@pytest.mark.parametrize("immediate", [0, 512, 1024, 2048])
def test_a_contradicted_command_is_refused_without_its_data(bench, exact, immediate):
    bench.device.log.clear()
    write = exact.write(blocks=2, data=b"i" * immediate, expected_data_transfer_length=2048)
    answer = exact.ask(write, ScsiResponse)
    assert (answer.status, answer.data[2:]) == (2, SENSE)
    assert not exact.inbox
    assert bench.device.log == []
    assert exact.ask(exact.write(blocks=2, data=b"x" * 1024), ScsiResponse).status == 0


def test_data_on_its_way_is_awaited(bench, exact):
    bench.device.log.clear()
    write = exact.write(blocks=2, data=b"i" * 512, expected_data_transfer_length=2048, final=False)
    exact.send(write)
    assert not exact.inbox
    answer = exact.ask(exact.data_out(write, bytes(1536), offset=512), ScsiResponse)
    assert (answer.status, answer.data[2:]) == (2, SENSE)
    assert bench.device.log == []
