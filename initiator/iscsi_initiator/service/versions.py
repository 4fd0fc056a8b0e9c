"""What the service is made of, and in which versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from iscsi_initiator.service.api.answers import FileVersion

PROJECT = "iscsi-conformance"
PARTS = ("iscsi_initiator", "iscsi_protocol")
"""Packages that have the project's version."""

LIBRARIES = ("msgspec", "cryptography", "prometheus-client")
UNKNOWN = "not installed"


def file_versions() -> tuple[FileVersion, ...]:
    """The packages of the service, the libraries that they stand on, and Python."""
    found = [(part, PROJECT) for part in PARTS] + [(library, library) for library in LIBRARIES]
    return (
        *(FileVersion(name=name, version=_version(distribution)) for name, distribution in found),
        FileVersion(name="python", version=platform.python_version()),
    )


def project_version() -> str:
    """Of the package."""
    return _version(PROJECT)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN
