"""From a request to a plan: every refusal of docs/reference/northbound.md, section 2, steps 5 to 8, in its order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest

from qss.core.keyserver.demands import Demand
from qss.core.keyserver.policy import ANYONE, PairPolicy, PairRule
from qss.core.keyserver.requests import FurtherSite, KeyPlan, RequestPlanner
from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.ways import Way
from qss.model.errors import BadRequest, QssError, RuleUnmet, Unauthorised, Unavailable
from qss.model.identifiers import QksId, ReservationId, SaeId
from qss.model.keys import KeyIdsRequest, KeyLimits, KeyRequest, Priority
from qss.model.network import Edge, Graph
from qss.model.relay_policy import Hop, Hybrid, RelayPolicy
from qss.wire.external import Reason

A, B, C, D, E = (QksId(name) for name in "ABCDE")
ALICE, ANN, BOB, CAROL, CY, DAN, EVE, NOBODY = (
    SaeId(f"sae:{name}") for name in ("alice", "ann", "bob", "carol", "cy", "dan", "eve", "nobody")
)
MANY = tuple(SaeId(f"sae:b{number}") for number in range(9))
HOMES = {ALICE: A, ANN: A, BOB: B, CAROL: B, CY: C, DAN: D, EVE: E} | dict.fromkeys(MANY, B)
LIMITS = KeyLimits(key_size=256, min_key_size=64, max_key_size=1024, max_key_per_request=100, max_sae_id_count=8)
RULES = [PairRule(ALICE, frozenset({ANYONE})), PairRule(ANN, frozenset({BOB})), PairRule(BOB, frozenset({ALICE}))]
RULES += [PairRule(CY, frozenset({ALICE})), PairRule(NOBODY, frozenset({ANYONE}))]
LINKS = [(A, B), (A, C), (B, D), (C, D)]
NETWORK = Graph(
    {
        site: {other: Edge(1, 0) for link in LINKS if site in link for other in link if other != site}
        for site in (A, B, C, D)
    },
    frozenset({A, B, C, D}),
)
PLAIN = RelayPolicy()


def planner_of(*rules: PairRule, known: bool = True) -> RequestPlanner:
    policy = PairPolicy([*RULES, *rules])
    return RequestPlanner(A, LIMITS, policy, HOMES.get, frozenset({B, C}), lambda: NETWORK, lambda: known)


@pytest.fixture
def planner() -> RequestPlanner:
    return planner_of()


# --- Get key --------------------------------------------------------------------------------------------------------


def test_a_plan_names_neighbour_number_bytes_and_slaves(planner) -> None:
    assert planner.plan_keys(ALICE, BOB, KeyRequest()) == KeyPlan(B, 1, 32, (BOB,))
    assert planner.plan_keys(ALICE, CY, KeyRequest(number=7, size=128)) == KeyPlan(C, 7, 16, (CY,))
    assert planner.plan_keys(ANN, BOB, KeyRequest()) == KeyPlan(B, 1, 32, (BOB,))


def test_a_site_beyond_the_neighbours_is_planned_with_the_plain_policy(planner) -> None:
    assert planner.plan_keys(ALICE, DAN, KeyRequest()) == KeyPlan(D, 1, 32, (DAN,), policy=PLAIN)


def test_several_slaves_of_one_site_are_one_plan_the_one_in_the_path_first(planner) -> None:
    plan = planner.plan_keys(ALICE, CAROL, KeyRequest(additional_slaves=(BOB, *MANY[:7])))
    assert plan == KeyPlan(B, 1, 32, (CAROL, BOB, *MANY[:7]))


def test_slaves_of_several_sites_are_one_plan_with_the_site_of_the_one_in_the_path_first(planner) -> None:
    plan = planner.plan_keys(ALICE, CAROL, KeyRequest(additional_slaves=(CY, BOB, DAN)))
    further = (FurtherSite(C, (CY,)), FurtherSite(D, (DAN,), PLAIN))
    assert plan == KeyPlan(B, 1, 32, (CAROL, BOB), further=further)
    assert plan.all_slaves == (CAROL, BOB, CY, DAN)


def test_what_is_demanded_for_one_slave_is_demanded_of_the_way_to_every_site() -> None:
    """The same key goes all these ways."""
    planner = planner_of(PairRule(ALICE, frozenset({BOB}), Demand(hybrid=Hybrid.ML_KEM_768)))
    plan = planner.plan_keys(ALICE, CY, KeyRequest(additional_slaves=(BOB,)))
    hybrid = RelayPolicy(hybrid=Hybrid.ML_KEM_768)
    assert plan == KeyPlan(C, 1, 32, (CY,), policy=hybrid, further=(FurtherSite(B, (BOB,), hybrid),))


def test_several_sites_get_no_more_at_once_than_one_message_takes() -> None:
    limits = KeyLimits(max_key_size=1 << 20, max_key_per_request=100)
    planner = RequestPlanner(A, limits, PairPolicy(RULES), HOMES.get, frozenset({B, C}), lambda: NETWORK)
    most = KeyRequest(16, 1 << 20, additional_slaves=(CY,))
    assert planner.plan_keys(ALICE, BOB, most).further
    with pytest.raises(BadRequest, match="at most 16777216 bits are served to several sites"):
        planner.plan_keys(ALICE, BOB, replace(most, number=17))
    assert planner.plan_keys(ALICE, BOB, KeyRequest(17, 1 << 20))


@pytest.mark.parametrize(("number", "size"), [(1, 64), (100, 64), (1, 1024), (100, 1024)])
def test_what_the_limits_allow_is_planned(planner, number, size) -> None:
    assert planner.plan_keys(ALICE, BOB, KeyRequest(number, size)) == KeyPlan(B, number, size // 8, (BOB,))


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and how the refusal begins."""

    wrong: dict[str, Any]
    kind: type[QssError]
    text: str


IN_ORDER = [
    Fault({"caller": BOB}, Unauthorised, "sae:bob is not at home in site A"),
    Fault({"caller": ANN, "slave": CAROL}, Unauthorised, "no rule lets sae:ann share keys with sae:carol"),
    Fault({"number": 101}, BadRequest, "number is 101: at most 100 keys"),
    Fault({"size": 1032}, BadRequest, "size is 1032: keys of 64 to 1024 bits"),
    Fault({"additional_slaves": MANY}, BadRequest, "9 additional_slave_SAE_IDs: the limit is 8"),
    Fault({"extension_mandatory": (("qss_max_hops", 0), ("x", 1))}, BadRequest, "not all extension_mandatory para"),
    Fault({"slave": NOBODY}, BadRequest, "SAE sae:nobody is not known here"),
]
REFUSALS = [
    *IN_ORDER,
    Fault({"caller": NOBODY}, Unauthorised, "sae:nobody is not at home in site A"),
    Fault({"caller": ANN, "additional_slaves": (CAROL,)}, Unauthorised, "no rule lets sae:ann share keys with sae:car"),
    Fault({"number": 1 << 62}, BadRequest, "number is 4611686018427387904: at most 100 keys"),
    Fault({"size": 56}, BadRequest, "size is 56: keys of 64 to 1024 bits"),
    Fault({"size": 1 << 62}, BadRequest, "size is 4611686018427387904: keys of 64"),
    Fault({"extension_mandatory": (("qss_max_hops", 0),)}, BadRequest, "not all extension_mandatory request options"),
    Fault({"extension_mandatory": (("qss_hop", None),)}, BadRequest, "not all extension_mandatory request options"),
    Fault(
        {"slave": DAN, "extension_mandatory": (("qss_direct_only", True),)},
        BadRequest,
        "not all extension_mandatory request options",
    ),
    Fault({"slave": ANN}, BadRequest, "SAE sae:ann is at home in this site"),
    Fault({"slave": EVE}, Unavailable, "no way to site E is known now"),
    Fault({"slave": EVE, "extension_mandatory": (("qss_hybrid", "ml-kem-768"),)}, Unavailable, "no way to site E"),
    Fault(
        {"additional_slaves": (CY,), "extension_mandatory": (("qss_max_hops", 1),), "slave": DAN},
        BadRequest,
        "not all extension_mandatory request options",
    ),
    Fault({"additional_slaves": (CY, EVE)}, Unavailable, "no way to site E is known now"),
    Fault({"additional_slaves": (CAROL, NOBODY)}, BadRequest, "SAE sae:nobody is not known here"),
    Fault({"additional_slaves": (CY, ANN)}, BadRequest, "SAE sae:ann is at home in this site"),
]


def ask(planner: RequestPlanner, wrong: dict[str, Any]) -> KeyPlan:
    asked = {"caller": ALICE, "slave": BOB} | wrong
    return planner.plan_keys(asked.pop("caller"), asked.pop("slave"), KeyRequest(**asked))


@pytest.mark.parametrize("fault", REFUSALS, ids=lambda fault: fault.text[:40])
def test_each_fault_is_refused(planner, fault: Fault) -> None:
    with pytest.raises(fault.kind) as caught:
        ask(planner, fault.wrong)
    assert str(caught.value).startswith(fault.text)


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in itertools.combinations(IN_ORDER, 2) if not set(pair[0].wrong) & set(pair[1].wrong)],
    ids=lambda fault: "-".join(fault.wrong),
)
def test_of_two_faults_the_earlier_step_decides(planner, first: Fault, second: Fault) -> None:
    with pytest.raises(first.kind) as caught:
        ask(planner, first.wrong | second.wrong)
    assert str(caught.value).startswith(first.text)


def test_a_stranger_learns_nothing_of_rules_or_homes(planner) -> None:
    for slave in (BOB, ANN, DAN, NOBODY):
        with pytest.raises(Unauthorised, match="sae:carol is not at home in site A"):
            planner.plan_keys(CAROL, slave, KeyRequest(number=1 << 40))


def test_of_unsupported_extensions_each_is_named_and_no_value_is(planner) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(planner, {"extension_mandatory": (("a", "v1"), ("qss_direct_only", True), ("b", "v2"))})
    assert caught.value.message == "not all extension_mandatory parameters are supported"
    assert caught.value.details == (
        {"extension_mandatory_unsupported": "a is not supported"},
        {"extension_mandatory_unsupported": "b is not supported"},
    )


def test_mandatory_extensions_that_can_be_met_are_and_optional_ones_where_they_can_be(planner) -> None:
    mandatory = (("qss_hybrid", "ml-kem-768"), ("qss_max_hops", 3))
    optional = (("qss_disjoint_paths", 2), ("qss_avoid", ["B"]), ("qss_hop", "aes-256-gcm"), ("x", 1))
    plan = ask(planner, {"slave": DAN, "extension_mandatory": mandatory, "extension_optional": optional})
    policy = RelayPolicy(disjoint_paths=2, hop=Hop.AES_256_GCM, hybrid=Hybrid.ML_KEM_768, max_hops=3)
    assert plan == KeyPlan(D, 1, 32, (DAN,), policy=policy)


def test_what_a_link_meets_comes_over_the_link(planner) -> None:
    mandatory = (("qss_direct_only", True), ("qss_max_hops", 1), ("qss_avoid", ["C"]), ("qss_hop", "one-time-pad"))
    assert ask(planner, {"extension_mandatory": mandatory}) == KeyPlan(B, 1, 32, (BOB,))
    assert ask(planner, {"extension_optional": (("qss_direct_only", False), ("x", 1))}) == KeyPlan(B, 1, 32, (BOB,))


def test_what_no_link_meets_is_relayed_also_to_a_neighbour(planner) -> None:
    plan = ask(planner, {"extension_mandatory": (("qss_disjoint_paths", 2),)})
    assert plan == KeyPlan(B, 1, 32, (BOB,), policy=RelayPolicy(disjoint_paths=2))


def test_a_way_round_a_link_is_planned_only_where_it_is_allowed() -> None:
    allowed = RequestPlanner(A, LIMITS, PairPolicy(RULES), HOMES.get, frozenset({B, C}), lambda: NETWORK, detours=True)
    assert allowed.plan_keys(ALICE, BOB, KeyRequest()) == KeyPlan(B, 1, 32, (BOB,), detour=PLAIN)
    assert allowed.plan_keys(ALICE, DAN, KeyRequest()).detour is None
    assert allowed.plan_keys(ALICE, BOB, KeyRequest(additional_slaves=(CY,))).detour is None
    direct = KeyRequest(extension_mandatory=(("qss_direct_only", True),))
    assert allowed.plan_keys(ALICE, BOB, direct).detour is None
    for wish in (("qss_direct_only", True), ("qss_avoid", ["C"])):  # which the link meets, and the way round does not
        assert allowed.plan_keys(ALICE, BOB, KeyRequest(extension_optional=(wish,))).detour is None


def test_what_a_rule_demands_is_mandatory_for_every_slave_that_it_names() -> None:
    planner = planner_of(PairRule(ALICE, frozenset({CAROL}), Demand(hybrid=Hybrid.ML_KEM_768)))
    assert planner.plan_keys(ALICE, BOB, KeyRequest()).policy is None
    for slaves in ((CAROL,), (BOB, CAROL)):
        plan = planner.plan_keys(ALICE, slaves[0], KeyRequest(additional_slaves=slaves[1:]))
        assert plan.policy == RelayPolicy(hybrid=Hybrid.ML_KEM_768)
    with pytest.raises(BadRequest, match="not all extension_mandatory request options could be met"):
        planner.plan_keys(ALICE, CAROL, KeyRequest(extension_mandatory=(("qss_direct_only", True),)))


def test_it_is_said_whether_the_request_or_the_rule_demands_what_there_is_not() -> None:
    """An operator can mend a rule alone, and the application nothing at all."""
    planner = planner_of(PairRule(ALICE, frozenset({DAN}), Demand(disjoint_paths=3)))
    for refused in (
        lambda: planner.plan_keys(ALICE, DAN, KeyRequest()),
        lambda: planner.plan_keys(ALICE, BOB, KeyRequest(additional_slaves=(DAN,))),
        lambda: planner.plan_keys(ALICE, DAN, KeyRequest(extension_mandatory=(("qss_disjoint_paths", 2),))),
        lambda: planner.plan_status(ALICE, DAN),
    ):
        with pytest.raises(RuleUnmet, match=r"could be met$") as caught:
            refused()
        assert caught.value.details[-1] == {"rule": "the rules of this site demand it, not the request"}
        assert caught.value.details[0]["extension_mandatory_unmet"].startswith("qss_disjoint_paths: no such way")
        assert caught.value.site in (B, D)
    with pytest.raises(BadRequest, match=r"could be met$") as both:
        planner.plan_keys(ALICE, DAN, KeyRequest(extension_mandatory=(("qss_max_hops", 1),)))
    assert not isinstance(both.value, RuleUnmet)


def test_a_rule_and_a_request_that_contradict_each_other_are_no_trouble_of_the_rule() -> None:
    planner = planner_of(PairRule(ALICE, frozenset({BOB}), Demand(disjoint_paths=2)))
    with pytest.raises(BadRequest) as caught:
        planner.plan_keys(ALICE, BOB, KeyRequest(extension_mandatory=(("qss_direct_only", True),)))
    assert not isinstance(caught.value, RuleUnmet)


@pytest.mark.parametrize(
    ("slaves", "optional", "priority"),
    [
        ((BOB,), (), Priority.HIGH),
        ((BOB, CAROL), (), Priority.NORMAL),
        ((BOB, CY), (), Priority.LOW),
        ((BOB,), (("qss_priority", "low"),), Priority.LOW),
    ],
)
def test_a_request_is_as_urgent_as_its_least_urgent_pair(slaves, optional, priority) -> None:
    planner = planner_of(
        PairRule(ALICE, frozenset({BOB}), priority=Priority.HIGH),
        PairRule(ALICE, frozenset({CY}), priority=Priority.LOW),
    )
    request = KeyRequest(additional_slaves=slaves[1:], extension_optional=optional)
    assert planner.plan_keys(ALICE, slaves[0], request).priority is priority


# --- key streams ----------------------------------------------------------------------------------------------------


def test_a_stream_is_planned_if_one_may_be_the_others_master(planner) -> None:
    assert planner.plan_stream(ALICE, DAN) == StreamPlan(ALICE, DAN, D, may_ask=True, may_be_asked=False)
    assert planner.plan_stream(ALICE, BOB) == StreamPlan(ALICE, BOB, B, may_ask=True, may_be_asked=True)
    slave_only = planner_of(PairRule(CAROL, frozenset({ANN})))
    assert slave_only.plan_stream(ANN, CAROL) == StreamPlan(ANN, CAROL, B, may_ask=False, may_be_asked=True)


@pytest.mark.parametrize(
    ("caller", "other", "kind", "text"),
    [
        (BOB, ALICE, Unauthorised, "sae:bob is not at home"),
        (ANN, CAROL, Unauthorised, "no rule lets sae:ann and sae:carol share keys"),
        (ALICE, ALICE, Unauthorised, "no rule lets sae:alice and sae:alice"),
        (ALICE, MANY[0], None, ""),
        (ALICE, ANN, BadRequest, "SAE sae:ann is at home in this site"),
        (ALICE, SaeId("sae:x"), BadRequest, "SAE sae:x is not known"),
    ],
)
def test_a_stream_that_may_not_be_is_refused(
    planner, caller: SaeId, other: SaeId, kind: type[QssError] | None, text: str
) -> None:
    if kind is None:
        assert planner.plan_stream(caller, other).peer == B
        return
    with pytest.raises(kind, match=text):
        planner.plan_stream(caller, other)


# --- Get status -----------------------------------------------------------------------------------------------------


def test_a_master_is_told_of_the_neighbour_that_serves_its_slave(planner) -> None:
    assert planner.plan_status(ALICE, BOB) == Way(B)
    assert planner.plan_status(ALICE, CY) == Way(C)
    assert planner.plan_status(ALICE, DAN) == Way(D, PLAIN)


def test_a_master_is_told_of_the_way_that_its_rule_demands() -> None:
    planner = planner_of(PairRule(ALICE, frozenset({BOB, CY}), Demand(disjoint_paths=2)))
    assert planner.plan_status(ALICE, BOB) == Way(B, RelayPolicy(disjoint_paths=2))
    assert planner.plan_status(ANN, BOB) == Way(B)


@pytest.mark.parametrize(
    ("caller", "slave", "kind", "text"),
    [
        (BOB, ALICE, Unauthorised, "sae:bob is not at home"),
        (ANN, CAROL, Unauthorised, "no rule lets sae:ann"),
        (ANN, NOBODY, Unauthorised, "no rule lets sae:ann"),
        (ALICE, ALICE, Unauthorised, "no rule lets sae:alice"),
        (ALICE, NOBODY, BadRequest, "SAE sae:nobody is not known"),
        (ALICE, ANN, BadRequest, "SAE sae:ann is at home in this site"),
        (ALICE, EVE, Unavailable, "no way to site E is known now"),
    ],
)
def test_a_status_is_refused_as_a_key_would_be(planner, caller, slave, kind, text) -> None:
    with pytest.raises(kind, match=text):
        planner.plan_status(caller, slave)


def test_while_the_network_is_not_known_an_unknown_slave_may_be_known_soon() -> None:
    planner = planner_of(known=False)
    with pytest.raises(Unavailable, match="it is not known now where sae:nobody is at home"):
        planner.plan_status(ALICE, NOBODY)
    assert planner.plan_status(ALICE, BOB) == Way(B)
    with pytest.raises(BadRequest):
        planner_of().plan_status(ALICE, NOBODY)


# --- Get key with key IDs -------------------------------------------------------------------------------------------


def key_ids(count: int) -> KeyIdsRequest:
    return KeyIdsRequest(tuple(ReservationId.from_entropy(bytes(16)).key_id(position) for position in range(count)))


@pytest.mark.parametrize("master", [BOB, CY, DAN, NOBODY])
def test_a_fetch_does_not_depend_on_where_the_master_is_at_home_now(planner, master) -> None:
    assert planner.plan_fetch(ALICE, master, key_ids(1)).key_ids == key_ids(1).key_ids


def test_a_fetch_needs_no_rule_because_the_reservation_named_the_slave(planner) -> None:
    assert len(planner.plan_fetch(ANN, CY, key_ids(100)).key_ids) == 100


@pytest.mark.parametrize("master", [BOB, NOBODY])
def test_a_fetch_is_refused_first_for_the_caller_then_for_its_number(planner, master) -> None:
    with pytest.raises(Unauthorised, match="sae:bob is not at home"):
        planner.plan_fetch(BOB, master, key_ids(101))
    with pytest.raises(BadRequest, match="101 key_IDs: at most 100"):
        planner.plan_fetch(ALICE, master, key_ids(101))


# --- what a neighbour may reserve -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "master", "slaves", "objection"),
    [
        (B, BOB, (ALICE,), None),
        (B, BOB, (ANN,), Reason.UNAUTHORISED),  # no rule
        (B, BOB, (ALICE, ANN), Reason.UNAUTHORISED),  # none for one of them
        (B, BOB, (ALICE, ALICE), Reason.UNAUTHORISED),  # named twice
        (B, BOB, (CAROL,), Reason.UNAUTHORISED),  # not this site's
        (B, BOB, (ALICE, CAROL), Reason.UNAUTHORISED),
        (C, BOB, (ALICE,), Reason.UNAUTHORISED),  # speaks for another site's master
        (C, CY, (ALICE,), None),
        (B, ALICE, (ANN,), Reason.UNAUTHORISED),  # this site's master from outside
        (D, DAN, (ALICE,), Reason.UNAUTHORISED),  # no rule
        (B, NOBODY, (ALICE,), Reason.UNKNOWN),  # nobody knows its home
    ],
)
def test_a_neighbour_reserves_only_for_its_own_masters_and_allowed_slaves_here(
    planner, peer, master, slaves, objection
) -> None:
    assert planner.objection(peer, master, slaves) is objection


@pytest.mark.parametrize(
    ("demand", "policy", "is_taken"),
    [
        (Demand(), PLAIN, True),
        (Demand(disjoint_paths=2), None, False),
        (Demand(disjoint_paths=2), PLAIN, False),
        (Demand(disjoint_paths=2), RelayPolicy(disjoint_paths=3), True),
        (Demand(direct_only=True), PLAIN, False),
        (Demand(direct_only=True, avoid=frozenset({A, B, C})), None, True),
        (Demand(avoid=frozenset({A, B, C})), RelayPolicy(frozenset({C})), True),
    ],
)
def test_a_neighbour_reserves_only_key_that_is_as_the_rule_here_demands(demand, policy, is_taken) -> None:
    planner = planner_of(PairRule(BOB, frozenset({ALICE}), demand))
    text = "" if policy is None else policy.text
    assert planner.objection(B, BOB, (ALICE,), text) is (None if is_taken else Reason.UNAUTHORISED)
