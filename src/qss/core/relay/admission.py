"""How a transfer begins at a site: which Begin is taken (Relay 4.1, 4.2), and which is too many, or out of place."""

from __future__ import annotations

from qss.core.relay import events as ev
from qss.core.relay.early import EarlyKeys
from qss.core.relay.ending import Ending
from qss.core.relay.phases import KeyStep
from qss.core.relay.shared import Shared
from qss.core.relay.transfer import Transfer
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.model.relay_policy import Hop
from qss.wire.relay import Begin, Failed, Reason

_HOPS = frozenset(Hop)


class Admission:
    """Takes transfers, or refuses them."""

    def __init__(self, shared: Shared, early: EarlyKeys, ending: Ending) -> None:
        self._shared = shared
        self._early = early
        self._ending = ending

    def start(self, begin: Begin) -> None:
        """Begin a transfer of this site's own (Relay 4.1)."""
        shared, transfer = self._shared, TransferId(begin.transfer)
        if self._place(begin) != 0 or transfer in shared.transfers:
            raise LocalProtocolError("a transfer was started that is not this site's, or twice")
        objection = self._objection(begin, None)
        if objection is None:
            self._take(begin, 0)
        else:
            shared.effects += (ev.Failed(transfer, shared.here, objection), ev.Forget(transfer))

    def begun(self, peer: QksId, begin: Begin) -> None:
        """A neighbour has begun one (Relay 4.2)."""
        shared, transfer = self._shared, TransferId(begin.transfer)
        known = shared.transfers.get(transfer)
        if known is not None:
            self._begun_again(peer, known)
            return
        objection = self._early.failure(peer, transfer) or self._objection(begin, peer)
        if objection is None:
            self._take(begin, begin.path.index(shared.here))
            return
        shared.drop(peer, transfer, ev.DropReason.LIMIT if objection is Reason.LIMIT else ev.DropReason.REFUSED)
        self._early.give_up(peer, transfer)
        self._refuse(peer, begin, objection)

    def _begun_again(self, peer: QksId, known: Transfer) -> None:
        """Relay 4.11: a name that is in use is refused. Whoever sent the first one as well has forgotten that."""
        shared = self._shared
        shared.drop(peer, known.id, ev.DropReason.REPEATED)
        self._early.give_up(peer, known.id)
        if known.live and peer == known.inward:
            self._ending.fail(known, Reason.REFUSED)
        else:
            self._refuse(peer, known.begin, Reason.REFUSED)

    def _refuse(self, peer: QksId, begin: Begin, reason: Reason) -> None:
        """Say to a neighbour that what it begins does not go on from here."""
        self._shared.failed_here[reason] += 1
        self._shared.send(peer, Failed(begin.transfer, self._shared.here, reason))

    def _take(self, begin: Begin, place: int) -> None:
        shared = self._shared
        transfer = Transfer(begin, place, shared.now + shared.settings.patience_s(place, len(begin.path)))
        shared.add(transfer)
        if transfer.inward is not None and self._early.claim(transfer.inward, transfer.id):
            transfer.take_key(transfer.inward, KeyStep.READIED)
        if transfer.outward is not None:
            shared.send(transfer.outward, begin)
            shared.effects.append(
                ev.Draw(transfer.outward, transfer.id, begin.length, Hop(begin.hop), urgent=begin.urgent)
            )

    # --- what is looked at -----------------------------------------------------------------------------------------

    def _objection(self, begin: Begin, sender: QksId | None) -> Reason | None:
        """Return why this Begin is not taken, or None. `sender` None: it is this site's own."""
        shared, path = self._shared, begin.path
        if shared.leaving:
            return Reason.STOPPED
        if len(set(path)) < len(path) or begin.share >= begin.shares or begin.hop not in _HOPS:
            return Reason.REFUSED
        place = self._place(begin)
        if place is None or (path[place - 1] if place else None) != sender:
            return Reason.REFUSED
        objection = self._onward(begin, place)
        if objection is None and not shared.has_room(sender or shared.here, begin.length):
            return Reason.LIMIT
        return objection

    def _place(self, begin: Begin) -> int | None:
        """Return this site's place on the path, 0 for the source; None if it has none."""
        return begin.path.index(self._shared.here) if self._shared.here in begin.path else None

    def _onward(self, begin: Begin, place: int) -> Reason | None:
        """Return why the path cannot go on from here, or None."""
        shared = self._shared
        if place + 1 == len(begin.path):
            return None
        onward = QksId(begin.path[place + 1])
        if (place and not shared.settings.transit) or onward not in shared.neighbours:
            return Reason.REFUSED
        return None if onward in shared.connected else Reason.UNREACHABLE
