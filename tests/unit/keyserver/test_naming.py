"""Names of asks: alike for the same ask of the same caller, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qss.core.keyserver.naming import name_of_key_ids, name_of_key_request
from qss.model.identifiers import ReservationId, SaeId
from qss.model.keys import KeyIdsRequest, KeyRequest

ALICE, BOB, CAROL = map(SaeId, ("alice", "bob", "carol"))
KEYS = KeyRequest(2, 256, (CAROL,), (("qss_max_hops", 4),), (("abc", [1, {"b": 2, "a": 1}]),), "n")
IDS = KeyIdsRequest(tuple(ReservationId.from_entropy(bytes(16)).key_id(position) for position in range(3)), "n")


def test_without_a_name_there_is_none() -> None:
    assert name_of_key_request(ALICE, BOB, replace(KEYS, name=None)) is None
    assert name_of_key_ids(ALICE, BOB, replace(IDS, name=None)) is None


def test_the_same_ask_has_the_same_name() -> None:
    same = replace(KEYS, extension_optional=(("abc", [1, {"a": 1, "b": 2}]),))
    assert name_of_key_request(ALICE, BOB, KEYS) == name_of_key_request(ALICE, BOB, same)
    assert name_of_key_ids(ALICE, BOB, IDS) == name_of_key_ids(ALICE, BOB, IDS)


def test_callers_partners_methods_and_words_tell_names_apart() -> None:
    names = [
        name_of_key_request(ALICE, BOB, KEYS),
        name_of_key_request(BOB, ALICE, KEYS),
        name_of_key_request(CAROL, BOB, KEYS),
        name_of_key_request(SaeId("aliceb"), SaeId("ob"), KEYS),
        name_of_key_request(ALICE, BOB, replace(KEYS, name="m")),
        name_of_key_ids(ALICE, BOB, IDS),
    ]
    assert len({name.digest for name in names if name is not None}) == len(names)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"size": None},
        {"size": 128},
        {"additional_slaves": ()},
        {"extension_mandatory": ()},
        {"extension_mandatory": (("qss_max_hops", 3),)},
        {"extension_mandatory": (("qss_disjoint_paths", 4),)},
        {"extension_optional": ()},
        {"extension_optional": (("abc", [1, {"b": 2, "a": 2}]),)},
    ],
)
def test_another_request_under_a_name_is_seen(change) -> None:
    one, other = name_of_key_request(ALICE, BOB, KEYS), name_of_key_request(ALICE, BOB, replace(KEYS, **change))
    assert one is not None
    assert other is not None
    assert (one.digest == other.digest, one.request == other.request) == (True, False)


def test_other_keys_or_another_order_is_another_request() -> None:
    names = [
        name_of_key_ids(ALICE, BOB, replace(IDS, key_ids=key_ids))
        for key_ids in (IDS.key_ids, IDS.key_ids[::-1], IDS.key_ids[:2])
    ]
    assert len({name.request for name in names if name is not None}) == 3
    assert len({name.digest for name in names if name is not None}) == 1
