"""What a seed decides."""

from __future__ import annotations

from itertools import islice

import pytest

from qss.model.identifiers import QkdmId
from support.network import LINKS, SITES
from torture.plan import CLOSE, CUT, STALL, TEAR, blows, storms


@pytest.mark.parametrize("kills", [1, 2, 20, 200])
def test_a_plan_kills_as_often_as_is_said(kills: int) -> None:
    for seed in range(20):
        plan = list(blows(seed, SITES, kills))
        assert sum(blow.kills for blow in plan) == kills
        assert all(len(set(blow.victims)) == len(blow.victims) for blow in plan)


def test_one_seed_is_one_plan() -> None:
    assert list(blows(1, SITES, 20)) == list(blows(1, SITES, 20)) != list(blows(2, SITES, 20))
    one, same, other = (list(islice(storms(seed, LINKS), 50)) for seed in (1, 1, 2))
    assert one == same != other


def test_everything_befalls_everybody() -> None:
    modules = tuple(map(QkdmId, ("A/1", "B/1", "B/2", "C/1")))
    assert {name for blow in blows(1, (*SITES, *modules), 200) for name in blow.victims} == {*SITES, *modules}
    plan = list(blows(1, SITES, 200))
    assert {victim for blow in plan for victim in blow.victims} == set(SITES)
    assert any(len(blow.victims) > 1 for blow in plan)
    assert any(blow.again_s is not None for blow in plan)
    weather = list(islice(storms(1, LINKS), 100))
    assert {storm.what for storm in weather} == {CUT, TEAR, STALL, CLOSE}
    assert {storm.road for storm in weather} == set(LINKS)
