"""Extensions of a 014 request: what each can be, and what becomes of those that are something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver.demands import NOTHING, Demand
from qss.core.keyserver.extensions import demanded, priority_of, wished
from qss.model.errors import BadRequest
from qss.model.identifiers import QksId
from qss.model.keys import KeyRequest, Priority
from qss.model.relay_policy import Hop, Hybrid

KNOWN = [
    ("qss_direct_only", True, Demand(direct_only=True)),
    ("qss_avoid", ["D", "C"], Demand(avoid=frozenset(map(QksId, "CD")))),
    ("qss_avoid", [], NOTHING),
    ("qss_disjoint_paths", 8, Demand(disjoint_paths=8)),
    ("qss_disjoint_paths", 1, NOTHING),
    ("qss_hop", "one-time-pad", Demand(hop=Hop.ONE_TIME_PAD)),
    ("qss_hop", "aes-256-gcm", Demand(hop=Hop.AES_256_GCM)),
    ("qss_hybrid", "ml-kem-768", Demand(hybrid=Hybrid.ML_KEM_768)),
    ("qss_max_hops", 1, Demand(max_hops=1)),
    ("qss_max_hops", 16, NOTHING),
    ("qss_priority", "low", NOTHING),
    ("qss_priority", "high", NOTHING),
]
WRONG = [
    ("qss_direct_only", [False, 1, "true", None], "qss_direct_only can only be true"),
    (
        "qss_avoid",
        ["C", [1], ["C d"], {"C": 1}, [["C"]], None, [f"S{number}" for number in range(17)]],
        "qss_avoid can only be a list of at most 16 names of sites",
    ),
    (
        "qss_disjoint_paths",
        [0, 9, -1, 1.0, True, "2", None],
        "qss_disjoint_paths can only be a whole number from 1 to 8",
    ),
    ("qss_hop", ["", "AES-256-GCM", 1, None, ["one-time-pad"]], "qss_hop can only be one-time-pad or aes-256-gcm"),
    ("qss_hybrid", ["ml-kem-1024", True, None, {}], "qss_hybrid can only be ml-kem-768"),
    ("qss_priority", ["", "LOW", 1, None, ["low"]], "qss_priority can only be low or normal or high"),
    ("qss_max_hops", [0, 17, 2**63, 4.0, False, "4", []], "qss_max_hops can only be a whole number from 1 to 16"),
]
VALUES = [(name, value, text) for name, values, text in WRONG for value in values]


@pytest.mark.parametrize(("name", "value", "demand"), KNOWN)
def test_what_is_known_is_read(name, value, demand) -> None:
    assert demanded(KeyRequest(extension_mandatory=((name, value),))) == demand
    assert wished(KeyRequest(extension_optional=((name, value),))) == (demand,)


@pytest.mark.parametrize(("name", "value", "text"), VALUES)
def test_a_mandatory_one_with_another_value_is_unmet_and_an_optional_one_ignored(name, value, text) -> None:
    with pytest.raises(BadRequest) as caught:
        demanded(KeyRequest(extension_mandatory=(("qss_max_hops", 4), (name, value))))
    assert caught.value.message == "not all extension_mandatory request options could be met"
    assert caught.value.details == ({"extension_mandatory_unmet": text},)
    assert wished(KeyRequest(extension_optional=((name, value),))) == ()


def test_unknown_mandatory_ones_are_told_before_those_that_are_unmet() -> None:
    with pytest.raises(BadRequest) as caught:
        demanded(KeyRequest(extension_mandatory=(("qss_hop", 1), ("qss_idempotency_key", "n"), ("qss_", True))))
    assert caught.value.message == "not all extension_mandatory parameters are supported"
    assert caught.value.details == (
        {"extension_mandatory_unsupported": "qss_idempotency_key is not supported"},
        {"extension_mandatory_unsupported": "qss_ is not supported"},
    )


def test_several_are_met_together() -> None:
    request = KeyRequest(extension_mandatory=(("qss_max_hops", 4), ("qss_avoid", ["C"]), ("qss_max_hops", 3)))
    assert demanded(request) == Demand(avoid=frozenset({QksId("C")}), max_hops=3)


def test_optional_ones_stay_apart_and_the_last_of_a_name_counts() -> None:
    optional = (("qss_max_hops", 4), ("abc", 1), ("qss_disjoint_paths", 2), ("qss_max_hops", 3), ("qss_hop", 1))
    assert wished(KeyRequest(extension_optional=optional)) == (Demand(max_hops=3), Demand(disjoint_paths=2))


LOW, MIDDLE, HIGH = Priority


@pytest.mark.parametrize(
    ("mandatory", "optional", "highest", "priority"),
    [
        ((), (), MIDDLE, MIDDLE),
        ((), (), HIGH, HIGH),
        (("low",), (), HIGH, LOW),
        (("normal",), (), HIGH, MIDDLE),
        (("high", "normal"), (), HIGH, MIDDLE),
        (("low",), ("normal",), HIGH, LOW),
        ((), ("low",), MIDDLE, LOW),
        ((), ("low", "normal"), HIGH, MIDDLE),
        ((), ("high",), MIDDLE, MIDDLE),
        ((), ("urgent",), LOW, LOW),
        ((), (3,), LOW, LOW),
    ],
)
def test_a_request_has_the_priority_that_it_asks_for_or_the_highest_that_it_can_have(
    mandatory, optional, highest, priority
) -> None:
    request = KeyRequest(
        extension_mandatory=tuple(("qss_priority", value) for value in mandatory),
        extension_optional=tuple(("qss_priority", value) for value in optional),
    )
    assert priority_of(request, highest) is priority


def test_a_mandatory_priority_above_what_the_rules_give_is_unmet() -> None:
    request = KeyRequest(extension_mandatory=(("qss_priority", "high"),))
    with pytest.raises(BadRequest) as caught:
        priority_of(request, MIDDLE)
    said = "qss_priority: the rules give requests of this pair normal at most"
    assert caught.value.details == ({"extension_mandatory_unmet": said},)


@given(st.text() | st.sampled_from(sorted({name for name, _, _ in KNOWN})), st.from_type(object) | st.lists(st.text()))
def test_whatever_is_given_is_read_or_refused(name, value) -> None:
    wishes = wished(KeyRequest(extension_optional=((name, value),)))
    request = KeyRequest(extension_mandatory=((name, value),))
    if wishes:
        assert (demanded(request),) == wishes
    else:
        with pytest.raises(BadRequest) as caught:
            demanded(request)
        assert caught.value.details
