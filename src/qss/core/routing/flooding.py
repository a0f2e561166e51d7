"""How LSAs come in and are sent on (Routing 6, and 7.6).

Held here: the steps of 6.1 to 6.5. Not here: whether one may be taken in (`admission`), which is newer (`database`),
what waits for its Ack (`retransmission`), nor what this site says itself (`origination`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qss.core.routing.admission import Admission
from qss.core.routing.database import Freshness, Instance
from qss.core.routing.events import Happening, Reason
from qss.core.routing.neighbour import Neighbour
from qss.core.routing.origination import Origination
from qss.core.routing.shared import Shared
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import QksId
from qss.wire import routing as wire


class Flooding:
    """Chapter 6, with all neighbours."""

    def __init__(
        self, shared: Shared, admission: Admission, origination: Origination, says_else: Callable[[wire.Key], None]
    ) -> None:
        """Begin. `says_else` is called when an LSA says something else than before."""
        self._shared = shared
        self._admission = admission
        self._origination = origination
        self._says_else = says_else

    def update(self, peer: QksId, neighbour: Neighbour, carried: wire.Carried) -> None:
        """Take in one LSA of an Update (Routing 6.1)."""
        shared = self._shared
        if carried.forwarder != peer:
            raise RemoteProtocolError(f"{peer} sent an LSA on in the name of {carried.forwarder}")
        try:
            body = wire.decode_body(carried.body)
        except RemoteProtocolError:
            shared.drop(peer, Reason.MALFORMED, None)
            return
        header = wire.header_of(carried.body, body)
        neighbour.requests.came(header.key)
        freshness = shared.database.freshness(header)
        if header.key.origin == shared.here and header.key.type in wire.KNOWN and freshness is not Freshness.SAME:
            self._own(peer, neighbour, carried, header)
            return
        heard_at = shared.database.heard_at(header, shared.now)
        born_at = min(shared.now - carried.age_ms / 1000, heard_at)
        instance = Instance(header, carried.body, body, carried.authentication, born_at, heard_at)
        match freshness:
            case Freshness.SAME:
                self._same(peer, neighbour, instance)
            case Freshness.OLDER:
                self._send_back(neighbour, header)
            case Freshness.NEWER:
                self._newer(peer, neighbour, instance)

    def _same(self, peer: QksId, neighbour: Neighbour, instance: Instance) -> None:
        """Acknowledge a copy, and no more, unless it is so much younger that its age counts (Routing 7.6)."""
        header, database = instance.header, self._shared.database
        known = database.get(header.key)
        if header.key.origin == self._shared.here or not database.is_younger(instance, self._shared.now):
            self._acknowledge(neighbour, header)
        elif known is None:
            self._newer(peer, neighbour, instance)
        else:
            self._acknowledge(neighbour, header)
            self.install(replace(known, born_at=instance.born_at), but=peer)

    def _send_back(self, neighbour: Neighbour, header: wire.Header) -> None:
        """Send the newer instance, also if it has passed its lifetime: its origin must hear of it (7.7)."""
        mine = self._shared.database.newest(header.key)
        assert mine is not None, "what is older is so than something"
        if mine.ends_at() <= self._shared.now:
            neighbour.acks.append(header)
        neighbour.offer(mine)

    def _newer(self, peer: QksId, neighbour: Neighbour, instance: Instance) -> None:
        header = instance.header
        if instance.ends_at() <= self._shared.now:
            neighbour.acks.append(header)
            if not self._is_of_a_later_life(instance):
                self._shared.drop(peer, Reason.EXPIRED, header.key)
            elif self._is_admitted(peer, header.key, instance.encoded, instance.authentication):
                self.install(instance, but=peer)  # the next tick lets it go
        elif self._is_admitted(peer, header.key, instance.encoded, instance.authentication):
            self._acknowledge(neighbour, header)
            self.install(instance, but=peer)

    def _is_of_a_later_life(self, instance: Instance) -> bool:
        """Whether its origin lives in a lower generation than once, and has to hear of that, to outdo it (7.7)."""
        known = self._shared.database.get(instance.header.key)
        return known is not None and known.header.generation < instance.header.generation

    def _own(self, peer: QksId, neighbour: Neighbour, carried: wire.Carried, header: wire.Header) -> None:
        """Outdo it (Routing 6.5 and 7.3).

        Two instances of one sequence are two lives of this site, whichever counts as newer.
        """
        last = self._shared.database.last(header.key)
        if last is not None and (header.generation, header.sequence) < (last.generation, last.sequence):
            self._send_back(neighbour, header)
        elif self._is_admitted(peer, header.key, carried.body, carried.authentication):
            neighbour.acks.append(header)
            self._shared.note(peer, Happening.OUTDONE)
            self._origination.heard_own(header)
            if self._origination.is_over(header.key):
                self._shared.drop(peer, Reason.LAST, header.key)

    def _is_admitted(self, peer: QksId, key: wire.Key, body: bytes, said: wire.Authentication) -> bool:
        """Whether it passes the checks (Routing 6.2)."""
        reason = self._admission.refusal(peer, key, body, said, self._shared.now)
        if reason is not None:
            self._shared.drop(peer, reason, key)
        return reason is None

    def _acknowledge(self, neighbour: Neighbour, header: wire.Header) -> None:
        """Acknowledge it (Routing 6.4), unless the neighbour was sent the same: each copy stands for an Ack (6.3)."""
        if not neighbour.unacknowledged.acknowledged(header):
            neighbour.acks.append(header)

    def install(self, instance: Instance, but: QksId | None = None) -> None:
        """Take it into the database, and send it on to all neighbours `but` who sent it (Routing 6.1)."""
        key, database = instance.header.key, self._shared.database
        before = database.get(key)
        database.install(instance)
        if before is None or _says(before.body) != _says(instance.body):
            self._says_else(key)
        for peer, neighbour in self._shared.neighbours.items():
            if peer != but and neighbour.adjacency.two_way:
                neighbour.updates[key] = instance

    def acknowledged(self, neighbour: Neighbour, headers: tuple[wire.Header, ...]) -> None:
        """Take in an Ack (Routing 6.4)."""
        for header in headers:
            neighbour.unacknowledged.acknowledged(header)

    def tend(self, peer: QksId, neighbour: Neighbour) -> None:
        """Send again what was not acknowledged in time (Routing 6.3)."""
        for key in neighbour.unacknowledged.due(self._shared.now):
            instance = self._shared.database.get(key)
            if instance is not None:
                self._shared.note(peer, Happening.RETRANSMISSION)
                neighbour.updates[key] = instance


def _says(body: wire.Preamble) -> object:
    """Return what a body says that tables are made of: nothing, if its type is not known here (Routing 3.5)."""
    return (body.withdrawn, body.transit, body.links, body.saes) if isinstance(body, wire.Body) else None
