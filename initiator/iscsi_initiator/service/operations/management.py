"""Operations about management data (guide, "WMI")."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_initiator.service import api, operations
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.management import query as data
from iscsi_initiator.service.management.metrics import exposition
from iscsi_initiator.service.management.schema import Property, structures
from iscsi_initiator.service.management.table import CLASSES, find
from iscsi_initiator.service.notices import Subscription
from iscsi_initiator.status_codes import Refused, StatusCode


def _entries(properties: Iterable[Property]) -> tuple[api.PropertyEntry, ...]:
    return tuple(
        api.PropertyEntry(name=each.name, type=each.type, key=each.key, required=each.required, secret=each.secret)
        for each in properties
    )


async def list_classes(core: Core, request: api.ListClasses) -> api.ManagementClasses:
    """The table of classes."""
    del core, request
    return api.ManagementClasses(
        classes=tuple(
            api.ClassEntry(
                name=each.name,
                says=each.says,
                event=each.is_event,
                aliases=each.aliases,
                properties=_entries(each.properties),
                methods=tuple(
                    api.MethodEntry(
                        name=method.name,
                        says=method.says,
                        arguments=_entries(method.arguments),
                        results=_entries(method.gives),
                    )
                    for method in each.methods
                ),
            )
            for each in CLASSES.values()
        ),
        structures=tuple(
            api.StructureEntry(name=each.name, properties=_entries(each.properties))
            for each in structures(CLASSES.values()).values()
        ),
    )


async def query(core: Core, request: api.Query) -> api.Instances:
    """Instances. Raises Refused: REQUEST_NOT_SUPPORTED, INVALID_PARAMETER, and what an adapter says."""
    wanted = find(request.class_name)
    return api.Instances(class_name=wanted.name, instances=tuple(data.query(core, wanted, request.where)))


async def invoke(core: Core, request: api.Invoke) -> api.Invoked:
    """Call a method. Raises Refused as `query`, and whatever the method comes to."""
    wanted = find(request.class_name)
    method = wanted.method(request.method)
    given = data.arguments(wanted, request.method, request.arguments)
    row = data.one(core, wanted, request.where)
    if method.act is not None:
        return api.Invoked(results=data.shown(method.gives, await method.act(core, row, given)))
    if method.request is None:
        raise TypeError(f"{wanted.name}::{method.name} does nothing")
    answer = await operations.perform(core, method.request(row, given))
    results = data.shown(method.gives, method.results(answer))
    return api.Invoked(status=answer.status, message=answer.message, results=results)


async def metrics(core: Core, request: api.Metrics) -> api.Counters:
    """The counters."""
    del request
    return api.Counters(text=exposition(core))


def watch(core: Core, request: api.Watch) -> Subscription:
    """The events of some classes, of all where none is named. Raises Refused REQUEST_NOT_SUPPORTED for a class without."""
    wanted = [find(name) for name in request.classes] or [each for each in CLASSES.values() if each.is_event]
    for each in wanted:
        if not each.is_event:
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{each.name} is no class of events: query it")
    return core.notices.watch([each.name for each in wanted])
