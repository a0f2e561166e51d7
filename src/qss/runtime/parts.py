"""One link's share of requests for slaves at several sites (KRP 4.15 to 4.20): covers are made and opened here.

Not here: which sites there are (`multicast`), and when a part stands (`core.reservation.parts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

from structlog.typing import FilteringBoundLogger

from qss.core.reservation import LinkSettings
from qss.core.reservation import events as ev
from qss.crypto.hops import open_sealed, seal
from qss.model.errors import QssError, TransferVoid, Unavailable
from qss.model.identifiers import KeyId, ReservationId
from qss.model.key_material import KeyMaterial
from qss.model.records import ReservationRecord
from qss.model.relay_policy import Hop
from qss.runtime.asks import Asks
from qss.runtime.tasks import Defect, Tasks
from qss.wire.external import cover_context

PartEffect = ev.PartReady | ev.PartCovered | ev.OpenCover | ev.PartsRecalled


class Parts:
    """The parts that are under way. `handle` takes an event to the link's core, whose effects come back here."""

    def __init__(
        self,
        settings: LinkSettings,
        asks: Asks,
        handle: Callable[[ev.Event], None],
        keep: Callable[[KeyMaterial], int],
        recalled: Callable[[tuple[KeyId, ...]], None],
        defect: Defect,
        log: FilteringBoundLogger,
    ) -> None:
        """`keep` returns the handle under which key waits to be stored.

        `recalled` hears of keys that were recalled on this link, and that other sites hold as well.
        """
        self._settings = settings
        self._asks = asks
        self._handle = handle
        self._keep = keep
        self._recalled = recalled
        self._log = log
        self._ready: dict[ReservationId, asyncio.Future[ReservationRecord]] = {}
        self._covered: dict[ReservationId, asyncio.Future[None]] = {}
        self._opening = Tasks(defect)

    async def stop(self) -> None:
        """Open nothing more."""
        await self._opening.cancelled()

    # --- the master's site ----------------------------------------------------------------------------------------

    def expect(self, reservation: ReservationId) -> asyncio.Future[ReservationRecord]:
        """Return what has the row once the part is ready, or what it is refused for. To be ended by `forget`."""
        future = self._ready[reservation] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, reservation: ReservationId) -> None:
        """Wait no more for a part that was expected."""
        _consume(self._ready.pop(reservation, None))

    def reserve(self, ask: ev.Reserve) -> None:
        """Begin a further part, which is expected."""
        self._handle(ask)

    async def read(self, row: ReservationRecord) -> KeyMaterial:
        """Return the bytes of a part that is ready: of the first the keys, of another what covers them."""
        try:
            return await self._asks.read_key(row.stream, row.range)
        finally:
            self._handle(ev.Released(row.id))

    async def cover(self, row: ReservationRecord, secret: KeyMaterial, keys: KeyMaterial) -> None:
        """Return once the site of a further part, whose bytes are `secret`, has the keys. Raises what it refuses for.

        `secret` covers these keys, and nothing ever again.
        """
        context = cover_context(row, self._settings.here, self._settings.peer)
        sealed = seal(Hop.ONE_TIME_PAD, secret, context, keys)
        future = self._covered[row.id] = asyncio.get_running_loop().create_future()
        try:
            self._handle(ev.CoverMade(row.id, sealed.sealed, sealed.tag))
            await future
        finally:
            del self._covered[row.id]
            _consume(future)

    def conclude(self, reservation: ReservationId) -> None:
        """Let a part stand: every site has the keys."""
        self._handle(ev.Conclude(reservation))

    def abandon(self, reservation: ReservationId, error: QssError) -> None:
        """Give a part up, if it has not come to an end."""
        self._handle(ev.Abandon(reservation, error))

    # --- what the core answers ------------------------------------------------------------------------------------

    def perform(self, effect: PartEffect) -> None:
        """Carry out what the core wants."""
        match effect:
            case ev.PartReady(row):
                future = self._ready.get(row.id)
                if future is None or future.done():  # whoever began it has gone
                    self._handle(ev.Released(row.id))
                else:
                    future.set_result(row)
            case ev.PartCovered(reservation):
                covered = self._covered.get(reservation)
                if covered is not None and not covered.done():
                    covered.set_result(None)
            case ev.OpenCover():
                self._opening.start(self._open(effect))
            case ev.PartsRecalled(key_ids):
                self._recalled(key_ids)
            case _:
                assert_never(effect)

    def refuse(self, request: ev.Request, error: QssError) -> None:
        """Give whoever waits for a part an error."""
        waiting: tuple[asyncio.Future[Any] | None, ...] = ()
        if isinstance(request, ReservationId):
            waiting = (self._ready.get(request), self._covered.get(request))
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(error)

    # --- the slaves' site -----------------------------------------------------------------------------------------

    async def _open(self, cover: ev.OpenCover) -> None:
        """Check what came, and take the keys out of it."""
        row = cover.row
        context = cover_context(row, self._settings.peer, self._settings.here)
        try:
            secret = await self._asks.read_key(row.stream, row.range)
            keys = open_sealed(Hop.ONE_TIME_PAD, secret, context, cover.sealed, cover.tag)
        except TransferVoid:
            self._log.warning("keys that came for slaves here do not open, and are burned", reservation=str(row.id))
            self._handle(ev.CoverFailed(row.id))
        except Unavailable:  # told by whoever reads
            self._handle(ev.CoverFailed(row.id))
        else:
            self._handle(ev.CoverOpened(row.id, self._keep(keys)))


def _consume(future: asyncio.Future[Any] | None) -> None:
    """Let nobody be told of an error that nobody waits for."""
    if future is not None and not future.cancel() and not future.cancelled():
        future.exception()
