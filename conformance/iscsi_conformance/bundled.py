"""The bundled pair: what the bundled target offers when it is the one under test, and how the suite addresses it.

One server with several nodes, so that every way a login can end is there to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iscsi_conformance.feature import Feature
from iscsi_conformance.profile import ChapLogin, Profile
from iscsi_target.config import (
    ChapConfig,
    ChapMutual,
    LunConfig,
    PortalConfig,
    Redirect,
    Size,
    TargetConfig,
    TargetNode,
    Timers,
)
from iscsi_target.policy import Policy

_PREFIX = "iqn.2026-11.org.iscsi-conformance"
PLAIN = f"{_PREFIX}:plain"
CHAP = f"{_PREFIX}:chap"
MUTUAL = f"{_PREFIX}:mutual"
DENIED = f"{_PREFIX}:denied"
MOVED = f"{_PREFIX}:moved"
GONE = f"{_PREFIX}:gone"
SPARE = f"{_PREFIX}:one-more-disk"
"""Not used by itself: with it SendTargets=All takes more than 512 bytes."""
INITIATOR_NAME = f"{_PREFIX}:tester"

# Known to everyone who reads this: they guard a target in memory that only this machine reaches.
_USER, _SECRET = "tester", "one-way-secret-1"
_OTHER_USER, _OTHER_SECRET = "onlooker", "one-way-secret-3"
_TARGET_USER, _TARGET_SECRET = "bundled", "mutual-secret-22"

PORTAL_GROUPS = (1, 2, 1)
"""The portals' group tags, in order."""
GROUP_PORTAL = 2
"""The place of the second portal of the first one's group."""

LOGIN_TIME = 6.0
"""Seconds that a login may take where the target is the one under test: a case can wait for its end, and it is longer than
the response time."""

AT_ONCE = {"DefaultTime2Wait": "0"}
"""Recovery may begin at once, so that cases need not wait for it."""

DISK_SIZE = Size(4 << 20)
MOVED_TO = "127.0.0.1:3260"


def own_name(case_id: str) -> str:
    """The name of the target node that a case has to itself."""
    return f"{_PREFIX}:{case_id}"


def bundled_profile() -> Profile:
    """How the suite reaches the nodes of `bundled_config`."""
    one_way = ChapLogin(user=_USER, secret=_SECRET)
    return Profile(
        name="bundled",
        target_name=PLAIN,
        initiator_name=INITIATOR_NAME,
        lun=0,
        destructive=True,
        chap_target=CHAP,
        chap=one_way,
        other_chap=ChapLogin(user=_OTHER_USER, secret=_OTHER_SECRET),
        mutual_target=MUTUAL,
        mutual=replace_login(one_way, _TARGET_USER, _TARGET_SECRET),
        denied_target=DENIED,
        redirected_target=MOVED,
        removed_target=GONE,
        login_time=LOGIN_TIME,
        features=frozenset({Feature.PROVOKED_EVENTS}),
    )


def replace_login(login: ChapLogin, target_user: str, target_secret: str) -> ChapLogin:
    """The same login, expecting the target to prove itself too."""
    return ChapLogin(user=login.user, secret=login.secret, target_user=target_user, target_secret=target_secret)


def bundled_config(
    policy: Mapping[str, object] | None = None, *, port: int = 0, timers: Timers | None = None
) -> TargetConfig:
    """The server of the bundled pair on IPv4 loopback. policy: switches that differ from the conforming default."""
    disk = LunConfig(size=DISK_SIZE)
    users = {_USER: _SECRET}
    switches: dict[str, Any] = dict(policy or {})
    return TargetConfig(
        targets=[
            TargetNode(name=PLAIN, alias="plain disk", luns={0: disk, 1: replace_disk(disk)}, keys=AT_ONCE),
            TargetNode(name=CHAP, luns={0: disk}, chap=ChapConfig(users={**users, _OTHER_USER: _OTHER_SECRET})),
            TargetNode(
                name=MUTUAL,
                luns={0: disk},
                chap=ChapConfig(users=users, mutual=ChapMutual(name=_TARGET_USER, secret=_TARGET_SECRET)),
            ),
            TargetNode(name=DENIED, luns={0: disk}, access={f"{_PREFIX}:somebody-else": [0]}),
            TargetNode(name=MOVED, luns={0: disk}, redirect=Redirect(address=MOVED_TO)),
            TargetNode(name=GONE, removed=True),
            TargetNode(name=SPARE, luns={0: disk}),
        ],
        portals=[PortalConfig(address=f"127.0.0.1:{port}", group_tag=tag) for tag in PORTAL_GROUPS],
        timers=timers or Timers(),
        policy=replace(Policy(), **switches),
    )


def replace_disk(disk: LunConfig) -> LunConfig:
    """A second, read-only disk with large blocks."""
    return LunConfig(size=disk.size, block_size=4096, read_only=True)
