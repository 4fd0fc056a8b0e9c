"""Requests about settings; no command of Appendix C sets them, on Windows they stand in the registry (guide, Appendix F)."""

from __future__ import annotations

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_text


class ImportSettings(Operation[Answer], frozen=True, kw_only=True):
    """Take settings from a `.reg` file, whole or not at all. data: the file; instance: the driver's, four digits, where the
    file has several. Settings count from the next start on: then the answer has the warning OPERATION_REQUIRES_REBOOT.
    """

    data: bytes
    instance: str | None = None

    def check(self) -> None:
        check_text(self.instance, "the driver's instance")
