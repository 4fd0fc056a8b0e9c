"""IPsec as far as the service goes: keys, addresses and flags, over a back end that does as it is told, and over none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.initiator.service_bench import HOST, with_service

from iscsi_conformance.bundled import CHAP, PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.service.ipsec import IpsecFailure, Protection
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import IdType, LoginFlag, PresharedKey, SecurityFlag
from iscsi_protocol.history import Endpoint

ON = SecurityFlag.VALID | SecurityFlag.IPSEC_ENABLED
TUNNEL = ON | SecurityFlag.TUNNEL_MODE
REQUIRED = api.LoginOptions(login_flags=LoginFlag.REQUIRE_IPSEC)
ADDRESS = "127.0.0.1"
SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"


class Script:
    """A back end that does as it is told."""

    def __init__(self, *, starts: bool = True, refuses: bool = False, stalls: bool = False) -> None:
        self.starts = starts
        self.refuses = refuses
        self.stalls = stalls
        self.done: list[Any] = []

    def start(self) -> None:
        if not self.starts:
            raise IpsecFailure("no kernel support")

    async def configure(self, protection: Protection) -> None:
        if self.stalls:
            try:
                await asyncio.Event().wait()
            finally:
                self.done.append("given up")
        if self.refuses:
            raise IpsecFailure("no policy")
        self.done.append(protection)

    async def release(self, endpoint: Endpoint) -> None:
        self.done.append(endpoint)
        if self.refuses:
            raise IpsecFailure("no policy")


def with_script(folder, test, script=None, **options):
    async def run(bench):
        await bench.ask(api.AddTarget(target_name=PLAIN, portal=HOST))
        await test(bench)

    with_service(folder, run, ipsec=script or Script(), **options)


def test_the_key_of_a_login(tmp_path):
    script = Script()

    async def test(bench):
        session = await bench.log_in(security_flags=ON, key=b"of the call")
        await bench.ask(api.AddConnection(session_id=session.session_id))
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        endpoint = Endpoint(ADDRESS, 3260)
        wanted = Protection(endpoint=endpoint, flags=ON, key=b"of the call")
        assert script.done == [wanted, wanted, endpoint]
        assert "of the call" not in repr(script.done)
        assert bench.logged() == []

    with_script(tmp_path, test, script)


def test_what_is_set_for_a_portal_supersedes_the_login(tmp_path):
    script = Script()

    async def test(bench):
        await bench.ask(api.GroupKey(key=b"of the group", persist=True))
        await bench.ask(api.TunnelAddr(destination=ADDRESS, tunnel="192.0.2.77", persist=True))
        for key, initiator in ((b"of all", None), (b"old", SOFTWARE.lower()), (b"of this one", SOFTWARE)):
            await bench.ask(
                api.PSKey(id_type=1, id=ADDRESS, security_flags=TUNNEL, key=key, persist=True, initiator=initiator)
            )
        assert len(bench.core.store.state.preshared_keys) == 2
        await bench.log_in(key=b"of the call")
        (protection,) = script.done
        assert (protection.key, protection.flags, protection.tunnel) == (b"of this one", TUNNEL, "192.0.2.77")
        for secret in (b"of the group", b"of this one", b"192.0.2.77"):
            assert secret not in (tmp_path / "store" / "store.json").read_bytes()

    with_script(tmp_path, test, script)


def test_the_key_of_the_group_stands_in(tmp_path):
    script = Script()

    async def test(bench):
        asked = api.LoginTarget(target_name=PLAIN, options=REQUIRED)
        assert await bench.refused(asked) == StatusCode.TARGET_PRESHAREDKEY_UNAVAILABLE
        await bench.ask(api.GroupKey(key=b"of the group"))
        asked = api.LoginTarget(target_name=PLAIN, options=REQUIRED, security_flags=TUNNEL)
        assert await bench.refused(asked) == StatusCode.NO_TUNNEL_OUTER_MODE_ADDRESS
        await bench.ask(api.LoginTarget(target_name=PLAIN, options=REQUIRED))
        assert [each.key for each in script.done] == [b"of the group"]
        portal = api.AddTargetPortal(portal=HOST, security_flags=ON)
        assert (await bench.ask(portal)).status == 0
        assert len(script.done) == 3

    with_script(tmp_path, test, script)


def test_a_short_secret_will_do_within_ipsec(tmp_path):
    short = api.LoginOptions(auth_type=1, user_name="tester", password=b"short", login_flags=LoginFlag.REQUIRE_IPSEC)

    async def test(bench):
        await bench.ask(api.AddTarget(target_name=CHAP, portal=HOST))
        asked = api.LoginTarget(target_name=CHAP, options=short, key=b"key")
        assert await bench.refused(asked) == StatusCode.AUTHENTICATION_FAILURE

    with_script(tmp_path, test)


def test_a_back_end_that_refuses(tmp_path):
    async def test(bench):
        asked = api.LoginTarget(target_name=PLAIN, options=REQUIRED, key=b"key")
        assert await bench.refused(asked) == StatusCode.FAILED_TO_CONFIGURE_IPSEC
        (event,) = [each for each in bench.logged() if each.source == "MSiSCSI"]
        assert (event.record.id, event.inserts) == (117, ("no policy", ADDRESS))

    with_script(tmp_path, test, Script(refuses=True))


def test_a_back_end_that_does_not_let_go(tmp_path):
    script = Script()

    async def test(bench):
        session = await bench.log_in(options=REQUIRED, key=b"key")
        script.refuses = True
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        assert script.done[-1] == Endpoint(ADDRESS, 3260)

    with_script(tmp_path, test, script)


def test_a_back_end_that_says_nothing_is_given_up(tmp_path):
    script = Script(stalls=True)

    async def test(bench):
        asked = api.LoginTarget(target_name=PLAIN, options=REQUIRED, key=b"key")
        assert await bench.refused(asked) == StatusCode.SERVICE_DID_NOT_RESPOND
        assert bench.events("iScsiPrt") == [52]
        await asyncio.sleep(0)
        assert script.done == ["given up"]

    with_script(tmp_path, test, script)


def test_a_back_end_that_does_not_start(tmp_path):
    async def test(bench):
        assert bench.events() == [105]

    with_script(tmp_path, test, Script(starts=False))


def test_keys_and_addresses(tmp_path):
    async def test(bench):
        get = api.GetPSKey
        assert await bench.refused(get(id_type=2, id="host.example.org")) == StatusCode.NO_AUTH_INFO_AVAILABLE
        await bench.ask(api.PSKey(id_type=2, id="host.example.org", security_flags=ON, key=b"key"))
        found = await bench.ask(get(id_type=2, id="HOST.example.org"))
        assert (found.id_type, found.security_flags) == (2, ON)
        asked: Any = api.PSKey(id_type=3, id="user@example.org", key=b"key")
        assert await bench.refused(asked) == StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED
        assert await bench.refused(get(id_type=3, id="x")) == StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED
        tunnel = api.TunnelAddr(destination=ADDRESS, tunnel="192.0.2.77")
        await bench.ask(tunnel)
        assert await bench.refused(tunnel) == StatusCode.TARGET_ADDRESS_ALREADY_EXISTS
        asked = api.TunnelAddr(destination=ADDRESS, tunnel="192.0.2.77", initiator="nobody")
        assert await bench.refused(asked) == StatusCode.INITIATOR_INSTANCE_NOT_FOUND

    with_script(tmp_path, test)


def test_a_stored_key_that_does_not_open(tmp_path):
    broken = PresharedKey(
        id_type=IdType.IPV4_ADDRESS, id=ADDRESS, key=Sealed(nonce=bytes(12), sealed=bytes(20)), security_flags=ON
    )

    async def test(bench):
        bench.core.store.seal(b"anything", "so that there is a key")
        bench.core.change(preshared_keys=(broken,))
        assert await bench.refused(api.GetPSKey(id_type=1, id=ADDRESS)) == StatusCode.CACHE_CORRUPTED
        assert await bench.refused(api.LoginTarget(target_name=PLAIN)) == StatusCode.CACHE_CORRUPTED

    with_script(tmp_path, test)


@pytest.mark.parametrize(
    "asked",
    [
        api.GroupKey(key=b"key"),
        api.PSKey(id_type=1, id=ADDRESS, key=b"key"),
        api.TunnelAddr(destination=ADDRESS, tunnel="192.0.2.77"),
    ],
)
def test_without_a_back_end(tmp_path, asked):
    async def test(bench):
        assert await bench.refused(asked) == StatusCode.IPSEC_NOT_SUPPORTED_ON_OS
        assert bench.events() == [105]

    with_service(tmp_path, test)


def test_an_ike_identity_of_the_wrong_size():
    with pytest.raises(Exception, match="0xEFFF0031"):
        api.PSKey(id_type=1, id="192.0.2", key=b"key")
