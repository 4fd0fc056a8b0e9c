"""The start from an iSCSI boot firmware table: event 64, and a session to the target that the firmware booted from."""

from __future__ import annotations

from dataclasses import replace

from iscsi_initiator.boot.login import BootLogin, start
from iscsi_initiator.boot.table import BootTableError, decode
from iscsi_initiator.discovery.merging import Options
from iscsi_initiator.requests import Event
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.ipsec import Wish
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.logins import choose_isid, connect, inventory, secrets_of
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal


async def boot(core: Core, image: bytes) -> LiveSession:
    """Log in as a table says, to the first of its targets that answers. Raises Refused: INVALID_PARAMETER for a table that
    says no login, else how the login to the first one failed.
    """
    try:
        logins = start(decode(image), core.journal.tell_driver)
    except BootTableError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, f"the boot table: {error}") from error
    failures = []
    for login in logins:
        try:
            return await _log_in(core, login)
        except Refused as error:
            failures.append(error)
    raise failures[0]


async def _log_in(core: Core, login: BootLogin) -> LiveSession:
    local, name = core.instance(None), login.options.target_name or ""
    session_id, prefix, number = core.next_session(local.name)
    session = LiveSession(
        session_id=session_id,
        prefix=prefix,
        number=number,
        target_name=name,
        initiator=local.name,
        port=None,
        portal=Portal(address=login.options.portal.host, port=login.options.portal.port),
        options=Options(),
        report_to_pnp=True,
        isid=choose_isid(core, local, name, None),
        group_tag=None,
        node_name=login.initiator_name,
        ipsec=Wish(required=False, flags=0, key=None, initiator=local.name, port=None),
        booted=True,
    )

    def take(event: Event) -> None:
        core.took(session, event)

    options = replace(login.options, isid=session.isid)
    session.client = await connect(
        core, local.name, options, session.options, secrets_of(core, session.ipsec), take, login.initiator_name
    )
    core.hold(session)
    await inventory(core, session, ())
    return session
