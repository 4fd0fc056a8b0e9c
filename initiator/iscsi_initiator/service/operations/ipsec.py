"""Operations about what IPsec needs (guide, Appendix C: IPSEC Commands)."""

from __future__ import annotations

import msgspec

from iscsi_initiator.discovery.merging import StoredSecret
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.ipsec import preshared_key
from iscsi_initiator.service.logins import opened, refuse_without_ipsec
from iscsi_initiator.service.operations.records import seal
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Sealed
from iscsi_initiator.store.state import GroupKey, IdType, PresharedKey, TunnelAddress

_TO_COME = Sealed(nonce=bytes(12), sealed=bytes(16))
"""Stands for a secret while the record is made that tells what it is to be sealed for."""


def _sealed(core: Core, secret: bytes, place: str) -> Sealed:
    sealed = seal(core, secret, place)
    if sealed is None:
        raise TypeError("a secret that is none")
    return sealed


def _check_type(id_type: int) -> IdType:
    try:
        return IdType(id_type)
    except ValueError as error:
        reason = f"an IKE identity is an IPv4 address (1) or a domain name (2), not of type {id_type}"
        raise Refused(StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED, reason) from error


def _check_initiator(core: Core, name: str | None) -> str | None:
    return None if name is None else core.instance(name).name


async def tunnel_addr(core: Core, request: api.TunnelAddr) -> api.Answer:
    """Set an outer address. Raises Refused: IPSEC_NOT_SUPPORTED_ON_OS, TARGET_ADDRESS_ALREADY_EXISTS."""
    refuse_without_ipsec(core)
    initiator = _check_initiator(core, request.initiator)
    record = TunnelAddress(
        destination=request.destination,
        tunnel=_TO_COME,
        initiator=initiator,
        initiator_port=request.initiator_port,
        persist=request.persist,
    )
    known = core.store.state.tunnel_addresses
    if any(each.place == record.place for each in known):
        raise Refused(StatusCode.TARGET_ADDRESS_ALREADY_EXISTS, f"{request.destination} has a tunnel address")
    tunnel = _sealed(core, request.tunnel.encode(), record.place)
    core.keep(tunnel_addresses=(*known, msgspec.structs.replace(record, tunnel=tunnel)))
    return api.Answer()


async def group_key(core: Core, request: api.GroupKey) -> api.Answer:
    """Set the key where there is no other. Raises Refused IPSEC_NOT_SUPPORTED_ON_OS."""
    refuse_without_ipsec(core)
    core.keep(group_key=GroupKey(key=_sealed(core, request.key, GroupKey.place), persist=request.persist))
    return api.Answer()


async def ps_key(core: Core, request: api.PSKey) -> api.Answer:
    """Set the key of an IKE identity, also instead of another. Raises Refused: IPSEC_NOT_SUPPORTED_ON_OS,
    IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED.
    """
    refuse_without_ipsec(core)
    record = PresharedKey(
        id_type=_check_type(request.id_type),
        id=request.id,
        key=_TO_COME,
        security_flags=request.security_flags,
        initiator=_check_initiator(core, request.initiator),
        initiator_port=request.initiator_port,
        persist=request.persist,
    )
    key = _sealed(core, request.key, record.place)
    others = tuple(each for each in core.store.state.preshared_keys if each.place != record.place)
    core.keep(preshared_keys=(*others, msgspec.structs.replace(record, key=key)))
    return api.Answer()


async def get_ps_key(core: Core, request: api.GetPSKey) -> api.PresharedKeyInfo:
    """Whether there is a key for an IKE identity. Raises Refused: IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED,
    NO_AUTH_INFO_AVAILABLE, CACHE_CORRUPTED for one that does not open.
    """
    _check_type(request.id_type)
    found = preshared_key(core.store.state, request.id_type, request.id, request.initiator, request.initiator_port)
    if found is None:
        raise Refused(StatusCode.NO_AUTH_INFO_AVAILABLE, f"there is no IPsec key for {request.id}")
    opened(core, StoredSecret(found.place, found.key))
    return api.PresharedKeyInfo(id_type=found.id_type, id=found.id, security_flags=found.security_flags)
