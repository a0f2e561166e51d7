"""Quotas: what a master and a pair may take, refused whole, filled up again with time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.keyserver import quotas as module
from qss.core.keyserver.quotas import Party, Quota, QuotaPlan, Quotas
from qss.model.errors import LimitReached
from qss.model.identifiers import SaeId

ALICE, BOB, CAROL, DAN = map(SaeId, ("alice", "bob", "carol", "dan"))


class Asking:
    """Asks a quota, at a time that the test says."""

    def __init__(self, **plan: object) -> None:
        self.quotas = Quotas(QuotaPlan(**plan))  # type: ignore[arg-type]
        self.outstanding: Counter[Party] = Counter()
        self.now = 0.0

    def take(self, bits: int, master: SaeId = ALICE, slaves: tuple[SaeId, ...] = (BOB,), count: int = 1) -> None:
        self.quotas.take(self.now, master, slaves, count, bits, self.outstanding.__getitem__)


def test_without_a_quota_anything_goes() -> None:
    asking = Asking()
    asking.outstanding[ALICE] = 10**9
    asking.take(10**12, count=10**6)


def test_bits_are_saved_up_to_the_burst_and_fill_steadily() -> None:
    asking = Asking(sae=Quota(bps=100.0), burst_s=10.0)
    asking.take(1000)
    with pytest.raises(LimitReached, match=r"alice may take 100 bit/s.*try again in 2\.5 s"):
        asking.take(250)
    asking.now = 2.5
    asking.take(250)
    asking.now = 1000.0
    asking.take(1000)
    with pytest.raises(LimitReached):
        asking.take(1)


def test_more_than_the_burst_is_never_had() -> None:
    asking = Asking(sae=Quota(bps=100.0), burst_s=10.0)
    with pytest.raises(LimitReached, match=r"at most 1000 bits at once; 1001 were asked for.*ask for less"):
        asking.take(1001)


def test_a_pair_has_a_quota_of_its_own() -> None:
    asking = Asking(pair=Quota(bps=100.0), burst_s=1.0)
    asking.take(100, slaves=(BOB,))
    asking.take(100, slaves=(CAROL,))
    with pytest.raises(LimitReached, match="alice with bob"):
        asking.take(1, slaves=(DAN, BOB))
    asking.take(100, slaves=(DAN,))  # what was refused took nothing from Dan's


def test_an_sae_can_have_a_quota_of_its_own() -> None:
    asking = Asking(sae=Quota(bps=100.0), saes={BOB: Quota(bps=200.0)}, burst_s=1.0)
    asking.take(200, master=BOB, slaves=(ALICE,))
    with pytest.raises(LimitReached):
        asking.take(200)


@pytest.mark.parametrize("party", [ALICE, (ALICE, BOB)])
def test_keys_that_are_not_fetched_are_counted(party) -> None:
    asking = Asking(sae=Quota(keys=10), pair=Quota(keys=10))
    asking.outstanding[party] = 8
    asking.take(0, count=2)
    with pytest.raises(LimitReached, match=r"may have 10 keys that are not fetched yet, has 8, and asks for 3"):
        asking.take(0, count=3)


def test_what_came_to_nothing_is_given_back() -> None:
    asking = Asking(sae=Quota(bps=100.0), pair=Quota(bps=100.0), burst_s=1.0)
    asking.take(100)
    asking.quotas.give_back(ALICE, (BOB,), 100)
    asking.take(100)
    asking.quotas.give_back(DAN, (BOB,), 100)  # of whom nothing is known
    asking.take(100, master=DAN)


def test_a_new_plan_holds_at_once() -> None:
    asking = Asking()
    asking.take(10**9)
    asking.quotas.plan = QuotaPlan(sae=Quota(bps=1.0))
    with pytest.raises(LimitReached):
        asking.take(10**9)
    asking.take(60)
    asking.quotas.plan = QuotaPlan()
    asking.take(10**9)


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKETS", 3)
    asking = Asking(sae=Quota(bps=1.0), burst_s=10.0)
    for number in range(10):
        asking.now = float(number)
        asking.take(10, master=SaeId(f"s{number}"))
    assert len(asking.quotas._buckets) == 3
    with pytest.raises(LimitReached):
        asking.take(10, master=SaeId("s9"))


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(1, 300)), max_size=50))
def test_nobody_gets_more_than_rate_and_burst(asks) -> None:
    asking = Asking(sae=Quota(bps=100.0), burst_s=3.0)
    taken = 0
    for pause, bits in asks:
        asking.now += pause
        try:
            asking.take(bits)
        except LimitReached:
            continue
        taken += bits
        assert taken <= 300 + 100 * asking.now + 1e-6
