"""When the owner asks a module for a stream again."""

from __future__ import annotations

import pytest

from qss.core.reservation.pairs import LASTING_S, LONGEST_PAUSE_S, Pairs
from qss.model.identifiers import PairId

PAIR = PairId(b"p" * 16)


@pytest.fixture
def pairs():
    pairs = Pairs()
    pairs.attach(PAIR)
    return pairs


def pause_after(pairs, now):
    """Return for how long the pair is not ready from `now` on."""
    step = 0.5
    waited = 0.0
    while not list(pairs.ready(now + waited)):
        waited += step
    return waited


def ended_after(pairs, now, lasted):
    """Have a stream open at `now`, and end so long after; return when, and for how long the pair is not asked then."""
    pairs.asked(PAIR)
    pairs.opened(PAIR, now)
    pairs.ended(PAIR, now + lasted, 1.0, answer=False)
    return now + lasted, pause_after(pairs, now + lasted)


def test_the_pause_doubles_while_streams_end_soon(pairs):
    now, pauses = 0.0, []
    for _ in range(6):
        now, pause = ended_after(pairs, now, 0.5)
        pauses.append(pause)
        now += pause
    assert pauses == [1, 2, 4, 8, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


@pytest.mark.parametrize(("lasted", "pause"), [(LASTING_S - 1, 4), (LASTING_S, 1)])
def test_only_a_stream_that_lasted_makes_it_short_again(pairs, lasted, pause):
    now, _ = ended_after(pairs, 0.0, 0.5)
    now, _ = ended_after(pairs, now + 1, 0.5)
    assert ended_after(pairs, now + 2, lasted)[1] == pause


def test_a_new_connection_makes_it_short_again(pairs):
    now, _ = ended_after(pairs, 0.0, 0.5)
    now, pause = ended_after(pairs, now + 1, 0.5)
    assert pause == 2
    pairs.begin_anew()
    assert ended_after(pairs, now + 2, 0.5)[1] == 1


def test_a_module_that_opens_no_stream_is_asked_every_second(pairs):
    now = 0.0
    for _ in range(5):
        pairs.asked(PAIR)
        assert not list(pairs.ready(now))
        pairs.ended(PAIR, now, 1.0, answer=True)
        assert pause_after(pairs, now) == 1
        now += 1
