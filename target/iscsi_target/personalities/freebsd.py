"""FreeBSD's target, and the storage systems made of it."""

from __future__ import annotations

from iscsi_protocol.fault import HasKey, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.personalities.model import Personality, Quirk, sent

_LOGIN = "https://github.com/freebsd/freebsd-src/blob/main/usr.sbin/ctld/login.c"
_FRONTEND = "https://github.com/freebsd/freebsd-src/blob/main/sys/cam/ctl/ctl_frontend_iscsi.c"

PERSONALITY = Personality(
    name="freebsd-like",
    says="CTL, ctld and what was before them in FreeBSD and in FreeNAS.",
    quirks=(
        Quirk(
            says="CHAP challenges have 1024 bytes.",
            sources=(
                "https://github.com/sahlberg/libiscsi/issues/196",
                "https://github.com/sahlberg/libiscsi/issues/189",
                "http://shell.peach.ne.jp/aoyama/archives/292",
            ),
            chap={"challenge_length": 1024},
        ),
        Quirk(
            says="SendTargets lists a link-local address with the zone that it has at the target, beside good ones.",
            sources=(
                "https://github.com/SCST-project/scst/issues/228",
                "https://github.com/open-iscsi/open-iscsi/issues/150",
                "https://github.com/truenas/middleware/pull/14059",
            ),
            own=(
                sent(
                    Opcode.TEXT_RESPONSE,
                    SetKey("TargetAddress", "[fe80::1%em0]:3260,1", again=True),
                    tests=(HasKey("TargetName"),),
                    times=0,
                ),
            ),
        ),
        Quirk(
            says="A Data-Out with a wrong DataSN, offset or length ends the session.",
            sources=(_FRONTEND, "https://github.com/LTRData/DiscUtils/issues/52"),
            policy={"drop_bad_data_out": True},
        ),
        Quirk(
            says="One connection, one R2T at a time, data in order, no recovery, and every R2T awaited.",
            sources=(_LOGIN,),
            keys={
                "MaxConnections": "1",
                "InitialR2T": "Yes",
                "MaxOutstandingR2T": "1",
                "DataPDUInOrder": "Yes",
                "DataSequenceInOrder": "Yes",
                "ErrorRecoveryLevel": "0",
                "DefaultTime2Retain": "0",
            },
        ),
        Quirk(
            says="TaskReporting is not understood.",
            sources=(_LOGIN,),
            node={"keys_left_out": ["TaskReporting"]},
            own=(
                sent(
                    Opcode.LOGIN_RESPONSE,
                    SetKey("TaskReporting", "NotUnderstood"),
                    tests=(HasKey("TaskReporting"),),
                    times=0,
                ),
            ),
        ),
        Quirk(
            says="A connection that is silent for a second or two is pinged, and has five seconds to answer.",
            sources=(_FRONTEND,),
            timers={"ping_interval": 2.0, "ping_timeout": 5.0},
        ),
        Quirk(
            says="INQUIRY tells FreeNAS and iSCSI Disk.",
            sources=("https://github.com/hpe-storage/truenas-csp/issues/5",),
            lun={"vendor": "FreeNAS", "product": "iSCSI Disk"},
        ),
    ),
)
