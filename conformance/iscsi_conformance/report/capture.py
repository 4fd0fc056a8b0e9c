"""Where a case's capture lies."""

from __future__ import annotations

from pathlib import PurePosixPath

from iscsi_conformance.result import CaseResult


def capture_path(result: CaseResult) -> PurePosixPath | None:
    """The capture's path below the report's folder; None where there is none, or where it would lead elsewhere."""
    if result.evidence.capture is None:
        return None
    path = PurePosixPath(result.evidence.capture)
    return None if path.is_absolute() or ".." in path.parts else path
