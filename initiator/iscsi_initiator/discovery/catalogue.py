"""All targets that are known, by name and by what found them (guide, "How targets are organized")."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_initiator.discovery.instance import STATIC, Instance, Source
from iscsi_initiator.status_codes import Refused, StatusCode


class Catalogue:
    """What each source found last. A source that is asked no more leaves its targets."""

    def __init__(self) -> None:
        self._found: dict[Source, dict[str, Instance]] = {}

    def put(self, source: Source, instances: Iterable[Instance]) -> None:
        """What a source found now, instead of what it found before; of several with one name the first counts."""
        found: dict[str, Instance] = {}
        for instance in instances:
            found.setdefault(instance.name, instance)
        self._found[source] = found

    def sources(self) -> list[Source]:
        """Everything that ever found something, in the order of priority."""
        return sorted(self._found, key=lambda source: source.kind)

    def instances(self, name: str) -> list[Instance]:
        """The instances of a target, the one to be logged in to first; empty for one that is unknown or only hidden."""
        found = [self._found[source][name] for source in self.sources() if name in self._found[source]]
        return found if any(not instance.hidden for instance in found) else []

    def names(self) -> list[str]:
        """The targets that are told of, sorted."""
        every = {name for found in self._found.values() for name in found}
        return sorted(name for name in every if self.instances(name))

    def static(self, name: str) -> Instance | None:
        """What was configured by hand for a target, hidden or not."""
        return self._found.get(STATIC, {}).get(name)

    def known(self, name: str) -> list[Instance]:
        """As `instances`. Raises Refused TARGET_NOT_FOUND where there is none."""
        found = self.instances(name)
        if not found:
            raise Refused(StatusCode.TARGET_NOT_FOUND, f"no target {name} is known")
        return found

    def by_mechanism(self, name: str, mechanism: str) -> Instance:
        """The instance that a mechanism found, by its name in either case. Raises Refused: TARGET_NOT_FOUND,
        DISCOVERY_MECHANISM_NOT_FOUND.
        """
        for instance in self.known(name):
            if str(instance.source).lower() == mechanism.strip().lower():
                return instance
        raise Refused(StatusCode.DISCOVERY_MECHANISM_NOT_FOUND, f"{mechanism} has not found {name}")
