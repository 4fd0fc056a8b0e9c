"""Text exchanges of the full feature phase, SendTargets, discovery sessions (4.3, 6.2, 6.4, 7.4, 11.10, 11.11, C)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.numbers import is_resent, is_retry
from iscsi_captures.rules.model import Rules, Stain, above_segment
from iscsi_protocol.pdu import NO_TAG, Opcode, opcode_name

RULES = Rules((Phase.FULL,), from_start=True)
_REQUEST = Opcode.TEXT_REQUEST
_RESPONSE = Opcode.TEXT_RESPONSE


@RULES("text.final-with-continue", "R7143-11.10.2-01", _REQUEST, leans=False)
def final_with_continue(sight: Sight) -> str | None:
    """C=1 goes with F=0 in a Text Request."""
    return "F and C are both set" if sight.final and sight.continued else None


@RULES("text.response-final-with-continue", "R7143-11.11.2-01", _RESPONSE, leans=False)
def response_final_with_continue(sight: Sight) -> str | None:
    """C=1 goes with F=0 in a Text Response."""
    return "F and C are both set" if sight.final and sight.continued else None


@RULES("text.tag-changed", "R7143-11.10.3-01", _REQUEST)
def tag_changed(sight: Sight) -> str | None:
    """All requests of a sequence share one Initiator Task Tag."""
    exchange = sight.exchange
    if exchange is None or sight.word(20) == NO_TAG or exchange.itt == sight.itt:
        return None
    return f"Initiator Task Tag {sight.itt:#010x} in a sequence that began with {exchange.itt:#010x}"


@RULES("text.immediate-changed", "R7143-11.10.3-02", _REQUEST)
def immediate_changed(sight: Sight) -> str | None:
    """All requests of a sequence have the same I bit."""
    exchange = sight.exchange
    if exchange is None or exchange.immediate == sight.immediate:
        return None
    return f"the I bit is {int(sight.immediate)} in a sequence that began with {int(exchange.immediate)}"


@RULES("text.two-requests", "R7143-11.10-01", _REQUEST)
def two_requests(sight: Sight) -> str | None:
    """One Text Request is outstanding at most."""
    before = sight.connection.exchange
    if before is None or not before.asked or sight.session.uncertain or is_retry(sight):
        return None
    return "a Text Request before the one before it was answered"


@RULES("text.transfer-tag-not-copied", "R7143-11.11.4-03", _REQUEST)
def transfer_tag_not_copied(sight: Sight) -> str | None:
    """The next request of a sequence copies Target Transfer Tag and LUN of the response."""
    exchange, ttt = sight.exchange, sight.word(20)
    if ttt == NO_TAG or exchange is None or exchange.ttt is None:
        return None
    if (ttt, bytes(sight.bhs[8:16])) == (exchange.ttt, exchange.lun):
        return None
    lun = bytes(sight.bhs[8:16]).hex()
    return f"tag {ttt:#010x} and LUN {lun} after {exchange.ttt:#010x} and {exchange.lun.hex()}"


@RULES("text.transfer-tag-unknown", "R7143-4.2.5.3-03", _REQUEST)
def transfer_tag_unknown(sight: Sight) -> str | None:
    """A new sequence begins with the reserved Target Transfer Tag."""
    before, ttt = sight.connection.exchange, sight.word(20)
    if ttt == NO_TAG or (before is not None and before.ttt is not None) or sight.session.uncertain:
        return None
    return f"Target Transfer Tag {ttt:#010x}, which no Text Response gave"


@RULES("text.request-after-continue", "R7143-6.2-03", _REQUEST)
def request_after_continue(sight: Sight) -> str | None:
    """A response with C=1 is answered without data."""
    exchange = sight.exchange
    if exchange is None or not exchange.answer_continued or sight.word(20) == NO_TAG or not sight.length:
        return None
    return f"{sight.length} bytes of data in answer to C=1"


@RULES("text.request-too-long", "R7143-11.10.5-01", _REQUEST)
def request_too_long(sight: Sight) -> str | None:
    """The data stays within the target's MaxRecvDataSegmentLength."""
    return above_segment(sight)


@RULES("text.response-too-long", "R7143-11.11.6-01", _RESPONSE)
def response_too_long(sight: Sight) -> str | None:
    """The data stays within the initiator's MaxRecvDataSegmentLength."""
    return above_segment(sight)


@RULES("text.response-tag", "R7143-11.11.3-01", _RESPONSE)
def response_tag(sight: Sight) -> str | None:
    """A Text Response has the tag of the request that it answers, and answers it once."""
    exchange = sight.exchange
    if is_resent(sight):
        return None
    if exchange is None or exchange.itt != sight.itt:
        return f"Initiator Task Tag {sight.itt:#010x} is that of no Text Request"
    return None if exchange.asked else "a second Text Response to one Text Request"


@RULES("text.answer-to-continue", "R7143-6.2-02", _RESPONSE)
def answer_to_continue(sight: Sight) -> str | None:
    """A request with C=1 is answered without data."""
    exchange = sight.exchange
    if exchange is None or not exchange.asked or not exchange.request_continued or not sight.length:
        return None
    return f"{sight.length} bytes of data in answer to C=1"


@RULES("text.final-too-early", "R7143-11.11.1-01", _RESPONSE)
def final_too_early(sight: Sight) -> str | None:
    """F=1 does not answer F=0."""
    exchange = sight.exchange
    return (
        "F=1 in answer to F=0" if exchange and exchange.asked and sight.final and not exchange.request_final else None
    )


@RULES("text.final-with-tag", "R7143-11.11.1-03", _RESPONSE, leans=False)
def final_with_tag(sight: Sight) -> str | None:
    """F=1 goes with Target Transfer Tag 0xffffffff."""
    ttt = sight.word(20)
    return f"F=1 with Target Transfer Tag {ttt:#010x}" if sight.final and ttt != NO_TAG else None


@RULES("text.tag-missing", "R7143-11.11.1-04", _RESPONSE, leans=False)
def tag_missing(sight: Sight) -> str | None:
    """F=0 goes with a Target Transfer Tag other than 0xffffffff."""
    return "F=0 with Target Transfer Tag 0xffffffff" if not sight.final and sight.word(20) == NO_TAG else None


@RULES("text.empty-and-unfinished", "R7143-6.4-06", _RESPONSE, level="SHOULD")
def empty_and_unfinished(sight: Sight) -> str | None:
    """F=1 is not answered by an empty response with F=0."""
    exchange = sight.exchange
    if exchange is None or not exchange.asked or not exchange.request_final or sight.final or sight.length:
        return None
    return "an empty response with F=0 in answer to F=1"


@RULES("text.send-targets-not-alone", "R7143-C-07", _REQUEST, leans=False)
def send_targets_not_alone(sight: Sight) -> str | None:
    """SendTargets is the only key of its request."""
    keys = [pair.key for pair in sight.pairs or ()]
    return f"SendTargets beside {len(keys) - 1} other keys" if "SendTargets" in keys and len(keys) > 1 else None


@RULES("text.send-targets-answer", "R7143-C-14", _RESPONSE)
def send_targets_answer(sight: Sight) -> str | None:
    """The answer to SendTargets has records of TargetName and TargetAddress, the name first."""
    exchange = sight.exchange
    if exchange is None or exchange.send_targets is None or not sight.pairs:
        return None
    for pair in sight.pairs:
        if pair.key not in ("TargetName", "TargetAddress") and not (pair.key == "SendTargets" and pair.refusal):
            return f"{pair.key} in the answer to SendTargets"
    if sight.pairs[0].key == "TargetAddress" and exchange.ttt is None:
        return "the answer to SendTargets begins with a TargetAddress"
    return None


@RULES("text.address-without-tag", "R7143-13.8-02", _RESPONSE, stain=Stain.NOTHING)
def address_without_tag(sight: Sight) -> str | None:
    """The TargetAddress of an answer to SendTargets has its portal group tag."""
    exchange = sight.exchange
    if exchange is None or exchange.send_targets is None:
        return None
    for pair in sight.pairs or ():
        if pair.key == "TargetAddress" and "," not in pair.value:
            return f"TargetAddress={pair.value} without portal group tag"
    return None


@RULES("text.all-targets-on-normal-session", "R7143-C-09", _RESPONSE, stain=Stain.NOTHING)
def all_targets(sight: Sight) -> str | None:
    """SendTargets=All is not served on a normal session."""
    exchange = sight.exchange
    if exchange is None or exchange.send_targets != "All" or sight.session.discovery is not False:
        return None
    names = [pair.value for pair in sight.pairs or () if pair.key == "TargetName"]
    return f"SendTargets=All answered with {len(names)} targets on a normal session" if names else None


@RULES("text.other-targets", "R7143-C-13", _RESPONSE, stain=Stain.NOTHING)
def other_targets(sight: Sight) -> str | None:
    """SendTargets without a value returns the session's own target alone."""
    exchange, own = sight.exchange, sight.connection.login.negotiation.said[0].get("TargetName")
    if exchange is None or exchange.send_targets != "" or own is None:
        return None
    others = [pair.value for pair in sight.pairs or () if pair.key == "TargetName" and pair.value != own]
    return f"SendTargets= on a session of {own} answered with {others[0]}" if others else None


_SERVED = (
    Opcode.SCSI_RESPONSE,
    Opcode.SCSI_DATA_IN,
    Opcode.R2T,
    Opcode.TASK_MANAGEMENT_RESPONSE,
    Opcode.NOP_IN,
)


@RULES("discovery.request-served", "R7143-4.3-02", *_SERVED, leans=False, stain=Stain.NOTHING)
def request_served(sight: Sight) -> str | None:
    """On a discovery session everything but SendTargets and Logout is rejected."""
    if not sight.session.discovery or sight.itt == NO_TAG:
        return None
    return f"{opcode_name(sight.opcode)} on a discovery session"


@RULES(
    "discovery.unasked",
    "R7143-7.4.3-01",
    Opcode.NOP_IN,
    Opcode.ASYNC_MESSAGE,
    level="SHOULD",
    leans=False,
)
def unasked(sight: Sight) -> str | None:
    """On a discovery session the target sends only answers."""
    if not sight.session.discovery or sight.itt != NO_TAG:
        return None
    return f"{opcode_name(sight.opcode)} on a discovery session"
