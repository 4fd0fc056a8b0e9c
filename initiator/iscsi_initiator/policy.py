"""Switches for misbehaviour of the initiator that no change of its byte stream can express. All defaults conform.

Each says what it breaks. Whatever a transform of the stream can do is a fault (`protocol.fault`), not a switch.
"""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.chap import MIN_SECRET_LENGTH


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How the engine behaves where it should know better."""

    accept_any_stat_sn: bool = False
    """Does not judge StatSN (4.2.2.2; event 42)."""

    accept_header_digest_errors: bool = False
    """Works on a PDU although its header digest is wrong (7.8; event 22)."""

    drop_on_header_digest_error: bool = False
    """Trusts the length of a PDU with a wrong header digest and drops that PDU alone. Legal in effect only where the
    boundary is known otherwise (7.8); the event is logged."""

    accept_data_digest_errors: bool = False
    """Uses data although its digest is wrong (7.8; event 25)."""

    accept_invalid_pdus: bool = False
    """Passes over format errors and unknown opcodes instead of ending the session's connections (7.7; events 23, 24)."""

    accept_oversized_segments: bool = False
    """Takes data segments over its own MaxRecvDataSegmentLength (13.12; event 21)."""

    accept_excess_data: bool = False
    """Passes over data that was not asked for (event 26)."""

    accept_invalid_r2t: bool = False
    """Answers an R2T that it should refuse, as far as there is data (11.8; event 28)."""

    accept_any_target_authentication: bool = False
    """Goes on although the target's CHAP response is wrong (12.1.3, 9.2.1; event 17)."""

    shortest_chap_secret: int = MIN_SECRET_LENGTH
    """Bytes that a CHAP secret has at least; to ask for more refuses good ones (9.2.1; events 35 and 36)."""

    accept_invalid_login: bool = False
    """Passes over inconsistent login responses (11.13; event 11)."""

    takes_limits_as_reached: frozenset[int] = frozenset()
    """Events of shortages for which one fewer counts than the limit allows (`limits`; events 2, 6, 30, 31, 55, 57, 58)."""

    impatient_with_service: bool = False
    """Gives the service half of IPSecConfigTimeout (events 52 to 54)."""

    looks_for_md5_alone: bool = False
    """Gives CHAP up where the host has no MD5, whatever other hash is left (event 37)."""

    ignore_command_window: bool = False
    """Sends numbered requests beyond MaxCmdSN (4.2.2.1)."""

    ignore_logout_request: bool = False
    """Does not answer AsyncEvent 1 with a logout (11.9.1)."""

    ignore_negotiation_request: bool = False
    """Does not answer AsyncEvent 4 with a Text Request (11.9.1)."""

    ignore_target_ping: bool = False
    """Does not answer a NOP-In that asks for it (11.19)."""

    ignore_time2wait: bool = False
    """Logs in again at once after a connection was lost (7.5, 13.15)."""

    new_isid_on_recovery: bool = False
    """Recovers a session under another ISID, so that the old one is not reinstated (7.1.4.4, 6.3.5)."""

    no_escalation: bool = False
    """Forgets a SCSI request that timed out instead of aborting it (7.11)."""

    never_logs: frozenset[int] = frozenset()
    """Events that are not logged when they occur."""

    logs_twice: frozenset[int] = frozenset()
    """Events that are logged twice."""

    logs_wrong_dump: frozenset[int] = frozenset()
    """Events that are logged with every bit of their extra data inverted, and one zero byte where there is none."""

    goes_on_after: frozenset[int] = frozenset()
    """Events that are logged and not acted on: nothing is closed, recovered, failed or asked for again."""


CONFORMING = Policy()
