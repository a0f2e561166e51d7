"""Relay policies: the one text of each, and that nothing else is read as one."""

from __future__ import annotations

import itertools
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import InvalidIdentifier
from qss.model.identifiers import QksId, parse_qks_id
from qss.model.relay_policy import ALLOWED, MAX_TEXT_BYTES, Hop, Hybrid, RelayPolicy

SITES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12).filter(lambda s: s[0].isalnum())
POLICIES = st.builds(
    RelayPolicy,
    st.frozensets(SITES.map(QksId), max_size=16),
    st.integers(1, 8),
    st.sampled_from(Hop),
    st.sampled_from([None, *Hybrid]),
    st.integers(1, 16),
)
WHOLE = RelayPolicy(frozenset(map(QksId, "DC")), 2, Hop.AES_256_GCM, Hybrid.ML_KEM_768, 4)
TEXT = '{"avoid":["C","D"],"disjoint_paths":2,"hop":"aes-256-gcm","hybrid":"ml-kem-768","max_hops":4}'


def test_texts() -> None:
    assert RelayPolicy().text == "{}"
    assert WHOLE.text == TEXT
    assert RelayPolicy(max_hops=3).text == '{"max_hops":3}'


@given(POLICIES)
def test_a_text_is_read_as_what_it_was_made_of(policy) -> None:
    assert RelayPolicy.from_text(policy.text) == policy
    assert RelayPolicy.from_members(json.loads(policy.text)) == policy
    assert len(policy.text.encode()) <= MAX_TEXT_BYTES


@given(POLICIES, POLICIES)
def test_policies_are_alike_if_their_texts_are(one, other) -> None:
    assert (one == other) is (one.text == other.text)
    assert (hash(one) == hash(other)) or one != other


@pytest.mark.parametrize(
    "text",
    [
        '{"disjoint_paths":1}',
        '{"hop":"one-time-pad"}',
        '{"max_hops":16}',
        '{"avoid":[]}',
        '{"hybrid":null}',
        '{"avoid":["D","C"]}',
        '{"avoid":["C","C"]}',
        '{"max_hops":4,"disjoint_paths":2}',
        '{"max_hops":4,"max_hops":4}',
        '{"max_hops": 4}',
        '{"max_hops":4} ',
        '{"max_hops":4.0}',
        '{"max_hops":4e0}',
        '{"max_hops":true}',
        '{"max_hops":"4"}',
        '{"max_hops":0}',
        '{"max_hops":17}',
        '{"max_hops":-1}',
        '{"disjoint_paths":9}',
        '{"disjoint_paths":0}',
        '{"disjoint_paths":[2]}',
        '{"hop":"xor"}',
        '{"hop":1}',
        '{"hybrid":"ml-kem-512"}',
        '{"hybrid":["ml-kem-768"]}',
        '{"avoid":"C"}',
        '{"avoid":[1]}',
        '{"avoid":["C d"]}',
        '{"avoid":["\\u0043"]}',
        '{"avoid":["\\ud800"]}',
        '{"avoid":{"C":1}}',
        '{"direct_only":true}',
        '{"avoid":' + json.dumps([f"S{n:02}" for n in range(17)], separators=(",", ":")) + "}",
        "[]",
        "null",
        "NaN",
        "",
        "{",
        "{}{}",
        "[" * MAX_TEXT_BYTES,
        '{"max_hops":' + "9" * 1000 + "}",
        " " * MAX_TEXT_BYTES + "{}",
    ],
)
def test_what_is_no_policy_in_its_one_form_is_refused(text) -> None:
    with pytest.raises(InvalidIdentifier):
        RelayPolicy.from_text(text)


def test_a_text_that_is_cut_or_goes_on_is_none() -> None:
    for end in range(len(TEXT)):
        with pytest.raises(InvalidIdentifier):
            RelayPolicy.from_text(TEXT[:end])
    for more in ("\0", "}", " ", "{}"):
        with pytest.raises(InvalidIdentifier):
            RelayPolicy.from_text(TEXT + more)


@given(st.text(max_size=40) | st.text('{}[]":,0123456789acdehijlmopnstvxy-_', max_size=60))
def test_any_text_is_read_in_its_one_form_or_refused(text) -> None:
    try:
        policy = RelayPolicy.from_text(text)
    except InvalidIdentifier:
        return
    assert policy.text == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([*Hop, *Hybrid]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*ALLOWED]) | st.text(max_size=3), JSON, max_size=3))
def test_any_members_make_a_policy_or_are_refused(members) -> None:
    try:
        policy = RelayPolicy.from_members(members)
    except InvalidIdentifier:
        return
    assert RelayPolicy.from_text(policy.text) == policy


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"avoid": 1}, "avoid of a relay policy can only be a list of at most 16 names of sites"),
        ({"disjoint_paths": 9}, "disjoint_paths of a relay policy can only be a whole number from 1 to 8"),
        ({"hop": "x"}, "hop of a relay policy can only be one-time-pad or aes-256-gcm"),
        ({"hybrid": "x"}, "hybrid of a relay policy can only be ml-kem-768"),
        ({"max_hops": "x"}, "max_hops of a relay policy can only be a whole number from 1 to 16"),
        ({"x": 1}, "a relay policy has avoid, disjoint_paths, hop, hybrid, max_hops, and nothing else"),
    ],
)
def test_a_refusal_names_the_member(members, text) -> None:
    with pytest.raises(InvalidIdentifier, match=text):
        RelayPolicy.from_members(members)


def test_members_out_of_range_make_no_policy() -> None:
    for wrong in ({"disjoint_paths": 0}, {"disjoint_paths": 9}, {"max_hops": 0}, {"max_hops": 17}):
        with pytest.raises(InvalidIdentifier):
            RelayPolicy(**wrong)
    names = itertools.islice(itertools.permutations("ABCD", 3), 16)
    sixteen = [parse_qks_id("".join(letters) * 21) for letters in names]
    assert len(RelayPolicy(frozenset(sixteen[:15])).text) <= MAX_TEXT_BYTES
    with pytest.raises(InvalidIdentifier, match="at most 1024 bytes: avoid fewer sites"):
        RelayPolicy(frozenset(sixteen))
    with pytest.raises(InvalidIdentifier, match="avoid of a relay policy"):
        RelayPolicy(frozenset(QksId(f"S{number}") for number in range(17)))
