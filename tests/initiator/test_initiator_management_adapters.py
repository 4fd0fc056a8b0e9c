"""Management data of adapters: what a plug-in tells of itself, takes, and pings; and what it gets wrong."""

from __future__ import annotations

import json
from base64 import b64encode
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from tests.initiator.service_bench import with_service

from iscsi_initiator.discovery import adapters
from iscsi_initiator.discovery.adapters import AdapterFailure
from iscsi_initiator.service import api
from iscsi_initiator.service.management.table import CLASSES
from iscsi_initiator.service.operations import STREAMS
from iscsi_initiator.status_codes import Refused, StatusCode

NAME = "PLUGIN\\EXAMPLE\\0000_0"
MAC = bytes.fromhex("02005e100001")
SECRET = b"a radius secret!"
FLASH = {
    "addresses": ["192.0.2.5"],
    "management": {
        "MSiSCSI_HBAInformation": [{"VendorModel": "Model 7", "SerialNumber": "0815"}],
        "MSiSCSI_TCPIPConfig": [{"EnableDHCP": True, "IpAddress": {"Type": 1, "IpV4Address": 0xC0000205}}],
        "MSiSCSI_NICConfig": [
            {"LinkSpeed": 10000, "MaxLinkSpeed": 25000, "LinkState": 1, "MacAddress": b64encode(MAC).decode()}
        ],
        "MSiSCSI_BootConfiguration": [
            {"TargetName": "iqn.2026-01.org.example:boot", "Password": b64encode(SECRET).decode(), "PasswordSize": 16}
        ],
        "MSiSCSI_SecurityCapabilities": [{"EncryptionAvailable": [2, 3], "EncryptionAvailableCount": 2}],
        "MSiSCSI_DiscoveryConfig": [{"PerformiSNSDiscovery": True, "iSNSServer": {"TextAddress": "isns"}}],
        "MSiSCSI_RADIUSConfig": [{"UseRADIUSForCHAP": True, "SharedSecret": b64encode(SECRET).decode()}],
        "MSiSCSI_NICPerformance": [{"BytesTransmitted": 7, "BytesReceived": 8, "PDUTransmitted": 9, "PDUReceived": 10}],
    },
    "answering": ["192.0.2.1"],
}
OWN = [
    "MSiSCSI_TCPIPConfig",
    "MSiSCSI_NICConfig",
    "MSiSCSI_BootConfiguration",
    "MSiSCSI_SecurityCapabilities",
    "MSiSCSI_DiscoveryConfig",
    "MSiSCSI_RADIUSConfig",
    "MSiSCSI_NICPerformance",
]


@pytest.fixture
def plugged(monkeypatch):
    """The example is among the entry points, whatever was installed."""
    point = EntryPoint("example", "iscsi_initiator.discovery.example_adapter:make", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda group, name: [point] if name == "example" else [])


def over(folder, test, flash=FLASH, **options):
    path = folder / "flash.json"
    path.write_text(json.dumps(flash))
    with_service(folder, test, adapters={"example": str(path)}, **options)


async def rows(bench, name):
    return (await bench.ask(api.Query(class_name=name))).instances


async def call(bench, name, method, **arguments):
    return await bench.ask(api.Invoke(class_name=name, method=method, arguments=arguments))


def test_what_an_adapter_tells_of_itself(tmp_path, plugged):
    async def test(bench):
        software, adapter = await rows(bench, "MSiSCSI_HBAInformation")
        assert (software["VendorModel"], adapter["VendorModel"], adapter["SerialNumber"]) == (
            "software initiator",
            "Model 7",
            "0815",
        )
        assert adapter["UniqueAdapterId"] == software["UniqueAdapterId"] + 1
        assert [each["InstanceName"] for each in await rows(bench, "MSiSCSI_TCPIPConfig")] == [NAME]
        (tcp,) = await rows(bench, "MSiSCSI_TCPIPConfig")
        assert (tcp["EnableDHCP"], tcp["UseDHCPForDNS"]) == (True, False)
        assert tcp["IpAddress"]["IpV4Address"] == 0xC0000205
        assert tcp["SubnetMask"]["Type"] == 3
        (nic,) = await rows(bench, "MSiSCSI_NICConfig")
        assert (nic["LinkSpeed"], nic["MacAddress"], nic["MaxFrameSize"]) == (10000, MAC, 0)
        (security,) = await rows(bench, "MSiSCSI_SecurityCapabilities")
        assert security["EncryptionAvailable"] == [2, 3]
        (boot,) = await rows(bench, "MSiSCSI_BootConfiguration")
        assert (boot["TargetPortal"], boot["PasswordSize"]) == (None, 16)
        (performance,) = await rows(bench, "MSiSCSI_NICPerformance")
        assert performance["PDUReceived"] == 10
        text = (await bench.ask(api.Metrics())).text
        assert 'iscsi_initiator_adapter_bytes_sent_total{initiator="PLUGIN\\\\EXAMPLE\\\\0000_0",port="0"} 7.0' in text

    over(tmp_path, test)


@pytest.mark.parametrize("name", OWN)
def test_instances_are_whole(tmp_path, plugged, name):
    async def test(bench):
        (row,) = await rows(bench, name)
        assert list(row) == [own.name for own in CLASSES[name].properties]

    over(tmp_path, test)


def test_secrets_of_an_adapter_are_not_told(tmp_path, plugged):
    async def test(bench):
        (boot,) = await rows(bench, "MSiSCSI_BootConfiguration")
        (radius,) = await rows(bench, "MSiSCSI_RADIUSConfig")
        assert (boot["Password"], radius["SharedSecret"]) == (b"", b"")

    over(tmp_path, test)


def test_an_adapter_takes_other_values(tmp_path, plugged):
    async def test(bench):
        secret = b64encode(b"another secret!!").decode()
        await call(bench, "MSiSCSI_RADIUSConfig", "Put", SharedSecret=secret, RADIUSServer={"TextAddress": "192.0.2.9"})
        (radius,) = await rows(bench, "MSiSCSI_RADIUSConfig")
        assert (radius["UseRADIUSForCHAP"], radius["RADIUSServer"]["TextAddress"]) == (True, "192.0.2.9")
        kept = json.loads((tmp_path / "flash.json").read_text())["management"]["MSiSCSI_RADIUSConfig"]
        assert kept[0]["SharedSecret"] == secret
        await call(bench, "MSiSCSI_TCPIPConfig", "Put", EnableDHCP=False)
        (tcp,) = await rows(bench, "MSiSCSI_TCPIPConfig")
        assert (tcp["EnableDHCP"], tcp["IpAddress"]["IpV4Address"]) == (False, 0xC0000205)
        assert bench.events() == []

    over(tmp_path, test)


def test_an_adapter_with_two_ports(tmp_path, plugged):
    """Each is an instance of its own, and is set on its own."""
    name = "MSiSCSI_TCPIPConfig"

    async def test(bench):
        assert [each["InstanceName"] for each in await rows(bench, name)] == [NAME, f"{NAME}:1"]
        put = api.Invoke(class_name=name, method="Put", arguments={"EnableDHCP": True})
        assert await bench.refused(put) == StatusCode.INVALID_PARAMETER
        where = {"InstanceName": f"{NAME}:1"}
        await bench.ask(api.Invoke(class_name=name, method="Put", where=where, arguments={"EnableDHCP": True}))
        assert [each["EnableDHCP"] for each in await rows(bench, name)] == [False, True]
        text = (await bench.ask(api.Metrics())).text
        assert 'port="0"} 1.0' in text
        assert 'port="1"} 2.0' in text

    ports = {name: [{}, {}], "MSiSCSI_NICPerformance": [{"PDUReceived": 1}, {"PDUReceived": 2}]}
    over(tmp_path, test, {"management": ports})


def test_a_flash_that_cannot_be_written(tmp_path, plugged, monkeypatch):
    async def test(bench):
        adapter = bench.core.instances[1].adapter
        flash = adapter._flash()
        monkeypatch.setattr(adapter, "_flash", lambda: flash)
        adapter.path = tmp_path / "nowhere" / "flash.json"
        request = api.Invoke(class_name="MSiSCSI_TCPIPConfig", method="Put", arguments={"EnableDHCP": False})
        assert await bench.refused(request) == StatusCode.NON_SPECIFIC_ERROR

    over(tmp_path, test)


def test_an_adapter_that_does_not_take_them(tmp_path, plugged, monkeypatch):
    async def test(bench):
        def refuse(name, port, values):
            raise AdapterFailure("the flash is worn out", StatusCode.OUT_OF_RESOURCES)

        monkeypatch.setattr(bench.core.instances[1].adapter, "configure", refuse)
        request = api.Invoke(class_name="MSiSCSI_TCPIPConfig", method="Put", arguments={"EnableDHCP": False})
        assert await bench.refused(request) == StatusCode.OUT_OF_RESOURCES
        assert bench.events() == [110]

    over(tmp_path, test)


def test_pings_through_an_adapter(tmp_path, plugged):
    async def test(bench):
        name = "MSiSCSI_ManagementOperation"
        for address, answered in (
            ({"TextAddress": "192.0.2.1"}, 3),
            ({"IpV4Address": 0xC0000201}, 3),
            ({"TextAddress": "192.0.2.2"}, 0),
            ({"IpV6Address": b64encode(bytes(15) + b"\1").decode()}, 0),
        ):
            found = await call(bench, name, "PingIPAddress", RequestCount=3, Address=address)
            assert found.results == {"Status": 0, "ResponsesReceived": answered}
        here = {"TextAddress": "192.0.2.1"}
        for wrong in (
            {"RequestCount": 101, "Address": here},
            {"RequestCount": 1, "RequestSize": 65508, "Address": here},
            {"RequestCount": 1, "Timeout": 60001, "Address": here},
            {"RequestCount": 1, "Address": {"TextAddress": "host"}},
            {"RequestCount": 1, "Address": {}},
        ):
            request = api.Invoke(class_name=name, method="PingIPAddress", arguments=wrong)
            assert await bench.refused(request) == StatusCode.INVALID_PARAMETER

    over(tmp_path, test, virtual=False)


@pytest.mark.parametrize("answer", [4, -1, "many"])
def test_a_ping_with_a_strange_answer(answer):
    class Adapter:
        def ping(self, address, count, size, timeout):
            return answer

    with pytest.raises(Refused) as refused:
        adapters.ping("A", Adapter(), "192.0.2.1", 3, 32, 1.0)
    assert refused.value.status is StatusCode.DRIVER_BUG


@pytest.mark.parametrize(
    "said",
    [
        {"MSiSCSI_NICConfig": [{"LinkSpeed": -1}]},
        {"MSiSCSI_NICConfig": [{"Colour": "red"}]},
        {"MSiSCSI_NICConfig": [{"InstanceName": "mine"}]},
    ],
)
def test_what_does_not_fit_the_class_is_the_adapters_fault(tmp_path, plugged, said):
    async def test(bench):
        assert await bench.refused(api.Query(class_name="MSiSCSI_NICConfig")) == StatusCode.DRIVER_BUG

    over(tmp_path, test, {"management": said})


def test_an_adapter_that_fails_or_gives_something_else(tmp_path, plugged, monkeypatch):
    async def test(bench):
        adapter = bench.core.instances[1].adapter
        request = api.Query(class_name="MSiSCSI_NICConfig")
        monkeypatch.setattr(adapter, "management", lambda name: [3])
        assert await bench.refused(request) == StatusCode.DRIVER_BUG
        (tmp_path / "flash.json").write_text("damaged")
        monkeypatch.undo()
        assert await bench.refused(request) == StatusCode.NON_SPECIFIC_ERROR

    over(tmp_path, test)


def test_an_adapter_that_fails_hides_no_metrics(tmp_path, plugged):
    async def test(bench):
        (tmp_path / "flash.json").write_text("damaged")
        text = (await bench.ask(api.Metrics())).text
        assert "iscsi_initiator_sessions{" in text
        assert "iscsi_initiator_adapter_bytes_sent_total{" not in text

    over(tmp_path, test)


def test_an_adapter_without_management_data():
    class Plain:
        addresses: tuple[str, ...] = ()
        isid: bytes | None = None

        def discover(self):
            return []

    assert adapters.management("A", Plain(), "MSiSCSI_NICConfig") == []


# The event log.


def test_events_of_an_adapter(tmp_path, plugged):
    """They go to the log where it asks for that, and to those who watch."""

    async def test(bench):
        watch = STREAMS[api.Watch](bench.core, api.Watch(classes=("MSiSCSI_Eventlog",)))
        adapter = bench.core.instances[1].adapter
        adapter.log(9, b"\x28")
        adapter.log(20, b"iqn", log=False)
        stream: Any = aiter(watch)
        assert (await anext(stream)).class_name is None
        one, other = await anext(stream), await anext(stream)
        assert one.instance == {
            "InstanceName": NAME,
            "Active": True,
            "Type": 9,
            "LogToEventlog": 1,
            "Size": 1,
            "AdditionalData": b"\x28",
        }
        assert (other.instance["Type"], other.instance["LogToEventlog"]) == (20, 0)
        assert bench.events("iScsiPrt") == [9]

    over(tmp_path, test)


@pytest.mark.parametrize(
    "request_",
    [
        {"kind": "event-log", "type": 9, "data": b""},
        {"kind": "event-log", "type": 9, "data": "text", "log": True},
        {"kind": "event-log", "type": 0, "data": b"", "log": True},
        {"kind": "event-log", "type": True, "data": b"", "log": True},
        {"kind": "event-log", "type": 9, "data": bytes(4097), "log": True},
        {"kind": "event-log", "type": 9, "data": b"", "log": True, "more": 1},
        {"kind": "targets-changed", "type": 9},
        {"kind": "else"},
        [("kind", "targets-changed")],
    ],
)
def test_up_calls_that_are_not_well_formed(tmp_path, plugged, request_):
    assert adapters.told_by_adapter(request_) is None

    async def test(bench):
        bench.core.up_call(request_, "example")
        assert bench.events() == [109]

    over(tmp_path, test)
