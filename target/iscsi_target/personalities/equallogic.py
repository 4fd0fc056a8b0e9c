"""Arrays behind one address, which move sessions about."""

from __future__ import annotations

from iscsi_protocol.fault import Close, Insert, Template
from iscsi_protocol.pdu import AsyncEvent, AsyncMessage, Opcode
from iscsi_target.faults import NEXT_NUMBERS
from iscsi_target.personalities.model import Personality, Quirk, sent

VOLUME_MOVE = 1000
"""Responses on a connection, behind which the volume moves."""

PERSONALITY = Personality(
    name="equallogic-like",
    says="One address for a group of arrays, among which volumes and sessions move.",
    quirks=(
        Quirk(
            says="Status never comes in Data-In.",
            sources=("https://github.com/ipxe/ipxe/commit/428c6342b",),
            node={"phase_collapse": False},
        ),
        Quirk(
            says="Idle connections are pinged, and an ExpStatSN that counts the ping is a protocol error.",
            sources=("https://github.com/sahlberg/libiscsi/issues/119",),
            timers={"ping_interval": 5.0},
            node={"judge_exp_stat_sn": True},
        ),
        Quirk(
            says="Behind a task management function R2Ts are still to be answered.",
            sources=("https://github.com/open-iscsi/open-iscsi/blob/master/etc/iscsid.conf",),
            keys={"TaskReporting": "RFC3720"},
        ),
        Quirk(
            says="Logins at the first portal are sent on to the second one.",
            sources=("https://github.com/sahlberg/libiscsi/issues/19",),
            node={"redirect": {"portal": "next"}},
            portals=("127.0.0.1:3260", "127.0.0.1:3261"),
        ),
        Quirk(
            says=f"Behind {VOLUME_MOVE} SCSI Responses the initiator is asked to log out, and the connection drops at once.",
            sources=(
                "https://github.com/sahlberg/libiscsi/issues/115",
                "https://github.com/sahlberg/libiscsi/commit/ac46262",
            ),
            own=(
                sent(
                    Opcode.SCSI_RESPONSE,
                    Insert(Template(AsyncMessage, {"async_event": AsyncEvent.LOGOUT_REQUESTED, **NEXT_NUMBERS})),
                    Close(),
                    nth=VOLUME_MOVE,
                ),
            ),
        ),
        Quirk(
            says="INQUIRY tells EQLOGIC and 100E-00.",
            sources=(
                "https://github.com/opensvc/multipath-tools/blob/master/libmultipath/hwtable.c",
                "https://github.com/xapi-project/sm/pull/653",
            ),
            lun={"vendor": "EQLOGIC", "product": "100E-00"},
        ),
    ),
)
