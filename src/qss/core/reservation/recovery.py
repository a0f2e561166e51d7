"""What two ends tell each other on every connection, and what follows from it (KRP steps 2.1 to 2.6).

Both ends send a Hello; each compares the two Hellos by the same rules, so both come to the same heads and limits
without another round. Then each says which of the other's unconfirmed reservations it holds: what both hold stands,
what one holds alone is burned.

A store that is behind what the peer (or the anchor) remembers was restored from a back-up. It does not know what was
delivered since, so everything that it has available or reserved on this link is burned, at both ends, before use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qss.core.reservation.events import BurnedRestored, RestoreNoticed
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.state import LinkState
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import ReservationId, StreamId
from qss.model.records import BurnReason, ReservationRecord, Side
from qss.wire.external import MAX_LISTED, Held, Hello, StreamState


class Recovery:
    """Compares the states of both ends."""

    def __init__(
        self,
        state: LinkState,
        incarnation: int,
        confirm: Callable[[ReservationRecord], None],
        burn_unfetched: Callable[[ReservationRecord, BurnReason], None],
        burn_delivered: Callable[[ReservationRecord, BurnReason], None],
        forget_answers: Callable[[ReservationId], None],
        forget_recalls: Callable[[], None],
    ) -> None:
        self._state = state
        self._incarnation = incarnation
        self._confirm = confirm
        self._burn_unfetched = burn_unfetched
        self._burn_delivered = burn_delivered
        self._forget_answers = forget_answers
        self._forget_recalls = forget_recalls

    def greet(self) -> Hello:
        """Return this end's Hello (KRP 2.1). No reservation may be waiting for its first commit."""
        state = self._state
        return Hello(
            state.settings.here,
            self._incarnation,
            state.peer.base,
            state.peer.incarnation,
            state.peer.commit_seen,
            state.peer.commit_proof,
            state.peer.must_burn,
            tuple(
                StreamState(
                    ledger.stream.value,
                    ledger.record.chunk_bytes,
                    ledger.record.head,
                    min(ledger.end, ledger.durable_mark),
                    ledger.record.closed,
                )
                for ledger in state.ledgers.values()
            ),
            tuple(row.id.value for row in state.rows.values() if not row.confirmed)[:MAX_LISTED],
        )

    def in_doubt(self, mine: Hello, commit_number: int, theirs: Hello, their_commit_number: int) -> bool:
        """Whether an end is behind and does not say so: it must note that before anything is compared (KRP 2.2).

        The peer finds out by this end's Hello. For this end, the effect `RestoreNoticed` sees to it.
        """
        if theirs.qks != self._state.settings.peer:
            raise RemoteProtocolError(f"expected site {self._state.settings.peer}, found {theirs.qks!r}")
        behind_here = not mine.restored and _behind(mine, commit_number, theirs)
        if behind_here:
            self._state.effect(RestoreNoticed(theirs.seen_incarnation, theirs.seen_commit, theirs.seen_proof))
        return behind_here or (not theirs.restored and _behind(theirs, their_commit_number, mine))

    def compare(self, mine: Hello, theirs: Hello, commit_number: int) -> Held:
        """Bring this end's ledgers to what both Hellos imply (KRP 2.2, 2.3), and return the Held to send (KRP 2.4).

        What the store has reached, `commit_number`, is agreed with the peer from now on: older numbers count no more.
        """
        state = self._state
        held: tuple[bytes, ...] = ()
        if mine.restored or theirs.restored:  # KRP 2.2
            self._burn_everything()
        else:
            self._align(mine, theirs)
            held = tuple(value for value in theirs.unconfirmed if self._holds(ReservationId(value)))
        base = max(state.peer.base, commit_number)
        state.put_peer(replace(state.peer, exchanged=True, must_burn=False, base=base))
        return Held(held)

    def _holds(self, reservation: ReservationId) -> bool:
        row = self._state.rows.get(reservation)
        return row is not None and not row.awaits_cover

    def settle(self, mine: Hello, held: Held) -> None:
        """What both ends hold stands; what this end holds alone is burned (KRP 2.5).

        So is what waits for keys: they come on the connection on which they were reserved for, or not at all.
        The slaves' site goes on waiting for Confirm (KRP 4.6): until that comes, the master's site may forget what was
        exchanged, and if this end had forgotten the reservation meanwhile, would burn key that its master has.
        """
        state = self._state
        both = set(held.reservations)
        for value in mine.unconfirmed:
            row = state.rows.get(ReservationId(value))
            if row is None:
                continue
            if row.side is Side.SLAVE:
                if value not in both or row.awaits_cover:
                    self._burn_unfetched(row, BurnReason.UNCONFIRMED)
            elif value in both:
                self._confirm(row)
            else:
                self._burn_delivered(row, BurnReason.UNCONFIRMED)

    def _align(self, mine: Hello, theirs: Hello) -> None:
        states = {StreamId(item.stream): item for item in theirs.streams}
        told = {StreamId(item.stream): item for item in mine.streams}
        for ledger in list(self._state.ledgers.values()):
            peer, here = states.get(ledger.stream), told.get(ledger.stream)
            if peer is None or here is None:
                # The peer has used it up, or never heard of it: nothing more can be agreed on it.
                self._close(ledger, ledger.record.head)
                ledger.skip_to(ledger.end, BurnReason.CLOSED)  # where a limit was agreed before
                continue
            ledger.skip_to(peer.head, BurnReason.SKIPPED)
            self._state.touch(ledger)
            ledger.peer_mark = peer.mark
            impossible = peer.head > here.mark or here.head > peer.mark
            if peer.closed or here.closed or impossible:
                self._close(ledger, min(here.mark, peer.mark))

    def _burn_everything(self) -> None:
        state = self._state
        before = sum(8 * ledger.available + ledger.record.tally.reserved for ledger in state.ledgers.values())
        for row in list(state.rows.values()):
            if row.side is Side.SLAVE:
                self._burn_unfetched(row, BurnReason.RESTORED)
            else:
                if not row.confirmed:
                    self._forget_answers(row.id)  # nobody else holds its keys any more
                state.drop_row(row)
        self._forget_recalls()
        state.put_peer(replace(state.peer, recall_seen=0))
        for ledger in state.ledgers.values():
            ledger.skip_to(ledger.end, BurnReason.RESTORED)
            self._close(ledger, ledger.record.head)
        state.effect(BurnedRestored(before))

    def _close(self, ledger: StreamLedger, limit: int) -> None:
        if not ledger.record.closed:
            self._state.close_source(ledger)
        if ledger.record.limit is None:
            ledger.agree_limit(limit)
        self._state.touch(ledger)


def _behind(hello: Hello, commit_number: int, other: Hello) -> bool:
    """Whether the sender of `hello` has forgotten what the other end remembers of it (KRP 2.2).

    A process that goes on has the incarnation that is remembered, and goes on from the commit number too, unless its
    machine was put back. A new one must have begun with all that was durable before; commits since say nothing.
    """
    reached = commit_number if hello.incarnation == other.seen_incarnation else hello.base
    return reached < other.seen_commit
