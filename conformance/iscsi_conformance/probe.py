"""What does the product offer? Asked once before a run, so that UNSUPPORTED always has its evidence."""

from __future__ import annotations

from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Environment, Offer, Peer
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.remedy import LOGIN_REMEDIES, LUN_REMEDY, latest_status, listed_luns, login_remedy, numbered
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Outcome, PeerGone, WrongProfile
from iscsi_protocol.pdu import TextResponse
from iscsi_protocol.pdu.codes import login_status_text
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_protocol.text import NumberError, parse_number

ASKED = (
    ("HeaderDigest", "CRC32C,None"),
    ("DataDigest", "CRC32C,None"),
    ("ImmediateData", "Yes"),
    ("InitialR2T", "No"),
    ("MaxConnections", "8"),
    ("ErrorRecoveryLevel", "2"),
    ("MaxBurstLength", "4096"),
    ("FirstBurstLength", "4096"),
)

PERSISTENT_RESERVE_IN = bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0))
"""READ KEYS, of which the first 8 bytes are wanted (SPC-4 6.15)."""


async def probe(environment: Environment) -> None:
    """Fill the environment's offers.

    Raises PeerGone when the portal takes no connection, WrongProfile when the target under test lets the tester in nowhere
    or does not have the logical unit; nothing else.
    """
    recorder = Recorder()
    peer = Peer(environment, recorder)
    offers = environment.offers
    profile = environment.profile
    nodes = (
        (Feature.CHAP, "chap_target", "chap"),
        (Feature.MUTUAL_CHAP, "mutual_target", "mutual"),
        (Feature.DENIED_TARGET, "denied_target", None),
        (Feature.REDIRECTED_TARGET, "redirected_target", None),
        (Feature.REMOVED_TARGET, "removed_target", None),
    )
    for feature, node, login in nodes:
        known = getattr(profile, node) is not None and (login is None or getattr(profile, login) is not None)
        offers[feature] = Offer(known, f"the profile {'names' if known else 'does not name'} {node}")
    offers[Feature.LOGIN_TIME] = Offer(
        profile.login_time is not None, f"the profile {'names' if profile.login_time else 'does not name'} login_time"
    )
    offers[Feature.GROUP_PORTAL] = Offer(
        environment.group_portal is not None,
        f"the profile {'names' if environment.group_portal else 'does not name'} group_portal",
    )
    several = len(environment.endpoints) > 1
    offers[Feature.SECOND_PORTAL] = Offer(several, f"{len(environment.endpoints)} portals are known")
    try:
        await _sessions(peer, offers)
    finally:
        await peer.close()


async def _sessions(peer: Peer, offers: dict[Feature, Offer]) -> None:
    try:
        await peer.discovery()
        offers[Feature.DISCOVERY] = Offer(True, "a discovery session was opened")
    except Outcome as outcome:
        _raise_if_gone(outcome)
        offers[Feature.DISCOVERY] = Offer(False, outcome.reason)
    try:
        session = await peer.login(ASKED)
    except Outcome as outcome:
        _raise_if_gone(outcome)
        _raise_if_refused(peer)
        offers[Feature.NORMAL_SESSION] = Offer(False, outcome.reason)
        return
    offers[Feature.NORMAL_SESSION] = Offer(True, "a normal session was opened")
    offers[Feature.OPEN_ACCESS] = Offer(
        peer.profile.chap is None or peer.profile.chap_target is not None, "login went without CHAP"
    )
    await _raise_if_absent(session)
    _keys(session, offers)
    await _disk(session, offers)
    await _reservations(session, offers)
    await _task_reporting(peer, offers)
    offers[Feature.TEXT_NEGOTIATION] = await _text(peer)


def _raise_if_gone(outcome: Outcome) -> None:
    if isinstance(outcome, PeerGone):
        raise outcome


def _raise_if_refused(peer: Peer) -> None:
    """A status that the operator has to see to would meet every case alike."""
    status = latest_status(peer)
    if status is not None and status in LOGIN_REMEDIES:
        name = peer.profile.target_name
        raise WrongProfile(f"no login to {name}: status {login_status_text(status)}; remedy: {login_remedy(peer)}")


async def _raise_if_absent(session: Session) -> None:
    """So would a logical unit that is not there while others are; a target without any can still be judged otherwise."""
    try:
        known = await listed_luns(session)
    except Outcome:
        return
    lun = decode_lun(session.lun)
    if known and lun not in known:
        raise WrongProfile(f"LUN {lun} is not listed; there are: {numbered(known)}; remedy: {LUN_REMEDY}")


async def _text(peer: Peer) -> Offer:
    """Whether a Text Request in full feature phase is answered at all.

    Last, since it may end the session, and with a new login, which reinstates it.
    """
    try:
        session = await peer.login()
        await session.answer(TextResponse, session.text().itt, ALIVE)
    except Outcome as outcome:
        _raise_if_gone(outcome)
        return Offer(False, outcome.reason)
    return Offer(True, "an empty Text Request was answered")


async def _task_reporting(peer: Peer, offers: dict[Feature, Offer]) -> None:
    """The keys that came after RFC 3720, one a login: a product that does not know them may refuse the login."""
    asked = (
        (Feature.FAST_ABORT, "TaskReporting", "FastAbort"),
        (Feature.RESPONSE_FENCE, "TaskReporting", "ResponseFence"),
        (Feature.PROTOCOL_LEVEL_2, "iSCSIProtocolLevel", "2"),
    )
    for feature, key, value in asked:
        try:
            session = await peer.login([(key, value)])
        except Outcome as outcome:
            _raise_if_gone(outcome)
            offers[feature] = Offer(False, outcome.reason)
        else:
            agreed = session.agreed(key)
            offers[feature] = Offer(agreed == value, f"{key}={agreed} was agreed on when {value} was asked for")


async def _reservations(session: Session, offers: dict[Feature, Offer]) -> None:
    """Whether the logical unit reads persistent reservation keys, and can be reserved as in SPC-2 and released."""
    released = opcodes.RELEASE_6.build()
    asked = (
        (Feature.PERSISTENT_RESERVATIONS, (PERSISTENT_RESERVE_IN,), 8),
        (Feature.SPC2_RESERVATIONS, (opcodes.RESERVE_6.build(), released), None),
    )
    for feature, cdbs, read in asked:
        try:
            statuses = [(await session.execute(cdb, ALIVE, read=read)).status for cdb in cdbs]
        except Outcome as outcome:
            offers[feature] = Offer(False, outcome.reason)
            return
        told = ", ".join(f"{status:#04x}" for status in statuses)
        offers[feature] = Offer(not any(statuses), f"the commands ended with status {told}")


def _number(value: str, otherwise: int) -> int:
    """A product's number, or what stands for one that is none."""
    try:
        return parse_number(value)
    except NumberError:
        return otherwise


def _keys(session: Session, offers: dict[Feature, Offer]) -> None:
    answers = (
        (Feature.HEADER_DIGEST, "HeaderDigest", lambda value: value == "CRC32C"),
        (Feature.DATA_DIGEST, "DataDigest", lambda value: value == "CRC32C"),
        (Feature.IMMEDIATE_DATA, "ImmediateData", lambda value: value == "Yes"),
        (Feature.UNSOLICITED_DATA, "InitialR2T", lambda value: value == "No"),
        (Feature.MULTIPLE_CONNECTIONS, "MaxConnections", lambda value: _number(value, 1) > 1),
        (Feature.ERROR_RECOVERY_LEVEL_1, "ErrorRecoveryLevel", lambda value: value in ("1", "2")),
        (Feature.ERROR_RECOVERY_LEVEL_2, "ErrorRecoveryLevel", lambda value: value == "2"),
        (Feature.SMALL_BURST, "MaxBurstLength", lambda value: _number(value, 1 << 24) <= 4096),
    )
    for feature, key, holds in answers:
        value = session.agreed(key)
        offers[feature] = Offer(holds(value), f"{key}={value} was agreed on when more was asked for")


async def _disk(session: Session, offers: dict[Feature, Offer]) -> None:
    try:
        inquiry = await session.execute(opcodes.INQUIRY.build(allocation_length=36), ALIVE, read=36)
        kind = inquiry.data[0] if inquiry.data else 0x7F
        await session.measure()
        mode_sense = opcodes.MODE_SENSE_6.build(page_code=0x3F, allocation_length=255)
        sense = await session.execute(mode_sense, ALIVE, read=255)
    except Outcome as outcome:
        offers[Feature.SCSI_DISK] = Offer(False, outcome.reason)
        offers[Feature.WRITABLE_LUN] = Offer(False, outcome.reason)
        return
    disk = kind == 0 and session.blocks >= 2048
    offers[Feature.SCSI_DISK] = Offer(
        disk, f"peripheral {kind:#04x}, {session.blocks} blocks of {session.block_size} bytes"
    )
    protected = len(sense.data) > 2 and bool(sense.data[2] & 0x80)
    offers[Feature.WRITABLE_LUN] = Offer(
        disk and not protected,
        "MODE SENSE says that the medium is write protected" if protected else "the medium is writable",
    )
