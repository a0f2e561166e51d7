"""Messages to the peer: gathered, in order, bounded by weight, and a heartbeat when there are none."""

from __future__ import annotations

import asyncio

import pytest

from qss.model.errors import ConnectionLost
from qss.runtime.outbox import Outbox
from support.scripted_connection import ScriptedConnection
from support.virtual_time import in_virtual_time, settled


def joined(messages):
    """One frame of all messages; a heartbeat without any."""
    return [b"+".join(messages) or b"heartbeat"]


async def ended(task):
    task.cancel()
    await asyncio.wait([task])


@in_virtual_time
async def test_what_gathers_while_a_frame_is_under_way_travels_in_the_next_one_and_in_order():
    connection = ScriptedConnection()
    connection.takes.clear()
    outbox = Outbox(connection, joined, 100)
    sending = asyncio.create_task(outbox.run())
    outbox.put([b"1"])
    await settled()
    outbox.put([b"2", b"3"])
    outbox.put([b"4"])
    await settled()
    assert connection.sent == []
    connection.takes.set()
    await settled()
    assert connection.sent == [b"1", b"2+3+4"]
    await ended(sending)


@in_virtual_time
async def test_several_frames_of_one_run_leave_in_order():
    connection = ScriptedConnection()
    outbox = Outbox(connection, list, 100)
    sending = asyncio.create_task(outbox.run())
    outbox.put([b"1", b"2", b"3"])
    await settled()
    assert connection.sent == [b"1", b"2", b"3"]
    await ended(sending)


def test_what_waits_is_bounded_by_its_weight_and_not_by_its_number():
    outbox = Outbox(ScriptedConnection(), joined, 10, len)
    outbox.put([b"four", b"five"])
    outbox.put([b"", b"", b"", b"1", b"2"])
    with pytest.raises(ConnectionLost, match="does not take"):
        outbox.put([b"x"])
    with pytest.raises(ConnectionLost):
        outbox.put([])  # once is for ever: the connection ends


def test_without_a_weight_messages_are_counted():
    outbox = Outbox(ScriptedConnection(), joined, 3)
    outbox.put([b"a long one", b"another long one", b"a third"])
    with pytest.raises(ConnectionLost):
        outbox.put([b""])


@in_virtual_time
async def test_a_frame_under_way_makes_room_for_what_follows():
    connection = ScriptedConnection()
    connection.takes.clear()
    outbox = Outbox(connection, joined, 2)
    sending = asyncio.create_task(outbox.run())
    outbox.put([b"1", b"2"])
    await settled()
    outbox.put([b"3", b"4"])
    with pytest.raises(ConnectionLost):
        outbox.put([b"5"])
    connection.takes.set()
    await settled()
    assert connection.sent == [b"1+2", b"3+4"]  # what was refused does not travel
    await ended(sending)


@in_virtual_time
async def test_a_heartbeat_follows_silence_and_nothing_else():
    connection = ScriptedConnection()
    outbox = Outbox(connection, joined, 100, heartbeat_s=1.0)
    sending = asyncio.create_task(outbox.run())
    await asyncio.sleep(0.9)
    outbox.put([b"1"])
    await asyncio.sleep(0.9)
    assert connection.sent == [b"1"]
    await asyncio.sleep(0.2)
    assert connection.sent == [b"1", b"heartbeat"]
    await asyncio.sleep(3)
    assert connection.sent == [b"1"] + 4 * [b"heartbeat"]
    await ended(sending)


@in_virtual_time
async def test_without_a_heartbeat_silence_is_silence():
    connection = ScriptedConnection()
    sending = asyncio.create_task(Outbox(connection, joined, 100).run())
    await asyncio.sleep(1000)
    assert connection.sent == []
    await ended(sending)


@in_virtual_time
async def test_heartbeats_do_not_gather_while_the_peer_takes_nothing():
    connection = ScriptedConnection()
    connection.takes.clear()
    sending = asyncio.create_task(Outbox(connection, joined, 100, heartbeat_s=1.0).run())
    await asyncio.sleep(100)
    connection.takes.set()
    await settled()
    assert connection.sent == [b"heartbeat"]
    await ended(sending)


@in_virtual_time
async def test_frames_that_are_made_of_no_messages_may_be_none():
    connection = ScriptedConnection()
    sending = asyncio.create_task(Outbox(connection, list, 100, heartbeat_s=1.0).run())
    await asyncio.sleep(10)
    assert connection.sent == []
    await ended(sending)


@in_virtual_time
async def test_a_send_that_raises_ends_it():
    connection = ScriptedConnection()
    connection.fails = ConnectionLost("it was cut")
    outbox = Outbox(connection, joined, 100)
    outbox.put([b"1"])
    with pytest.raises(ConnectionLost, match="it was cut"):
        await outbox.run()
