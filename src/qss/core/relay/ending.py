"""How transfers end at a site: well, or by failing, which is told both ways (Relay 4.8), and what is given up then.

Whatever the reason, this is the only way out of the table of transfers.
"""

from __future__ import annotations

from qss.core.relay import events as ev
from qss.core.relay.phases import KeyPhase, Phase, Step
from qss.core.relay.shared import Shared
from qss.core.relay.transfer import Transfer
from qss.model.identifiers import QksId
from qss.wire.relay import Failed, Reason


class Ending:
    """Ends transfers, one by one."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def end(self, transfer: Transfer) -> None:
        """It is over here, and has not failed: Arrived was said, or content was taken, or was left too long."""
        transfer.take(Step.ENDED)
        self._shared.effects.append(ev.Forget(transfer.id))
        self._shared.remove(transfer)

    def fail(self, transfer: Transfer, reason: Reason) -> None:
        """It cannot go on here: tell both neighbours."""
        if transfer.inward is not None:
            self._shared.failed_here[reason] += 1
        self._void(transfer, self._shared.here, reason, told_by=None)

    def failed(self, transfer: Transfer, peer: QksId, said: Failed) -> None:
        """A neighbour says that it failed: tell the other."""
        self._void(transfer, transfer.believed(peer, said.site), said.reason, told_by=peer)

    def settle(self, transfer: Transfer) -> None:
        """Forget one that is void as soon as the shell owes nothing of it."""
        if transfer.phase is Phase.VOID and transfer.settled:
            transfer.take(Step.SETTLED)
            self._shared.remove(transfer)

    def _void(self, transfer: Transfer, site: QksId, reason: Reason, told_by: QksId | None) -> None:
        shared = self._shared
        transfer.take(Step.VOIDED)
        for peer in transfer.keys:
            if peer != told_by:
                shared.send(peer, Failed(transfer.begin.transfer, site, reason))
        for peer, key in list(transfer.keys.items()):
            if key is KeyPhase.READY:
                shared.end_key(transfer, peer)
        if transfer.inward is None:
            shared.effects.append(ev.Failed(transfer.id, site, reason))
        shared.effects.append(ev.Forget(transfer.id))
        self.settle(transfer)
