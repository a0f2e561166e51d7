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


def test_the_pause_doubles_while_streams_cannot_be_opened(pairs):
    now, pauses = 0.0, []
    for _ in range(6):
        pairs.asked(PAIR)
        assert not list(pairs.ready(now))
        pairs.ended(PAIR, now, 1.0, answer=True)
        pauses.append(pause_after(pairs, now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


@pytest.mark.parametrize(("lasted", "pause"), [(LASTING_S - 1, 2), (LASTING_S, 1)])
def test_only_a_stream_that_lasted_makes_it_short_again(pairs, lasted, pause):
    pairs.asked(PAIR)
    pairs.ended(PAIR, 0.0, 1.0, answer=True)
    pairs.asked(PAIR)
    pairs.opened(PAIR, 1.0)
    pairs.ended(PAIR, 1.0 + lasted, 1.0, answer=False)
    assert pause_after(pairs, 1.0 + lasted) == pause
