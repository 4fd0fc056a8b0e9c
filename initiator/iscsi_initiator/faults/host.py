"""How initiators run short of what they have, or lose patience with a service that answers in time (guide, Appendix B)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves
from iscsi_initiator.limits import Resource

_SHORTAGES = tuple(
    behaves(
        f"event.{resource.event}.takes-limit-for-exceeded",
        f"One fewer of the {resource.field.replace('_', ' ')} is there than the limit allows.",
        takes_limits_as_reached=frozenset({resource.event}),
    )
    for resource in Resource
)

FAULTS = (
    *_SHORTAGES,
    behaves(
        "event.37.forgets-sha-256",
        "A host without MD5 counts as one without any hash for CHAP.",
        looks_for_md5_alone=True,
    ),
    *(
        behaves(
            f"event.{event}.takes-late-for-never",
            f"A service that takes its time to {what} counts as one that does not answer.",
            impatient_with_service=True,
        )
        for event, what in ((52, "configure IPsec"), (53, "release IPsec"), (54, "encrypt or decrypt a secret"))
    ),
)
