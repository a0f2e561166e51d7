"""The newest instance of each LSA, ages, what has been, and the digest of it all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qss.core.routing import database as db
from qss.core.routing.database import Database, Freshness, Instance
from qss.wire import routing as wire

NOBODY = wire.Authentication("none", (), b"")


def instance(origin="A", sequence=1, *, born_at=0.0, generation=0, part=0, lifetime_s=90, timestamp=0):
    body = wire.Body(
        wire.VERSION, wire.LsaType.SAES, wire.Source(origin, "h", 1), wire.Endpoint("h", 2), part, generation, sequence,
        lifetime_s, False, True, (), (), timestamp,
    )  # fmt: skip
    encoded = wire.encode_body(body)
    return Instance(wire.header_of(encoded, body), encoded, body, NOBODY, born_at, born_at)


def test_which_of_two_is_newer():
    known = Database()
    assert known.freshness(instance().header) is Freshness.NEWER
    known.install(instance(sequence=5, generation=1))
    for sequence, generation, standing in [
        (5, 1, Freshness.SAME), (6, 1, Freshness.NEWER), (4, 1, Freshness.OLDER), (1, 2, Freshness.NEWER),
        (wire.MAX_SEQUENCE, 0, Freshness.OLDER),
    ]:  # fmt: skip
        assert known.freshness(instance(sequence=sequence, generation=generation).header) is standing


def test_of_two_with_one_sequence_both_ends_choose_the_same():
    one, other = instance(timestamp=1), instance(timestamp=2)
    known = [Database(), Database()]
    for database, first, second in zip(known, (one, other), (other, one), strict=True):
        database.install(first)
        if database.freshness(second.header) is Freshness.NEWER:
            database.install(second)
    assert known[0].digest == known[1].digest


def test_what_has_passed_its_lifetime_is_dropped_and_does_not_come_back():
    known = Database()
    empty = known.digest
    known.install(instance(sequence=3, born_at=10.0, lifetime_s=30))
    assert known.age(39.9) == []
    assert known.age(40.0) == [instance().header.key]
    assert (len(known), known.digest) == (0, empty)
    assert known.freshness(instance(sequence=3, lifetime_s=30).header) is Freshness.SAME
    assert known.freshness(instance(sequence=2).header) is Freshness.OLDER
    assert known.get(instance().header.key) is None
    known.install(instance(sequence=4, born_at=50.0))
    assert len(known) == 1


def test_a_refresh_lengthens_the_life():
    known = Database()
    known.install(instance(sequence=1, born_at=0.0, lifetime_s=30))
    known.install(instance(sequence=2, born_at=20.0, lifetime_s=30))
    assert known.age(49.9) == []
    assert len(known.age(50.0)) == 1


def test_an_age_grows_on_the_way_and_is_never_more_than_the_lifetime():
    one = instance(born_at=10.0, lifetime_s=30)
    assert [one.carried("B", now).age_ms for now in (9.0, 10.0, 12.5, 100.0)] == [0, 0, 2500, 30_000]


def test_origins_have_a_limit_that_those_that_have_been_count_for(monkeypatch):
    monkeypatch.setattr(db, "MAX_ORIGINS", 2)
    known = Database()
    known.install(instance("A", lifetime_s=10))
    known.install(instance("B"))
    assert not known.has_room(instance("C").header.key)
    assert known.has_room(instance("B", part=5).header.key)
    known.age(20.0)
    assert not known.has_room(instance("C").header.key)
    assert known.has_room(instance("A").header.key)


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 2), st.integers(1, 9)), max_size=30), st.randoms())
def test_the_digest_tells_what_is_known_whatever_the_order(facts, dice):
    instances = [instance(origin, sequence, part=part) for origin, part, sequence in facts]
    known = [Database(), Database()]
    for database in known:
        dice.shuffle(instances)
        for each in instances:
            if database.freshness(each.header) is Freshness.NEWER:
                database.install(each)
    assert known[0].headers() == known[1].headers()
    assert known[0].digest == known[1].digest
