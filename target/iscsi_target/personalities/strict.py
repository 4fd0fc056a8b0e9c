"""Asks for the least that the standard allows, and judges the most."""

from __future__ import annotations

from iscsi_target.personalities.model import Personality, Quirk

PERSONALITY = Personality(
    name="strict",
    says="Agrees on the least that the standard allows and forgives nothing.",
    quirks=(
        Quirk(
            says="Every write takes many short R2Ts, one at a time and in order, and DataSN has to begin at 0 in each.",
            sources=("https://github.com/LTRData/DiscUtils/issues/52",),
            keys={
                "MaxRecvDataSegmentLength": "512",
                "MaxBurstLength": "2048",
                "MaxOutstandingR2T": "1",
                "DataPDUInOrder": "Yes",
                "DataSequenceInOrder": "Yes",
            },
            policy={"drop_bad_data_out": True},
        ),
        Quirk(
            says="A FirstBurstLength of 1024 is shared by immediate data and unsolicited Data-Out.",
            sources=("https://github.com/sahlberg/libiscsi/issues/144",),
            keys={"FirstBurstLength": "1024", "InitialR2T": "No", "ImmediateData": "Yes"},
        ),
        Quirk(
            says="Without a header digest nobody logs in, but for discovery.",
            sources=(
                "https://github.com/iscsi-osx/iSCSIInitiator/issues/98",
                "https://github.com/iscsi-osx/iSCSIInitiator/issues/110",
            ),
            node={"keys": {"HeaderDigest": "CRC32C"}},
        ),
        Quirk(
            says="Requests whose ExpStatSN was never due are rejected.",
            sources=("https://github.com/sahlberg/libiscsi/issues/119",),
            node={"judge_exp_stat_sn": True},
        ),
        Quirk(
            says="The command window is two commands wide.",
            sources=("https://github.com/sahlberg/libiscsi/commit/10868c4",),
            limits={"commands": 2},
        ),
        Quirk(
            says="Silence ends a login, a write or a connection within ten seconds.",
            sources=(
                "https://github.com/openebs-archive/jiva-operator/issues/125",
                "https://github.com/fujita/tgt/commit/97a7995",
            ),
            timers={"login": 5.0, "ping_interval": 5.0, "ping_timeout": 5.0, "data_out": 5.0},
        ),
        Quirk(
            says="There is one connection in a session, and no recovery but that of the session.",
            sources=("https://github.com/spdk/spdk/blob/master/test/iscsi_tgt/calsoft/calsoft.py",),
            keys={"MaxConnections": "1", "ErrorRecoveryLevel": "0", "DefaultTime2Retain": "0"},
        ),
    ),
)
