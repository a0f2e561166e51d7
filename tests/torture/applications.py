"""The applications: masters that go on asking, slaves that fetch what their masters tell them; all at once.

They behave as real ones. A master whose ask is refused, or whose answer is lost, asks for other keys later. A slave
that is told 503, or nothing, asks again, until it has its keys or is told that there are none. Some keys are fetched
late, some asks come twice, and now and then somebody asks for the keys of others. Everything goes to the log, the ask
before it is sent; nothing is judged here.

Asks have no idempotency names yet. They belong into `_exchange`, which alone sends: with a name, an ask that ended
`UNSENT` or `LOST` is sent again under it, and `log.Asked` and `log.Fetching` carry the name, so that `checker` knows
which deliveries are one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import aiohttp

from qss.client import Client, KeyServerRefused, KeyServerUnreachable
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.keys import Key
from torture.log import GOT, LOST, MALFORMED, REFUSED, UNSENT, Asked, Delivered, Ended, Fetching, Log

MOST_KEYS = 8
SIZES = (64, 128, 192, 256, 1024)
UNDER_WAY = 20
"""Fetches of one conversation that may be under way; its master waits when there are so many."""

_PAUSE_S = 0.04
_RETRY_S = 0.3


@dataclass(frozen=True)
class Conversation:
    """A master, its slaves, and somebody at the slaves' site who is not among them."""

    master: SaeId
    slaves: tuple[SaeId, ...]
    stranger: SaeId


@dataclass(frozen=True)
class Promise:
    """Keys that a slave has not fetched yet."""

    slave: SaeId
    master: SaeId
    key_ids: tuple[KeyId, ...]


class Applications:
    """All applications of a run."""

    def __init__(self, clients: Mapping[SaeId, Client], homes: Mapping[SaeId, QksId], log: Log, chance: Random) -> None:
        self._clients = clients
        self._homes = homes
        self._log = log
        self._chance = chance
        self._numbers = itertools.count(1)
        self._stopping = False
        self._late: list[Promise] = []
        self.deliveries = 0
        self.served: Counter[tuple[QksId, QksId]] = Counter()
        """Asks that were answered with keys, by the sites of master and slaves."""

    def stop(self) -> None:
        """Have the masters ask no more."""
        self._stopping = True

    async def converse(self, conversation: Conversation) -> None:
        """Ask and fetch until `stop`; return when all that is not late has been fetched."""
        room = asyncio.Semaphore(UNDER_WAY)
        async with asyncio.TaskGroup() as fetches:
            while not self._stopping:
                await asyncio.sleep(self._chance.expovariate(1 / _PAUSE_S))
                key_ids = await self._ask(conversation.master, conversation.slaves)
                if not key_ids:
                    await asyncio.sleep(self._chance.uniform(0.0, _RETRY_S))
                for promise in self._promises(conversation, key_ids):
                    await room.acquire()
                    fetches.create_task(self._fetch(promise)).add_done_callback(lambda _: room.release())

    def _promises(self, conversation: Conversation, key_ids: tuple[KeyId, ...]) -> Iterator[Promise]:
        """Yield what is to be fetched now: not all that there is, not always once, not always by those who should."""
        chance = self._chance
        if key_ids and chance.random() < 0.1:
            yield Promise(conversation.stranger, conversation.master, key_ids)
        for slave in conversation.slaves:
            cut = chance.randint(1, MOST_KEYS)
            for part in (key_ids[:cut], key_ids[cut:]):
                promise = Promise(slave, conversation.master, part)
                if part and chance.random() < 0.15:
                    self._late.append(promise)
                elif part:
                    yield from [promise] * chance.choice((1,) * 9 + (2,))
        if self._late and chance.random() < 0.2:
            yield self._late.pop(chance.randrange(len(self._late)))

    async def fetch_late(self) -> None:
        """Fetch all that was left."""
        room = asyncio.Semaphore(UNDER_WAY)
        async with asyncio.TaskGroup() as fetches:
            while self._late:
                await room.acquire()
                fetches.create_task(self._fetch(self._late.pop())).add_done_callback(lambda _: room.release())

    # --- one ask --------------------------------------------------------------------------------------------------

    async def _ask(self, master: SaeId, slaves: tuple[SaeId, ...]) -> tuple[KeyId, ...]:
        """Ask once for keys; return their IDs, or none."""
        first, *others = slaves
        number, size = self._chance.randint(1, MOST_KEYS), self._chance.choice(SIZES)
        ask = next(self._numbers)
        self._log.write(Asked(ask, master, slaves, number, size))
        _, keys = await self._exchange(ask, master, self._clients[master].get_keys(first, number, size, others))
        if keys:
            self.served[self._homes[master], self._homes[first]] += 1
        return tuple(key.key_id for key in keys)

    async def _fetch(self, promise: Promise) -> None:
        while True:
            end = await self._fetch_once(promise)
            if end.outcome not in (UNSENT, LOST) and end.status != 503:
                return
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * _RETRY_S)

    async def _fetch_once(self, promise: Promise) -> Ended:
        ask = next(self._numbers)
        self._log.write(Fetching(ask, promise.slave, promise.master, tuple(map(str, promise.key_ids))))
        client = self._clients[promise.slave]
        fetching = client.get_keys_with_ids(promise.master, promise.key_ids)
        end, _ = await self._exchange(ask, promise.slave, fetching)
        return end

    async def _exchange(
        self, ask: int, sae: SaeId, asking: Awaitable[tuple[Key, ...]]
    ) -> tuple[Ended, tuple[Key, ...]]:
        """Send, and write down what came."""
        keys: tuple[Key, ...] = ()
        try:
            keys = await asking
            end = Ended(ask, GOT, 200)
        except KeyServerRefused as refusal:
            end = Ended(ask, REFUSED, refusal.status, refusal.message)
        except RemoteProtocolError as error:
            end = Ended(ask, MALFORMED, 200, str(error))
        except KeyServerUnreachable as error:
            unsent = isinstance(error.__cause__, aiohttp.ClientConnectorError)
            end = Ended(ask, UNSENT if unsent else LOST, 0, str(error))
        for key in keys:
            self._log.write(Delivered(ask, sae, str(key.key_id), key.material.reveal()))
        self.deliveries += len(keys)
        self._log.write(end)
        return end, keys
