"""A start from the image of a boot table: event 64 is logged, and the login ends in a session to the bundled target."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from iscsi_conformance.bundled import MUTUAL, bundled_config
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.boot import assemble, decode, start
from iscsi_initiator.boot.layout import ChapType, Initiator, Nic, SecretText, Target, pack_address
from iscsi_initiator.boot.table import text
from iscsi_initiator.client import Client
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.settings import Settings
from iscsi_protocol.eventlog import LoggedEvent
from iscsi_protocol.scsi.lun import decode_lun, encode_lun
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

HOST = "iqn.2026-01.org.example:host"


def test_a_start_from_an_image(tmp_path):
    log = EventLogWriter(tmp_path / "events.jsonl")
    seen: dict[str, Any] = {}

    async def boot():
        config = bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals)
        endpoint = portal.endpoints[0]
        image = assemble(
            Initiator(name=text(HOST)),
            [Nic(mac=bytes.fromhex("020000000001"), address=pack_address("127.0.0.1"), prefix_length=8)],
            [
                Target(
                    address=pack_address(endpoint.host),
                    port=endpoint.port,
                    lun=encode_lun(0),
                    name=text(MUTUAL),
                    chap_type=ChapType.MUTUAL_CHAP,
                    chap_name=text("tester"),
                    chap_secret=SecretText(b"one-way-secret-1"),
                    mutual_name=text("bundled"),
                    mutual_secret=SecretText(b"mutual-secret-22"),
                )
            ],
        ).image
        (login,) = start(decode(image), lambda event: log.attempt(event, b"", 1.0), isid=bytes.fromhex("800001020304"))
        try:
            async with await Client.connect(
                login.options.portal,
                options=login.options,
                lun=decode_lun(login.lun),
                settings=replace(Settings(), initiator_name=login.initiator_name),
                connector=MemoryConnector(portal),
                event_log=log,
            ) as client:
                seen["capacity"] = await client.capacity()
                seen["initiators"] = [(each.key.initiator_name, each.key.isid) for each in engine.sessions]
        finally:
            portal.close()
            close_devices(devices)

    run_virtual(boot())
    log.close()
    assert seen["capacity"][0] > 0
    assert seen["initiators"] == [(HOST, bytes.fromhex("800001020304"))]
    events = [each for each in LogReader(tmp_path / "events.jsonl").read() if isinstance(each, LoggedEvent)]
    assert [(each.record.id, each.record.extra) for each in events] == [(64, b"")]
