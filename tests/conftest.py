"""What every test shares: the hypothesis profiles, and which folders run only when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

HERE = Path(__file__).resolve().parent

ON_REQUEST = (HERE / "interop", HERE / "proof", HERE / "recordings")
"""Folders with a tox environment of their own: collected only when an argument names them or a part of them."""

hypothesis.settings.register_profile(
    "dev",
    max_examples=30,
    deadline=None,
    derandomize=False,
    database=DirectoryBasedExampleDatabase(HERE.parent / ".hypothesis" / "examples"),
)
hypothesis.settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("ci"), max_examples=2000, print_blob=True)
hypothesis.settings.register_profile("search", hypothesis.settings.get_profile("long"), derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a folder of ON_REQUEST out unless the command line names it or something in it."""
    if collection_path not in ON_REQUEST:
        return None
    started_in = config.invocation_params.dir
    named = [(started_in / argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(collection_path) for path in named) else True
