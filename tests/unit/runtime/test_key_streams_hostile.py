"""Another site that says anything while two sites come to a key stream: it ends its own connection, and no more."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from qss.core.keyserver.stream_register import MAX_STREAMS, MAX_WAITING_OF_SITE
from qss.model.errors import ConnectionLost, RemoteProtocolError, Unauthorised
from qss.model.identifiers import StreamId
from qss.wire import sync
from qss.wire.etsi004.messages import QoS
from qss.wire.stream_device import Keys, Want
from qss.wire.stream_device import encode as device_frame
from qss.wire.stream_meeting import Found, Join, Message, Offer, Reason, Refuse, Wait, decode, encode
from support.connections import MemoryConnection, memory_pair
from support.stream_sites import ALICE, ANN, CAROL, NAMED, StreamSites
from support.virtual_time import in_virtual_time, settled

OFFER = Offer(NAMED.value, CAROL, ALICE, 32, may_ask=True, may_be_asked=True)


async def said(connection: MemoryConnection) -> Message:
    async with asyncio.timeout(60):
        return decode(await connection.receive())


async def has_ended(connection: MemoryConnection) -> bool:
    try:
        async with asyncio.timeout(60):
            await connection.receive()
    except ConnectionLost:
        return True
    return False


# --- a site that dials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xc1",
        bytes(2000),
        encode(Join()),
        encode(Wait()),
        encode(Found(32, True)),
        encode(OFFER) + b"\0",
        sync.encode([sync.Open(NAMED.value, sync.End.RESPONDER, 32)]),
        msgspec.msgpack.encode(["offer", NAMED.value, CAROL, ALICE, 32, True]),
    ],
)
@in_virtual_time
async def test_what_is_no_offer_ends_the_connection(first: bytes) -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        connection = sites.connected()
        await connection.send(first)
        assert await has_ended(connection)
        assert [type(error) for error in sites.refused] == [RemoteProtocolError]
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 0


@in_virtual_time
async def test_who_says_nothing_is_given_up() -> None:
    async with StreamSites() as sites:
        connection = sites.connected()
        began = asyncio.get_running_loop().time()
        assert await has_ended(connection)
        assert asyncio.get_running_loop().time() - began == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("caller", ["A", "0"])
@in_virtual_time
async def test_a_site_that_is_to_be_dialled_is_refused(caller: str) -> None:
    async with StreamSites() as sites:
        connection = sites.connected(caller)
        assert await has_ended(connection)
        assert [type(error) for error in sites.refused] == [Unauthorised]


@in_virtual_time
async def test_another_site_meets_no_stream_of_these_two() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        connection = sites.connected("D")
        await connection.send(encode(OFFER))
        assert await said(connection) == Refuse(Reason.IN_USE)
        assert await has_ended(connection)
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 0


@pytest.mark.parametrize("spoken", [encode(Join()), encode(OFFER), b"\x00"])
@in_virtual_time
async def test_who_speaks_while_it_waits_is_cut_off_and_waits_no_more(spoken: bytes) -> None:
    async with StreamSites() as sites:
        connection = sites.connected()
        await connection.send(encode(OFFER))
        assert await said(connection) == Wait()
        await connection.send(spoken)
        assert await has_ended(connection)
        assert sites.a.streams._register.waiting == 0


@pytest.mark.parametrize(
    "spoken", [None, encode(OFFER), sync.encode([sync.Open(NAMED.value, sync.End.RESPONDER, 32)]), b""]
)
@in_virtual_time
async def test_who_does_not_join_leaves_the_stream_waiting(spoken: bytes | None) -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        connection = sites.connected()
        await connection.send(encode(OFFER))
        assert await said(connection) == Found(32, initiator_asks=True)
        if spoken is not None:
            await connection.send(spoken)
        assert await has_ended(connection)
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 0
        assert await sites.a.chunk(ALICE, NAMED, 0) == await sites.c.chunk(CAROL, NAMED, 0)


@in_virtual_time
async def test_of_two_that_join_one_meets_the_stream() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        both = [sites.connected() for _ in range(2)]
        for connection in both:
            await connection.send(encode(OFFER))
            assert await said(connection) == Found(32, initiator_asks=True)
        for connection in both:
            await connection.send(encode(Join()))
        await settled()
        ended = [connection for connection in both if not connection.waiting]
        (met,) = (connection for connection in both if connection.waiting)
        assert sync.decode(await met.receive()) == (sync.Open(NAMED.value, sync.End.INITIATOR, 32),)
        assert len(ended) == 1
        assert await has_ended(ended[0])
        assert sites.refused == []


@in_virtual_time
async def test_a_site_that_offers_without_end_is_bounded_and_keeps_others_out_of_nothing() -> None:
    async with StreamSites() as sites:
        for number in range(MAX_WAITING_OF_SITE + 3):
            connection = sites.connected("D")
            await connection.send(encode(Offer(number.to_bytes(16), CAROL, ALICE, 32, True, True)))
        await settled()
        assert sites.a.streams._register.waiting == MAX_WAITING_OF_SITE
        assert await said(connection) == Refuse(Reason.LIMIT)
        waiting = sites.connected()
        await waiting.send(encode(OFFER))
        assert await said(waiting) == Wait()
        for mine, _ in sites.connections:
            mine.cut()
        await settled()
        assert sites.a.streams._register.waiting == 0
        assert not sites.a.streams._answering._waiters
        assert not sites.a.streams._answering._connections


@in_virtual_time
async def test_one_name_has_one_connection_of_a_site_however_often_it_is_offered() -> None:
    async with StreamSites() as sites:
        other = sites.connected("E")
        await other.send(encode(OFFER))
        assert await said(other) == Wait()
        connections = []
        for _ in range(MAX_STREAMS + 1):
            connections.append(sites.connected("D"))
            await connections[-1].send(encode(OFFER))
            assert await said(connections[-1]) == Wait()
        assert all([await has_ended(connection) for connection in connections[:-1]])
        assert sites.a.streams._answering._connections == {"D": 1, "E": 1}


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xc1"],
        [device_frame(Keys(0, bytes(16), 1))],
        [device_frame(Want(976)) + b"\0"],
    ],
)
@in_virtual_time
async def test_what_the_device_of_the_other_end_may_not_say_ends_the_stream(frames: list[bytes]) -> None:
    """A asks for the key, and hears what the other end wants: nothing else."""
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        connection = sites.connected()
        for message in (OFFER, Join()):
            await connection.send(encode(message))
        assert isinstance(await said(connection), Found)
        opened = [sync.Open(NAMED.value, sync.End.RESPONDER, 32), *(sync.Device(frame) for frame in frames)]
        await connection.send(sync.encode(opened))
        await asyncio.sleep(1)
        assert (await sites.a.get(ALICE, NAMED, 0)).status in (2, 4)
        assert (await sites.a.get(ALICE, NAMED, 0)).status == 4
        assert (await sites.a.open(ALICE, CAROL)).status == 1  # others are not concerned


@in_virtual_time
async def test_what_the_other_end_wants_is_not_made_beyond_the_lead() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        connection = sites.connected()
        for message in (OFFER, Join()):
            await connection.send(encode(message))
        wants = [sync.Device(device_frame(Want(2**63 - 1 - number))) for number in range(10)]
        await connection.send(sync.encode([sync.Open(NAMED.value, sync.End.RESPONDER, 32), *wants]))
        await asyncio.sleep(100)
        assert 0 < sites.ledger.reserved <= 4096 + 1024


# --- a site that is dialled ---------------------------------------------------------------------------------------


def dials(sites: StreamSites) -> asyncio.Queue[MemoryConnection]:
    """A's ends of the connections that C opens from now on; the test is A."""
    theirs: asyncio.Queue[MemoryConnection] = asyncio.Queue()

    async def dial(_: str) -> MemoryConnection:
        mine, other = memory_pair(64, "qks:C", "qks:A")
        theirs.put_nowait(other)
        return mine

    sites.c.streams._call = dial  # type: ignore[assignment]
    return theirs


async def dialled(sites: StreamSites) -> MemoryConnection:
    return await dials(sites).get()


@pytest.mark.parametrize(
    "answers",
    [
        [b"\xc1"],
        [encode(Join())],
        [encode(OFFER)],
        [encode(Wait()), encode(Wait())],
        [encode(Wait()), encode(Join())],
        [msgspec.msgpack.encode(["found", 31, True])],
        [],
    ],
)
@in_virtual_time
async def test_what_is_no_answer_leaves_the_stream_waiting(answers: list[bytes]) -> None:
    async with StreamSites() as sites:
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED, QoS(timeout=3000)))
        connection = await dialled(sites)
        assert await said(connection) == OFFER
        for answer in answers:
            await connection.send(answer)
        await asyncio.sleep(8)
        assert (await opening).status == 1
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 3
        assert sites.ledger.asked == 0


@pytest.mark.parametrize(("reason", "status"), [(Reason.IN_USE, 5), (Reason.FORBIDDEN, 4), (Reason.LIMIT, 4)])
@in_virtual_time
async def test_a_refusal_is_passed_on(reason: Reason, status: int) -> None:
    async with StreamSites() as sites:
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED))
        connection = await dialled(sites)
        await connection.send(encode(Refuse(reason)))
        assert (await opening).status == status
        assert sites.c.streams.open == 0


@in_virtual_time
async def test_a_refusal_after_a_wait_ends_the_stream() -> None:
    async with StreamSites() as sites:
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED))
        connection = await dialled(sites)
        await connection.send(encode(Wait()))
        await asyncio.sleep(1)
        await connection.send(encode(Refuse(Reason.IN_USE)))
        assert (await opening).status == 6


@in_virtual_time
async def test_a_stream_that_was_found_and_lost_is_offered_again_as_it_was_opened() -> None:
    async with StreamSites() as sites:
        dialled = dials(sites)
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED, QoS(timeout=3000)))
        connection = await dialled.get()
        assert await said(connection) == OFFER
        await connection.send(encode(Found(64, initiator_asks=True)))
        connection.cut()
        assert await said(await dialled.get()) == Offer(NAMED.value, CAROL, ALICE, 64, may_ask=True, may_be_asked=True)
        opened = await opening
        assert (opened.status, opened.qos.key_chunk_size) == (1, 64)


@in_virtual_time
async def test_a_master_that_the_rules_do_not_allow_is_not_had() -> None:
    async with StreamSites() as sites:
        sites.c._allowed = {(CAROL, ALICE)}
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED, QoS(timeout=1000)))
        connection = await dialled(sites)
        await connection.send(encode(Found(32, initiator_asks=True)))
        assert (await opening).status == 1
        assert await said(connection) == Offer(NAMED.value, CAROL, ALICE, 32, may_ask=True, may_be_asked=False)
        assert await has_ended(connection)


@in_virtual_time
async def test_key_that_is_not_this_streams_is_not_fetched() -> None:
    """The other site asks for the key of this stream, and names what it reserved for others."""
    async with StreamSites() as sites:
        reserved = sites.ledger.made(ANN, CAROL, 1024)
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED))
        connection = await dialled(sites)
        await connection.send(encode(Found(32, initiator_asks=True)))
        assert await said(connection) == OFFER
        assert await said(connection) == Join()
        told = sync.Device(device_frame(Keys(0, reserved.reservation.value, 1)))
        await connection.send(sync.encode([sync.Open(NAMED.value, sync.End.INITIATOR, 32), told]))
        assert (await opening).status == 0
        await asyncio.sleep(1)
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 4
        assert reserved.reservation in sites.ledger.waiting


@in_virtual_time
async def test_blocks_are_told_in_order() -> None:
    async with StreamSites() as sites:
        reserved = sites.ledger.made(ALICE, CAROL, 1024)
        opening = asyncio.create_task(sites.c.open(CAROL, ALICE, NAMED))
        connection = await dialled(sites)
        await connection.send(encode(Found(32, initiator_asks=True)))
        told = sync.Device(device_frame(Keys(1, reserved.reservation.value, 1)))
        await connection.send(sync.encode([sync.Open(NAMED.value, sync.End.INITIATOR, 32), told]))
        await opening
        await asyncio.sleep(1)
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 4
        assert reserved.reservation in sites.ledger.waiting
        assert (await sites.c.open(CAROL, ALICE, StreamId(b"b" * 16), QoS(timeout=100))).status in (1, 4)
