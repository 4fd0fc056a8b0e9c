"""Requests about secrets: the initiator's CHAP secret, and what IPsec needs."""

from __future__ import annotations

import ipaddress

from iscsi_initiator.service.api.answers import Answer, PresharedKeyInfo
from iscsi_initiator.service.api.operation import A_co, Operation
from iscsi_initiator.service.api.values import (
    MAX_DNS_NAME,
    check_flags,
    check_initiator,
    check_ip_address,
    check_key,
    check_ranges,
    check_secret,
)
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import IdType, SecurityFlag


class CHAPSecret(Operation[Answer], frozen=True, kw_only=True):
    """Set the secret by which targets prove themselves to this initiator; None takes it away."""

    secret_fields = frozenset({"secret"})

    secret: bytes | None

    def check(self) -> None:
        if self.secret is not None:
            check_secret(self.secret)


class TunnelAddr(Operation[Answer], frozen=True, kw_only=True):
    """Set the outer address of tunnels to a destination. initiator, initiator_port: None for all."""

    initiator: str | None = None
    initiator_port: int | None = None
    destination: str
    tunnel: str
    persist: bool = False

    def check(self) -> None:
        check_initiator(self.initiator, self.initiator_port)
        check_ip_address(self.destination, "a destination")
        check_ip_address(self.tunnel, "a tunnel address")


class GroupKey(Operation[Answer], frozen=True, kw_only=True):
    """Set the key that IKE uses where there is no other."""

    secret_fields = frozenset({"key"})

    key: bytes
    persist: bool = False

    def check(self) -> None:
        check_key(self.key)


class _Payload(Operation[A_co], frozen=True, kw_only=True):
    """About who identifies itself to IKE by id. id_type: of IdType, and the types that a back end has besides.

    initiator, initiator_port: None for all.
    """

    initiator: str | None = None
    initiator_port: int | None = None
    id_type: int
    id: str

    def check(self) -> None:
        check_initiator(self.initiator, self.initiator_port)
        check_ranges(self, "id_type")
        if not (self.id.isprintable() and 1 <= len(self.id) <= MAX_DNS_NAME):
            raise Refused(
                StatusCode.IKE_ID_PAYLOAD_INCORRECT_SIZE, f"an IKE id has 1 to {MAX_DNS_NAME} printable characters"
            )
        if self.id_type == IdType.IPV4_ADDRESS:
            try:
                ipaddress.IPv4Address(self.id)
            except ValueError as error:
                raise Refused(
                    StatusCode.IKE_ID_PAYLOAD_INCORRECT_SIZE,
                    f"an id of type 1 is four bytes of IPv4 address, not {self.id!r}",
                ) from error


class PSKey(_Payload[Answer], frozen=True, kw_only=True):
    """Set the key for an IKE identity. security_flags: of SecurityFlag."""

    secret_fields = frozenset({"key"})

    security_flags: int = 0
    key: bytes
    persist: bool = False

    def check(self) -> None:
        super().check()
        check_flags(self.security_flags, SecurityFlag, "security flags")
        check_key(self.key)


class GetPSKey(_Payload[PresharedKeyInfo], frozen=True, kw_only=True):
    """Whether there is a key for an IKE identity, and its flags; the key is told to nobody."""
