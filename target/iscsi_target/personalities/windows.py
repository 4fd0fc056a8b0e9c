"""What the validation of a Windows cluster asks of shared storage."""

from __future__ import annotations

from iscsi_target.personalities.model import Personality, Quirk

PERSONALITY = Personality(
    name="windows-cluster",
    says="Shared storage as the validation of a Windows cluster wants it.",
    quirks=(
        Quirk(
            says="Reservations are persistent ones; RESERVE and RELEASE are not there.",
            sources=(
                "https://github.com/quantum/esos/issues/62",
                "https://github.com/spdk/spdk/commit/62d01929b8",
                "https://github.com/spdk/spdk/commit/cde2142cd0",
            ),
            lun={"reservations": "persistent"},
        ),
        Quirk(
            says="A nexus that is made anew finds a unit attention, on every path.",
            sources=(
                "https://github.com/SCST-project/scst/commit/92db6a9fc",
                "https://github.com/opensvc/multipath-tools/issues/92",
            ),
            node={"initial_unit_attention": True},
        ),
        Quirk(
            says="REPORT LUNS lists flat LUNs.",
            sources=("https://github.com/TalAloni/iSCSIConsole/issues/6",),
            node={"lun_addressing": "flat"},
        ),
        Quirk(
            says="A write is stable when it is answered: there is no cache that a node that dies could take with it.",
            sources=("https://github.com/fujita/tgt/commit/721fce6",),
            lun={"write_cache": False},
        ),
    ),
)
