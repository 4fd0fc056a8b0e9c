"""The name of the iSCSI node, by the guide's rules (Node Names): made from the computer's name, or set and checked.

RFC 7143's rules for names are those of `iscsi_protocol.names`. The guide adds that upper case is mapped to lower, that what
needs more than 16 bits (UCS-4) is not supported, and what a name is generated from where none is set.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Node
from iscsi_protocol.names import NAME_LIMIT, IscsiNameError, prepare_name

AUTHORITY = "iqn.1991-05.com.microsoft"
"""What generated names begin with, before a colon."""

DEFAULT = "*"
"""What is given for a name to go back to the generated one (guide, Appendix C: NodeName)."""

NAMELESS = "localhost"
"""The computer's name where it has none."""

_INVALID = re.compile(r"[^a-z0-9.:-]")
_LARGEST = "\uffff"


def generate(host: str, domain: str = "") -> str:
    """The node name of a computer: AUTHORITY, a colon, and the computer's name with its domain where it has one.

    Upper case becomes lower; each character that names do not have becomes `-`, so Computer1_Dept1 is computer1-dept1.
    What is beyond 223 bytes is left out.
    """
    full = ".".join(part for part in (host.strip(".") or NAMELESS, domain.strip(".")) if part)
    return f"{AUTHORITY}:{_INVALID.sub('-', full.lower())}"[:NAME_LIMIT]


def check(name: str) -> str:
    """The name as it is used: mapped to lower case and normalised. Of the initiator's own name and of targets alike.

    Raises Refused with INVALID_ISCSI_NAME for what is no name, or has a character beyond U+FFFF.
    """
    try:
        prepared = prepare_name(name)
    except IscsiNameError as error:
        raise Refused(StatusCode.INVALID_ISCSI_NAME, str(error)) from None
    large = next((character for character in prepared if character > _LARGEST), None)
    if large is not None:
        raise Refused(StatusCode.INVALID_ISCSI_NAME, f"a character of more than 16 bits, U+{ord(large):04X}")
    return prepared


def follow(node: Node, host: str, domain: str = "") -> Node:
    """The node as it is on this computer: a name that was set stays, any other is generated anew."""
    return node if node.fixed and node.name else Node(name=generate(host, domain))


def name_node(name: str, host: str, domain: str = "") -> Node:
    """The node under a name that somebody sets, which it keeps from now on. `*` and nothing at all go back to the host's.

    Raises Refused with INVALID_ISCSI_NAME.
    """
    return Node(name=generate(host, domain)) if name in ("", DEFAULT) else Node(name=check(name), fixed=True)


def host_and_domain(full: str, hosts: str = "", resolver: str = "") -> tuple[str, str]:
    """The computer's name and its domain, empty where nothing tells.

    full: the name that the kernel has; hosts, resolver: the text of /etc/hosts and /etc/resolv.conf, looked at in this
    order where `full` has no domain. Nothing on the network is asked.
    """
    host, _, domain = full.strip(".").partition(".")
    if domain or not host:
        return host, domain
    for line in hosts.splitlines():
        names = line.partition("#")[0].split()[1:]
        if host in names or any(name.startswith(f"{host}.") for name in names):
            for name in names:
                if name.startswith(f"{host}."):
                    return host, name[len(host) + 1 :].strip(".")
    for line in resolver.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "domain":
            return host, words[1].strip(".")
    return host, ""


def this_host(etc: Path = Path("/etc")) -> tuple[str, str]:
    """Name and domain of the computer that this runs on."""
    texts = []
    for name in ("hosts", "resolv.conf"):
        texts.append("")
        with suppress(OSError):
            texts[-1] = (etc / name).read_text(encoding="utf-8", errors="replace")
    return host_and_domain(socket.gethostname(), *texts)
