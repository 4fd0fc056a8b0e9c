"""What comes of the keys that were negotiated at login (RFC 7143 sections 4.2.9.1, 6.2, 12 and 13)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.keys import number, offered
from iscsi_conformance.cases.target.login import OFFERS, OPEN, no_success, outcome, responses, walk
from iscsi_conformance.cases.target.login_stages import NO_METHOD, begun, first
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import R2T_MODE, pattern, write_command
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_conformance.wire import Wire, pairs_of, value_of
from iscsi_protocol.negotiation.keys import KEYS, Function
from iscsi_protocol.pdu import R2T, LoginResponse, NopIn, Stage
from iscsi_protocol.text import NumberError, parse_number

REFUSALS = ("Reject", "NotUnderstood", "Irrelevant")
DEFAULT_SEGMENT = 8192
SECURITY_KEYS = frozenset({"TargetName", "TargetAlias", "TargetAddress", "TargetPortalGroupTag", "AuthMethod"})
METHOD_KEYS = ("CHAP_", "SRP_", "KRB_", "TargetAuth")


async def refused(wire: Wire, key: str, clause: str, what: str) -> None:
    """The key that was just sent has a refusal for its answer, or the login ends."""
    received = await wire.receive_or_none()
    if received is None:
        await wire.expect_closed(clause, what)
        return
    pdu = received.pdu
    if not isinstance(pdu, LoginResponse):
        raise Failed(clause, what, seen=one_line(received.raw))
    answer = value_of(pdu, key)
    require(pdu.status_class or answer in REFUSALS, clause, what, seen=answer or "no answer")


@case(
    "keys.segment-length-is-told",
    clauses={"R7143-4.2.9.1-01": "keys.segment-length-untold"},
    role=TARGET,
    level=SHOULD,
    needs=OPEN,
)
async def segment_length_is_told(peer: Peer) -> None:
    """In the login of a normal session the target tells how long a data segment may be."""
    clause = "R7143-4.2.9.1-01"
    _, login = await walk(peer, clause, [("MaxRecvDataSegmentLength", "65536"), *OFFERS])
    value = login.value("MaxRecvDataSegmentLength")
    require(value is not None, clause, "MaxRecvDataSegmentLength was due", seen=login.pairs)


@case(
    "keys.nothing-is-agreed-unsaid",
    clauses={"R7143-6.2-06": "keys.guesses-a-length"},
    role=TARGET,
    needs=[Feature.SCSI_DISK, *OPEN],
)
async def nothing_unsaid(disk: Session) -> None:
    """Where the initiator told no segment length the default of 8192 bytes holds for what the target sends."""
    outcome = await disk.read("R7143-6.2-06", blocks=max(1, 65536 // disk.block_size))
    longest = max((len(pdu.data) for pdu in outcome.data_ins), default=0)
    require(longest <= DEFAULT_SEGMENT, "R7143-6.2-06", "8192 bytes at most were due", seen=f"{longest} bytes")


@case(
    "keys.declarations-are-understood",
    clauses={"R7143-6.2-10": "keys.alias-not-understood"},
    role=TARGET,
    needs=OPEN,
)
async def declarations_are_understood(peer: Peer) -> None:
    """No key that an initiator declares at login is answered with NotUnderstood."""
    clause = "R7143-6.2-10"
    declared = [("InitiatorAlias", "tester"), ("MaxRecvDataSegmentLength", "65536")]
    _, login = await walk(peer, clause, declared)
    strange = sorted(key for key, value in login.pairs if value == "NotUnderstood")
    require(not strange, clause, "every key of the standard is comprehended", seen=strange)


@case(
    "keys.defaults-can-be-agreed-on",
    clauses={"R7143-6.2-17": "keys.burst-rejected"},
    role=TARGET,
    needs=OPEN,
)
async def defaults_can_be_agreed_on(peer: Peer) -> None:
    """Offered its default, no key of RFC 3720 that a session needs is rejected."""
    clause = "R7143-6.2-17"
    asked = [
        (rule.name, rule.default)
        for rule in KEYS.values()
        if rule.default is not None and rule.negotiated and rule.name not in ("TaskReporting", "iSCSIProtocolLevel")
    ]
    _, login = await walk(peer, clause, asked)
    refused = [f"{key}={value}" for key, value in login.pairs if key in dict(asked) and value in REFUSALS]
    require(not refused, clause, "each key has a value", seen=refused)


@case(
    "keys.rejected-ones-keep-their-default",
    clauses={"R7143-6.2-15": "keys.rejects-and-heeds"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN, Feature.SMALL_BURST, *OPEN],
    destructive=True,
)
async def rejected_keep_default(peer: Peer) -> None:
    """Where MaxOutstandingR2T=0 is rejected its default holds: one R2T at a time."""
    clause = "R7143-6.2-15"
    keys = [*R2T_MODE, ("MaxBurstLength", "4096"), ("MaxOutstandingR2T", "0")]
    _, login = await peer.try_login(keys)
    if not login.full_feature or login.value("MaxOutstandingR2T") != "Reject":
        raise Inconclusive(f"no Reject: {outcome(login)}, MaxOutstandingR2T={login.value('MaxOutstandingR2T')}")
    disk = await peer.disk(keys)
    write = write_command(disk, pattern(16384))
    await disk.expect(R2T, clause, itt=write.itt)
    ping = disk.ping()
    received = await disk.receive(clause, "the answer to a ping")
    another = isinstance(received.pdu, R2T)
    require(not another, clause, "one R2T at a time is the default")
    require(received.raw.initiator_task_tag == ping.itt, clause, "a second R2T is not due before the data")


@case(
    "keys.bursts-fit-together",
    clauses={"R7143-6.2-24": "keys.bursts-unchecked"},
    role=TARGET,
    needs=OPEN,
)
async def bursts_fit_together(wire: Wire) -> None:
    """FirstBurstLength=65536 and MaxBurstLength=8192, offered one after the other, do not both take effect."""
    clause = "R7143-6.2-24"
    response = await begun(wire, clause, ("FirstBurstLength", "65536"), ("InitialR2T", "No"))
    agreed = dict(pairs_of(response))
    wire.send(wire.login_request([("MaxBurstLength", "8192")]))
    received = await wire.receive_or_none()
    if received is None:
        await wire.expect_closed(clause)
        return
    pdu = received.pdu
    if not getattr(pdu, "status_class", 0):
        agreed |= dict(pairs_of(pdu))
        try:
            lengths = [parse_number(agreed[key]) for key in ("FirstBurstLength", "MaxBurstLength")]
        except (KeyError, NumberError):
            raise Inconclusive(f"the lengths were not agreed on: {agreed}") from None
        require(lengths[0] <= lengths[1], clause, "FirstBurstLength is within MaxBurstLength", seen=lengths)


@case(
    "keys.none-means-no-digest",
    clauses={"R7143-6.2.1-02": "keys.digest-in-spite-of-none"},
    role=TARGET,
    needs=OPEN,
)
async def none_means_no_digest(peer: Peer) -> None:
    """Where HeaderDigest=None and DataDigest=None were agreed on, PDUs have no digests."""
    clause = "R7143-6.2.1-02"
    session = await peer.login([("HeaderDigest", "None"), ("DataDigest", "None")], clause=clause)
    for text in (b"first", b"second"):
        sent = session.ping(text)
        answer = await session.answer(NopIn, sent.itt, clause)
        require(answer.data == text, clause, "the data follows the header at once", seen=answer.data)


@case(
    "keys.one-key-an-exchange",
    clauses={"R7143-10.3-02": "keys.ten-exchanges"},
    role=TARGET,
    level=SHOULD,
    needs=OPEN,
)
async def one_key_an_exchange(wire: Wire) -> None:
    """A login that brings each key of its own in an exchange of its own is borne with to its end."""
    clause = "R7143-10.3-02"
    response = await begun(wire, clause)
    for place, (key, value) in enumerate(OFFERS, 1):
        last = place == len(OFFERS)
        fields = {} if last else {"transit": False, "nsg": 0}
        response = await wire.exchange_login(wire.login_request([(key, value)], **fields), clause)
        seen = f"status {response.status:04x} at exchange {place + 1}"
        require(response.status_class == 0, clause, "the login goes on", seen=seen)


@case(
    "keys.results-follow-their-functions",
    clauses={
        "R7143-13-04": "keys.maxoutstandingr2t-above-offer",
        "R7143-13-05": "keys.time2wait-below-offer",
        "R7143-13-06": "keys.immediatedata-against-offer",
    },
    role=TARGET,
    needs=OPEN,
)
async def results_follow_their_functions(peer: Peer) -> None:
    """In one login every answer keeps to its key's function: minimum, maximum, AND or OR of the offer and another value."""
    offers = {
        "MaxConnections": "1",
        "MaxBurstLength": "65536",
        "FirstBurstLength": "4096",
        "DefaultTime2Wait": "3",
        "DefaultTime2Retain": "10",
        "MaxOutstandingR2T": "2",
        "ErrorRecoveryLevel": "0",
        "ImmediateData": "No",
        "InitialR2T": "Yes",
    }
    login = await offered(peer, *offers.items())
    for key, offer in offers.items():
        answer = login.value(key)
        match KEYS[key].function:
            case Function.MINIMUM if answer != "Irrelevant":
                value = number(login, key, "R7143-13-04")
                require(value <= int(offer), "R7143-13-04", f"{key} is {offer} at most", seen=value)
            case Function.MAXIMUM:
                value = number(login, key, "R7143-13-05")
                require(value >= int(offer), "R7143-13-05", f"{key} is {offer} at least", seen=value)
            case Function.AND | Function.OR:
                require(answer in (None, offer), "R7143-13-06", f"{key}={offer} is the only result", seen=answer)
            case _:
                pass


@case(
    "keys.one-r2t-in-order-of-sequences",
    clauses={"R7143-13.19-03": "keys.many-r2ts-in-order"},
    role=TARGET,
    needs=[Feature.ERROR_RECOVERY_LEVEL_1],
)
async def one_r2t_in_order(peer: Peer) -> None:
    """With a recovery level above 0 and DataSequenceInOrder=Yes, MaxOutstandingR2T comes out as 1."""
    clause = "R7143-13.19-03"
    keys = [("ErrorRecoveryLevel", "1"), ("DataSequenceInOrder", "Yes"), ("MaxOutstandingR2T", "8")]
    login = await offered(peer, *keys)
    if login.value("ErrorRecoveryLevel") != "1":
        raise Unsupported(Feature.ERROR_RECOVERY_LEVEL_1, f"ErrorRecoveryLevel={login.value('ErrorRecoveryLevel')}")
    answer = number(login, "MaxOutstandingR2T", clause)
    require(answer == 1, clause, "MaxOutstandingR2T=1 was due", seen=answer)


@case(
    "keys.protocol-level-1",
    clauses={"R7143-13.24-01": "keys.protocol-level-0"},
    role=TARGET,
    needs=OPEN,
)
async def protocol_level_1(peer: Peer) -> None:
    """Offered iSCSIProtocolLevel=1, a target of RFC 7143 makes it 1; one from before may not know the key."""
    login = await offered(peer, ("iSCSIProtocolLevel", "1"))
    if login.value("iSCSIProtocolLevel") not in (None, "NotUnderstood"):
        answer = number(login, "iSCSIProtocolLevel", "R7143-13.24-01")
        require(answer == 1, "R7143-13.24-01", "iSCSIProtocolLevel=1 was due", seen=answer)


@case(
    "keys.send-targets-waits",
    clauses={"R7143-13-03": "keys.send-targets-overlooked"},
    role=TARGET,
    needs=OPEN,
)
async def send_targets_waits(wire: Wire) -> None:
    """SendTargets, a key of the full feature phase, is refused at login, or ends it."""
    wire.send(first(wire, ("SendTargets", "All")))
    await refused(wire, "SendTargets", "R7143-13-03", "SendTargets is refused at login")


# ---- the security stage (12, 13.4) ----


@case(
    "login.security-keys-alone",
    clauses={"R7143-12-01": "login.length-in-security"},
    role=TARGET,
    needs=OPEN,
)
async def security_keys_alone(peer: Peer) -> None:
    """In the security stage the target says names, addresses, its group tag and keys of authentication, nothing else."""
    clause = "R7143-12-01"
    _, login = await peer.try_login([NO_METHOD])
    early = [response for response in responses(login) if response.csg == Stage.SECURITY]
    if not early:
        raise Inconclusive(f"no response of the security stage came: {outcome(login)}")
    keys = {key for response in early for key, _ in pairs_of(response)}
    strange = sorted(key for key in keys - SECURITY_KEYS if not key.startswith(METHOD_KEYS))
    require(not strange, clause, "only keys of the security stage were due", seen=strange)


@case(
    "login.digest-in-security",
    clauses={"R7143-12-02": "login.overlooks-early-digests"},
    role=TARGET,
    needs=OPEN,
)
async def digest_in_security(wire: Wire) -> None:
    """HeaderDigest in the security stage is refused, or ends the login."""
    wire.send(first(wire, NO_METHOD, ("HeaderDigest", "None"), csg=Stage.SECURITY))
    await refused(wire, "HeaderDigest", "R7143-12-02", "HeaderDigest has no place in the security stage")


@case(
    "login.target-name-once",
    clauses={"R7143-13.4-02": "login.overlooks-a-second-target-name"},
    role=TARGET,
    needs=OPEN,
)
async def target_name_once(wire: Wire) -> None:
    """A second TargetName in one login ends it."""
    await begun(wire, "R7143-13.4-02")
    wire.send(wire.login_request([("TargetName", wire.target_name)]))
    await no_success(wire, "R7143-13.4-02", "TargetName is not declared twice")
