"""ETSI GS QKD 004 over a module that has one key stream: who has it open at this end, and what each call is answered.

A *session* is a key stream that a caller has opened at this end. There is one at a time, because a module has one key
stream at a time. It belongs to its caller, on whatever connection; nobody else learns anything of it::

    standing  what it means                                               leaves it
    ────────  ──────────────────────────────────────────────────────────  ─────────────────────────────────────────
    OPENING   the module has the stream open; the peer has not            met ▶ RUNNING, ended ▶ MISSED
    RUNNING   both ends have it open: key comes                           ended ▶ ENDED
    ENDED     no more key comes; whole chunks that are here can be pulled
    MISSED    the two ends never met, and will not: there is no key

A session also ends by CLOSE, by its TTL, when its caller opens another stream, and with the service. Then its key that
is left here is destroyed; what the other end has not fetched stays there until that end closes, or its TTL ends.

*Each chunk once, in order, and none lost with an answer.* The chunk that was delivered last is kept until its caller
asks for the next index, and given again, the same bytes under the same index, to the same caller only. So a call can be
repeated after its connection was lost, whether or not its answer had left. Older chunks and later ones are refused.

What a call is answered is in docs/reference/southbound.md. Times are in seconds, never falling.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from qss.core.module import calls
from qss.core.module.phases import Phase
from qss.core.module.qos import joined, negotiate
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, StreamId
from qss.wire.etsi004.messages import MAX_NUMBER, QoS
from qss.wire.etsi004.status import Status


def metadata_room(most_hops: int) -> int:
    """Return the bytes that the metadata of any chunk fits into, whose key passes through at most so many repeaters.

    A caller must have room for them, so that the age cannot grow out.
    """
    return len(f'{{"age": {MAX_NUMBER}, "hops": {most_hops}}}')


METADATA_ROOM = metadata_room(0)
"""That of a module, whose link is direct."""

_INDICES = MAX_NUMBER + 1


class Standing(StrEnum):
    """Where a session stands."""

    OPENING = "opening"
    RUNNING = "running"
    ENDED = "ended"
    MISSED = "missed"


@dataclass(slots=True)
class _Waiting:
    """A call that is answered later, at `deadline` at the latest."""

    call: int
    deadline: float
    with_metadata: bool = False


@dataclass(slots=True)
class _Session:
    caller: calls.Caller
    stream: StreamId
    qos: QoS
    touched: float
    standing: Standing = Standing.OPENING
    next: int = 0
    kept: bool = False
    """Whether chunk `next - 1` is kept."""
    opening: _Waiting | None = None
    asking: _Waiting | None = None

    def wait(self, call: int, now: float, *, with_metadata: bool = False) -> _Waiting:
        return _Waiting(call, now + self.qos.timeout / 1000, with_metadata)


class Sessions:
    """The sessions of one end. `handle` is the only way in, effects the only way out.

    All effects are to be carried out before the next event; a `Begin` or `End` among them is to be followed by
    `ModuleChanged` or, if the module refused, by `BeginRefused`.
    """

    def __init__(self, site: QksId, peer: QksId, room: int = METADATA_ROOM) -> None:
        """`site` and `peer` are the sites at this and at the other end of the module's link.

        Metadata needs `room` bytes (`metadata_room`).
        """
        self._room = room
        self._site = site
        self._peer = peer
        self._session: _Session | None = None
        self._effects: list[calls.Effect] = []
        self._begun = False

    def handle(self, event: calls.Event, view: calls.View, now: float) -> tuple[calls.Effect, ...]:
        """Take in what happened at `now`, the module being as `view` says; return what is to be done, in order."""
        self._effects, self._begun = [], False
        self._follow(view)
        match event:
            case calls.KeyAsked():
                self._key_asked(event, now)
            case calls.OpenAsked():
                self._open_asked(event, view, now)
            case calls.CloseAsked():
                self._close_asked(event)
            case calls.CallerGone(call):
                self._caller_gone(call)
            case calls.BeginRefused(stream):
                self._begin_refused(stream)
            case calls.ServiceEnded():
                self._service_ended()
            case calls.ModuleChanged() | calls.Tick():
                pass
            case _:
                assert_never(event)
        if self._session is not None:
            self._settle(self._session, view, now)
        return tuple(self._effects)

    @property
    def wake_at(self) -> float | None:
        """When `Tick` is due at the latest; None if nothing depends on time."""
        session = self._session
        if session is None:
            return None
        at = session.touched + session.qos.ttl
        for waiting in (session.opening, session.asking):
            if waiting is not None and waiting.deadline < at:
                at = waiting.deadline
        return at

    @property
    def standing(self) -> Standing | None:
        """Where the session stands; None without one."""
        return None if self._session is None else self._session.standing

    # --- OPEN_CONNECT ---------------------------------------------------------------------------------------------

    def _open_asked(self, ask: calls.OpenAsked, view: calls.View, now: float) -> None:
        session = self._session
        if session is not None and session.stream == ask.stream:
            self._open_again(session, ask, now)
            return
        refused = self._refusal(ask, view)
        if refused is not None:
            self._effects.append(calls.AnswerOpen(ask.call, refused))
            return
        announced = view.announced
        if announced is not None and announced.stream == ask.stream:
            offer = joined(ask.qos, ask.ability, announced.chunk_bytes)
        else:
            offer = negotiate(ask.qos, ask.ability)
        if not offer.met:
            self._effects.append(calls.AnswerOpen(ask.call, Status.QOS_NOT_MET, offer.qos, ask.stream))
            return
        if session is not None:
            self._drop(session)
        stream = ask.stream or StreamId.from_entropy(ask.entropy)
        session = self._session = _Session(ask.caller, stream, offer.qos, touched=now)
        # NULL: the peer cannot have the name before this answer has left.
        session.opening = session.wait(ask.call, now) if ask.stream else _Waiting(ask.call, now)
        self._begun = True
        self._effects.append(calls.Begin(stream, offer.qos.key_chunk_size))

    def _open_again(self, session: _Session, ask: calls.OpenAsked, now: float) -> None:
        """The stream is open at this end: its caller is told so, with the QoS that is registered."""
        if session.caller != ask.caller:
            self._effects.append(calls.AnswerOpen(ask.call, Status.KSID_IN_USE))
            return
        if session.opening is not None:
            self._effects.append(calls.AnswerOpen(session.opening.call, Status.TIMEOUT))
        session.touched = now
        session.opening = session.wait(ask.call, now)

    def _refusal(self, ask: calls.OpenAsked, view: calls.View) -> Status | None:
        """Whether there is nothing to open for this caller, whatever QoS it asks."""
        wrong_link = ask.site not in (None, self._site) or ask.peer not in (None, self._peer)
        session = self._session
        if session is not None:
            over = session.standing is Standing.MISSED or (session.standing is Standing.ENDED and not view.ready)
            busy = session.caller != ask.caller and not over
        else:
            busy = view.phase in (Phase.OPENING, Phase.RUNNING)  # by a key server in this process
        return Status.NO_QKD_CONNECTION if wrong_link or busy or view.phase is Phase.DOWN else None

    def _begin_refused(self, stream: StreamId) -> None:
        session = self._session
        if session is None or session.stream != stream or session.opening is None:
            raise LocalProtocolError("a stream was refused that was not begun")
        self._effects.append(calls.AnswerOpen(session.opening.call, Status.KSID_IN_USE))
        self._session = None

    def _settle_open(self, session: _Session, opening: _Waiting, view: calls.View, now: float) -> None:
        if session.standing in (Standing.RUNNING, Standing.ENDED):
            status = Status.SUCCESS
        elif session.standing is Standing.MISSED:
            status = Status.TIMEOUT
        elif now < opening.deadline:
            return
        else:
            status = Status.PEER_NOT_CONNECTED
        session.opening = None
        self._effects.append(calls.AnswerOpen(opening.call, status, session.qos, session.stream))
        if status is Status.TIMEOUT:
            self._drop(session)

    # --- GET_KEY --------------------------------------------------------------------------------------------------

    def _key_asked(self, ask: calls.KeyAsked, now: float) -> None:
        session = self._session
        if session is None or session.caller != ask.caller or session.stream != ask.stream:
            self._effects.append(calls.AnswerKey(ask.call, Status.NO_QKD_CONNECTION, ask.index))
            return
        session.touched = now
        if session.asking is not None:  # on a connection that the caller has given up, most likely
            self._effects.append(calls.AnswerKey(session.asking.call, Status.TIMEOUT, session.next))
            session.asking = None
        wanted = bool(session.qos.metadata_mimetype) and ask.metadata_size > 0
        if wanted and ask.metadata_size < self._room:
            self._effects.append(calls.AnswerKey(ask.call, Status.METADATA_TOO_LARGE, ask.index, self._room))
        elif session.kept and ask.index == session.next - 1:
            self._effects.append(calls.Repeat(ask.call, ask.index, wanted))
        elif ask.index != session.next:
            self._effects.append(calls.AnswerKey(ask.call, Status.INSUFFICIENT_KEY, session.next))
        else:
            session.asking = session.wait(ask.call, now, with_metadata=wanted)

    def _settle_key(self, session: _Session, asking: _Waiting, view: calls.View, now: float) -> None:
        if view.ready and view.stream == session.stream and session.next < _INDICES:
            self._effects.append(calls.Take(asking.call, session.next, asking.with_metadata))
            session.next += 1
            session.kept, session.asking = True, None
            return
        if session.kept:
            session.kept = False
            self._effects.append(calls.Forget())
        status = _without_key(session)
        if status is None and now >= asking.deadline:
            running = session.standing is Standing.RUNNING
            status = Status.INSUFFICIENT_KEY if running else Status.PEER_APPLICATION_NOT_CONNECTED
        if status is not None:
            session.asking = None
            self._effects.append(calls.AnswerKey(asking.call, status, session.next))

    # --- CLOSE, and other ends ------------------------------------------------------------------------------------

    def _close_asked(self, ask: calls.CloseAsked) -> None:
        session = self._session
        if session is None or session.caller != ask.caller or session.stream != ask.stream:
            self._effects.append(calls.AnswerClose(ask.call, Status.NO_QKD_CONNECTION))
            return
        self._drop(session)
        self._effects.append(calls.AnswerClose(ask.call, Status.SUCCESS))

    def _caller_gone(self, call: int) -> None:
        session = self._session
        if session is None:
            return
        if session.asking is not None and session.asking.call == call:
            session.asking = None
        if session.opening is not None and session.opening.call == call:
            session.opening = None

    def _service_ended(self) -> None:
        if self._session is not None:
            self._drop(self._session)

    def _drop(self, session: _Session) -> None:
        if session.asking is not None:
            self._effects.append(calls.AnswerKey(session.asking.call, Status.NO_QKD_CONNECTION, session.next))
        if session.opening is not None:
            self._effects.append(calls.AnswerOpen(session.opening.call, Status.NO_QKD_CONNECTION))
        self._effects.append(calls.End(session.stream))
        self._session = None

    # --- the module, and time -------------------------------------------------------------------------------------

    def _follow(self, view: calls.View) -> None:
        """See what has become of the session's stream."""
        session = self._session
        if session is None:
            return
        here = view.stream == session.stream
        if session.standing is Standing.OPENING:
            if here and view.phase is Phase.RUNNING:
                session.standing = Standing.RUNNING
            elif not here or view.phase is not Phase.OPENING:
                session.standing = Standing.ENDED if here and view.ready else Standing.MISSED
        elif session.standing is Standing.RUNNING and not (here and view.phase is Phase.RUNNING):
            session.standing = Standing.ENDED

    def _settle(self, session: _Session, view: calls.View, now: float) -> None:
        """Answer what can be answered now, and end what has lasted as long as it may."""
        if self._begun:
            return  # the view is of before
        if session.asking is not None:
            self._settle_key(session, session.asking, view, now)
        if session.opening is not None:
            self._settle_open(session, session.opening, view, now)
        if self._session is session and now >= session.touched + session.qos.ttl:
            self._drop(session)


def _without_key(session: _Session) -> Status | None:
    """What a caller is told if it waits in vain, or None if key may still come."""
    if session.standing is Standing.MISSED:
        return Status.TIMEOUT
    if session.standing is Standing.ENDED or session.next >= _INDICES:
        return Status.NO_QKD_CONNECTION
    return None
