"""Host bus adapters as plug-ins: what they refuse, and what they break (guide, Appendices B and D)."""

from __future__ import annotations

import re

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.clock import passed
from iscsi_conformance.service import HOST, ServiceBench, event_case, status_case
from iscsi_conformance.service.scripts import KeepingAdapter, ScriptedAdapter
from iscsi_conformance.verdict import require
from iscsi_initiator.discovery.adapters import AdapterTarget
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode

FLASH = "PLUGIN\\FLASH\\0000_0"
TARGETS = (AdapterTarget(PLAIN, (HOST,)),)


@status_case(StatusCode.NON_SPECIFIC_ERROR, events=[115])
async def nameless_failure(service: ServiceBench) -> None:
    """An adapter that fails without saying which way has the code for that, and event 115; once it works it is asked."""
    adapter = ScriptedAdapter(fails="the flash is busy")
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.gets(api.ListTargets(update=True), StatusCode.NON_SPECIFIC_ERROR)
    told = "non specific error (0xEFFF0001): adapter PLUGIN\\FLASH\\0000_0: the flash is busy"
    service.require_events((115, told, FLASH))
    adapter.fails = None
    await one.does(api.ListTargets(update=True))


@status_case(StatusCode.DRIVER_BUG, events=[115])
async def broken_contract(service: ServiceBench) -> None:
    """An adapter that gives something else than targets breaks its contract; with targets it keeps it."""
    adapter = ScriptedAdapter(gives=7)
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.gets(api.ListTargets(update=True), StatusCode.DRIVER_BUG)
    service.require_events((115, re.compile(r"driver bug \(0xEFFF0019\): .*something else than targets"), FLASH))
    adapter.gives = TARGETS
    await one.does(api.ListTargets(update=True))


@status_case(StatusCode.HBA_SECURITY_CACHE_NOT_SUPPORTED)
async def no_key_cache(service: ServiceBench) -> None:
    """An adapter without a key cache refuses a login with a key, and makes one without."""
    one = await service.start(plug_ins={"flash": ScriptedAdapter(gives=TARGETS, addresses=("127.0.0.1",)).made})
    await one.ask(api.ListTargets(update=True))
    keyed = api.LoginTarget(target_name=PLAIN, key=b"key")
    await one.gets(keyed, StatusCode.HBA_SECURITY_CACHE_NOT_SUPPORTED)
    await one.does(api.LoginTarget(target_name=PLAIN))


@status_case(StatusCode.HBA_SECURITY_CACHE_FULL, events=[110])
async def full_key_cache(service: ServiceBench) -> None:
    """An adapter whose key cache is full refuses a login with a key, with event 110; with room for it it takes the key."""
    adapter = KeepingAdapter(gives=TARGETS, addresses=("127.0.0.1",), slots=0)
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.ask(api.ListTargets(update=True))
    keyed = api.LoginTarget(target_name=PLAIN, key=b"key")
    await one.gets(keyed, StatusCode.HBA_SECURITY_CACHE_FULL)
    service.require_events((110, re.compile(r"hba security cache full \(0xEFFF002C\): .*[^?]")))
    adapter.slots = 1
    await one.does(keyed)
    require(adapter.keys == {HOST: b"key"}, service.about, "the adapter has the key of the portal")


@event_case(108, "no-initiator")
async def no_initiator(service: ServiceBench) -> None:
    """A plug-in that gives something else than an adapter is left out with event 108; one that gives an adapter is taken."""
    one = await service.start(plug_ins={"nothing": lambda *_: object(), "flash": ScriptedAdapter().made})
    initiators = (await one.ask(api.ListInitiators())).initiators
    require(initiators[1:] == (FLASH,), service.about, "the other plug-in is an initiator", seen=initiators)
    reason = "nothing: it does not answer as an iSCSI initiator: no addresses, isid or discover"
    service.require_events((108, "driver bug (0xEFFF0019)", reason))


@event_case(109, "malformed")
async def malformed_up_call(service: ServiceBench) -> None:
    """An up-call that is not well formed is told by event 109; one that is well formed has the adapter asked."""
    adapter = ScriptedAdapter()
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.go_through_start()
    adapter.gives = TARGETS
    adapter.host.up_call(b"\xff")
    adapter.host.up_call({"kind": "targets-changed"})
    await passed(1)
    targets = (await one.ask(api.ListTargets())).targets
    require(targets == (PLAIN,), service.about, "the well-formed up-call has the adapter asked", seen=targets)
    service.require_events((109,))


@event_case(115, "invalid-name")
async def invalid_name(service: ServiceBench) -> None:
    """A target of an adapter whose name is none is left out with event 115; the others are taken."""
    adapter = ScriptedAdapter(gives=(AdapterTarget("no name", (HOST,)), *TARGETS))
    one = await service.start(plug_ins={"flash": adapter.made})
    await one.does(api.ListTargets(update=True))
    await one.does(api.TargetInfo(target_name=PLAIN))
    service.require_events((115, re.compile(r".*no name.*[^?]"), FLASH))
