"""From a command's arguments to the request that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iscsi_initiator.iscsicli.parameters import TRUTH, Malformed, Parameter, Usage
from iscsi_initiator.iscsicli.places import CHAP, MAPPING, MAPPING_COUNT
from iscsi_initiator.iscsicli.table import Command
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import AuthType, LunMapping, Portal
from iscsi_initiator.url import DEFAULT_PORT

STAR = "*"
SecretSource = Callable[[str, str], bytes]
"""Makes a secret of an argument (the secret, `?` or `@FILE`) and the name of its parameter. Raises Usage."""

_ANY_SECRET = b"x"
_OPTIONS = frozenset(api.LoginOptions.__struct_fields__)


def make_request(command: Command, arguments: Sequence[str], secret: SecretSource) -> api.Operation[Any]:
    """The request. Nothing is asked of `secret` before all else is well.

    Raises Usage (MISSING_PARAMETER, INVALID_PARAMETER, or what a parameter's kind says) for what is not written as it has to
    be, Refused for a value that cannot be.
    """
    places = _places(command, arguments)
    values = {
        place.field: _value(place, text) for place, text in _pairs(places, arguments) if not _is_secret(place, text)
    }
    mappings = _mappings(arguments[len(command.parameters) :]) if command.takes_mappings else ()
    _check_chap(command, len(arguments))
    secrets = [(place, text) for place, text in _pairs(places, arguments) if _is_secret(place, text)]
    if secrets:
        # made with any secret at first, so that whoever types one does not do so in vain
        _build(command, values | {place.field: _ANY_SECRET for place, _ in secrets}, mappings)
    values |= {place.field: _read(place, secret(text, place.name)) for place, text in secrets}
    return _build(command, values, mappings)


def _pairs(places: Sequence[Parameter], arguments: Sequence[str]) -> list[tuple[Parameter, str]]:
    return [(place, text) for place, text in zip(places, arguments, strict=False) if place not in MAPPING]


def _is_secret(place: Parameter, text: str) -> bool:
    return place.kind.secret and text != STAR


def _places(command: Command, arguments: Sequence[str]) -> list[Parameter]:
    """One parameter for each argument, mappings included. Raises Usage where there are too few arguments or too many."""
    places, required = list(command.parameters), command.required
    if command.takes_mappings and len(arguments) >= len(places):
        required += len(MAPPING) * _value(MAPPING_COUNT, arguments[len(places) - 1])
        rows = min(required, len(arguments) + 1) // len(MAPPING) + 1
        places = (places + list(MAPPING) * rows)[:required]
    if len(arguments) < required:
        left = required - len(arguments)
        more = f" and {left - 1} more" if left > 1 else ""
        raise Usage(
            StatusCode.MISSING_PARAMETER,
            f"{command.name}: <{places[len(arguments)].name}>{more} missing; {_see(command)}",
        )
    if len(arguments) > len(places):
        takes = f"{len(places)} arguments" if len(places) != 1 else "1 argument"
        raise Usage(
            StatusCode.INVALID_PARAMETER,
            f"{command.name} takes {takes if places else 'no arguments'}, not {len(arguments)}; {_see(command)}",
        )
    return places


def _see(command: Command) -> str:
    return f"see iscsicli {command.name} /?"


def _value(place: Parameter, text: str) -> Any:
    if text == STAR and place.star is not None:
        return place.star.value
    if text == STAR and place.kind is not TRUTH:
        raise Usage(StatusCode.INVALID_PARAMETER, f"<{place.name}> has no default")
    return _read(place, text)


def _read(place: Parameter, given: str | bytes) -> Any:
    try:
        return place.kind.read(given)
    except Malformed as error:
        star = f", or * for the default ({place.star.meaning})" if place.star is not None else ""
        raise Usage(error.status, f"<{place.name}> is {place.kind.form}{place.kind.hint}{star}") from error


def _check_chap(command: Command, given: int) -> None:
    """A quick form takes user name and password, or neither."""
    if set(CHAP) <= set(command.parameters) and given == command.required + 1:
        raise Usage(
            StatusCode.MISSING_PARAMETER,
            f"{command.name}: <{CHAP[1].name}> missing, which goes with a user name; {_see(command)}",
        )


def _mappings(arguments: Sequence[str]) -> tuple[LunMapping, ...]:
    size = len(MAPPING)
    rows = [arguments[start : start + size] for start in range(0, len(arguments), size)]
    return tuple(
        LunMapping(**{place.field: _value(place, text) for place, text in zip(MAPPING, row, strict=True)})
        for row in rows
    )


def _build(command: Command, values: dict[str, Any], mappings: tuple[LunMapping, ...]) -> api.Operation[Any]:
    fields: dict[str, Any] = dict(command.fixed)
    options = {name: values.pop(name) for name in _OPTIONS & values.keys()}
    if command.long and options:
        options["auth_type"] = AuthType.CHAP
    if "options" in command.request.__struct_fields__:
        fields["options"] = api.LoginOptions(**options)
    if "address" in values:
        fields["portal"] = _portal(values.pop("address"), values.pop("port", None))
    if command.takes_mappings:
        values.pop(MAPPING_COUNT.field)
        fields["mappings"] = mappings
    return command.request(**fields, **values)


def _portal(address: str | None, port: int | None) -> Portal | None:
    if address is not None:
        return Portal(address=address, port=DEFAULT_PORT if port is None else port)
    if port is not None:
        raise Usage(
            StatusCode.INVALID_PARAMETER, "a TCP port goes with the address of a portal: give both, or * for both"
        )
    return None
