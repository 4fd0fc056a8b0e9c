"""Named misbehaviour of the engine that no transform of the byte stream can express; every default conforms.

A switch is one field here and one test at the place that it changes. Whatever a fault can do to the bytes on their way
out has no switch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The engine's switches. Each comment says what is broken, and which clause."""

    accept_any_cmd_sn: bool = False
    """Executes commands outside the window, and duplicates (R7143-4.2.2.1-12, R7143-4.2.2.1-13)."""
    deliver_out_of_order: bool = False
    """Executes a command as soon as it comes, ahead of missing ones (R7143-4.2.2.1-07)."""
    ignore_data_digest: bool = False
    """Takes PDUs with a wrong data digest (R7143-7.8, R7143-11.17.1-07)."""
    ignore_header_digest: bool = False
    """Drops a PDU with a wrong header digest and goes on behind it, trusting the length in that header (R7143-7.8-01)."""
    accept_unsolicited_data: bool = False
    """Takes immediate data and unsolicited Data-Out that were not agreed upon (R7143-13.11-03, R7143-11.4.7.2-01)."""
    ignore_data_amount: bool = False
    """Takes bursts that are shorter than asked for or agreed (R7143-11.4.7.2-02)."""
    ignore_data_sn: bool = False
    """Takes Data-Out PDUs with any DataSN (R7143-7.9-02)."""
    ignore_data_out_tags: bool = False
    """Takes Data-Out whose LUN, tag or offset does not fit the R2T (R7143-4.2.5.3-01, R7143-11.17.1-02)."""
    skip_abort_wait: bool = False
    """Ends the tasks of a set without waiting for open R2Ts and missing commands (R7143-4.2.3.3-07, R7143-4.2.3.3-09)."""
    skip_abort_fence: bool = False
    """Answers a task set function before earlier responses are acknowledged (R7143-11.6.1-05, R7143-4.2.3.3-15)."""
    execute_aborted_tasks: bool = False
    """Says that a task is aborted and lets it go on, its response included (R7143-11.5.1-05)."""
    keep_plugged_gap: bool = False
    """ABORT TASK of a command that never came does not count it as received (R7143-11.6.1-07)."""
    accept_any_tsih: bool = False
    """Makes a new session of a login with an unknown TSIH (R7143-6.3.1-01, R7143-6.3.1-06)."""
    keep_reinstated_session: bool = False
    """Session reinstatement leaves the old session and its connections alive (R7143-6.3.1-03)."""
    merge_discovery_portals: bool = False
    """Unnamed discovery sessions of one initiator port are one, whatever portal they come to (R7143-7.4.2.1-04)."""
    skip_authentication: bool = False
    """Lets an initiator go without the authentication that the node requires (R7143-6.3.1-08)."""
    mix_identities: bool = False
    """Lets a connection into the session of another identity (R7143-9.2-13, R7143-9.2-14)."""
    accept_any_chap_response: bool = False
    """Takes any CHAP_R of a known user (R1994-4.2-02)."""
    accept_any_login_request: bool = False
    """Goes on with a login whose tags, stages or version change (R7143-6.3-12, R7143-11.12.7-02)."""
    apply_partial_negotiation: bool = False
    """Values of a full feature phase negotiation hold at once, not at its end (R7143-6.4-14, R7143-7.12-04)."""
    serve_discovery_fully: bool = False
    """Takes every request on a discovery session (R7143-4.3-01, R7143-4.3-02)."""
    survive_format_errors: bool = False
    """Drops the PDU with the format error and keeps the session (R7143-7.7-01)."""
    stay_after_logout: bool = False
    """Does not close the connection behind a Logout Response (R7143-11.14-06, R7143-11.15-01)."""
    stay_after_login_reject: bool = False
    """Does not close the connection behind a Login Response with a non-zero class (R7143-11.13.5-13)."""
    wait_for_login_forever: bool = False
    """Keeps a connection whose login does not begin or does not end (R7143-8.1-02, R7143-8.1-03)."""
    wait_for_logout_forever: bool = False
    """Does nothing when the logout that it asked for does not come (R7143-11.9.1-06)."""
    stay_after_drop_notice: bool = False
    """Keeps connections whose drop it announced (R7143-8.1.2-13)."""
    silent_clearing: bool = False
    """No unit attention tells that tasks were cleared by a logout (R7143-11.14.5-02)."""
    drop_bad_data_out: bool = False
    """Ends the session where a Data-Out has a wrong DataSN, place or amount (R7143-7.9-02, R7143-11.4.7.2-02)."""
    fold_key_names: bool = False
    """Knows the keys of a login by their names in any case, and answers as they were written (R7143-6.1-01)."""
    strip_chap_name_prefix: bool = False
    """Takes 0x or 0b at the beginning of CHAP_N for an encoding, and leaves it away (R7143-12.1.3-01)."""
    never_ask_for_data: bool = False
    """Sends no R2T and waits for ever (R7143-11.8-01)."""
