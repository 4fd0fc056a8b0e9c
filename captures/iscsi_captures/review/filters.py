"""Where to look in Wireshark: display filters and command lines for what a review names."""

from __future__ import annotations

import shlex

from iscsi_captures.reading import FrameRef
from iscsi_captures.review.model import ConnectionReview, ReviewFinding

_NO_TAG = 0xFFFFFFFF
_REGISTERED_PORT = "3260"


def frame_filter(frame: FrameRef) -> str:
    """The display filter that leaves this packet of its file."""
    return f"frame.number == {frame.number}"


def command_filter(itt: int, connection: ConnectionReview | None) -> str:
    """The display filter that leaves the PDUs with this Initiator Task Tag; on this connection, where it is known."""
    tag = f"iscsi.initiatortasktag == {itt:#010x}"
    return tag if connection is None else f"tcp.port == {port_of(connection.initiator)} && {tag}"


def finding_filters(finding: ReviewFinding, connection: ConnectionReview | None) -> tuple[str, ...]:
    """The filters for a finding: its packet, and the PDUs of its task; none for what has no packet."""
    packet = (frame_filter(finding.frame),) if finding.frame.number else ()
    if finding.itt is None or finding.itt == _NO_TAG:
        return packet
    return (*packet, command_filter(finding.itt, connection))


def tshark(file: str, filter_text: str, connection: ConnectionReview | None) -> str:
    """A command line that prints what the filter leaves of a file, with segments put into order; quoted for a shell."""
    port = _REGISTERED_PORT if connection is None else port_of(connection.target)
    decode = [] if port == _REGISTERED_PORT else ["-d", f"tcp.port=={port},iscsi"]
    order = ["-o", "tcp.reassemble_out_of_order:TRUE"]
    return shlex.join(["tshark", "-r", file, *decode, *order, "-Y", filter_text, "-V"])


def port_of(endpoint: str) -> str:
    """The port of an endpoint as `Endpoint` writes it."""
    return endpoint.rpartition(":")[2]
