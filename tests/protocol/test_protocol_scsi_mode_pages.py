"""Mode pages 02, 0A/01, 1A and 1C/02."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi.mode import page_key, page_length
from iscsi_protocol.scsi.mode_pages import (
    ControlExtensionPage,
    DisconnectReconnectPage,
    LogicalBlockProvisioningModePage,
    PowerConditionPage,
)


@pytest.mark.parametrize(
    ("page", "raw"),
    [
        (
            DisconnectReconnectPage(maximum_burst_size=0x1234, enable_modify_data_pointers=True, first_burst_size=5),
            "020e" + "00" * 8 + "1234" + "80000005",
        ),
        (
            PowerConditionPage(idle_a=True, standby_z=True, idle_a_timer=1, check_condition_from_stopped=2),
            "1a26000300000001" + "00" * 31 + "08",
        ),
        (ControlExtensionPage(scsi_precedence=True, maximum_sense_data_length=252), "4a01001c0200fc" + "00" * 25),
        (LogicalBlockProvisioningModePage(single_initiator_threshold_attention=True), "5c02000c01" + "00" * 11),
    ],
)
def test_pages_are_laid_out_as_the_standard_says(page, raw):
    built = page.build()
    assert built.hex() == raw
    assert type(page).parse(built) == page
    assert page_length(built) == len(built) == page.LENGTH
    assert page_key(built) == (page.PAGE_CODE, getattr(page, "SUBPAGE_CODE", 0))
