"""Which two SAEs source and destination of a key stream name."""

from __future__ import annotations

import pytest

from qss.core.keyserver.stream_parties import other_party
from qss.model.errors import BadRequest
from qss.model.identifiers import SaeId

ALICE = SaeId("sae:alice")


@pytest.mark.parametrize("other", ["sae:carol", "carol", "https://carol.example.net/app?x=1"])
def test_the_caller_may_be_either_one(other: str) -> None:
    assert other_party(ALICE, ALICE, other) == other_party(ALICE, other, ALICE) == other


@pytest.mark.parametrize("source", ["sae:Alice", "sae:alice ", "alice", "", "qks:A", "sae:mallory"])
def test_whoever_is_neither_one_is_refused(source: str) -> None:
    with pytest.raises(BadRequest, match="one of them has to be the caller's own SAE ID"):
        other_party(ALICE, source, "sae:carol")


@pytest.mark.parametrize("other", ["", "two words", "carol\n", "s\u00e6:carol", "c" * 256])
def test_what_is_no_sae_is_refused(other: str) -> None:
    with pytest.raises(BadRequest, match="is no SAE ID"):
        other_party(ALICE, ALICE, other)


def test_a_stream_with_oneself_is_left_to_the_rules_which_never_allow_it() -> None:
    assert other_party(ALICE, ALICE, ALICE) == ALICE
