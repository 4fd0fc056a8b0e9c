"""Secrets on the command line: as they are, asked for, or out of a file.

A secret that is an argument stands in the list of processes and in the shell's history; `?` and `@FILE` keep it out of both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from iscsi_initiator.iscsicli.parameters import Usage
from iscsi_initiator.status_codes import StatusCode

ASK = "?"
FILE = "@"
MAX_FILE = 1 << 16
"""Bytes of a file that a secret may come from."""


class Secrets:
    """Reads secrets. prompt: asks for one by its parameter's name, without showing it; None where nobody can be asked."""

    def __init__(self, prompt: Callable[[str], str] | None) -> None:
        self._prompt = prompt

    def __call__(self, text: str, name: str) -> bytes:
        """The bytes of a secret. Raises Usage INVALID_PARAMETER, never with the secret in it."""
        if text == ASK:
            secret = self._ask(name)
        elif text.startswith(FILE):
            secret = _from_file(Path(text[1:]), name)
        else:
            secret = os.fsencode(text)
        return secret

    def _ask(self, name: str) -> bytes:
        if self._prompt is None:
            raise _wrong(f"<{name}>: there is no terminal to ask for it at; give @FILE")
        return self._prompt(name).encode("utf-8", "surrogateescape")


def _from_file(path: Path, name: str) -> bytes:
    """The file, or what a pipe brings, without the end of its line."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path of a file"
        raise _wrong(f"<{name}>: {path}: {why}") from error
    if len(content) > MAX_FILE:
        raise _wrong(f"<{name}>: {path} has over {MAX_FILE} bytes")
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _wrong(reason: str) -> Usage:
    return Usage(StatusCode.INVALID_PARAMETER, reason)
