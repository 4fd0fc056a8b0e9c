"""One command from its words to its exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from iscsi_initiator.iscsicli.grammar import SecretSource, make_request
from iscsi_initiator.iscsicli.parameters import Usage
from iscsi_initiator.iscsicli.render import command_help, complaint, detail, json_text, overview, text_lines
from iscsi_initiator.iscsicli.table import find
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import Refused

OK, FAILED, USAGE = 0, 1, 2
HELP = frozenset({"/?", "-?", "/h", "/help", "-h", "--help"})
JSON = "--json"


class Service(Protocol):
    """Whoever answers requests: a BlockingClient."""

    def ask(self, request: api.Operation[Any]) -> Any:
        """The answer. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs commands against a service. out, err: take a text of one or more lines; as_json: answers as JSON."""

    service: Service
    secret: SecretSource
    out: Callable[[str], None]
    err: Callable[[str], None]
    as_json: bool = False

    def run(self, words: Sequence[str]) -> int:
        """Run one command: its name and its arguments; `--json` may stand behind them. Returns the exit status.

        0: done, also with a warning; 1: an error code; 2: not written as it has to be. The code is always printed.
        """
        as_json = self.as_json or (len(words) > 1 and words[-1] == JSON)
        if len(words) > 1 and words[-1] == JSON:
            words = words[:-1]
        name = words[0]
        try:
            if name.lower() in HELP or name.lower() == "help":
                self.out("\n".join(command_help(find(words[1])) if len(words) > 1 else overview()))
                return OK
            command = find(name)
            if len(words) == 2 and words[1].lower() in HELP:
                self.out("\n".join(command_help(command)))
                return OK
            name = command.name
            answer: api.Answer = self.service.ask(make_request(command, words[1:], self.secret))
        except Usage as error:
            return self._complain(as_json, name, error.status, error.reason, None, USAGE)
        except Refused as error:
            failure = api.failure_of(error)
            return self._complain(as_json, name, error.status, detail(failure), failure, FAILED)
        if as_json:
            self.out(json_text(name, answer.status, answer.message, answer))
        else:
            self.out("\n".join(text_lines(command, answer)))
        if answer.status:
            self.err(complaint(answer.status, answer.message))
        return OK

    def _complain(
        self, as_json: bool, name: str, status: int, reason: str, failure: api.Failure | None, exit_: int
    ) -> int:
        if as_json:
            self.out(json_text(name, status, reason, failure))
        self.err(complaint(status, reason))
        return exit_
