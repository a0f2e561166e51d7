"""Who may share keys: what one rule says, and nobody else."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.demands import NOTHING, Demand
from qss.core.keyserver.policy import ANYONE, PairPolicy, PairRule
from qss.model.identifiers import SaeId
from qss.model.keys import Priority

SAES = [SaeId(f"sae:{name}") for name in ("alice", "bob", "carol")]
PARTIES = st.sampled_from([*SAES, ANYONE])
RULES = st.lists(st.builds(PairRule, PARTIES, st.frozensets(PARTIES, min_size=1)), max_size=4)


@given(RULES)
def test_a_pair_is_allowed_if_one_rule_names_both(rules) -> None:
    policy = PairPolicy(rules)
    for master, slave in itertools.product(SAES, SAES):
        named = any(
            rule.master in (master, ANYONE) and (slave in rule.slaves or ANYONE in rule.slaves) for rule in rules
        )
        assert policy.allows(master, slave) == (named and master != slave)


def test_nobody_may_without_a_rule() -> None:
    assert not any(PairPolicy([]).allows(master, slave) for master, slave in itertools.product(SAES, SAES))


def test_a_rule_is_for_one_direction_and_not_passed_on() -> None:
    alice, bob, carol = SAES
    policy = PairPolicy([PairRule(alice, frozenset({bob})), PairRule(bob, frozenset({carol}))])
    assert policy.allows(alice, bob)
    assert not policy.allows(bob, alice)
    assert not policy.allows(alice, carol)


def test_anyone_is_anyone_but_oneself() -> None:
    policy = PairPolicy([PairRule(ANYONE, frozenset({ANYONE}))])
    assert not policy.allows(SAES[0], SAES[0])
    assert policy.allows(SaeId("sae:never-heard-of"), SAES[0])


def test_what_any_rule_that_names_both_demands_holds_in_its_strictest_form() -> None:
    alice, bob, carol = SAES
    policy = PairPolicy(
        [
            PairRule(alice, frozenset({bob}), Demand(disjoint_paths=2, max_hops=6)),
            PairRule(alice, frozenset({bob, carol})),
            PairRule(ANYONE, frozenset({bob}), Demand(disjoint_paths=1, max_hops=4)),
            PairRule(carol, frozenset({ANYONE}), Demand(direct_only=True)),
        ]
    )
    assert policy.demand(alice, bob) == Demand(disjoint_paths=2, max_hops=4)
    assert policy.demand(alice, carol) == NOTHING
    assert policy.demand(bob, alice) == NOTHING
    assert policy.demand(carol, bob) == Demand(direct_only=True, max_hops=4)


def test_the_highest_priority_that_a_rule_gives_counts() -> None:
    alice, bob, carol = SAES
    policy = PairPolicy(
        [
            PairRule(alice, frozenset({bob}), priority=Priority.LOW),
            PairRule(alice, frozenset({bob, carol})),
            PairRule(ANYONE, frozenset({carol}), priority=Priority.NORMAL),
            PairRule(bob, frozenset({ANYONE}), priority=Priority.HIGH),
        ]
    )
    assert policy.priority(alice, bob) is Priority.LOW
    assert policy.priority(alice, carol) is Priority.NORMAL
    assert policy.priority(bob, carol) is Priority.HIGH
    assert policy.priority(carol, alice) is Priority.NORMAL
