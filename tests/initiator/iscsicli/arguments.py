"""Arguments for tests: a good one for each place of each command, and a service that takes whatever comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iscsi_initiator.iscsicli.places import MAPPING
from iscsi_initiator.iscsicli.run import Runner
from iscsi_initiator.iscsicli.secret import Secrets
from iscsi_initiator.iscsicli.table import Command
from iscsi_initiator.service import api
from iscsi_initiator.service.api import wire
from iscsi_initiator.status_codes import Refused, StatusCode

SECRET = "a secret of many bytes"
ASKED = "asked for, with many bytes"
GOOD = {
    "target_name": "iqn.2026-01.org.example:disk",
    "target_alias": "Disk",
    "address": "192.0.2.10",
    "port": "3260",
    "initiator": "software",
    "initiator_port": "0x1",
    "security_flags": "0x43",
    "target_flags": "6",
    "login_flags": "0x2",
    "header_digest": "1",
    "data_digest": "0",
    "maximum_connections": "4",
    "default_time2wait": "2",
    "default_time2retain": "20",
    "user_name": "user",
    "password": SECRET,
    "auth_type": "1",
    "key": SECRET,
    "mapping_count": "2",
    "persist": "T",
    "report_to_pnp": "t",
    "update": "T",
    "discovery_mechanism": "Static",
    "server": "isns.example.org",
    "session_id": "ffff0001-4000013700000001",
    "connection_id": "ffff0001-1",
    "lun": "1",
    "evpd_cmddt": "1",
    "page_code": "0x83",
    "length": "0x2000",
    "secret": SECRET,
    "destination": "192.0.2.10",
    "tunnel": "198.51.100.1",
    "id_type": "2",
    "id": "192.0.2.10",
    "path": "/mnt/disk",
    "node_name": "iqn.2026-01.org.example:host",
}
"""What each place takes, by its field."""

MAPPINGS = ["0x0000000000000000", "0", "1", "0", "0x0001000000000000", "0", "1", "1"]


def good(command: Command) -> list[str]:
    """Arguments for every place of a command, and two mappings where it takes some."""
    return [GOOD[place.field] for place in command.parameters] + (MAPPINGS if command.takes_mappings else [])


def places(command: Command) -> list[Any]:
    """The parameter of each of those arguments."""
    return [*command.parameters, *(MAPPING * 2 if command.takes_mappings else ())]


@dataclass
class Taker:
    """Takes every request over the wire and answers that it has: with REQUEST_NOT_SUPPORTED, as nothing here uses that."""

    taken: list[api.Operation[Any]] = field(default_factory=list)

    def ask(self, request: api.Operation[Any]) -> Any:
        self.taken.append(wire.decode_request(wire.encode_request(request)))
        assert self.taken[-1] == request
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "taken")


@dataclass
class Bench:
    """A command line whose service takes everything."""

    service: Taker = field(default_factory=Taker)
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def run(self, *words: str) -> int:
        return Runner(self.service, Secrets(lambda name: ASKED), self.out.append, self.err.append).run(words)

    def request(self, *words: str) -> Any:
        """What a command asks of the service."""
        assert self.run(*words) == 1
        assert self.err[-1].endswith(": taken"), self.err
        return self.service.taken[-1]

    def refusal(self, *words: str) -> tuple[int, str]:
        """The exit status and the code of a command that never gets to the service; one line tells why."""
        before = len(self.service.taken)
        status = self.run(*words)
        assert len(self.service.taken) == before
        assert self.out == []
        (line,) = self.err
        assert "\n" not in line
        assert line.startswith("iscsicli: error 0xEFFF")
        _, _, code, name, *rest = line.split(" ")
        assert rest
        assert name == f"ISDSC_{StatusCode(int(code, 16)).name}:"
        return status, StatusCode(int(code, 16)).name
