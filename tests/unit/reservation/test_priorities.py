"""What requests of each priority leave of a link's own key, at both ends."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.model.errors import Shortage
from qss.model.keys import Priority
from support.link_pair import PAIRS, LinkPair

KEY_BYTES = 16
CHUNKS = 8
HELD = CHUNKS * 64
LOW, NORMAL, HIGH = Priority

LEFT = {LOW: HELD // 2, NORMAL: 96, HIGH: 32}
"""Bytes, with 32 for relaying and 64 more for what is urgent."""


def filled() -> LinkPair:
    return LinkPair(capacity_bytes=HELD, relay_reserve_bytes=32, high_priority_bytes=64).ready(chunks=CHUNKS)


@pytest.mark.parametrize("master", ["a", "b"])
@pytest.mark.parametrize("priority", list(Priority))
def test_each_priority_leaves_what_higher_ones_may_need(master: str, priority: Priority) -> None:
    pair = filled()
    end = getattr(pair, master)
    gives = (HELD - LEFT[priority]) // KEY_BYTES
    assert end.link.key_count(KEY_BYTES, priority=priority) == gives
    taken = 0
    while True:
        reservation = pair.reserve(end, key_bytes=KEY_BYTES, priority=priority)
        pair.settle()
        if reservation not in pair.master_got:
            break
        taken += 1
    assert isinstance(pair.refused[reservation], Shortage)
    assert taken == gives
    assert end.link.key_count(KEY_BYTES, priority=priority) == 0


@pytest.mark.parametrize("master", ["a", "b"])
def test_what_low_ones_have_left_normal_ones_take_and_what_these_have_left_high_ones(master: str) -> None:
    pair = filled()
    end = getattr(pair, master)
    for priority in Priority:
        count = end.link.key_count(KEY_BYTES, priority=priority)
        assert count > 0
        reservation = pair.reserve(end, count=count, key_bytes=KEY_BYTES, priority=priority)
        pair.settle()
        assert reservation in pair.master_got
    pair.check()


def test_relayed_key_is_left_to_nobody_by_a_low_one() -> None:
    pair = LinkPair(2, capacity_bytes=HELD, high_priority_bytes=64)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], "{}"))
    pair.ready(chunks=CHUNKS)
    for end in (pair.a, pair.b):
        counts = {end.link.key_count(KEY_BYTES, "{}", priority) for priority in Priority}
        assert len(counts) == 1
        assert counts != {0}
