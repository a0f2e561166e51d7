"""The device's channel inside Sync: frames in order, within the window, until the stream ends."""

from __future__ import annotations

import asyncio

import pytest

from qss.model.errors import ConnectionLost, LocalProtocolError
from qss.runtime.module.channel import SyncChannel
from qss.wire.sync import MAX_DEVICE_FRAME_BYTES
from support.virtual_time import in_virtual_time, settled


class Window:
    """Stands for the core: says whether a frame may be sent, and notes what is sent and taken."""

    def __init__(self, credit=100):
        self.credit = credit
        self.sent = []
        self.taken = 0
        self.channel = SyncChannel(lambda: self.credit > 0, self._send, self._take)

    def _send(self, frame):
        self.credit -= 1
        self.sent.append(frame)

    def _take(self):
        self.taken += 1


@in_virtual_time
async def test_frames_come_in_order_and_are_counted_as_they_are_taken():
    window = Window()
    receiving = asyncio.create_task(window.channel.receive())
    await settled()
    assert not receiving.done()
    for frame in (b"1", b"2", b"3"):
        window.channel.put(frame)
    assert window.taken == 0
    assert await receiving == b"1"
    assert window.taken == 1
    assert [await window.channel.receive(), await window.channel.receive()] == [b"2", b"3"]
    assert window.taken == 3


@in_virtual_time
async def test_sending_waits_for_credit():
    window = Window(credit=2)
    await window.channel.send(b"1")
    await window.channel.send(b"2")
    sending = [asyncio.create_task(window.channel.send(frame)) for frame in (b"3", b"4")]
    window.channel.wake()  # for nothing
    await settled()
    assert window.sent == [b"1", b"2"]
    window.credit = 1
    window.channel.wake()
    await settled()
    assert window.sent == [b"1", b"2", b"3"]
    window.credit = 1
    window.channel.wake()
    await asyncio.gather(*sending)
    assert window.sent == [b"1", b"2", b"3", b"4"]


@in_virtual_time
async def test_a_sender_that_is_cancelled_has_sent_nothing():
    window = Window(credit=0)
    sending = asyncio.create_task(window.channel.send(b"1"))
    await settled()
    window.credit = 1
    window.channel.wake()
    sending.cancel()
    await asyncio.wait([sending])
    assert window.sent == []
    await window.channel.send(b"2")
    assert window.sent == [b"2"]


@in_virtual_time
async def test_the_end_wakes_those_who_wait_and_destroys_what_waits():
    window = Window(credit=0)
    waiting = [asyncio.create_task(window.channel.send(b"1")), asyncio.create_task(window.channel.receive())]
    await settled()
    window.channel.put(b"late")
    window.channel.end()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionLost, ConnectionLost]
    assert (window.sent, window.taken) == ([], 0)


@in_virtual_time
async def test_after_the_end_nothing_is_sent_or_received():
    window = Window()
    window.channel.end()
    window.channel.put(b"late")
    with pytest.raises(ConnectionLost, match="has ended"):
        await window.channel.receive()
    with pytest.raises(ConnectionLost, match="has ended"):
        await window.channel.send(b"1")
    assert (window.sent, window.taken) == ([], 0)


@in_virtual_time
async def test_a_frame_has_a_limit():
    window = Window()
    await window.channel.send(bytes(MAX_DEVICE_FRAME_BYTES))
    with pytest.raises(LocalProtocolError, match="split it"):
        await window.channel.send(bytes(MAX_DEVICE_FRAME_BYTES + 1))
    assert len(window.sent) == 1
