"""One run: applications ask and fetch, things break at random, everything is healed, and the books are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from itertools import permutations
from random import Random
from typing import Any, cast

from qss.model.errors import QssError, Unavailable
from qss.model.identifiers import KeyId, PairId, QksId, SaeId
from qss.model.incarnations import INCARNATION_ENTROPY_BYTES, next_incarnation
from qss.model.keys import KeyIdsRequest, KeyRequest
from qss.model.records import PeerRecord, Scope
from qss.simulation.store import SimulatedDisk
from scenarios.checks import Book, erasable
from scenarios.world import Road, SimulatedSite, World

LINE = ((("A", "B"), ("B", "C")), {"alice": "A", "anna": "A", "bob": "B", "bella": "B", "carol": "C"})
TRIANGLE = (
    (("A", "B"), ("B", "C"), ("A", "C")),
    {"alice": "A", "bob": "B", "bella": "B", "carol": "C", "chris": "C"},
)
PAIR = ((("A", "B"),), {"alice": "A", "anna": "A", "bob": "B", "bella": "B"})

BUSY_S = 12.0
"""How long things happen, in virtual seconds."""

HEALING_S = 45.0
"""Longest time until all works again when nothing more breaks."""


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    violations: list[str]
    events: list[str]
    deliveries: int
    relayed: int
    """How many of them were of key that was relayed."""
    faults: int


class Scenario:
    """The run of one seed."""

    def __init__(self, seed: int) -> None:
        choice = Random(seed)
        roads, saes = choice.choice((PAIR, LINE, TRIANGLE))
        self.seed = seed
        self.world = World(seed, roads, saes, pairs=choice.choice((1, 2)))
        self.book = Book(self.world)
        self.chance = self.world.random
        self.backups: dict[QksId, SimulatedDisk] = {}
        self.faults = 0
        self.names = 0
        self._set_the_weather()

    def _set_the_weather(self) -> None:
        chance, world = self.chance, self.world
        latency = chance.choice((0.0005, 0.02, 0.2))
        unruly = chance.random() < 0.25  # a network that no TLS connection shows: frames lost, doubled, overtaken
        world.in_order = not unruly
        world.slow_disk_s = chance.choice((0.0005, 0.005, 0.1))
        world.reserved_s = chance.choice((3.0, 30.0))
        world.grace_s = chance.choice((3.0, 30.0))
        # A stream that lasts no ten seconds is succeeded after a pause: two links in a row then seldom have one each.
        world.stream_s = chance.choice((8.0 if world.is_meshed else 11.0, 1e9))
        world.successor_chunks = chance.choice((20, 1 << 32))

        def weather() -> tuple[float, ...]:
            copies = 1
            if unruly and chance.random() < 0.02:
                copies = chance.choice((0, 2))
            return tuple(chance.expovariate(1 / latency) for _ in range(copies))

        world.weather = weather

    def run(self) -> Outcome:
        """Run it, in no real time."""
        loop = self.world.loop
        asyncio.set_event_loop(None)
        try:
            loop.run_until_complete(self._run())
        except RuntimeError as error:
            self.world.violations.append(f"the run came to a halt: {error}")
        finally:
            close(loop)
        world = self.world
        return Outcome(self.seed, world.violations, world.events, self.book.deliveries, self.book.relayed, self.faults)

    async def _run(self) -> None:
        world = self.world
        for site in world.sites.values():
            await site.start()
        busy = [
            asyncio.create_task(self._repeat(0.15, self._ask)),
            asyncio.create_task(self._repeat(2.0, self._break_something)),
            asyncio.create_task(self._repeat(0.5, self._look)),
        ]
        await asyncio.sleep(BUSY_S)
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)
        world.breakpoints.clear()
        await self._heal()
        await self._look()
        for road in world.roads:
            self.book.check_reuse(frozenset(road.ends))
        self.book.check_relayed()
        for site in world.sites.values():
            if site.running:
                self.book.check_lifetimes(site)
                await site.relay.stop()
                due = erasable(site)
                await site.stop()
                self.book.check_erased(site, due)

    async def _repeat(self, mean_s: float, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / mean_s))
            await what()

    async def _look(self) -> None:
        for site in self.world.sites.values():
            if site.running:
                self.book.check_site(site)

    # --- applications ---------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        chance, world = self.chance, self.world
        master = chance.choice(list(world.homes))
        site = world.sites[world.homes[master]]
        others = [other for other in world.sites if other != site.here]
        peers = others if chance.random() < 0.3 else [chance.choice(others)]  # slaves at several sites, now and then
        there = [sae for sae, home in world.homes.items() if home in peers]
        slaves = tuple(chance.sample(there, chance.randint(1, len(there))))
        name = self._name() if chance.random() < 0.5 else None
        request = KeyRequest(chance.randint(1, 4), chance.choice((64, 128, 256, 1024)), slaves[1:], name=name)
        self._send_master(master, slaves, request)
        if name is not None:  # a lost answer is asked for again; so is one that came, now and then
            world.loop.call_later(chance.expovariate(2.0), self._send_master, master, slaves, request)

    def _name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def _send_master(self, master: SaeId, slaves: tuple[SaeId, ...], request: KeyRequest) -> None:
        site = self.world.sites[self.world.homes[master]]
        if site.running:
            site.spawn(self._master(site, master, slaves, request))

    async def _master(self, site: SimulatedSite, master: SaeId, slaves: tuple[SaeId, ...], request: KeyRequest) -> None:
        try:
            keys = await site.key_server.get_key(master, slaves[0], request)
        except Unavailable as error:
            self.world.log(site.here, "refused", f"{master}: {error}")
            return
        assert request.size is not None
        if self.book.asked(keys, request.number, request.size, master, slaves, request.name):
            return
        key_ids = tuple(key.key_id for key in keys)
        for slave in slaves:
            if self.chance.random() < 0.9:
                self.world.loop.call_later(
                    self.chance.expovariate(1.0),
                    self._send_slave,
                    slave,
                    master,
                    key_ids,
                    not_named(self.world, slaves),
                )

    def _send_slave(self, slave: SaeId, master: SaeId, key_ids: tuple[KeyId, ...], stranger: SaeId | None) -> None:
        site = self.world.sites[self.world.homes[slave]]
        if not site.running:
            self.world.loop.call_later(1.0, self._send_slave, slave, master, key_ids, stranger)
            return
        name = self._name() if self.chance.random() < 0.5 else None
        for _ in range(1 if name is None else self.chance.randint(1, 3)):
            site.spawn(self._slave(site, slave, master, key_ids, name))
        if stranger is not None and self.chance.random() < 0.1:
            site.spawn(self._slave(site, stranger, master, key_ids))
        if self.chance.random() < 0.1:
            site.spawn(self._slave(site, slave, master, key_ids[:1]))  # asks twice: is served once

    async def _slave(
        self, site: SimulatedSite, slave: SaeId, master: SaeId, key_ids: tuple[KeyId, ...], name: str | None = None
    ) -> None:
        for _ in range(5):
            try:
                keys = await site.key_server.get_key_with_ids(slave, master, KeyIdsRequest(key_ids, name))
            except Unavailable:
                await asyncio.sleep(0.5)
            except QssError as error:
                self.world.log(site.here, "refused", f"{slave}: {error}")
                return
            else:
                self.book.fetched(keys, key_ids, slave, name)
                return

    # --- faults ---------------------------------------------------------------------------------------------------

    async def _break_something(self) -> None:
        self.faults += 1
        site = self.chance.choice(list(self.world.sites.values()))
        road = self.chance.choice(self.world.roads)
        fault = self.chance.choice(
            (
                lambda: self._crash(site),
                lambda: self._crash(site),
                lambda: self._cut(road),
                lambda: self._cut(road),
                self._cut_far,
                lambda: self._partition(road),
                lambda: self._freeze(road),
                lambda: self._end_session(road),
                lambda: self._lose_module(road),
                lambda: self._lose_module(road),
                lambda: self._fill_disk(site),
                lambda: self._jump(site),
                lambda: self._recall(site),
                lambda: self._damage(site),
                lambda: self._back_up(site),
                lambda: self._back_up(site),
                lambda: self._restore(site),
            )
        )
        self.world.at_step(self.chance.randint(1, 200), fault)

    async def _crash(self, site: SimulatedSite) -> None:
        await site.crash(synced=self.chance.random() < 0.5)
        self.world.loop.call_later(self.chance.expovariate(1.0), self._start_later, site)

    def _start_later(self, site: SimulatedSite) -> None:
        if not site.running:
            self.world.at_step(1, site.start)

    async def _cut(self, road: Road) -> None:
        self.world.log("-".join(road.ends), "cut")
        for connection in road.connections:
            connection.cut()

    async def _cut_far(self) -> None:
        self.world.log("----", "cut", "all connections of far sites")
        self.world.cut_far()

    async def _partition(self, road: Road) -> None:
        road.closed_until = self.world.loop.time() + self.chance.uniform(0.5, 8.0)
        await self._cut(road)

    async def _freeze(self, road: Road) -> None:
        self.world.log("-".join(road.ends), "freeze")
        for connection in road.connections:
            connection.freeze()
            self.world.loop.call_later(self.chance.uniform(5.0, 6.7), connection.cut, "the other end was silent")

    async def _end_session(self, road: Road) -> None:
        self.world.log("-".join(road.ends), "session ends")
        self.chance.choice(road.channels).break_session()

    async def _lose_module(self, road: Road) -> None:
        """A module vanishes at one end, or its site takes it for vanished; and comes back."""
        here, peer = self.chance.sample(road.ends, 2)
        site, channel = self.world.sites[here], self.chance.choice(road.channels)
        site.detach(peer, channel, gone=self.chance.random() < 0.5)
        self.world.loop.call_later(self.chance.expovariate(0.3), site.attach, peer, channel)

    async def _fill_disk(self, site: SimulatedSite) -> None:
        self.world.log(site.here, "disk full")
        site.disk.full = True
        self.world.loop.call_later(self.chance.expovariate(0.5), self._make_room, site)

    def _make_room(self, site: SimulatedSite) -> None:
        self.world.log(site.here, "disk has room")
        site.disk.full = False

    async def _jump(self, site: SimulatedSite) -> None:
        self._may_forget(site)
        site.wall_offset += self.chance.choice((-86_400.0, -5.0, 5.0, 86_400.0))
        self.world.log(site.here, "clock", f"{site.wall_offset:+g} s")

    async def _recall(self, site: SimulatedSite) -> None:
        """An administrator has keys burned that were not fetched yet."""
        if not site.running:
            return
        for each in self.world.sites.values():
            self._may_forget(each)
        scope = Scope(sae=self.chance.choice([None, *self.world.homes]))
        self.world.log(site.here, "recall", str(scope))
        site.spawn(self._recall_at(site, self.chance.choice(site.neighbours), scope))

    async def _recall_at(self, site: SimulatedSite, peer: QksId, scope: Scope) -> None:
        try:
            bits = await site.site.links[peer].asks.recall(scope)
        except Unavailable as error:
            self.world.log(site.here, "recall failed", str(error))
        else:
            self.world.log(site.here, "recalled", f"{bits} bits")

    async def _damage(self, site: SimulatedSite) -> None:
        """A bit flips on the disk."""
        if not site.disk.blocks:
            return
        site.damaged = True
        self._may_forget(site)
        place = self.chance.choice(list(site.disk.blocks))
        block = site.disk.blocks[place]
        flipped = bytes([block.sealed[-1] ^ 1])
        site.disk.blocks[place] = replace(block, sealed=block.sealed[:-1] + flipped)
        self.world.log(site.here, "bit flips", f"at {block.start} of {block.stream}")

    def _may_forget(self, site: SimulatedSite) -> None:
        site.forgot_at = self.world.loop.time()

    async def _back_up(self, site: SimulatedSite) -> None:
        self.backups[site.here] = self.world.backup(site.here)
        self.world.log(site.here, "back-up", f"commit {self.backups[site.here].commit_number}")

    async def _restore(self, site: SimulatedSite) -> None:
        """Put a back-up in the place of a site's disk, as it is or by `qss restore`: the anchor stays, or is lost."""
        backup = self.backups.get(site.here)
        lost, marked = self.chance.random() < 0.5, self.chance.random() < 0.5
        # The anchor may lag by a second: a copy that is as young cannot be told from the disk itself, if unmarked.
        if backup is None or not (lost or marked or backup.commit_number < (site.anchor.number or 0)):
            return
        await site.crash()
        for each in self.world.sites.values():
            self._may_forget(each)
        self.world.log(
            site.here,
            "restore",
            f"commit {backup.commit_number}, {'marked' if marked else 'as it is'}, anchor {'lost' if lost else 'kept'}",
        )
        site.disk = backup
        self.backups[site.here] = self.world.backup(site.here)
        if marked:
            _mark_restored(site.disk, self.chance.randbytes(INCARNATION_ENTROPY_BYTES))
        if lost:
            site.anchor.number = None
        self.world.loop.call_later(self.chance.expovariate(1.0), self._start_later, site)

    # --- the end --------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """Mend everything; then every pair of sites gets keys again, over repeaters too."""
        world = self.world
        world.log("----", "all is mended")
        world.weather, world.in_order = (lambda: (0.001,)), True
        for road in world.roads:
            road.closed_until = 0.0
            for here, peer in (road.ends, road.ends[::-1]):
                for channel in road.channels:
                    world.sites[here].attach(peer, channel)
            await self._cut(road)
        await self._cut_far()
        for site in world.sites.values():
            site.disk.full = False
            if not site.running:
                await site.start()
        deadline = world.loop.time() + HEALING_S
        for road in world.roads:
            for here, there in (road.ends, road.ends[::-1]):
                await self._must_work(here, there, deadline)
            for channel in road.channels:
                await self._must_be_filled(road, channel.pair, deadline)
        for here, there in permutations(world.sites, 2):
            if not world.are_neighbours(here, there):
                await self._must_work(here, there, world.loop.time() + HEALING_S)
        await asyncio.sleep(8.0)  # erasures, also those that a full disk has put off

    async def _must_work(self, here: QksId, there: QksId, deadline: float) -> None:
        world = self.world
        master = next(sae for sae, home in world.homes.items() if home == here)
        slave = next(sae for sae, home in world.homes.items() if home == there)
        reason: object = "nothing was tried"
        while world.loop.time() < deadline:
            for site in world.sites.values():
                if not site.running:
                    await site.start()
            try:
                asking = world.sites[here].key_server.get_key(master, slave, KeyRequest(1, 128))
                keys = await _by(world.sites[here], asking)
                self.book.asked(keys, 1, 128, master, (slave,))
                fetching = world.sites[there].key_server.get_key_with_ids(
                    slave, master, KeyIdsRequest((keys[0].key_id,))
                )
                fetched = await _by(world.sites[there], fetching)
                self.book.fetched(fetched, (keys[0].key_id,), slave)
            except QssError as error:
                reason = error
                await asyncio.sleep(0.5)
            else:
                return
        world.violations.append(f"{here} and {there} do not work again: {reason}")

    async def _must_be_filled(self, road: Road, pair: PairId, deadline: float) -> None:
        """Both ends come to agree on a stream of this pair."""
        one, other = (self.world.sites[here].site.links[there].core for here, there in (road.ends, road.ends[::-1]))
        while (stream := one.open_stream(pair)) is None or stream != other.open_stream(pair):
            if self.world.loop.time() > deadline:
                self.world.violations.append(f"{'-'.join(road.ends)} has no key stream of {pair}")
                return
            await asyncio.sleep(0.5)
            one, other = (self.world.sites[here].site.links[there].core for here, there in (road.ends, road.ends[::-1]))


async def _by[T](site: SimulatedSite, work: Coroutine[Any, Any, T]) -> T:
    """Have a site's process do something. Raises `Unavailable` if it crashes meanwhile."""
    task = site.spawn(work)
    await asyncio.wait({task})
    if task.cancelled():
        raise Unavailable("the site has crashed")
    return cast("T", task.result())


def not_named(world: World, slaves: tuple[SaeId, ...]) -> SaeId | None:
    """Return an application at the slaves' site that is not among them."""
    return next(
        (sae for sae, home in world.homes.items() if home == world.homes[slaves[0]] and sae not in slaves), None
    )


def _mark_restored(disk: SimulatedDisk, entropy: bytes) -> None:
    """What `qss backup` and `qss restore` do to a ledger on its way: it is without key, and marked to be burned."""
    disk.blocks.clear()
    disk.answers.clear()
    links = {record.peer for record in disk.streams.values()} | disk.peers.keys()
    disk.peers |= {peer: replace(disk.peers.get(peer, PeerRecord(peer)), must_burn=True) for peer in links}
    disk.incarnation = next_incarnation(disk.incarnation, entropy)
    disk.commit_number += 1


def close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop, with all that is under way on it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.close()
