"""One SAE's names do not use up everybody's."""

from __future__ import annotations

import pytest

from qss.core.keyserver.name_shares import PART, NameShares
from qss.model.errors import LimitReached
from qss.model.identifiers import QksId, SaeId

ALICE, ANNA, B, C = SaeId("alice"), SaeId("anna"), QksId("B"), QksId("C")


def test_each_sae_has_its_share_of_each_link_for_the_grace_time() -> None:
    shares = NameShares()
    for second in range(3):
        shares.take(float(second), B, ALICE, 3 * PART, 60.0)
    with pytest.raises(LimitReached, match=r"alice has asked under 3 names within 60 s, and may under 3; .* in 57 s"):
        shares.take(3.0, B, ALICE, 3 * PART, 60.0)
    shares.take(3.0, B, ANNA, 3 * PART, 60.0)
    shares.take(3.0, C, ALICE, 3 * PART, 60.0)
    shares.take(60.0, B, ALICE, 3 * PART, 60.0)  # the first has lapsed
    with pytest.raises(LimitReached):
        shares.take(60.0, B, ALICE, 3 * PART, 60.0)


def test_somebody_always_has_one() -> None:
    NameShares().take(0.0, B, ALICE, 1, 60.0)
