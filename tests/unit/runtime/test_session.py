"""A peer's connections, one at a time, whatever happens to them and to those who serve them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import structlog
from structlog.testing import capture_logs

from qss.model.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from qss.runtime.outbox import Outbox
from qss.runtime.session import TOLD_LINES, Session
from support.scripted_connection import ScriptedConnection
from support.virtual_time import in_virtual_time, settled


class Owner:
    """Owns a session, and notes what it is told."""

    def __init__(self, frames=list, max_waiting=10):
        self.told = []
        self.defects = []
        self.on_frame = lambda frame: None
        self.session = Session[bytes](
            lambda connection: Outbox(connection, frames, max_waiting),
            lambda: self.told.append("connected"),
            self._received,
            self.told.append,
            self.defects.append,
            structlog.get_logger(),
        )

    def _received(self, frame):
        self.told.append(frame)
        self.on_frame(frame)

    def serve(self, connection):
        return asyncio.create_task(self.session.serve(connection))

    @property
    def begins(self):
        return self.told.count("connected")


CLOSED = "this end closed the connection"


@in_virtual_time
async def test_frames_come_in_order_and_each_end_is_told_once():
    owner = Owner()
    a = ScriptedConnection()
    a.put(b"1", b"2", b"3", ConnectionLost("it was cut"))
    await owner.session.serve(a)
    assert owner.told == ["connected", b"1", b"2", b"3", "it was cut"]
    assert a.closed
    assert owner.session.security is None


@in_virtual_time
async def test_messages_are_sent_on_the_connection_that_stands_and_lost_without_one():
    owner = Owner()
    owner.session.send((b"too early",))
    a, b = ScriptedConnection(), ScriptedConnection()
    serving = owner.serve(a)
    await settled()
    assert owner.session.security == "scripted"
    owner.session.send((b"1", b"2"))
    await settled()
    a.put(ConnectionLost("it was cut"))
    await serving
    owner.session.send((b"between",))
    serving = owner.serve(b)
    await settled()
    owner.session.send((b"3",))
    await settled()
    await owner.session.stop()
    await serving
    assert (a.sent, b.sent) == ([b"1", b"2"], [b"3"])


# --- one at a time ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_newer_connection_takes_the_older_ones_place_once_that_has_ended():
    owner = Owner()
    a, b = ScriptedConnection(closing_s=2), ScriptedConnection()
    older = owner.serve(a)
    await settled()
    newer = owner.serve(b)
    await asyncio.sleep(1)
    assert a.closed
    assert owner.told == ["connected", CLOSED]  # b waits until nothing is left of a
    await asyncio.sleep(2)
    assert older.done()
    assert owner.told == ["connected", CLOSED, "connected"]
    await owner.session.end()
    await newer


@in_virtual_time
async def test_a_newer_connection_from_another_address_is_warned_of():
    owner = Owner()
    with capture_logs() as logs:
        connections = [ScriptedConnection(address=address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.7")]
        for connection in connections:
            serving = owner.serve(connection)
            await settled()
        await owner.session.end()
        await serving
        serving = owner.serve(ScriptedConnection(address="192.0.2.1"))  # nothing stands in its place
        await settled()
    (warned,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warned["standing"], warned["address"]) == ("192.0.2.1", "192.0.2.7")
    assert "two processes claim to be that neighbour" in warned["remedy"]
    begun = [entry["address"] for entry in logs if entry["event"] == "connected"]
    assert begun == ["192.0.2.1", "192.0.2.1", "192.0.2.7", "192.0.2.1"]
    await owner.session.end()
    await serving


@in_virtual_time
async def test_of_several_that_wait_the_newest_alone_is_served():
    owner = Owner()
    connections = [ScriptedConnection(closing_s=2) for _ in range(5)]
    tasks = []
    for connection in connections:
        tasks.append(owner.serve(connection))
        await asyncio.sleep(0.25)
    await asyncio.sleep(5)
    assert owner.told == ["connected", CLOSED, "connected"]
    assert [connection.closed for connection in connections] == [True, True, True, True, False]
    assert [task.done() for task in tasks] == [True, True, True, True, False]
    await owner.session.stop()
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_of_many_at_the_same_moment_the_last_is_served():
    owner = Owner()
    connections = [ScriptedConnection() for _ in range(20)]
    tasks = [owner.serve(connection) for connection in connections]
    await asyncio.sleep(1)
    assert [connection.closed for connection in connections] == 19 * [True] + [False]
    assert owner.begins == len(owner.told) - owner.begins + 1
    await owner.session.stop()
    await asyncio.gather(*tasks)


# --- those who serve are cancelled ----------------------------------------------------------------------------------


async def cancelled_while(moment: float, steps: int) -> Owner:
    """Cancel the third connection's serving at this moment, after so many steps of the loop; return who is left.

    From 2.0 it waits for the second one's closing, from 4.0 for the first one's; from 5.0 it is served, from 6.0 its
    closing is waited for, until 8.0.
    """
    owner = Owner()
    a, b, c = ScriptedConnection(closing_s=4), ScriptedConnection(closing_s=2), ScriptedConnection(closing_s=2)
    loop = asyncio.get_running_loop()
    loop.call_at(6, c.put, ConnectionLost("it was cut"))
    tasks = [owner.serve(a)]
    await asyncio.sleep(1)
    tasks.append(owner.serve(b))
    await asyncio.sleep(1)
    tasks.append(owner.serve(c))
    await asyncio.sleep(moment - loop.time())
    for _ in range(steps):
        await asyncio.sleep(0)
    tasks[2].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[2]
    await asyncio.gather(*tasks[:2])
    if moment != 5:  # at that moment either may be first
        assert owner.begins == 1 + (moment > 5)
    assert c.closed or owner.begins == 1  # what was never served, its owner closes
    return owner


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("moment", [2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0])
@in_virtual_time
async def test_a_cancel_at_any_await_leaves_nothing_behind(moment, steps):
    owner = await cancelled_while(moment, steps)
    assert owner.session.security is None
    await owner.session.end()  # returns: nothing is served
    ends = [told for told in owner.told if told != "connected"]
    assert len(ends) == owner.begins
    assert not owner.defects
    following = ScriptedConnection()
    serving = owner.serve(following)
    await asyncio.sleep(3)
    owner.session.send((b"hello",))
    await settled()
    assert following.sent == [b"hello"]
    await owner.session.stop()
    await serving


# --- what goes wrong ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_the_peer_does_wrong_ends_its_connection_and_is_no_defect():
    owner = Owner()

    def refuse(frame):
        raise RemoteProtocolError(f"no {frame.decode()} now")

    owner.on_frame = refuse
    a = ScriptedConnection()
    a.put(b"hello", b"more")
    await owner.session.serve(a)
    assert owner.told == ["connected", b"hello", "no hello now"]
    assert a.closed
    assert not owner.defects


@in_virtual_time
async def test_what_this_end_does_wrong_with_a_frame_reaches_whoever_serves_and_is_told_as_an_end():
    owner = Owner()
    owner.on_frame = lambda frame: 1 / 0
    a = ScriptedConnection()
    a.put(b"hello")
    with pytest.raises(ZeroDivisionError):
        await owner.session.serve(a)
    assert len(owner.told) == 3
    assert a.closed
    assert owner.session.security is None
    await owner.session.end()


@in_virtual_time
async def test_an_owner_that_fails_at_the_end_does_not_block_the_next_connection():
    owner = Owner()
    owner.session._disconnected = lambda reason: 1 / 0
    a = ScriptedConnection()
    a.put(ConnectionLost("it was cut"))
    with pytest.raises(ZeroDivisionError):
        await owner.session.serve(a)
    await owner.session.end()
    b = ScriptedConnection()
    owner.session._disconnected = owner.told.append
    serving = owner.serve(b)
    await settled()
    assert owner.begins == 2
    await owner.session.stop()
    await serving


@in_virtual_time
async def test_a_sender_that_loses_the_connection_ends_it():
    owner = Owner()
    a = ScriptedConnection()
    a.fails = ConnectionLost("the other end is gone")
    serving = owner.serve(a)
    await settled()
    owner.session.send((b"1",))
    await serving
    assert owner.told == ["connected", CLOSED]
    assert not owner.defects


@in_virtual_time
async def test_what_cannot_be_encoded_ends_the_connection_and_is_logged():
    def refuse(messages):
        raise LocalProtocolError("too much for one frame")

    owner = Owner(refuse)
    a = ScriptedConnection()
    with capture_logs() as logs:
        serving = owner.serve(a)
        await settled()
        owner.session.send((b"1",))
        await serving
    assert [log["reason"] for log in logs if log["event"] == "cannot send"] == ["too much for one frame"]
    assert a.closed


@in_virtual_time
async def test_a_defect_of_the_sender_is_reported():
    owner = Owner(lambda messages: 1 / 0)
    a = ScriptedConnection()
    serving = owner.serve(a)
    await settled()
    owner.session.send((b"1",))
    await settled()
    assert [type(defect) for defect in owner.defects] == [ZeroDivisionError]
    await owner.session.end()
    await serving


@in_virtual_time
async def test_a_peer_that_takes_nothing_is_disconnected_once_too_much_waits():
    owner = Owner(max_waiting=3)
    a = ScriptedConnection()
    a.takes.clear()
    with capture_logs() as logs:
        serving = owner.serve(a)
        await settled()
        owner.session.send((b"under way",))
        await settled()
        owner.session.send((b"1", b"2", b"3"))
        await settled()
        assert not a.closed
        owner.session.send((b"4",))
        await serving
    assert [log["reason"] for log in logs if log["event"] == "disconnecting"] == [
        "the peer does not take what it is sent"
    ]
    assert owner.told == ["connected", CLOSED]


@in_virtual_time
async def test_disconnecting_ends_the_connection_soon_and_without_one_does_nothing():
    owner = Owner()
    owner.session.disconnect("it has none")
    a = ScriptedConnection(closing_s=1)
    serving = owner.serve(a)
    await settled()
    owner.session.disconnect("it broke the protocol")
    assert not serving.done()
    await serving
    assert owner.told == ["connected", CLOSED]


# --- stopping -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_stopping_waits_until_nothing_is_left_and_can_be_repeated():
    owner = Owner()
    await Owner().session.stop()
    a = ScriptedConnection(closing_s=3)
    serving = owner.serve(a)
    await settled()
    await asyncio.gather(owner.session.stop(), owner.session.stop())
    assert asyncio.get_running_loop().time() >= 3
    assert owner.told == ["connected", CLOSED]
    await owner.session.stop()
    await serving


@in_virtual_time
async def test_a_stopped_session_closes_whatever_it_is_given():
    owner = Owner()
    await owner.session.stop()
    a = ScriptedConnection()
    await owner.session.serve(a)
    assert a.closed
    assert owner.told == []


@in_virtual_time
async def test_those_who_wait_while_it_stops_are_closed_and_not_served():
    owner = Owner()
    connections = [ScriptedConnection(closing_s=2) for _ in range(3)]
    tasks = []
    for connection in connections:
        tasks.append(owner.serve(connection))
        await asyncio.sleep(0.25)
    await owner.session.stop()
    await asyncio.gather(*tasks)
    assert owner.told == ["connected", CLOSED]
    assert all(connection.closed for connection in connections)


@in_virtual_time
async def test_after_an_end_the_next_connection_is_served():
    owner = Owner()
    await owner.session.end()
    first = owner.serve(ScriptedConnection())
    await settled()
    await owner.session.end()
    await first
    second = owner.serve(ScriptedConnection())
    await settled()
    assert owner.begins == 2
    await owner.session.stop()
    await second


@in_virtual_time
async def test_a_peer_that_comes_and_goes_is_a_few_lines_a_minute():
    owner = Owner()
    with capture_logs() as logs:
        for _ in range(50):
            connection = ScriptedConnection()
            connection.put(ConnectionLost("it was cut"))
            await owner.session.serve(connection)
    told = [log["event"] for log in logs]
    assert told == ["connected", "disconnected"] * TOLD_LINES
