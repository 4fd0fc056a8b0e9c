"""iscsi-captures explain-event: events out of Windows event logs, or out of our own, in plain words.

Exit codes: 0 events were explained, 2 usage, 3 the input is unreadable or has no such event.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

_HELP = """\b
Examples:
  iscsi-captures explain-event System.evtx
  iscsi-captures explain-event --json exported.xml
  iscsi-captures explain-event            (paste a dump, then Ctrl-D)

Explain the events of the Windows initiator, iScsiPrt and MSiSCSI, that FILE or standard input holds.

FILE is a hex dump as the Event Viewer shows it, exported XML, an .evtx file, or the log of iscsi-initiator. A CHAP secret
that an event may hold is never printed. Exit codes: 0 explained, 2 usage, 3 unreadable or no such event.
"""


@click.command(
    "explain-event",
    short_help="Explain events of a Windows event log: a hex dump, XML, an .evtx file.",
    help=_HELP,
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-", metavar="[FILE|-]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_event(file: Path, as_json: bool) -> None:
    """Explain the events of the Windows initiator that FILE or standard input holds."""
    # The other commands shall not wait for what only this one needs.
    from iscsi_captures.explain.telling import tell  # noqa: PLC0415

    sys.exit(tell(file, as_json=as_json))
