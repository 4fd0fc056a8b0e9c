"""What initiators do wrong when they log in (RFC 7143 sections 6.3 and 11.12)."""

from __future__ import annotations

from iscsi_protocol.fault import Fault, HasKey, NamedFault, SetKey, Side, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction

FAULTS = (
    NamedFault(
        id="ilogin.no-initiator-name",
        side=Side.INITIATOR,
        says="The first Login Request does not say who logs in.",
        faults=(
            Fault(
                when=When(
                    direction=Direction.TO_TARGET,
                    opcode=Opcode.LOGIN_REQUEST,
                    tests=(HasKey("InitiatorName"),),
                ),
                what=(SetKey("InitiatorName", None),),
            ),
        ),
    ),
)
