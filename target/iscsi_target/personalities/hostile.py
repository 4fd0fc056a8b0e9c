"""What an initiator has to survive. Everything goes by counts, on each connection anew, so that a run can be repeated.

What a sound initiator outlives comes first; what ends a connection comes behind it, so that each new
connection gets some work done.
"""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    Flip,
    Insert,
    Of,
    Part,
    Relation,
    Replace,
    Reset,
    Segment,
    Set,
    Silence,
    Template,
    Truncate,
)
from iscsi_protocol.pdu import NO_TAG, AsyncEvent, AsyncMessage, Opcode, ScsiResponse
from iscsi_target.faults import NEXT_NUMBERS
from iscsi_target.personalities.model import Personality, Quirk, sent

_PREFIX = "iqn.2026-11.org.iscsi-conformance"
LOOP = f"{_PREFIX}:loop"
DEAD_END = f"{_PREFIX}:dead-end"
_LIBISCSI_PDU = "https://github.com/sahlberg/libiscsi/blob/master/lib/pdu.c"
_EVENTS = "http://38.142.81.21:8001/manual/dell/qlogic-family-of-adapters/2-1-users-guide-english/page-165.html"
_ANSWER = FieldIs("itt", NO_TAG, Relation.DIFFERENT)

PERSONALITY = Personality(
    name="hostile",
    says="Everything that an initiator has to survive, by counts.",
    quirks=(
        Quirk(
            says="Login Responses come in pieces of 7 bytes.",
            sources=("https://github.com/ipxe/ipxe/commit/1d293776e",),
            own=(sent(Opcode.LOGIN_RESPONSE, Segment(7), times=0),),
        ),
        Quirk(
            says="Every 7th command is answered BUSY.",
            sources=("https://github.com/sahlberg/libiscsi/issues/156",),
            lun={"busy": 7},
        ),
        Quirk(
            says="Behind the 3rd SCSI Response comes an Asynchronous Message of a vendor's own.",
            sources=(_LIBISCSI_PDU,),
            own=(
                sent(
                    Opcode.SCSI_RESPONSE,
                    Insert(Template(AsyncMessage, {"async_event": AsyncEvent.VENDOR_FIRST, **NEXT_NUMBERS})),
                    nth=3,
                    renumber=True,
                ),
            ),
        ),
        Quirk(
            says="Behind the 5th SCSI Response comes one for a command that was never sent.",
            sources=("https://github.com/ipxe/ipxe/commit/9dcedc175f",),
            own=(
                sent(
                    Opcode.SCSI_RESPONSE,
                    Insert(Template(ScsiResponse, {"itt": Of("unused_itt"), **NEXT_NUMBERS})),
                    nth=5,
                    renumber=True,
                ),
            ),
        ),
        Quirk(
            says="Sense data claims to be longer than it is.",
            sources=("https://github.com/ipxe/ipxe/commit/05a459f795",),
            own=(
                sent(
                    Opcode.SCSI_RESPONSE,
                    Replace(Part.DATA, b"\xff\xff\x70\x00\x05"),
                    tests=(FieldIs("data_length", 2, Relation.ABOVE),),
                    times=0,
                ),
            ),
        ),
        Quirk(
            says="The 8th SCSI Response never comes, though pings are answered.",
            sources=("https://github.com/sahlberg/libiscsi/commit/e9d6754",),
            own=(sent(Opcode.SCSI_RESPONSE, Drop(), nth=8, renumber=True),),
        ),
        Quirk(
            says="Logouts are not answered.",
            sources=(
                "https://github.com/open-iscsi/open-iscsi/issues/317",
                "https://github.com/longhorn/longhorn-engine/issues/230",
            ),
            own=(sent(Opcode.LOGOUT_RESPONSE, Drop(), times=0),),
        ),
        Quirk(
            says="A ping has no transfer tag, and who does not answer it is dropped.",
            sources=("https://github.com/iscsi-osx/iSCSIInitiator/issues/81",),
            timers={"ping_interval": 20.0, "ping_timeout": 5.0},
            faults=("nop.ping-without-tag",),
        ),
        Quirk(
            says="In the 12th response with data MaxCmdSN is two below ExpCmdSN.",
            sources=(_EVENTS,),
            own=(sent(Opcode.SCSI_DATA_IN, Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -2)), nth=12),),
        ),
        Quirk(
            says="The 20th SCSI Response has the tag of no command.",
            sources=("https://github.com/ipxe/ipxe/commit/9dcedc175f",),
            own=(sent(Opcode.SCSI_RESPONSE, Set("itt", Of("unused_itt")), nth=20),),
        ),
        Quirk(
            says="The 24th Data-In has a wrong digest, where there are digests.",
            sources=(
                "https://github.com/sahlberg/libiscsi/issues/232",
                "https://github.com/sahlberg/libiscsi/issues/233",
            ),
            own=(sent(Opcode.SCSI_DATA_IN, Flip(Part.HEADER_DIGEST), nth=24),),
        ),
        Quirk(
            says="The 28th Data-In breaks off within its header, and a reset follows.",
            sources=(_EVENTS,),
            own=(sent(Opcode.SCSI_DATA_IN, Truncate(20), Reset(), nth=28),),
        ),
        Quirk(
            says="From the 32nd SCSI Response on nothing comes any more, and the connection stays open.",
            sources=("https://github.com/sahlberg/libiscsi/issues/329",),
            own=(sent(Opcode.SCSI_RESPONSE, Silence(), nth=32),),
        ),
        Quirk(
            says="SendTargets is not answered the second time.",
            sources=("https://github.com/open-iscsi/open-iscsi/issues/155",),
            own=(sent(Opcode.TEXT_RESPONSE, Drop(), nth=2),),
        ),
        Quirk(
            says=f"Logins to {LOOP} are sent back to where they came to, for ever.",
            sources=("https://github.com/sahlberg/libiscsi/issues/19",),
            targets=({"name": LOOP, "redirect": {"portal": "same"}},),
        ),
        Quirk(
            says=f"Logins to {DEAD_END} are sent to a port where nobody listens.",
            sources=(
                "https://github.com/open-iscsi/open-iscsi/commit/612913b",
                "https://github.com/ipxe/ipxe/commit/55f7a675d6",
            ),
            targets=({"name": DEAD_END, "redirect": {"address": "127.0.0.1:9"}},),
        ),
    ),
)
