"""One site's relay: the steps of a transfer (Relay 4), and the one place that dispatches events.

*Whose names.* A transfer's ID is its source's to choose, and a source may lie: it can send one name over two paths that
meet, or again before all sites have forgotten the first. An honest site then passes on what is out of place at the
next. So a message counts only from the neighbour, and in the phase, that it belongs to, and is passed over otherwise; a
Begin under a name that is in use is refused. No neighbour is accused of what a stranger can bring about (Relay 4.11).
What is left is Carry after one's own Begin: twice, or with another length.
"""

from __future__ import annotations

from collections import Counter
from typing import assert_never

from qss.core.relay import events as ev
from qss.core.relay.admission import Admission
from qss.core.relay.early import EarlyKeys
from qss.core.relay.ending import Ending
from qss.core.relay.phases import KeyPhase, KeyStep, Phase, Step
from qss.core.relay.settings import RelaySettings
from qss.core.relay.shared import Shared
from qss.core.relay.transfer import Transfer
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.model.relay_policy import Hop
from qss.wire.relay import Arrived, Begin, Failed, Reason


class Relay:
    """One site's part in all transfers. `handle` is the way in, effects are the way out; queries change nothing."""

    def __init__(self, here: QksId, neighbours: frozenset[QksId], settings: RelaySettings) -> None:
        self._shared = Shared(here, settings, neighbours)
        self._admission = Admission(self._shared)
        self._early = EarlyKeys(self._shared)
        self._ending = Ending(self._shared)

    # --- the way in -----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> ev.Effects:
        """Take in what happened at `now` (seconds, never falling) and return what is to be done, in order.

        Raises `RemoteProtocolError` if the neighbour broke the protocol (nothing was changed; its connection is to be
        closed, and `Disconnected` follows).
        """
        self._shared.begin(now)
        self._dispatch(event)
        return self._shared.all_effects()

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Received(peer, message):
                self._received(peer, message)
            case ev.CarryCame():
                self._carry_came(event)
            case ev.KeyReady():
                self._key_ready(event)
            case ev.KeyFailed():
                self._key_failed(event)
            case ev.Passed(transfer):
                self._passed(transfer)
            case ev.PassFailed(transfer, reason):
                self._pass_failed(transfer, reason)
            case ev.Start(begin):
                self._start(begin)
            case ev.Taken(transfer):
                self._taken(transfer)
            case ev.GiveUp(transfer):
                self._give_up(transfer)
            case ev.Connected(peer):
                self._connected(peer)
            case ev.Disconnected(peer):
                self._disconnected(peer)
            case ev.NeighboursAre(neighbours):
                self._shared.neighbours = neighbours
            case ev.Leave():
                self._leave()
            case ev.Tick():
                self._tick()
            case _:
                assert_never(event)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def phases(self) -> Counter[Phase]:
        """How many transfers are in each phase."""
        return Counter(transfer.phase for transfer in self._shared.transfers.values())

    @property
    def early(self) -> int:
        """How many draws of neighbours are known whose Begin has not come."""
        return len(self._early)

    # --- Begin (Relay 4.1, 4.2) -----------------------------------------------------------------------------------

    def _start(self, begin: Begin) -> None:
        shared, transfer = self._shared, TransferId(begin.transfer)
        if self._admission.place(begin) != 0 or transfer in shared.transfers:
            raise LocalProtocolError("a transfer was started that is not this site's, or twice")
        objection = self._admission.objection(begin, None)
        if objection is None:
            self._take(begin, 0)
        else:
            shared.effects += (ev.Failed(transfer, shared.here, objection), ev.Forget(transfer))

    def _begun(self, peer: QksId, begin: Begin) -> None:
        shared, transfer = self._shared, TransferId(begin.transfer)
        known = shared.transfers.get(transfer)
        if known is not None:
            self._begun_again(peer, known)
            return
        objection = self._early.failure(peer, transfer) or self._admission.objection(begin, peer)
        if objection is None:
            self._take(begin, begin.path.index(shared.here))
            return
        shared.drop(peer, transfer, ev.DropReason.LIMIT if objection is Reason.LIMIT else ev.DropReason.REFUSED)
        self._early.give_up(peer, transfer)
        shared.send(peer, Failed(begin.transfer, shared.here, objection))

    def _begun_again(self, peer: QksId, known: Transfer) -> None:
        """Relay 4.11: a name that is in use is refused. Whoever sent the first one as well has forgotten that."""
        shared = self._shared
        shared.drop(peer, known.id, ev.DropReason.REPEATED)
        self._early.give_up(peer, known.id)
        if known.live and peer == known.inward:
            self._ending.fail(known, Reason.REFUSED)
        else:
            shared.send(peer, Failed(known.begin.transfer, shared.here, Reason.REFUSED))

    def _take(self, begin: Begin, place: int) -> None:
        shared = self._shared
        transfer = Transfer(begin, place, shared.now + shared.settings.give_up_s)
        shared.transfers[transfer.id] = transfer
        shared.begun_by[transfer.inward or shared.here] += 1
        if transfer.inward is not None and self._early.claim(transfer.inward, transfer.id):
            transfer.take_key(transfer.inward, KeyStep.READIED)
        if transfer.outward is not None:
            shared.send(transfer.outward, begin)
            shared.effects.append(
                ev.Draw(transfer.outward, transfer.id, begin.length, Hop(begin.hop), urgent=begin.urgent)
            )

    # --- key (Relay 3) --------------------------------------------------------------------------------------------

    def _key_ready(self, event: ev.KeyReady) -> None:
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

    def _key_failed(self, event: ev.KeyFailed) -> None:
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

    def _carry_came(self, event: ev.CarryCame) -> None:
        self._require_connection(event.peer)
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

    def _passed(self, name: TransferId) -> None:
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

    def _pass_failed(self, name: TransferId, reason: Reason) -> None:
        transfer = self._returned(name)
        if transfer.phase is Phase.VOID:
            self._ending.settle(transfer)
        else:
            self._ending.fail(transfer, reason)  # Relay 4.7

    def _returned(self, name: TransferId) -> Transfer:
        """Return the transfer that was to be passed on; its key, which was used for that, is needed no more."""
        transfer = self._shared.transfers.get(name)
        if transfer is None or KeyPhase.SPENT not in transfer.keys.values():
            raise LocalProtocolError("a transfer was passed on that was not to be")
        for peer in transfer.keys:
            self._shared.end_key(transfer, peer)
        return transfer

    # --- Arrived and Failed (Relay 4.5, 4.8) ----------------------------------------------------------------------

    def _received(self, peer: QksId, message: ev.PlainMessage) -> None:
        self._require_connection(peer)
        match message:
            case Begin():
                self._begun(peer, message)
            case Arrived():
                self._arrived(peer, message)
            case Failed():
                self._failed(peer, message)
            case _:
                assert_never(message)

    def _require_connection(self, peer: QksId) -> None:
        if peer not in self._shared.connected:
            raise LocalProtocolError(f"a message of {peer} came without a connection")

    def _arrived(self, peer: QksId, message: Arrived) -> None:
        shared, name = self._shared, TransferId(message.transfer)
        transfer = shared.transfers.get(name)
        if transfer is None or transfer.outward != peer or transfer.phase is not Phase.PASSED:
            shared.drop(peer, name, ev.DropReason.UNKNOWN)
            return
        if transfer.inward is None:
            shared.effects.append(ev.Arrived(name))
        else:
            shared.send(transfer.inward, message)
        self._ending.end(transfer)

    def _failed(self, peer: QksId, message: Failed) -> None:
        transfer = self._shared.transfers.get(TransferId(message.transfer))
        if transfer is None or peer not in transfer.keys or transfer.phase is Phase.VOID:
            self._shared.drop(peer, TransferId(message.transfer), ev.DropReason.UNKNOWN)
        else:
            self._ending.failed(transfer, peer, message)

    # --- ends that come from this site ----------------------------------------------------------------------------

    def _taken(self, name: TransferId) -> None:
        transfer = self._shared.transfers.get(name)
        if transfer is not None and transfer.phase is Phase.HELD:
            self._ending.end(transfer)

    def _give_up(self, name: TransferId) -> None:
        transfer = self._shared.transfers.get(name)
        if transfer is not None and transfer.inward is None and transfer.live:
            self._ending.fail(transfer, Reason.LATE)

    def _leave(self) -> None:
        self._shared.leaving = True
        self._early.give_up_all()
        for transfer in list(self._shared.transfers.values()):
            self._end_or_fail(transfer, Reason.STOPPED)

    def _end_or_fail(self, transfer: Transfer, reason: Reason) -> None:
        if transfer.live:
            self._ending.fail(transfer, reason)
        elif transfer.phase is Phase.HELD:
            self._ending.end(transfer)

    # --- connections and time (Relay 4.9) -------------------------------------------------------------------------

    def _connected(self, peer: QksId) -> None:
        if peer in self._shared.connected:
            raise LocalProtocolError(f"{peer} is connected twice")
        self._shared.connected.add(peer)

    def _disconnected(self, peer: QksId) -> None:
        if peer not in self._shared.connected:
            raise LocalProtocolError(f"a connection to {peer} ended that there was not")
        self._shared.connected.remove(peer)
        for transfer in list(self._shared.transfers.values()):
            if transfer.live and peer in transfer.keys:
                self._ending.fail(transfer, Reason.UNREACHABLE)

    def _tick(self) -> None:
        now = self._shared.now
        self._early.expire(now)
        for transfer in list(self._shared.transfers.values()):
            if transfer.deadline <= now:
                self._end_or_fail(transfer, Reason.LATE)
