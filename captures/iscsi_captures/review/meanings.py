"""What breaking a rule comes to, in plain words: a row for each area, and for those rules whose area says too little."""

from __future__ import annotations

from collections.abc import Mapping

AREAS: Mapping[str, str] = {
    "framing": "The header is not as the format has it. A strict peer may drop the connection; a lenient one takes it.",
    "ahs": "The additional header cannot be read as it stands, so the command may be executed otherwise than it was meant.",
    "digest": "Bytes were damaged on their way, or their damage was not dealt with as agreed: data may be wrong unnoticed.",
    "login": "The login does not go as both sides count on. It may fail with this peer, or leave them with different ideas.",
    "keys": "The negotiation text is not as it should be. The two sides may end up with different values for a key.",
    "chap": "The authentication does not follow CHAP. It may fail, or protect less than it promises.",
    "mcs": "With several connections in a session the answer came over another one than the request.",
    "recovery": "The recovery of a connection was begun outside of the time agreed on; the other side may not be ready.",
    "logout": "The logout is not as agreed: requests may get lost, or the connection may hang until somebody gives up.",
    "async": "A notice of the target, or the answer to one, is not as it should be; the other side may not react as wanted.",
    "cmdsn": "The numbers of commands do not add up. Commands may be ignored, executed out of order, or wait for ever.",
    "statsn": "The numbers of statuses do not add up. The initiator takes a status for lost and may drop the connection.",
    "expstatsn": "The initiator acknowledges what was not sent. The target may let go of a status that is still needed.",
    "command": "The command, or the data in it, is not as negotiated. A strict target rejects it.",
    "datain": "The data of a read is not sent as agreed. The initiator may drop it, and end the session.",
    "data": "A data segment has a length that only the last of a sequence may have.",
    "dataout": "The data of a write is not sent as agreed or asked for. The target may drop it and fail the command.",
    "r2t": "The target asks for data in a way that the initiator need not serve. The write may hang or fail.",
    "reservation": "A reservation does not keep others out, so that two hosts may write to the same disk.",
    "response": "The end of a command is told wrongly. A failure may be taken for success, or success for a failure.",
    "residual": "How much data moved is told wrongly, so that the file system above may use data that it did not get.",
    "tmf": "An abort or a reset is not carried through as agreed. Commands may live on that one side thinks are gone.",
    "text": "The text exchange is not as agreed. A discovery may come back incomplete or not at all.",
    "discovery": "A discovery session is used for more than it is for.",
    "nop": "The ping is not as agreed, so that a side may take the other one for dead.",
    "reject": "The refusal of a PDU does not say rightly what was refused, so that recovery may fail.",
    "snack": "A request to send something again, or its answer, is not as agreed. The recovery may fail.",
    "resent": "What was sent again differs from what was sent first.",
    "reassign": "A task was not moved to another connection as agreed. It may be lost, or executed twice.",
}
RULES: Mapping[str, str] = {
    "framing.padding-not-zero": "Harmless to most peers, but it may leak memory of the sender.",
    "digest.header": "A header was damaged on its way (network card, switch, memory), or its sender computes another CRC.",
    "digest.data": "Data was damaged on its way (network card, switch, memory), or its sender computes another CRC.",
    "login.target-name-missing": "The target cannot know whom the initiator wants.",
    "login.reinstates-live-connection": "A connection that works is thrown out. Two hosts may share a name and ISID.",
    "keys.unanswered": "A proposal was left open, and the two sides may go on with different values for it.",
    "keys.first-burst-above-max-burst": "Unsolicited data may be longer than a burst can be; initiators refuse such a login.",
    "cmdsn.outside-window": "More commands are sent than the target takes. It ignores those, and they time out.",
    "cmdsn.gap": "A number is missing: the target waits for it and executes nothing behind it.",
    "expstatsn.of-other-connection": "The target may let go of a status that is still needed, or keep one that arrived.",
    "datain.segment-too-long": "A PDU is larger than its receiver said it takes. Initiators drop the connection for it.",
    "dataout.segment-too-long": "A PDU is larger than its receiver said it takes. Targets drop the connection for it.",
    "response.sense-missing": "The command failed and the target does not say why.",
    "residual.underflow-missing": "Less data came than asked for, and nobody was told: the rest is not from the disk.",
    "nop.echo": "The ping did not come back as it was sent: the path damages data, or the target does.",
    "chap.challenge-reflected": "The challenge is the other side's own: who reflects it needs no secret.",
    "chap.response-wrong": "The two sides do not have the same secret, or this name has another one.",
    "chap.wrong-response-accepted": "Whoever knows the name gets in: the secret protects nothing.",
    "chap.md5-not-offered": "Peers that know MD5 alone cannot log in.",
}


def meaning_of(rule: str) -> str:
    """In plain words what it comes to when this rule is broken; empty for a rule of an unknown area."""
    return RULES.get(rule) or AREAS.get(rule.partition(".")[0], "")
