"""The bundled initiator against tgt: an image goes there and comes back, with and without digests, with CHAP."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
USER, SECRET = "tester", "a-secret-of-some-length"
DIGESTS = ("--header-digest", "crc32c", "--data-digest", "crc32c")
VARIATIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "digests": ({"header_digest": "CRC32C,None", "data_digest": "CRC32C,None"}, DIGESTS),
    "chap": ({"chap": (USER, SECRET)}, ()),
}


def initiator(*arguments: str | Path) -> None:
    """Run the bundled initiator's command line to its end."""
    command = [sys.executable, "-c", "from iscsi_initiator.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("variation", VARIATIONS)
def test_image_goes_there_and_comes_back(variation: str, start_tgtd: Callable[..., Any], tmp_path: Path) -> None:
    options, arguments = VARIATIONS[variation]
    tgtd = start_tgtd(size=64 * MIB, **options)
    url = tgtd.url
    if "chap" in options:
        (tmp_path / "secret").write_text(SECRET)
        (tmp_path / "secret").chmod(0o600)
        arguments = ("--secret-file", str(tmp_path / "secret"))
        url = url.replace("iscsi://", f"iscsi://{USER}@")
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(random.Random(3720).randbytes(64 * MIB))
    initiator("copy", *arguments, image, url)
    assert tgtd.backing.read_bytes() == image.read_bytes()
    initiator("copy", *arguments, url, back)
    assert back.read_bytes() == image.read_bytes()
