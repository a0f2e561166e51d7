"""Blocks of an end-to-end stream: fresh bytes for every attempt, on the next best paths, and who is passed by."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from qss.core.keyserver.block_size import FIRST_CHUNKS, SOON_S, STEADY
from qss.core.keyserver.suspects import BLAMED_S, Suspects
from qss.core.keyserver.warmth import LEAST_BYTES, Warmth
from qss.crypto.block_check import CHECK_BYTES
from qss.crypto.shares import combine
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.model.network import Edge, Graph
from qss.model.relay_policy import Hop, RelayPolicy
from qss.runtime.relay import blocks as blocks_module
from qss.runtime.relay.blocks import CHUNK_BYTES, LONGEST_PAUSE_S, StreamBlocks
from qss.runtime.relay.device import Made
from qss.runtime.relay.relaying import TransferFailed
from qss.wire import relay as wire
from qss.wire.relay import Reason
from support.relay_row import LENGTH, ends
from support.virtual_time import in_virtual_time, settled

A, B, C, D, E = map(QksId, "ABCDE")
PLENTY = 10**9


def graph(*links: tuple[QksId, QksId], bits: int = PLENTY, cost: dict[tuple[QksId, QksId], int] | None = None) -> Graph:
    """A network of these links, the first ones the cheaper."""
    edges: dict[QksId, dict[QksId, Edge]] = {}
    for number, (one, other) in enumerate(links):
        edge = Edge((cost or {}).get((one, other), 10 + number), bits)
        edges.setdefault(one, {})[other] = edges.setdefault(other, {})[one] = edge
    return Graph(edges, frozenset(edges))


RING = graph((A, B), (B, D), (A, C), (C, D))
THREE_WAYS = graph((A, B), (B, D), (A, C), (C, D), (A, E), (E, D))

Outcome = Callable[[wire.Begin], TransferFailed | None]


class FakeRelaying:
    """Carries what it is told to, notes all of it, and fails where a test says."""

    def __init__(self) -> None:
        self.outcome: Outcome = lambda _: None
        self.begun: list[wire.Begin] = []
        self.contents: list[KeyMaterial] = []
        self.under_way = 0
        self.takes_s = 0.01
        self.hangs: set[str] = set()
        """Paths on which nothing comes to an end."""

    async def carry(self, begin: wire.Begin, content: KeyMaterial) -> None:
        self.begun.append(begin)
        self.contents.append(content)
        self.under_way += 1
        try:
            await asyncio.sleep(1e6 if "".join(begin.path) in self.hangs else self.takes_s)
        finally:
            self.under_way -= 1
        failure = self.outcome(begin)
        if failure is not None:
            raise failure


class Shelf:
    """What is there of the stream."""

    def __init__(self) -> None:
        self.held = 0
        self.used = 0
        self.passed: list[int] = []
        """Through how many repeaters each block has passed."""

    def stock(self) -> int:
        return self.held

    def taken(self) -> int:
        used, self.used = self.used, 0
        return used

    def relayed(self, repeaters: int) -> None:
        self.passed.append(repeaters)


class Source:
    """The blocks of one stream from A to D, and all around them."""

    def __init__(self, network: Graph = RING, policy: RelayPolicy | None = None) -> None:
        self.network = network
        self.relaying = FakeRelaying()
        self.suspects = Suspects(A)
        self.shelf = Shelf()
        self.warmth = Warmth(1 << 20)
        numbers = itertools.count(1)
        self.blocks = StreamBlocks(
            ends(A, D, policy or RelayPolicy()),
            self.relaying,
            lambda: self.network,
            self.suspects,
            self.warmth,
            self.shelf,
            self.now,
            lambda length: next(numbers).to_bytes(4) * (length // 4),
        )

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def make(self, number: int = 0) -> Made:
        async with asyncio.timeout(2 * BLAMED_S):
            return await self.blocks.make(number, LENGTH)

    @property
    def paths(self) -> list[str]:
        """The paths that were tried, in order."""
        return ["".join(begin.path) for begin in self.relaying.begun]


def fails(on: str, site: QksId, reason: Reason = Reason.SHORTAGE, *, times: int = 1 << 30) -> Outcome:
    """Fail on this path, so often."""
    left = itertools.count(times, -1)
    return lambda begin: TransferFailed(site, reason) if "".join(begin.path) == on and next(left) > 0 else None


@in_virtual_time
async def test_the_repeaters_of_the_longest_path_that_a_block_took_are_told() -> None:
    longer = Source(graph((A, B), (B, D), (A, C), (C, E), (E, D)), RelayPolicy(disjoint_paths=2))
    await longer.make()
    assert longer.shelf.passed == [2]
    direct = Source(graph((A, D)))
    await direct.make()
    assert direct.shelf.passed == [0]


# --- attempts -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_block_goes_over_the_best_path_and_says_what_it_is_of() -> None:
    source = Source()
    source.blocks.want(100)
    made = await source.make(7)
    (begin,), (content,) = source.relaying.begun, source.relaying.contents
    assert made.content == content
    assert [transfer.value for transfer in made.transfers] == [begin.transfer]
    assert (begin.path, begin.length, begin.block, begin.share, begin.shares) == ((A, B, D), LENGTH, 7, 0, 1)
    assert (begin.stream, begin.hop, begin.policy) == (ends(A, D).pair.value, "one-time-pad", "{}")
    assert begin.urgent
    assert source.blocks.trouble == ""


@in_virtual_time
async def test_every_attempt_has_fresh_bytes_and_a_fresh_name() -> None:
    source = Source()
    source.relaying.outcome = fails("ABD", B)
    await asyncio.gather(*(source.make(number) for number in range(5)))
    contents = [content.reveal() for content in source.relaying.contents]
    names = [begin.transfer for begin in source.relaying.begun]
    assert len(set(contents)) == len(contents) == len(set(names)) > 5
    assert not set(names) & {content[:16] for content in contents}


@in_virtual_time
async def test_the_next_best_path_is_tried_and_the_link_that_failed_is_passed_by_for_a_while() -> None:
    source = Source()
    source.relaying.outcome = fails("ABD", B, times=1)
    await source.make()
    assert source.paths == ["ABD", "ACD"]
    assert source.suspects.links(source.now()) == {(B, D)}
    await source.make(1)
    assert source.paths[2:] == ["ACD"]
    await asyncio.sleep(2)
    await source.make(2)
    assert source.paths[3:] == ["ABD"]


@in_virtual_time
async def test_where_key_is_short_less_is_relayed_at_a_time() -> None:
    """Else a block that many have wanted, who have gone, would keep those waiting who want little."""
    source = Source(graph((A, B), (B, D)))
    enough = 2 * LENGTH
    source.relaying.outcome = lambda begin: TransferFailed(B, Reason.SHORTAGE) if begin.length > enough else None
    source.blocks.want(1)
    made = await source.blocks.make(0, 9 * CHUNK_BYTES + CHECK_BYTES)
    lengths = [begin.length for begin in source.relaying.begun]
    assert lengths == [chunks * CHUNK_BYTES + CHECK_BYTES for chunks in (9, 4, 2)]
    assert len(made.content) == lengths[-1]
    source.relaying.outcome = fails("ABD", B, times=5)
    assert len((await source.make(1)).content) == LENGTH  # there is no smaller block
    source.relaying.outcome = fails("ABD", B, Reason.LATE, times=1)
    await source.blocks.make(2, 9 * CHUNK_BYTES + CHECK_BYTES)
    assert source.relaying.begun[-1].length == 9 * CHUNK_BYTES + CHECK_BYTES


@in_virtual_time
async def test_what_nobody_waits_for_is_as_long_as_links_have_key_for() -> None:
    source = Source(graph((A, B), (B, D), bits=8 * (4 * CHUNK_BYTES + 100)))
    made = await source.blocks.make(0, 64 * CHUNK_BYTES + CHECK_BYTES)
    assert len(made.content) == 4 * CHUNK_BYTES + CHECK_BYTES
    source.suspects.failed(source.now(), (A, B, D), B, Reason.LATE)  # for want of a path, and not of key, it stays
    assert len((await source.blocks.make(1, 4 * CHUNK_BYTES + CHECK_BYTES)).content) == 4 * CHUNK_BYTES + CHECK_BYTES


@in_virtual_time
async def test_key_is_not_drawn_in_vain_in_haste() -> None:
    """Another path is tried at once; after that each attempt waits longer for key to gather."""
    source = Source(graph((A, B), (B, D)))
    source.relaying.outcome = fails("ABD", B, Reason.SHORTAGE)
    source.suspects.links = lambda _: frozenset()  # as if nothing were passed by
    source.blocks.want(100)
    making = asyncio.create_task(source.make())
    await asyncio.sleep(10)
    making.cancel()
    assert 10 < len(source.paths) < 20


@pytest.mark.parametrize(("reason", "site"), [(Reason.LATE, A), (Reason.TAMPERED, D), (Reason.UNREACHABLE, B)])
@in_virtual_time
async def test_paths_that_swallow_all_are_not_tried_in_turn_for_ever(reason, site) -> None:
    """Two of three ways are of no use, and it takes five seconds to find that out of each."""
    source = Source(THREE_WAYS)
    source.relaying.takes_s = 5.0
    bad = {"ABD": fails("ABD", site, reason), "ACD": fails("ACD", site if site != B else C, reason)}
    source.relaying.outcome = lambda begin: bad.get("".join(begin.path), lambda _: None)(begin)
    await source.make()
    assert source.paths[-1] == "AED"
    assert len(source.paths) <= 12


@in_virtual_time
async def test_the_only_path_is_tried_again_soon_if_somebody_waits_and_not_in_haste() -> None:
    source = Source(graph((A, B), (B, D)))
    source.relaying.outcome = fails("ABD", A, Reason.LATE, times=3)
    source.blocks.want(100)
    await source.make()
    assert source.paths == ["ABD"] * 4
    assert 3 * LONGEST_PAUSE_S < source.now() < 6 * LONGEST_PAUSE_S
    source.relaying.outcome = fails("ABD", A, Reason.LATE, times=1)
    source.shelf.held = LEAST_BYTES
    began = source.now()
    await source.make(1)  # which nobody waits for
    assert source.now() - began > 29


@in_virtual_time
async def test_of_two_paths_that_begin_alike_the_other_one_is_tried_next() -> None:
    """A site further on swallows all, and this one has one link only."""
    source = Source(graph((A, B), (B, C), (C, D), (B, E), (E, D)))
    source.relaying.outcome = fails("ABCD", A, Reason.LATE)
    source.blocks.want(100)
    await source.make()
    assert source.paths == ["ABCD", "ABED"]


@in_virtual_time
async def test_a_repeater_that_may_have_changed_something_is_passed_by_whoever_waits() -> None:
    source = Source(graph((A, B), (B, D)))
    await source.make()
    source.blocks.differed(0)
    source.blocks.want(100)
    making = asyncio.create_task(source.make(1))
    for _ in range(10):
        source.blocks.want(100)
        await asyncio.sleep(5)
    assert source.paths == ["ABD"]
    making.cancel()
    await asyncio.wait([making])


@in_virtual_time
async def test_it_is_tried_on_until_there_is_a_path_with_ever_longer_pauses() -> None:
    source = Source(Graph())
    looks: list[float] = []
    network = source.network
    source.blocks._graph = lambda: looks.append(source.now()) or network
    making = asyncio.create_task(source.make())
    await asyncio.sleep(30)
    assert "no path with key to site D" in source.blocks.trouble
    moments = sorted(set(looks))
    assert len(moments) < 45
    assert moments[-1] - moments[-2] == pytest.approx(LONGEST_PAUSE_S)
    network = RING
    await making
    assert source.blocks.trouble == ""


@in_virtual_time
async def test_who_waits_gets_what_links_seem_not_to_have_and_who_does_not_waits() -> None:
    source = Source(graph((A, B), (B, D), bits=1000))
    making = asyncio.create_task(source.make())
    await asyncio.sleep(5)
    assert source.paths == []
    source.blocks.want(1)
    await making
    assert source.paths == ["ABD"]


@pytest.mark.parametrize(("hop", "bits"), [(Hop.ONE_TIME_PAD, 8 * (LENGTH + 32)), (Hop.AES_256_GCM, 8 * 44)])
@in_virtual_time
async def test_a_path_has_the_key_that_its_hops_take(hop, bits) -> None:
    source = Source(graph((A, B), (B, D), bits=bits - 1), RelayPolicy(hop=hop))
    making = asyncio.create_task(source.make())
    await asyncio.sleep(5)
    assert source.paths == []
    source.network = graph((A, B), (B, D), bits=bits)
    await making


@in_virtual_time
async def test_paths_are_looked_for_once_in_each_state_of_the_network(monkeypatch) -> None:
    """Blocks that wait for a path ask again and again, and a policy may be one that takes long to find paths for."""
    looked: list[object] = []
    choose = blocks_module.choose_paths
    monkeypatch.setattr(blocks_module, "choose_paths", lambda *args: looked.append(args) or choose(*args))
    source = Source(graph((A, B)))
    making = [asyncio.create_task(source.make(number)) for number in range(8)]
    await asyncio.sleep(60)
    assert len(looked) == 2, "with as much key as it takes, and with any"
    source.network = RING
    await asyncio.gather(*making)
    assert len(looked) == 3


@in_virtual_time
async def test_whoever_gives_up_leaves_nothing_under_way() -> None:
    source = Source(policy=RelayPolicy(disjoint_paths=2))
    source.relaying.takes_s = 100
    making = asyncio.create_task(source.make())
    await asyncio.sleep(1)
    assert source.relaying.under_way == 2
    making.cancel()
    await asyncio.wait([making])
    assert source.relaying.under_way == 0


@in_virtual_time
async def test_a_defect_is_no_failed_transfer() -> None:
    source = Source()

    def broken(_: wire.Begin) -> None:
        raise ValueError("a defect")

    source.relaying.outcome = broken
    with pytest.raises(ValueError, match="a defect"):
        await source.make()


# --- shares -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_shares_go_over_paths_that_share_no_repeater_and_the_block_is_their_sum() -> None:
    source = Source(THREE_WAYS, RelayPolicy(disjoint_paths=3))
    made = await source.make()
    assert sorted(source.paths) == ["ABD", "ACD", "AED"]
    assert [(begin.share, begin.shares) for begin in source.relaying.begun] == [(0, 3), (1, 3), (2, 3)]
    assert made.content == combine(source.relaying.contents)
    assert [transfer.value for transfer in made.transfers] == [begin.transfer for begin in source.relaying.begun]
    assert made.content not in source.relaying.contents


@in_virtual_time
async def test_when_one_share_fails_none_is_used_again() -> None:
    source = Source(THREE_WAYS, RelayPolicy(disjoint_paths=2))
    source.relaying.outcome = fails("ACD", C, times=1)
    made = await source.make()
    assert source.paths == ["ABD", "ACD", "ABD", "AED"]
    first, second = source.relaying.contents[:2], source.relaying.contents[2:]
    assert made.content == combine(second)
    assert not any(share in second for share in first)
    assert [transfer.value for transfer in made.transfers] == [begin.transfer for begin in source.relaying.begun[2:]]


@in_virtual_time
async def test_when_one_share_fails_the_others_are_not_waited_for() -> None:
    source = Source(policy=RelayPolicy(disjoint_paths=2))
    source.blocks.want(100)
    source.relaying.outcome = fails("ABD", B, times=1)
    source.relaying.hangs = {"ACD"}
    making = asyncio.create_task(source.make())
    await asyncio.sleep(0.1)
    assert source.relaying.under_way == 0
    source.relaying.hangs = set()
    await making
    assert source.now() < 10


@in_virtual_time
async def test_without_enough_paths_no_share_leaves() -> None:
    source = Source(RING, RelayPolicy(disjoint_paths=3))
    source.blocks.want(100)
    making = asyncio.create_task(source.make())
    await asyncio.sleep(5)
    assert source.paths == []
    making.cancel()
    await asyncio.wait([making])


# --- what differs -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_all_repeaters_of_a_block_that_differs_are_named_to_auditors_and_passed_by() -> None:
    source = Source(THREE_WAYS, RelayPolicy(disjoint_paths=2))
    await source.make(3)
    with capture_logs() as logs:
        source.blocks.differed(3)
    (told,) = logs
    assert (told["audit"], told["log_level"], told["peer"], told["sites"]) == (True, "error", D, "B, C")
    assert told["paths"] == "A B D; A C D"
    assert source.suspects.sites(source.now()) == {B, C}
    assert "was changed on its way" in source.blocks.trouble
    making = asyncio.create_task(source.make(4))
    await asyncio.sleep(BLAMED_S / 2)
    assert len(source.paths) == 2  # there are no two ways without them
    await making
    assert source.now() >= BLAMED_S


@in_virtual_time
async def test_another_way_is_taken_than_the_one_on_which_a_block_was_changed() -> None:
    source = Source()
    await source.make(0)
    source.blocks.differed(0)
    await source.make(1)
    assert source.paths == ["ABD", "ACD"]


@in_virtual_time
async def test_only_the_paths_of_late_blocks_are_remembered() -> None:
    source = Source()
    source.relaying.takes_s = 0
    for number in range(300):
        await source.make(number)
    assert len(source.blocks._paths) == 256
    with capture_logs():
        source.blocks.differed(0)
    assert source.suspects.sites(source.now()) == frozenset()


@in_virtual_time
async def test_what_fails_again_and_again_is_told_once_a_minute_and_recorded_each_time() -> None:
    source = Source()
    source.relaying.outcome = fails("ABD", B)
    with capture_logs() as logs:
        for number in range(10):
            await source.make(number)
            await asyncio.sleep(1.5)
    assert source.paths.count("ABD") >= 4
    told = [entry for entry in logs if not entry.get("audit")]
    assert [(entry["site"], entry["reason"]) for entry in told] == [(B, "shortage")]
    recorded = [(entry["site"], entry["path"]) for entry in logs if entry.get("audit") == "alone"]
    assert recorded == [(B, "A B D")] * source.paths.count("ABD")


# --- how much -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_nothing_is_needed_that_nobody_wants() -> None:
    assert Source().blocks.needed(0) == 0


@in_virtual_time
async def test_what_somebody_waits_for_is_made_by_itself_and_then_what_is_held_ready() -> None:
    source = Source()
    source.blocks.want(100)
    waited_for = source.blocks.needed(0)
    assert waited_for == CHUNK_BYTES + CHECK_BYTES
    some_more = source.blocks.needed(waited_for)
    assert some_more == -(-(LEAST_BYTES + 100 - waited_for) // CHUNK_BYTES) * CHUNK_BYTES + CHECK_BYTES
    assert source.blocks.needed(waited_for + some_more) == 0
    source.blocks.want(1 << 20)
    assert source.blocks.needed(0) == FIRST_CHUNKS * CHUNK_BYTES + CHECK_BYTES


@in_virtual_time
async def test_blocks_grow_while_all_arrive_and_are_smaller_at_once_when_key_runs_short() -> None:
    source = Source()
    source.blocks.want(1 << 20)
    source.shelf.used = 1
    lengths = []
    for number in range(3 * STEADY):
        lengths.append(source.blocks.needed(0))
        await source.blocks.make(number, lengths[-1])
        await source.make(number)  # small ones show nothing
    chunks = [(length - CHECK_BYTES) // CHUNK_BYTES for length in lengths]
    assert chunks == [FIRST_CHUNKS] * STEADY + [2 * FIRST_CHUNKS] * STEADY + [4 * FIRST_CHUNKS] * STEADY
    assert source.blocks.needed(0) == lengths[-1] == wire.MAX_CARRIED
    source.relaying.outcome = fails("ABD", B, times=1)
    made = await source.blocks.make(0, wire.MAX_CARRIED)
    assert len(made.content) == source.blocks.needed(0) == 2 * FIRST_CHUNKS * CHUNK_BYTES + CHECK_BYTES
    source.relaying.outcome = fails("ABD", B, Reason.REFUSED, times=1)
    assert len((await source.blocks.make(1, lengths[-1])).content) == lengths[-1]
    assert source.blocks.needed(0) == len(made.content)  # what else goes wrong shows nothing of key


@in_virtual_time
async def test_blocks_do_not_grow_on_slow_lines_and_begin_anew_when_one_is_late() -> None:
    source = Source()
    source.blocks.want(1 << 20)
    first = FIRST_CHUNKS * CHUNK_BYTES + CHECK_BYTES
    source.relaying.takes_s = 1.1 * SOON_S
    for number in range(2 * STEADY):
        source.blocks.want(1 << 20)
        await source.blocks.make(number, source.blocks.needed(0))
    assert source.blocks.needed(0) == first
    source.relaying.takes_s = SOON_S / 2
    for number in range(2 * STEADY):
        source.blocks.want(1 << 20)
        await source.blocks.make(number, source.blocks.needed(0))
    assert source.blocks.needed(0) == wire.MAX_CARRIED
    source.relaying.outcome = fails("ABD", A, Reason.LATE, times=1)
    assert len((await source.blocks.make(0, wire.MAX_CARRIED)).content) == first
    assert source.blocks.needed(0) == first
    source.relaying.outcome = fails("ACD", A, Reason.LATE, times=1)
    source.network = graph((A, C), (C, D), (A, B), (B, D))
    await source.make()  # a small one that is late shows nothing of large ones
    assert source.blocks.needed(0) == first


@in_virtual_time
async def test_what_is_wanted_is_made_where_key_ran_short_and_blocks_are_as_small_as_can_be() -> None:
    source = Source(graph((A, B), (B, D)))
    source.blocks.want(1 << 20)
    source.relaying.outcome = fails("ABD", B, times=9)
    await source.blocks.make(0, source.blocks.needed(0))
    assert source.blocks.needed(0) == LENGTH


@in_virtual_time
async def test_what_is_held_ready_takes_no_key_that_links_keep_for_others() -> None:
    source = Source()
    source.blocks.want(100)
    await asyncio.gather(source.make(0), source.make(1))
    assert [begin.urgent for begin in source.relaying.begun] == [True, False]
    source.blocks.want(LENGTH)
    await asyncio.gather(source.make(2), source.make(3))
    assert [begin.urgent for begin in source.relaying.begun[2:]] == [True, True]


@in_virtual_time
async def test_what_is_held_ready_is_filled_up_only_when_a_good_part_is_gone_or_somebody_waits() -> None:
    source = Source()
    source.blocks.want(1)
    source.shelf.held, source.shelf.used = LEAST_BYTES, 1
    assert source.blocks.needed(0) == 0
    source.shelf.held = LEAST_BYTES * 3 // 4 + 10
    assert source.blocks.needed(0) == 0
    source.shelf.held = LEAST_BYTES * 3 // 4 - 10
    assert source.blocks.needed(0) > 0
    source.shelf.held = LEAST_BYTES - 10
    assert source.blocks.needed(0) == 0
    source.blocks.want(LEAST_BYTES)
    assert source.blocks.needed(0) > 0


@in_virtual_time
async def test_news_is_that_somebody_wants_something_or_that_some_time_has_passed() -> None:
    source = Source()
    waiting = asyncio.create_task(source.blocks.news())
    await settled()
    assert not waiting.done()
    source.blocks.want(1)
    await settled()
    assert waiting.done()
    began = source.now()
    await source.blocks.news()
    assert source.now() - began == pytest.approx(0.1)
