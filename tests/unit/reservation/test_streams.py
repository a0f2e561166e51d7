"""Whenever a stream opens or ends, both ends come to hold it, or neither does; and the next one follows."""

from __future__ import annotations

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation.phases import LinkPhase
from support.link_pair import End, LinkPair


def about_to_open() -> LinkPair:
    """Two ends whose stream has ended, unused, and of which the owner is opening another."""
    pair = LinkPair().ready(0)
    pair.end_session(pair.a)
    pair.settle()
    pair.tick()
    pair.settle()
    pair.tick(2.0)
    assert pair.a.opening
    for end in (pair.a, pair.b):
        assert not end.link.streams
        end.effects.clear()
    return pair


def works(pair: LinkPair) -> bool:
    """Whether there is key for a master once both modules have yielded some."""
    for _ in range(3):
        pair.tick(2.0)
        pair.rest()
    for end in (pair.a, pair.b):
        pair.key_arrives(end)
    pair.settle()
    reservation = pair.reserve(pair.b)
    pair.settle()
    return reservation in pair.master_got


def opened(end: End) -> list[ev.Effect]:
    return [effect for effect in end.effects if isinstance(effect, ev.OpenSource)]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("phase", [LinkPhase.DOWN, LinkPhase.GREETING, LinkPhase.COMPARING, LinkPhase.SETTLING])
def test_a_stream_that_opens_while_there_is_no_link_is_used_or_followed_by_another(phase, durable) -> None:
    pair = about_to_open()
    pair.disconnect()
    if phase is not LinkPhase.DOWN:
        pair.connect()
    while pair.a.link.phase is not phase:
        pair.sync(pair.b) if phase is LinkPhase.SETTLING and pair.b.unsynced else pair.receive(pair.b)
        pair.receive(pair.a) if pair.a.link.phase is LinkPhase.GREETING else pair.sync(pair.a)
    pair.open_source(pair.a)
    while durable and pair.a.unsynced and pair.a.link.phase is phase:
        pair.sync(pair.a)
    pair.connect()
    assert works(pair)
    assert pair.disconnect_reasons == []
    (one,), (other,) = pair.a.link.streams, pair.b.link.streams
    assert one.stream == other.stream
    if phase in (LinkPhase.COMPARING, LinkPhase.SETTLING):
        assert opened(pair.a) == []  # no other: the one that opened meanwhile


def test_a_stream_that_the_owner_has_closed_is_not_joined() -> None:
    pair = about_to_open()
    pair.open_source(pair.a)
    while pair.a.unsynced:
        pair.sync(pair.a)
    pair.receive(pair.b)  # Open; its row is on its way to the disk
    pair.end_session(pair.a)
    while pair.a.unsynced:
        pair.sync(pair.a)
    pair.receive(pair.b)  # Close
    assert pair.b.unsynced
    pair.settle()
    assert opened(pair.b) == []
    assert works(pair)
    assert len(pair.a.link.streams) == len(pair.b.link.streams) == 1
