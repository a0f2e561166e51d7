"""How what is carried goes on from a site, once it and its key are here (Relay 4.3 to 4.5); what ends with that."""

from __future__ import annotations

from qss.core.relay import events as ev
from qss.core.relay.early import EarlyKeys
from qss.core.relay.ending import Ending
from qss.core.relay.phases import KeyPhase, KeyStep, Phase, Step
from qss.core.relay.shared import Shared
from qss.core.relay.transfer import Transfer
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import TransferId
from qss.wire.relay import Arrived, Reason


class Carrying:
    """Gathers what a transfer takes, and has the shell pass it on."""

    def __init__(self, shared: Shared, early: EarlyKeys, ending: Ending) -> None:
        self._shared = shared
        self._early = early
        self._ending = ending

    # --- key (Relay 3) --------------------------------------------------------------------------------------------

    def key_ready(self, event: ev.KeyReady) -> None:
        """A range is durable here."""
        shared, peer = self._shared, event.peer
        transfer = shared.transfers.get(event.transfer)
        if transfer is not None and transfer.uses(peer, ours=event.ours):
            transfer.take_key(peer, KeyStep.READIED)
            if transfer.phase is Phase.VOID:
                shared.end_key(transfer, peer)
                self._ending.settle(transfer)
            else:
                self._go_on(transfer)
        elif event.ours:
            raise LocalProtocolError(f"key was drawn with {peer} that was not asked for")
        elif transfer is None:
            self._early.ready(peer, event.transfer)
        else:  # the name is in use by others, or was used up
            shared.effects.append(ev.EndDraw(peer, event.transfer, ours=False, used=False))
            shared.drop(peer, event.transfer, ev.DropReason.UNCLAIMED)

    def key_failed(self, event: ev.KeyFailed) -> None:
        """A range is not had, or no more."""
        transfer = self._shared.transfers.get(event.transfer)
        if transfer is None:
            if not event.ours:
                self._early.failed(event.peer, event.transfer, event.reason)
            return
        if not transfer.uses(event.peer, ours=event.ours):
            return
        if transfer.keys[event.peer] is KeyPhase.AWAITED:
            transfer.take_key(event.peer, KeyStep.DENIED)
        if transfer.live:
            self._ending.fail(transfer, event.reason)
        else:
            self._ending.settle(transfer)

    # --- Carry (Relay 4.3 to 4.5) ---------------------------------------------------------------------------------

    def carry_came(self, event: ev.CarryCame) -> None:
        """Carry came: keep what it brought, if it is its turn."""
        transfer = self._shared.transfers.get(event.transfer)
        if transfer is None or transfer.inward != event.peer or not transfer.live:
            self._shared.drop(event.peer, event.transfer, ev.DropReason.UNKNOWN)  # Relay 4.7
            return
        if transfer.carried:
            raise RemoteProtocolError("a second Carry came of one transfer")
        if event.length != transfer.begin.length:
            raise RemoteProtocolError(f"Carry came with {event.length} bytes after a Begin of {transfer.begin.length}")
        transfer.carried = True
        self._shared.effects.append(ev.Keep(transfer.id))
        self._go_on(transfer)

    def _go_on(self, transfer: Transfer) -> None:
        """Pass it on once all is here that it takes."""
        if not transfer.gathered:
            return
        transfer.take(Step.GATHERED)
        for peer in transfer.keys:
            transfer.take_key(peer, KeyStep.SPENT)
        self._shared.effects.append(
            ev.Pass(transfer.id, transfer.begin, transfer.place, transfer.inward, transfer.outward)
        )

    def passed(self, name: TransferId) -> None:
        """The shell has opened and sealed."""
        transfer = self._returned(name)
        if transfer.phase is Phase.VOID:
            self._ending.settle(transfer)
        elif transfer.outward is not None:
            transfer.take(Step.PASSED)
        else:
            self._held(transfer)

    def _held(self, transfer: Transfer) -> None:
        """Relay 4.5: the destination has it, and says so."""
        shared = self._shared
        transfer.take(Step.KEPT)
        transfer.deadline = shared.now + shared.settings.untaken_s
        assert transfer.inward is not None
        shared.send(transfer.inward, Arrived(transfer.begin.transfer))
        shared.effects.append(ev.Came(transfer.begin))

    def pass_failed(self, name: TransferId, reason: Reason) -> None:
        """The shell could not (Relay 4.7)."""
        transfer = self._returned(name)
        if transfer.phase is Phase.VOID:
            self._ending.settle(transfer)
        else:
            self._ending.fail(transfer, reason)

    def _returned(self, name: TransferId) -> Transfer:
        """Return the transfer that was to be passed on; its key, which was used for that, is needed no more."""
        transfer = self._shared.transfers.get(name)
        if transfer is None or KeyPhase.SPENT not in transfer.keys.values():
            raise LocalProtocolError("a transfer was passed on that was not to be")
        for peer in transfer.keys:
            self._shared.end_key(transfer, peer)
        return transfer
