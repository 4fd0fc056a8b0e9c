"""The secrets that a review is told, to verify CHAP responses (RFC 1994 4.1, RFC 7143 12.1.3). They are never shown.

The file is that of the target's `--chap-file`: `user secret` a line, `mutual name secret` for what a target proves itself
with, `#` begins a comment. As one review may see several targets, there may be several `mutual` lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class ChapSecretsError(Exception):
    """The file cannot be read, or a line is wrong: one clear line, without a secret in it."""


class ChapSecrets(Mapping[str, bytes]):
    """Secrets by CHAP_N: those of users, which prove an initiator, and those of targets (`mutual`).

    As a mapping it has the users and the names of targets that are no user's.
    """

    def __init__(self, users: Mapping[str, bytes], mutual: Mapping[str, bytes] | None = None) -> None:
        """users, mutual: the secret as the bytes that are hashed, by name."""
        self._of_initiators = dict(users)
        self._of_targets = dict(mutual or {})

    def of_initiator(self, name: str) -> bytes | None:
        """The secret of a user, None where the file has none."""
        return self._of_initiators.get(name)

    def of_target(self, name: str) -> bytes | None:
        """The secret by which a target of this CHAP_N proves itself."""
        return self._of_targets.get(name)

    def __getitem__(self, name: str) -> bytes:
        """The secret of the user, else of the target, of that name. Raises KeyError."""
        return self._of_initiators[name] if name in self._of_initiators else self._of_targets[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter({**self._of_targets, **self._of_initiators})

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._of_initiators.keys() | self._of_targets.keys())

    def __repr__(self) -> str:
        """The names alone."""
        return f"ChapSecrets(users={sorted(self._of_initiators)}, mutual={sorted(self._of_targets)})"


NO_SECRETS = ChapSecrets({})


def read(path: Path | str) -> ChapSecrets:
    """The secrets of a file. Raises ChapSecretsError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ChapSecretsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ChapSecretsError(f"{path}: not UTF-8") from error
    users: dict[str, bytes] = {}
    mutual: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 3 and words[0] == "mutual":
            _add(mutual, words[1], words[2], f"{path}, line {number}")
        elif len(words) == 2:
            _add(users, words[0], words[1], f"{path}, line {number}")
        else:
            raise ChapSecretsError(f"{path}, line {number}: expected 'user secret' or 'mutual name secret'")
    if not users and not mutual:
        raise ChapSecretsError(f"{path}: no secret in it")
    return ChapSecrets(users, mutual)


def _add(secrets: dict[str, bytes], name: str, secret: str, where: str) -> None:
    if name in secrets:
        raise ChapSecretsError(f"{where}: {name} has a secret already")
    secrets[name] = secret.encode()
