"""A refusal and its status code."""

from __future__ import annotations

from iscsi_initiator.status_codes import Refused
from iscsi_protocol.status_codes import StatusCode


def test_a_refusal_says_which_and_why():
    refused = Refused(StatusCode.TOO_MANY_SESSIONS, "2 are open")
    assert (refused.status, refused.reason) == (0xEFFF001E, "2 are open")
    assert str(refused) == "too many sessions (0xEFFF001E): 2 are open"
    assert str(Refused(StatusCode.SHORT_CHAP_SECRET)) == "short chap secret (0xAFFF0048)"
