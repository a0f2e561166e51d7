"""Nodes that end as in a power failure (kill -9), between reservation and delivery and under load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import batched

import pytest

from qss.cli.demo.network import HOMES
from qss.client import Client, KeyServerRefused, KeyServerUnreachable
from qss.model.errors import QssError
from qss.model.identifiers import KeyId, QksId, SaeId
from qss.model.keys import Key
from support.network import ALICE, BOB, PATIENCE_S, A, B, RunningNetwork, repeated_bytes, running_network

NOT_FOUND = "one or more keys specified are not found on KME"
KILLS = [(A,), (B,), (A, B)] * 4
"""Which nodes are killed together, one round after the other."""

LOAD_S = 0.4
"""How long the load goes on before each kill, about."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    def fast(_: QksId, toml: str) -> str:
        return toml.replace("rate_bps = 400000", "rate_bps = 2000000").replace(
            "[external]\n", "[external]\nreply_timeout_s = 1\n"
        )

    with running_network(tmp_path_factory.mktemp("two"), (A, B), fast) as running:
        running.until_keys((ALICE, BOB), (BOB, ALICE))
        yield running


@pytest.mark.parametrize(("master", "slave"), [(ALICE, BOB), (BOB, ALICE)], ids=["owner", "not owner"])
@pytest.mark.parametrize("killed", ["slave's", "master's", "both"])
def test_a_reservation_outlives_its_sites(two: RunningNetwork, master: SaeId, slave: SaeId, killed: str) -> None:
    two.until_keys((master, slave))
    got = two.get(master, slave, 5)
    sites = {"slave's": [HOMES[slave]], "master's": [HOMES[master]], "both": [A, B]}[killed]
    two.kill(*sites)
    two.start(*sites)
    two.until_keys((master, slave))
    assert two.take(slave, master, got).keys == got
    for again in (two.take(slave, master, got), two.take(slave, master, list(got)[:1])):
        assert (again.status, again.message) == (400, NOT_FOUND)


class Load:
    """An application pair in both roles: one goes on asking for keys, the other takes some of them at once.

    Every outcome is noted on its own, without a look at what the key servers say of themselves.
    """

    def __init__(self, network: RunningNetwork, master: SaeId, slave: SaeId, seed: int) -> None:
        self.master, self.slave = master, slave
        self.got: dict[KeyId, bytes] = {}
        """What the master was given."""
        self.taken: dict[KeyId, bytes] = {}
        """What the slave was given."""
        self.unsure: set[KeyId] = set()
        """Asked for by the slave, who never got an answer: it may have been the one delivery."""
        self.refused = 0
        self._network = network
        self._random = random.Random(seed)
        self.clients = {sae: self._client(sae) for sae in (master, slave)}

    def _client(self, sae: SaeId) -> Client:
        network = self._network.network
        pair = network.pki.sae(sae)
        return Client(network.url(HOMES[sae]), pair.certificate, pair.key, network.pki.authority.certificate, timeout=3)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                keys = await self.clients[self.master].get_keys(
                    self.slave, self._random.randint(1, 8), self._random.choice([128, 192, 256])
                )
            except QssError:
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            self._give(self.got, keys)
            if self._random.random() < 0.7:
                await self.take([key.key_id for key in keys])

    async def take(self, key_ids: list[KeyId]) -> str:
        """Have the slave take keys; return what was said instead, or nothing."""
        first_asked = set(key_ids) - self.unsure
        self.unsure |= first_asked
        try:
            keys = await self.clients[self.slave].get_keys_with_ids(self.master, key_ids)
        except KeyServerRefused as refusal:
            self.unsure -= first_asked
            return refusal.message
        except KeyServerUnreachable:
            return "no answer"
        self.unsure.difference_update(key_ids)
        self._give(self.taken, keys)
        return ""

    def _give(self, store: dict[KeyId, bytes], keys: tuple[Key, ...]) -> None:
        self._network.note({str(key.key_id): key.material.reveal() for key in keys})
        for key in keys:
            assert key.key_id not in store, f"{key.key_id} was delivered twice to one application"
            store[key.key_id] = key.material.reveal()

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()


async def test_nothing_is_delivered_twice_or_differs_whoever_is_killed(two: RunningNetwork) -> None:
    loads = [Load(two, ALICE, BOB, 1), Load(two, BOB, ALICE, 2), Load(two, ALICE, BOB, 3), Load(two, BOB, ALICE, 4)]
    pause = random.Random(5)
    try:
        for sites in KILLS:
            async with under_way(loads) as asking:
                await until_all_got_more(loads, asking)
                await asyncio.sleep(pause.uniform(0, LOAD_S))
                await asyncio.to_thread(two.kill, *sites)
                await asyncio.to_thread(two.start, *sites)
                await asyncio.to_thread(two.until_ready, A, B)
        await asyncio.to_thread(two.until_keys, (ALICE, BOB), (BOB, ALICE), count=1)
        for load in loads:
            await take_the_rest(load)
    finally:
        for load in loads:
            await load.close()
    assert sum(load.refused for load in loads) > 0, "no kill was noticed: they all missed the load"
    everything = {
        str(key_id): key for load in loads for store in (load.got, load.taken) for key_id, key in store.items()
    }
    assert len(everything) > 500
    assert repeated_bytes(everything) == []
    must_agree(two)


@asynccontextmanager
async def under_way(loads: list[Load]) -> AsyncIterator[list[asyncio.Task[None]]]:
    asking = [asyncio.create_task(load.run()) for load in loads]
    try:
        yield asking
    finally:
        for task in asking:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def until_all_got_more(loads: list[Load], asking: list[asyncio.Task[None]]) -> None:
    before = [len(load.got) for load in loads]
    async with asyncio.timeout(PATIENCE_S):
        while any(len(load.got) <= count for load, count in zip(loads, before, strict=True)):
            assert not any(task.done() for task in asking)
            await asyncio.sleep(0.02)


async def take_the_rest(load: Load) -> None:
    """Take every key that the master has and the slave has not: it must be there, once."""
    rest = sorted(set(load.got) - set(load.taken))
    sure = [key_id for key_id in rest if key_id not in load.unsure]
    for some in batched(sure, 100):
        assert await load.take(list(some)) == ""
        assert await load.take(list(some)) == NOT_FOUND
    for key_id in load.unsure & set(rest):
        assert await load.take([key_id]) in ("", NOT_FOUND)
        assert await load.take([key_id]) == NOT_FOUND
    assert all(load.got[key_id] == key for key_id, key in load.taken.items())
    for key_id in random.Random(6).sample(sorted(load.taken), 20):
        assert await load.take([key_id]) == NOT_FOUND


def must_agree(network: RunningNetwork) -> None:
    """Both ends balance, know the same streams, and are equally far in each."""
    network.settled(A, B)
    at_a, at_b = (
        {stream["stream"]: stream for stream in network.streams(*ends) if stream["stream"] != "past"}
        for ends in ((A, B), (B, A))
    )
    assert at_a
    assert at_a.keys() == at_b.keys()
    for stream in at_a:
        here, there = at_a[stream], at_b[stream]
        used = here["ingested"] - here["available"] == there["ingested"] - there["available"]
        assert used or here["available"] == there["available"], (here, there)  # closed: the longer end burned the rest
