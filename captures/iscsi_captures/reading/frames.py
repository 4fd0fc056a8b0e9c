"""Frames as people find them again in Wireshark: a file and a number in it."""

from __future__ import annotations

from dataclasses import dataclass

FrameNumber = int
"""Index of the file in the order given, shifted left by FILE_SHIFT, and the frame's number in that file, from 1."""

FILE_SHIFT = 40
NO_FRAME: FrameNumber = 0
"""Stands where no frame is known: what is found out only when the capture is over."""


@dataclass(frozen=True, slots=True, order=True)
class FrameRef:
    """file: index among the files given, from 0; number: as Wireshark counts in that file, from 1."""

    file: int
    number: int


def frame_of(frame: FrameNumber) -> FrameRef:
    """The file and the number in it."""
    return FrameRef(frame >> FILE_SHIFT, frame & (1 << FILE_SHIFT) - 1)


def frame_number(file: int, number: int) -> FrameNumber:
    """The other way round; both must not be negative, and the number is below 2**40."""
    return file << FILE_SHIFT | number
