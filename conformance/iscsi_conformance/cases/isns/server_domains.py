"""Discovery domains and their sets at a server (RFC 4171 5.6.5.9 to 5.6.5.12, 6.11)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import SERVER, case
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
    LATER,
    expect,
    expect_each,
    name,
    node,
    require_each,
    require_rows,
    tags,
    values,
    want,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, number, text

server_case = partial(case, role=SERVER, virtual=True)
S = "isns-server."
INVALID = Status.INVALID_REGISTRATION


def dd(value: int) -> list[Attribute]:
    """The key of a domain."""
    return [number(Tag.DD_ID, value)]


def dds(value: int) -> list[Attribute]:
    """The key of a set."""
    return [number(Tag.DDS_ID, value)]


def member(value: str) -> Attribute:
    """A member node."""
    return text(Tag.DD_MEMBER_NAME, value)


@server_case("isns-domain.managers", clauses={"R4171-2.4-02": S + "any-manager", "R4171-5.6.5.9-20": S + "any-manager"})
async def managers(isns: ServerBench) -> None:
    """Ordinary nodes change no domains unless the administrator lets them."""
    await isns.disk()
    answer = await isns.do(Function.DD_REG, DISK, member(DISK))
    expect_each(
        ("R4171-2.4-02", "R4171-5.6.5.9-20"), answer, Status.SOURCE_UNAUTHORIZED, what="a target's DDReg has status 8"
    )


@server_case(
    "isns-domain.created",
    clauses={
        "R4171-5.6.5.9-04": S + "secret-numbers",
        "R4171-5.6.5.9-06": S + "secret-numbers",
        "R4171-5.7.5.9-02": S + "secret-numbers",
        "R4171-6.11.2.1-01": S + "secret-numbers",
        "R4171-5.6.5.9-11": S + "secret-names",
        "R4171-5.7.5.9-03": S + "secret-names",
    },
    touches=["R4171-5.6.5.9-12"],
)
async def created(isns: ServerBench) -> None:
    """A new domain gets a number and a name, which are told."""
    answer = await isns.do(Function.DD_REG, ADMIN, member(DISK))
    numbers = values(answer, Tag.DD_ID)
    clauses = ("R4171-5.6.5.9-04", "R4171-5.6.5.9-06", "R4171-5.7.5.9-02", "R4171-6.11.2.1-01")
    require_each(clauses, numbers and numbers[0].number, "the number is told and is not 0")
    names = values(answer, Tag.DD_NAME)
    require_each(("R4171-5.6.5.9-11", "R4171-5.7.5.9-03"), names and names[0].text, "the name is told")


@server_case("isns-domain.given-number", clauses={"R4171-5.6.5.9-05": S + "secret-numbers"})
async def given_number(isns: ServerBench) -> None:
    """A domain takes the number that it is given."""
    answer = await isns.do(Function.DD_REG, ADMIN, *dd(77), member(DISK))
    require(values(answer, Tag.DD_ID) == dd(77), "R4171-5.6.5.9-05", "the domain has the number 77")


@server_case(
    "isns-domain.unknown",
    clauses={
        "R4171-5.6.5.9-02": S + "any-domain",
        "R4171-5.6.5.9-18": S + "any-domain",
        "R4171-6.11.2.10-01": S + "any-domain",
        "R4171-5.7.5.9-04": S + "any-domain",
    },
    touches=["R4171-5.6.5.9-19"],
)
async def unknown(isns: ServerBench) -> None:
    """What a DDReg cannot mean is refused, and makes no domain."""
    rows = []
    for clause, what, operating, key in (
        ("R4171-5.6.5.9-02", "an unknown number as key", [member(DISK)], dd(9)),
        ("R4171-5.6.5.9-18", "an unknown index of a member", [number(Tag.DD_MEMBER_INDEX, 99)], []),
        ("R4171-6.11.2.10-01", "the next number", [number(Tag.DD_NEXT_ID, 9)], []),
        ("R4171-5.7.5.9-04", "the number 0", dd(0), []),
    ):
        answer = await isns.do(Function.DD_REG, ADMIN, *operating, key=key)
        rows.append((clause, answer.status == INVALID, f"{what} has status 3, not {answer.status}"))
    left = (await isns.query(ADMIN, *want(Tag.DD_ID))).operating
    require_rows([*rows, ("R4171-5.6.5.9-19", not left, "no domain is made")])


@server_case(
    "isns-domain.names",
    clauses={"R4171-5.6.5.9-10": S + "same-domain-names", "R4171-6.11.2.2-01": S + "same-domain-names"},
    touches=["R4171-5.6.5.9-09"],
)
async def names(isns: ServerBench) -> None:
    """Two domains have not one name."""
    await isns.do(Function.DD_REG, ADMIN, text(Tag.DD_NAME, "lab"))
    answer = await isns.do(Function.DD_REG, ADMIN, text(Tag.DD_NAME, "lab"))
    expect_each(("R4171-5.6.5.9-10", "R4171-6.11.2.2-01"), answer, INVALID, what="a name in use has status 3")


@server_case(
    "isns-domain.members",
    clauses={
        "R4171-5.6.5.9-07": S + "replaces-members",
        "R4171-5.6.5.9-01": S + "replaces-members",
        "R4171-5.7.5.9-01": S + "keyless-domains",
        "R4171-5.6.5.9-13": S + "registered-members-only",
    },
)
async def members(isns: ServerBench) -> None:
    """Members are added to those that a domain has."""
    await isns.do(Function.DD_REG, ADMIN, member(DISK))
    answer = await isns.do(Function.DD_REG, ADMIN, member(HOST), key=dd(1))
    require(answer.key == tuple(dd(1)), "R4171-5.7.5.9-01", "the response repeats the message key")
    seen = [item.text for item in (await isns.query(ADMIN, *want(2068), key=dd(1))).operating]
    require(HOST in seen, "R4171-5.6.5.9-13", "members need not be registered", seen=seen)
    require_each(("R4171-5.6.5.9-07", "R4171-5.6.5.9-01"), seen == [DISK, HOST], "both are members", seen=seen)


@server_case(
    "isns-domain.reserved-index",
    clauses={
        "R4171-5.6.5.9-14": S + "no-reserved-index",
        "R4171-5.6.5.9-15": S + "forgets-reserved-index",
        "R4171-6.4.5-03": S + "one-index",
    },
)
async def reserved(isns: ServerBench) -> None:
    """A member that is not registered gets an index, which it keeps."""
    answer = await isns.do(Function.DD_REG, ADMIN, member(HOST), member(LATER))
    told = values(answer, Tag.DD_MEMBER_INDEX)
    require(len(told) == 2, "R4171-5.6.5.9-14", "the indexes of the members are told", seen=len(told))
    await isns.register(DISK, *node(DISK))
    await isns.register(LATER, *node(LATER))
    index = {each: (await isns.query(ADMIN, *want(36), key=[name(each)])).operating[0].number for each in (DISK, LATER)}
    taken = [item.number for item in told]
    require(index[DISK] not in taken, "R4171-6.4.5-03", "no other node has such an index", seen=index)
    require(index[LATER] == told[1].number, "R4171-5.6.5.9-15", "the node keeps its index", seen=index)


@server_case(
    "isns-domain.removed",
    clauses={"R4171-5.6.5.10-01": S + "eternal-domains", "R4171-5.6.5.10-06": S + "failing-removals"},
    touches=["R4171-5.6.5.10-02"],
)
async def removed(isns: ServerBench) -> None:
    """A domain is removed, its members stay, and removing it again is no error."""
    await isns.disk()
    await isns.do(Function.DD_REG, ADMIN, member(DISK))
    await isns.do(Function.DD_DEREG, ADMIN, key=dd(1))
    left = (await isns.query(ADMIN, *want(Tag.DD_ID))).operating
    require(not left, "R4171-5.6.5.10-01", "the domain is gone")
    seen = await isns.names(ADMIN)
    require(seen == [DISK], "R4171-5.6.5.10-02", "its members stay", seen=seen)
    again = await isns.do(Function.DD_DEREG, ADMIN, key=dd(1))
    expect(again, "R4171-5.6.5.10-06", what="removing what is not there has status 0")


@server_case(
    "isns-set.created",
    clauses={
        "R4171-5.6.5.11-09": S + "secret-numbers",
        "R4171-5.7.5.11-02": S + "secret-numbers",
        "R4171-6.11.1.1-01": S + "secret-numbers",
        "R4171-5.6.5.11-11": S + "secret-names",
        "R4171-5.7.5.11-03": S + "secret-names",
        "R4171-6.11.1.3-01": S + "enabled-sets",
    },
    touches=["R4171-5.6.5.11-04"],
)
async def set_created(isns: ServerBench) -> None:
    """A new set gets a number and a name, which are told, and is disabled."""
    answer = await isns.do(Function.DDS_REG, ADMIN)
    numbers, names_ = values(answer, Tag.DDS_ID), values(answer, Tag.DDS_NAME)
    clauses = ("R4171-5.6.5.11-09", "R4171-5.7.5.11-02", "R4171-6.11.1.1-01")
    require_each(clauses, numbers and numbers[0].number, "the number is told and is not 0")
    require_each(("R4171-5.6.5.11-11", "R4171-5.7.5.11-03"), names_ and names_[0].text, "the name is told")
    status = (await isns.query(ADMIN, *want(Tag.DDS_STATUS), key=dds(1))).operating
    require(status == (number(Tag.DDS_STATUS, 0),), "R4171-6.11.1.3-01", "a new set is disabled")


@server_case(
    "isns-set.domains",
    clauses={"R4171-5.6.5.11-07": S + "secret-numbers", "R4171-5.6.5.11-12": S + "secret-names"},
    touches=["R4171-5.6.5.11-06"],
)
async def set_domains(isns: ServerBench) -> None:
    """A domain that a set lists and that is not there is made in passing, and told."""
    answer = await isns.do(Function.DDS_REG, ADMIN, *dd(5))
    seen = tags(answer.operating)
    require(Tag.DD_ID in seen, "R4171-5.6.5.11-07", "the new domain is told", seen=seen)
    require(Tag.DD_NAME in seen, "R4171-5.6.5.11-12", "its name is told", seen=seen)


@server_case(
    "isns-set.unknown",
    clauses={
        "R4171-5.6.5.11-02": S + "any-domain",
        "R4171-6.11.1.4-01": S + "any-domain",
        "R4171-5.7.5.11-04": S + "any-domain",
        "R4171-5.6.5.11-10": S + "any-domain",
        "R4171-6.11.1.2-01": S + "any-domain",
    },
    proofs=[S + "same-domain-names"],
)
async def set_unknown(isns: ServerBench) -> None:
    """What a DDSReg cannot mean is refused."""
    await isns.do(Function.DDS_REG, ADMIN, text(Tag.DDS_NAME, "all"))
    rows = []
    for clauses, what, operating, key in (
        (["R4171-5.6.5.11-02"], "an unknown number as key", [], dds(9)),
        (["R4171-6.11.1.4-01"], "the next number", [number(Tag.DDS_NEXT_ID, 9)], []),
        (["R4171-5.7.5.11-04"], "a status that there is not", [number(Tag.DDS_STATUS, 8)], []),
        (["R4171-5.6.5.11-10", "R4171-6.11.1.2-01"], "a name in use", [text(Tag.DDS_NAME, "all")], []),
    ):
        answer = await isns.do(Function.DDS_REG, ADMIN, *operating, key=key)
        rows += [(clause, answer.status == INVALID, f"{what} has status 3, not {answer.status}") for clause in clauses]
    require_rows(rows)


@server_case(
    "isns-set.removed",
    clauses={"R4171-5.6.5.12-01": S + "eternal-domains", "R4171-5.6.5.12-03": S + "failing-removals"},
)
async def set_removed(isns: ServerBench) -> None:
    """A set is removed, its domains stay, and removing it again is no error."""
    await isns.do(Function.DDS_REG, ADMIN, *dd(5))
    await isns.do(Function.DDS_DEREG, ADMIN, key=dds(1))
    left = tags((await isns.query(ADMIN, *want(Tag.DD_ID, Tag.DDS_ID))).operating)
    require(left == [Tag.DD_ID], "R4171-5.6.5.12-01", "the set is gone, its domain is not", seen=left)
    again = await isns.do(Function.DDS_DEREG, ADMIN, key=dds(1))
    expect(again, "R4171-5.6.5.12-03", what="removing what is not there has status 0")
