"""How much of an end-to-end stream is held ready."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.warmth import IDLE_S, LATELY_S, LEAST_BYTES, WAIT_S, Warmth

MOST = 1 << 20


def test_a_stream_that_nobody_uses_holds_nothing() -> None:
    warmth = Warmth(MOST)
    assert warmth.target(0.0) == warmth.urgent(0.0) == 0
    assert warmth.is_idle(0.0)


def test_what_is_wanted_is_there_and_some_more() -> None:
    warmth = Warmth(MOST)
    warmth.want(1.0, 32)
    assert warmth.urgent(1.0) == 32
    assert warmth.target(1.0) == 32 + LEAST_BYTES
    assert not warmth.is_idle(1.0)


def test_what_was_taken_is_wanted_no_more() -> None:
    warmth = Warmth(MOST)
    warmth.want(1.0, 64)
    warmth.used(1.1, 48)
    assert warmth.urgent(1.1) == 16
    warmth.used(1.2, 48)
    assert warmth.urgent(1.2) == 0


def test_whoever_waited_has_gone_after_a_while() -> None:
    warmth = Warmth(MOST)
    warmth.want(1.0, 64)
    assert warmth.urgent(1.0 + WAIT_S) == 64
    assert warmth.urgent(1.1 + WAIT_S) == 0


def test_what_those_wanted_who_have_gone_is_not_added_to_what_others_want() -> None:
    """Applications that ask again and again, in vain, want no more than each of them."""
    warmth, now = Warmth(MOST), 0.0
    for _ in range(1000):
        now += 0.1
        warmth.want(now, 10)
        assert warmth.urgent(now) <= 10 * 10 * (WAIT_S + 2)
    assert len(warmth._wants) <= WAIT_S + 2
    warmth.used(now, 300)
    warmth.want(now, 10)
    assert warmth.urgent(now) <= 10 * 10 * (WAIT_S + 2) - 290


def test_as_much_is_held_as_was_used_lately() -> None:
    warmth = Warmth(MOST)
    for second in range(100):
        warmth.used(float(second), 10_000)
    assert 0.9 * LATELY_S * 10_000 < warmth.target(99.0) < 1.1 * LATELY_S * 10_000
    assert warmth.target(99.0 + 10 * LATELY_S) == LEAST_BYTES


def test_it_is_cold_again_when_nobody_has_used_it_for_long() -> None:
    warmth = Warmth(MOST)
    warmth.used(1.0, 10_000)
    assert not warmth.is_idle(1.0 + IDLE_S)
    assert warmth.target(1.0 + IDLE_S) == LEAST_BYTES
    assert warmth.is_idle(1.1 + IDLE_S)
    assert warmth.target(1.1 + IDLE_S) == 0


def test_what_is_to_be_kept_is_kept_though_nobody_uses_it() -> None:
    warmth = Warmth(MOST, 3 * LEAST_BYTES)
    assert warmth.target(1e6) == 3 * LEAST_BYTES
    assert not warmth.is_idle(1e6)
    warmth.want(1e6, 10)
    assert warmth.target(1e6) == 3 * LEAST_BYTES + 10
    assert Warmth(100, 200).target(0.0) == 100


def test_it_is_not_dropped_while_somebody_is_about_to_use_it() -> None:
    """Nobody can say yet how much is wanted where the other end has to be reached first."""
    warmth = Warmth(MOST)
    warmth.want(1.0, 0)
    assert not warmth.is_idle(1.0)
    warmth.used(2.0, 10_000)
    lately = warmth.target(100.0)
    warmth.want(100.0, 0)
    assert warmth.target(100.0) == lately
    assert not warmth.is_idle(2.1 + IDLE_S)
    assert warmth.is_idle(100.1 + IDLE_S)


def test_it_is_known_for_how_long_nobody_has_used_it() -> None:
    warmth = Warmth(MOST)
    assert warmth.unused_s(5.0) == 0
    warmth.want(1.0, 10)
    assert warmth.unused_s(5.0) == 0
    warmth.used(6.0, 10)
    assert warmth.unused_s(26.0) == 20.0
    assert Warmth(MOST, 1).unused_s(26.0) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2 * MOST), st.floats(0, 1000)), max_size=20))
def test_there_is_a_limit(steps: list[tuple[bool, int, float]]) -> None:
    warmth, now = Warmth(MOST), 0.0
    for wants, length, passed in steps:
        now += passed
        (warmth.want if wants else warmth.used)(now, length)
        assert 0 <= warmth.urgent(now) <= warmth.target(now) <= MOST


def test_what_can_wait_is_to_be_there_but_is_not_urgent() -> None:
    warmth = Warmth(MOST)
    warmth.want(1.0, 64, urgent=False)
    assert warmth.urgent(1.0) == 0
    assert warmth.target(1.0) == 64 + LEAST_BYTES
    assert warmth.unused_s(2.0) == 0
    warmth.want(1.0, 10)
    assert warmth.urgent(1.0) == 10
    assert warmth.target(1.0) == 74 + LEAST_BYTES
    warmth.used(1.1, 30)
    assert warmth.urgent(1.1) == 0
    assert warmth.target(1.1) == 44 + LEAST_BYTES
    assert warmth.target(1.2 + WAIT_S) == LEAST_BYTES


def test_all_that_is_wanted_together_is_no_more_than_is_ever_held() -> None:
    warmth = Warmth(MOST)
    warmth.want(1.0, MOST)
    warmth.want(1.0, MOST, urgent=False)
    assert warmth.target(1.0) == MOST


def test_the_other_end_is_asked_for_all_that_is_to_be_kept_while_there_is_clearly_less() -> None:
    warmth = Warmth(MOST, 1000)
    assert warmth.asks(1.0, 750) == 0
    assert warmth.asks(1.0, 749) == 1000
    assert warmth.asks(1.0 + WAIT_S, 0) == 0  # what was asked for counts there still
    assert warmth.asks(1.1 + WAIT_S, 0) == 1000
    assert Warmth(MOST).asks(1.0, 0) == 0
    assert Warmth(500, 1000).asks(1.0, 0) == 500
