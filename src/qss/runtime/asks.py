"""Asks of one link that wait for an answer: the core is told of each, and whoever asked gets keys or an error.

Whom keys were given is told the audit log, by their IDs. Not here: what the answer is (the core's), and who may ask
(`core.keyserver`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from structlog.typing import FilteringBoundLogger

from qss.core.reservation import events as ev
from qss.model.answers import AskName, KeyRun
from qss.model.errors import (
    PeerUnavailable,
    QssError,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    Tampered,
    Unavailable,
)
from qss.model.identifiers import KeyId, ReservationId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, Priority
from qss.model.ranges import Range
from qss.model.records import Part, Scope
from qss.ports.store import SealedStore
from qss.runtime.tasks import Defect

MAX_TOLD = 10_000
"""Answers whose repeats are known by the audit log; beyond that a repeat of an old one is recorded again."""


class Asks:
    """The asks that are under way. `handle` takes an event to the link's core, whose effects come back here."""

    def __init__(
        self,
        store: SealedStore,
        handle: Callable[[ev.Event], None],
        policy_of: Callable[[StreamId], str],
        defect: Defect,
        log: FilteringBoundLogger,
    ) -> None:
        """`policy_of` tells by which policy a stream's key is relayed; the empty text: it is the link's own."""
        self._store = store
        self._handle = handle
        self._policy_of = policy_of
        self._defect = defect
        self._log = log
        self._keys: dict[ev.Request, asyncio.Future[tuple[KeyRun, ...]]] = {}
        self._recalls: dict[ev.Request, asyncio.Future[int]] = {}
        self._numbers = itertools.count(1)
        self._told: OrderedDict[tuple[bytes, ReservationId, int], None] = OrderedDict()
        """Answers under names that were recorded."""

    # --- who asks -------------------------------------------------------------------------------------------------

    async def reserve(
        self,
        reservation: ReservationId,
        count: int,
        key_bytes: int,
        master: SaeId,
        slaves: tuple[SaeId, ...],
        name: AskName | None = None,
        policy: str = "",
        part: Part = Part.WHOLE,
        priority: Priority = Priority.NORMAL,
    ) -> tuple[Key, ...]:
        """Reserve keys at both ends, from streams of this policy, and return them; of a repeated ask, the first's.

        The first part of several comes when all are concluded. Raises `Unavailable` or `Unauthorised`, and `BadRequest`
        if `name` stands for another ask.
        """
        ask = ev.Reserve(reservation, count, key_bytes, master, slaves, name, policy, part, priority)
        return await self._ask(reservation, ask)

    async def fetch(
        self, caller: SaeId, master: SaeId, key_ids: tuple[KeyId, ...], name: AskName | None = None
    ) -> tuple[Key, ...]:
        """Return reserved keys to a slave, all or none. Raises `BadRequest`, `Unauthorised` or `Unavailable`."""
        request = next(self._numbers)
        return await self._ask(request, ev.Fetch(request, caller, master, key_ids, name))

    async def recall(self, scope: Scope, *, passed_on: bool = False) -> int:
        """Burn keys that were not fetched yet, here and at the neighbour; return the bits that were burned here.

        The neighbour follows when it is connected. `passed_on` if they were recalled on another link, where other sites
        have heard of it. Raises `Unavailable`.
        """
        request = next(self._numbers)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._recalls[request] = future
        try:
            self._handle(ev.Recall(request, scope, passed_on))
            return await future
        finally:
            del self._recalls[request]

    async def _ask(self, request: ev.Request, event: ev.Reserve | ev.Fetch) -> tuple[Key, ...]:
        future: asyncio.Future[tuple[KeyRun, ...]] = asyncio.get_running_loop().create_future()
        self._keys[request] = future
        try:
            self._handle(event)
            keys: list[Key] = []
            runs = await future
            for run in runs:
                keys.extend(await self._read(run))
            self._tell_audit(event, runs)
            return tuple(keys)
        finally:
            del self._keys[request]
            if future.done() and not future.cancelled():
                future.exception()  # a defect in what was begun is raised instead of its answer
            self._handle(ev.Released(request))

    def _tell_audit(self, ask: ev.Reserve | ev.Fetch, runs: tuple[KeyRun, ...]) -> None:
        """Have recorded who was given what; not a repeat's answer, of which nobody gets anything new."""
        if ask.name is not None and runs:
            answer = ask.name.digest, runs[0].reservation, runs[0].position
            if answer in self._told:
                return
            self._told[answer] = None
            if len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        what = {
            "keys": [run.ids_text for run in runs],
            "bits": 8 * sum(len(run.range) for run in runs),
            "policy": " ".join(sorted({self._policy_of(run.stream) or "link" for run in runs})),
        }
        if isinstance(ask, ev.Reserve):
            self._log.info("keys were given to their master", audit="alone", sae=ask.master, slaves=ask.slaves, **what)
        else:
            self._log.info("keys were given to a slave", audit="alone", sae=ask.caller, master=ask.master, **what)

    async def _read(self, run: KeyRun) -> Iterator[Key]:
        """Read the keys of a run in one go."""
        whole, size = await self.read_key(run.stream, run.range), run.key_bytes
        return (Key(key_id, whole[size * i : size * (i + 1)]) for i, key_id in enumerate(run.key_ids()))

    async def read_key(self, stream: StreamId, part: Range) -> KeyMaterial:
        """Return stored bytes. Raises `StoreUnavailable`; what is damaged is burned."""
        try:
            return await self._store.read_key(stream, part)
        except Tampered as error:
            self._log.error("stored key cannot be read, and is burned", audit=True, reason=str(error), until=error.stop)
            self._handle(ev.KeyUnreadable(stream, Range(error.start, error.stop), error.beyond))
            raise StoreUnavailable(
                "key that this site had stored is damaged, and was burned; nothing was delivered; ask for other keys"
            ) from error
        except (Unavailable, StoreError) as error:  # its text names files of this machine
            self._log.error("key cannot be read", reason=str(error))
            if isinstance(error, StoreDamaged):
                self._defect(error)
            raise StoreUnavailable(
                "this site's store cannot be read; nothing was delivered; tell its operator"
            ) from error

    # --- what the core answers ------------------------------------------------------------------------------------

    def deliver(self, request: ev.Request, keys: tuple[KeyRun, ...]) -> None:
        """Give whoever asked these keys."""
        future = self._keys.get(request)
        if future is None or future.done():  # the asker has gone: its key counts as delivered
            self._handle(ev.Released(request))
        else:
            future.set_result(keys)

    def refuse(self, request: ev.Request, error: QssError) -> None:
        """Give whoever asked an error."""
        _fail(self._keys.get(request), error)
        _fail(self._recalls.get(request), error)

    def recalled(self, request: ev.Request, bits: int) -> None:
        """Tell whoever recalled how many bits were burned here."""
        future = self._recalls.get(request)
        if future is not None and not future.done():
            future.set_result(bits)

    def give_up(self) -> None:
        """Answer everybody who waits: nothing more comes from this link."""
        for request in (*self._keys, *self._recalls):
            self.refuse(request, PeerUnavailable("this site is shutting down; nothing was delivered; try again later"))


def _fail(future: asyncio.Future[Any] | None, error: QssError) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
