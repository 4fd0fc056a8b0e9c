"""iSNS clients: how they register, ask, answer and notice (RFC 4171)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import CLIENT, case
from iscsi_conformance.isns.client_bench import EID, PERIOD, TIMEOUT, TYPED, ClientBench
from iscsi_conformance.isns.words import eid, name, nothing_came, require_each, require_rows, tags
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import (
    Change,
    Inquiry,
    Notification,
    decode_body,
    inquiry_of,
    request_of,
    response_of,
)
from iscsi_protocol.isns.codes import Flag, Function, NodeType, Scn
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import IsnsPdu, Message
from iscsi_protocol.isns.registrar import Lost
from iscsi_protocol.isns.tlv import Attribute, address_bytes, number, text

client_case = partial(case, role=CLIENT, virtual=True)
C = "isns-client."
NORMAL = TYPED.lower()
DISK = "iqn.2026-11.org.iscsi-conformance:disk"


def _operating(pdu: IsnsPdu) -> tuple[Attribute, ...]:
    return ClientBench.body(pdu).behind or ()


@client_case(
    "isns-client.header",
    clauses={
        "R4171-5.1.1-01": C + "version",
        "R4171-5.1.2-01": C + "response-bit",
        "R4171-5.1.4-01": C + "reserved-flag",
        "R4171-5.5-01": C + "authentication-flag",
        "R4171-7.2-04": C + "authentication-flag",
        "R4171-5.2-01": C + "no-first-flag",
        "R4171-5.1.6-01": C + "first-sequence",
    },
)
async def header(isns: ClientBench) -> None:
    """Every field of a request's header is as it has to be."""
    pdu = await isns.register()
    require(pdu.version == 1, "R4171-5.1.1-01", "the version is 1", seen=pdu.version)
    require(pdu.function == 1, "R4171-5.1.2-01", "a request has the top bit clear", seen=hex(pdu.function))
    require(not pdu.flags & 0x03FF, "R4171-5.1.4-01", "reserved flags are clear", seen=hex(pdu.flags))
    unsigned = not pdu.flags & Flag.AUTHENTICATION
    require_each(("R4171-5.5-01", "R4171-7.2-04"), unsigned, "there is no authentication block", seen=hex(pdu.flags))
    whole = Flag.FIRST | Flag.LAST
    require(pdu.flags & whole == whole, "R4171-5.2-01", "the only PDU is first and last", seen=hex(pdu.flags))
    require(pdu.sequence == 0, "R4171-5.1.6-01", "the first sequence ID is 0", seen=pdu.sequence)


@client_case(
    "isns-client.registration",
    clauses={
        "R4171-5.6.5.1-01": C + "no-key",
        "R4171-5.6.5.1-03": C + "no-entity",
        "R4171-6.2.2-01": C + "no-protocol",
        "R4171-6.4.2-04": C + "no-type",
        "R4171-5.6.5.1-20": C + "repeated-attribute",
        "R4171-6.4.2-02": C + "control-bit",
        "R4171-5.6.5.1-27": C + "second-entity",
        "R4171-4.1.1-02": C + "no-node",
    },
    touches=["R4171-5.6.5.1-32", "R4171-5.6.5.1-16", "R4171-6.4.2-01", "R4171-5.6.5.1-17"],
)
async def registration(isns: ClientBench) -> None:
    """A registration has key, entity, portal and node with all that they need."""
    pdu = await isns.register()
    body = ClientBench.body(pdu)
    operating = body.behind or ()
    require(tags(body.before) == [32, 1], "R4171-5.6.5.1-01", "the message key is the entity's identifier")
    seen = tags(operating)
    require(seen[:1] == [1], "R4171-5.6.5.1-03", "the object of the message key is listed", seen=seen)
    require(seen.count(1) == 1, "R4171-5.6.5.1-27", "there is one entity at most", seen=seen)
    require(2 in seen, "R4171-6.2.2-01", "the entity's protocol is told", seen=seen)
    require({1, 2, 16, 17, 32} <= set(seen), "R4171-4.1.1-02", "entity, portal and node are registered", seen=seen)
    types = [item.number for item in operating if item.tag == Tag.NODE_TYPE]
    require(types, "R4171-6.4.2-04", "the node's type is told")
    require(
        not any(each & NodeType.CONTROL for each in types), "R4171-6.4.2-02", "the control bit is not set", seen=types
    )
    require(len(types) == 1, "R4171-5.6.5.1-20", "nothing is listed twice", seen=types)


@client_case(
    "isns-client.order",
    clauses={
        "R4171-5.6.4-01": C + "values-first",
        "R4171-5.6.5.1-19": C + "values-first",
        "R4171-5.6.4-04": C + "swapped-keys",
        "R4171-5.6.4-07": C + "nodes-first",
        "R4171-5.6.4-08": C + "nodes-first",
        "R4171-5.6.5.1-18": C + "nodes-first",
        "R4171-5.6.5.1-23": C + "no-group-names",
    },
    touches=["R4171-5.6.5.1-22", "R4171-5.6.4-05", "R4171-5.6.4-06"],
)
async def order(isns: ClientBench) -> None:
    """Objects and their keys are listed in the order that the standard gives."""
    seen = tags(_operating(await isns.register()))
    require_each(
        ("R4171-5.6.4-07", "R4171-5.6.4-08", "R4171-5.6.5.1-18"), seen[0] in (1, 2, 6), "the entity is first", seen=seen
    )
    require_each(("R4171-5.6.4-01", "R4171-5.6.5.1-19"), seen[0] == 1, "keys precede other attributes", seen=seen)
    require(seen.index(16) + 1 == seen.index(17), "R4171-5.6.4-04", "the port follows the address", seen=seen)
    require(seen[seen.index(51) + 1] == 48, "R4171-5.6.5.1-23", "a tag is followed by what it is for", seen=seen)


@client_case(
    "isns-client.delimiter", clauses={"R4171-5.6.3-01": C + "no-delimiter", "R4171-5.6-01": C + "no-delimiter"}
)
async def delimiter(isns: ClientBench) -> None:
    """A request has source, key, delimiter and operating attributes."""
    body = ClientBench.body(await isns.register())
    require_each(("R4171-5.6.3-01", "R4171-5.6-01"), body.behind is not None, "there is a delimiter")


@client_case(
    "isns-client.names",
    clauses={
        "R4171-5.6.2-02": C + "raw-names",
        "R4171-5.6.2-03": C + "raw-names",
        "R4171-5.6.4-02": C + "raw-names",
    },
    touches=["R4171-6.4.1-01"],
)
async def names(isns: ClientBench) -> None:
    """Names and identifiers are sent in their normal form."""
    pdu = await isns.register()
    body = ClientBench.body(pdu)
    operating = body.behind or ()
    listed = [item.text for item in operating if item.tag in (Tag.EID, Tag.ISCSI_NAME)]
    require_rows(
        [
            ("R4171-5.6.2-03", body.before[1] == eid(EID.lower()), "an identifier is in lower case"),
            ("R4171-5.6.4-02", listed == [EID.lower(), NORMAL], "names that are registered are in lower case"),
            ("R4171-5.6.2-02", body.before[0] == name(NORMAL), "names are in lower case"),
        ]
    )


@client_case(
    "isns-client.values",
    clauses={
        "R4171-6.3.1-01": C + "plain-ipv4",
        "R4171-5.3-01": C + "unpadded",
        "R4171-5.3.1-01": C + "unpadded",
    },
    touches=["R4171-6.3.2-01", "R4171-6.5.4-02", "R4171-5.3.1-02"],
)
async def forms(isns: ClientBench) -> None:
    """Addresses are mapped and text is padded."""
    operating = _operating(await isns.register(eid="h"))
    odd = [str(item) for item in operating if len(item.value) % 4]
    require_each(("R4171-5.3-01", "R4171-5.3.1-01"), not odd, "values are padded to four bytes", seen=odd)
    (where,) = [item.value for item in operating if item.tag == Tag.PORTAL_ADDRESS]
    require(where == address_bytes("192.0.2.2"), "R4171-6.3.1-01", "an IPv4 address is mapped", seen=where.hex())
    ports = [item.number for item in operating if item.tag in (Tag.ESI_PORT, Tag.SCN_PORT)]
    require(all(port >> 16 == 1 for port in ports), "R4171-6.3.2-01", "bit 15 tells UDP", seen=ports)


@client_case(
    "isns-client.inquiry-port",
    clauses={"R4171-6.3.4-01": C + "no-esi-port"},
    touches=["R4171-6.2.6-06", "R4171-6.2.1-05", "R4171-6.2.1-03"],
)
async def inquiry_port(isns: ClientBench) -> None:
    """Who asks for ESI registers a port for it."""
    seen = tags(_operating(await isns.register()))
    require(Tag.ESI_PORT in seen, "R4171-6.3.4-01", "an ESI interval comes with an ESI port", seen=seen)


@client_case("isns-client.removal", clauses={"R4171-5.6.5.4-02": C + "keyed-removal"}, touches=["R4171-4.1.3-02"])
async def removal(isns: ClientBench) -> None:
    """DevDereg has no message key."""
    await isns.registered()
    isns.agent.leave()
    body = ClientBench.body(isns.last("R4171-4.1.3-02"))
    require(tags(body.before) == [32], "R4171-5.6.5.4-02", "there is no message key", seen=tags(body.before))
    require(body.behind == (eid(EID.lower()),), "R4171-4.1.3-02", "the entity is named")


@client_case(
    "isns-client.notifications-wanted",
    clauses={"R4171-6.3.7-01": C + "silent"},
    touches=["R4171-5.6.5.5-05", "R4171-2.9.1-04"],
)
async def notifications(isns: ClientBench) -> None:
    """A client with an SCN port takes SCNs there, and asks for no management SCNs."""
    first = await isns.register()
    await isns.answer(first, text(Tag.EID, EID.lower()))
    request = isns.last("R4171-6.3.7-01")
    bits = [item.number for item in _operating(request)]
    require(request.function == Function.SCN_REG, "R4171-6.3.7-01", "the client registers for SCNs")
    require(not bits[0] & Scn.MANAGEMENT, "R4171-5.6.5.5-05", "an ordinary node asks for regular SCNs", seen=bits)
    await isns.answer(request)
    await isns.datagram(_told().message(9))
    require(isns.sent, "R4171-6.3.7-01", "an SCN by UDP is answered")


def _told() -> Notification:
    change = Change(bitmap=Scn.ADDED, objects=(name(DISK),))
    return Notification(destination=NORMAL, timestamp=1, changes=(change,))


def _asked() -> Inquiry:
    return Inquiry(timestamp=7, eid=EID.lower(), address=address_bytes("192.0.2.2"), port=0)


async def _reply(isns: ClientBench, message: Message, clause: str, connection: int = 0) -> Message:
    """What the client answers to a message of the server. Raises Failed."""
    await isns.receive(message, connection)
    pdu = isns.last(clause)
    return Message(function=pdu.function, transaction=pdu.transaction, flags=pdu.flags, payload=pdu.payload)


@client_case(
    "isns-client.notification",
    clauses={"R4171-5.7.5.8-01": C + "bare-answers", "R4171-5.1.5-02": C + "other-answers"},
    touches=["R4171-5.4-01"],
)
async def notification(isns: ClientBench) -> None:
    """An SCN is confirmed with its destination."""
    await isns.registered()
    reply = await _reply(isns, _told().message(77), "R4171-5.7.5.8-01")
    require(reply.transaction == 77, "R4171-5.1.5-02", "the transaction ID is the SCN's", seen=reply.transaction)
    body = decode_body(reply)
    require(body.status == 0 and body.before == (name(NORMAL),), "R4171-5.7.5.8-01", "status and destination are sent")


@client_case("isns-client.inquiry", clauses={"R4171-5.7.5.13-01": C + "bare-answers"})
async def inquiry(isns: ClientBench) -> None:
    """An ESI is answered with all that it says."""
    await isns.registered()
    reply = await _reply(isns, _asked().message(78), "R4171-5.7.5.13-01")
    try:
        told = inquiry_of(response_of(reply).key)
    except IsnsError as error:
        require(False, "R4171-5.7.5.13-01", f"the answer repeats the ESI: {error.reason}")
    else:
        require(told == _asked(), "R4171-5.7.5.13-01", "the answer repeats the ESI")


@client_case("isns-client.inquiry-by-tcp", clauses={"R4171-6.3.5-01": C + "silent"})
async def inquiry_by_tcp(isns: ClientBench) -> None:
    """A connection that the server opens for ESI is served."""
    await isns.registered()
    isns.agent.connection_made(5)
    await isns.receive(_asked().message(79), 5)
    if not isns.sent:
        raise nothing_came("an ESI was sent", "R4171-6.3.5-01")
    require(isns.sent[0][0] == 5, "R4171-6.3.5-01", "the answer goes out where the ESI came in")


@client_case("isns-client.pipelining", clauses={"R4171-5.1.5-01": C + "one-transaction"})
async def pipelining(isns: ClientBench) -> None:
    """Requests that are open at once differ in their transaction ID."""
    for _ in range(3):
        await isns.ask(isns.writer.query(TYPED, (), (Tag.ISCSI_NAME,)))
    seen = [pdu.transaction for _, pdu in isns.sent]
    require(len(set(seen)) == 3, "R4171-5.1.5-01", "open requests have different transaction IDs", seen=seen)


@client_case("isns-client.repetition", clauses={"R4171-5.1.5-03": C + "new-transaction"})
async def repetition(isns: ClientBench) -> None:
    """A request that goes out again has its transaction ID."""
    await isns.ask(isns.writer.query(TYPED, (), (Tag.ISCSI_NAME,)))
    await isns.wait(TIMEOUT)
    seen = [pdu.transaction for _, pdu in isns.sent]
    require(len(seen) == 2 and len(set(seen)) == 1, "R4171-5.1.5-03", "what is repeated is the same", seen=seen)


@client_case("isns-client.sign-of-life", clauses={"R4171-6.2.6-06": C + "never-refreshes"}, touches=["R4171-6.2.6-04"])
async def sign_of_life(isns: ClientBench) -> None:
    """A client says something before its period ends."""
    await isns.registered(portals=())
    await isns.wait(PERIOD - 1)
    require(isns.sent, "R4171-6.2.6-06", "the registration is refreshed within the period")


@client_case(
    "isns-client.lost",
    clauses={"R4171-6.3.4-08": C + "stays-connected"},
    touches=["R4171-6.3.4-07", "R4171-6.3.4-09"],
)
async def lost(isns: ClientBench) -> None:
    """A client that its server has forgotten closes its connection and registers again."""
    await isns.registered(portals=())
    await isns.wait(PERIOD / 2)
    await isns.answer(isns.last("R4171-6.3.4-08"), status=9)
    require(isns.closed == 1 and Lost() in isns.reports, "R4171-6.3.4-08", "the connection is closed")
    await isns.wait(1)
    again = isns.last("R4171-6.3.4-09")
    require(again.function == Function.DEV_ATTR_REG, "R4171-6.3.4-09", "the client registers again")


@client_case("isns-client.well-formed", clauses={"R4171-5-01": C + "unpadded"})
async def well_formed(isns: ClientBench) -> None:
    """What a client sends can be read by the rules."""
    pdu = await isns.register(eid="h")
    message = Message(function=pdu.function, transaction=pdu.transaction, flags=pdu.flags, payload=pdu.payload)
    try:
        request = request_of(message)
    except IsnsError as error:
        require(False, "R4171-5-01", f"the request keeps to the form: {error.reason}")
    else:
        require(number(Tag.NODE_TYPE, 2) in request.operating, "R4171-5-01", "it says what it is for")
