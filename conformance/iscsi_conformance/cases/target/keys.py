"""Key negotiation in the login (RFC 7143 chapters 6 and 13)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_conformance.case import SHOULD, TARGET, CaseFunction, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_initiator.raw_login import RawLogin
from iscsi_protocol.negotiation.keys import KEYS, Function
from iscsi_protocol.text import NumberError, parse_number

UNKNOWN = "X-org.iscsi-conformance.unknown"


async def offered(peer: Peer, *pairs: tuple[str, str]) -> RawLogin:
    """A login that offers these keys. Raises Inconclusive when nothing was answered."""
    _, login = await peer.try_login(pairs)
    if login.last is None:
        raise Inconclusive("the login was not answered")
    return login


def number(login: RawLogin, key: str, clause: str) -> int:
    """The target's value of a numeric key. Raises Failed when it is missing or no number."""
    value = login.value(key)
    require(
        value is not None, clause, f"{key} was offered and is to be answered", seen=f"status {login.status or 0:04x}"
    )
    try:
        return parse_number(value or "")
    except NumberError as error:
        raise Failed(clause, f"a number was due for {key}: {error}") from None


@dataclass(frozen=True)
class Numeric:
    """A numeric key that is negotiated: what is offered, and which way the answer may not go."""

    key: str
    clause: str
    offer: int
    fault: str


NUMERIC = (
    Numeric("MaxConnections", "R7143-13.2-01", 4, "keys.maxconnections-above-offer"),
    Numeric("MaxBurstLength", "R7143-13.13-01", 4096, "keys.maxburstlength-above-offer"),
    Numeric("FirstBurstLength", "R7143-13.14-01", 4096, "keys.firstburstlength-above-offer"),
    Numeric("DefaultTime2Retain", "R7143-13.16-01", 7, "keys.defaulttime2retain-above-offer"),
    Numeric("MaxOutstandingR2T", "R7143-13.17-01", 3, "keys.maxoutstandingr2t-above-offer"),
    Numeric("ErrorRecoveryLevel", "R7143-13.20-01", 1, "keys.errorrecoverylevel-above-offer"),
    Numeric("iSCSIProtocolLevel", "R7144-7.1.1-01", 2, "keys.iscsiprotocollevel-above-offer"),
    Numeric("DefaultTime2Wait", "R7143-13.15-01", 5, "keys.time2wait-below-offer"),
)


def numeric_case(row: Numeric) -> CaseFunction:
    """The case of one row."""

    async def body(peer: Peer) -> None:
        login = await offered(peer, (row.key, str(row.offer)))
        if row.key == "iSCSIProtocolLevel" and login.value(row.key) == "NotUnderstood":
            return
        answer = number(login, row.key, row.clause)
        rule = KEYS[row.key]
        in_range = rule.low <= answer <= rule.high
        require(in_range, row.clause, f"{row.key} is {rule.low} to {rule.high}", seen=answer)
        maximum = rule.function is Function.MAXIMUM
        good = answer >= row.offer if maximum else answer <= row.offer
        way = "at least" if maximum else "at most"
        require(good, row.clause, f"{row.offer} was offered, {way} that was due", seen=answer)

    body.__doc__ = f"The answer to {row.key} lies in its range and keeps to the offer."
    body.__qualname__ = body.__name__ = f"numeric_{row.key.lower()}"
    return case(f"keys.{row.key.lower()}-keeps-to-the-offer", clauses={row.clause: row.fault}, role=TARGET)(body)


@dataclass(frozen=True)
class Settled:
    """A Boolean key with an offer that settles the result, whatever the target wants."""

    key: str
    clause: str
    offer: str


SETTLED = (
    Settled("InitialR2T", "R7143-13.10-01", "Yes"),
    Settled("ImmediateData", "R7143-13.11-01", "No"),
    Settled("DataPDUInOrder", "R7143-13.18-01", "Yes"),
    Settled("DataSequenceInOrder", "R7143-13.19-01", "Yes"),
)


def settled_case(row: Settled) -> CaseFunction:
    """The case of one row."""

    async def body(peer: Peer) -> None:
        login = await offered(peer, (row.key, row.offer))
        answer = login.value(row.key)
        good = answer in (None, row.offer)
        require(good, row.clause, f"{row.key}={row.offer} was offered, which settles the result", seen=answer)

    body.__doc__ = f"{row.key}={row.offer} is answered with the same, or not at all."
    body.__qualname__ = body.__name__ = f"settled_{row.key.lower()}"
    fault = f"keys.{row.key.lower()}-against-offer"
    return case(f"keys.{row.key.lower()}-is-settled-by-the-offer", clauses={row.clause: fault}, role=TARGET)(body)


for _numeric in NUMERIC:
    globals()[f"numeric_{_numeric.key.lower()}"] = numeric_case(_numeric)
for _settled in SETTLED:
    globals()[f"settled_{_settled.key.lower()}"] = settled_case(_settled)


@case(
    "keys.offers-are-answered",
    clauses={"R7143-6.2.2-01": "keys.offer-unanswered", "R7143-6.2.2-06": "keys.boolean-unanswered"},
    role=TARGET,
)
async def offers_are_answered(peer: Peer) -> None:
    """A number, and a Boolean whose result the offer does not settle, are answered with the same key."""
    login = await offered(peer, ("MaxBurstLength", "65536"), ("InitialR2T", "No"), ("ImmediateData", "Yes"))
    require(login.value("MaxBurstLength") is not None, "R7143-6.2.2-01", "MaxBurstLength is answered")
    for key in ("InitialR2T", "ImmediateData"):
        require(login.value(key) in ("Yes", "No"), "R7143-6.2.2-06", f"{key} is answered", seen=login.value(key))


@case("keys.unknown-key-is-not-understood", clauses={"R7143-6.2-08": "keys.unknown-key-rejected"}, role=TARGET)
async def unknown_key(peer: Peer) -> None:
    """A key that the target cannot know is answered with NotUnderstood, and the login goes on."""
    login = await offered(peer, (UNKNOWN, "1"))
    answer = login.value(UNKNOWN)
    require(answer == "NotUnderstood", "R7143-6.2-08", "NotUnderstood was due", seen=answer)
    require(login.full_feature, "R7143-6.2-08", "the login goes on", seen=f"status {login.status or 0:04x}")


@case(
    "keys.known-keys-are-understood",
    clauses={"R7143-6.2-18": "keys.known-key-not-understood"},
    touches=["R7143-6.2-10", "R7143-6.2-17"],
    role=TARGET,
)
async def known_keys(peer: Peer) -> None:
    """No key of RFC 3720 and RFC 7143 is answered with NotUnderstood."""
    login = await offered(
        peer,
        ("HeaderDigest", "None"),
        ("DataDigest", "None"),
        ("MaxConnections", "1"),
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("MaxBurstLength", "65536"),
        ("FirstBurstLength", "65536"),
        ("DefaultTime2Wait", "2"),
        ("DefaultTime2Retain", "20"),
        ("MaxOutstandingR2T", "1"),
        ("DataPDUInOrder", "Yes"),
        ("DataSequenceInOrder", "Yes"),
        ("ErrorRecoveryLevel", "0"),
    )
    strange = sorted(key for key, value in login.pairs if value == "NotUnderstood")
    require(not strange, "R7143-6.2-18", "no key of the standard is NotUnderstood", seen=", ".join(strange))


@case("keys.first-supported-value-of-a-list", clauses={"R7143-6.2.1-01": "keys.not-the-first-of-the-list"}, role=TARGET)
async def first_of_list(peer: Peer) -> None:
    """Of None,CRC32C a target that supports None takes None."""
    login = await offered(peer, ("HeaderDigest", "None,CRC32C"))
    answer = login.value("HeaderDigest")
    require(answer == "None", "R7143-6.2.1-01", "the first supported value was due", seen=answer)


@case(
    "keys.unknown-list-values-are-skipped", clauses={"R7143-6.2.1-04": "keys.unknown-list-value-rejected"}, role=TARGET
)
async def unknown_list_value(peer: Peer) -> None:
    """Of a list with an unknown value before None, None is taken."""
    login = await offered(peer, ("HeaderDigest", "Y-org.iscsi-conformance.sum,None"))
    answer = login.value("HeaderDigest")
    require(answer == "None", "R7143-6.2.1-04", "the unknown value is skipped", seen=answer)


@case(
    "keys.none-only-where-offered",
    clauses={"R7143-6.2.1-03": "keys.none-unasked"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST],
)
async def none_only_where_offered(peer: Peer) -> None:
    """Offered CRC32C alone, the target takes it, rejects it or ends the login, but does not choose None."""
    login = await offered(peer, ("HeaderDigest", "CRC32C"))
    answer = login.value("HeaderDigest")
    require(answer != "None", "R7143-6.2.1-03", "None was not offered", seen=answer)


@case("keys.boolean-is-yes-or-no", clauses={"R7143-6.1-08": "keys.boolean-in-any-word"}, role=TARGET)
async def boolean_is_yes_or_no(peer: Peer) -> None:
    """A Boolean that is neither Yes nor No is rejected, or ends the login."""
    login = await offered(peer, ("ImmediateData", "yes"))
    answer = login.value("ImmediateData")
    refused = answer == "Reject" or (login.status or 0) >> 8 == 2
    require(refused, "R7143-6.1-08", "a Reject or an initiator error was due", seen=answer)


@case("keys.out-of-range-is-not-agreed", clauses={"R7143-6.2.2-03": "keys.agrees-out-of-range"}, role=TARGET)
async def out_of_range(peer: Peer) -> None:
    """A MaxBurstLength of 511 is rejected, answered with an admissible value, or ends the login."""
    login = await offered(peer, ("MaxBurstLength", "511"))
    answer = login.value("MaxBurstLength")
    wrong = answer is not None and answer.isdigit() and int(answer) < 512
    require(not wrong, "R7143-6.2.2-03", "no value below 512 is agreed on", seen=answer)


@case("keys.names-are-case-sensitive", clauses={"R7143-6.1-01": "keys.case-ignored"}, role=TARGET)
async def case_sensitive(peer: Peer) -> None:
    """A key name with another capital is another, unknown key."""
    login = await offered(peer, ("MaxburstLength", "4096"))
    answer = login.value("MaxburstLength")
    refused = answer in ("NotUnderstood", "Reject") or (login.status or 0) >> 8 == 2
    require(refused, "R7143-6.1-01", "the name is not taken for MaxBurstLength", seen=answer)


@case("keys.hexadecimal-numbers", clauses={"R7143-6.1-13": "keys.hexadecimal-rejected"}, role=TARGET)
async def hexadecimal(peer: Peer) -> None:
    """A number in hexadecimal is as good as one in decimal."""
    login = await offered(peer, ("MaxBurstLength", "0x2000"))
    answer = number(login, "MaxBurstLength", "R7143-6.1-13")
    require(answer <= 0x2000, "R7143-6.1-13", "0x2000 was offered", seen=answer)


@case(
    "keys.pairs-end-with-nul",
    clauses={"R7143-6.1-02": "keys.text-without-end", "R7143-6.1-10": "keys.leading-zero"},
    role=TARGET,
)
async def pairs_end_with_nul(peer: Peer) -> None:
    """Every pair of an answer ends with NUL, and its numbers have no leading zero."""
    login = await offered(peer, ("MaxBurstLength", "4096"))
    for response in login.responses:
        if response.pdu.data:
            require(
                response.pdu.data.endswith(b"\0"), "R7143-6.1-02", "the last pair ends with NUL", seen=response.pdu.data
            )
    value = login.value("MaxBurstLength") or ""
    plain = not (value.isdigit() and len(value) > 1 and value.startswith("0"))
    require(plain, "R7143-6.1-10", "a decimal number has no leading zero", seen=value)


@case(
    "keys.markers-are-obsolete",
    clauses={"R7143-13.25-03": "keys.ifmarker-not-understood", "R7143-13.25-05": "keys.ifmarkint-not-understood"},
    role=TARGET,
)
async def markers(peer: Peer) -> None:
    """The obsolete marker keys are not answered with NotUnderstood."""
    login = await offered(peer, ("IFMarker", "Yes"), ("IFMarkInt", "2048~8192"))
    value, interval = login.value("IFMarker"), login.value("IFMarkInt")
    require(value != "NotUnderstood", "R7143-13.25-03", "IFMarker is known as obsolete", seen=value)
    require(interval != "NotUnderstood", "R7143-13.25-05", "IFMarkInt is known as obsolete", seen=interval)


@case("keys.marker-intervals-are-rejected", clauses={"R7143-13.25-04": "keys.ofmarkint-accepted"}, role=TARGET)
async def marker_intervals(peer: Peer) -> None:
    """OFMarkInt is answered with Reject."""
    login = await offered(peer, ("OFMarkInt", "2048~8192"))
    value = login.value("OFMarkInt")
    require(value in ("Reject", None), "R7143-13.25-04", "Reject was due", seen=value)


@case("keys.markers-are-rejected", clauses={"R7143-13.25-01": "keys.ofmarker-accepted"}, role=TARGET, level=SHOULD)
async def markers_are_rejected(peer: Peer) -> None:
    """OFMarker is answered with Reject, or with No as products before RFC 7143 do."""
    login = await offered(peer, ("OFMarker", "Yes"))
    value = login.value("OFMarker")
    require(value in ("Reject", "No"), "R7143-13.25-01", "Reject was due", seen=value)


@case("keys.task-reporting-is-a-list", clauses={"R7143-13.23-01": "keys.task-reporting-not-offered"}, role=TARGET)
async def task_reporting(peer: Peer) -> None:
    """Of RFC3720,ResponseFence one is chosen; a target from before RFC 7143 may not know the key."""
    login = await offered(peer, ("TaskReporting", "RFC3720,ResponseFence"))
    value = login.value("TaskReporting")
    good = value in ("RFC3720", "ResponseFence", "NotUnderstood")
    require(good, "R7143-13.23-01", "one of the offered values was due", seen=value)


@case("keys.first-burst-within-max-burst", clauses={"R7143-13.14-02": "keys.first-burst-above-max-burst"}, role=TARGET)
async def first_burst(peer: Peer) -> None:
    """FirstBurstLength comes out no larger than MaxBurstLength."""
    pairs = (("MaxBurstLength", "8192"), ("FirstBurstLength", "8192"), ("InitialR2T", "No"), ("ImmediateData", "Yes"))
    login = await offered(peer, *pairs)
    first = number(login, "FirstBurstLength", "R7143-13.14-02")
    most = number(login, "MaxBurstLength", "R7143-13.14-02")
    require(first <= most, "R7143-13.14-02", f"at most {most} was due", seen=first)


@case("keys.declared-segment-length", clauses={"R7143-13.12-01": "keys.segment-length-below-range"}, role=TARGET)
async def segment_length(peer: Peer) -> None:
    """A MaxRecvDataSegmentLength that the target declares lies in 512 to 2^24 - 1."""
    login = await offered(peer, ("MaxRecvDataSegmentLength", "8192"))
    if login.value("MaxRecvDataSegmentLength") is not None:
        value = number(login, "MaxRecvDataSegmentLength", "R7143-13.12-01")
        require(512 <= value <= 0xFFFFFF, "R7143-13.12-01", "512 to 16777215 was due", seen=value)


@case("keys.six-exchanges", clauses={"R7143-6.2-27": "keys.impatient"}, role=TARGET, level=SHOULD)
async def six_exchanges(peer: Peer) -> None:
    """A login that says one key in each of six exchanges is not given up."""
    wire = await peer.connect()
    keys = (
        "MaxBurstLength=65536",
        "FirstBurstLength=65536",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=20",
        "MaxOutstandingR2T=1",
    )
    response = await wire.exchange_login(wire.login_request(wire.names(), transit=False, nsg=0), "R7143-6.2-27")
    for text in keys:
        require(response.status_class == 0, "R7143-6.2-27", "the login goes on", seen=f"{response.status:04x}")
        key, _, value = text.partition("=")
        request = wire.login_request([(key, value)], transit=False, nsg=0, tsih=response.tsih)
        response = await wire.exchange_login(request, "R7143-6.2-27")
    require(response.status_class == 0, "R7143-6.2-27", "the login goes on", seen=f"{response.status:04x}")


@case("keys.text-of-8192-bytes", clauses={"R7143-6.1-16": "keys.short-of-text-buffer"}, role=TARGET)
async def long_text(peer: Peer) -> None:
    """A login request with nearly 8192 bytes of text is taken."""
    wire = await peer.connect()
    pairs = wire.names()
    pairs += [(f"{UNKNOWN}{index}", "v" * 200) for index in range(33)]
    response = await wire.exchange_login(wire.login_request(pairs), "R7143-6.1-16")
    seen = f"status {response.status:04x}"
    require(response.status_class == 0, "R7143-6.1-16", "8192 bytes of text are taken", seen=seen)
