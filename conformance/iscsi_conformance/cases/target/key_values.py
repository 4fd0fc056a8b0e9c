"""How keys and values are written and read at login (RFC 7143 sections 6.1, 6.2, 12.1, 13.1, 13.22 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iscsi_conformance.case import TARGET, CaseFunction, case
from iscsi_conformance.cases.target.keys import number, offered
from iscsi_conformance.cases.target.login import OFFERS, OPEN, outcome, walk
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_initiator.raw_login import RawLogin
from iscsi_protocol.negotiation.keys import KEYS, Kind

LONGEST_NAME = "X-org.iscsi-conformance.".ljust(63, "k")
"""A key name of 63 characters."""

ALIAS_OF_255 = "a" * 255
NOT_ASCII = "\u00fcberwachter \u65e5\u672c-Rechner"
ARCHITECTURE = "X#NodeArchitecture"

_LABEL = re.compile(r"[A-Z][A-Za-z0-9.\-+@_]*")
_VALUE = re.compile(r"[A-Za-z0-9.\-+@_/\[\]:,]*")


def said(login: RawLogin, clause: str) -> list[str]:
    """The keys that the target says of its own accord. Raises Failed unless the login succeeds."""
    require(login.full_feature, clause, "the login reaches the full feature phase", seen=outcome(login))
    asked = {key for key, _ in login.offered}
    return [key for key, _ in login.pairs if key not in asked]


@case(
    "keys.value-goes-up-to-its-end",
    clauses={"R7143-6.1-03": "keys.splits-at-the-last-equals-sign"},
    role=TARGET,
    needs=OPEN,
)
async def value_goes_up_to_its_end(peer: Peer) -> None:
    """An equals sign within a value belongs to it: an alias with one is taken without a word, as any declaration is."""
    clause = "R7143-6.1-03"
    _, login = await walk(peer, clause, [("InitiatorAlias", "rack=7=left")])
    answer = next((f"{key}={value}" for key, value in login.pairs if key.startswith("InitiatorAlias")), None)
    require(answer is None, clause, "the alias has no answer", seen=answer)


@case(
    "keys.names-begin-with-a-capital",
    clauses={"R7143-6.1-04": "keys.small-initial"},
    role=TARGET,
    needs=OPEN,
)
async def names_begin_with_a_capital(peer: Peer) -> None:
    """Every key that the target says begins with a capital letter."""
    clause = "R7143-6.1-04"
    _, login = await walk(peer, clause, OFFERS)
    keys = {key for key, _ in login.pairs} - {"iSCSIProtocolLevel"}  # the one that the standard itself begins otherwise
    strange = [key for key in keys if not re.match("[A-Z]", key)]
    require(not strange, clause, "a key begins with a capital letter", seen=strange)


@case(
    "keys.name-of-63-characters",
    clauses={"R7143-6.1-05": "keys.cuts-names"},
    role=TARGET,
    needs=OPEN,
)
async def name_of_63_characters(peer: Peer) -> None:
    """A key with a name of 63 characters is answered by that name, and the target's own are no longer."""
    clause = "R7143-6.1-05"
    _, login = await walk(peer, clause, [(LONGEST_NAME, "1")])
    answer = login.value(LONGEST_NAME)
    require(answer == "NotUnderstood", clause, "NotUnderstood was due for all 63 characters", seen=login.pairs)
    long = [key for key, _ in login.pairs if len(key) > 63]
    require(not long, clause, "a key has 63 characters at most", seen=long)


@case(
    "keys.values-are-plain-text",
    clauses={"R7143-6.1-06": "keys.value-in-braces"},
    role=TARGET,
    needs=OPEN,
)
async def values_are_plain_text(peer: Peer) -> None:
    """The values of the standard's keys, but for names and aliases, have only the characters that text values have."""
    clause = "R7143-6.1-06"
    _, login = await walk(peer, clause, OFFERS)
    for key, value in login.pairs:
        rule = KEYS.get(key)
        if rule is not None and not rule.informative and rule.kind not in (Kind.LOCAL_NAME, Kind.ISCSI_NAME):
            require(_VALUE.fullmatch(value), clause, f"{key} has a plain value", seen=value)


@case(
    "keys.alias-beyond-ascii",
    clauses={"R7143-6.1-07": "keys.ascii-aliases-only"},
    role=TARGET,
    needs=OPEN,
)
async def alias_beyond_ascii(peer: Peer) -> None:
    """An alias may be any text in UTF-8."""
    await walk(peer, "R7143-6.1-07", [("InitiatorAlias", NOT_ASCII)])


@case(
    "keys.hexadecimal-in-either-case",
    clauses={"R7143-6.1-09": "keys.small-hexadecimal-only"},
    role=TARGET,
    needs=OPEN,
)
async def hexadecimal_in_either_case(peer: Peer) -> None:
    """0X begins a hexadecimal number as 0x does, and its digits may be capitals."""
    login = await offered(peer, ("MaxBurstLength", "0X2aFE"))
    answer = number(login, "MaxBurstLength", "R7143-6.1-09")
    require(512 <= answer <= 0x2AFE, "R7143-6.1-09", "0x2afe was offered", seen=answer)


@case(
    "keys.values-of-255-bytes",
    clauses={"R7143-6.1-15": "keys.short-values-only"},
    role=TARGET,
    needs=OPEN,
)
async def values_of_255_bytes(peer: Peer) -> None:
    """A value of 255 bytes is taken, and the target's own are no longer."""
    clause = "R7143-6.1-15"
    _, login = await walk(peer, clause, [("InitiatorAlias", ALIAS_OF_255)])
    long = [key for key, value in login.pairs if len(value.encode("utf-8", "surrogateescape")) > 255]
    require(not long, clause, "a value has 255 bytes at most", seen=long)


@case(
    "keys.reserved-words-are-no-values",
    clauses={"R7143-6.2-13": "keys.takes-reserved-words"},
    role=TARGET,
    needs=OPEN,
)
async def reserved_words(peer: Peer) -> None:
    """A proposal of Irrelevant, which is a word for answers alone, is rejected or ends the login."""
    login = await offered(peer, ("ImmediateData", "Irrelevant"))
    answer = login.value("ImmediateData")
    refused = answer in ("Reject", "NotUnderstood") or (login.status or 0) >> 8 == 2
    require(refused, "R7143-6.2-13", "a refusal was due", seen=answer)


# ---- private and public extensions (13.22, 14) ----


@case(
    "keys.no-new-public-keys",
    clauses={"R7143-6.2-21": "keys.new-public-key"},
    role=TARGET,
    needs=OPEN,
)
async def no_new_public_keys(peer: Peer) -> None:
    """Of its own accord the target says no key with the prefix X# but X#NodeArchitecture."""
    clause = "R7143-6.2-21"
    _, login = await walk(peer, clause, OFFERS)
    strange = [key for key in said(login, clause) if key.startswith("X#") and key != ARCHITECTURE]
    require(not strange, clause, "no new key has the prefix X#", seen=strange)


@case(
    "keys.no-public-prefixes",
    clauses={"R7143-14-01": "keys.public-prefix-in-use"},
    role=TARGET,
    needs=OPEN,
)
async def no_public_prefixes(peer: Peer) -> None:
    """Nothing that the target says in a login, X#NodeArchitecture excepted, has a prefix X#, Y# or Z#."""
    clause = "R7143-14-01"
    offers = [(key, "Y#conformance,None" if key.endswith("Digest") else value) for key, value in OFFERS]
    _, login = await walk(peer, clause, offers)
    words = [word for key, value in login.pairs if key != ARCHITECTURE for word in (key, *value.split(","))]
    public = [word for word in words if word.startswith(("X#", "Y#", "Z#"))]
    require(not public, clause, "the public prefixes are not used", seen=public)


@case(
    "keys.private-names-are-labels",
    clauses={"R7143-13.22-01": "keys.private-name-no-label"},
    role=TARGET,
    needs=OPEN,
)
async def private_names(peer: Peer) -> None:
    """What follows X- in a private key that the target says has the characters of a key name."""
    clause = "R7143-13.22-01"
    _, login = await walk(peer, clause, OFFERS)
    strange = [key for key in said(login, clause) if key.startswith("X-") and not _LABEL.fullmatch(f"X{key[2:]}")]
    require(not strange, clause, "a private key has the characters of a key name", seen=strange)


@case(
    "keys.private-ones-in-normal-sessions",
    clauses={"R7143-13.22-02": "keys.private-key-in-discovery"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def private_in_normal_sessions(peer: Peer) -> None:
    """In the login of a discovery session the target says no private key."""
    clause = "R7143-13.22-02"
    _, login = await peer.try_login(session_type="Discovery")
    if not login.full_feature:
        raise Inconclusive(f"no discovery session was opened: {outcome(login)}")
    private = [key for key in said(login, clause) if key.startswith("X-")]
    require(not private, clause, "private keys belong to normal sessions", seen=private)


@dataclass(frozen=True)
class Alien:
    """A name in a list of values that no product may have a function behind."""

    key: str
    value: str
    clause: str
    slug: str
    says: str


ALIENS = (
    Alien("HeaderDigest", "org.iscsi-conformance.sum", "R7143-13.1-07", "digest-without-prefix", "no prefix"),
    Alien("DataDigest", "Y#conformance", "R7143-13.1-08", "public-digest", "the prefix Y#"),
    Alien("HeaderDigest", "Y-org.iscsi-conformance:sum/1", "R7143-13.1-09", "misnamed-digest", "no label behind Y-"),
    Alien("DataDigest", "Z-org.iscsi-conformance.sum", "R7143-14-02", "method-as-digest", "the prefix of methods"),
    Alien("AuthMethod", "org.iscsi-conformance.way", "R7143-12.1-06", "method-without-prefix", "no prefix"),
    Alien("AuthMethod", "Z#conformance", "R7143-12.1-07", "public-method", "the prefix Z#"),
    Alien("AuthMethod", "Z-org.iscsi-conformance:way/1", "R7143-12.1-09", "misnamed-method", "no label behind Z-"),
    Alien("AuthMethod", "SPKM1", "R7143-15-03", "obsolete-method", "the name of an obsolete method"),
)


def alien_case(row: Alien) -> CaseFunction:
    """The case of one row."""

    async def body(peer: Peer) -> None:
        login = await offered(peer, (row.key, f"{row.value},None"))
        answer = login.value(row.key)
        require(answer != row.value, row.clause, "nobody may have an extension of that name", seen=answer)

    body.__doc__ = f"A value of {row.key} that has {row.says} is no extension, and is not chosen."
    body.__qualname__ = body.__name__ = f"alien_{row.slug.replace('-', '_')}"
    return case(f"keys.no-{row.slug}", clauses={row.clause: f"keys.chooses-{row.slug}"}, role=TARGET, needs=OPEN)(body)


for _alien in ALIENS:
    globals()[f"alien_{_alien.slug.replace('-', '_')}"] = alien_case(_alien)


# ---- the architecture of a node (13.26) ----


@case(
    "keys.architecture-of-255-bytes",
    clauses={"R7143-13.26.1-01": "keys.long-architecture"},
    role=TARGET,
    needs=OPEN,
)
async def architecture_of_255_bytes(peer: Peer) -> None:
    """An X#NodeArchitecture of 255 bytes does no harm, and the target's own is no longer."""
    clause = "R7143-13.26.1-01"
    _, login = await walk(peer, clause, [(ARCHITECTURE, "Conformance/1," + "x" * 241)])
    own = login.value(ARCHITECTURE) or ""
    require(len(own) <= 255, clause, "255 bytes at most were due", seen=f"{len(own)} bytes")


@case(
    "keys.architecture-once",
    clauses={"R7143-13.26.1-02": "keys.architecture-twice"},
    role=TARGET,
    needs=OPEN,
)
async def architecture_once(peer: Peer) -> None:
    """The target tells its X#NodeArchitecture once in a login at most."""
    clause = "R7143-13.26.1-02"
    _, login = await walk(peer, clause, OFFERS)
    told = [value for key, value in login.pairs if key == ARCHITECTURE]
    require(len(told) <= 1, clause, "it is not declared again", seen=told)


@case(
    "keys.architecture-changes-nothing",
    clauses={"R7143-13.26.2-01": "keys.architecture-matters", "R7143-13.26.2-02": "keys.architecture-excludes"},
    role=TARGET,
    needs=OPEN,
)
async def architecture_changes_nothing(peer: Peer) -> None:
    """With any X#NodeArchitecture a login succeeds, and its keys are answered as without one."""
    _, without = await peer.try_login(OFFERS)
    if not without.full_feature:
        raise Inconclusive(f"the login is refused anyway: {outcome(without)}")
    values = {key: without.value(key) for key, _ in OFFERS}
    for told in ("Conformance/1,unheard-of/0.1", "None"):
        _, login = await walk(peer, "R7143-13.26.2-02", [*OFFERS, (ARCHITECTURE, told)])
        different = [f"{key}={login.value(key)}" for key, value in values.items() if login.value(key) != value]
        require(not different, "R7143-13.26.2-01", "the answers are the same as without", seen=different)
