"""What repeats itself is told seldom, and how often it was not."""

from __future__ import annotations

from qss.transport.telling import LASTS_S, MAX_CAUSES, TOLD_S, Lasting, Telling


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_cause_is_told_once_a_minute_with_what_was_left_out() -> None:
    clock = Clock()
    telling = Telling(clock=clock)
    assert [telling.unsaid("a") for _ in range(4)] == [0, None, None, None]
    assert telling.unsaid("b") == 0
    clock.now = TOLD_S - 0.1
    assert telling.unsaid("a") is None
    clock.now = TOLD_S
    assert [telling.unsaid("a"), telling.unsaid("a"), telling.unsaid("b")] == [4, None, 0]


def test_some_may_be_told_several_times() -> None:
    telling = Telling(3, Clock())
    assert [telling.unsaid("a") for _ in range(5)] == [0, 0, 0, None, None]


def test_causes_take_bounded_room() -> None:
    telling = Telling(clock=Clock())
    for cause in range(3 * MAX_CAUSES):
        assert telling.unsaid(cause) == 0
    assert len(telling._causes) == MAX_CAUSES


def test_what_is_noted_again_and_again_lasts_and_what_passed_begins_anew() -> None:
    clock = Clock()
    lasting = Lasting(clock)
    assert not lasting.lasts("a")
    clock.now = LASTS_S - 0.1
    assert not lasting.lasts("a")
    assert not lasting.lasts("b")
    clock.now = LASTS_S
    assert [lasting.lasts("a"), lasting.lasts("b"), lasting.lasts("a")] == [True, False, True]
    clock.now += TOLD_S
    assert not lasting.lasts("a")


def test_what_lasts_takes_bounded_room_and_what_was_noted_longest_ago_makes_it() -> None:
    clock = Clock()
    lasting = Lasting(clock)
    lasting.lasts("kept")
    clock.now = LASTS_S
    for cause in range(3 * MAX_CAUSES):
        lasting.lasts(cause)
        if cause % 100 == 0:
            assert lasting.lasts("kept")
    assert len(lasting._causes) == MAX_CAUSES
