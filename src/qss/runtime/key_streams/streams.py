"""The key streams of a site's applications: finds the stream that a call is for, and opens it where there is none.

Held here: which stream is whose, and calls that wait until the other site has been asked. Not here: whether a stream
may be (`core.keyserver`), what calls on one are answered (`runtime.module.southbound`), and how it comes to the other
site's (`offering`, `answering`). A call is answered through the function that came with it, once; `forget` takes that
back.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from qss.core.keyserver.stream_parties import StreamPlan, other_party
from qss.core.keyserver.stream_register import MAX_STREAMS, StreamRegister
from qss.core.module.calls import Announcement
from qss.core.module.qos import DEFAULT_TIMEOUT_MS, Ability, chunk_of
from qss.model.errors import QssError, RequestError
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.runtime.key_streams.answering import Answering
from qss.runtime.key_streams.device import RATE_BPS, KeyOfPair
from qss.runtime.key_streams.key_stream import CHUNK_BYTES, KeyStream
from qss.runtime.key_streams.offering import Offering
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.telling import Telling
from qss.wire.etsi004.messages import (
    NULL_KSID,
    Answer,
    Close,
    CloseAnswer,
    GetKey,
    OpenConnect,
    Request,
    failed_key,
    failed_open,
)
from qss.wire.etsi004.status import Edition, Status, number_of
from qss.wire.stream_meeting import Reason

LOOK_S = 2.0
"""How long OPEN_CONNECT waits until the other site says whether it has the stream open."""

COUNTED = ("read", "check", "accepted", "delivered", "unused", "unequal", "unfinished")
"""What becomes of the bytes of a stream; members of `qss.core.module.Counts`."""

_ENTROPY_BYTES = 16

_log = structlog.get_logger(__name__)

Respond = Callable[[Answer, Status], None]


@dataclass(slots=True)
class _Held:
    """A stream, and what brings it to the other site's."""

    key_stream: KeyStream
    tasks: Tasks
    offering: Offering | None = None
    looking: dict[int, tuple[OpenConnect, Respond]] = field(default_factory=dict)
    """Calls that wait until the other site has been asked."""


class KeyStreams:
    """Implements `qss.servers.etsi004.CallService`. All methods belong to the event loop's thread."""

    def __init__(
        self,
        here: QksId,
        plan: Callable[[SaeId, SaeId], StreamPlan],
        keys: Callable[[StreamPlan], KeyOfPair],
        call: Callable[[QksId], Awaitable[Connection]],
        defect: Defect,
        *,
        edition: Edition = Edition.V2_1_1,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`plan` says whether two SAEs may share a stream, `keys` gives their key, `call` dials a site."""
        self._here = here
        self._plan = plan
        self._keys = keys
        self._call = call
        self._defect = defect
        self._edition = edition
        self._entropy = entropy
        self._clock = clock
        self._register = StreamRegister()
        self._answering = Answering(here, self._register, lambda stream: self._streams[stream].key_stream)
        self._streams: dict[StreamId, _Held] = {}
        self._calls = itertools.count()
        self._under_way: dict[int, tuple[KeyStream, int]] = {}
        self._telling = Telling()
        self._leaving: list[_Held] = []
        """Streams that are over, and of which something is left."""
        self._past: Counter[str] = Counter()
        self._ending = Tasks(defect)  # not to be cancelled: modules are to stop
        self._stopped = False

    # --- calls ----------------------------------------------------------------------------------------------------

    def ask(self, caller: str, request: Request, answer: Respond) -> int:
        """As `CallService.ask`; `caller` is an SAE ID that was proved."""
        call, sae = next(self._calls), SaeId(caller)
        if isinstance(request, OpenConnect):
            self._open(call, sae, request, answer)
            return call
        held = self._streams.get(StreamId(request.stream))
        if held is None or held.key_stream.plan.sae != sae or not self._may_go_on(held):
            self._fail(request, answer, Status.NO_QKD_CONNECTION)
        else:
            self._pass_on(call, held, request, answer)
        return call

    def _may_go_on(self, held: _Held) -> bool:
        """Whether the two SAEs may share a stream still; if not, it is over, and what is left of it destroyed."""
        plan = held.key_stream.plan
        try:
            self._plan(plan.sae, plan.other)
        except RequestError as error:
            _log.info("a key stream may not go on", stream=str(held.key_stream.stream), reason=str(error))
            self.over(held.key_stream.stream)
            return False
        except QssError:
            pass  # where somebody is at home is not known for the moment
        return True

    def recall(self, sae: SaeId | None, peer: QksId | None) -> int:
        """End the streams of an SAE (None: of anybody) with a site (None: with any), and destroy what is left of them.

        Return how many they were.
        """
        plans = {stream: held.key_stream.plan for stream, held in self._streams.items()}
        ended = [
            stream
            for stream, plan in plans.items()
            if sae in (None, plan.sae, plan.other) and peer in (None, plan.peer)
        ]
        for stream in ended:
            self.over(stream)
        return len(ended)

    def forget(self, call: int) -> None:
        """As `CallService.forget`."""
        key_stream, number = self._under_way.pop(call, (None, 0))
        if key_stream is not None:
            key_stream.southbound.forget(number)
            return
        for held in [held for held in self._streams.values() if call in held.looking]:
            del held.looking[call]
            if not held.looking:
                self.over(held.key_stream.stream)

    def stop(self) -> None:
        """As `CallService.stop`; `stopped` waits until nothing is left."""
        self._stopped = True
        self._under_way.clear()
        for stream in list(self._streams):
            self.over(stream)

    async def stopped(self) -> None:
        """Return when nothing of any stream is left, once this was stopped."""
        await self._ending.finished()

    def _pass_on(self, call: int, held: _Held, request: Request, answer: Respond) -> None:
        """Have a stream answer a call. One that is not opened by it is none."""
        key_stream, answered = held.key_stream, False

        def respond(reply: Answer, status: Status) -> None:
            nonlocal answered
            answered = True
            self._under_way.pop(call, None)
            answer(reply, status)
            if isinstance(request, OpenConnect) and not key_stream.chunk_bytes:
                self.over(key_stream.stream)

        number = key_stream.southbound.ask(key_stream.plan.sae, request, respond)
        if not answered:
            self._under_way[call] = key_stream, number

    def _fail(self, request: Request, answer: Respond, status: Status) -> None:
        number = number_of(status, self._edition)
        match request:
            case OpenConnect():
                answer(failed_open(number, request), status)
            case GetKey(_, index, _, form):
                answer(failed_key(number, index, form), status)
            case Close():
                answer(CloseAnswer(number), status)

    # --- OPEN_CONNECT ---------------------------------------------------------------------------------------------

    def _open(self, call: int, caller: SaeId, request: OpenConnect, answer: Respond) -> None:
        is_null = request.stream == NULL_KSID
        name = StreamId.from_entropy(self._entropy(_ENTROPY_BYTES)) if is_null else StreamId(request.stream)
        held = self._streams.get(name)
        try:
            other = other_party(caller, request.source, request.destination)
            if held is not None and (held.key_stream.plan.sae, held.key_stream.plan.other) == (caller, other):
                self._open_again(call, held, request, answer)
                return
            plan = self._plan(caller, other)
        except QssError as error:
            if (unsaid := self._telling.unsaid((caller, type(error)))) is not None:
                reason = _without_query(str(error))
                _log.info("a key stream was refused", caller=caller, reason=reason, unsaid=unsaid)
            self._fail(request, answer, Status.NO_QKD_CONNECTION)
            return
        full = len(self._leaving) >= MAX_STREAMS  # more have ended than could be stopped yet
        refusal = Status.NO_QKD_CONNECTION if full else self._register.take(name, plan)
        if refusal is not None:
            self._fail(request, answer, refusal)
            return
        held = self._streams[name] = self._made(name, plan, request)
        if held.offering is None or is_null:  # nobody else can know a name that is new
            self._pass_on(call, held, request, answer)
        else:
            held.looking[call] = request, answer
            timeout_s = min(LOOK_S, (request.qos.timeout or DEFAULT_TIMEOUT_MS) / 1000)
            held.tasks.start(self._look(held, held.offering, timeout_s), "a look for a key stream")

    def _open_again(self, call: int, held: _Held, request: OpenConnect, answer: Respond) -> None:
        """Answer who has the stream already, or is waiting for it on another connection."""
        if held.looking:
            held.looking[call] = request, answer
        else:
            self._pass_on(call, held, request, answer)

    def _made(self, name: StreamId, plan: StreamPlan, request: OpenConnect) -> _Held:
        key_stream = KeyStream(
            name, plan, self._here, self._keys(plan), self, self._defect, entropy=self._entropy, clock=self._clock
        )
        held = _Held(key_stream, Tasks(self._defect))
        if plan.peer < self._here:  # Streams 2.1
            chunk_bytes = chunk_of(request.qos, Ability(RATE_BPS, chunk_bytes=CHUNK_BYTES))
            held.offering = Offering(key_stream, chunk_bytes, partial(self._call, plan.peer))
            held.tasks.start(held.offering.run(), f"key stream with {plan.peer}")
        return held

    async def _look(self, held: _Held, offering: Offering, timeout_s: float) -> None:
        """Have the calls that wait for it answered once the other site has been asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await offering.looked.wait()
        calls, held.looking = held.looking, {}
        stream, refused = held.key_stream.stream, offering.refused
        for call, (request, answer) in calls.items():
            if refused is None and self._streams.get(stream) is held:
                self._pass_on(call, held, request, answer)
            else:
                in_use = refused is Reason.IN_USE
                self._fail(request, answer, Status.KSID_IN_USE if in_use else Status.NO_QKD_CONNECTION)
        if refused is not None:
            self.over(stream)

    # --- what becomes of streams ----------------------------------------------------------------------------------

    def announced(self, stream: StreamId) -> Announcement | None:
        """As `Follower.announced`."""
        held = self._streams.get(stream)
        if held is None:
            return None
        return self._register.announced(stream) if held.offering is None else held.offering.announced

    def begun(self, stream: StreamId, chunk_bytes: int) -> None:
        """As `Follower.begun`."""
        plan = self._streams[stream].key_stream.plan
        _log.info("key stream opened", stream=str(stream), sae=plan.sae, other=plan.other, peer=plan.peer)
        self._register.begin(stream, chunk_bytes)
        self._answering.changed(stream)

    def over(self, stream: StreamId) -> None:
        """As `Follower.over`. No error if it is known no more."""
        held = self._streams.pop(stream, None)
        if held is not None:
            self._register.close(stream)
            self._leaving.append(held)
            self._ending.start(self._end(held), "end of a key stream")

    async def _end(self, held: _Held) -> None:
        await held.tasks.cancelled()
        await held.key_stream.stop()
        self._leaving.remove(held)
        self._past.update(_counted(held.key_stream))

    # --- other sites ----------------------------------------------------------------------------------------------

    async def take(self, connection: Connection) -> None:
        """Serve a connection by which another site, with a higher ID, offers a stream. Raises what it did wrong."""
        if self._stopped:
            await connection.close()
        else:
            await self._answering.take(connection)

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Streams that are open at this site."""
        return len(self._streams)

    def counts(self) -> Counter[str]:
        """Return what became of the bytes of all streams since the process began, by the members of `Counts`."""
        held = (*self._streams.values(), *self._leaving)
        return sum((_counted(each.key_stream) for each in held), Counter(self._past))


def _without_query(text: str) -> str:
    """Return a text without the queries and fragments of URIs in it: applications put tokens there."""
    return re.sub(r"[?#][^\s'\"]*", "?…", text)


def _counted(key_stream: KeyStream) -> Counter[str]:
    status = key_stream.status()
    return Counter() if status is None else Counter({name: getattr(status.counts, name) for name in COUNTED})
