"""What the service tells of its work: debug messages by category, the log file of them, and traces.

Nothing here opens a socket or asks for the time of its own accord; `iscsi_initiator.service.tracing` is the shell.
"""

from __future__ import annotations
