"""What people read of a PDU (RFC 7143 chapter 11): the names of code points, and the fields that a summary shows."""

from __future__ import annotations

OPCODES = {
    0x00: "NOP-Out",
    0x01: "SCSI Command",
    0x02: "Task Management Request",
    0x03: "Login Request",
    0x04: "Text Request",
    0x05: "SCSI Data-Out",
    0x06: "Logout Request",
    0x10: "SNACK Request",
    0x1C: "vendor 0x1c",
    0x1D: "vendor 0x1d",
    0x1E: "vendor 0x1e",
    0x20: "NOP-In",
    0x21: "SCSI Response",
    0x22: "Task Management Response",
    0x23: "Login Response",
    0x24: "Text Response",
    0x25: "SCSI Data-In",
    0x26: "Logout Response",
    0x31: "R2T",
    0x32: "Async Message",
    0x3C: "vendor 0x3c",
    0x3D: "vendor 0x3d",
    0x3E: "vendor 0x3e",
    0x3F: "Reject",
}
ATTRIBUTES = {0: "untagged", 1: "simple", 2: "ordered", 3: "head of queue", 4: "ACA"}
STAGES = {0: "security", 1: "operational", 3: "full feature"}
SCSI_RESPONSES = {0: "completed at target", 1: "target failure"}
SCSI_STATUSES = {
    0x00: "GOOD",
    0x02: "CHECK CONDITION",
    0x08: "BUSY",
    0x18: "RESERVATION CONFLICT",
    0x28: "TASK SET FULL",
    0x30: "ACA ACTIVE",
    0x40: "TASK ABORTED",
}
TASK_FUNCTIONS = {
    1: "ABORT TASK",
    2: "ABORT TASK SET",
    3: "CLEAR ACA",
    4: "CLEAR TASK SET",
    5: "LOGICAL UNIT RESET",
    6: "TARGET WARM RESET",
    7: "TARGET COLD RESET",
    8: "TASK REASSIGN",
    9: "QUERY TASK",
    10: "QUERY TASK SET",
    11: "I_T NEXUS RESET",
    12: "QUERY ASYNCHRONOUS EVENT",
}
TASK_RESPONSES = {
    0: "function complete",
    1: "task does not exist",
    2: "LUN does not exist",
    3: "task still allegiant",
    4: "allegiance reassignment not supported",
    5: "function not supported",
    6: "authorization failed",
    7: "function succeeded",
    255: "function rejected",
}
LOGIN_STATUSES = {
    0x0000: "success",
    0x0101: "moved temporarily",
    0x0102: "moved permanently",
    0x0200: "initiator error",
    0x0201: "authentication failure",
    0x0202: "authorization failure",
    0x0203: "not found",
    0x0204: "target removed",
    0x0205: "unsupported version",
    0x0206: "too many connections",
    0x0207: "missing parameter",
    0x0208: "cannot include in session",
    0x0209: "session type not supported",
    0x020A: "session does not exist",
    0x020B: "invalid during login",
    0x0300: "target error",
    0x0301: "service unavailable",
    0x0302: "out of resources",
}
LOGOUT_REASONS = {0: "close the session", 1: "close the connection", 2: "remove the connection for recovery"}
LOGOUT_RESPONSES = {0: "done", 1: "CID not found", 2: "recovery not supported", 3: "cleanup failed"}
REJECT_REASONS = {
    0x02: "data digest error",
    0x03: "SNACK reject",
    0x04: "protocol error",
    0x05: "command not supported",
    0x06: "immediate command reject",
    0x07: "task in progress",
    0x08: "invalid data ack",
    0x09: "invalid PDU field",
    0x0A: "long operation reject",
    0x0B: "deprecated",
    0x0C: "waiting for logout",
}
ASYNC_EVENTS = {
    0: "SCSI event",
    1: "logout requested",
    2: "connection will be dropped",
    3: "all connections will be dropped",
    4: "negotiation requested",
    5: "tasks are terminated",
}
SNACK_TYPES = {0: "Data/R2T", 1: "Status", 2: "DataACK", 3: "R-Data"}
SHOWN = {
    "NOP-Out": ("I", "InitiatorTaskTag", "TargetTransferTag", "CmdSN", "ExpStatSN"),
    "SCSI Command": ("F", "R", "W", "Attr", "LUN", "InitiatorTaskTag", "CmdSN", "ExpectedDataTransferLength", "CDB"),
    "Task Management Request": ("I", "Function", "LUN", "InitiatorTaskTag", "ReferencedTaskTag", "CmdSN", "RefCmdSN"),
    "Login Request": ("T", "C", "CSG", "NSG", "ISID", "TSIH", "CID", "InitiatorTaskTag", "CmdSN", "ExpStatSN"),
    "Text Request": ("F", "C", "InitiatorTaskTag", "TargetTransferTag", "CmdSN", "ExpStatSN"),
    "SCSI Data-Out": ("F", "InitiatorTaskTag", "TargetTransferTag", "ExpStatSN", "DataSN", "BufferOffset"),
    "Logout Request": ("I", "Reason", "CID", "InitiatorTaskTag", "CmdSN", "ExpStatSN"),
    "SNACK Request": ("Type", "InitiatorTaskTag", "Tag", "ExpStatSN", "BegRun", "RunLength"),
    "NOP-In": ("InitiatorTaskTag", "TargetTransferTag", "StatSN", "ExpCmdSN", "MaxCmdSN"),
    "SCSI Response": ("Response", "Status", "o", "u", "O", "U", "InitiatorTaskTag", "StatSN", "ResidualCount"),
    "Task Management Response": ("Response", "InitiatorTaskTag", "StatSN", "ExpCmdSN", "MaxCmdSN"),
    "Login Response": ("T", "C", "CSG", "NSG", "TSIH", "InitiatorTaskTag", "StatSN", "ExpCmdSN", "MaxCmdSN"),
    "Text Response": ("F", "C", "InitiatorTaskTag", "TargetTransferTag", "StatSN", "ExpCmdSN", "MaxCmdSN"),
    "SCSI Data-In": (
        "F",
        "A",
        "S",
        "Status",
        "InitiatorTaskTag",
        "TargetTransferTag",
        "StatSN",
        "DataSN",
        "BufferOffset",
    ),
    "Logout Response": ("Response", "InitiatorTaskTag", "StatSN", "Time2Wait", "Time2Retain"),
    "R2T": ("InitiatorTaskTag", "TargetTransferTag", "StatSN", "R2TSN", "BufferOffset", "DesiredDataTransferLength"),
    "Async Message": ("AsyncEvent", "AsyncVCode", "LUN", "StatSN", "Parameter1", "Parameter2", "Parameter3"),
    "Reject": ("Reason", "StatSN", "ExpCmdSN", "MaxCmdSN", "DataSN"),
}
"""Name of a layer to the names of its fields."""
