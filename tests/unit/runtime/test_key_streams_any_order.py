"""Whatever four applications at two sites call, and whatever breaks meanwhile: what is given agrees, and is given once.

Each run is drawn from its seed, in virtual time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from qss.core.keyserver.stream_register import MAX_STREAMS
from qss.model.errors import Shortage
from qss.model.identifiers import SaeId, StreamId
from qss.wire.etsi004.messages import Close, GetKey, OpenConnect, QoS
from qss.wire.etsi004.status import Status
from support.stream_sites import ALICE, ANN, CAROL, CHRIS, HOMES, A, Site, StreamSites
from support.virtual_time import in_virtual_time

STEPS = 500
WINDOW_BYTES = 8


class Run:
    """What the applications know, and what must hold of it."""

    def __init__(self, sites: StreamSites, chance: random.Random) -> None:
        self.sites = sites
        self.chance = chance
        self.names = [StreamId(chance.randbytes(16)) for _ in range(2)]
        self.next: dict[tuple[SaeId, StreamId], int] = {}
        self.opened: dict[StreamId, set[frozenset[SaeId]]] = {}
        self.given: dict[tuple[StreamId, int], bytes] = {}
        self.takers: dict[tuple[StreamId, int], set[SaeId]] = {}
        self.under_way: list[tuple[Site, int, asyncio.Future[object]]] = []

    def someone(self) -> tuple[Site, SaeId, SaeId]:
        """One application at its site, and another one at the other site."""
        here, there = (ALICE, ANN), (CAROL, CHRIS)
        if self.chance.random() < 0.5:
            return self.sites.a, self.chance.choice(here), self.chance.choice(there)
        return self.sites.c, self.chance.choice(there), self.chance.choice(here)

    def open(self) -> None:
        site, caller, other = self.someone()
        null = self.chance.random() < 0.3
        name = bytes(16) if null else self.chance.choice(self.names).value
        qos = QoS(self.chance.choice((0, 32, 200)), timeout=self.chance.choice((50, 1000)), ttl=60)
        names = (caller, other) if self.chance.random() < 0.5 else (other, caller)

        def answered(answer: object, status: Status) -> None:
            if status in (Status.SUCCESS, Status.PEER_NOT_CONNECTED):
                stream = StreamId(answer.stream)  # type: ignore[attr-defined]
                self.next.setdefault((caller, stream), 0)
                self.opened.setdefault(stream, set()).add(frozenset((caller, other)))
                if null:
                    self.names[self.chance.randrange(len(self.names))] = stream

        self.call(site, caller, OpenConnect(*names, qos, name), answered)

    def get(self) -> None:
        site, caller, _ = self.someone()
        stream = self.chance.choice(self.names)
        if self.next and self.chance.random() < 0.9:
            caller, stream = self.chance.choice([*self.next][-6:])
            site = self.sites.a if HOMES[caller] == A else self.sites.c
        index = self.next.get((caller, stream), 0) + self.chance.choice((0, 0, 0, 0, -1, 1))

        def answered(answer: object, status: Status) -> None:
            if status is not Status.SUCCESS:
                return
            given, key = (stream, answer.index), answer.key.reveal()  # type: ignore[attr-defined]
            assert answer.index == index  # type: ignore[attr-defined]
            assert any(caller in pair for pair in self.opened.get(stream, ())), "it was given to somebody else"
            assert self.given.setdefault(given, key) == key, "two have different bytes"
            self.takers.setdefault(given, set()).add(caller)
            self.next[caller, stream] = index + 1

        if index >= 0:
            self.call(site, caller, GetKey(stream.value, index), answered)

    def close(self) -> None:
        site, caller, _ = self.someone()
        self.call(site, caller, Close(self.chance.choice(self.names).value), lambda *_: None)

    def call(self, site: Site, caller: SaeId, request: object, answered: Callable[[object, Status], None]) -> None:
        future = site.asked(caller, request)  # type: ignore[arg-type]
        future.add_done_callback(lambda done: None if done.cancelled() else answered(*done.result()))
        self.under_way.append((site, site.calls[-1], future))

    def disturb(self) -> None:
        chance, ledger = self.chance, self.sites.ledger
        match chance.randrange(5):
            case 0:
                ledger.short = Shortage("there is none") if chance.random() < 0.3 else None
            case 1:
                change = (lambda block: b"\xff" + block[1:]) if chance.random() < 0.3 else bytes
                ledger.altered = change
            case 2 if self.sites.connections:
                chance.choice(self.sites.connections)[chance.randrange(2)].cut()
            case 3:
                self.sites.unreachable = chance.random() < 0.2
            case _ if self.under_way:
                site, call, _ = chance.choice(self.under_way)
                site.streams.forget(call)  # its connection has ended

    async def go(self) -> None:
        for _ in range(STEPS):
            step = self.chance.choices((self.open, self.get, self.close, self.disturb), (5, 40, 1, 2))[0]
            step()
            if self.chance.random() < 0.6:
                await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.01, 0.1, 1.0)))
            for site in (self.sites.a, self.sites.c):
                assert site.streams.open <= MAX_STREAMS

    def judge(self) -> None:
        chunks = list(self.given.values())
        parts = [chunk[at : at + WINDOW_BYTES] for chunk in chunks for at in range(len(chunk) - WINDOW_BYTES + 1)]
        assert len(set(parts)) == len(parts), "bytes were given twice"
        for (stream, _), takers in self.takers.items():
            assert len(takers) <= 2
            assert takers in ({one for one in pair if one in takers} for pair in self.opened[stream])


@pytest.mark.parametrize("seed", range(40))
@in_virtual_time
async def test_what_is_given_agrees_and_is_given_once(seed: int) -> None:
    async with StreamSites() as sites:
        run = Run(sites, random.Random(seed))
        await run.go()
        run.judge()
        for site in (sites.a, sites.c):
            for stream in [*site.streams._streams]:
                site.streams.over(stream)
        await asyncio.sleep(30)
        for site in (sites.a, sites.c):
            counts = site.streams.counts()
            assert counts["read"] == sum(counts[name] for name in ("check", "accepted", "unequal", "unfinished"))
            assert counts["accepted"] == counts["delivered"] + counts["unused"]
            assert counts["read"] <= sites.ledger.reserved
        assert not sites.a.streams._answering._waiters
        assert sites.a.streams._register.waiting == 0


def test_the_runs_have_something_to_judge() -> None:
    """Else what holds of them would say nothing."""
    takers: list[int] = []

    @in_virtual_time
    async def some() -> None:
        for seed in range(5):
            async with StreamSites() as sites:
                run = Run(sites, random.Random(seed))
                await run.go()
                takers.extend(len(each) for each in run.takers.values())

    some()
    assert takers.count(2) > 30  # some fifty: pauses before a site is called again are drawn anew in each run
