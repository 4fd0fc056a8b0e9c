"""What initiators do wrong with CHAP (RFC 7143 section 12.1.3, RFC 1994)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import HasKey, NamedFault, SetKey
from iscsi_protocol.pdu import Opcode

_LOGIN = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE
CONSTANT_CHALLENGE = "0x" + "5a" * 16


def _says(fault_id: str, says: str, key: str, value: str | None) -> NamedFault:
    return sends(fault_id, says, _LOGIN, SetKey(key, value), tests=(HasKey(key),), times=0)


def _swallows(fault_id: str, says: str, key: str, value: str, *, wrong: str | None = None) -> NamedFault:
    """A value of the target's taken for this one."""
    return takes_for(fault_id, says, _RESPONSE, SetKey(key, value), tests=(HasKey(key, wrong),), stage=0)


FAULTS = (
    _says("ichap.no-algorithms", "The first step after CHAP was chosen is left out.", "CHAP_A", None),
    _says("ichap.without-md5", "Algorithm 5 is not offered.", "CHAP_A", "7"),
    _says("ichap.no-name", "CHAP_R comes without CHAP_N.", "CHAP_N", None),
    _says("ichap.wrong-response", "CHAP_R is not the hash of the challenge.", "CHAP_R", "0x" + "00" * 16),
    _says("ichap.empty-challenge", "The challenge for the target has no byte.", "CHAP_C", "0x"),
    _says("ichap.long-challenge", "The challenge for the target has 1025 bytes.", "CHAP_C", "0x" + "7e" * 1025),
    _says("ichap.same-challenge", "The challenge for the target is always the same.", "CHAP_C", CONSTANT_CHALLENGE),
    _says("ichap.same-identifier", "The identifier for the target is always the same.", "CHAP_I", "7"),
    _says("ichap.empty-name", "CHAP_N is empty.", "CHAP_N", ""),
    behaves(
        "ichap.trusts-any-target",
        "A target whose response is wrong is trusted.",
        accept_any_target_authentication=True,
    ),
    _swallows("ichap.accepts-any-algorithm", "An unknown algorithm is taken for MD5.", "CHAP_A", "5", wrong="99"),
    _swallows("ichap.accepts-long-challenge", "A challenge over 1024 bytes is cut.", "CHAP_C", "0x" + "11" * 16),
    _swallows("ichap.mends-challenge", "A challenge that is no number is mended.", "CHAP_C", "0x1122", wrong="0xZZ"),
    _swallows("ichap.mends-identifier", "An identifier over 255 is mended.", "CHAP_I", "1", wrong="256"),
    _swallows("ichap.accepts-any-method", "A method that was not offered is CHAP.", "AuthMethod", "CHAP", wrong="Foo"),
    _swallows(
        "ichap.accepts-none", "A target without CHAP is taken for one with it.", "AuthMethod", "CHAP", wrong="None"
    ),
    takes_for(
        "ichap.needs-no-method",
        "A target that does not name a method is taken for one without authentication.",
        _RESPONSE,
        SetKey("AuthMethod", "None"),
        stage=0,
    ),
)
