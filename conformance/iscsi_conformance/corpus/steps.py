"""What a script was told to do, in words: the provenance of the history that it made."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])
_LONGEST = 24
_MOST_SHOWN = 100


class Told(Protocol):
    """What keeps a list of its steps."""

    steps: list[str]


def verb(method: Method) -> Method:
    """Have the outermost calls of the method noted in the script's `steps`, with their arguments."""

    @wraps(method)
    def told(script: Told, *values: object, **fields: object) -> object:
        before = len(script.steps)
        result = method(script, *values, **fields)
        # What the verb was made of gives way to the verb itself.
        del script.steps[before:]
        script.steps.append(f"{method.__name__}({', '.join(_arguments(values, fields))})")
        return result

    return cast(Method, told)


def _arguments(values: tuple[object, ...], fields: dict[str, object]) -> list[str]:
    return [*map(_word, values), *(f"{name}={_word(value)}" for name, value in fields.items())]


def _word(value: object) -> str:
    if callable(value):
        return (value.__doc__ or "an edit of the bytes").strip().rstrip(".")
    if isinstance(value, bytes):
        text = f"bytes({len(value)})" if not any(value) else f"0x{value[:_LONGEST].hex()}"
        return text + ("..." if any(value) and len(value) > _LONGEST else "")
    if isinstance(value, int) and not isinstance(value, bool) and value > 0xFFFF:
        return f"{int(value):#x}"
    if isinstance(value, list | tuple):
        pairs = [f"{key}={_cut(str(text))}" for key, text in value]
        return f"[{', '.join(pairs)}]"
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
