"""Status codes: which there are, by a sample that was typed by hand and by what is known of all of them."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import LoginStatus
from iscsi_protocol.status_codes import StatusCode


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0xEFFF0001, "NON_SPECIFIC_ERROR"),
        (0xEFFF0003, "CONNECTION_FAILED"),
        (0xEFFF000E, "TOO_MANY_CONNECTIONS"),
        (0xEFFF001C, "INVALID_SESSION_ID"),
        (0xEFFF0023, "SEND_FAILED"),
        (0xAFFF002E, "OPERATION_NOT_ALL_SUCCESS"),
        (0xEFFF0038, "TARGET_OUT_OF_RESORCES"),
        (0xEFFF0039, "SERVICE_DID_NOT_RESPOND"),
        (0xAFFF003B, "OPERATION_REQUIRES_REBOOT"),
        (0xEFFF003D, "CANT_REMOVE_LAST_CONNECTION"),
        (0xEFFF0043, "PORTAL_NOT_FOUND"),
        (0xAFFF0048, "SHORT_CHAP_SECRET"),
        (0xEFFF0049, "EVALUATION_PEROID_EXPIRED"),
        (0xEFFF0055, "INVALID_LOAD_BALANCE_POLICY"),
        (0xEFFF0056, "INVALID_PARAMETER"),
        (0xEFFF0057, "DUPLICATE_PATH_SPECIFIED"),
        (0xEFFF005A, "MULTIPLE_PRIMARY_PATHS_SPECIFIED"),
        (0xEFFF005F, "DNS_NAME_UNRESOLVED"),
        (0xEFFF0061, "LB_POLICY_NOT_SUPPORTED"),
        (0xEFFF0065, "CANNOT_REMOVE_ACTIVE_CONNECTION"),
    ],
)
def test_a_sample_typed_by_hand(number, name):
    assert StatusCode(number).name == name
    assert StatusCode[name] == number


def test_a_hundred_codes_without_a_gap_but_one():
    assert len(StatusCode.__members__) == len(set(StatusCode)) == 100
    assert [code & 0xFFFF for code in StatusCode] == [number for number in range(1, 0x66) if number != 0x60]
    assert {code >> 16 for code in StatusCode} == {0xEFFF, 0xAFFF}


def test_three_codes_are_warnings():
    assert [code & 0xFFFF for code in StatusCode if code.is_warning] == [0x2E, 0x3B, 0x48]


def test_login_statuses_have_a_block_in_their_order():
    own = [s for s in sorted(LoginStatus) if s not in {0, 0x020A, 0x020B}]
    block = [StatusCode(0xEFFF0006 + index) for index in range(15)]
    renamed = {
        0x0101: "TARGET_MOVED_TEMPORARILY",
        0x0102: "TARGET_MOVED_PERMANENTLY",
        0x0208: "CANT_INCLUDE_IN_SESSION",
    }
    assert [code.name for code in block] == [renamed.get(status, status.name) for status in own]
