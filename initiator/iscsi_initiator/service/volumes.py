"""Volumes: file systems that are mounted, by what they are mounted from (proc(5): mountinfo)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOUNT_POINT = 4


@dataclass(frozen=True, slots=True)
class Volume:
    """mount_point: the folder; source: the device, or what else the file system says it is mounted from."""

    mount_point: str
    source: str


def volumes(mountinfo: str) -> list[Volume]:
    """Every mounted file system, in the order in which the kernel tells them. mountinfo: the text of that file."""
    found = []
    for line in mountinfo.splitlines():
        before, separator, behind = line.partition(" - ")
        fields, source = before.split(" "), behind.split(" ")
        if separator and len(fields) > _MOUNT_POINT and len(source) > 1:
            found.append(Volume(_plain(fields[_MOUNT_POINT]), _plain(source[1])))
    return found


def host_mounts() -> str:
    """The mountinfo of this process. Raises OSError."""
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")


def _plain(text: str) -> str:
    """Spaces and such are written as octal escapes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
