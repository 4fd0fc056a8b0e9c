"""How the commands make sessions: the options that all of them share, and what comes of these."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from iscsi_initiator.client import Client
from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.settings import (
    NO_DIGEST,
    PREFER_DIGEST,
    PREFER_NONE,
    REQUIRE_DIGEST,
    ChapOptions,
    SessionOptions,
    Settings,
)
from iscsi_initiator.url import IscsiUrl, UrlError, parse_url
from iscsi_protocol.chap import Credentials
from iscsi_protocol.history import Endpoint
from iscsi_protocol.identity import Isid

DIGESTS = {
    "none": NO_DIGEST,
    "crc32c": REQUIRE_DIGEST,
    "crc32c,none": PREFER_DIGEST,
    "none,crc32c": PREFER_NONE,
}
Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Access:
    """How sessions are made, from the options that all commands share."""

    settings: Settings
    header_digest: tuple[str, ...]
    data_digest: tuple[str, ...]
    secret_file: Path | None
    mutual_secret_file: Path | None
    event_log: Path
    connections: int
    portals: tuple[Endpoint, ...]

    def chap(self, url: IscsiUrl) -> ChapOptions | None:
        """CHAP for a URL with a user; the secret from the file, else asked for."""
        if url.user is None:
            if self.secret_file is not None or self.mutual_secret_file is not None:
                raise click.UsageError("a secret goes with a user: iscsi://USER@host/...")
            return None
        secret = _secret(self.secret_file, f"CHAP secret of {url.user}")
        mutual = None
        if self.mutual_secret_file is not None:
            mutual = _secret(self.mutual_secret_file, "secret of the target")
        return ChapOptions(credentials=Credentials(name=url.user, secret=secret), target_secret=mutual)

    @contextmanager
    def log(self) -> Iterator[EventLogWriter]:
        """The event log; what it does not take is told when it is closed."""
        log = EventLogWriter(self.event_log)
        try:
            yield log
        finally:
            _close(log)

    def options(self, url: IscsiUrl, *, multipath: bool = False) -> SessionOptions:
        """What a session to a URL is to be; multipath: it is one of several."""
        return SessionOptions(
            portal=url.portal,
            target_name=url.target_name,
            chap=self.chap(url),
            header_digest=self.header_digest,
            data_digest=self.data_digest,
            isid=bytes(Isid.draw(secrets.token_bytes)),
            connections=self.connections,
            advertised=self.portals,
            multipath=multipath,
        )

    async def open(self, stack: AsyncExitStack, url: IscsiUrl) -> Client:
        """A session that ends with the stack."""
        log = stack.enter_context(self.log())
        client = await Client.connect(url, settings=self.settings, options=self.options(url), event_log=log)
        return await stack.enter_async_context(client)


def _close(log: EventLogWriter) -> None:
    log.close()
    if log.failure is not None:
        click.echo(f"iscsi-initiator: {log.path}: event not logged: {log.failure.strerror or log.failure}", err=True)


def default_log() -> Path:
    """Where events are kept unless told otherwise: $ISCSI_INITIATOR_EVENT_LOG, else in the user's state folder."""
    named = os.environ.get("ISCSI_INITIATOR_EVENT_LOG")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(named) if named else Path(state) / "iscsi-conformance" / "initiator-events.jsonl"


def _secret(path: Path | None, prompt: str) -> bytes:
    if path is None:
        if not sys.stdin.isatty():
            raise click.UsageError("no terminal to ask for the secret at: give --secret-file")
        return str(click.prompt(prompt, hide_input=True, err=True)).encode()
    try:
        secret = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    if not secret:
        raise click.UsageError(f"{path}: no secret in it")
    return secret


def shared(command: Command) -> Command:
    """The options of every command that makes a session."""
    return sharing()(command)


def sharing(*, retries: int = 3, hold_time: float = 60) -> Callable[[Command], Command]:
    """As `shared`, with other defaults."""
    options = (
        click.option("--initiator-name", metavar="IQN", help="Name to log in with."),
        click.option("--header-digest", type=click.Choice(list(DIGESTS)), default="none", show_default=True),
        click.option("--data-digest", type=click.Choice(list(DIGESTS)), default="none", show_default=True),
        click.option("--secret-file", type=click.Path(path_type=Path), help="File with the CHAP secret."),
        click.option(
            "--mutual-secret-file",
            type=click.Path(path_type=Path),
            help="File with the secret that the target has to know.",
        ),
        click.option("--timeout", type=click.FloatRange(min=0.1), help="Seconds for connecting and logging in."),
        click.option(
            "--connections",
            type=click.IntRange(1, 65535),
            default=1,
            show_default=True,
            help="Connections of the session, of which the target may allow fewer.",
        ),
        click.option(
            "--portal",
            "portals",
            metavar="HOST:PORT",
            multiple=True,
            help="Another portal of the target, to recover the session at; may be given more than once.",
        ),
        click.option(
            "--recovery-level",
            type=click.IntRange(0, 2),
            default=2,
            show_default=True,
            help="ErrorRecoveryLevel to ask for.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(min=-1),
            default=retries,
            show_default=True,
            help="Attempts to come back after a loss; -1 for any number.",
        ),
        click.option(
            "--retry-delay",
            type=click.FloatRange(min=0),
            default=1,
            show_default=True,
            help="Seconds between two of them.",
        ),
        click.option(
            "--hold-time",
            type=click.FloatRange(min=0),
            default=hold_time,
            show_default=True,
            help="Seconds that requests wait for the session to come back.",
        ),
        click.option(
            "--event-log",
            type=click.Path(path_type=Path, dir_okay=False),
            default=default_log,
            help="File to append driver events to.",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def access_of(options: dict[str, Any]) -> Access:
    """Take the shared options out of a command's."""
    changes: dict[str, Any] = {
        "portal_retry_count": 0,
        "max_connection_retries": options.pop("retries"),
        "delay_between_reconnect": options.pop("retry_delay"),
        "max_request_hold_time": options["hold_time"],
        "link_down_time": options.pop("hold_time"),
        "error_recovery_level": options.pop("recovery_level"),
    }
    name, seconds = options.pop("initiator_name"), options.pop("timeout")
    if name is not None:
        changes["initiator_name"] = name
    if seconds is not None:
        changes["tcp_connect_time"] = changes["wmi_request_timeout"] = seconds
    try:
        settings = Settings(**changes)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Access(
        settings=settings,
        header_digest=DIGESTS[options.pop("header_digest")],
        data_digest=DIGESTS[options.pop("data_digest")],
        secret_file=options.pop("secret_file"),
        mutual_secret_file=options.pop("mutual_secret_file"),
        event_log=options.pop("event_log"),
        connections=options.pop("connections"),
        portals=tuple(_portal(text) for text in options.pop("portals")),
    )


def _portal(text: str) -> Endpoint:
    try:
        url = parse_url(f"iscsi://{text}")
    except UrlError as error:
        raise click.UsageError(f"--portal {text}: {error}") from error
    if url.user is not None or url.target_name is not None:
        raise click.UsageError(f"--portal {text}: host[:port] is all that belongs there")
    return url.portal
