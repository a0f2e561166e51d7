"""One site's part in a request for slaves at several sites, at the master's end (KRP 4.15 to 4.19).

The first site's bytes are the keys; each further site's range covers them on their way there. A part that is durable at
both ends is not answered, but waits until all others have come so far: then all are concluded at once, or all are given
up. The name of an ask is noted when they are concluded, and no sooner, for a repeat is answered by the name alone.

Not here: reserving (`asking`), what the other parts do (the runtime sees all links), what the slaves' site does
(`covers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from qss.core.reservation import part_events as ev
from qss.core.reservation.answers import Answers
from qss.core.reservation.phases import AskPhase, AskStep, ask_after
from qss.core.reservation.state import LinkState, Pending
from qss.model.answers import KeyRun
from qss.model.errors import LocalProtocolError, QssError
from qss.model.identifiers import ReservationId
from qss.model.records import Part, ReservationRecord
from qss.wire.external import Cover, Covered, Void

_REPLIES = 3
"""A part waits for the others as long as so many replies may take: their reservation, their Cover, and some more."""


class Parts:
    """Parts of masters at this end, from when they are durable at both ends."""

    def __init__(self, state: LinkState, answers: Answers, give_up: Callable[[ReservationId, QssError], None]) -> None:
        self._state = state
        self._answers = answers
        self._give_up = give_up
        self._concluding: set[ReservationId] = set()

    def ready(self, reservation: ReservationId, pending: Pending) -> None:
        """Let the part's bytes be read, and wait for the others."""
        row = self._state.rows[reservation]
        self._wait_on(pending)
        self._state.reading[reservation] = (KeyRun(row.id, row.stream, row.start, len(row.range)),)
        self._state.effect(ev.PartReady(row))

    def cover(self, event: ev.CoverMade) -> None:
        """Send the keys to the slaves' site (KRP 4.16)."""
        pending = self._state.pending.get(event.reservation)
        if pending is None:
            return
        if pending.part is not Part.FURTHER or pending.phase is not AskPhase.BOTH:
            raise LocalProtocolError(f"keys came for a request that is {pending.phase}")
        pending.phase = ask_after(pending.phase, AskStep.COVER_SENT)
        pending.deadline = self._state.now + self._state.settings.reply_timeout_s
        self._state.send(Cover(event.reservation.value, event.sealed, event.tag))

    def covered(self, message: Covered) -> None:
        """The slaves' site has stored the keys (KRP 4.18)."""
        reservation = ReservationId(message.reservation)
        pending = self._state.pending.get(reservation)
        if pending is None:
            return  # given up in the meantime; the peer has been sent a Void
        pending.phase = ask_after(pending.phase, AskStep.COVERED)
        self._wait_on(pending)
        self._state.effect(ev.PartCovered(reservation))

    def _wait_on(self, pending: Pending) -> None:
        pending.deadline = self._state.now + _REPLIES * self._state.settings.reply_timeout_s

    # --- all, or none ---------------------------------------------------------------------------------------------

    def concludes(self, reservation: ReservationId) -> bool:
        """Whether this part is as far as it has to be (KRP 4.19)."""
        pending = self._state.pending.get(reservation)
        if pending is None:
            return False
        return pending.phase is (AskPhase.COVERED if pending.part is Part.FURTHER else AskPhase.BOTH)

    def conclude(self, event: ev.Conclude) -> None:
        """Let the part stand, whatever comes of the connection; answer the master once that is durable (KRP 4.19)."""
        state = self._state
        if not self.concludes(event.reservation):
            raise LocalProtocolError("a request was concluded that not all sites hold")
        pending = state.pending.pop(event.reservation)
        row = replace(state.rows[event.reservation], confirmed=True)
        state.put_row(row)
        if pending.part is Part.FIRST:
            self._answers.note(pending.name, (row.run,))
            self._concluding.add(row.id)
            state.when_durable(partial(self._deliver, row))
        state.free(row, [row.range])
        state.with_next_commit(partial(state.to_confirm.append, row.id))

    def _deliver(self, row: ReservationRecord) -> None:
        self._concluding.discard(row.id)
        self._state.deliver(row.id, (row.run,))

    def abandon(self, event: ev.Abandon) -> None:
        """Give the part up, at both ends (KRP 4.8)."""
        if event.reservation in self._state.pending:
            self._give_up(event.reservation, event.error)
            self._state.send(Void((event.reservation.value,)))

    def abandon_all(self, error: QssError) -> None:
        """The store has refused a commit: refuse all whose conclusion is not durable."""
        for reservation in self._concluding:
            self._state.refuse(reservation, error)
        self._concluding.clear()
