"""Incarnations grow with every start, differ between copies of a store, and fit where they are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import StoreError
from qss.model.incarnations import INCARNATION_ENTROPY_BYTES, is_first, next_incarnation

ENTROPY = st.binary(min_size=INCARNATION_ENTROPY_BYTES, max_size=INCARNATION_ENTROPY_BYTES)
HIGHEST = (1 << 63) - 1


@given(st.lists(ENTROPY, min_size=1, max_size=20))
def test_every_start_is_higher_and_the_first_alone_is_the_first(starts) -> None:
    last = 0
    for number, entropy in enumerate(starts, 1):
        following = next_incarnation(last, entropy)
        assert last < following <= HIGHEST
        assert following >> 40 == number
        assert is_first(following) == (number == 1)
        last = following
    assert not is_first(0)


@given(st.integers(0, (1 << 62)), ENTROPY, ENTROPY)
def test_two_lives_of_one_copied_store_differ_as_their_entropy_does(last, one, other) -> None:
    assert (next_incarnation(last, one) == next_incarnation(last, other)) == (one == other)


def test_the_count_ends_with_an_error_before_it_falls() -> None:
    last_but_one = ((1 << 23) - 2) << 40
    highest = next_incarnation(last_but_one, b"\xff" * 5)
    assert highest == HIGHEST
    with pytest.raises(StoreError, match=r"8388607 times.*qss init"):
        next_incarnation(highest, bytes(5))
