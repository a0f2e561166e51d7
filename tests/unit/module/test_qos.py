"""QoS of ETSI GS QKD 004: what is granted, and counter-proposals that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.core.module.qos import Ability, fitting_chunk, joined, negotiate
from qss.wire.etsi004.messages import MAX_NUMBER, QoS

ABLE = Ability(rate_bps=100_000, jitter_bps=5)
NUMBERS = st.integers(0, MAX_NUMBER)
MIMETYPES = st.sampled_from(["", "application/json", "Application/JSON", "text/xml"])
ASKED = st.builds(QoS, *[NUMBERS] * 7, MIMETYPES)
ABILITIES = st.builds(Ability, st.floats(0, 1e12), st.floats(0, 1e6))


def test_who_asks_for_nothing_is_given_what_fits() -> None:
    offer = negotiate(QoS(), ABLE)
    assert offer.met
    assert offer.qos == QoS(fitting_chunk(100_000), 100_000, 0, 5, 0, 5000, 600, "")


@pytest.mark.parametrize(("asked", "granted"), [(0, 48), (64, 64)])
def test_a_chunk_of_its_own_is_what_who_leaves_it_open_is_given(asked: int, granted: int) -> None:
    offer = negotiate(QoS(key_chunk_size=asked), replace(ABLE, chunk_bytes=48))
    assert offer.met
    assert offer.qos.key_chunk_size == granted


@pytest.mark.parametrize(
    ("asked", "name", "offered"),
    [
        (QoS(key_chunk_size=31), "key_chunk_size", 32),
        (QoS(key_chunk_size=65_537), "key_chunk_size", 65_536),
        (QoS(min_bps=100_001), "min_bps", 100_000),
        (QoS(min_bps=500, max_bps=400), "max_bps", 500),
        (QoS(jitter=4), "jitter", 5),
        (QoS(timeout=60_001), "timeout", 60_000),
        (QoS(ttl=86_401), "ttl", 86_400),
        (QoS(metadata_mimetype="text/xml"), "metadata_mimetype", "application/json"),
    ],
)
def test_what_cannot_be_met_is_countered(asked: QoS, name: str, offered: object) -> None:
    offer = negotiate(asked, ABLE)
    assert not offer.met
    assert getattr(offer.qos, name) == offered


@pytest.mark.parametrize(
    "asked",
    [
        QoS(key_chunk_size=32),
        QoS(key_chunk_size=65_536),
        QoS(key_chunk_size=100),
        QoS(min_bps=100_000, max_bps=100_000),
        QoS(max_bps=MAX_NUMBER),
        QoS(jitter=5),
        QoS(priority=MAX_NUMBER),
        QoS(timeout=60_000, ttl=86_400),
        QoS(metadata_mimetype="application/json"),
        QoS(metadata_mimetype="Application/JSON"),
        QoS(512, 40_000, 5_000, 10, 0, 5_000, 3_600, "application/json"),
    ],
)
def test_what_can_be_met_is_granted(asked: QoS) -> None:
    offer = negotiate(asked, ABLE)
    assert offer.met
    for name in ("key_chunk_size", "min_bps", "jitter", "priority", "timeout", "ttl"):
        assert getattr(asked, name) in (0, getattr(offer.qos, name))


@given(ASKED, ABILITIES)
def test_whoever_asks_for_the_counter_proposal_gets_just_that(asked: QoS, ability: Ability) -> None:
    offer = negotiate(asked, ability)
    again = negotiate(offer.qos, ability)
    assert again.met
    assert again.qos == offer.qos


@given(ASKED, ABILITIES)
def test_no_more_is_promised_than_there_is(asked: QoS, ability: Ability) -> None:
    qos = negotiate(asked, ability).qos
    assert 32 <= qos.key_chunk_size <= 65_536
    assert qos.min_bps <= qos.max_bps <= ability.rate_bps
    assert qos.jitter >= ability.jitter_bps
    assert 0 < qos.timeout <= 60_000
    assert 0 < qos.ttl <= 86_400


@given(ASKED, ABILITIES, st.integers(32, 65_536))
def test_a_registered_stream_is_joined_as_it_is(asked: QoS, ability: Ability, chunk_bytes: int) -> None:
    offer = joined(asked, ability, chunk_bytes)
    assert offer.met is (asked.metadata_mimetype != "text/xml")
    assert offer.qos == replace(negotiate(asked, ability).qos, key_chunk_size=chunk_bytes)
