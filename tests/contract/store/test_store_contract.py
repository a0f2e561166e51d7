"""What the store port promises, on every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.errors import FenceLost, HeadMismatch, StoreError, StoreInUse
from qss.model.identifiers import QksId, SaeId
from qss.model.ranges import Range
from qss.model.records import PeerRecord, RecallRecord, Scope
from qss.ports.store import (
    Contents,
    DropBlock,
    DropReservation,
    DropStream,
    PutAnswer,
    PutBlock,
    PutPeer,
    PutRecall,
    PutReservation,
    PutStream,
    RaiseCommitNumber,
    Store,
)
from support.durable_store import Durable
from support.store_records import (
    PEER,
    block,
    in_order,
    reservation_id,
    reservation_record,
    stream_id,
    stream_record,
)

EVERYTHING = Range(0, 1 << 40)


# --- starts ---------------------------------------------------------------------------------------------------------


async def test_a_new_store_is_empty(first: Contents) -> None:
    assert first == Contents(first.incarnation, 0)
    assert 0 < first.incarnation < 1 << 63


async def test_each_start_is_a_higher_incarnation_and_no_commit(
    durable: Durable, store: Store, first: Contents
) -> None:
    again = await store.start()
    await store.close()
    other = await durable.open().start()
    assert first.incarnation < again.incarnation < other.incarnation
    assert [again.commit_number, other.commit_number] == [0, 0]
    # The random parts differ too: the count alone would be the same in two copies of one store.
    assert len({number & (1 << 40) - 1 for number in (first.incarnation, again.incarnation, other.incarnation)}) == 3


async def test_contents_survive_a_reopening(durable: Durable, store: Store, fence: int) -> None:
    run = KeyRun(reservation_id(1), stream_id(1), 0, 16, 2, 3)
    answer = AnswerRecord(PEER, AskName(b"n" * 32, b"r" * 32), (run,), 1.5)
    recall = RecallRecord(PEER, 1, Scope((reservation_id(1).key_id(2),), SaeId("sae:alice")))
    await store.commit(
        [
            PutStream(stream_record(head=32, mark=96)),
            PutReservation(reservation_record()),
            PutPeer(PeerRecord(PEER)),
            PutAnswer(answer),
            PutRecall(recall),
        ],
        fence,
    )
    await store.commit([PutBlock(block(0, 64)), PutBlock(block(64, 32))], fence)
    held, blocks = await store.contents(), await store.blocks(stream_id(1), EVERYTHING)
    await store.close()

    again = durable.open()
    found = await again.start()
    assert in_order(found) == Contents(
        found.incarnation, 2, held.streams, held.reservations, held.peers, (answer,), (recall,)
    )
    assert await again.blocks(stream_id(1), EVERYTHING) == blocks == (block(0, 64), block(64, 32))


async def test_a_store_is_not_opened_twice(durable: Durable, store: Store, fence: int) -> None:
    with pytest.raises(StoreInUse):
        await durable.open().start()
    assert await store.commit([PutPeer(PeerRecord(PEER))], fence) == 1  # the first is not harmed
    await store.close()
    await durable.open().start()


async def test_a_store_can_be_closed_twice_and_before_its_start(store: Store) -> None:
    await store.close()
    await store.start()
    await store.close()
    await store.close()


async def test_a_closed_store_answers_nothing(store: Store, fence: int) -> None:
    await store.close()
    with pytest.raises(StoreError):
        await store.commit([PutPeer(PeerRecord(PEER))], fence)
    with pytest.raises(StoreError):
        await store.contents()
    with pytest.raises(StoreError):
        await store.blocks(stream_id(1), EVERYTHING)


async def test_closing_finishes_what_was_submitted(durable: Durable, store: Store, fence: int) -> None:
    commits = [
        asyncio.create_task(store.commit([PutReservation(reservation_record(number))], fence)) for number in range(20)
    ]
    await asyncio.sleep(0)  # all are submitted, none has an answer
    await store.close()
    await asyncio.gather(*commits)
    assert len((await durable.open().start()).reservations) == 20


# --- commits --------------------------------------------------------------------------------------------------------


async def test_commit_numbers_rise(store: Store, fence: int) -> None:
    numbers = [await store.commit([PutPeer(PeerRecord(PEER, commit_seen=seen))], fence) for seen in range(3)]
    assert numbers == [1, 2, 3]
    assert (await store.contents()).commit_number == 3


async def test_commit_numbers_go_on_from_where_they_are_raised_to(store: Store, fence: int) -> None:
    assert await store.commit([RaiseCommitNumber(1000)], fence) >= 1000
    number = (await store.contents()).commit_number
    assert number >= 1000
    assert await store.commit([RaiseCommitNumber(5)], fence) == number + 1  # never lower


async def test_an_empty_batch_is_a_commit(store: Store, fence: int) -> None:
    assert await store.commit([], fence) == 1


async def test_a_batch_is_whole_or_nothing(store: Store, fence: int) -> None:
    await store.commit([PutStream(stream_record()), PutBlock(block(0))], fence)
    before = await store.contents()
    with pytest.raises(HeadMismatch):
        await store.commit(
            [
                PutReservation(reservation_record()),
                PutPeer(PeerRecord(PEER)),
                PutBlock(block(100)),
                DropBlock(stream_id(1), 0),
                PutStream(stream_record(number=2)),
                RaiseCommitNumber(900),
                DropStream(stream_id(1)),
                PutStream(stream_record(version=7)),
            ],
            fence,
        )
    assert await store.contents() == before
    assert await store.blocks(stream_id(1), EVERYTHING) == (block(0),)


async def test_changes_of_a_batch_are_made_in_order(store: Store, fence: int) -> None:
    await store.commit(
        [
            PutStream(stream_record()),
            PutStream(stream_record(version=2, head=5)),
            PutReservation(reservation_record(1)),
            DropReservation(PEER, reservation_id(1)),
            PutBlock(block(0)),
            DropBlock(stream_id(1), 0),
            PutBlock(block(0, 8, sealed=b"second")),
        ],
        fence,
    )
    contents = await store.contents()
    assert contents.streams == (stream_record(version=2, head=5),)
    assert contents.reservations == ()
    assert await store.blocks(stream_id(1), EVERYTHING) == (block(0, 8, sealed=b"second"),)


async def test_batches_commit_in_the_order_of_submission(store: Store, fence: int) -> None:
    commits = (store.commit([PutStream(stream_record(version=version))], fence) for version in range(1, 51))
    numbers = await asyncio.gather(*commits)
    assert list(numbers) == sorted(numbers)
    assert (await store.contents()).streams == (stream_record(version=50),)


async def test_two_hundred_commits_at_once(store: Store, fence: int) -> None:
    commits = (store.commit([PutReservation(reservation_record(number))], fence) for number in range(200))
    numbers = await asyncio.gather(*commits)
    contents = await store.contents()
    assert len(contents.reservations) == 200
    assert contents.commit_number == max(numbers)
    assert len(set(numbers)) < 200  # some shared a transaction


async def test_a_cancelled_commit_stands_and_harms_no_other(store: Store, fence: int) -> None:
    tasks = [
        asyncio.create_task(store.commit([PutReservation(reservation_record(number))], fence)) for number in range(3)
    ]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, asyncio.CancelledError, int]
    await store.commit([], fence)
    assert len((await store.contents()).reservations) == 3


# --- verdicts -------------------------------------------------------------------------------------------------------


async def test_each_batch_of_a_group_has_its_own_verdict(store: Store, fence: int) -> None:
    await store.commit([PutStream(stream_record())], fence)
    answers = await asyncio.gather(
        store.commit([PutReservation(reservation_record(1))], fence),
        store.commit([PutReservation(reservation_record(2)), PutStream(stream_record(version=9))], fence),
        store.commit([PutStream(stream_record(version=2))], fence),
        store.commit([PutReservation(reservation_record(3))], fence + 1),
        store.commit([PutStream(stream_record(version=2))], fence),
        store.commit([PutReservation(reservation_record(4))], fence),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [int, HeadMismatch, int, FenceLost, HeadMismatch, int]
    contents = in_order(await store.contents())
    assert {row.id for row in contents.reservations} == {reservation_id(1), reservation_id(4)}
    assert contents.streams == (stream_record(version=2),)


async def test_the_fence_of_an_earlier_start_is_lost(store: Store, fence: int) -> None:
    await store.start()
    with pytest.raises(FenceLost):
        await store.commit([PutPeer(PeerRecord(PEER))], fence)
    contents = await store.contents()
    assert (contents.commit_number, contents.peers) == (0, ())


@pytest.mark.parametrize("version", [0, 1, 2, 4])
async def test_a_stream_row_is_written_on_the_version_it_builds_on_only(store: Store, fence: int, version: int) -> None:
    for built in (1, 2):
        await store.commit([PutStream(stream_record(version=built))], fence)
    with pytest.raises(HeadMismatch, match="version"):
        await store.commit([PutStream(stream_record(version=version, head=99))], fence)
    assert (await store.contents()).streams == (stream_record(version=2),)
    assert await store.commit([PutStream(stream_record(version=3))], fence) == 3


async def test_the_first_version_needs_no_row_and_others_do(store: Store, fence: int) -> None:
    with pytest.raises(HeadMismatch):
        await store.commit([PutStream(stream_record(version=2))], fence)
    await store.commit([PutStream(stream_record(version=1))], fence)


async def test_failed_batches_raise_no_commit_number(store: Store, fence: int) -> None:
    with pytest.raises(HeadMismatch):
        await store.commit([PutStream(stream_record(version=2))], fence)
    assert await store.commit([], fence) == 1


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "starts"),
    [
        (Range(0, 1), [0]),
        (Range(15, 17), [0, 16]),
        (Range(16, 32), [16]),
        (Range(31, 101), [16, 100]),
        (Range(32, 100), []),
        (Range(20, 20), []),
        (Range(0, 1 << 40), [0, 16, 100, 1 << 33]),
        (Range(110, 116), [100]),
        (Range(116, 200), []),
        (Range((1 << 33) + 15, (1 << 33) + 16), [1 << 33]),
        (Range(1 << 34, 1 << 35), []),
    ],
)
async def test_blocks_are_those_that_share_a_byte(store: Store, fence: int, part: Range, starts: list[int]) -> None:
    held = [block(start) for start in (100, 0, 1 << 33, 16)]
    other = [block(start, stream=2) for start in (0, 17, 101)]
    streams = [PutStream(stream_record(1)), PutStream(stream_record(2))]
    await store.commit([*streams, *(PutBlock(each) for each in held + other)], fence)
    assert await store.blocks(stream_id(1), part) == tuple(block(start) for start in starts)
    assert await store.places(stream_id(1), part) == tuple(Range(start, start + 16) for start in starts)


@pytest.mark.parametrize("start", [90, 100, 104, 115])
async def test_no_byte_is_stored_twice(store: Store, fence: int, start: int) -> None:
    await store.commit([PutStream(stream_record()), PutBlock(block(100))], fence)
    with pytest.raises(HeadMismatch):
        await store.commit([PutBlock(block(start))], fence)
    assert await store.blocks(stream_id(1), EVERYTHING) == (block(100),)


async def test_neighbouring_blocks_do_not_overlap(store: Store, fence: int) -> None:
    await store.commit([PutStream(stream_record()), *(PutBlock(block(start)) for start in (100, 116, 84))], fence)
    assert len(await store.blocks(stream_id(1), EVERYTHING)) == 3


async def test_a_block_needs_its_stream(store: Store, fence: int) -> None:
    with pytest.raises(HeadMismatch):
        await store.commit([PutBlock(block(0))], fence)
    await store.commit([PutBlock(block(0)), PutStream(stream_record())], fence)  # the order in a batch is free
    with pytest.raises(HeadMismatch):
        await store.commit([DropStream(stream_id(1)), PutBlock(block(100))], fence)
    assert await store.blocks(stream_id(1), EVERYTHING) == (block(0),)


async def test_a_dropped_block_is_gone_and_absent_ones_are_no_error(store: Store, fence: int) -> None:
    await store.commit([PutStream(stream_record()), PutBlock(block(0)), PutBlock(block(16))], fence)
    await store.commit([DropBlock(stream_id(1), 0), DropBlock(stream_id(1), 8), DropBlock(stream_id(2), 16)], fence)
    assert await store.blocks(stream_id(1), EVERYTHING) == (block(16),)


async def test_a_dropped_stream_takes_all_that_is_its_own(store: Store, fence: int) -> None:
    for number in (1, 2):
        await store.commit(
            [
                PutStream(stream_record(number)),
                PutReservation(reservation_record(number, stream=number)),
                PutBlock(block(0, stream=number)),
            ],
            fence,
        )
    await store.commit([DropStream(stream_id(1)), DropStream(stream_id(3))], fence)
    contents = await store.contents()
    assert contents.streams == (stream_record(2),)
    assert contents.reservations == (reservation_record(2, stream=2),)
    assert await store.blocks(stream_id(1), EVERYTHING) == ()
    assert await store.blocks(stream_id(2), EVERYTHING) == (block(0, stream=2),)
    await store.commit([PutStream(stream_record(1))], fence)  # its versions begin anew


async def test_a_reservation_is_written_over_and_dropped(store: Store, fence: int) -> None:
    await store.commit([PutReservation(reservation_record(1))], fence)
    await store.commit([PutReservation(reservation_record(1, start=64))], fence)
    assert (await store.contents()).reservations == (reservation_record(1, start=64),)
    other = replace(reservation_record(1), peer=QksId("C"))  # another link's, of the same name
    await store.commit([PutReservation(other)], fence)
    assert len((await store.contents()).reservations) == 2
    await store.commit([DropReservation(PEER, reservation_id(1)), DropReservation(PEER, reservation_id(2))], fence)
    assert (await store.contents()).reservations == (other,)
