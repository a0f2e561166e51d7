"""The applications: masters that go on asking, slaves that fetch what their masters tell them; all at once.

They behave as real ones. A master whose ask is refused, or whose answer is lost, asks for other keys later. A slave
that is told 503, or nothing, asks again, until it has its keys or is told that there are none. Some keys are fetched
late, some asks come twice, and now and then somebody asks for the keys of others. Everything goes to the log, the ask
before it is sent; nothing is judged here.

Many asks have an idempotency name, in the header or in the body. They are repeated under it until they are answered
with keys, and at times once more, seconds after that; but only for as long as sites must know the name.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

import aiohttp

from qss.client import KeyServerRefused, KeyServerUnreachable
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.keys import Key
from torture.log import GOT, LOST, MALFORMED, REFUSED, UNSENT, Asked, Delivered, Ended, Fetching, Log
from torture.naming import Name, NamingClient, drawn_name, in_header

MOST_KEYS = 8
SIZES = (64, 128, 192, 256, 1024)
UNDER_WAY = 20
"""Fetches of one conversation that may be under way; its master waits when there are so many."""

_PAUSE_S = 0.04
_RETRY_S = 0.3
_AGAIN_S = 8.0
"""A repeat of what was answered comes within this time, so that nodes may have been killed in between."""


@dataclass(frozen=True)
class Conversation:
    """A master, its slaves, and somebody at the slaves' site who is not among them."""

    master: SaeId
    slaves: tuple[SaeId, ...]
    stranger: SaeId
    wishes: tuple[tuple[str, object], ...] = ()
    """Optional extensions of half of what the master asks."""


@dataclass(frozen=True)
class Promise:
    """Keys that a slave has not fetched yet."""

    slave: SaeId
    master: SaeId
    key_ids: tuple[KeyId, ...]
    name: Name | None = None


@dataclass(frozen=True)
class Question:
    """What a master asks; `size` in bits."""

    master: SaeId
    slaves: tuple[SaeId, ...]
    number: int
    size: int
    name: Name | None
    wishes: tuple[tuple[str, object], ...] = ()


class Applications:
    """All applications of a run."""

    def __init__(
        self, clients: Mapping[SaeId, NamingClient], homes: Mapping[SaeId, QksId], log: Log, chance: Random
    ) -> None:
        self._clients = clients
        self._homes = homes
        self._log = log
        self._chance = chance
        self._numbers = itertools.count(1)
        self._stopping = False
        self._late: list[Promise] = []
        self.deliveries = 0
        self.served: Counter[tuple[QksId, QksId]] = Counter()
        """Asks that were answered with new keys, by the sites of master and slaves."""

    def stop(self) -> None:
        """Have the masters ask no more."""
        self._stopping = True

    async def converse(self, conversation: Conversation) -> None:
        """Ask and fetch until `stop`; return when all that is not late has been fetched."""
        room = asyncio.Semaphore(UNDER_WAY)
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping:
                await asyncio.sleep(self._chance.expovariate(1 / _PAUSE_S))
                question = self._question(conversation)
                key_ids = await self._ask(question)
                if key_ids:
                    tasks.create_task(self._ask_again(question))
                else:
                    await asyncio.sleep(self._chance.uniform(0.0, _RETRY_S))
                for promise in self._promises(conversation, key_ids):
                    await room.acquire()
                    fetching = tasks.create_task(self._fetch(promise))
                    fetching.add_done_callback(lambda _: room.release())
                    tasks.create_task(self._fetch_again(promise, fetching))

    def _question(self, conversation: Conversation) -> Question:
        number, size = self._chance.randint(1, MOST_KEYS), self._chance.choice(SIZES)
        name, wishes = drawn_name(self._chance), self._chance.choice(((), conversation.wishes))
        return Question(conversation.master, conversation.slaves, number, size, name, wishes)

    def _promises(self, conversation: Conversation, key_ids: tuple[KeyId, ...]) -> Iterator[Promise]:
        """Yield what is to be fetched now: not all that there is, not always once, not always by those who should."""
        chance = self._chance
        if key_ids and chance.random() < 0.1:
            yield Promise(conversation.stranger, conversation.master, key_ids, drawn_name(chance))
        for slave in conversation.slaves:
            cut = chance.randint(1, MOST_KEYS)
            for part in (key_ids[:cut], key_ids[cut:]):
                promise = Promise(slave, conversation.master, part)
                if part and chance.random() < 0.15:
                    self._late.append(promise)
                elif part:
                    yield from [replace(promise, name=drawn_name(chance))] * chance.choice((1,) * 9 + (2,))
        if self._late and chance.random() < 0.2:
            yield replace(self._late.pop(chance.randrange(len(self._late))), name=drawn_name(chance))

    async def fetch_late(self) -> None:
        """Fetch all that was left."""
        room = asyncio.Semaphore(UNDER_WAY)
        async with asyncio.TaskGroup() as fetches:
            while self._late:
                await room.acquire()
                fetches.create_task(self._fetch(self._late.pop())).add_done_callback(lambda _: room.release())

    # --- one ask --------------------------------------------------------------------------------------------------

    async def _ask(self, question: Question) -> tuple[KeyId, ...]:
        """Ask for keys, under a name until it is answered with some; return their IDs, or none."""
        end, keys = await self._ask_once(question)
        if end.outcome == GOT:
            self.served[self._homes[question.master], self._homes[question.slaves[0]]] += 1
        while _is_open(end) and question.name is not None and not question.name.is_over:
            await self._pause()
            end, keys = await self._ask_once(question)
        return tuple(key.key_id for key in keys)

    async def _ask_again(self, question: Question) -> None:
        """Repeat at times what was answered."""
        if question.name is not None and self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.uniform(0.0, _AGAIN_S))
            if not question.name.is_over:
                await self._ask_once(question)

    async def _ask_once(self, question: Question) -> tuple[Ended, tuple[Key, ...]]:
        ask, name = next(self._numbers), question.name
        first, *others = question.slaves
        self._log.write(
            Asked(ask, question.master, question.slaves, question.number, question.size, name.text if name else "")
        )
        in_body = self._place(name)
        asking = self._clients[question.master].get_keys(
            first, question.number, question.size, others, extension_optional=question.wishes, name=in_body
        )
        return await self._exchange(ask, question.master, asking)

    async def _fetch(self, promise: Promise) -> Ended:
        """Ask until there are keys, or it is said that there are none; under a name while it is known."""
        while True:
            end = await self._fetch_once(promise)
            if not _is_open(end):
                return end
            await self._pause()
            if promise.name is not None and promise.name.is_over:
                promise = replace(promise, name=None)

    async def _fetch_again(self, promise: Promise, fetching: Awaitable[Ended]) -> None:
        """Repeat at times what was answered."""
        end = await fetching
        if end.outcome == GOT and promise.name is not None and self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.uniform(0.0, _AGAIN_S))
            if not promise.name.is_over:
                await self._fetch_once(promise)

    async def _fetch_once(self, promise: Promise) -> Ended:
        ask, name = next(self._numbers), promise.name
        key_ids = tuple(map(str, promise.key_ids))
        self._log.write(Fetching(ask, promise.slave, promise.master, key_ids, name.text if name else ""))
        in_body = self._place(name)
        fetching = self._clients[promise.slave].get_keys_with_ids(promise.master, promise.key_ids, in_body)
        end, _ = await self._exchange(ask, promise.slave, fetching)
        return end

    def _place(self, name: Name | None) -> str | None:
        """Put a name into the header of what this task sends next, or return it for the body."""
        header = name is not None and self._chance.random() < 0.5
        in_header.set(name.text if name is not None and header else "")
        return name.text if name is not None and not header else None

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.5, 1.0) * _RETRY_S)

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


def _is_open(end: Ended) -> bool:
    """Whether there may be keys yet: nothing was said, or only that there are none now."""
    return end.outcome in (UNSENT, LOST) or end.status == 503
