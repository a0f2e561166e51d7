"""When what a routing module knows may be taken for all there is to know."""

from __future__ import annotations

import pytest

from qss.app.settling import GIVEN_UP_S, has_settled
from qss.core.routing.adjacency import Phase


def test_without_neighbours_there_is_nothing_to_wait_for():
    assert has_settled((), 0.0)


def test_all_neighbours_are_waited_for():
    assert has_settled((Phase.FULL, Phase.FULL), 0.0)
    for phase in set(Phase) - {Phase.FULL}:
        assert not has_settled((Phase.FULL, phase), 0.0)
        assert not has_settled((phase, Phase.FULL), GIVEN_UP_S - 0.1)


@pytest.mark.parametrize("phase", Phase)
def test_but_not_for_ever(phase):
    assert has_settled((Phase.FULL, phase), GIVEN_UP_S)
    assert 5 < GIVEN_UP_S <= 20
