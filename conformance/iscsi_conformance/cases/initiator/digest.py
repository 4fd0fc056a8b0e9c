"""Digests as an initiator uses them (RFC 7143 sections 7.8, 11.2.3 and 13.1)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, configured, give_up, log_in, request, require_dropped, says
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol import serial
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.fault import Drop, Flip, Insert, Of, Part, SetKey, Template
from iscsi_protocol.pdu import NO_TAG, NopIn, NopOut, Opcode, RawPdu, ScsiResponse, decode
from iscsi_protocol.stream import Direction

_RESPONSE = Opcode.LOGIN_RESPONSE


async def _with_digests(scene: Scene) -> Client:
    return await log_in(scene, header_digest=REQUIRE_DIGEST, data_digest=REQUIRE_DIGEST)


def _full_feature(scene: Scene) -> list[RawPdu]:
    return [raw for raw in scene.raw(Direction.TO_TARGET) if raw.opcode != Opcode.LOGIN_REQUEST]


@case(
    "idigest.on-every-pdu",
    clauses={
        "R7143-13.1-02": "idigest.header-digest-left-out",
        "R7143-13.1-04": "idigest.wrong-crc",
        "R7143-11.2.3-01": "idigest.padding-not-covered",
    },
    role=INITIATOR,
)
async def on_every_pdu(scene: Scene) -> None:
    """Every PDU behind the login has the digests that were agreed on, and they are right."""
    client = await _with_digests(scene)
    await scene.attempt(client.write(0, bytes(range(256)) * 4))
    await scene.attempt(client.ping(b"ab"))
    await scene.attempt(client.logout())
    for raw in _full_feature(scene):
        given = bytes(raw.header_digest)
        require(
            given == digest_bytes(raw.bhs, raw.ahs), "R7143-13.1-02", "the header digest is right", seen=given.hex()
        )
        if raw.data:
            clause = "R7143-11.2.3-01" if raw.padding else "R7143-13.1-04"
            given = bytes(raw.data_digest)
            require(given == digest_bytes(raw.data, raw.padding), clause, "the data digest is right", seen=given.hex())


@case(
    "idigest.as-agreed",
    clauses={"R7143-13.1-02": "idigest.header-digest-left-out", "R7143-13.1-04": "idigest.wrong-crc"},
    role=INITIATOR,
    wire_only=True,
)
async def as_agreed(scene: Scene) -> None:
    """Where the target chooses CRC32C every PDU behind the login has the digests, the answer to a ping too."""
    numbers = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
    await scene.target(
        answer(Opcode.SCSI_RESPONSE, Insert(Template(NopIn, {"itt": NO_TAG, "ttt": 0x7A9, **numbers}), before=True)),
        request(Opcode.NOP_OUT, Drop()),
        config=configured(HeaderDigest="CRC32C", DataDigest="CRC32C,None"),
    )
    await scene.perform(Doing.WRITE, header_digest=True, data_digest=scene.data_digests)
    agreed = {key for key in ("HeaderDigest", "DataDigest") if scene.reaction(says(key, "CRC32C"))}
    scene.reached("HeaderDigest" in agreed and _full_feature(scene), "no header digest was agreed on")
    for raw in _full_feature(scene):
        given, due = bytes(raw.header_digest), digest_bytes(raw.bhs, raw.ahs)
        require(given == due, "R7143-13.1-02", f"the header digest is {due.hex()}", seen=given.hex())
        if raw.data and "DataDigest" in agreed:
            given, due = bytes(raw.data_digest), digest_bytes(raw.data, raw.padding)
            require(given == due, "R7143-13.1-04", f"the data digest is {due.hex()}", seen=given.hex())


@case(
    "idigest.padding",
    clauses={"R7143-11.1-02": "idigest.padding-not-zero"},
    touches=["R7143-13.1-03"],
    role=INITIATOR,
)
async def padding(scene: Scene) -> None:
    """Pad bytes are zero."""
    client = await log_in(scene)
    await scene.attempt(client.ping(b"ab"))
    sent = next(raw for raw in scene.raw(Direction.TO_TARGET) if raw.opcode == Opcode.NOP_OUT)
    require(not any(sent.padding), "R7143-11.1-02", "padding is zero", seen=bytes(sent.padding).hex())


@case(
    "idigest.header-digest-error",
    clauses={"R7143-7.8-01": "idigest.ignores-header-digest"},
    role=INITIATOR,
    events=["iScsiPrt:22"],
)
async def header_digest_error(scene: Scene) -> None:
    """A PDU with a wrong header digest ends the connection: the initiator cannot know where the next one begins."""
    await scene.target(answer(Opcode.NOP_IN, Flip(Part.HEADER_DIGEST)))
    client = await _with_digests(scene)
    await scene.attempt(client.ping())
    await require_dropped(scene, "R7143-7.8-01", "a wrong header digest")


@case(
    "idigest.damaged-header",
    clauses={"R7143-7.8-01": "idigest.ignores-header-digest"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:22"],
)
async def damaged_header(scene: Scene) -> None:
    """A SCSI Response with a wrong header digest is discarded: its status is not acknowledged on that connection."""
    config = configured(HeaderDigest="CRC32C", DataDigest="None")
    await scene.target(answer(Opcode.SCSI_RESPONSE, Flip(Part.HEADER_DIGEST)), config=config)

    def damaged(raw: RawPdu) -> bool:
        return raw.opcode == Opcode.SCSI_RESPONSE and bytes(raw.header_digest) != digest_bytes(raw.bhs, raw.ahs)

    def decided() -> bool:
        reaction = scene.reaction(damaged)
        return reaction is not None and bool(reaction.closed or reaction.sent)

    await scene.perform(Doing.LOG_IN, until=decided, header_digest=True)
    scene.reached(scene.reaction(says("HeaderDigest", "CRC32C")), "no header digest was agreed on")
    reaction = scene.reached(scene.reaction(damaged), "the target did not come to send it")
    response = decode(reaction.to.raw)
    number = response.stat_sn if isinstance(response, ScsiResponse) else 0
    acknowledged = [pdu for pdu in reaction.sent if serial.gt(getattr(pdu, "exp_stat_sn", number), number)]
    require(not acknowledged, "R7143-7.8-01", "a PDU with a wrong header digest is discarded", seen=reaction)


@case(
    "idigest.data-digest-error-in-read",
    clauses={"R7143-7.8-07": "idigest.ignores-data-digest"},
    role=INITIATOR,
    events=["iScsiPrt:25"],
)
async def data_digest_error(scene: Scene) -> None:
    """Read data with a wrong digest is not handed to those above."""
    await scene.target(answer(Opcode.SCSI_DATA_IN, Flip(Part.DATA_DIGEST)))
    client = await _with_digests(scene)
    error = await scene.attempt(client.capacity())
    require(error is not None, "R7143-7.8-07", "data with a wrong digest is discarded")


@case(
    "idigest.data-digest-error-in-ping",
    clauses={"R7143-7.8-13": "idigest.ignores-data-digest"},
    role=INITIATOR,
    events=["iScsiPrt:25"],
)
async def data_digest_error_in_ping(scene: Scene) -> None:
    """The answer to a ping with a wrong data digest is discarded with its header: its StatSN is not acknowledged."""
    await scene.target(answer(Opcode.NOP_IN, Flip(Part.DATA_DIGEST)))
    client = await _with_digests(scene)
    error = await scene.attempt(client.ping(b"abcd"))
    require(error is not None, "R7143-7.8-13", "a PDU with a wrong data digest is discarded")
    require(len(scene.sent(NopOut)) == 1, "R7143-7.8-13", "nothing follows on it")


@case(
    "idigest.required-header-digest",
    clauses={"R7143-6.2.1-06": "idigest.does-not-insist-on-header"},
    touches=["R7143-6.2.1-03"],
    role=INITIATOR,
    events=["iScsiPrt:18"],
)
async def required_header_digest(scene: Scene) -> None:
    """HeaderDigest=None does not answer an offer of CRC32C alone."""
    await scene.target(answer(_RESPONSE, SetKey("HeaderDigest", "None"), stage=1))
    await give_up(scene, "R7143-6.2.1-06", "None was not offered", header_digest=REQUIRE_DIGEST)


@case(
    "idigest.required-data-digest",
    clauses={"R7143-6.2.1-06": "idigest.does-not-insist-on-data"},
    role=INITIATOR,
    events=["iScsiPrt:19"],
)
async def required_data_digest(scene: Scene) -> None:
    """DataDigest=None does not answer an offer of CRC32C alone."""
    await scene.target(answer(_RESPONSE, SetKey("DataDigest", "None"), stage=1))
    await give_up(scene, "R7143-6.2.1-06", "None was not offered", data_digest=REQUIRE_DIGEST)
