"""iscsi:// URLs: iscsi://[user@]host[:port]/target-name/lun, or iscsi://host[:port] for a portal alone.

An IPv6 address stands in brackets. The user is CHAP's name; secrets do not stand in URLs.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, unquote

from iscsi_protocol.history import Endpoint
from iscsi_protocol.names import IscsiNameError, check_name

SCHEME = "iscsi://"
DEFAULT_PORT = 3260


class UrlError(ValueError):
    """A URL that is none. url: as given; reason: in words."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class IscsiUrl:
    """A parsed URL. target_name and lun are None in one that names a portal, lun also in one that names a target."""

    portal: Endpoint
    target_name: str | None = None
    lun: int | None = None
    user: str | None = None

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        name = f"/{quote(self.target_name, safe=':')}" if self.target_name else ""
        return f"{SCHEME}{user}{self.portal}{name}" + (f"/{self.lun}" if self.lun is not None else "")


def is_url(text: str) -> bool:
    """Whether a text is meant as an iscsi:// URL."""
    return text.lower().startswith(SCHEME)


def parse_url(url: str) -> IscsiUrl:
    """Read a URL. Raises UrlError."""
    if not is_url(url):
        raise UrlError(url, "an iSCSI URL begins with iscsi://")
    authority, slash, path = url[len(SCHEME) :].partition("/")
    user, at, place = authority.rpartition("@")
    if at and (not user or ":" in user or "%25" in user):
        raise UrlError(url, "before @ stands a user's name, and no secret")
    portal = _portal(url, place)
    name = lun = None
    parts = path.rstrip("/").split("/") if slash and path.strip("/") else []
    if len(parts) > 2:
        raise UrlError(url, "behind the target's name stands a LUN, and nothing else")
    if parts:
        name = unquote(parts[0])
        try:
            check_name(name)
        except IscsiNameError as error:
            raise UrlError(url, f"no iSCSI name: {error.reason}") from error
    if len(parts) == 2:
        lun = _number(url, parts[1], "a LUN", 0, 2**40 - 1)
    return IscsiUrl(portal=portal, target_name=name, lun=lun, user=unquote(user) if at else None)


def _portal(url: str, place: str) -> Endpoint:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlError(url, "an IPv6 address stands in brackets, with :port behind them")
        try:
            ipaddress.IPv6Address(host)
        except ipaddress.AddressValueError as error:
            raise UrlError(url, f"{host} is no IPv6 address") from error
        port = rest[1:] if rest else None
    else:
        host, colon, rest = place.partition(":")
        if ":" in rest:
            raise UrlError(url, "an IPv6 address stands in brackets")
        port = rest if colon else None
    if not host:
        raise UrlError(url, "no host")
    return Endpoint(host, DEFAULT_PORT if port is None else _number(url, port, "a port", 1, 65535))


def _number(url: str, text: str, what: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text[:20]) <= high:
        raise UrlError(url, f"{text or 'nothing'} is not {what} ({low} to {high})")
    return int(text)
