"""The target of the Linux kernel."""

from __future__ import annotations

from iscsi_protocol.fault import Close, FieldIs, HasKey, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.personalities.model import Personality, Quirk, taken

_TRANSIT = FieldIs("transit", True)

PERSONALITY = Personality(
    name="lio-like",
    says="The target of the Linux kernel, as its peers have met it.",
    quirks=(
        Quirk(
            says="Keys are offered by the target too, irrelevant or not, and silence is no answer.",
            sources=("https://github.com/ipxe/ipxe/commit/785389c2ba",),
            node={
                "keys_proposed": [
                    "InitialR2T",
                    "ImmediateData",
                    "FirstBurstLength",
                    "MaxBurstLength",
                    "MaxOutstandingR2T",
                ]
            },
            keys={
                "InitialR2T": "Yes",
                "MaxOutstandingR2T": "1",
                "FirstBurstLength": "65536",
                "MaxBurstLength": "262144",
            },
        ),
        Quirk(
            says="A user whose name begins with 0x or 0b is looked for without it.",
            sources=(
                "https://github.com/sahlberg/libiscsi/issues/472",
                "https://github.com/torvalds/linux/blob/master/drivers/target/iscsi/iscsi_target_nego.c",
            ),
            policy={"strip_chap_name_prefix": True},
        ),
        Quirk(
            says="A CHAP_I in hexadecimal is not understood.",
            sources=("https://github.com/sahlberg/libiscsi/issues/473",),
            own=tuple(
                taken(Opcode.LOGIN_REQUEST, SetKey("CHAP_I", "?"), tests=(HasKey("CHAP_I", prefix=prefix),), times=0)
                for prefix in ("0x", "0X")
            ),
        ),
        Quirk(
            says="T in a request for a challenge ends the connection.",
            sources=("https://github.com/ipxe/ipxe/issues/1444",),
            own=(taken(Opcode.LOGIN_REQUEST, Close(), tests=(_TRANSIT, HasKey("CHAP_A")), times=0),),
        ),
        Quirk(
            says="A Data-Out with a wrong DataSN, offset or length ends the session.",
            sources=("https://github.com/LTRData/DiscUtils/issues/52",),
            policy={"drop_bad_data_out": True},
        ),
        Quirk(
            says="INQUIRY tells LIO-ORG.",
            sources=("https://github.com/opensvc/multipath-tools/blob/master/libmultipath/hwtable.c",),
            lun={"vendor": "LIO-ORG"},
        ),
    ),
)
