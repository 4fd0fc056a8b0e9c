"""The login phase: PDUs, stages, flags and identity (4.2.4, 6.3, 11.12, 11.13)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Side, Sight
from iscsi_captures.rules.model import ALL_OPCODES, Rules, Stain
from iscsi_protocol.pdu import LoginStatus, Opcode, Stage, opcode_name

RULES = Rules((Phase.LOGIN,), from_start=True)
_REQUEST = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE
_BOTH = (_REQUEST, _RESPONSE)
_OTHERS = tuple(opcode for opcode in ALL_OPCODES if opcode not in _BOTH)
_STAGES = frozenset(Stage)
DATA_LIMIT = 8192


def _refusal(sight: Sight) -> bool:
    """Whether this Login Response says that the login failed: flags and numbers then mean nothing (11.13.5)."""
    return sight.opcode == _RESPONSE and bool(sight.bhs[36])


def _changed(sight: Sight, place: slice) -> tuple[str, str] | None:
    """Header bytes that differ from those of the first request, as hex before and now."""
    first = sight.connection.login.first
    before, now = first[place], bytes(sight.bhs[place])
    return None if not first or before == now else (before.hex(), now.hex())


@RULES("login.not-begun", "R7143-11.12-01", *(o for o in _OTHERS if o < 0x20), leans=False)
def not_begun(sight: Sight) -> str | None:
    """An initiator logs in before anything else."""
    return None if sight.connection.login.first else f"the connection begins with a {opcode_name(sight.opcode)}"


@RULES("login.other-pdu", "R7143-4.2.4-03", *_OTHERS)
def other_pdu(sight: Sight) -> str | None:
    """Only Login Requests and Responses cross during login."""
    login = sight.connection.login
    if not login.first and sight.side is Side.INITIATOR:
        return None
    return f"{opcode_name(sight.opcode)} before the full feature phase"


@RULES("login.again", "R7143-4.2.4-05", _REQUEST, phases=(Phase.FULL,))
def again(sight: Sight) -> str | None:
    """A connection logs in once."""
    return f"a Login Request on a connection that is logged in, or was, as CID {sight.connection.cid}"


@RULES("login.response-in-full-feature", "R7143-4.2.4-03", _RESPONSE, phases=(Phase.FULL,))
def response_in_full_feature(sight: Sight) -> str | None:
    """Login Responses belong to the login phase."""
    return "a Login Response in the full feature phase" if sight.connection.login.answered else None


@RULES("login.not-immediate", "R7143-11.12-02", _REQUEST, leans=False)
def not_immediate(sight: Sight) -> str | None:
    """Login Requests have the I bit set."""
    return None if sight.immediate else "the I bit is 0"


@RULES("login.tag-changed", "R7143-11.12-03", _REQUEST, leans=False)
def tag_changed(sight: Sight) -> str | None:
    """All requests of a login share one Initiator Task Tag."""
    changed = _changed(sight, slice(16, 20))
    return f"Initiator Task Tag {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.isid-changed", "R7143-4.2.5.3-03", _REQUEST, leans=False)
def isid_changed(sight: Sight) -> str | None:
    """The ISID stays what the login began with."""
    changed = _changed(sight, slice(8, 14))
    return f"ISID {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.tsih-changed", "R7143-11.12.6-03", _REQUEST, leans=False)
def tsih_changed(sight: Sight) -> str | None:
    """All requests of a login carry the same TSIH."""
    changed = _changed(sight, slice(14, 16))
    return f"TSIH {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.cid-changed", "R7143-11.12.7-01", _REQUEST, leans=False)
def cid_changed(sight: Sight) -> str | None:
    """All requests of a login carry the same CID."""
    changed = _changed(sight, slice(20, 22))
    return f"CID {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.version-max-changed", "R7143-11.12.4.1-01", _REQUEST, leans=False)
def version_max_changed(sight: Sight) -> str | None:
    """All requests of a login carry the same Version-max."""
    changed = _changed(sight, slice(2, 3))
    return f"Version-max {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.version-min-changed", "R7143-11.12.4.2-01", _REQUEST, leans=False)
def version_min_changed(sight: Sight) -> str | None:
    """All requests of a login carry the same Version-min."""
    changed = _changed(sight, slice(3, 4))
    return f"Version-min {changed[1]} in a login that began with {changed[0]}" if changed else None


@RULES("login.version", "R7143-11.12.4-01", *_BOTH)
def version(sight: Sight) -> str | None:
    """The version fields are 0."""
    high, low = sight.bhs[2], sight.bhs[3]
    return f"versions {high:#04x} and {low:#04x}" if high or low else None


@RULES("login.reserved-isid-type", "R7143-11.12.5-03", _REQUEST, leans=False)
def isid_type(sight: Sight) -> str | None:
    """The ISID's type 11b is reserved."""
    return f"ISID {bytes(sight.bhs[8:14]).hex()} has the reserved type" if sight.bhs[8] & 0xC0 == 0xC0 else None


@RULES("login.transit-with-continue", "R7143-11.12.2-01", _REQUEST, leans=False)
def request_transit_with_continue(sight: Sight) -> str | None:
    """C=1 goes with T=0 in a Login Request."""
    return "T and C are both set" if sight.final and sight.continued else None


@RULES("login.response-transit-with-continue", "R7143-11.13.7-01", _RESPONSE, leans=False)
def response_transit_with_continue(sight: Sight) -> str | None:
    """C=1 goes with T=0 in a Login Response."""
    return "T and C are both set" if sight.final and sight.continued and not _refusal(sight) else None


@RULES("login.reserved-stage", "R7143-11.12.3-01", *_BOTH, leans=False)
def reserved_stage(sight: Sight) -> str | None:
    """Stages are 0, 1 and 3, and the current one is not 3."""
    following = sight.bhs[1] & 3
    if _refusal(sight):
        return None
    if sight.stage not in _STAGES or sight.stage == Stage.FULL_FEATURE:
        return f"CSG is {sight.stage}"
    if sight.final and following not in _STAGES:
        return f"NSG is {following}"
    return None


@RULES("login.stage-without-transit", "R7143-11.12.3-01", *_BOTH, leans=False, stain=Stain.NOTHING)
def stage_without_transit(sight: Sight) -> str | None:
    """NSG is reserved with T=0."""
    following = sight.bhs[1] & 3
    return f"NSG is {following} with T=0" if following and not sight.final and not _refusal(sight) else None


@RULES("login.transition", "R7143-6.3-17", _REQUEST, leans=False)
def request_transition(sight: Sight) -> str | None:
    """Stages only go forward, security before operational before full feature."""
    following = sight.bhs[1] & 3
    if not sight.final or following > sight.stage:
        return None
    return f"a transition from stage {sight.stage} to {following}"


@RULES("login.response-transition", "R7143-6.3-17", _RESPONSE)
def response_transition(sight: Sight) -> str | None:
    """The target's transition goes forward too."""
    following = sight.bhs[1] & 3
    if _refusal(sight) or not sight.final or following > sight.stage:
        return None
    return f"a transition from stage {sight.stage} to {following}"


@RULES("login.wrong-stage", "R7143-6.3-12", _REQUEST)
def wrong_stage(sight: Sight) -> str | None:
    """A request's CSG is the stage that the exchange before led to."""
    stage = sight.connection.login.stage
    return None if stage is None or stage == sight.stage else f"CSG is {sight.stage} in stage {stage}"


@RULES("login.response-wrong-stage", "R7143-6.3-12", _RESPONSE)
def response_wrong_stage(sight: Sight) -> str | None:
    """A response's CSG is that of its request."""
    last = sight.connection.login.last
    if _refusal(sight) or not last or last[1] >> 2 & 3 == sight.stage:
        return None
    return f"CSG is {sight.stage} in answer to {last[1] >> 2 & 3}"


@RULES("login.transit-not-asked", "R7143-11.13.6-02", _RESPONSE)
def transit_not_asked(sight: Sight) -> str | None:
    """T=1 only answers T=1."""
    last = sight.connection.login.last
    return "T=1 in answer to T=0" if last and sight.final and not last[1] & 0x80 and not _refusal(sight) else None


@RULES("login.stage-above-request", "R7143-6.3-13", _RESPONSE)
def stage_above_request(sight: Sight) -> str | None:
    """The target's NSG is not above the one asked for."""
    last = sight.connection.login.last
    if _refusal(sight) or not last or not sight.final or not last[1] & 0x80 or sight.bhs[1] & 3 <= last[1] & 3:
        return None
    return f"NSG is {sight.bhs[1] & 3} where {last[1] & 3} was asked for"


def _accepts(sight: Sight) -> bool:
    return sight.final and sight.bhs[1] & 3 == Stage.FULL_FEATURE and not _refusal(sight)


@RULES("login.final-without-tsih", "R7143-11.13.3-01", _RESPONSE, leans=False)
def final_without_tsih(sight: Sight) -> str | None:
    """The final response carries a TSIH that is not 0."""
    return "the login is accepted with TSIH 0" if _accepts(sight) and not any(sight.bhs[14:16]) else None


@RULES("login.early-tsih", "R7143-11.13.3-02", _RESPONSE)
def early_tsih(sight: Sight) -> str | None:
    """Before the final response the TSIH is that of the request."""
    first = sight.connection.login.first
    if _accepts(sight) or _refusal(sight) or not first or first[14:16] == sight.bhs[14:16]:
        return None
    return f"TSIH {bytes(sight.bhs[14:16]).hex()} before the final response"


@RULES("login.response-tag", "R7143-4.2.5.3-03", _RESPONSE)
def response_tag(sight: Sight) -> str | None:
    """Tag and ISID of a response are those of its request."""
    last = sight.connection.login.last
    if not last or (last[16:20] == sight.bhs[16:20] and (last[8:14] == sight.bhs[8:14] or _refusal(sight))):
        return None
    return (
        f"tag {bytes(sight.bhs[16:20]).hex()} and ISID {bytes(sight.bhs[8:14]).hex()} "
        f"in answer to {last[16:20].hex()} and {last[8:14].hex()}"
    )


@RULES("login.response-version-max-changed", "R7143-11.13.1-01", _RESPONSE, leans=False)
def response_version_max(sight: Sight) -> str | None:
    """All responses of a login carry the same Version-max."""
    first = sight.connection.login.first_answer
    return f"Version-max {sight.bhs[2]} after {first[2]}" if first and first[2] != sight.bhs[2] else None


@RULES("login.version-active-changed", "R7143-11.13.2-01", _RESPONSE, leans=False)
def version_active(sight: Sight) -> str | None:
    """All responses of a login carry the same Version-active."""
    first = sight.connection.login.first_answer
    return f"Version-active {sight.bhs[3]} after {first[3]}" if first and first[3] != sight.bhs[3] else None


@RULES("login.answer-to-continue", "R7143-6.2-02", _RESPONSE)
def answer_to_continue(sight: Sight) -> str | None:
    """A request with C=1 is answered without data."""
    last = sight.connection.login.last
    if _refusal(sight) or not last or not last[1] & 0x40 or not sight.length:
        return None
    return f"{sight.length} bytes of data in answer to C=1"


@RULES("login.request-after-continue", "R7143-6.2-03", _REQUEST)
def request_after_continue(sight: Sight) -> str | None:
    """A response with C=1 is answered without data."""
    before = sight.connection.login.answered
    return f"{sight.length} bytes of data in answer to C=1" if before and before[1] & 0x40 and sight.length else None


@RULES("login.two-requests", "R7143-6.3-01", _REQUEST)
def two_requests(sight: Sight) -> str | None:
    """One Login Request is outstanding at most."""
    login = sight.connection.login
    return "a Login Request before the one before it was answered" if login.asked and not login.refused else None


@RULES("login.response-unasked", "R7143-6.3-01", _RESPONSE)
def response_unasked(sight: Sight) -> str | None:
    """Each Login Response answers a request."""
    login = sight.connection.login
    return None if login.asked or login.refused else "a Login Response that answers no request"


@RULES("login.data-too-long", "R7143-6.3-02", *_BOTH, leans=False)
def data_too_long(sight: Sight) -> str | None:
    """Data segments stay within 8192 bytes during login."""
    return f"{sight.length} bytes of data during login" if sight.length > DATA_LIMIT else None


@RULES("login.initiator-name-missing", "R7143-6.3-03", _REQUEST, leans=False)
def initiator_name_missing(sight: Sight) -> str | None:
    """The first request of a connection includes InitiatorName."""
    return None if _first_text_has(sight, "InitiatorName") else "the first Login Request has no InitiatorName"


@RULES("login.target-name-missing", "R7143-6.3-05", _REQUEST, leans=False)
def target_name_missing(sight: Sight) -> str | None:
    """The first request of a connection includes TargetName, unless for discovery."""
    if _first_text_has(sight, "TargetName") or sight.session.discovery:
        return None
    return "the first Login Request has no TargetName"


def _first_text_has(sight: Sight, key: str) -> bool:
    """Whether this request does not complete the first text, or does and has the key."""
    login = sight.connection.login
    return sight.pairs is None or login.whole_requests > 0 or any(pair.key == key for pair in sight.pairs)


@RULES("login.portal-group-tag-missing", "R7143-6.3.1-09", _RESPONSE)
def portal_group_tag_missing(sight: Sight) -> str | None:
    """The first response to a whole request for a target returns TargetPortalGroupTag."""
    login = sight.connection.login
    if _refusal(sight) or sight.pairs is None or login.whole_answers or not login.last or login.last[1] & 0x40:
        return None
    if "TargetName" not in login.negotiation.said[0] or any(p.key == "TargetPortalGroupTag" for p in sight.pairs):
        return None
    return "the first Login Response has no TargetPortalGroupTag"


@RULES("login.redirect-without-address", "R7143-11.13.5-01", _RESPONSE, leans=False)
def redirect_without_address(sight: Sight) -> str | None:
    """A redirection includes a TargetAddress."""
    if sight.bhs[36] != 1 or any(pair.key == "TargetAddress" for pair in sight.pairs or ()):
        return None
    return "a redirection without TargetAddress"


@RULES("login.redirect-with-tag", "R7143-13.8-01", _RESPONSE, leans=False, stain=Stain.NOTHING)
def redirect_with_tag(sight: Sight) -> str | None:
    """The TargetAddress of a redirection has no portal group tag."""
    if sight.bhs[36] != 1:
        return None
    for pair in sight.pairs or ():
        if pair.key == "TargetAddress" and "," in pair.value:
            return f"TargetAddress={pair.value} in a redirection"
    return None


@RULES("login.reserved-status", "R7143-11-04", _RESPONSE, leans=False)
def reserved_status(sight: Sight) -> str | None:
    """Login status codes are those of the table."""
    status = sight.bhs[36] << 8 | sight.bhs[37]
    return None if status in frozenset(LoginStatus) else f"login status {status:04x} is reserved"


@RULES("login.after-failure", "R7143-11.13.5-13", *_BOTH, *_OTHERS, leans=False)
def after_failure(sight: Sight) -> str | None:
    """After a status class other than 0 nothing follows but the close."""
    login = sight.connection.login
    if not login.refused or (sight.side is Side.INITIATOR and sight.opcode != _REQUEST):
        return None
    return f"{opcode_name(sight.opcode)} after the login failed"


@RULES("login.transit-withdrawn", "R7143-6.3.3-04", _REQUEST, level="SHOULD")
def transit_withdrawn(sight: Sight) -> str | None:
    """T stays set until the target agrees, or brings up a key."""
    login = sight.connection.login
    if sight.final or sight.continued or not login.last or not login.answered or not login.last[1] & 0x80:
        return None
    if login.answered[1] & 0xC0 or sight.stage != Stage.OPERATIONAL or login.negotiation.unanswered(1):
        return None
    if any(pair.answers is not None for pair in sight.pairs or ()):
        return None
    return "T=0 after a request with T=1 that the target did not follow"
