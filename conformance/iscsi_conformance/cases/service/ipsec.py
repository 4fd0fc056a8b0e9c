"""IPsec as far as the service goes: keys, addresses, a back end that does as told, and none (guide, Appendices B and D)."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import Running, ServiceBench, event_case, raw, status_case
from iscsi_conformance.service.scripts import ScriptedIpsec
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag, SecurityFlag

ON = SecurityFlag.VALID | SecurityFlag.IPSEC_ENABLED
TUNNEL = ON | SecurityFlag.TUNNEL_MODE
REQUIRED = api.LoginOptions(login_flags=LoginFlag.REQUIRE_IPSEC)
LOGIN = api.LoginTarget(target_name=PLAIN, options=REQUIRED, key=b"key")
ADDRESS = "127.0.0.1"
OUTER = "192.0.2.77"
WITHOUT = "ipsec not supported on os (0xEFFF0046): this service has no IPsec back end"


async def _over(service: ServiceBench, script: ScriptedIpsec | None = None, **setting: Any) -> Running:
    """A service over a back end, which knows the target."""
    one = await service.start(ipsec=script or ScriptedIpsec(), **setting)
    await one.knows()
    return one


@status_case(StatusCode.TARGET_PRESHAREDKEY_UNAVAILABLE)
async def no_key(service: ServiceBench) -> None:
    """IPsec that is asked for without any key for the portal is refused; with the group's key it is set up."""
    one = await _over(service)
    asked = api.LoginTarget(target_name=PLAIN, options=REQUIRED)
    await one.gets(asked, StatusCode.TARGET_PRESHAREDKEY_UNAVAILABLE)
    await one.ask(api.GroupKey(key=b"of the group"))
    await one.does(asked)


@status_case(StatusCode.NO_TUNNEL_OUTER_MODE_ADDRESS)
async def no_tunnel_address(service: ServiceBench) -> None:
    """Tunnel mode without an outer address is refused; once one is set it is set up."""
    one = await _over(service)
    asked = api.LoginTarget(target_name=PLAIN, security_flags=TUNNEL, key=b"key")
    await one.gets(asked, StatusCode.NO_TUNNEL_OUTER_MODE_ADDRESS)
    await one.ask(api.TunnelAddr(destination=ADDRESS, tunnel=OUTER))
    await one.does(asked)


@status_case(StatusCode.FAILED_TO_CONFIGURE_IPSEC, events=[117])
async def refused(service: ServiceBench) -> None:
    """A back end that refuses has its code, and event 117 says why and for whom; one that does it protects the login."""
    script = ScriptedIpsec(refuses=True)
    one = await _over(service, script)
    await one.gets(LOGIN, StatusCode.FAILED_TO_CONFIGURE_IPSEC)
    service.require_events((117, "no policy", ADDRESS))
    script.refuses = False
    await one.does(LOGIN)


@status_case(StatusCode.SERVICE_DID_NOT_RESPOND)
async def silent(service: ServiceBench) -> None:
    """A back end that never answers ends the login with its code, and event 52 of the driver; one that answers does not."""
    script = ScriptedIpsec(stalls=True)
    one = await _over(service, script)
    await one.gets(LOGIN, StatusCode.SERVICE_DID_NOT_RESPOND)
    script.stalls = False
    await one.does(LOGIN)


@status_case(StatusCode.IPSEC_NOT_SUPPORTED_ON_OS, events=[105, 117])
async def without(service: ServiceBench) -> None:
    """Without a back end a login that requires IPsec is refused, with events 105 and 117; one without IPsec is made."""
    one = await service.start()
    await one.knows()
    await one.gets(LOGIN, StatusCode.IPSEC_NOT_SUPPORTED_ON_OS)
    service.require_events((105, "the service has no IPsec back end"), (117, WITHOUT, ADDRESS))
    await one.does(api.LoginTarget(target_name=PLAIN))


@event_case(105, "does-not-start")
async def does_not_start(service: ServiceBench) -> None:
    """A back end that does not get ready is told by event 105 when the service starts; one that does is not."""
    await _over(service, ScriptedIpsec(starts=False))
    await service.start("other", ipsec=ScriptedIpsec())
    service.require_events((105, "no kernel support"))


@status_case(StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED)
async def identity_type(service: ServiceBench) -> None:
    """An IKE identity of a type other than 1 and 2 is refused; one of type 2 is taken."""
    one = await _over(service)
    asked = api.PSKey(id_type=3, id="user@example.org", key=b"key")
    await one.gets(asked, StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED)
    await one.does(api.PSKey(id_type=2, id="host.example.org", key=b"key"))


@status_case(StatusCode.IKE_ID_PAYLOAD_INCORRECT_SIZE)
async def identity_size(service: ServiceBench) -> None:
    """An IKE identity of type 1 that is not four bytes is refused; one of four bytes is taken."""
    one = await _over(service)
    bad, good = (raw("PSKey", id_type=1, id=identity, key=b"key") for identity in ("192.0.2", "192.0.2.1"))
    await one.gets(bad, StatusCode.IKE_ID_PAYLOAD_INCORRECT_SIZE)
    await one.does(good)


@status_case(StatusCode.TARGET_ADDRESS_ALREADY_EXISTS)
async def second_tunnel(service: ServiceBench) -> None:
    """A destination has one tunnel address: a second one is refused, that of another destination is taken."""
    one = await _over(service)
    asked = api.TunnelAddr(destination=ADDRESS, tunnel=OUTER)
    await one.ask(asked)
    await one.gets(asked, StatusCode.TARGET_ADDRESS_ALREADY_EXISTS)
    await one.does(api.TunnelAddr(destination="192.0.2.5", tunnel=OUTER))


@status_case(StatusCode.NO_AUTH_INFO_AVAILABLE)
async def no_information(service: ServiceBench) -> None:
    """What is known of an IKE identity cannot be told where nothing is set; once a key is set it is."""
    one = await _over(service)
    asked = api.GetPSKey(id_type=2, id="host.example.org")
    await one.gets(asked, StatusCode.NO_AUTH_INFO_AVAILABLE)
    await one.ask(api.PSKey(id_type=2, id="host.example.org", security_flags=ON, key=b"key"))
    await one.does(asked)
