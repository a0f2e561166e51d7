"""A simulated connection keeps the order of its frames, as one of TLS does, unless it is told not to."""

from __future__ import annotations

import asyncio
import random

from qss.model.identifiers import QksId
from qss.simulation.network import SimulatedConnection
from support.virtual_time import in_virtual_time

A, B = QksId("A"), QksId("B")


async def received(seed: int, *, in_order: bool) -> list[int]:
    chance = random.Random(seed)
    here, there = SimulatedConnection.pair(A, B, lambda: (chance.expovariate(5.0),), in_order=in_order)
    for number in range(50):
        await here.send(bytes([number]))
    return [(await there.receive())[0] for _ in range(50)]


@in_virtual_time
async def test_frames_that_wait_for_a_slow_one_arrive_behind_it_in_their_order():
    for seed in range(20):
        assert await received(seed, in_order=True) == list(range(50))


@in_virtual_time
async def test_an_unruly_network_lets_frames_overtake():
    got = await asyncio.gather(*(received(seed, in_order=False) for seed in range(3)))
    assert all(sorted(each) == list(range(50)) != each for each in got)
