"""Logins that are refused on this side, before or while the target hears of them (guide, Appendix D)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iscsi_conformance.bundled import CHAP, MUTUAL, PLAIN
from iscsi_conformance.service import HOST, ServiceBench, of_row, rows, status_case
from iscsi_conformance.service.scripts import ScriptedAdapter
from iscsi_initiator.discovery.adapters import AdapterTarget
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag, LunMapping, Portal, TargetFlag

MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
GIVEN = api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-1")
SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"


def mapping(lun: int = 0, bus: int = 0, target: int = 0, os_lun: int = 0) -> LunMapping:
    """Where a LUN is to appear."""
    return LunMapping(target_lun=lun, os_bus=bus, os_target=target, os_lun=os_lun)


async def _differs(service: ServiceBench, code: StatusCode, bad: Mapping[str, Any], good: Mapping[str, Any]) -> None:
    """A login with these fields is refused, one with those is made."""
    one = await service.start()
    await one.discover()
    await one.gets(api.LoginTarget(target_name=PLAIN, **bad), code)
    await one.does(api.LoginTarget(target_name=PLAIN, **good))


_FIELDS: tuple[tuple[StatusCode, str, str, Mapping[str, Any], Mapping[str, Any]], ...] = (
    (
        StatusCode.INITIATOR_INSTANCE_NOT_FOUND,
        "",
        "An initiator instance that is not there is refused, the one that is there is taken.",
        {"initiator": "ROOT\\ISCSIPRT\\0009_0"},
        {"initiator": SOFTWARE},
    ),
    (
        StatusCode.INITIATOR_NODE_NOT_FOUND,
        "",
        "A node name that is not the initiator's is refused, its own is taken.",
        {"initiator": "iqn.2026-01.org.example:else"},
        {"initiator": "iqn.1991-05.com.microsoft:bench.example.org"},
    ),
    (
        StatusCode.INVALID_PORT_NUMBER,
        "",
        "A port number that the instance does not have is refused, one that it has is taken.",
        {"initiator": SOFTWARE, "initiator_port": 3},
        {"initiator": SOFTWARE, "initiator_port": 0},
    ),
    (
        StatusCode.TARGET_MAPPING_UNAVAILABLE,
        "",
        "A mapping of a LUN that the target does not report is refused, one of a LUN that it reports is made.",
        {"mappings": (mapping(lun=9 << 48),)},
        {"mappings": (mapping(lun=1 << 48),)},
    ),
    (
        StatusCode.TARGET_MAPPING_OUT_OF_RANGE,
        "",
        "A bus number above the adapter's last is refused, the last one is taken.",
        {"mappings": (mapping(bus=8),)},
        {"mappings": (mapping(bus=7),)},
    ),
    (
        StatusCode.TARGET_MAPPING_OUT_OF_RANGE,
        "lun",
        "A LUN above the adapter's last is refused, the last one is taken.",
        {"mappings": (mapping(os_lun=256),)},
        {"mappings": (mapping(os_lun=254),)},
    ),
    (
        StatusCode.INVALID_TARGET_ID,
        "reserved",
        "The target number that the adapter has for itself is refused, the one below it is taken.",
        {"mappings": (mapping(target=255),)},
        {"mappings": (mapping(target=254),)},
    ),
)

rows(
    __name__,
    (
        (
            status_case(code, variant),
            of_row(_differs, f"status_{code.name.lower()}_{variant}".rstrip("_"), says, code, bad, good),
        )
        for code, variant, says, bad, good in _FIELDS
    ),
)


@status_case(StatusCode.TARGET_NOT_FOUND)
async def unknown_target(service: ServiceBench) -> None:
    """A target that the service does not know is refused, until it is known."""
    one = await service.start()
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.TARGET_NOT_FOUND)
    await one.discover()
    await one.does(api.LoginTarget(target_name=PLAIN))


@status_case(StatusCode.TARGET_NOT_FOUND, "hidden")
async def hidden_target(service: ServiceBench) -> None:
    """A static target that is hidden is not known; discovery makes it so."""
    one = await service.start()
    await one.knows(target_flags=TargetFlag.HIDE_STATIC_TARGET)
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.TARGET_NOT_FOUND)
    await one.discover()
    await one.does(api.LoginTarget(target_name=PLAIN))


@status_case(StatusCode.NO_PORTAL_SPECIFIED)
async def no_portal(service: ServiceBench) -> None:
    """A target without any portal is refused; with a portal in the call it is logged in to."""
    one = await service.start()
    await one.ask(api.AddTarget(target_name=PLAIN))
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.NO_PORTAL_SPECIFIED)
    await one.does(api.LoginTarget(target_name=PLAIN, portal=HOST))


@status_case(StatusCode.ADDRESS_TYPE_NOT_SUPPORTED)
async def address_type(service: ServiceBench) -> None:
    """An IPv6 portal is nothing for an initiator with an IPv4 address alone; an IPv4 one is."""
    one = await service.start(addresses=("127.0.0.1",))
    await one.ask(api.AddTarget(target_name=PLAIN))
    asked = api.LoginTarget(target_name=PLAIN, portal=Portal(address="::1"))
    await one.gets(asked, StatusCode.ADDRESS_TYPE_NOT_SUPPORTED)
    await one.does(api.LoginTarget(target_name=PLAIN, portal=HOST))


@status_case(StatusCode.TARGET_AUTHINFO_UNAVAILABLE)
async def no_secret(service: ServiceBench) -> None:
    """CHAP without a secret for the target is refused, with one it is done."""
    one = await service.start()
    await one.discover()
    asked = api.LoginOptions(auth_type=1, user_name="tester")
    await one.gets(api.LoginTarget(target_name=CHAP, options=asked), StatusCode.TARGET_AUTHINFO_UNAVAILABLE)
    await one.does(api.LoginTarget(target_name=CHAP, options=GIVEN))


@status_case(StatusCode.TARGET_AUTHINFO_UNAVAILABLE, "not-offered")
async def chap_not_offered(service: ServiceBench) -> None:
    """A target that wants CHAP where it was not offered has the code of a missing secret."""
    one = await service.start()
    await one.discover()
    await one.gets(api.LoginTarget(target_name=CHAP), StatusCode.TARGET_AUTHINFO_UNAVAILABLE)
    await one.does(api.LoginTarget(target_name=CHAP, options=GIVEN))


@status_case(StatusCode.INVALID_TARGET_CHAP_SECRET)
async def short_target_secret(service: ServiceBench) -> None:
    """A target's secret of 11 bytes is refused without IPsec; one of 12 is used."""
    one = await service.start()
    await one.discover()
    short, enough = (
        api.LoginOptions(auth_type=1, user_name="tester", password=secret)
        for secret in (b"eleven byte", b"one-way-secret-1")
    )
    await one.gets(api.LoginTarget(target_name=CHAP, options=short), StatusCode.INVALID_TARGET_CHAP_SECRET)
    await one.does(api.LoginTarget(target_name=CHAP, options=enough))


@status_case(StatusCode.INVALID_INITIATOR_CHAP_SECRET)
async def short_initiator_secret(service: ServiceBench) -> None:
    """Mutual CHAP with an initiator's secret of 11 bytes is refused; with the right one it is done."""
    both = api.LoginOptions(auth_type=2, user_name="tester", password=b"one-way-secret-1")
    one = await service.start()
    await one.discover()
    await one.ask(api.CHAPSecret(secret=b"eleven byte"))
    await one.gets(api.LoginTarget(target_name=MUTUAL, options=both), StatusCode.INVALID_INITIATOR_CHAP_SECRET)
    await one.ask(api.CHAPSecret(secret=b"mutual-secret-22"))
    await one.does(api.LoginTarget(target_name=MUTUAL, options=both))


@status_case(StatusCode.SESSION_ALREADY_EXISTS)
async def isid_in_use(service: ServiceBench) -> None:
    """An instance with one ISID has one session with a portal group; another instance makes a second one."""
    target = AdapterTarget(PLAIN, (HOST,))
    adapter = ScriptedAdapter(gives=[target], addresses=("127.0.0.1",), isid=bytes.fromhex("00023d000001"))
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.ask(api.ListTargets(update=True))
    await one.log_in(initiator="PLUGIN\\FLASH\\0000_0")
    await one.gets(api.LoginTarget(target_name=PLAIN, options=MULTIPATH), StatusCode.SESSION_ALREADY_EXISTS)
    await one.does(api.LoginTarget(target_name=PLAIN, options=MULTIPATH, initiator=SOFTWARE, portal=HOST))
