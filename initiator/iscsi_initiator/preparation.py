"""What a session needs of its own host before, while and after it talks to a target: a place among the sessions, a hash for
CHAP, secrets in the clear, IPsec around its connections and the end of that (guide, Appendix B: events 2, 37, 52 to 54).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iscsi_initiator.limits import Resource
from iscsi_initiator.requests import Failure, SecretSealed, SessionClosed
from iscsi_initiator.settings import ChapOptions
from iscsi_initiator.upcalls import UpCallKind, UpCallWanted
from iscsi_protocol.chap import MD5, Credentials, available
from iscsi_protocol.history import Endpoint

if TYPE_CHECKING:
    from iscsi_initiator.engine import InitiatorEngine
    from iscsi_initiator.session import Session


class Preparation:
    """Of one session."""

    def __init__(self, session: Session, engine: InitiatorEngine) -> None:
        self._session = session
        self._engine = engine
        self._secrets: list[bytes] = []
        self._protecting: dict[int, int] = {}
        self._protected: list[Endpoint] = []
        self._closed: SessionClosed | None = None

    # Before.

    def begin(self, now: float) -> None:
        """Get ready, and have the session make its first connection."""
        session, engine, chap = self._session, self._engine, self._session.options.chap
        if engine.sessions_open > session.settings.limits.sessions and session.short_of(Resource.SESSION, now):
            self._give_up(now, "there are as many sessions as this initiator may have", Resource.SESSION.event)
            return
        if chap is not None and not available(self._hashes(chap), engine.hasher):
            text = "this host performs no hash that CHAP may use"
            if session.log(37, b"", now, text):
                self._give_up(now, text, 37)
                return
        if chap is not None and chap.sealed:
            self._ask(UpCallKind.DECRYPT, chap.credentials.secret, now)
        else:
            session.open(now)

    def _hashes(self, chap: ChapOptions) -> tuple[int, ...]:
        return (MD5,) if self._session.policy.looks_for_md5_alone else chap.algorithms

    def _give_up(self, now: float, text: str, event: int | None) -> None:
        """There is no way to log in, which was logged as this event."""
        self._session.end(now, Failure.LOGIN_FAILED, SessionClosed(self._session.number, text, event=event))

    def protect(self, connection: int, endpoint: Endpoint, now: float) -> None:
        """Have IPsec configured for a connection, which is made once the service says so."""
        self._protecting[self._ask(UpCallKind.CONFIGURE_IPSEC, endpoint, now)] = connection

    # While.

    def seal(self, now: float) -> None:
        """The session is up for the first time: have the secrets of a persistent one encrypted, for whoever keeps them."""
        options = self._session.options
        if options.persistent and options.chap is not None and not options.chap.sealed and not self._secrets:
            self._ask(UpCallKind.ENCRYPT, options.chap.credentials.secret, now)

    # After.

    def end(self, closed: SessionClosed, now: float) -> None:
        """The session is over, which is told once IPsec is released where it was configured."""
        self._engine.up_calls.forget(self)
        self._closed = closed
        protected, self._protected = self._protected, []
        self._protecting = {self._ask(UpCallKind.RELEASE_IPSEC, endpoint, now): 0 for endpoint in protected}
        self._end_if_released()

    def _end_if_released(self) -> None:
        closed = self._closed
        if closed is not None and not self._protecting:
            self._closed = None
            self._session.emit(closed)

    # What the service says.

    def _ask(self, kind: UpCallKind, payload: bytes | Endpoint, now: float) -> int:
        session = self._session
        patience = session.settings.ipsec_config_timeout / (2 if session.policy.impatient_with_service else 1)
        deadline = now + patience
        return self._engine.up_calls.ask(self, self._session.number, kind, payload, deadline)

    def up_call_ended(self, call: UpCallWanted, answer: bytes | None, now: float, *, in_time: bool) -> None:
        """See `Asker`."""
        kind, payload = call.kind, call.payload
        event = None if in_time else kind.event
        text = f"the service did not {kind.words}{'' if in_time else ' in time'}"
        if event is not None and not self._session.log(event, b"", now, text):
            if kind is UpCallKind.RELEASE_IPSEC:
                return
            event, answer = None, b"" if isinstance(payload, Endpoint) else payload
        connection = self._protecting.pop(call.token, 0)
        if isinstance(payload, Endpoint):
            if kind is UpCallKind.RELEASE_IPSEC:
                self._end_if_released()
            elif answer is None:
                self._engine.not_set_up(connection, now, text, event)
            else:
                if payload not in self._protected:
                    self._protected.append(payload)
                self._engine.connect(connection, payload)
        elif answer is not None:
            self._secrets.append(answer)
            self._next_secret(kind, now)
        elif kind is UpCallKind.DECRYPT:
            self._give_up(now, text, event)

    def _next_secret(self, kind: UpCallKind, now: float) -> None:
        """A secret was decrypted or encrypted; there may be another, for mutual CHAP."""
        session, chap = self._session, self._session.options.chap
        if chap is None:
            return
        if chap.target_secret is not None and len(self._secrets) == 1:
            self._ask(kind, chap.target_secret, now)
            return
        secret, target_secret = self._secrets[0], self._secrets[1] if len(self._secrets) > 1 else None
        if kind is UpCallKind.ENCRYPT:
            session.emit(SecretSealed(session.number, secret, target_secret))
            return
        credentials = Credentials(name=chap.credentials.name, secret=secret)
        plain = replace(chap, credentials=credentials, target_secret=target_secret, sealed=False)
        session.options = replace(session.options, chap=plain)
        session.open(now)
