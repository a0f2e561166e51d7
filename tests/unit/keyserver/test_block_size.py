"""How large blocks may be: they grow by what has arrived, and by nothing else, and are small again at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.block_size import FIRST_CHUNKS, SOON_S, STEADY, BlockSize

LARGEST = 4 * FIRST_CHUNKS


def arrive(size: BlockSize, number: int, *, took_s: float = 0.0) -> None:
    for _ in range(number):
        size.arrived(size.most, took_s)


def grown() -> BlockSize:
    size = BlockSize(LARGEST)
    arrive(size, 2 * STEADY)
    return size


def test_blocks_double_after_so_many_that_arrived_soon_up_to_the_largest() -> None:
    size, seen = BlockSize(LARGEST), []
    for _ in range(3 * STEADY):
        seen.append(size.most)
        arrive(size, 1, took_s=SOON_S)
    assert seen == [FIRST_CHUNKS] * STEADY + [2 * FIRST_CHUNKS] * STEADY + [LARGEST] * STEADY
    assert size.most == LARGEST


def test_smaller_blocks_than_might_be_show_nothing() -> None:
    size = BlockSize(LARGEST)
    for _ in range(2 * STEADY):
        size.arrived(FIRST_CHUNKS - 1, 0.0)
    assert size.most == FIRST_CHUNKS


def test_one_that_takes_longer_is_the_end_of_a_row() -> None:
    size = BlockSize(LARGEST)
    for _ in range(3):
        arrive(size, STEADY - 1)
        size.arrived(1, 1.1 * SOON_S)
    assert size.most == FIRST_CHUNKS


def test_where_key_ran_short_a_block_is_half_as_large_and_the_next_ones_are_no_larger() -> None:
    size = grown()
    assert size.ran_short(LARGEST) == size.most == 2 * FIRST_CHUNKS
    assert (size.ran_short(3), size.most) == (1, 1)
    assert size.ran_short(1) == 1
    arrive(size, STEADY)
    assert size.most == 2
    assert size.ran_short(LARGEST) == LARGEST // 2, "one that was on its way before"
    assert size.most == 2


def test_after_one_that_was_late_blocks_are_as_large_as_at_first_and_no_larger_than_key_lets_them_be() -> None:
    size = grown()
    assert size.was_late(LARGEST) == size.most == FIRST_CHUNKS
    assert size.was_late(3) == 3
    assert size.most == FIRST_CHUNKS
    size.ran_short(8)
    size.was_late(8)
    assert size.most == 4


@given(st.lists(st.tuples(st.sampled_from(["arrived", "ran_short", "was_late"]), st.integers(1, LARGEST))))
def test_there_is_always_a_size_that_may_be(steps: list[tuple[str, int]]) -> None:
    size = BlockSize(LARGEST)
    for step, chunks in steps:
        if step == "arrived":
            size.arrived(chunks, 0.0)
        else:
            assert 1 <= getattr(size, step)(chunks) <= chunks
        assert 1 <= size.most <= LARGEST
