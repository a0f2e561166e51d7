"""Asks under a name: who repeats one gets the same answer, until its grace time ends (invariant 7).

An answer is noted in the same commit as what it answers with, so there is no moment at which one is durable without the
other. Its bytes count as delivered all the while, and are not erased before its grace time ends. A repeat that comes
while the first is being worked on gets what the first gets, be it an error: then nothing was noted, and the name may
be used anew.
"""

from __future__ import annotations

from qss.core.reservation.events import Request
from qss.core.reservation.state import LinkState
from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.errors import BadRequest, LimitReached, PeerUnavailable
from qss.model.identifiers import ReservationId
from qss.model.records import Side

_EXPIRE_S = 1.0


class Answers:
    """The answers that this end gives again."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._expire_at = 0.0

    def is_new(self, request: Request, name: AskName | None) -> bool:
        """Whether an ask is to be worked on. If not, it was answered, refused, or joined to the first of its name."""
        if name is None:
            return True
        state = self._state
        first, record = state.asking.get(name.digest), state.answers.get(name.digest)
        if first is None and record is None:
            if len(state.answers) + len(state.asking) >= state.settings.max_reservations:
                state.refuse(request, _too_many(len(state.answers)))
                return False
            return True
        known = state.named[first] if first is not None else record.name if record is not None else name
        if known.request != name.request:
            state.refuse(request, _another_request())
        elif first is not None:
            state.join(first, request)
        elif record is not None:
            self._repeat(request, record)
        return False

    def _repeat(self, request: Request, record: AnswerRecord) -> None:
        state = self._state
        if any(self._uncertain(run) for run in record.keys):
            state.refuse(
                request,
                PeerUnavailable(
                    f"this site has not compared its state with site {state.settings.peer} since the request was "
                    "interrupted; repeat it shortly, under the same name"
                ),
            )
        else:
            state.deliver(request, record.keys)

    def _uncertain(self, run: KeyRun) -> bool:
        """Whether a master's keys may yet have to be burned, because the other end may not hold them."""
        row = self._state.rows.get(run.reservation)
        return row is not None and row.side is Side.MASTER and not row.confirmed

    def note(self, name: AskName | None, keys: tuple[KeyRun, ...]) -> None:
        """Keep this answer, with the commit that is being made."""
        state = self._state
        if name is not None:
            until = state.wall + state.settings.grace_s
            state.put_answer(AnswerRecord(state.settings.peer, name, keys, until))

    def forget(self, reservation: ReservationId) -> None:
        """Forget the answers that hold a key of this reservation."""
        for record in self._state.answers.having(reservation):
            self._state.drop_answer(record)

    def expire(self) -> None:
        """Forget answers whose grace time has ended; looks once a second."""
        state = self._state
        if state.now < self._expire_at:
            return
        self._expire_at = state.now + _EXPIRE_S
        for record in state.answers.expired(state.wall):
            state.drop_answer(record)


def _another_request() -> BadRequest:
    return BadRequest("this idempotency name was used for another request: give each request a name of its own")


def _too_many(number: int) -> LimitReached:
    return LimitReached(
        f"{number} answers are kept to be given again, which is as many as may be; nothing was consumed; "
        "try again when the grace time of some has ended, or ask without a name"
    )
