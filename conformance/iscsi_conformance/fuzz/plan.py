"""A dialogue as it is generated: where it begins, what is done, and what goes wrong. It is data, and can be told as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from iscsi_conformance.fuzz.chunks import WHOLE, Chunks
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.parrot import Mutation
from iscsi_protocol.fault import Fault
from iscsi_protocol.history import TransportEvent


class Verb(Enum):
    """What the user of the initiator, or the network, does."""

    READ = "read"
    WRITE = "write"
    PING = "ping"
    INQUIRY = "inquiry through the management interface"
    FAULTY_COMMAND = "a command that ends with CHECK CONDITION"
    SEND_TARGETS = "send targets"
    NEGOTIATE = "negotiate anew"
    ABORT_SET = "abort task set"
    RESET_LUN = "reset the logical unit"
    CANCEL = "cancel an earlier request"
    LOGOUT = "log out"
    CUT = "end a connection"
    ADD_CONNECTION = "add a connection"
    REMOVE_CONNECTION = "remove a connection"
    BALANCE = "spread requests by another policy"
    WAIT = "wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing done. place: first block, number of the request to cancel, of the connection to cut, CID of one to remove;
    size: blocks, bytes of a ping, 0 for RST and 1 for FIN of a cut, number of a policy. pause: seconds before it. together:
    it goes out with the step before it.
    """

    verb: Verb
    place: int = 0
    size: int = 1
    pause: float = 0.0
    together: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One dialogue. faults: of the first `faulty` connections (None: of all); roads: what becomes of attempts to connect.
    mutations: of what the target said when all went well; with any, that is all that it says.
    """

    ground: Ground
    script: tuple[Step, ...] = ()
    faults: tuple[Fault, ...] = ()
    faulty: int | None = 1
    roads: tuple[TransportEvent, ...] = ()
    chunks: Chunks = WHOLE
    mutations: tuple[Mutation, ...] = ()
