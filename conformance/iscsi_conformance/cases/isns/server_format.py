"""PDUs and messages of a server (RFC 4171 5.1 to 5.6)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import SERVER, case
from iscsi_conformance.isns.server_bench import PEER, ServerBench
from iscsi_conformance.isns.words import ADMIN, DISK, OTHER, expect, expect_each, name, node, require_each, tags, want
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import DELIMITER, Request, Response
from iscsi_protocol.isns.codes import Flag, Function, Status
from iscsi_protocol.isns.pdu import IsnsPdu
from iscsi_protocol.isns.tlv import Attribute, encode_all, text

server_case = partial(case, role=SERVER, virtual=True)
S = "isns-server."
QUERY = Request(function=Function.DEV_ATTR_QRY, source=name(ADMIN), operating=want(Tag.ISCSI_NAME))


@server_case(
    "isns-server.header",
    clauses={
        "R4171-5.1.1-01": S + "version",
        "R4171-5.1.2-01": S + "request-bit",
        "R4171-5.1.3-01": S + "length",
        "R4171-5.1.4-01": S + "reserved-flag",
        "R4171-5.2-01": S + "no-first-flag",
        "R4171-5.5-01": S + "authentication-flag",
        "R4171-5.1.5-02": S + "other-transaction",
        "R4171-5.1.6-01": S + "first-sequence",
    },
)
async def header(isns: ServerBench) -> None:
    """Every field of a response's header is as it has to be."""
    (pdu,) = await isns.pdus(QUERY)
    require(pdu.version == 1, "R4171-5.1.1-01", "the version is 1", seen=pdu.version)
    require(pdu.function == 0x8002, "R4171-5.1.2-01", "a response has the top bit set", seen=hex(pdu.function))
    require(pdu.length is None, "R4171-5.1.3-01", "the length is that of the payload", seen=pdu.length)
    require(not pdu.flags & 0x03FF, "R4171-5.1.4-01", "reserved flags are clear", seen=hex(pdu.flags))
    require(
        not pdu.flags & Flag.AUTHENTICATION, "R4171-5.5-01", "there is no authentication block", seen=hex(pdu.flags)
    )
    whole = Flag.FIRST | Flag.LAST
    require(pdu.flags & whole == whole, "R4171-5.2-01", "the only PDU is first and last", seen=hex(pdu.flags))
    require(pdu.transaction == 1, "R4171-5.1.5-02", "the transaction ID is the request's", seen=pdu.transaction)
    require(pdu.sequence == 0, "R4171-5.1.6-01", "the first sequence ID is 0", seen=pdu.sequence)


@server_case(
    "isns-server.long-answer",
    clauses={"R4171-5.1.6-02": S + "one-sequence", "R4171-5.2-04": S + "one-sequence"},
    touches=["R4171-5.2-02", "R4171-5.2-03", "R4171-5.1.2-02", "R4171-5.1.5-04"],
)
async def long_answer(isns: ServerBench) -> None:
    """A response of several PDUs counts them from 0 on."""
    attributes: list[Attribute] = []
    for each in range(250):
        attributes += [*node(f"{DISK}.{each}"), text(Tag.ALIAS, "x" * 250)]
    await isns.pdus(Request(function=1, source=name(f"{DISK}.0"), operating=tuple(attributes)))
    pdus = await isns.pdus(Request(function=2, source=name(ADMIN), operating=want(Tag.ISCSI_NAME, Tag.ALIAS)))
    seen = [pdu.sequence for pdu in pdus]
    both = ("R4171-5.2-04", "R4171-5.1.6-02")
    require_each(both, seen == list(range(len(seen))), "sequence IDs count up, each PDU has its own", seen=seen)
    marks = [bool(pdu.flags & Flag.FIRST) for pdu in pdus], [bool(pdu.flags & Flag.LAST) for pdu in pdus]
    require(marks == ([True, False], [False, True]), "R4171-5.2-02", "first and last PDU are marked", seen=marks)
    require(len({(pdu.function, pdu.transaction) for pdu in pdus}) == 1, "R4171-5.2-03", "all PDUs belong together")


async def _sent(isns: ServerBench, **fields: object) -> Response:
    payload = QUERY.message(1).payload
    values = {"function": 2, "transaction": isns.number(), "flags": 0x8C00, "payload": payload, **fields}
    return await isns.raw(IsnsPdu(**values).encode())  # type: ignore[arg-type]  # each field has its type


@server_case("isns-server.version", clauses={"R4171-5.1.1-02": S + "any-version"})
async def version(isns: ServerBench) -> None:
    """A request of another version is refused."""
    answer = await _sent(isns, version=2)
    expect(answer, "R4171-5.1.1-02", Status.VERSION_NOT_SUPPORTED, what="version 2 is refused with status 10")


@server_case("isns-server.function", clauses={"R4171-5.4-04": S + "any-function"})
async def function(isns: ServerBench) -> None:
    """A function that there is not is refused."""
    answer = await _sent(isns, function=0x0100)
    expect(answer, "R4171-5.4-04", Status.FUNCTION_NOT_SUPPORTED, what="function 0x0100 is refused with status 15")


@server_case("isns-server.truncated", clauses={"R4171-5.4-03": S + "malformed-requests"})
async def truncated(isns: ServerBench) -> None:
    """A payload that ends within an attribute is a format error."""
    answer = await _sent(isns, payload=QUERY.message(1).payload[:-4])
    expect(answer, "R4171-5.4-03", Status.MESSAGE_FORMAT_ERROR, what="a truncated attribute has status 2")


@server_case("isns-server.no-delimiter", clauses={"R4171-5.6.3-01": S + "malformed-requests"})
async def no_delimiter(isns: ServerBench) -> None:
    """A request without delimiter is a format error."""
    answer = await _sent(isns, payload=encode_all([name(ADMIN), *want(32)]))
    expect(answer, "R4171-5.6.3-01", Status.MESSAGE_FORMAT_ERROR, what="a missing delimiter has status 2")


@server_case("isns-server.odd-attribute", clauses={"R4171-5.3.1-01": S + "malformed-requests"})
async def odd_attribute(isns: ServerBench) -> None:
    """An attribute whose length is no multiple of four is a format error."""
    odd = Attribute(Tag.ALIAS, b"abc\0de")
    payload = encode_all([name(ADMIN), odd, DELIMITER]) + bytes(2)
    answer = await _sent(isns, payload=payload)
    expect(answer, "R4171-5.3.1-01", Status.MESSAGE_FORMAT_ERROR, what="an odd length has status 2")


@server_case("isns-server.odd-payload", clauses={"R4171-5.1.3-01": S + "malformed-requests"})
async def odd_payload(isns: ServerBench) -> None:
    """A payload whose length is no multiple of four is a format error."""
    answer = await _sent(isns, payload=QUERY.message(1).payload + b"\0")
    expect(answer, "R4171-5.1.3-01", Status.MESSAGE_FORMAT_ERROR, what="an odd payload has status 2")


@server_case("isns-server.missing-flags", clauses={"R4171-5.2-01": S + "malformed-requests"})
async def missing_flags(isns: ServerBench) -> None:
    """A single PDU that is not marked as first is a format error."""
    answer = await _sent(isns, flags=0x8800)
    expect(answer, "R4171-5.2-01", Status.MESSAGE_FORMAT_ERROR, what="a missing mark has status 2")


@server_case("isns-server.vendor-attribute", clauses={"R4171-5.4-05": S + "any-attribute"}, touches=["R4171-4.1.1-03"])
async def vendor_attribute(isns: ServerBench) -> None:
    """An attribute that is not implemented is refused."""
    answer = await isns.register(DISK, *node(DISK), Attribute(0x7FFF, bytes(4)))
    expect(answer, "R4171-5.4-05", Status.ATTRIBUTE_NOT_IMPLEMENTED, what="an unknown attribute has status 18")


@server_case(
    "isns-server.source-absent",
    clauses={"R4171-5.6.1-03": S + "no-source-needed", "R4171-5.4-07": S + "no-source-needed"},
)
async def source_absent(isns: ServerBench) -> None:
    """A request without source is refused."""
    answer = await _sent(isns, payload=encode_all([DELIMITER, *want(32)]))
    expect_each(("R4171-5.6.1-03", "R4171-5.4-07"), answer, Status.SOURCE_ABSENT, what="a missing source has status 7")


@server_case("isns-server.source-unknown", clauses={"R4171-5.6.1-03": S + "any-source"})
async def source_unknown(isns: ServerBench) -> None:
    """A request of a source that is not registered is refused."""
    answer = await isns.query(OTHER, *want(32))
    expect(answer, "R4171-5.6.1-03", Status.SOURCE_UNKNOWN, what="an unknown source has status 6")


@server_case("isns-server.split-attribute", clauses={"R4171-5.3-02": S + "failing-queries"})
async def split_attribute(isns: ServerBench) -> None:
    """An attribute may go on in the next PDU."""
    isns.about = "R4171-5.3-02"
    pdus = QUERY.message(isns.number()).pdus(12)
    answer = await isns.raw(b"".join(pdu.encode() for pdu in pdus))
    expect(answer, "R4171-5.3-02", what="a request in several PDUs is carried out")


@server_case(
    "isns-server.datagrams",
    clauses={"R4171-5.6-02": S + "deaf-to-queries", "R4171-5.7-01": S + "deaf-to-queries"},
    touches=["R4171-2.9.2-01", "R4171-2.9.2-05"],
)
async def datagrams(isns: ServerBench) -> None:
    """A request by UDP is answered where it came from."""
    sends = await isns.datagram(QUERY)
    require_each(
        ("R4171-5.6-02", "R4171-5.7-01"),
        [send.udp for send in sends] == [PEER],
        "the answer goes to the address and port of the request",
    )


@server_case("isns-server.tcp", clauses={"R4171-2.9.1-02": S + "deaf-to-registrations"}, touches=["R4171-2.9.1-01"])
async def tcp(isns: ServerBench) -> None:
    """A registration over TCP is answered."""
    isns.about = "R4171-2.9.1-02"
    answer = await isns.register(DISK, *node(DISK))
    expect(answer, "R4171-2.9.1-02", what="a good registration is taken")


@server_case("isns-server.types-told", clauses={"R4171-4.1.1-01": S + "no-node-type"})
async def attributes(isns: ServerBench) -> None:
    """What every server has to implement is registered and told again."""
    await isns.disk(text(Tag.PORTAL_NAME, "eth0"))
    wanted = (1, 2, 4, 6, 7, 16, 17, 18, 22, 32, 33, 36, 48, 49, 50, 51, 52)
    answer = await isns.query(DISK, *want(*wanted), key=[name(DISK)])
    seen = tags(answer.operating)
    require(seen == list(wanted), "R4171-4.1.1-01", "all attributes are told", seen=seen)
