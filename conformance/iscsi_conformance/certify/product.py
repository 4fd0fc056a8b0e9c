"""How a foreign initiator is brought to do something: the commands of its tools, or its operator.

Adapters know the tools of one product. A user's own command is a template; without one the operator is asked.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from iscsi_conformance.doing import Doing, Wish
from iscsi_conformance.verdict import Unsupported
from iscsi_protocol.history import Endpoint

LOAD_SECONDS = 3
"""How long `Doing.LOAD` lasts where a tool can be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a case has the initiator log in to. lun: number of the logical unit."""

    portal: Endpoint
    target: str
    lun: int = 0

    @property
    def url(self) -> str:
        """The logical unit as libiscsi writes it, without credentials."""
        return f"iscsi://{self.portal}/{self.target}/{self.lun}"


class Product(Protocol):
    """A way to a foreign initiator."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def programs(self) -> Sequence[str]:
        """What has to be installed."""

    def command(self, wish: Wish, place: Place) -> Sequence[str]:
        """The words of the command that does what is wished. Raises Unsupported where there is none."""


class CommandError(ValueError):
    """A template that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Template:
    """A command of the user's, with placeholders.

    {portal} {target} {lun} {url} say where; {doing} is a word of `Doing`; {user} and {secret} are what CHAP needs. It is
    taken apart as a shell would, before the placeholders are filled in; no shell runs it. Raises CommandError.
    """

    text: str
    name: str = "command"

    def __post_init__(self) -> None:
        try:
            words = shlex.split(self.text)
        except ValueError as error:
            raise CommandError(f"{self.text}: {error}") from None
        if not words:
            raise CommandError("the command is empty")
        samples = dict.fromkeys((*_PLACES, "doing", *_CHAP), "")
        try:
            for word in words:
                word.format(**samples)
        except (AttributeError, LookupError, TypeError, ValueError):
            known = " ".join(f"{{{name}}}" for name in samples)
            raise CommandError(f"{self.text}: the placeholders are {known}") from None

    @property
    def programs(self) -> Sequence[str]:
        """The command's first word."""
        return shlex.split(self.text)[:1]

    def command(self, wish: Wish, place: Place) -> Sequence[str]:
        """See `Product`. CHAP is wished of a template that has its placeholders alone."""
        values = {"portal": str(place.portal), "target": place.target, "lun": str(place.lun), "url": place.url}
        values |= {"doing": wish.doing.value, "user": "", "secret": ""}
        if wish.chap is not None:
            if wish.chap.target_secret is not None or not all(f"{{{name}}}" in self.text for name in _CHAP):
                raise Unsupported("chap", "the command has no {user} and {secret}, or the case wants mutual CHAP")
            values |= {"user": wish.chap.user, "secret": wish.chap.secret}
        return [word.format(**values) for word in shlex.split(self.text)]


_PLACES = ("portal", "target", "lun", "url")
_CHAP = ("user", "secret")


def _url(wish: Wish, place: Place) -> str:
    """The URL of libiscsi, with what the wish needs. Raises Unsupported."""
    login, query = "", []
    if wish.chap is not None:
        login = f"{wish.chap.user}%{wish.chap.secret}@"
        if wish.chap.target_secret is not None:
            query += [f"target_user={wish.chap.target_user}", f"target_password={wish.chap.target_secret}"]
    if wish.header_digest:
        query.append("header_digest=crc32c")
    if wish.data_digest:
        raise Unsupported("data-digest", "libiscsi has no data digests")
    what = place.portal if wish.doing is Doing.DISCOVER else f"{place.portal}/{place.target}/{place.lun}"
    return f"iscsi://{login}{what}" + (f"?{'&'.join(query)}" if query else "")


def _libiscsi(wish: Wish, place: Place) -> Sequence[str]:
    return [_url(wish, place)]


def _qemu(wish: Wish, place: Place) -> Sequence[str]:
    """The words that name the disk: a URL, or options where the URL cannot say it. Raises Unsupported."""
    if wish.chap is not None and wish.chap.target_secret is not None:
        raise Unsupported("mutual-chap", "QEMU does not have the target prove itself")
    if not wish.header_digest:
        return ["-f", "raw", _url(wish, place)]
    where = {"transport": "tcp", "portal": place.portal, "target": place.target, "lun": place.lun}
    options = {"driver": "iscsi", **where, "header-digest": "crc32c"}
    return ["--image-opts", "driver=raw," + ",".join(f"file.{name}={value}" for name, value in options.items())]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """An adapter. lines: what each doing takes, in front of the words for the disk that `disk` gives.

    lacking: why there is no line for a doing.
    """

    name: str
    lines: Mapping[Doing, Sequence[str]]
    disk: Callable[[Wish, Place], Sequence[str]]
    lacking: Mapping[Doing, str] = field(default_factory=dict)

    @property
    def programs(self) -> Sequence[str]:
        """The programs of the lines."""
        return sorted({line[0] for line in self.lines.values()})

    def command(self, wish: Wish, place: Place) -> Sequence[str]:
        """See `Product`."""
        if wish.doing in self.lacking:
            raise Unsupported(wish.doing, self.lacking[wish.doing])
        return [*self.lines[wish.doing], *self.disk(wish, place)]


LIBISCSI = Tools(
    name="libiscsi",
    lines={
        Doing.DISCOVER: ("iscsi-ls", "-s"),
        Doing.LOG_IN: ("iscsi-inq",),
        Doing.READ: ("iscsi-readcapacity16",),
        Doing.WRITE: ("iscsi-test-cu", "--dataloss", "--test", "ALL.Write10.Simple"),
        Doing.LOAD: ("iscsi-perf", "-m", "4", "-b", "8", "-t", str(LOAD_SECONDS)),
    },
    disk=_libiscsi,
)
"""The tools of libiscsi-bin. Discovery is `iscsi-ls -s`, which looks into the target that it finds."""

QEMU_IMG = Tools(
    name="qemu-img",
    lines={
        Doing.LOG_IN: ("qemu-img", "info"),
        Doing.READ: ("qemu-io", "-r", "-c", "read 0 64k", "-c", "read 64k 4k"),
        Doing.WRITE: ("qemu-io", "-c", "write -P 0x5a 0 64k", "-c", "write 0 512", "-c", "flush"),
        Doing.LOAD: ("qemu-img", "bench", "-c", "20000", "-d", "8", "-s", "4096"),
    },
    disk=_qemu,
    lacking={Doing.DISCOVER: "QEMU does no discovery"},
)
"""QEMU's block layer, by its tools qemu-img and qemu-io; its iSCSI driver is libiscsi."""

ADAPTERS: Mapping[str, Product] = {each.name: each for each in (LIBISCSI, QEMU_IMG)}


def missing_programs(product: Product) -> list[str]:
    """Programs of the product that this machine does not have."""
    return [program for program in product.programs if shutil.which(program) is None]
