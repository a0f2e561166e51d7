"""ETSI GS QKD 004 served by one module: carries calls to the core (`core.module.sessions`) and carries out its effects.

Held here: the chunk that was delivered last, until the core says that it can go. Not here: connections and who is on
them (`servers.etsi004`), and any decision. A call is answered through the function that came with it, once, at once or
later; `forget` takes that back.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

from qss.core.module import calls
from qss.core.module.calls import Caller, View
from qss.core.module.qos import Ability
from qss.core.module.sessions import Sessions, metadata_room
from qss.model.errors import DeviceError
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.runtime.causes import Causes
from qss.wire.etsi004.messages import (
    MAX_NUMBER,
    NULL_KSID,
    Answer,
    Close,
    CloseAnswer,
    Form,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    Request,
    failed_key,
    failed_open,
)
from qss.wire.etsi004.status import Edition, Status, number_of

SITE_SCHEME = "qks:"
"""What a URI begins with that names a site as source or destination, such as `qks:A`. Others name applications."""

_ENTROPY_BYTES = 16

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What the key is like that callers get, besides what the module says; as it stands, a link's own."""

    hops: Callable[[], int] = lambda: 0
    """Returns through how many trusted nodes what is taken now has passed, at most."""
    most_hops: int = 0
    """How many that can ever be."""
    chunk_bytes: int | None = None
    """As in `qss.core.module.qos.Ability`."""


class KeyStreamModule(Protocol):
    """What the interface stands on: `QkdModule`, or a key stream of the key server."""

    def view(self) -> View: ...  # noqa: D102 - see QkdModule
    def begin(self, stream: StreamId, chunk_bytes: int) -> None: ...  # noqa: D102
    def end(self, stream: StreamId) -> None: ...  # noqa: D102
    def take(self) -> tuple[KeyMaterial, float]: ...  # noqa: D102
    def watch(self, changed: Callable[[], None]) -> Callable[[], None]: ...  # noqa: D102
    def rate_bps(self) -> float: ...  # noqa: D102


@dataclass(slots=True)
class _Pending:
    """A call that has not been answered."""

    request: Request
    answer: Callable[[Answer, Status], None]


class Southbound:
    """The interface of one module. All methods belong to the event loop's thread."""

    def __init__(
        self,
        module: KeyStreamModule,
        site: QksId,
        peer: QksId,
        *,
        edition: Edition = Edition.V2_1_1,
        terms: KeyTerms | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `module`, whose link joins `site`, where it is, and `peer`."""
        self._module = module
        self._terms = terms or KeyTerms()
        self._edition = edition
        self._entropy = entropy
        self._clock = clock
        self._core = Sessions(site, peer, metadata_room(self._terms.most_hops))
        self._calls = itertools.count()
        self._pending: dict[int, _Pending] = {}
        self._kept: tuple[KeyMaterial, float, int] | None = None
        """The chunk that was delivered last, since when it could be, and its hops."""
        self._stopped = False
        self._performing = False
        self._changed = False
        self._refused: StreamId | None = None
        self._causes = Causes()
        self._waking: asyncio.TimerHandle | None = None
        self._waking_at = 0.0
        self._unwatch = module.watch(self._module_changed)

    def ask(self, caller: Caller, request: Request, answer: Callable[[Answer, Status], None]) -> int:
        """Carry out a call; return its number, for `forget`. `answer` may be called before this returns."""
        call = next(self._calls)
        self._pending[call] = _Pending(request, answer)
        match request:
            case GetKey(stream, index, size):
                self._handle(calls.KeyAsked(call, caller, StreamId(stream), index, size))
            case OpenConnect():
                self._handle(self._open_asked(call, caller, request))
            case Close(stream):
                self._handle(calls.CloseAsked(call, caller, StreamId(stream)))
            case _:
                assert_never(request)
        return call

    def forget(self, call: int) -> None:
        """Nobody waits for this answer any more. Calls that were answered are no error."""
        if self._pending.pop(call, None) is not None:
            self._handle(calls.CallerGone(call))

    def stop(self) -> None:
        """Answer nobody any more, end the stream that was opened here, and follow the module no more.

        Can be called twice.
        """
        if self._stopped:
            return
        self._stopped = True
        self._pending.clear()
        self._handle(calls.ServiceEnded())
        self._unwatch()
        if self._waking is not None:
            self._waking.cancel()

    def _open_asked(self, call: int, caller: Caller, request: OpenConnect) -> calls.OpenAsked:
        return calls.OpenAsked(
            call,
            caller,
            _site_in(request.source),
            _site_in(request.destination),
            request.qos,
            None if request.stream == NULL_KSID else StreamId(request.stream),
            self._entropy(_ENTROPY_BYTES),
            Ability(self._module.rate_bps(), chunk_bytes=self._terms.chunk_bytes),
        )

    # --- the core -------------------------------------------------------------------------------------------------

    def _module_changed(self) -> None:
        if self._performing:
            self._changed = True
        else:
            self._handle(calls.ModuleChanged())

    def _tick(self) -> None:
        self._waking = None
        self._handle(calls.Tick())

    def _handle(self, event: calls.Event) -> None:
        """Let the core take `event`, and after it what the module did in answer to the effects."""
        self._performing = True
        try:
            while True:
                self._changed = False
                for effect in self._core.handle(event, self._module.view(), self._clock()):
                    self._perform(effect)
                if self._refused is not None:
                    event, self._refused = calls.BeginRefused(self._refused), None
                elif self._changed:
                    event = calls.ModuleChanged()
                else:
                    break
        finally:
            self._performing = False
        self._set_alarm()

    def _set_alarm(self) -> None:
        at = self._core.wake_at
        if self._waking is not None:
            if at is not None and self._waking_at <= at:
                return  # it will look again then
            self._waking.cancel()
            self._waking = None
        if at is not None:
            self._waking_at = at
            self._waking = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._tick)

    def _perform(self, effect: calls.Effect) -> None:
        match effect:
            case calls.Take(call, index, with_metadata):
                self._kept = self._take()
                self._deliver(call, index, with_metadata=with_metadata)
            case calls.Repeat(call, index, with_metadata):
                self._deliver(call, index, with_metadata=with_metadata)
            case calls.Forget():
                self._kept = None
            case calls.Begin(stream, chunk_bytes):
                self._begin(stream, chunk_bytes)
            case calls.End(stream):
                self._kept = None
                self._module.end(stream)
            case calls.AnswerOpen():
                self._answer_open(effect)
            case calls.AnswerKey(call, status, index, room):
                pending = self._pending.pop(call, None)
                if pending is not None:
                    form = _form_of(pending.request)
                    pending.answer(failed_key(self._number(status), index, form, room), status)
            case calls.AnswerClose(call, status):
                self._answer(call, CloseAnswer(self._number(status)), status)
            case _:
                assert_never(effect)

    def _begin(self, stream: StreamId, chunk_bytes: int) -> None:
        self._changed = True
        try:
            self._module.begin(stream, chunk_bytes)
        except DeviceError as error:
            if self._causes.is_new(None, str(error)):
                _log.warning("key stream refused", stream=str(stream), reason=str(error))
            self._refused = stream

    def _take(self) -> tuple[KeyMaterial, float, int]:
        changed = self._changed
        chunk, age_s = self._module.take()
        self._changed = changed  # that one chunk less is there, the core knows
        return chunk, self._clock() - age_s, self._terms.hops()

    # --- answers --------------------------------------------------------------------------------------------------

    def _number(self, status: Status) -> int:
        return number_of(status, self._edition)

    def _answer(self, call: int, answer: Answer, status: Status) -> None:
        pending = self._pending.pop(call, None)
        if pending is not None:
            pending.answer(answer, status)

    def _deliver(self, call: int, index: int, *, with_metadata: bool) -> None:
        assert self._kept is not None
        chunk, since, hops = self._kept
        metadata = _metadata(self._clock() - since, hops) if with_metadata else b""
        self._answer(call, GetKeyAnswer(self._number(Status.SUCCESS), index, chunk, metadata), Status.SUCCESS)

    def _answer_open(self, effect: calls.AnswerOpen) -> None:
        pending = self._pending.pop(effect.call, None)
        if pending is None:
            return
        request = pending.request
        assert isinstance(request, OpenConnect)
        number, stream = self._number(effect.status), NULL_KSID if effect.stream is None else effect.stream.value
        if effect.qos is not None:
            answer = OpenConnectAnswer(number, effect.qos, stream, request.form)
        else:
            answer = failed_open(number, request)
        pending.answer(answer, effect.status)


def _form_of(request: Request) -> Form:
    assert isinstance(request, GetKey)
    return request.form


def _site_in(uri: str) -> str | None:
    """Return the QKS ID that a URI of a site names, None for other URIs."""
    if uri[: len(SITE_SCHEME)].lower() != SITE_SCHEME:
        return None
    return uri[len(SITE_SCHEME) :]


def _metadata(age_s: float, hops: int) -> bytes:
    """Metadata keys of clause 6.2: `age` in ms since the chunk could be delivered, `hops` in trusted nodes."""
    age = min(int(1000 * max(0.0, age_s)), MAX_NUMBER)
    return f'{{"age": {age}, "hops": {hops}}}'.encode()
