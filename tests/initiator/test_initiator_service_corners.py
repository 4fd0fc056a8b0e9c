"""What happens seldom: long lists of LUNs, large disks, unit attentions, secrets that go bad, defects of our own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.initiator.service_bench import HOST, with_service
from tests.initiator.test_initiator_service_sessions import GIVEN, LUN_1, answers, mapping

from iscsi_conformance.bundled import CHAP, MUTUAL, PLAIN, bundled_config
from iscsi_initiator.service import api
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.devices import describe
from iscsi_initiator.service.live import LiveSession, _whole
from iscsi_initiator.service.operations import perform
from iscsi_initiator.service.process import Place, serve
from iscsi_initiator.service.resolving import system_resolver
from iscsi_initiator.service.secrets import SecretService
from iscsi_initiator.service.startup import Start
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Secrets
from iscsi_initiator.upcalls import UpCallKind, UpCallWanted
from iscsi_protocol.fault import Part, Replace, Set
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi.status import Status
from iscsi_target.config import ChapConfig


def one_target(**changes):
    config = bundled_config()
    return msgspec.structs.replace(config, targets=[msgspec.structs.replace(config.targets[0], **changes)])


def test_a_disk_that_is_too_large_for_the_short_form(tmp_path):
    large = answers(Opcode.SCSI_DATA_IN, Replace(Part.DATA, b"\xff" * 4 + b"\0\0\2\0"))

    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        capacity = await bench.ask(api.ReadCapacity(session_id=session.session_id, lun=0))
        assert (capacity.last_block, capacity.block_length) == (8191, 512)

    with_service(tmp_path, test, faults=[large])


def test_a_list_of_luns_that_is_longer_than_expected(tmp_path):
    longer = answers(Opcode.SCSI_DATA_IN, Replace(Part.DATA, (8192).to_bytes(4, "big") + bytes(20)))

    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        assert (await bench.ask(api.ReportLUNs(session_id=session.session_id))).luns == (0, LUN_1)

    with_service(tmp_path, test, faults=[longer])


def test_unit_attentions_are_taken_note_of(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        assert (await bench.ask(api.ReadCapacity(session_id=session.session_id, lun=0))).block_length == 512

    with_service(tmp_path, test, target=one_target(initial_unit_attention=True))


@pytest.mark.parametrize("mappings", [(), (mapping(),)])
def test_a_target_that_does_not_list_its_luns(tmp_path, mappings):
    refused = answers(Opcode.SCSI_RESPONSE, Set("status", Status.RESERVATION_CONFLICT))

    async def test(bench):
        await bench.discover()
        if mappings:
            asked = api.LoginTarget(target_name=PLAIN, mappings=mappings)
            assert await bench.refused(asked) == StatusCode.SCSI_REQUEST_FAILED
            assert bench.core.sessions == {}
        else:
            session = await bench.log_in()
            assert (session.devices, session.mappings) == ([], ())

    with_service(tmp_path, test, target=one_target(phase_collapse=False), faults=[refused])


@pytest.mark.parametrize(
    ("first", "kind"),
    [(0x00, "Disk"), (0x01, "Tape"), (0x0E, "Type 0x0e"), (0x20, None), (0x7F, None)],
)
def test_what_is_behind_a_lun(first, kind):
    device = describe(bytes([first]), PLAIN, mapping(), {0, 2})
    assert (None if device is None else device.type) == kind
    if device is not None:
        assert device.number == (1 if kind == "Disk" else None)
        assert device.legacy_name == ("PhysicalDrive1" if kind == "Disk" else "")


def test_handles_of_several(tmp_path):
    async def test(bench):
        handles = bench.core.handles
        for who in ("a", "b"):
            handles.open("1-1", "disk", who)
        handles.check_unused("1-2")
        handles.close("1-1", "disk", "a")
        with pytest.raises(Refused):
            handles.check_unused("1-1")
        handles.close("1-1", "disk", "b")
        with pytest.raises(KeyError):
            handles.close("1-1", "disk", "b")

    with_service(tmp_path, test)


def test_the_secret_that_is_kept_for_a_target(tmp_path):
    async def test(bench):
        store = bench.core.store
        sealed = store.seal(b"one-way-secret-1", Secrets.target_place(CHAP))
        bench.core.change(secrets=Secrets(targets={CHAP: sealed}))
        await bench.discover()
        session = await bench.log_in(CHAP, options=api.LoginOptions(auth_type=1, user_name="tester"))
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN))
        session = await bench.log_in(CHAP)
        asked = api.AddConnection(session_id=session.session_id, options=GIVEN)
        assert (await bench.ask(asked)).connection_id == session.connection_id(1)
        (tmp_path / "store" / "key").chmod(0o644)
        assert await bench.refused(asked) == StatusCode.CACHE_CORRUPTED

    with_service(tmp_path, test)


def test_up_calls_that_are_not_about_stored_secrets(tmp_path):
    async def test(bench):
        answered: list[bytes | None] = []

        async def never(endpoint):
            raise AssertionError(endpoint)

        service = SecretService(bench.core.store, never, None)
        service.take(UpCallWanted(1, 1, UpCallKind.ENCRYPT, b"secret"), answered.append)
        assert answered == [None]

    with_service(tmp_path, test)


def test_a_session_that_is_not_logged_in_yet():
    fields: dict[str, Any] = dict.fromkeys(LiveSession.__dataclass_fields__)
    for name in ("mappings", "devices", "busy", "send_failed", "_client"):
        del fields[name]
    session = LiveSession(**fields)
    with pytest.raises(Refused) as refused:
        session.client.abort()
    assert refused.value.status == StatusCode.INVALID_SESSION_ID


def test_data_that_is_too_short():
    assert _whole(b"12", 2) == b"12"
    with pytest.raises(Refused) as refused:
        _whole(b"12", 3)
    assert refused.value.status == StatusCode.SCSI_REQUEST_FAILED


def test_names_of_this_host_resolve():
    assert asyncio.run(system_resolver("127.0.0.1")) == ["127.0.0.1"]


def test_a_defect_is_told_and_ends_nothing(tmp_path, monkeypatch):
    async def broken(core, request):
        if isinstance(request, api.ListInitiators):
            raise ZeroDivisionError("oops")
        return await perform(core, request)

    monkeypatch.setattr("iscsi_initiator.service.process.carry_out", broken)
    complaints: list[str] = []

    async def run():
        place = Place(store=tmp_path / "store", socket=tmp_path / "s", event_log=tmp_path / "events.jsonl")
        ready = asyncio.Event()
        served = asyncio.create_task(serve(place, ready.set, complaints.append))
        await ready.wait()
        client = Client(place.socket)
        with pytest.raises(Refused) as refused:
            await client.ask(api.ListInitiators())
        assert refused.value.status == StatusCode.NON_SPECIFIC_ERROR
        assert (await client.ask(api.ServiceStatus())).state == "running"
        await client.ask(api.StopService())
        await served

    asyncio.run(run())
    assert complaints == ["ZeroDivisionError: oops"]


def test_a_service_is_stopped_while_it_starts(tmp_path, monkeypatch):
    async def run():
        begun = asyncio.Event()

        async def never(start):
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Start, "run", never)
        place = Place(store=tmp_path / "store", socket=tmp_path / "s", event_log=tmp_path / "events.jsonl")
        ready = asyncio.Event()

        served = asyncio.create_task(serve(place, ready.set, print))
        await begun.wait()
        await Client(place.socket).ask(api.StopService())
        await served
        assert not ready.is_set()

    asyncio.run(run())


def test_the_user_is_the_node_unless_another_is_said(tmp_path):
    config = bundled_config()
    users = ChapConfig(users={"iqn.1991-05.com.microsoft:bench.example.org": "one-way-secret-1"})
    targets = [msgspec.structs.replace(each, chap=users) if each.name == CHAP else each for each in config.targets]

    async def test(bench):
        await bench.discover()
        options = api.LoginOptions(auth_type=1, password=b"one-way-secret-1")
        assert (await bench.log_in(CHAP, options=options)).client.connections == (0,)

    with_service(tmp_path, test, target=msgspec.structs.replace(config, targets=targets))


def test_no_secret_is_in_a_file_or_an_answer(tmp_path):
    secrets = [b"of-the-initiator", b"one-way-secret-1", b"of-a-persistent-login", b"of-a-static-target", b"tiny-one"]

    def options(number):
        return api.LoginOptions(auth_type=1, user_name="tester", password=secrets[number])

    async def test(bench):
        shown = [
            await bench.ask(api.CHAPSecret(secret=secrets[0])),
            await bench.ask(api.AddTargetPortal(portal=HOST)),
            await bench.ask(api.LoginTarget(target_name=CHAP, options=options(1))),
            await bench.ask(api.PersistentLoginTarget(target_name=CHAP, options=options(2), key=b"of-a-connection")),
            await bench.ask(api.AddTarget(target_name=CHAP, options=options(3))),
        ]
        with pytest.raises(Refused) as refused:
            await bench.ask(api.LoginTarget(target_name=MUTUAL, options=options(4)))
        shown += [refused.value, bench.core.store.state, *bench.core.sessions.values()]
        for kind in (api.ListPersistentTargets(), api.SessionList(), api.TargetInfo(target_name=CHAP)):
            shown.append(await bench.ask(kind))
        shown.append(
            await bench.ask(api.TargetInfo(target_name=CHAP, discovery_mechanism="SendTargets:127.0.0.1:3260"))
        )
        assert bench.events("iScsiPrt") == [35]
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert len(written) >= 3
        for secret in (*secrets, b"of-a-connection"):
            assert not any(secret in data or secret.hex().encode() in data for data in written)
            assert not any(secret.decode() in repr(each) for each in shown)

    with_service(tmp_path, test)
