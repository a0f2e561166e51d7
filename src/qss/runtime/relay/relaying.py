"""One site's relay: feeds its core with events and carries out the effects. The core decides; this shell moves bytes.

Content is here from the moment it is opened until it is sealed for the next hop, at the source until its block is made,
and at the destination until its device takes it. It is never written anywhere; that it was passed on is told the audit
log.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never

import structlog

from qss.core.relay import Relay
from qss.core.relay import events as ev
from qss.core.reservation.relay_events import DrawFailure
from qss.crypto.hops import key_bytes, open_sealed, seal
from qss.model.errors import DeviceError, QssError, RemoteProtocolError, TransferVoid
from qss.model.identifiers import PairId, QksId, StreamId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.relay_policy import Hop
from qss.runtime.link import LinkRunner
from qss.runtime.outbox import Outbox
from qss.runtime.relay.counts import RelayCounts
from qss.runtime.relay.ends import Ends, Portion
from qss.runtime.relay.passed_over import tell_passed_over
from qss.runtime.session import Session
from qss.runtime.tasks import Defect, Tasks
from qss.transport.connection import Connection
from qss.transport.telling import Telling
from qss.wire import relay as wire

MAX_WAITING_BYTES = 64 << 20
"""What may wait to be sent to one neighbour."""

TAKE_S = 5.0
"""How long the device of an end-to-end stream waits for content that it was told of."""

_TICK_S = 0.2

_log = structlog.get_logger(__name__)


class TransferFailed(QssError):
    """A transfer is void. `site` says where it failed, as far as neighbours can be believed, `reason` why."""

    def __init__(self, site: QksId, reason: wire.Reason) -> None:
        super().__init__(f"{reason} at site {site}")
        self.site = site
        self.reason = reason


@dataclass(slots=True)
class _Drawn:
    """A range that is this relay's, until it is ended."""

    stream: StreamId
    part: Range
    is_gone: bool = False
    """Its link has started over since, and knows it no more; what that has under this name is another one."""


class Keys(Protocol):
    """What a relay needs of the site's sealed store, which is this."""

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        """As `qss.ports.store.SealedStore.read_key`."""
        ...


class Relaying:
    """The relay of one site. All methods belong to the event loop's thread."""

    def __init__(
        self,
        here: QksId,
        relay: Relay,
        store: Keys,
        neighbours: Sequence[QksId],
        defect: Defect,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Run `relay`, which speaks with these neighbours and nobody else, over links that `start` gives."""
        self._here = here
        self._relay = relay
        self._store = store
        self._defect = defect
        self._clock = clock
        self._links: Mapping[QksId, LinkRunner] = {}
        self._drawn: dict[tuple[QksId, TransferId, bool], _Drawn] = {}
        """By neighbour, transfer, and whether this end drew."""
        self._carried: wire.Carry | None = None
        self._kept: dict[TransferId, wire.Carry] = {}
        self._contents: dict[TransferId, KeyMaterial] = {}
        """Of this site's own transfers."""
        self._held: dict[TransferId, tuple[wire.Begin, KeyMaterial]] = {}
        """What ends here, and waits to be taken."""
        self._passing: set[TransferId] = set()
        self._asked: dict[TransferId, asyncio.Future[None]] = {}
        self._takers: dict[tuple[PairId, TransferId], asyncio.Future[None]] = {}
        self._defective = False
        self._telling = Telling()
        self.counts = RelayCounts(neighbours)
        self._tasks = Tasks(defect)
        self._passes = Tasks(defect)  # not to be cancelled: each has ranges to end
        self._sessions = {peer: self._session(peer) for peer in neighbours}

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, links: Mapping[QksId, LinkRunner]) -> None:
        """Begin to relay over these links, which hear of what is drawn by `drawn` and `undrawn`."""
        self._links = links
        self._tasks.start(self._tick(), "relay")

    async def stop(self) -> None:
        """Give up all transfers, end all connections, and take no further one. Can be called twice."""
        if self._links:
            self._handle(ev.Leave())
        await asyncio.gather(*(session.stop() for session in self._sessions.values()))
        await self._passes.finished()
        await self._tasks.cancelled()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(ev.Tick())

    # --- who relays -----------------------------------------------------------------------------------------------

    async def carry(self, begin: wire.Begin, content: KeyMaterial) -> None:
        """Have `content` carried to the end of the path; return when it is there. Raises `TransferFailed`."""
        transfer, end = TransferId(begin.transfer), QksId(begin.path[-1])
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[transfer] = future
        self._contents[transfer] = content
        try:
            self._handle(ev.Start(begin))
            await future
            self.counts.arrived(end)
        except TransferFailed as failure:
            self.counts.failed(end, failure.site, failure.reason)
            raise
        except asyncio.CancelledError:
            self.counts.given_up(end)
            raise
        finally:
            del self._asked[transfer]
            if not future.done() or future.cancelled():
                self._handle(ev.GiveUp(transfer))
            self._contents.pop(transfer, None)

    async def take(
        self, ends: Ends, transfer: TransferId, portion: Portion, relayed: Callable[[int], None] = lambda _: None
    ) -> KeyMaterial:
        """Return the content of a transfer that ends here, once; `relayed` hears how many repeaters it passed through.

        Whoever names it says what it brings; what its source began it for has to be just that. Raises `DeviceError` if
        it is not, or does not come in time.
        """
        if transfer not in self._held:
            await self._come(ends.pair, transfer)
        begin, content = self._held.get(transfer, (None, None))
        if begin is None or content is None:
            raise DeviceError(f"what was relayed by transfer {transfer} has not come within {TAKE_S:g} s")
        if not ends.has_begun(begin, portion):
            raise DeviceError(f"transfer {transfer} is not of the block that the other end says")
        self._handle(ev.Taken(transfer))
        relayed(len(begin.path) - 2)
        return content

    async def _come(self, pair: PairId, transfer: TransferId) -> None:
        """Wait until content of this stream is there, as long as it may take."""
        future = self._takers[pair, transfer] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(TAKE_S):
                await future
        except TimeoutError:
            pass
        finally:
            del self._takers[pair, transfer]

    # --- links ----------------------------------------------------------------------------------------------------

    def drawn(self, peer: QksId, transfer: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        """A range of the link with `peer` is durable at this end, for a transfer; `own`: this end drew it."""
        if (peer, transfer, own) in self._drawn:  # one from before the link started over is not done with yet
            self._links[peer].end_draw(transfer, used=False)
            return
        self._drawn[peer, transfer, own] = _Drawn(stream, part)
        self._handle(ev.KeyReady(peer, transfer, own))

    def undrawn(self, peer: QksId, transfer: TransferId, reason: DrawFailure, *, own: bool) -> None:
        """The range is not had at both ends."""
        drawn = self._drawn.get((peer, transfer, own))
        if drawn is not None and reason is DrawFailure.STOPPED:
            drawn.is_gone = True
        self._handle(ev.KeyFailed(peer, transfer, own, wire.Reason(reason)))

    # --- neighbours -----------------------------------------------------------------------------------------------

    async def serve(self, peer: QksId, connection: Connection) -> None:
        """Speak Relay over this connection until it ends. A newer connection takes the place of an older one."""
        await self._sessions[peer].serve(connection)

    @property
    def failed_here(self) -> Counter[wire.Reason]:
        """How many transfers of others could not go on at this site, by reason."""
        return self._relay.failed_here

    def security(self, peer: QksId) -> str | None:
        """Return how the connection with a neighbour's relay is protected; None: there is none."""
        return self._sessions[peer].security

    def _session(self, peer: QksId) -> Session[wire.Message]:
        return Session[wire.Message](
            lambda connection: Outbox(connection, _frames, MAX_WAITING_BYTES, wire.weight),
            lambda: self._handle(ev.Connected(peer)),
            partial(self._received, peer),
            lambda _: self._handle(ev.Disconnected(peer)),
            self._defect,
            _log.bind(subject="relay", peer=peer),
        )

    def _received(self, peer: QksId, frame: bytes) -> None:
        for message in wire.decode(frame):
            if isinstance(message, wire.Carry):
                self._carried = message
                try:
                    self._handle(ev.CarryCame(peer, TransferId(message.transfer), len(message.sealed)))
                finally:
                    self._carried = None
            else:
                self._handle(ev.Received(peer, message))

    # --- effects --------------------------------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if self._defective:
            return
        try:
            effects = self._relay.handle(event, self._clock())
        except RemoteProtocolError:
            raise  # the neighbour is told by the end of its connection
        except Exception as error:
            self._defective = True
            self._defect(error)
            raise
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(peer, messages):
                self._sessions[peer].send(messages)
            case ev.Draw(peer, transfer, length, hop, urgent):
                self._links[peer].draw(transfer, key_bytes(hop, length), urgent=urgent)
            case ev.EndDraw(peer, transfer, ours, used):
                drawn = self._drawn.pop((peer, transfer, ours))
                if not drawn.is_gone:
                    self._links[peer].end_draw(transfer, used=used)
            case ev.Keep(transfer):
                assert self._carried is not None
                self._kept[transfer] = self._carried
            case ev.Pass():
                self._passing.add(effect.transfer)
                self._passes.start_now(self._pass(effect))
            case ev.Forget(transfer):
                self._passing.discard(transfer)
                self._kept.pop(transfer, None)
                self._held.pop(transfer, None)  # the source's content is its caller's
            case ev.Came(begin):
                taker = self._takers.get((PairId(begin.stream), TransferId(begin.transfer)))
                if taker is not None and not taker.done():
                    taker.set_result(None)
            case ev.Arrived(transfer):
                self._answer(transfer, None)
            case ev.Failed(transfer, site, reason):
                self._answer(transfer, TransferFailed(site, reason))
            case ev.Dropped(peer, _, reason):
                self.counts.dropped[peer, reason] += 1
                tell_passed_over(self._telling, peer, reason)
            case _:
                assert_never(effect)

    def _answer(self, transfer: TransferId, error: TransferFailed | None) -> None:
        future = self._asked.get(transfer)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    async def _pass(self, effect: ev.Pass) -> None:
        transfer = effect.transfer
        try:
            # What is needed is looked up before anything is waited for: Forget and EndDraw may come meanwhile.
            outward = effect.outward
            drawn = None if outward is None else self._drawn[outward, transfer, True]
            content = await self._opened(effect)
            if outward is None or drawn is None:
                if transfer in self._passing:
                    self._held[transfer] = effect.begin, content
                    _tell_audit("relayed key has arrived", effect.begin)
            else:
                carry = await self._covered(effect, outward, drawn, content)
                if transfer in self._passing:
                    self._sessions[outward].send((carry,))
                    if effect.inward is None:
                        _tell_audit("key was relayed from here", effect.begin)
                    else:
                        self.counts.passed_on[outward] += 1
                        _tell_audit("key was relayed on", effect.begin)
        except TransferVoid as void:
            if (unsaid := self._telling.unsaid(("tampered", effect.inward))) is not None:
                _log.warning(
                    "what a neighbour carried here was refused", peer=effect.inward, reason=str(void), unsaid=unsaid
                )
            outcome: ev.Event = ev.PassFailed(transfer, wire.Reason.TAMPERED)
        except QssError as error:
            if (unsaid := self._telling.unsaid(type(error).__name__)) is not None:
                _log.error("what was relayed cannot be passed on", reason=str(error), unsaid=unsaid)
            outcome = ev.PassFailed(transfer, wire.Reason.STOPPED)
        else:
            outcome = ev.Passed(transfer)
        self._passing.discard(transfer)
        self._handle(outcome)

    async def _opened(self, effect: ev.Pass) -> KeyMaterial:
        """Return what came with Carry, opened; at the source, its content."""
        if effect.inward is None:
            return self._contents[effect.transfer]
        carry, hop = self._kept.pop(effect.transfer), Hop(effect.begin.hop)
        drawn = self._drawn[effect.inward, effect.transfer, False]
        if len(drawn.part) != key_bytes(hop, len(carry.sealed)):  # its length was the neighbour's to choose
            raise TransferVoid("a neighbour drew a range of another length than what it carried here takes")
        context = wire.hop_context(effect.begin, effect.inward, self._here, effect.place - 1, drawn.stream, drawn.part)
        key = await self._store.read_key(drawn.stream, drawn.part)
        return open_sealed(hop, key, context, carry.sealed, carry.tag)

    async def _covered(self, effect: ev.Pass, outward: QksId, drawn: _Drawn, content: KeyMaterial) -> wire.Carry:
        """Return content, sealed for the next site."""
        context = wire.hop_context(effect.begin, self._here, outward, effect.place, drawn.stream, drawn.part)
        key = await self._store.read_key(drawn.stream, drawn.part)
        covered = seal(Hop(effect.begin.hop), key, context, content)
        return wire.Carry(effect.begin.transfer, covered.sealed, covered.tag)


def _frames(messages: Sequence[wire.Message]) -> list[bytes]:
    return [wire.encode(run) for run in wire.split(messages)]


def _tell_audit(event: str, begin: wire.Begin) -> None:
    """Have recorded what this site has done for a transfer."""
    _log.info(
        event,
        audit="alone",
        transfer=begin.transfer.hex(),
        path=" ".join(begin.path),
        policy=begin.policy,
        hop=begin.hop,
        stream=str(PairId(begin.stream)),
        block=begin.block,
        share=f"{begin.share + 1} of {begin.shares}",
        bits=8 * begin.length,
    )
