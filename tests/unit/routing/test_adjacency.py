"""What one end knows of a neighbour: every phase with every step, Hellos, silence, and when to compare anew."""

from __future__ import annotations

import itertools

import pytest

from qss.core.routing.adjacency import Act, Adjacency, Phase, Step, after
from qss.model.errors import LocalProtocolError
from qss.wire.routing import Hello

MINE, OTHER = bytes(8), b"another."
HELLO_S, RESYNC_S = 1.0, 5.0

DECLARED = {
    (Phase.DOWN, Step.CONNECTED): Phase.INIT,
    (Phase.INIT, Step.HEARD): Phase.EXCHANGE,
    (Phase.EXCHANGE, Step.TOLD): Phase.LOADING,
    (Phase.LOADING, Step.LOADED): Phase.FULL,
    (Phase.INIT, Step.SILENT): Phase.ENDING,
    (Phase.EXCHANGE, Step.SILENT): Phase.ENDING,
    (Phase.LOADING, Step.SILENT): Phase.ENDING,
    (Phase.FULL, Step.SILENT): Phase.ENDING,
    (Phase.INIT, Step.UNTAGGED): Phase.ENDING,
    (Phase.EXCHANGE, Step.UNTAGGED): Phase.ENDING,
    (Phase.LOADING, Step.UNTAGGED): Phase.ENDING,
    (Phase.FULL, Step.UNTAGGED): Phase.ENDING,
    (Phase.INIT, Step.LOST): Phase.DOWN,
    (Phase.EXCHANGE, Step.LOST): Phase.DOWN,
    (Phase.LOADING, Step.LOST): Phase.DOWN,
    (Phase.FULL, Step.LOST): Phase.DOWN,
    (Phase.ENDING, Step.LOST): Phase.DOWN,
}


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(Phase, Step)))
def test_every_phase_with_every_step(phase, step):
    if (phase, step) in DECLARED:
        assert after(phase, step) is DECLARED[phase, step]
    else:
        with pytest.raises(LocalProtocolError, match=f"an adjacency that is {phase} cannot take the step {step}"):
            after(phase, step)


def hello(*, heard=True, full=True, digest=MINE, dead_ms=4000):
    return Hello(heard, full, dead_ms, digest)


def take(adjacency, said, now=0.0, *, up_to_date=True, waits_for_key=False):
    return adjacency.take_hello(said, MINE, now, up_to_date=up_to_date, waits_for_key=waits_for_key)


def due(adjacency, now):
    return adjacency.due(now, HELLO_S, RESYNC_S)


def brought_to(phase):
    """Return an adjacency that was connected at 0 and has gone the way to a phase."""
    adjacency = Adjacency()
    ways = [
        lambda: adjacency.connected(0.0, 4.0),
        lambda: take(adjacency, hello()),
        adjacency.told,
        adjacency.loaded,
        lambda: due(adjacency, 5.0),
    ]
    for step in ways[: list(Phase).index(phase)]:
        step()
    assert adjacency.phase is phase
    return adjacency


def test_the_first_hello_is_answered_and_one_that_has_heard_brings_the_summaries():
    adjacency = brought_to(Phase.INIT)
    assert adjacency.hello(MINE, 4.0, 0.0) == Hello(heard=False, full=False, dead_ms=4000, digest=MINE)
    assert take(adjacency, hello(heard=False)) == [Act.HELLO]
    assert adjacency.phase is Phase.INIT
    assert adjacency.hello(MINE, 4.0, 0.0).heard
    assert take(adjacency, hello()) == [Act.SUMMARISE]
    assert adjacency.phase is Phase.EXCHANGE
    assert take(adjacency, hello()) == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.DOWN, Phase.ENDING)])
def test_summaries_and_what_was_asked_for_count_where_they_are_waited_for(phase):
    adjacency = brought_to(phase)
    adjacency.told()
    assert adjacency.phase is (Phase.LOADING if phase is Phase.EXCHANGE else phase)
    adjacency = brought_to(phase)
    assert adjacency.loaded() is (phase is Phase.LOADING)
    assert adjacency.phase is (Phase.FULL if phase is Phase.LOADING else phase)


@pytest.mark.parametrize("phase", Phase)
def test_what_may_be_exchanged_and_told(phase):
    adjacency = brought_to(phase)
    assert adjacency.two_way is (phase in (Phase.EXCHANGE, Phase.LOADING, Phase.FULL))
    assert adjacency.full is (phase is Phase.FULL)


def test_hello_is_said_again_and_again():
    adjacency = brought_to(Phase.FULL)
    adjacency.hello(MINE, 4.0, 0.5)
    assert due(adjacency, 1.4) == []
    assert due(adjacency, 1.5) == [Act.HELLO]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.DOWN, Phase.ENDING)])
def test_who_is_silent_is_given_up_once_and_what_still_comes_is_passed_over(phase):
    adjacency = brought_to(phase)
    adjacency.came(1.0)
    assert Act.GIVE_UP not in due(adjacency, 5.0)
    assert due(adjacency, 5.1) == [Act.GIVE_UP]
    assert adjacency.phase is Phase.ENDING
    assert [due(adjacency, now) for now in (5.2, 50.0)] == [[], []]
    assert take(adjacency, hello(), 5.3) == []
    adjacency.told()
    assert not adjacency.loaded()
    assert adjacency.phase is Phase.ENDING
    adjacency.lost()
    assert adjacency.phase is Phase.DOWN


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DOWN])
def test_what_is_not_tagged_as_it_has_to_be_ends_it_and_what_still_comes_is_passed_over(phase):
    adjacency = brought_to(phase)
    adjacency.end_untagged()
    assert adjacency.phase is Phase.ENDING
    assert take(adjacency, hello(), 6.0) == []
    adjacency.lost()
    assert adjacency.phase is Phase.DOWN


def test_whose_dead_time_is_told_is_waited_for_so_long():
    adjacency = brought_to(Phase.INIT)
    take(adjacency, hello(dead_ms=10_000))
    assert Act.GIVE_UP not in due(adjacency, 10.0)
    assert due(adjacency, 10.1) == [Act.GIVE_UP]


def compared(adjacency, *times):
    """Return at which of these times the databases are to be compared anew."""
    found = []
    for now in times:
        adjacency.came(now)
        if Act.SUMMARISE in due(adjacency, now):
            found.append(now)
    return found


def test_digests_that_differ_for_long_bring_the_summaries_again_and_it_stays_full():
    adjacency = brought_to(Phase.FULL)
    take(adjacency, hello(digest=OTHER), 1.0)
    take(adjacency, hello(digest=OTHER), 3.0)
    assert compared(adjacency, 5.9, 6.0, 6.1, 20.0) == [6.0]
    assert adjacency.full


@pytest.mark.parametrize(
    "content",
    [
        {"said": hello()},
        {"said": hello(digest=OTHER), "up_to_date": False},
        {"said": hello(digest=OTHER), "waits_for_key": True},
        {"said": hello(full=False), "waits_for_key": True},
    ],
)
def test_digests_that_agree_meanwhile_or_differ_for_a_reason_are_no_cause(content):
    adjacency = brought_to(Phase.FULL)
    take(adjacency, hello(digest=OTHER), 1.0)
    take(adjacency, now=3.0, **content)
    assert compared(adjacency, 6.0, 20.0) == []


def test_an_end_that_does_not_become_full_is_told_the_summaries_again():
    adjacency = brought_to(Phase.FULL)
    take(adjacency, hello(full=False), 1.0)
    assert compared(adjacency, 5.9, 6.0) == [6.0]
    adjacency = brought_to(Phase.INIT)
    take(adjacency, hello(heard=False, full=False), 1.0)
    assert compared(adjacency, 20.0) == []
