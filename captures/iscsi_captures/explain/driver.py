"""What the driver's events mean, and what usually leads to them (guide, Appendix B; RFC 7143 where it is short)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_captures.explain.meaning import Meaning

_MEMORY = ("the host is short of memory", "more is open at once than the host has room for")
_SILENT = (
    "the target is overloaded, hangs or was switched off",
    "the network loses what is sent, in one direction at least",
)

DRIVER_MEANINGS: Mapping[int, Meaning] = MappingProxyType(
    {
        1: Meaning(
            "The initiator could not open a TCP connection to the portal whose address and port stand in the data. No iSCSI "
            "was spoken yet.",
            (
                "nothing listens at this port, or the target is off",
                "a firewall, a wrong VLAN or a missing route is in between",
                "the target advertises an address that this host cannot reach",
            ),
        ),
        2: Meaning("The initiator had no resources left for one more session, so the login was not tried.", _MEMORY),
        3: Meaning(
            "The login succeeded, but its last response gives a MaxCmdSN so far below ExpCmdSN that the numbers make no "
            "sense. The initiator gives the login up. The data has ExpCmdSN and then MaxCmdSN.",
            ("a defect of the target's command window, often right after it started or wrapped its counters",),
        ),
        4: Meaning(
            "The target agreed to a MaxBurstLength that is smaller than FirstBurstLength, which the standard forbids. The "
            "data has FirstBurstLength and then MaxBurstLength.",
            ("the target's limits are set so that they contradict each other", "a defect of the target's negotiation"),
        ),
        5: Meaning(
            "The initiator could not set up its own end of a connection. The data has the status that the network gave.",
            (
                "the network was not ready yet, or the adapter had no IP address",
                "the address that the initiator is bound to does not exist here any more",
                "the adapter, its driver or the link failed",
            ),
        ),
        6: Meaning("The initiator had no resources left for one more connection.", _MEMORY),
        7: Meaning(
            "The network did not take a PDU that the initiator wanted to send. The data has the status that the network "
            "gave.",
            ("the connection was being reset or closed by the target", "the link or the adapter failed"),
        ),
        8: Meaning(
            "A target or a discovery server left an iSCSI request without an answer until the time-out. The data has a code "
            "of the request.",
            _SILENT,
        ),
        9: Meaning(
            "The target did not finish a SCSI command within the time that the disk layer gives it. The data has the "
            "command. The initiator now aborts it, and resets the logical unit and the target if that does not help.",
            ("the disks behind the target are overloaded or failing", *_SILENT),
        ),
        10: Meaning(
            "The target answered the login with a status other than success. The data has its whole login response; status "
            "class and detail in it say why.",
            (
                "wrong CHAP name or secret, or the target's access list lacks this initiator",
                "the target name does not exist there (any more)",
                "the target is out of resources, or allows no further session or connection",
            ),
        ),
        11: Meaning(
            "The target's login response breaks the rules, so the initiator cannot go on with it. The data has the whole "
            "response.",
            ("a defect of the target's login", "what answers at this port is no iSCSI target"),
        ),
        12: Meaning(
            "The target sent the initiator to another address, but what it gave is no usable address. The data has what it "
            "gave.",
            ("TargetAddress is missing or malformed", "the address for redirection is misconfigured at the target"),
        ),
        13: Meaning(
            "The target answered AuthMethod with a value that does not exist or that was not offered. The data has the "
            "value.",
            ("the target is set to a method that this initiator does not have", "a defect of the target's negotiation"),
        ),
        14: Meaning(
            "The target chose a digest algorithm for CHAP that the initiator does not know or did not offer. The data has "
            "the value.",
            ("the target is set to algorithms that this initiator does not have", "a defect of the target's CHAP"),
        ),
        15: Meaning(
            "The CHAP challenge of the target is neither proper hexadecimal nor proper base64. The data has the challenge.",
            ("a defect of the target's CHAP",),
        ),
        16: Meaning(
            "During the CHAP exchange the target sent a key that has no place there, or one with an impossible value. The "
            "data has key and value.",
            ("a defect of the target's CHAP", "the target mixes operational keys into the security stage"),
        ),
        17: Meaning(
            "With mutual CHAP, the target's answer to the initiator's challenge is wrong: it does not prove that it knows "
            "its secret. The data has the answer.",
            (
                "the secret of the target is not the same at both ends",
                "the two ends read identifier or challenge differently",
                "somebody pretends to be the target",
            ),
        ),
        18: Meaning(
            "This initiator is set to demand header digests, and the target did without.",
            ("header digests are switched off at the target, or it has none",),
        ),
        19: Meaning(
            "This initiator is set to demand data digests, and the target did without.",
            ("data digests are switched off at the target, or it has none",),
        ),
        20: Meaning(
            "A connection that was in use broke. The initiator tries to get it back: an event 34 says that it did, events 1 "
            "that it could not yet. The data has the target's name.",
            (
                "the target reset or closed the connection, perhaps because it was restarted or failed over",
                "a cable, a switch or an adapter failed",
                "the initiator was silent for longer than the target's patience",
            ),
        ),
        21: Meaning(
            "A PDU claims more data than the MaxRecvDataSegmentLength that was declared for it. The connection cannot be "
            "trusted any more.",
            ("a defect of the target", "the stream was damaged or lost its alignment, which header digests would show"),
        ),
        22: Meaning(
            "The header of a PDU was damaged on its way: its digest does not fit. The data has the header and the digest "
            "that came with it.",
            (
                "an adapter, a switch or its offload engine damages data behind the TCP checksum",
                "a defect in how the target computes digests, if it happens with every PDU",
            ),
        ),
        23: Meaning(
            "A PDU of the target has fields that contradict each other or that have impossible values. The data has its "
            "header.",
            ("a defect of the target", "the stream was damaged or lost its alignment"),
        ),
        24: Meaning(
            "A PDU has an opcode that no target may send. The data has its header.",
            ("the stream was damaged or lost its alignment", "a defect of the target"),
        ),
        25: Meaning(
            "The data of a PDU was damaged on its way: its digest does not fit. The data has the checksum that the "
            "initiator computed and then the one that came.",
            (
                "an adapter, a switch or its offload engine damages data behind the TCP checksum",
                "memory of the target or of this host is faulty",
                "the target changed the data while it was being sent",
            ),
        ),
        26: Meaning(
            "The target sends more data than was asked for, in one PDU or in a sequence of them; for instance more than "
            "the expected length of a read.",
            ("a defect of the target", "the two ends disagree about MaxBurstLength or the block size"),
        ),
        27: Meaning(
            "A PDU answers a task that the initiator does not have. The data has its header.",
            (
                "the answer came after the initiator had given the command up; look for event 9 before it",
                "the target answers twice, or with a wrong tag",
            ),
        ),
        28: Meaning(
            "The target asks for data of a write in a way that does not fit the command: length, offset, number or tag of "
            "the R2T is wrong. The data has its header.",
            ("a defect of the target",),
        ),
        29: Meaning(
            "The target refused a PDU of this initiator with a Reject. The data has the header of the PDU that was refused.",
            (
                "the PDU was damaged on its way, if the target checks digests",
                "the target does not have the function that was asked for",
                "one of the two ends breaks the protocol; the reason in the Reject tells more",
            ),
        ),
        30: Meaning("The initiator had no work item left to process a request with.", _MEMORY),
        31: Meaning("The initiator had no resources left to process a request with.", _MEMORY),
        32: Meaning(
            "The target asks the initiator to log out, which it does. That is announced, so no data is at risk. The data "
            "has the target's name.",
            ("the target is shut down, updated or moves its sessions elsewhere",),
        ),
        33: Meaning(
            "The CHAP challenge of the target is longer than the 1024 bytes that the standard allows.",
            ("a defect or an odd setting of the target's CHAP",),
        ),
        34: Meaning(
            "A connection that had been lost is back. The time since the event 20 before it is how long the disk was away. "
            "The data has the target's name.",
            ("what led to the event 20 is over",),
        ),
        35: Meaning(
            "The CHAP secret that is set for the target is shorter than the 12 bytes that it must have.",
            ("a short secret was entered",),
        ),
        36: Meaning(
            "The CHAP secret that is set for this initiator is shorter than the 12 bytes that it must have.",
            ("a short secret was entered",),
        ),
        37: Meaning(
            "The part of the system that computes digests for CHAP is not available. Logins with CHAP cannot be done, and "
            "the logins that are kept for the start of the system are not processed.",
            ("the system's cryptography is set so that it refuses MD5", "the cryptographic driver did not start"),
        ),
        38: Meaning(
            "This initiator is set to demand CHAP, and the target went on without.",
            ("CHAP is not switched on at the target, or not for this initiator",),
        ),
        39: Meaning(
            "The initiator had to reset the target, after a command was not finished in time and gentler means had not "
            "helped. The data has the target's name.",
            ("the target hangs or is overloaded; look for events 9 and 49 before it",),
        ),
        40: Meaning(
            "The target demands CHAP, and this initiator has none configured.",
            ("name and secret were not entered for this target", "CHAP was switched on at the target later"),
        ),
        41: Meaning(
            "The target answered in the security stage without saying which authentication it wants.",
            ("a defect of the target's login",),
        ),
        42: Meaning(
            "The numbers by which the target counts its answers on a connection have a gap or go backwards: an answer was "
            "lost, or is counted wrongly. The data has the number that was expected and then the one that came.",
            ("a defect of the target", "a PDU was dropped because of a header digest error; look for event 22"),
        ),
        43: Meaning("The target did not answer a login request in time.", _SILENT),
        44: Meaning("The target did not answer a logout request in time.", _SILENT),
        45: Meaning(
            "The target did not answer in time when the initiator wanted to add a connection to a session.",
            ("the target cannot do several connections and hangs over it", *_SILENT),
        ),
        46: Meaning(
            "The target did not tell its list of targets (SendTargets) in time.",
            (*_SILENT, "the list is continued without end"),
        ),
        47: Meaning(
            "The target did not answer in time to a SCSI command that somebody sent by hand, for instance with iscsicli.",
            _SILENT,
        ),
        48: Meaning("The target did not answer a NOP, by which the initiator asks whether it is still there.", _SILENT),
        49: Meaning(
            "The target did not answer a task management request in time, such as an abort or a reset.",
            _SILENT,
        ),
        50: Meaning("The target did not answer in time when the initiator wanted to negotiate anew.", _SILENT),
        51: Meaning(
            "The target had asked for a logout, and then did not answer it in time.",
            ("the target was gone before it said so", *_SILENT),
        ),
        52: Meaning(
            "The initiator's service did not set up IPsec for a connection in time.",
            ("the service does not run or hangs", "the key exchange with the target takes too long"),
        ),
        53: Meaning(
            "The initiator's service did not release IPsec of a connection in time.",
            ("the service does not run or hangs",),
        ),
        54: Meaning(
            "The initiator's service did not encrypt or decrypt something in time, such as a stored secret.",
            ("the service does not run or hangs",),
        ),
        55: Meaning("The initiator had no resources left to send data with.", _MEMORY),
        56: Meaning(
            "The buffer of a caller could not be used, so its I/O failed.",
            ("the host is short of memory", "a program gave a buffer that cannot be read or written"),
        ),
        57: Meaning("The initiator had no resources left for a request, so its I/O failed.", _MEMORY),
        58: Meaning("All task tags were in use, so an I/O failed.", _MEMORY),
        59: Meaning(
            "The target closed the TCP connection in the middle of the login, without an answer that says why.",
            (
                "the target refuses this host by its address, or is out of resources",
                "the target was started just now, or crashed over the login",
                "what listens at this port is no iSCSI target",
            ),
        ),
        60: Meaning(
            "The target put data into a SCSI response that is no sense data; data belongs into Data-In. The data has the "
            "header of the response.",
            ("a defect of the target",),
        ),
        61: Meaning(
            "The target wants data PDUs out of order, although this initiator asked for order. The login is given up.",
            ("a setting or a defect of the target",),
        ),
        62: Meaning(
            "The target wants data sequences out of order, although this initiator asked for order. The login is given up.",
            ("a setting or a defect of the target",),
        ),
        63: Meaning(
            "A reset of the logical unit or of the target did not succeed, so the initiator begins the session anew. The "
            "data has the target's name.",
            ("the target hangs or is overloaded; look for events 9, 49 and 39 before it",),
        ),
        64: Meaning(
            "This host starts from an iSCSI disk that its firmware knows. It is no sign of anything wrong.",
            ("a start of the system",),
        ),
    }
)
"""Every event of the driver by its id."""
