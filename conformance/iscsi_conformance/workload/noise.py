"""Which PDU meets with damage: armed by steps, counted down over the PDUs that each kind of damage fits."""

from __future__ import annotations

from iscsi_conformance.workload.plan import Damage, Harm, Setting
from iscsi_protocol.pdu import R2T, DataIn, DataOut, Pdu, ScsiCommand, ScsiResponse

_LOSABLE = (DataIn, R2T, ScsiResponse)


class Noise:
    """Damage that waits for its PDU. silent: nothing happens, as while a session is being made."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._armed: list[Harm] = []
        self.silent = False
        self.done: list[Damage] = []

    def arm(self, harm: Harm) -> None:
        """From now on. Damage that the session's digests or level do not admit is left out."""
        needs_digest = harm.damage in (Damage.DATA_SENT, Damage.HEADER_SENT)
        if (needs_digest and not self._setting.digests) or (harm.damage is Damage.PDU_CAME and not self._setting.level):
            return
        self._armed.append(harm)

    def sends(self, pdu: Pdu) -> Damage | None:
        """The damage to a PDU that goes out."""
        fitting = set()
        if isinstance(pdu, ScsiCommand | DataOut):
            fitting.add(Damage.HEADER_SENT)
            if len(pdu.data):
                fitting.add(Damage.DATA_SENT)
        return self._strike(fitting)

    def comes(self, pdu: Pdu) -> Damage | None:
        """The damage to a PDU that came in."""
        fitting = set()
        if isinstance(pdu, _LOSABLE):
            fitting = {Damage.PDU_CAME, Damage.HEADER_CAME}
            if isinstance(pdu, DataIn) and len(pdu.data):
                fitting.add(Damage.DATA_CAME)
        return self._strike(fitting)

    def _strike(self, fitting: set[Damage]) -> Damage | None:
        if self.silent:
            return None
        struck: Damage | None = None
        left: list[Harm] = []
        for harm in self._armed:
            if harm.damage not in fitting or (harm.count <= 1 and struck is not None):
                left.append(harm)
            elif harm.count > 1:
                left.append(Harm(harm.damage, harm.count - 1))
            else:
                struck = harm.damage
                self.done.append(struck)
        self._armed = left
        return struck
