"""The file that events are kept in: appending to it, rotating it, and reading it meanwhile (guide, Appendix B).

What an event is, and what its packet says, is `iscsi_protocol.eventlog`.
"""

from __future__ import annotations

from iscsi_initiator.eventlog.reader import LogReader, Remark
from iscsi_initiator.eventlog.writer import EventLogWriter

__all__ = ["EventLogWriter", "LogReader", "Remark"]
