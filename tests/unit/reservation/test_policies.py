"""Streams of another policy: a request is served from those of its own alone, at both ends."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.model.errors import Shortage
from support.link_pair import PAIRS, LinkPair

RELAYED = "{}"


def pair_with_a_relay() -> LinkPair:
    """The second of two device pairs is the relay, at both ends."""
    pair = LinkPair(2)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], RELAYED))
    return pair.ready()


@pytest.mark.parametrize("master", ["a", "b"])
@pytest.mark.parametrize("policy", ["", RELAYED])
def test_keys_come_from_streams_of_the_policy_that_was_asked_for(master: str, policy: str) -> None:
    pair = pair_with_a_relay()
    end = getattr(pair, master)
    streams = {record.policy: record.stream for record in end.link.streams}
    assert set(streams) == {"", RELAYED}
    for _ in range(3):
        reservation = pair.reserve(end, policy=policy)
        pair.settle()
        assert {stream for stream, _ in pair.master_got[reservation]} == {streams[policy]}
    assert end.link.key_count(16, policy) == end.link.key_count(16, RELAYED if not policy else "") - 3


@pytest.mark.parametrize("master", ["a", "b"])
def test_there_is_no_key_of_a_policy_without_a_stream(master: str) -> None:
    pair = pair_with_a_relay()
    end = getattr(pair, master)
    reservation = pair.reserve(end, policy='{"max_hops":2}')
    pair.settle()
    assert isinstance(pair.refused[reservation], Shortage)
    assert end.link.key_count(16, '{"max_hops":2}') == 0


@pytest.mark.parametrize("crashed", ["a", "b"])
def test_a_stream_keeps_its_policy_over_a_crash(crashed: str) -> None:
    pair = pair_with_a_relay()
    pair.crash(getattr(pair, crashed))
    pair.connect()
    pair.settle()
    assert {record.policy for record in getattr(pair, crashed).link.streams} == {"", RELAYED}
    reservation = pair.reserve(pair.b, policy=RELAYED)
    pair.settle()
    assert reservation in pair.master_got


def test_what_applications_leave_for_relaying_is_not_kept_of_relayed_key() -> None:
    pair = LinkPair(2, relay_reserve_bytes=1 << 20)
    for end in (pair.a, pair.b):
        pair.handle(end, ev.SourceAttached(PAIRS[1], RELAYED))
    pair.ready()
    plain, relayed = pair.reserve(pair.a), pair.reserve(pair.a, policy=RELAYED)
    pair.settle()
    assert relayed in pair.master_got
    assert isinstance(pair.refused[plain], Shortage)
