"""One site's relay: the one place that dispatches events, and the neighbours' messages, to the parts.

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
from qss.core.relay.carrying import Carrying
from qss.core.relay.early import EarlyKeys
from qss.core.relay.ending import Ending
from qss.core.relay.phases import Phase
from qss.core.relay.settings import RelaySettings
from qss.core.relay.shared import Shared
from qss.core.relay.transfer import Transfer
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.wire.relay import Arrived, Begin, Failed, Reason


class Relay:
    """One site's part in all transfers. `handle` is the way in, effects are the way out; queries change nothing."""

    def __init__(self, here: QksId, neighbours: frozenset[QksId], settings: RelaySettings) -> None:
        self._shared = Shared(here, settings, neighbours)
        self._early = EarlyKeys(self._shared)
        self._ending = Ending(self._shared)
        self._admission = Admission(self._shared, self._early, self._ending)
        self._carrying = Carrying(self._shared, self._early, self._ending)

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
            case ev.CarryCame(peer):
                self._require_connection(peer)
                self._carrying.carry_came(event)
            case ev.KeyReady():
                self._carrying.key_ready(event)
            case ev.KeyFailed():
                self._carrying.key_failed(event)
            case ev.Passed(transfer):
                self._carrying.passed(transfer)
            case ev.PassFailed(transfer, reason):
                self._carrying.pass_failed(transfer, reason)
            case ev.Start(begin):
                self._admission.start(begin)
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
    def failed_here(self) -> Counter[Reason]:
        """How many transfers of others could not go on at this site since it started, by reason."""
        return Counter(self._shared.failed_here)

    @property
    def early(self) -> int:
        """How many draws of neighbours are known whose Begin has not come."""
        return len(self._early)

    # --- Arrived and Failed (Relay 4.5, 4.8) ----------------------------------------------------------------------

    def _received(self, peer: QksId, message: ev.PlainMessage) -> None:
        self._require_connection(peer)
        match message:
            case Begin():
                self._admission.begun(peer, message)
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
