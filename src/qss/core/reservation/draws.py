"""Ranges for relays and tags (Relay 3): drawn by one end, set aside at both, read, used and ended by each for itself.

The owner allocates, as it does for masters, and Drawn goes out in the order of the ranges. An end gives a range to its
relay when its own commit is durable, and does not wait for the other's: should that be lost, the next exchange of
states makes both heads the higher (KRP 2.3), and nobody else gets the bits. So no row tells of a draw. After a start
what was drawn counts as relayed, and is erased with all else that lies before the head.

A draw is named by its transfer, whose source may be anybody: a name that comes twice is refused, and nobody's fault.
Both ends are told what a range is for, and each gives it to whoever that is, and to nobody else (Relay 3.9).

Not here: what a range is used for (`core.relay`, `core.routing`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qss.core.reservation.allocation import ledger_for_draw
from qss.core.reservation.ledger import Bucket, StreamLedger
from qss.core.reservation.phases import DrawPhase, DrawStep, draw_after
from qss.core.reservation.relay_events import Draw, DrawEnded, DrawFailed, DrawFailure, DrawReady
from qss.core.reservation.state import LinkState, OpenDraw
from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import StreamId, TransferId
from qss.model.ranges import Range
from qss.model.records import BurnReason
from qss.wire import external as wire
from qss.wire.external import Purpose, Reason

OPEN_S = 60.0
"""For how long a range may be read and used; a transfer takes 5 s (Relay 4.9)."""

_FAILURES = {Reason.SHORTAGE: DrawFailure.SHORTAGE, Reason.LIMIT: DrawFailure.LIMIT, Reason.LATE: DrawFailure.LATE}
"""What a relay hears of a refusal; of any other, that it was refused."""


class Draws:
    """The draws that are open at this end, by either end."""

    def __init__(self, state: LinkState) -> None:
        self._state = state

    # --- this end -------------------------------------------------------------------------------------------------

    def draw(self, event: Draw) -> None:
        """Set a range aside for a relay at this end."""
        state = self._state
        known = state.draws.get(event.draw)
        if (known is not None and known.own) or not 1 <= event.length < 1 << 32:
            raise LocalProtocolError("a range was drawn twice under one name, or one of a length that none has")
        if not state.up:
            state.effect(DrawFailed(event.draw, DrawFailure.UNREACHABLE, own=True, purpose=event.purpose))
            return
        reason = None if known is None else Reason.TAKEN
        if reason is None and state.settings.owner:
            reason = self._allocate(event.draw, event.length, event.purpose, urgent=event.urgent, own=True)
        elif reason is None:
            reason = self._ask(event)
        if reason is not None:
            self._fail(event.draw, reason, event.purpose, own=True)

    def _ask(self, event: Draw) -> Reason | None:
        """Ask the owner for a range; or return why not."""
        state = self._state
        if self._full:
            return Reason.LIMIT
        until = state.now + state.settings.reply_timeout_s
        state.draws[event.draw] = OpenDraw(
            own=True, purpose=event.purpose, length=event.length, phase=DrawPhase.ASKED, until=until
        )
        state.send(wire.Draw(event.draw.value, event.length, event.urgent, event.purpose))
        return None

    def end(self, event: DrawEnded) -> None:
        """Keep a range no more: it was used, or never will be."""
        draw = self._state.draws.get(event.draw)
        if draw is None:
            return
        if event.used and draw.phase is not DrawPhase.READY:
            raise LocalProtocolError(f"a range was used whose draw is {draw.phase}")
        del self._state.draws[event.draw]
        if not event.used:
            self._abandon(draw)
        elif draw.held is not None:
            ledger, part = draw.held
            ledger.erasable([part])  # that it counts as relayed is durable since it was ready

    # --- the peer -------------------------------------------------------------------------------------------------

    def peer_draws(self, message: wire.Draw) -> None:
        """The non-owner wants a range: allocate it (Relay 3.2)."""
        state = self._state
        if not state.settings.owner:
            raise RemoteProtocolError("the owner asked the non-owner to draw")
        draw = TransferId(message.draw)
        if draw in state.draws:
            state.send(wire.Undrawn(message.draw, Reason.TAKEN))
            return
        reason = self._allocate(draw, message.length, message.purpose, urgent=message.urgent, own=False)
        if reason is not None:
            state.send(wire.Undrawn(message.draw, reason))
            self._fail(draw, reason, message.purpose, own=False)

    def drawn(self, message: wire.Drawn) -> None:
        """The owner has allocated a range, for itself or because it was asked to: hold the same here (Relay 3.2)."""
        if self._state.settings.owner:
            raise RemoteProtocolError("a Drawn came to the owner")
        draw, part = TransferId(message.draw), Range(message.start, message.start + message.length)
        ledger = self._state.ledgers.get(StreamId(message.stream))
        reason = self._objection(message, ledger)
        if reason is not None or ledger is None:
            self._decline(message, ledger, reason or Reason.STREAM)
            return
        if message.asked and message.length != self._state.draws[draw].length:
            raise RemoteProtocolError("the owner drew another length than was asked for")
        if message.asked and message.purpose is not self._state.draws[draw].purpose:
            raise RemoteProtocolError("the owner drew for another purpose than was asked for")
        if part.stop > min(ledger.end, ledger.durable_mark):
            raise RemoteProtocolError("the owner drew a range that is not available here")
        ledger.accept(part, Bucket.RELAYED)
        self._hold(draw, ledger, part, message.purpose, own=message.asked)

    def _objection(self, message: wire.Drawn, ledger: StreamLedger | None) -> Reason | None:
        """Why the range that the owner allocated is not held here (Relay 3.4), or None."""
        known = self._state.draws.get(TransferId(message.draw))
        awaited = known is not None and known.own and known.phase is DrawPhase.ASKED
        if message.asked and not awaited:
            return Reason.LATE
        if not message.asked and known is not None:
            return Reason.TAKEN
        if ledger is None or ledger.record.policy:  # relayed key is not relayed again
            return Reason.STREAM
        if message.start < ledger.record.head:
            return Reason.BELOW_HEAD
        return Reason.LIMIT if self._full and not message.asked else None

    def _decline(self, message: wire.Drawn, ledger: StreamLedger | None, reason: Reason) -> None:
        """Refuse a range, and burn what lies up to its end, at once: the owner's relay may be using it already."""
        state = self._state
        draw = TransferId(message.draw)
        state.send(wire.Undrawn(message.draw, reason))
        if reason not in (Reason.LATE, Reason.TAKEN):  # then a draw that is open under this name is another one
            state.draws.pop(draw, None)
            self._fail(draw, reason, message.purpose, own=message.asked)
        if ledger is not None:
            ledger.skip_to(message.start + message.length, BurnReason.SKIPPED)
            state.touch(ledger)
            state.commit_now()

    def undrawn(self, message: wire.Undrawn) -> None:
        """The peer has no range for this draw (Relay 3.4)."""
        state = self._state
        name = TransferId(message.draw)
        draw = state.draws.get(name)
        answers = DrawPhase.COMMITTING if state.settings.owner else DrawPhase.ASKED
        if draw is not None and draw.phase is answers:
            del state.draws[name]
            self._abandon(draw)
            self._fail(name, message.reason, draw.purpose, own=draw.own)
        elif draw is not None and state.settings.owner:  # it may be in use: whoever has it ends it
            self._fail(name, message.reason, draw.purpose, own=draw.own)

    # --- until nothing is left ------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Wait no longer for an owner that says nothing, nor for relays that do not end what they have."""
        for name, draw in self._those(lambda draw: draw.until <= self._state.now):
            if draw.phase is DrawPhase.ASKED:
                del self._state.draws[name]
                self._fail(name, Reason.LATE, draw.purpose, own=True)
            else:
                self.end(DrawEnded(name, used=True))
                # Whoever has it, and is still reading, must not end another one that is drawn under its name by then.
                self._state.effect(DrawFailed(name, DrawFailure.STOPPED, draw.own, draw.purpose))

    def lose_connection(self) -> None:
        """Give up what is in nobody's hands here: draws under way end with their connection (Relay 3.7)."""
        for name, draw in self._those(lambda draw: draw.phase is not DrawPhase.READY):
            del self._state.draws[name]
            self._abandon(draw)
            self._state.effect(DrawFailed(name, DrawFailure.UNREACHABLE, draw.own, draw.purpose))

    def forget_all(self) -> None:
        """The link starts over, and erases what lies before the heads: no range stays."""
        for name, draw in self._state.draws.items():
            self._state.effect(DrawFailed(name, DrawFailure.STOPPED, draw.own, draw.purpose))
        self._state.draws.clear()

    def _those(self, concerned: Callable[[OpenDraw], bool]) -> list[tuple[TransferId, OpenDraw]]:
        return [(name, draw) for name, draw in self._state.draws.items() if concerned(draw)]

    # --- ranges ---------------------------------------------------------------------------------------------------

    @property
    def _full(self) -> bool:
        return len(self._state.draws) >= self._state.settings.max_draws

    def _allocate(self, name: TransferId, length: int, purpose: Purpose, *, urgent: bool, own: bool) -> Reason | None:
        """Allocate a range, and tell the other end at once; or return why there is none."""
        state = self._state
        if self._full or (purpose is Purpose.TAGS and length > wire.MAX_TAGS_BYTES):
            return Reason.LIMIT
        ledger = ledger_for_draw(state, length, purpose, urgent=urgent)
        if ledger is None:
            return Reason.SHORTAGE
        part = ledger.allocate(length, Bucket.RELAYED)
        state.send(wire.Drawn(name.value, ledger.stream.value, part.start, length, not own, purpose))
        self._hold(name, ledger, part, purpose, own=own)
        return None

    def _hold(self, name: TransferId, ledger: StreamLedger, part: Range, purpose: Purpose, *, own: bool) -> None:
        """Commit a range; have it used when that is durable (Relay 3.3)."""
        state = self._state
        asked = state.draws.get(name)
        phase = DrawPhase.COMMITTING if asked is None else draw_after(asked.phase, DrawStep.ALLOCATED)
        draw = OpenDraw(own=own, purpose=purpose, length=len(part), phase=phase, held=(ledger, part))
        state.draws[name] = draw
        state.touch(ledger)
        state.when_durable(partial(self._durable, name, draw))

    def _durable(self, name: TransferId, draw: OpenDraw) -> None:
        state = self._state
        if state.draws.get(name) is not draw or draw.held is None:
            return  # given up in the meantime, and perhaps drawn anew
        draw.phase = draw_after(draw.phase, DrawStep.DURABLE)
        draw.until = state.now + OPEN_S
        ledger, part = draw.held
        state.effect(DrawReady(name, ledger.stream, part, draw.own, draw.purpose))

    def _abandon(self, draw: OpenDraw) -> None:
        """Burn what was allocated, if anything was."""
        if draw.held is not None:
            ledger, part = draw.held
            ledger.burn([part], Bucket.RELAYED, BurnReason.ABANDONED)
            ledger.free([part])
            self._state.touch(ledger)

    def _fail(self, name: TransferId, reason: Reason, purpose: Purpose, *, own: bool) -> None:
        self._state.effect(DrawFailed(name, _FAILURES.get(reason, DrawFailure.REFUSED), own, purpose))
