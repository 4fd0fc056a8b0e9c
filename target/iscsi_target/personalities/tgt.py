"""tgt, the target in user space that many Linux distributions have."""

from __future__ import annotations

from iscsi_protocol.fault import HasKey, Set, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.personalities.model import Personality, Quirk, sent

_ISCSID = "https://github.com/fujita/tgt/blob/master/usr/iscsi/iscsid.c"
_PARAM = "https://github.com/fujita/tgt/blob/master/usr/iscsi/param.c"


def _not_understood(key: str) -> Quirk:
    return Quirk(
        says=f"{key} is not understood.",
        sources=(_PARAM, _ISCSID),
        node={"keys_left_out": [key]},
        own=(sent(Opcode.LOGIN_RESPONSE, SetKey(key, "NotUnderstood"), tests=(HasKey(key),), times=0),),
    )


PERSONALITY = Personality(
    name="tgt-like",
    says="tgtd with its defaults.",
    quirks=(
        Quirk(
            says="MaxRecvDataSegmentLength is not declared, so that it is 8192.",
            sources=(_ISCSID, "https://github.com/openebs-archive/gotgt/issues/7"),
            node={"keys_left_out": ["MaxRecvDataSegmentLength"]},
        ),
        Quirk(
            says="The standard's defaults are what is wanted: an R2T before data, one at a time, data in order, no recovery.",
            sources=(_PARAM,),
            keys={
                "HeaderDigest": "None",
                "DataDigest": "None",
                "MaxConnections": "1",
                "InitialR2T": "Yes",
                "MaxOutstandingR2T": "1",
                "FirstBurstLength": "65536",
                "MaxBurstLength": "262144",
                "DataPDUInOrder": "Yes",
                "DataSequenceInOrder": "Yes",
                "ErrorRecoveryLevel": "0",
            },
        ),
        _not_understood("TaskReporting"),
        _not_understood("iSCSIProtocolLevel"),
        Quirk(
            says="Key names are compared without regard to case.",
            sources=(_PARAM,),
            policy={"fold_key_names": True},
        ),
        Quirk(
            says="Data-In goes on beyond MaxBurstLength, and only the PDU with the status has the F bit.",
            sources=("https://github.com/fujita/tgt/issues/75", _ISCSID),
            faults=("datain.sequences-not-ended",),
        ),
        Quirk(
            says="ExpDataSN of a SCSI Response is 0.",
            sources=(_ISCSID,),
            own=(sent(Opcode.SCSI_RESPONSE, Set("exp_data_sn", 0), times=0),),
        ),
        Quirk(
            says="Data-Out is looked up by its task tag alone; LUN, transfer tag and DataSN are not looked at.",
            sources=(_ISCSID,),
            faults=("dataout.places-ignored", "dataout.numbers-ignored"),
        ),
        Quirk(
            says="Data is taken though it was not agreed upon, and more of it than was.",
            sources=(_ISCSID,),
            faults=("unsolicited.accepted", "unsolicited.amount-ignored"),
        ),
        Quirk(
            says="A login without the security stage looks for no session: each makes a new one, whatever ISID and TSIH.",
            sources=(_ISCSID,),
            faults=("identity.joins-what-is-not-there", "identity.keeps-the-old-session"),
        ),
        Quirk(
            says="Task management is answered at once, open R2Ts and missing commands or not.",
            sources=(_ISCSID,),
            faults=("tmf.does-not-wait",),
        ),
        Quirk(
            says="Every logout succeeds, whatever reason and CID it gives.",
            sources=(_ISCSID,),
            faults=("logout.any-cid-will-do", "logout.takes-any-reason", "logout.pretends-recovery"),
        ),
        Quirk(
            says="INQUIRY tells IET and VIRTUAL-DISK.",
            sources=("https://github.com/rackerlabs/genestack/issues/451",),
            lun={"vendor": "IET", "product": "VIRTUAL-DISK"},
        ),
    ),
)
