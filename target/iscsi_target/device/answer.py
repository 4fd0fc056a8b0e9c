"""How commands end: GOOD, data, or CHECK CONDITION with sense data (SAM-5 5.3, SPC-4 4.5)."""

from __future__ import annotations

import errno

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense, SenseFormat, illegal_request
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Buffer, Completion

GOOD = Completion()
"""Status GOOD without data; shared, since nobody changes a completion."""

MAX_PARAMETER_LIST = 65536
"""Bytes of the longest parameter list that is worked through where a CDB could announce more: so far a field pointer
reaches (SPC-4 4.5.2.4.2), and all others wait meanwhile.
"""

CONDITION_MET = Completion(Status.CONDITION_MET)
CONFLICT = Completion(Status.RESERVATION_CONFLICT)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_PROTECTED = (errno.EROFS, errno.EPERM, errno.EACCES)
_MEDIUM = (errno.EIO, errno.EFBIG, errno.ENODATA, errno.EILSEQ)


class CheckCondition(Exception):
    """Raised by a command's handler to end it with CHECK CONDITION."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(str(sense))
        self.sense = sense


def check(sense: Sense, *, descriptor: bool = False) -> Completion:
    """CHECK CONDITION in fixed or, where D_SENSE is set, descriptor format."""
    built = sense.build(SenseFormat.DESCRIPTOR if descriptor else SenseFormat.FIXED)
    return Completion(Status.CHECK_CONDITION, sense=built)


def data_in(data: bytes, allocation_length: int) -> Completion:
    """GOOD with parameter data, cut at the allocation length (SPC-4 4.2.5.6)."""
    data = data[:allocation_length]
    return Completion(data=data, length=len(data))


def parameter_list(data_out: Buffer, length: int) -> bytes:
    """The `length` bytes of a parameter list. Raises CheckCondition when less came, and for more than is worked through."""
    if len(data_out) < length or length > MAX_PARAMETER_LIST:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    return bytes(data_out[:length])


def invalid_field(byte: int, bit: int | None = None) -> CheckCondition:
    """INVALID FIELD IN CDB with its field pointer."""
    return CheckCondition(illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, byte, bit))


def invalid_parameter(byte: int, bit: int | None = None) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST with its field pointer."""
    return CheckCondition(illegal_request(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, byte, bit, in_cdb=False))


def refused(code: AdditionalSense) -> CheckCondition:
    """ILLEGAL REQUEST with an additional sense code and nothing more."""
    return CheckCondition(illegal_request(code))


def storage_sense(error: OSError, *, writing: bool) -> Sense:
    """What an initiator is told when the back end fails."""
    if writing and error.errno in _NO_SPACE:
        return Sense(key=SenseKey.DATA_PROTECT, code=AdditionalSense.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
    if writing and error.errno in _PROTECTED:
        return Sense(key=SenseKey.DATA_PROTECT, code=AdditionalSense.WRITE_PROTECTED)
    if error.errno in _MEDIUM:
        code = AdditionalSense.WRITE_ERROR if writing else AdditionalSense.UNRECOVERED_READ_ERROR
        return Sense(key=SenseKey.MEDIUM_ERROR, code=code)
    return Sense(key=SenseKey.HARDWARE_ERROR, code=AdditionalSense.INTERNAL_TARGET_FAILURE)
