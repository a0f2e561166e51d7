"""Demands: the strictest of several meets each, and no link or stream counts that falls short."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.demands import NOTHING, Demand, strictest
from qss.model.errors import InvalidIdentifier
from qss.model.identifiers import QksId
from qss.model.relay_policy import Hop, Hybrid, RelayPolicy

A, B, C, D = map(QksId, "ABCD")
ENDS = {A, B}
DEMANDS = st.builds(
    Demand,
    direct_only=st.booleans(),
    avoid=st.frozensets(st.sampled_from([A, B, C, D])),
    disjoint_paths=st.integers(1, 8),
    hop=st.sampled_from([None, *Hop]),
    hybrid=st.sampled_from([None, *Hybrid]),
    max_hops=st.integers(1, 16),
)


@given(st.lists(DEMANDS, max_size=3))
def test_the_strictest_of_several_meets_each(demands) -> None:
    both = strictest(*demands)
    policy = both.policy(ENDS)
    for demand in demands:
        assert demand.is_met_by(policy, ENDS) is not demand.direct_only
        assert demand.is_met_by(None, ENDS) or not both.is_met_by_a_link
    assert strictest(*reversed(demands)) == strictest(both, *demands) == both


@given(DEMANDS)
def test_nothing_less_is_enough(demand) -> None:
    demand = strictest(demand, Demand(avoid=frozenset({C}), disjoint_paths=2, hop=Hop.ONE_TIME_PAD, max_hops=15))
    policy = demand.policy(ENDS)
    asked = {"direct_only": False, "hybrid": Hybrid.ML_KEM_768, "disjoint_paths": demand.disjoint_paths}
    wanted = Demand(avoid=demand.avoid, hop=demand.hop, max_hops=demand.max_hops, **asked)
    met = RelayPolicy(policy.avoid, policy.disjoint_paths, policy.hop, Hybrid.ML_KEM_768, policy.max_hops)
    assert wanted.is_met_by(met, ENDS)
    for less in (
        RelayPolicy(met.avoid - {C}, met.disjoint_paths, met.hop, met.hybrid, met.max_hops),
        RelayPolicy(met.avoid, met.disjoint_paths - 1, met.hop, met.hybrid, met.max_hops),
        RelayPolicy(met.avoid, met.disjoint_paths, Hop.AES_256_GCM, met.hybrid, met.max_hops),
        RelayPolicy(met.avoid, met.disjoint_paths, met.hop, None, met.max_hops),
        RelayPolicy(met.avoid, met.disjoint_paths, met.hop, met.hybrid, met.max_hops + 1),
    ):
        assert not wanted.is_met_by(less, ENDS)


def test_who_demands_nothing_gets_the_plain_policy() -> None:
    assert strictest() == NOTHING
    assert NOTHING.policy(ENDS) == RelayPolicy()
    assert NOTHING.is_met_by(None, ENDS)


def test_the_ends_are_not_avoided() -> None:
    assert Demand(avoid=frozenset({A, B, C})).policy(ENDS) == RelayPolicy(frozenset({C}))


def test_more_sites_than_a_policy_can_avoid_make_none() -> None:
    demand = Demand(avoid=frozenset(QksId(f"S{number}") for number in range(17)))
    with pytest.raises(InvalidIdentifier):
        demand.policy(ENDS)


@pytest.mark.parametrize("demand", [Demand(disjoint_paths=2), Demand(hybrid=Hybrid.ML_KEM_768)])
def test_a_link_has_one_path_and_is_not_hybrid(demand) -> None:
    assert not demand.is_met_by_a_link


STRICTER = {
    "avoid": frozenset({C}),
    "disjoint_paths": 2,
    "hop": Hop.ONE_TIME_PAD,
    "hybrid": Hybrid.ML_KEM_768,
    "max_hops": 3,
}
"""Of each member of a policy what is more than the least."""


def test_each_member_of_a_policy_can_be_demanded_and_then_holds() -> None:
    assert STRICTER.keys() == {member.name for member in fields(RelayPolicy) if member.init}
    least = RelayPolicy(hop=Hop.AES_256_GCM)
    for member, value in STRICTER.items():
        demand = strictest(NOTHING, Demand(**{member: value}), NOTHING)
        policy = demand.policy(ENDS)
        assert getattr(policy, member) == value
        assert demand.is_met_by(policy, ENDS)
        assert not demand.is_met_by(least, ENDS)
