"""Which field of its PDU each rule is about, so that a finding can mark it. Offsets come from the codec's declarations.

A row is a field and the rules about it. Fields are those of the codec, or one of the parts below. Areas that are about one
field as a whole are named with a dot at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from iscsi_captures.review.model import Field
from iscsi_protocol.pdu import BHS_LENGTH, PDU_CLASSES, RawPdu
from iscsi_protocol.pdu.base import field_of, has_field

OPCODE = "opcode"
LENGTH = "data_segment_length"
RESERVED = "reserved bits"
AHS = "AHS"
DATA = "data"
TEXT = "text"
PADDING = "padding"
HEADER_DIGEST = "header digest"
DATA_DIGEST = "data digest"
PARTS = (RESERVED, AHS, DATA, TEXT, PADDING, HEADER_DIGEST, DATA_DIGEST)

ABOUT: Mapping[str, str] = {
    OPCODE: """framing.target-opcode framing.initiator-opcode login.not-begun login.other-pdu login.again
        login.response-in-full-feature login.two-requests login.response-unasked login.after-failure text.two-requests
        discovery.request-served discovery.unasked logout.request-after logout.request-after-session-logout
        logout.pdu-after-response async.command-after-logout-request async.termination-unanswered
        snack.at-level-0 digest.damaged-request-served digest.damaged-header-served digest.reject-missing
        command.retry-needless command.retry-on-other-connection tmf.answer-after-abort
        tmf.status-inside-fence tmf.fast-abort-without-event mcs.answer-on-other-connection
        datain.other-connection dataout.other-connection r2t.other-connection snack.other-connection
        resent.other-connection snack.after-acknowledgement snack.data-ack-late snack.good-after-reject
        dataout.after-fast-abort dataout.after-termination dataout.unsolicited-in-r2t-mode
        dataout.unsolicited-after-final response.before-the-data tmf.abort-on-other-connection
        tmf.query-on-other-connection tmf.response-before-the-data tmf.fence-not-awaited tmf.abort-not-confirmed
        recovery.before-time2wait recovery.logout-before-time2wait recovery.reassign-before-time2wait
        recovery.after-time2retain reassign.before-logout reassign.before-response login.reinstates-live-connection
        resent.status-differs resent.r2t-differs framing.immediate-bit""",
    RESERVED: "framing.reserved-bits framing.level-2-field",
    PADDING: "framing.padding-not-zero",
    "immediate": """login.not-immediate text.immediate-changed nop.unanswered-not-immediate
        tmf.reassign-not-immediate""",
    AHS: "framing.ahs-in-response framing.ahs-in-request ahs. command.bidirectional-without-length",
    HEADER_DIGEST: "digest.header",
    DATA_DIGEST: "digest.data",
    LENGTH: """tmf.request-with-data tmf.response-with-data r2t.with-data logout.request-with-data
        logout.response-with-data login.answer-to-continue login.request-after-continue login.data-too-long
        command.immediate-data-refused command.immediate-data-not-agreed command.immediate-data-too-long
        command.immediate-data-beyond-length command.data-without-write datain.segment-too-long
        datain.burst-too-long data.segment-not-whole-words dataout.segment-too-long dataout.first-burst-too-long
        dataout.first-burst-too-short dataout.not-the-single-answer dataout.answer-incomplete
        response.sense-missing text.request-after-continue text.request-too-long text.response-too-long
        text.answer-to-continue text.empty-and-unfinished nop.ping-too-long nop.unasked-with-data""",
    DATA: """response.sense-length nop.echo reject.header resent.data-differs snack.reject-data-sn""",
    TEXT: """keys. chap. login.initiator-name-missing login.target-name-missing login.portal-group-tag-missing
        login.redirect-without-address login.redirect-with-tag text.send-targets-not-alone
        text.send-targets-answer text.address-without-tag text.all-targets-on-normal-session text.other-targets""",
    "itt": """login.tag-changed login.response-tag command.tag-reserved command.tag-in-use command.retry-changed
        datain.unknown-tag dataout.unknown-tag r2t.unknown-tag response.unknown-tag text.tag-changed
        text.response-tag nop.answer-tag tmf.response-tag logout.response-tag async.tag reject.tag snack.tag
        snack.task snack.unknown-task datain.no-read dataout.no-write r2t.no-write dataout.unsolicited-out-of-turn""",
    "isid": "login.isid-changed login.reserved-isid-type",
    "tsih": "login.tsih-changed login.final-without-tsih login.early-tsih login.joined-other-tsih",
    "cid": "login.cid-changed",
    "version_max": "login.version-max-changed login.version login.response-version-max-changed",
    "version_min": "login.version-min-changed",
    "version_active": "login.version-active-changed",
    "transit": """login.transit-with-continue login.response-transit-with-continue login.transition
        login.response-transition login.transit-not-asked""",
    "csg": "login.reserved-stage login.wrong-stage login.response-wrong-stage",
    "nsg": "login.stage-without-transit login.stage-above-request",
    "status_class": "login.reserved-status login.too-many-connections",
    "cmd_sn": "cmdsn.gap cmdsn.order cmdsn.reused cmdsn.immediate cmdsn.outside-window login.cmd-sn-advanced",
    "stat_sn": "statsn. resent.status-renumbered snack.r-data-status",
    "exp_stat_sn": "expstatsn. login.status-not-acknowledged digest.damaged-status-acknowledged",
    "exp_cmd_sn": """login.exp-cmd-sn cmdsn.answer-before-acknowledgement cmdsn.acknowledged-too-far
        cmdsn.hole-acknowledged cmdsn.rejected-acknowledged cmdsn.acknowledgement-back resent.old-counters""",
    "max_cmd_sn": "cmdsn.window-shrinks cmdsn.window-below-zero",
    "final": """command.final-or-write command.unsolicited-not-agreed command.final-with-all-data
        datain.status-without-final dataout.final-missing text.final-with-continue
        text.response-final-with-continue text.final-too-early""",
    "read": "command.no-direction",
    "attribute": "command.reserved-attribute",
    "data_sn": """datain.data-sn datain.shared-data-sn dataout.data-sn snack.r-data-start reassign.data-skipped""",
    "buffer_offset": """datain.beyond-expected-length datain.pdu-order datain.sequence-order
        dataout.beyond-expected-length dataout.pdu-order dataout.outside-r2t dataout.answer-not-continuous r2t.order
        r2t.beyond-expected-length""",
    "status": "datain.status-not-good",
    "status_present": "datain.status-of-bidirectional",
    "acknowledge": "datain.acknowledge-at-level-0 datain.acknowledge-too-often",
    "ttt": """datain.acknowledge-without-tag dataout.unknown-transfer-tag dataout.r2t-order r2t.tag-reserved
        text.transfer-tag-not-copied text.transfer-tag-unknown text.final-with-tag text.tag-missing
        nop.answer-to-no-ping nop.answer-with-transfer-tag snack.r-data-tag snack.transfer-tag
        snack.r-data-tag-reused snack.data-ack-tag""",
    "lun": "datain.lun dataout.lun r2t.lun nop.answer-lun tmf.lun-reserved",
    "r2t_sn": "r2t.r2t-sn r2t.too-many",
    "desired_data_transfer_length": "r2t.zero-length r2t.too-long",
    "overflow": "residual.both-flags residual.on-failure residual.overflow-before-end",
    "underflow": "residual.underflow-missing",
    "residual_count": "residual.count-without-flag residual.overflow-count residual.underflow-count",
    "bidi_residual_count": "residual.bidirectional-count",
    "response": """response.reserved-code tmf.reserved-response tmf.function-succeeded tmf.abort-of-tmf tmf.query-of-tmf
        tmf.live-task-denied tmf.ended-task-aborted logout.reserved-response logout.recovery-at-low-level
        logout.cid-denied logout.session-cid-denied logout.recovery-denied reassign.at-low-level
        reassign.of-allegiant-task reassign.still-allegiant reassign.not-supported reassign.task-gone
        logout.unknown-cid reassign.of-no-command""",
    "exp_data_sn": "response.exp-data-sn response.exp-data-sn-without-data reassign.exp-data-sn",
    "snack_tag": "response.snack-tag snack.r-data-response-tag",
    "function": "tmf.reserved-function tmf.level-2-function",
    "referenced_task_tag": "tmf.referenced-tag",
    "ref_cmd_sn": """tmf.ref-cmd-sn tmf.ref-cmd-sn-of-immediate tmf.ref-cmd-sn-too-high tmf.ref-cmd-sn-reserved
        tmf.query-ref-cmd-sn""",
    "reason": """logout.reserved-reason async.logout-reason reject.reserved-reason reject.deprecated-reason
        digest.reject-reason snack.not-supported""",
    "async_event": "async.reserved-event async.fast-abort-not-agreed",
    "beg_run": """snack.r-data-run snack.acknowledged-data snack.below-reassignment snack.data-after-resize
        snack.data-ack-run""",
    "run_length": "snack.run-length",
    "snack_type": "snack.reserved-type",
}
_FIELD_OF = {name: field for field, names in ABOUT.items() for name in names.split()}


@cache
def about(rule: str) -> str | None:
    """The field that a rule is about; None for a rule that has no row."""
    return _FIELD_OF.get(rule) or _FIELD_OF.get(rule.partition(".")[0] + ".")


def field_of_rule(rule: str, raw: RawPdu, message: str = "") -> Field | None:
    """Where in this PDU the field lies that a finding of this rule is about. message: of the finding; it names the key."""
    name = about(rule)
    if name is None:
        return None
    if name in PARTS:
        return _PLACES[name](raw, message)
    if not has_field(raw.opcode, name):
        return None
    at = field_of(raw.opcode, name).at
    return Field(name=name, part="header", offset=at.offset, length=at.size)


def _reserved(raw: RawPdu, _message: str) -> Field | None:
    """The bytes from the first to the last with a reserved bit that is set."""
    cls = PDU_CLASSES.get(raw.opcode)
    if cls is None:
        return None
    stray = (int.from_bytes(raw.bhs, "big") & cls.RESERVED_MASK).to_bytes(BHS_LENGTH, "big")
    places = [place for place, byte in enumerate(stray) if byte]
    if not places:
        return None
    return Field(name=RESERVED, part="header", offset=places[0], length=places[-1] - places[0] + 1)


def _ahs(raw: RawPdu, _message: str) -> Field | None:
    if not len(raw.ahs):
        return Field(name="total_ahs_length", part="header", offset=4, length=1)
    return Field(name=AHS, part="AHS", offset=0, length=len(raw.ahs))


def _data(raw: RawPdu, _message: str) -> Field | None:
    if not len(raw.data):
        return Field(name=LENGTH, part="header", offset=5, length=3)
    return Field(name=DATA, part="data", offset=0, length=len(raw.data))


def _text(raw: RawPdu, message: str) -> Field | None:
    """The pair whose key the message names; all of the text where it names none of them."""
    data, offset = bytes(raw.data), 0
    words = set(message.replace("=", " ").replace(",", " ").replace(":", " ").split())
    for pair in data.split(b"\0"):
        key = pair.partition(b"=")[0].decode("utf-8", "replace")
        if key and key in words:
            return Field(name=key, part="data", offset=offset, length=len(pair))
        offset += len(pair) + 1
    return _data(raw, message)


def _padding(raw: RawPdu, _message: str) -> Field | None:
    size = len(raw.padding)
    return Field(name=PADDING, part="data", offset=len(raw.data), length=size) if size else None


def _data_digest(raw: RawPdu, _message: str) -> Field | None:
    size = len(raw.data_digest)
    return Field(name=DATA_DIGEST, part="data", offset=len(raw.data) + len(raw.padding), length=size) if size else None


def _header_digest(raw: RawPdu, _message: str) -> Field | None:
    size = len(raw.header_digest)
    return Field(name=HEADER_DIGEST, part="AHS", offset=len(raw.ahs), length=size) if size else None


_PLACES: Mapping[str, Callable[[RawPdu, str], Field | None]] = {
    RESERVED: _reserved,
    AHS: _ahs,
    DATA: _data,
    TEXT: _text,
    PADDING: _padding,
    HEADER_DIGEST: _header_digest,
    DATA_DIGEST: _data_digest,
}
