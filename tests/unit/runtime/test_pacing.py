"""Whoever sends without end is read no faster than its share of the loop's time allows."""

from __future__ import annotations

import asyncio

import pytest

from qss.runtime.pacing import AT_ONCE_S, SHARE, Pace, Paced
from support.scripted_connection import ScriptedConnection
from support.virtual_time import in_virtual_time


class Work:
    """A clock that goes with the loop's, and on while a frame is worked on."""

    def __init__(self):
        self.worked = 0.0

    def __call__(self):
        return asyncio.get_running_loop().time() + self.worked

    def on_a_frame(self, pace, seconds):
        with pace.taking():
            self.worked += seconds


@in_virtual_time
async def test_a_flood_gets_its_share_of_the_time_and_no_more():
    work = Work()
    pace = Pace(work)
    connection = ScriptedConnection()
    paced = Paced(connection, pace)
    connection.put(*[b"frame"] * 1000)
    began = work()
    for _ in range(1000):
        await paced.receive()
        work.on_a_frame(pace, 0.02)
    assert 1000 * 0.02 / (work() - began) == pytest.approx(SHARE, abs=0.01)


@in_virtual_time
async def test_what_comes_now_and_then_is_read_at_once():
    work = Work()
    pace = Pace(work)
    connection = ScriptedConnection()
    paced = Paced(connection, pace)
    for _ in range(100):
        connection.put(*[b"frame"] * 4)
        before = asyncio.get_running_loop().time()
        for _ in range(4):
            await paced.receive()
            work.on_a_frame(pace, AT_ONCE_S / 4)
        assert asyncio.get_running_loop().time() == before
        await asyncio.sleep(1)


@in_virtual_time
async def test_work_that_fails_is_counted_too():
    work = Work()
    pace = Pace(work)
    with pytest.raises(ValueError, match="garbage"), pace.taking():  # noqa: PT012
        work.worked += 1
        raise ValueError("garbage")
    assert pace.excess_s() == pytest.approx((1 - AT_ONCE_S) / SHARE)


@in_virtual_time
async def test_all_else_is_the_connections():
    connection = ScriptedConnection()
    paced = Paced(connection, Pace(Work()))
    await paced.send(b"frame")
    await paced.close()
    assert (connection.sent, connection.closed) == ([b"frame"], True)
    assert (paced.peer, paced.security, paced.address) == (connection.peer, "scripted", "192.0.2.1")
