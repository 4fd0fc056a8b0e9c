"""What a logical unit counts, for its log pages: only what really happens to storage in a file or in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.log import SelfTestResult
from iscsi_protocol.scsi.sense import Sense

SELF_TESTS_KEPT = 20
"""As many as page 10h has (SPC-4 7.3.19)."""


@dataclass(kw_only=True, slots=True)
class Statistics:
    """Since the unit was opened, or since LOG SELECT: uncorrected errors by kind of command, starts, loads, self-tests.

    other_errors are those that are no error of the medium, such as a full file system.
    """

    write_errors: int = 0
    read_errors: int = 0
    verify_errors: int = 0
    other_errors: int = 0
    starts: int = 0
    loads: int = 0
    self_tests: list[SelfTestResult] = field(default_factory=list)

    def failed(self, counter: str, sense: Sense) -> None:
        """A command of that kind ended with this because the storage failed."""
        name = counter if sense.key == SenseKey.MEDIUM_ERROR else "other_errors"
        setattr(self, name, getattr(self, name) + 1)

    def add_self_test(self, result: SelfTestResult) -> None:
        """Keep a result, the newest first."""
        self.self_tests.insert(0, result)
        del self.self_tests[SELF_TESTS_KEPT:]

    def reset(self, names: tuple[str, ...]) -> None:
        """Begin anew with these counters."""
        for each in fields(self):
            if each.name in names:
                setattr(self, each.name, 0)
