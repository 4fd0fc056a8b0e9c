"""Log pages and their parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.log import (
    DEDICATED,
    LogPage,
    LogParameter,
    ResourceCount,
    SelfTestResult,
    parse_log,
    parse_parameters,
    supported_log_pages,
    supported_log_subpages,
)

parameters = st.builds(
    LogParameter, code=st.integers(0, 0xFFFF), value=st.binary(max_size=255), control=st.integers(0, 0xFF)
)


@given(st.lists(parameters, max_size=5), st.integers(0, 0x3F), st.integers(0, 0xFF), st.booleans())
def test_pages_are_read_as_written(chosen, code, subpage, saving_disabled):
    body = b"".join(each.build() for each in chosen)
    page = LogPage(code=code, subpage=subpage, body=body, saving_disabled=saving_disabled)
    built = page.build()
    assert parse_log(built) == page
    assert built[0] & 0x40 == (0x40 if subpage else 0)
    assert parse_parameters(body) == chosen


def test_cut_pages_have_what_is_there():
    body = LogParameter(code=6, value=b"\0\0\0\7").build() + LogParameter(code=9, value=b"xy").build()
    built = LogPage(code=2, body=body).build()
    assert built.hex() == "8200000e" + "0006030400000007" + "000903027879"
    assert [each.code for each in parse_parameters(parse_log(built[:13]).body)] == [6]
    assert [each.code for each in parse_parameters(parse_log(built[:17]).body)] == [6]
    assert parse_log(b"\x02") == LogPage(code=2, saving_disabled=False)


def test_lists_are_in_ascending_order():
    assert supported_log_pages([0x0D, 0, 2]).build().hex() == "8000000300020d"
    assert supported_log_subpages([(2, 0xFF), (0, 0), (2, 0)]).build().hex() == "c0ff000600000200" + "02ff"
    assert supported_log_subpages([(2, 0)], 2).code == 2


def test_what_does_not_fit_is_an_error():
    with pytest.raises(OverflowError):
        LogParameter(code=0x10000, value=b"").build()
    with pytest.raises(OverflowError):
        LogParameter(code=0, value=bytes(256)).build()


def test_values_are_laid_out_as_the_standards_say():
    assert ResourceCount(count=5, scope=DEDICATED).build() == bytes.fromhex("0000000501000000")
    result = SelfTestResult(self_test_code=5, result=7, first_failure=3, sense_key=4, additional_sense=0x3E03)
    assert result.build().hex() == "a7000000" + "0000000000000003" + "043e0300"
