"""Key streams of applications at two sites: who opens what, how they meet, what is given, and how all of it ends."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from qss.core.keyserver.stream_register import MAX_OF_ONE
from qss.model.errors import BadRequest, ConnectionLost, Shortage
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.runtime.key_streams.key_stream import MAX_DIFFERENT
from qss.wire.etsi004.messages import Close, Form, GetKey, OpenConnect, QoS
from qss.wire.etsi004.status import Status
from support.stream_sites import ALICE, ANN, CAROL, CHRIS, JSON, NAMED, A, C, StreamSites
from support.virtual_time import in_virtual_time, settled

OTHER_NAME = StreamId(b"another KSID ...")


async def agree(sites: StreamSites, stream: StreamId, count: int = 5, start: int = 0) -> list[bytes]:
    """Both get the same chunks, none of them twice."""
    got = []
    for index in range(start, start + count):
        got.append(await sites.a.chunk(ALICE, stream, index))
        assert await sites.c.chunk(CAROL, stream, index) == got[-1]
    assert len(set(got)) == count
    return got


# --- opening ------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_names_no_stream_is_answered_at_once_and_the_other_one_joins_it() -> None:
    async with StreamSites() as sites:
        began = asyncio.get_running_loop().time()
        opened = await sites.a.open(ALICE, CAROL)
        assert asyncio.get_running_loop().time() == began
        assert (opened.status, opened.qos.key_chunk_size) == (1, 32)
        stream = StreamId(opened.stream)
        joined = await sites.c.open(CAROL, ALICE, stream)
        assert (joined.status, joined.stream) == (0, opened.stream)
        assert (await sites.a.open(ALICE, CAROL, stream)).status == 0
        assert {len(chunk) for chunk in await agree(sites, stream)} == {32}


@in_virtual_time
async def test_the_site_that_dials_may_be_first_too() -> None:
    async with StreamSites() as sites:
        opened = await sites.c.open(CAROL, ALICE, qos=QoS(key_chunk_size=100))
        assert opened.status == 1
        await settled()
        joined = await sites.a.open(ALICE, CAROL, StreamId(opened.stream))
        assert (joined.status, joined.qos.key_chunk_size) == (0, 100)
        await agree(sites, StreamId(opened.stream))


@in_virtual_time
async def test_both_may_open_a_name_at_once_in_either_place() -> None:
    async with StreamSites() as sites:
        asked = OpenConnect(CAROL, ALICE, QoS(), NAMED.value)  # Carol is the source at both ends
        both = [sites.a.asked(ALICE, asked), sites.c.asked(CAROL, asked)]
        assert [(await each)[1] for each in both] == [Status.SUCCESS] * 2
        await agree(sites, NAMED)


@pytest.mark.parametrize("first", ["a", "c"])
@in_virtual_time
async def test_whoever_is_second_gets_the_chunks_of_the_first(first: str) -> None:
    async with StreamSites() as sites:
        calls = {"a": (sites.a, ALICE, CAROL), "c": (sites.c, CAROL, ALICE)}
        (site, caller, other), (second, *parties) = calls.pop(first), *calls.values()
        opening = asyncio.create_task(site.open(caller, other, NAMED, QoS(key_chunk_size=200)))
        await asyncio.sleep(1.0)
        assert not opening.done()  # it waits for the other one
        joined = await second.open(*parties, NAMED, QoS(key_chunk_size=64))
        assert (joined.status, joined.qos.key_chunk_size) == (0, 200)
        assert (await opening).status == 0
        assert {len(chunk) for chunk in await agree(sites, NAMED)} == {200}


@pytest.mark.parametrize("end", ["a", "c"])
@in_virtual_time
async def test_without_the_other_one_the_stream_waits_and_says_so(end: str) -> None:
    async with StreamSites() as sites:
        site, caller, other = (sites.a, ALICE, CAROL) if end == "a" else (sites.c, CAROL, ALICE)
        assert (await site.open(caller, other, NAMED, QoS(timeout=500))).status == 1
        assert (await site.get(caller, NAMED, 0)).status == 3
        await asyncio.sleep(300)
        assert (await site.get(caller, NAMED, 0)).status == 3
        assert sites.ledger.asked == 0
        second, *parties = (sites.c, CAROL, ALICE) if end == "a" else (sites.a, ALICE, CAROL)
        assert (await second.open(*parties, NAMED)).status == 0
        await agree(sites, NAMED)


@in_virtual_time
async def test_a_site_that_cannot_be_reached_is_dialled_again() -> None:
    async with StreamSites() as sites:
        sites.unreachable = True
        assert (await sites.c.open(CAROL, ALICE, NAMED, QoS(timeout=200))).status == 1
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=200))).status == 1
        sites.unreachable = False
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=200))).status in (0, 1)
        await asyncio.sleep(6)
        await agree(sites, NAMED)


@in_virtual_time
async def test_two_that_could_not_see_each_other_and_want_different_chunks_do_not_meet() -> None:
    async with StreamSites() as sites:
        sites.unreachable = True
        assert (await sites.c.open(CAROL, ALICE, NAMED, QoS(64, timeout=200))).status == 1
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(32, timeout=200))).status == 1
        sites.unreachable = False
        await asyncio.sleep(6)
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 6
        assert (await sites.a.get(ALICE, NAMED, 0)).status == 3
        assert sites.ledger.asked == 0


# --- whose a stream is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination"),
    [(ANN, CAROL), (CAROL, ANN), ("sae:alice/", CAROL), (ALICE, "no sae"), (ALICE, "qks:C"), (ALICE, ANN), ("", "")],
)
@in_virtual_time
async def test_who_is_not_one_of_the_two_or_shares_with_nobody_elsewhere_is_refused(
    source: str, destination: str
) -> None:
    async with StreamSites() as sites:
        for form in Form:
            answer, status = await sites.a.asked(ALICE, OpenConnect(source, destination, QoS(), NAMED.value, form))
            assert (answer.status, status) == (4, Status.NO_QKD_CONNECTION)
        assert sites.a.streams.open == 0


@in_virtual_time
async def test_somebody_elses_stream_is_neither_given_nor_closed_nor_opened() -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        for form in Form:
            asked = [
                sites.a.asked(ANN, request)
                for request in (
                    GetKey(stream.value, 0, 0, form),
                    Close(stream.value),
                    OpenConnect(ANN, CAROL, QoS(), stream.value, form),
                )
            ]
            assert [(await each)[0].status for each in asked] == [4, 4, 5]
        assert (await sites.c.open(CHRIS, ALICE, stream)).status == 5
        await agree(sites, stream)


@in_virtual_time
async def test_a_name_that_one_has_with_another_one_is_in_use() -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        assert (await sites.a.open(ALICE, CHRIS, stream)).status == 5
        assert (await sites.c.open(CAROL, ANN, stream)).status == 5
        await agree(sites, stream)


@in_virtual_time
async def test_two_pairs_under_one_name_never_meet() -> None:
    async with StreamSites() as sites:
        assert (await sites.c.open(CHRIS, ANN, NAMED, QoS(timeout=100))).status == 1
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        await settled()
        assert (await sites.c.get(CHRIS, NAMED, 0)).status == 6
        assert (await sites.a.get(ALICE, NAMED, 0)).status == 3
        assert sites.ledger.reserved == 0
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 5
        assert await sites.c.close(CHRIS, NAMED) == 0


@in_virtual_time
async def test_who_opens_what_others_have_open_at_the_other_site_is_told_so() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        assert (await sites.c.open(CHRIS, ANN, NAMED)).status == 5
        assert sites.c.streams.open == 0
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 0


@pytest.mark.parametrize("master", [ALICE, CAROL])
@in_virtual_time
async def test_the_one_that_may_be_a_master_asks_for_the_key(master: SaeId) -> None:
    async with StreamSites() as sites:
        slave = CAROL if master == ALICE else ALICE
        sites.allowed.clear()
        sites.allowed.add((master, slave))
        await agree(sites, await sites.met(), 40)
        assert sites.ledger.masters == {master}


@in_virtual_time
async def test_sites_whose_rules_have_no_master_in_common_do_not_meet() -> None:
    async with StreamSites() as sites:
        sites.a._allowed = {(ALICE, CAROL)}
        sites.c._allowed = {(CAROL, ALICE)}
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        assert (await sites.c.open(CAROL, ALICE, NAMED)).status == 4
        assert sites.ledger.asked == 0


@in_virtual_time
async def test_an_sae_has_so_many_streams() -> None:
    async with StreamSites() as sites:
        for _ in range(MAX_OF_ONE):
            opened = await sites.a.open(ALICE, CAROL)
            assert opened.status == 1
        assert (await sites.a.open(ALICE, CAROL)).status == 4
        assert await sites.a.close(ALICE, StreamId(opened.stream)) == 0
        assert (await sites.a.open(ALICE, CAROL)).status == 1


@in_virtual_time
async def test_streams_of_one_sae_share_no_key() -> None:
    async with StreamSites() as sites:
        got = [chunk for _ in range(4) for chunk in await agree(sites, await sites.met(), 3)]
        assert len(set(got)) == 12


# --- key ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_repeat_gives_the_same_chunk_and_no_other_index_any() -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        await agree(sites, stream, 3)
        for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
            again = await site.chunk(caller, stream, 2)
            assert again == await site.chunk(caller, stream, 2)
            for index in (0, 1, 4, 100):
                refused = await site.get(caller, stream, index)
                assert (refused.status, refused.index) == (2, 3)
        await agree(sites, stream, 3, start=3)


@pytest.mark.parametrize("chunk_bytes", [32, 976, 1000, 5000, 65_536])
@in_virtual_time
async def test_chunks_of_any_size_agree(chunk_bytes: int) -> None:
    async with StreamSites() as sites:
        assert {len(chunk) for chunk in await agree(sites, await sites.met(chunk_bytes))} == {chunk_bytes}


@pytest.mark.parametrize("chunk_bytes", [32, 5000])
@in_virtual_time
async def test_no_more_is_reserved_than_one_chunk_ahead(chunk_bytes: int) -> None:
    async with StreamSites() as sites:
        stream = await sites.met(chunk_bytes)
        await asyncio.sleep(100)
        block = max(1024, chunk_bytes + 48)
        assert sites.ledger.reserved == block
        count = 976 // chunk_bytes or 1
        await agree(sites, stream, count)
        await asyncio.sleep(100)
        assert sites.ledger.reserved == 2 * block


@pytest.mark.parametrize("ahead", ["a", "c"])
@in_virtual_time
async def test_one_end_may_be_ahead_so_far_and_goes_on_when_the_other_one_follows(ahead: str) -> None:
    async with StreamSites() as sites:
        stream = await sites.met(1000, QoS(key_chunk_size=1000, timeout=200))
        calls = {"a": (sites.a, ALICE), "c": (sites.c, CAROL)}
        (site, caller), (other, its_caller) = calls.pop(ahead), *calls.values()
        mine: list[bytes] = []
        while (answer := await site.get(caller, stream, len(mine))).status == 0:
            assert answer.key is not None
            mine.append(answer.key.reveal())
        assert answer.status == 2
        assert 16 <= len(mine) <= 18
        theirs = [await other.chunk(its_caller, stream, index) for index in range(len(mine))]
        assert mine == theirs
        assert (await site.get(caller, stream, len(mine))).status == 0


@in_virtual_time
async def test_too_little_key_is_told_and_consumes_nothing() -> None:
    async with StreamSites() as sites:
        sites.ledger.short = Shortage("there is none")
        stream = await sites.met(qos=QoS(timeout=1000))
        for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
            refused = await site.get(caller, stream, 0)
            assert (refused.status, refused.index) == (2, 0)
        assert sites.ledger.asked < 10  # it is not asked without a pause
        assert sites.ledger.reserved == 0
        sites.ledger.short = None
        await asyncio.sleep(3)
        await agree(sites, stream)


@in_virtual_time
async def test_who_may_not_share_a_stream_any_more_gets_nothing_of_what_is_left() -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        await agree(sites, stream)
        sites.allowed.clear()
        for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
            assert (await site.get(caller, stream, 5)).status == 4


@pytest.mark.parametrize(
    ("sae", "peer", "ended"),
    [(None, None, 2), (ALICE, None, 1), (CAROL, C, 1), (ANN, A, 0), (SaeId("sae:nobody"), None, 0), (None, C, 2)],
)
@in_virtual_time
async def test_a_recall_ends_the_streams_that_it_concerns(sae: SaeId | None, peer: QksId | None, ended: int) -> None:
    async with StreamSites() as sites:
        await sites.a.open(ALICE, CAROL)
        await sites.a.open(ANN, CHRIS)
        assert sites.a.streams.recall(sae, peer) == ended
        assert sites.a.streams.open == 2 - ended


@in_virtual_time
async def test_a_refusal_that_will_not_change_ends_the_stream() -> None:
    async with StreamSites() as sites:
        sites.ledger.short = BadRequest("no such way leads there now")
        stream = await sites.met(qos=QoS(timeout=1000))
        await asyncio.sleep(1)
        for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
            assert (await site.get(caller, stream, 0)).status == 4
            assert (await site.open(caller, CAROL if caller == ALICE else ALICE, stream)).status == 0  # it was met
            assert await site.close(caller, stream) == 0


@in_virtual_time
async def test_a_block_that_differs_is_given_to_nobody() -> None:
    async with StreamSites() as sites:
        left = itertools.count(MAX_DIFFERENT - 1, -1)
        sites.ledger.altered = lambda block: bytes([block[0] ^ (next(left) > 0)]) + block[1:]
        stream = await sites.met()
        await agree(sites, stream)
        assert sites.ledger.reserved == MAX_DIFFERENT * 1024  # the first one that is equal is the last of these


@pytest.mark.parametrize("master", [ALICE, CAROL])
@in_virtual_time
async def test_blocks_that_always_differ_end_the_stream_before_much_is_burned(master: SaeId) -> None:
    async with StreamSites() as sites:
        sites.allowed.clear()
        sites.allowed.add((master, CAROL if master == ALICE else ALICE))
        sites.ledger.altered = lambda block: bytes([block[0] ^ 1]) + block[1:]
        stream = await sites.met(qos=QoS(timeout=1000))
        await asyncio.sleep(30)
        for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
            assert (await site.get(caller, stream, 0)).status == 4
        assert sites.ledger.reserved == MAX_DIFFERENT * 1024


@in_virtual_time
async def test_metadata_tells_age_and_the_most_repeaters_that_were_passed() -> None:
    async with StreamSites() as sites:
        stream = await sites.met(976, QoS(key_chunk_size=976, metadata_mimetype=JSON))

        async def told(index: int) -> list[dict[str, int]]:
            answers = [await site.get(sae, stream, index, 31) for site, sae in ((sites.a, ALICE), (sites.c, CAROL))]
            return [json.loads(answer.metadata) for answer in answers]

        assert [each["hops"] for each in await told(0)] == [0, 0]
        sites.ledger.repeaters = 3
        await told(1)
        await asyncio.sleep(2)
        for each in await told(2):
            assert 1900 < each["age"] <= 2000
            assert each["hops"] == 3
        sites.ledger.repeaters = 1
        await told(3)
        assert [each["hops"] for each in await told(4)] == [3, 3]
        small = await sites.a.get(ALICE, stream, 5, 30)
        assert (small.status, small.room_needed) == (8, 31)


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", ["a", "c"])
@in_virtual_time
async def test_what_is_left_can_be_taken_when_the_other_one_has_closed(closes: str) -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        (first,) = await agree(sites, stream, 1)
        calls = {"a": (sites.a, ALICE, CAROL), "c": (sites.c, CAROL, ALICE)}
        (site, caller, other), (left, its_caller, _) = calls.pop(closes), *calls.values()
        assert await site.close(caller, stream) == 0
        assert (await site.get(caller, stream, 1)).status == 4
        assert (await site.open(caller, other, stream)).status == 5
        assert await site.close(caller, stream) == 4
        await settled()
        got = [first]
        while (answer := await left.get(its_caller, stream, len(got))).status == 0:
            assert answer.key is not None
            got.append(answer.key.reveal())
        assert answer.status == 4
        assert len(got) == 976 // 32
        assert await left.close(its_caller, stream) == 0
        assert sites.a.streams.open == sites.c.streams.open == 0


@in_virtual_time
async def test_a_stream_ends_at_both_ends_with_its_connection_and_another_one_can_be_opened() -> None:
    async with StreamSites() as sites:
        stream = await sites.met(976)
        await agree(sites, stream)
        await asyncio.sleep(1)
        sites.connections[-1][0].cut()
        await settled()
        before = sites.ledger.reserved
        last = [await site.chunk(sae, stream, 5) for site, sae in ((sites.a, ALICE), (sites.c, CAROL))]
        assert last[0] == last[1]  # one was ready
        assert (await sites.a.get(ALICE, stream, 6)).status == (await sites.c.get(CAROL, stream, 6)).status == 4
        assert (await sites.c.open(CAROL, ALICE, stream)).status == 0  # it was met, and is over
        assert sites.ledger.reserved == before
        await agree(sites, await sites.met())


@in_virtual_time
async def test_a_stream_that_nobody_calls_for_its_ttl_is_gone() -> None:
    async with StreamSites() as sites:
        stream = await sites.met(qos=QoS(ttl=10))
        await asyncio.sleep(11)
        assert sites.a.streams.open == sites.c.streams.open == 0
        assert (await sites.a.get(ALICE, stream, 0)).status == 4


@in_virtual_time
async def test_who_asks_for_what_cannot_be_is_told_what_can_and_the_other_one_waits_on() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        refused = await sites.c.open(CAROL, ALICE, NAMED, QoS(metadata_mimetype="text/xml"))
        assert (refused.status, refused.qos.metadata_mimetype) == (7, JSON)
        assert sites.c.streams.open == 0
        await asyncio.sleep(20)
        assert (await sites.c.open(CAROL, ALICE, NAMED, refused.qos)).status == 0
        await agree(sites, NAMED)


@in_virtual_time
async def test_a_call_that_is_given_up_while_the_other_site_is_asked_opens_nothing() -> None:
    async with StreamSites() as sites:
        asked = OpenConnect(CAROL, ALICE, QoS(), NAMED.value)
        answers = [sites.c.asked(CAROL, asked) for _ in range(2)]
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 4  # it is not open yet
        for call in sites.c.calls[:2]:
            sites.c.streams.forget(call)
        sites.c.streams.forget(sites.c.calls[0])
        assert sites.c.streams.open == 0
        await asyncio.sleep(10)
        assert not any(answer.done() for answer in answers)
        assert (await sites.c.open(CAROL, ALICE, NAMED, QoS(timeout=100))).status == 1


@in_virtual_time
async def test_what_is_asked_of_a_stream_that_is_being_opened_does_not_disturb_that() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        opening = sites.c.asked(CAROL, OpenConnect(CAROL, ALICE, QoS(), NAMED.value))
        assert (await sites.c.get(CAROL, NAMED, 0)).status == 4
        assert await sites.c.close(CAROL, NAMED) == 4
        assert (await opening)[0].status == 0


@in_virtual_time
async def test_several_calls_for_what_cannot_be_are_all_refused() -> None:
    async with StreamSites() as sites:
        asked = OpenConnect(CAROL, ALICE, QoS(metadata_mimetype="text/xml"), NAMED.value)
        both = [sites.c.asked(CAROL, asked) for _ in range(2)]
        assert [(await each)[0].status for each in both] == [7, 4]
        assert sites.c.streams.open == 0


@in_virtual_time
async def test_what_became_of_the_bytes_is_counted_also_of_streams_that_are_over() -> None:
    async with StreamSites() as sites:
        for number in (1, 2):
            stream = await sites.met(976)
            await agree(sites, stream, 1)
            await asyncio.sleep(1)
            for site, caller in ((sites.a, ALICE), (sites.c, CAROL)):
                assert await site.close(caller, stream) == 0
                told = site.streams.counts()
                await asyncio.sleep(1)
                counts = site.streams.counts()
                assert counts == told  # nothing is missing while it ends
                assert counts["delivered"] == number * 976
                assert counts["read"] == counts["check"] + counts["accepted"] + counts["unfinished"]
                assert counts["accepted"] == counts["delivered"] + counts["unused"]


@in_virtual_time
async def test_a_call_that_is_asked_twice_is_answered_twice() -> None:
    async with StreamSites() as sites:
        assert (await sites.a.open(ALICE, CAROL, NAMED, QoS(timeout=100))).status == 1
        asked = OpenConnect(CAROL, ALICE, QoS(), NAMED.value)
        both = [sites.c.asked(CAROL, asked) for _ in range(2)]
        assert sorted([(await each)[0].status for each in both]) in ([0, 0], [0, 6])


@in_virtual_time
async def test_a_stop_answers_nobody_and_leaves_nothing() -> None:
    async with StreamSites() as sites:
        stream = await sites.met()
        await asyncio.sleep(1)
        sites.ledger.short = Shortage("there is none")
        for index in range(976 // 32):
            await sites.a.chunk(ALICE, stream, index)
        waiting = sites.a.asked(ALICE, GetKey(stream.value, 976 // 32))
        opening = sites.c.asked(CAROL, OpenConnect(CAROL, ALICE, QoS(), OTHER_NAME.value))
        for site in (sites.a, sites.c):
            site.streams.stop()
            await site.streams.stopped()
        assert sites.a.streams.open == sites.c.streams.open == 0
        await asyncio.sleep(100)
        assert not waiting.done()
        assert not opening.done()
        late = sites.connected()
        with pytest.raises(ConnectionLost):
            await late.receive()
