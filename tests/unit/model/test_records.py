"""Tallies add up, and a reservation's rows cut its range into its keys."""

from __future__ import annotations

from hypothesis import given

from qss.model.records import COVERED_FROM, TAG_KEY_BYTES, BurnReason, Part, ReservationRecord, Tally
from support.store_records import reservation_records, tallies


@given(tallies, tallies)
def test_a_sum_of_tallies_loses_and_makes_no_bit(one, other) -> None:
    total = one + other
    for part in ("reserved", "delivered", "relayed", "burned_total"):
        assert getattr(total, part) == getattr(one, part) + getattr(other, part)
    for reason in BurnReason:
        assert total.burned.get(reason, 0) == one.burned.get(reason, 0) + other.burned.get(reason, 0)
    assert set(total.burned) == {*one.burned, *other.burned}


@given(tallies, tallies)
def test_adding_changes_neither(one, other) -> None:
    before = (dict(one.burned), dict(other.burned))
    (one + other).burned.clear()
    assert (one.burned, other.burned) == before
    assert one + Tally() == one


def test_no_two_tallies_share_their_reasons() -> None:
    Tally().burned[BurnReason.EXPIRED] = 8
    assert Tally().burned == {}


@given(reservation_records)
def test_the_keys_of_a_reservation_lie_one_after_the_other(record: ReservationRecord) -> None:
    positions = [p for p in (0, 1, 2, record.count - 1) if p < record.count]
    assert len(record.keys) == record.count * record.key_bytes
    assert record.key_range(0).start == record.keys.start
    assert record.key_range(record.count - 1).stop == record.keys.stop
    for position in positions:
        assert len(record.key_range(position)) == record.key_bytes
        assert record.key_range(position) in record.keys
        assert position == 0 or record.key_range(position).start == record.key_range(position - 1).stop


@given(reservation_records)
def test_the_keys_are_the_range_but_where_that_covers_others(record: ReservationRecord) -> None:
    tag = TAG_KEY_BYTES if record.part is Part.FURTHER else 0
    assert len(record.range) == len(record.keys) + tag
    assert record.keys.start - record.range.start == (COVERED_FROM if record.covered else 0)
    if record.awaits_cover:
        assert record.ranges_of(1) == (record.range,)
        assert record.ranges_of(0) == ()
    else:
        assert record.ranges_of(1) == (record.key_range(0),)
