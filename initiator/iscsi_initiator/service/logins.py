"""Logging in: from what a call, discovery and the store say to a session (guide, "How targets are organized", LoginTarget).

What is wrong is told by the code that Appendix D has for it, in the order in which this module looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from iscsi_initiator.client import Client
from iscsi_initiator.client.errors import ClientError, SessionFailed
from iscsi_initiator.discovery import adapters
from iscsi_initiator.discovery.instance import STATIC, Instance, Kind
from iscsi_initiator.discovery.merging import (
    Options,
    Secret,
    StoredSecret,
    merge_mappings,
    merge_options,
    merge_portals,
    of_call,
    of_instance,
    of_store,
)
from iscsi_initiator.failures import refusal_of
from iscsi_initiator.requests import Event, SessionUp
from iscsi_initiator.service import api
from iscsi_initiator.service.devices import check_free, check_limits, describe, is_disk, map_luns
from iscsi_initiator.service.ipsec import IpsecFailure, Wish, is_wanted, protection
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.ports import LocalInstance
from iscsi_initiator.service.resolving import resolve
from iscsi_initiator.service.secrets import SecretService
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, ChapOptions, SessionOptions
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import SecretError
from iscsi_initiator.store.state import (
    AuthType,
    LoginFlag,
    LunMapping,
    PersistentLogin,
    Portal,
    Secrets,
    TargetPortal,
)
from iscsi_initiator.tracing.session import SessionTrace
from iscsi_protocol.chap import Credentials
from iscsi_protocol.history import Endpoint
from iscsi_protocol.identity import Isid
from iscsi_protocol.negotiation.values import parse_tag

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A login that is asked for, by a call or by the list of persistent logins. known: the target has to be known to the
    service even where the portal is said.
    """

    target_name: str
    report_to_pnp: bool
    portal: Portal | None
    initiator: str | None
    port: int | None
    security_flags: int
    options: Options
    key: Secret | None
    mappings: tuple[LunMapping, ...]
    known: bool = True


def of_request(request: api.LoginTarget) -> Wanted:
    """What a call asks for."""
    return Wanted(
        target_name=request.target_name,
        report_to_pnp=request.report_to_pnp,
        portal=request.portal,
        initiator=request.initiator,
        port=request.initiator_port,
        security_flags=request.security_flags,
        options=of_call(request.options),
        key=request.key,
        mappings=request.mappings,
    )


def of_record(login: PersistentLogin) -> Wanted:
    """What is asked for at each start."""
    return Wanted(
        target_name=login.target_name,
        report_to_pnp=login.report_to_pnp,
        portal=login.portal,
        initiator=login.initiator,
        port=login.initiator_port,
        security_flags=login.security_flags,
        options=of_store(login.options, login.place),
        key=None if login.key is None else StoredSecret(login.key_place, login.key),
        mappings=login.mappings,
        known=login.portal is None,
    )


async def log_in(core: Core, wanted: Wanted) -> LiveSession:
    """Make a session. Raises Refused."""
    core.hooks.check_evaluation(core.journal)
    catalogue, name = core.discovery.catalogue, wanted.target_name
    there = catalogue.known(name) if wanted.known else catalogue.instances(name)
    found = chosen(core, wanted, there or [Instance(source=STATIC, name=name)])
    configured = catalogue.static(name)
    options = merge_options(wanted.options, of_instance(found), of_instance(configured))
    preferred = found.source.initiator if found.source.kind in (Kind.HBA, Kind.SEND_TARGETS) else None
    local = core.instance(wanted.initiator, preferred=preferred)
    check_unique(core, name, options)
    portals = merge_portals(wanted.portal, found)
    if not portals:
        raise Refused(StatusCode.NO_PORTAL_SPECIFIED, f"no portal of {name} is known")
    if wanted.key is not None and local.adapter is not None:
        adapters.cache_key(local.name, local.adapter, portals[0], opened(core, wanted.key), core.journal.tell)
    mappings = merge_mappings(wanted.mappings, configured)
    check_limits(mappings)
    check_free(mappings, core.mappings())
    isid = choose_isid(core, local, name, found.group_of(portals[0]))
    pending = (name, isid)
    core.logging_in.append(pending)
    try:
        session = await _first_of(core, wanted, found, options, local, portals, isid)
        core.hold(session)
    finally:
        core.logging_in.remove(pending)
    try:
        await inventory(core, session, mappings)
    except Refused:
        core.ended(session)
        await session.logout()
        raise
    return session


def chosen(core: Core, wanted: Wanted, instances: Sequence[Instance]) -> Instance:
    """The instance to log in by: the first, or the first that was found through the initiator that is asked for."""
    if wanted.initiator is not None:
        name = core.instance(wanted.initiator).name
        for each in instances:
            if each.source.initiator is not None and each.source.initiator.casefold() == name.casefold():
                return each
    return instances[0]


def check_unique(core: Core, target_name: str, options: Options) -> None:
    """Raises Refused TARGET_ALREADY_LOGGED_IN for a second login without the multipath flag."""
    there = core.sessions_to(target_name) or core.logins_to(target_name)
    if there and not options.login_flags & LoginFlag.MULTIPATH_ENABLED:
        raise Refused(StatusCode.TARGET_ALREADY_LOGGED_IN, f"a session to {target_name} exists or is being made")


def refuse_without_ipsec(core: Core) -> None:
    """Raises Refused IPSEC_NOT_SUPPORTED_ON_OS where the service has no back end; event 105 is logged at the first time."""
    if core.ipsec is None:
        if not core.missed_ipsec:
            core.missed_ipsec = True
            core.journal.tell(105, "the service has no IPsec back end")
        raise Refused(StatusCode.IPSEC_NOT_SUPPORTED_ON_OS, "this service has no IPsec back end")


def check_ipsec(core: Core, wish: Wish, endpoint: Endpoint) -> bool:
    """Whether connections to a portal are to be protected. Raises Refused where they are, and cannot be."""
    if not is_wanted(core.store.state, wish, endpoint.host):
        return False
    try:
        refuse_without_ipsec(core)
    except Refused as error:
        core.journal.tell(117, str(error), endpoint.host)
        raise
    protection(core.store.state, wish, endpoint, partial(opened, core))
    return True


async def protect(core: Core, wish: Wish, endpoint: Endpoint) -> None:
    """Have the back end protect connections to a portal. Raises Refused: FAILED_TO_CONFIGURE_IPSEC, with event 117 logged,
    and why it cannot be tried.
    """
    refuse_without_ipsec(core)
    wanted = protection(core.store.state, wish, endpoint, partial(opened, core))
    try:
        if core.ipsec is not None:
            await core.ipsec.configure(wanted)
    except IpsecFailure as error:
        core.journal.tell(117, str(error), endpoint.host)
        raise Refused(StatusCode.FAILED_TO_CONFIGURE_IPSEC, str(error)) from error


def _wish(options: Options, flags: int, key: Secret | None, local: LocalInstance, port: int | None) -> Wish:
    required = bool(options.login_flags & LoginFlag.REQUIRE_IPSEC)
    return Wish(required=required, flags=flags, key=key, initiator=local.name, port=port)


def choose_isid(core: Core, local: LocalInstance, target_name: str, tag: int | None) -> bytes:
    """An ISID that no live session of this node to the target has. Raises Refused SESSION_ALREADY_EXISTS where the instance
    has but one, and it is in use with that portal group (RFC 7143, 4.4.3).
    """
    live = core.sessions_to(target_name)
    fixed = local.fixed_isid
    if fixed is not None:
        for each in live:
            if each.isid == fixed and (tag is None or each.group_tag in (None, tag)):
                raise Refused(
                    StatusCode.SESSION_ALREADY_EXISTS, f"the ISID {fixed.hex()} is in use by {each.session_id}"
                )
        if fixed in core.logins_to(target_name):
            raise Refused(StatusCode.SESSION_ALREADY_EXISTS, f"the ISID {fixed.hex()} is in use by another login")
        return fixed
    base, taken = Isid(local.record.isid), {each.isid for each in live} | set(core.logins_to(target_name))
    qualifier = next(
        number
        for number in range(1 << 16)
        if bytes(Isid.from_random(base.authority, (base.qualifier + number) & 0xFFFF)) not in taken
    )
    return bytes(Isid.from_random(base.authority, (base.qualifier + qualifier) & 0xFFFF))


async def _first_of(
    core: Core,
    wanted: Wanted,
    found: Instance,
    options: Options,
    local: LocalInstance,
    portals: Sequence[Portal],
    isid: bytes,
) -> LiveSession:
    """Log in at the first portal that answers."""
    failure: Refused | None = None
    for portal in portals:
        session_id, prefix, number = core.next_session(local.name)
        session = LiveSession(
            session_id=session_id,
            prefix=prefix,
            number=number,
            target_name=wanted.target_name,
            initiator=local.name,
            port=wanted.port,
            portal=portal,
            options=options,
            report_to_pnp=wanted.report_to_pnp,
            isid=isid,
            group_tag=found.group_of(portal),
            node_name=core.node_name,
            ipsec=_wish(options, wanted.security_flags, wanted.key, local, wanted.port),
        )
        try:
            await _log_in_at(core, session, local, [each for each in portals if each != portal])
        except Refused as error:
            failure = failure or error
            if error.status is not StatusCode.CONNECTION_FAILED:
                break
        else:
            return session
    raise failure or Refused(StatusCode.NO_PORTAL_SPECIFIED)


async def _log_in_at(core: Core, session: LiveSession, local: LocalInstance, others: Sequence[Portal]) -> None:
    endpoint = await resolve(session.portal, core.resolver)
    options = session.options
    advertised = []
    for each in others:
        with suppress(Refused):
            advertised.append(await resolve(each, core.resolver))

    def take(event: Event) -> None:
        if isinstance(event, SessionUp) and event.target_portal_group_tag is not None:
            session.group_tag = parse_tag(event.target_portal_group_tag)
        core.took(session, event)

    wish = session.ipsec
    service = secrets_of(core, wish)
    session.client = await connect(
        core,
        local.name,
        SessionOptions(
            portal=endpoint,
            target_name=session.target_name,
            isid=session.isid,
            chap=chap(core, options, session.target_name, service),
            source=local.source(session.port, endpoint.host),
            advertised=tuple(advertised),
            ipsec=check_ipsec(core, wish, endpoint),
            portal_named=not advertised,
            multipath=bool(options.login_flags & LoginFlag.MULTIPATH_ENABLED),
            header_digest=REQUIRE_DIGEST if options.header_digest else NO_DIGEST,
            data_digest=REQUIRE_DIGEST if options.data_digest else NO_DIGEST,
        ),
        options,
        service,
        take,
    )


def secrets_of(core: Core, wish: Wish) -> SecretService:
    """What answers the up-calls of a session."""
    return SecretService(core.store, partial(protect, core, wish), core.ipsec)


async def connect(
    core: Core,
    instance: str,
    session: SessionOptions,
    options: Options,
    service: SecretService,
    take: Callable[[Event], None],
    initiator_name: str | None = None,
) -> Client:
    """A client that is logged in. instance: of the initiator; initiator_name: instead of the node's. Raises Refused."""
    changes: dict[str, Any] = {
        field: value
        for field, value in (
            ("max_connections", options.maximum_connections),
            ("default_time2wait", options.default_time2wait),
            ("default_time2retain", options.default_time2retain),
            ("initiator_name", initiator_name),
        )
        if value is not None
    }
    name = f"{session.target_name or 'discovery'} at {session.portal}, ISID {session.isid.hex()}"
    trace = SessionTrace(core.teller, name)
    try:
        client = await Client.connect(
            session.portal,
            settings=core.open_settings(**changes),
            options=session,
            connector=core.connectors(),
            event_log=core.event_log,
            on_event=take,
            service=service,
            counters=core.counted(instance),
            trace=trace,
        )
    except SessionFailed as error:
        service.give_up()
        if service.failure is not None:
            raise service.failure from error
        raise refusal_of(error) from error
    trace.agreed(client.parameters)
    return client


async def connect_discovery(core: Core, portal: TargetPortal, options: Options | None = None) -> Client:
    """A discovery session with a portal. options: instead of those that the record has. Raises Refused."""
    options = of_store(portal.options, portal.place) if options is None else options
    local = core.instance(portal.initiator)
    endpoint = await resolve(portal.portal, core.resolver)
    wish = _wish(options, portal.security_flags, None, local, portal.initiator_port)
    service = secrets_of(core, wish)
    session = SessionOptions(
        portal=endpoint,
        isid=local.fixed_isid or bytes(Isid.draw(core.random_bytes)),
        chap=chap(core, options, None, service),
        source=local.source(portal.initiator_port, endpoint.host),
        header_digest=REQUIRE_DIGEST if options.header_digest else NO_DIGEST,
        data_digest=REQUIRE_DIGEST if options.data_digest else NO_DIGEST,
        recover=False,
        ipsec=check_ipsec(core, wish, endpoint),
    )

    def take(event: Event) -> None:
        core.failed(event, local.name, "")

    return await connect(core, local.name, session, options, service, take)


def chap(core: Core, options: Options, target_name: str | None, service: SecretService) -> ChapOptions | None:
    """How both sides prove themselves. The user defaults to the node's name, the secret to the one that is kept for the
    target. Raises Refused: TARGET_AUTHINFO_UNAVAILABLE without a secret, CACHE_CORRUPTED where one cannot be got at.
    """
    asked = options.authentication
    if asked.type is AuthType.NONE:
        return None
    secrets = core.store.state.secrets
    secret: Secret | None = asked.secret
    if secret is None and target_name is not None and target_name in secrets.targets:
        secret = StoredSecret(Secrets.target_place(target_name), secrets.targets[target_name])
    if secret is None:
        raise Refused(
            StatusCode.TARGET_AUTHINFO_UNAVAILABLE, "CHAP is asked for, and there is no secret for the target"
        )
    mutual: Secret | None = None
    if asked.type is AuthType.MUTUAL_CHAP:
        # An initiator without a secret has one of no bytes, which the driver finds too short (event 36).
        mutual = b"" if secrets.initiator is None else StoredSecret(Secrets.initiator_place, secrets.initiator)
    try:
        return ChapOptions(
            credentials=Credentials(name=asked.user_name or core.node_name, secret=service.handed(secret)),
            target_secret=None if mutual is None else service.handed(mutual),
            sealed=True,
        )
    except SecretError as error:
        raise Refused(StatusCode.CACHE_CORRUPTED, str(error)) from error


async def inventory(core: Core, session: LiveSession, wanted: Sequence[LunMapping]) -> None:
    """Find the LUNs of a session, and make devices of them where they are reported to the system. A target that does not
    list them has a session without devices. Raises Refused: TARGET_MAPPING_UNAVAILABLE, REQUEST_NOT_SUPPORTED where a disk
    would have several paths of which one is a session of several connections.
    """
    if not session.report_to_pnp and not wanted:
        return
    try:
        luns = await session.report_luns()
    except Refused:
        if wanted:
            raise
        return
    others = [mapping for each in core.sessions.values() if each is not session for mapping in each.mappings]
    check_free(wanted, others)
    session.mappings = map_luns(luns, wanted, others)
    if not session.report_to_pnp:
        return
    for mapping in session.mappings:
        try:
            data = await session.inquiry(mapping.target_lun)
        except (Refused, ClientError):
            continue
        key = await core.paths.key(session, mapping.target_lun, data) if is_disk(data) else None
        taken = {device.number for _, device in core.devices()} | core.paths.numbers
        device = describe(data, session.target_name, mapping, taken, core.paths.number(key))
        if device is not None:
            session.devices.append(device)
        if device is not None and key is not None:
            core.paths.join(session, device, key)


def same_login(core: Core, session: LiveSession, options: Options) -> bool:
    """Whether a connection with these options logs in as its session did: what is said has to be what the session has."""
    has = session.options
    for name in ("header_digest", "data_digest"):
        said = getattr(options, name)
        if said is not None and said != bool(getattr(has, name)):
            return False
    for name in ("maximum_connections", "default_time2wait", "default_time2retain"):
        if getattr(options, name) not in (None, getattr(has, name)):
            return False
    one, other = options.authentication, has.authentication
    if one.type is AuthType.NONE:
        return True
    if (one.type, one.user_name or core.node_name) != (other.type, other.user_name or core.node_name):
        return False
    return one.secret is None or (other.secret is not None and opened(core, one.secret) == opened(core, other.secret))


def opened(core: Core, secret: Secret) -> bytes:
    """A secret in the clear. Raises Refused CACHE_CORRUPTED."""
    if isinstance(secret, bytes):
        return secret
    try:
        return core.store.unseal(secret.sealed, secret.place)
    except SecretError as error:
        raise Refused(StatusCode.CACHE_CORRUPTED, str(error)) from error
