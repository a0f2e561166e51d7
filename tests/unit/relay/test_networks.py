"""Whole networks of relays in virtual time, with real sealing: what arrives, what is left, what everything costs."""

from __future__ import annotations

import itertools

import pytest

from qss.core.relay import RelaySettings
from qss.core.relay import events as ev
from qss.core.relay.phases import Phase
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.model.relay_policy import Hop
from qss.simulation.relay import Network
from qss.simulation.relay_links import Fate
from qss.wire import relay as wire
from qss.wire.relay import Reason
from support.relay_world import LINE, MESH, NAMES, A, B, C, D, E, agreed, arrived, at_rest, outcome


def line(**settings: object) -> Network:
    return Network(LINE, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("hop", Hop)
@pytest.mark.parametrize("hops", range(1, 5))
def test_content_goes_over_any_number_of_hops(hop: Hop, hops: int) -> None:
    network = line()
    transfer = network.start(network.begin(*NAMES[: hops + 1], hop=hop, length=4000))
    network.run(1.0)
    assert arrived(network) == [transfer]
    assert network.take(NAMES[hops]) == [network.content[transfer]]
    assert network.ended == {True: 2 * hops}
    agreed(network)
    at_rest(network)


def test_seventeen_sites_are_the_longest_path() -> None:
    names = [QksId(f"s{number}") for number in range(wire.MAX_SITES)]
    network = Network(itertools.pairwise(names))
    network.start(network.begin(*names))
    network.run(1.0)
    assert len(arrived(network)) == 1
    agreed(network)


@pytest.mark.parametrize("seed", range(20))
def test_transfers_that_cross_in_any_order_of_key_and_messages_all_arrive(seed: int) -> None:
    network = line(seed=seed, delay_s=0.2)
    for _ in range(10):
        network.start(network.begin(A, B, C, D, E))
        network.start(network.begin(E, D, C, B, A))
        network.run(0.1)
    network.run(4.0)
    assert len(arrived(network)) == 20
    assert not network.dropped
    agreed(network)
    assert len(network.take(A)) == len(network.take(E)) == 10
    at_rest(network)


def test_a_repeater_has_nothing_of_what_it_passed_on() -> None:
    network = line(delay_s=0.2)
    transfer = network.start(network.begin(A, B, C, D))
    while outcome(network, transfer) is None:
        network.run(0.01)
        for name in (B, C):
            assert transfer not in network.sites[name].contents
            if network.sites[name].core.phases == {Phase.PASSED: 1}:
                assert not network.sites[name].kept
                assert not network.sites[name].ranges
    assert network.sites[B].is_empty
    assert network.sites[C].is_empty


@pytest.mark.parametrize("fate", [Fate.DENIED, Fate.UNHEARD, Fate.HALF])
@pytest.mark.parametrize("drawer", [A, B, C])
@pytest.mark.parametrize("seed", range(5))
def test_key_that_is_not_had_on_any_link_fails_it_for_all(fate: Fate, drawer: QksId, seed: int) -> None:
    network = line(seed=seed)
    network.fate = lambda site, _: fate if site == drawer else Fate.READY
    transfer = network.start(network.begin(A, B, C, D))
    network.run(1.0)
    if fate is Fate.HALF:
        assert isinstance(outcome(network, transfer), ev.Failed)
    else:
        failed = outcome(network, transfer)
        assert isinstance(failed, ev.Failed)
        assert failed.site in (drawer, NAMES[NAMES.index(drawer) + 1])
    at_rest(network)


@pytest.mark.parametrize("site", NAMES[:4])
def test_a_site_that_cannot_seal_now_says_so(site: QksId) -> None:
    network = line()
    network.stuck = {site}
    transfer = network.start(network.begin(A, B, C, D))
    network.run(1.0)
    assert outcome(network, transfer) == ev.Failed(transfer, site, Reason.STOPPED)
    at_rest(network)


def test_no_path_leads_through_a_site_that_lets_none() -> None:
    network = line(no_transit=[C])
    through, to, from_ = (network.start(network.begin(*path)) for path in ("ABCD", "ABC", "CDE"))
    network.run(1.0)
    assert outcome(network, through) == ev.Failed(through, C, Reason.REFUSED)
    assert arrived(network) == [to, from_]


@pytest.mark.parametrize("road", LINE[:3])
def test_a_connection_that_is_lost_at_any_time_ends_it_at_once(road: tuple[QksId, QksId]) -> None:
    answers = set()
    for seed in range(200):
        network = line(delay_s=0.05, seed=seed)
        transfer = network.start(network.begin(A, B, C, D))
        network.run(0.4 * network.dice.random())
        network.cut(*road)
        network.run(0.5)
        answers.add(type(outcome(network, transfer)))
        agreed(network)
    assert answers == {ev.Arrived, ev.Failed}
    network.connect_all()
    at_rest(network)


@pytest.mark.parametrize("site", [B, C, D])
def test_a_site_that_vanishes_at_any_time_ends_it_at_once(site: QksId) -> None:
    answers = set()
    for seed in range(200):
        network = line(delay_s=0.05, seed=seed)
        transfer = network.start(network.begin(A, B, C, D))
        network.run(0.4 * network.dice.random())
        network.kill(site)
        network.run(0.5)
        answers.add(type(outcome(network, transfer)))
        agreed(network)
        network.start_site(site)
        network.connect_all()
        again = network.start(network.begin(A, B, C, D))
        network.run(1.0)
        assert again in arrived(network)
    assert answers == {ev.Arrived, ev.Failed}
    at_rest(network)


def test_a_network_that_is_too_slow_gives_all_up_in_time() -> None:
    network = line(delay_s=6.0, seed=3)
    transfers = [network.start(network.begin(A, B, C, D, E)) for _ in range(20)]
    network.run(5.2)
    assert {type(outcome(network, each)) for each in transfers} == {ev.Failed}
    at_rest(network)


@pytest.mark.parametrize(("silent", "told"), [(B, A), (C, B), (D, C), (E, D)])
def test_the_source_hears_where_a_silent_site_is(silent: QksId, told: QksId) -> None:
    """Of the site before it: the link between the two is passed by then, and no other."""
    network = line()
    network.puppets = {silent}
    transfer = network.start(network.begin(A, B, C, D, E))
    network.run(5.3)
    assert outcome(network, transfer) == ev.Failed(transfer, told, wire.Reason.LATE)


def test_content_that_nobody_takes_is_gone_after_30_s() -> None:
    network = line()
    network.start(network.begin(A, B))
    network.run(29.0)
    assert network.sites[B].contents
    network.run(1.5)
    assert network.take(B) == []
    assert network.sites[B].is_empty


def test_limits_hold_under_load_and_what_is_beyond_them_fails_at_once() -> None:
    network = line(settings=RelaySettings(max_transfers_of_neighbour=10), delay_s=0.5)
    for _ in range(30):
        network.start(network.begin(A, B, C))
        network.start(network.begin(D, C, B, A))
    failed = [outcome(network, each) for each in network.answers if outcome(network, each) is not None]
    assert [each.reason for each in failed if isinstance(each, ev.Failed)] == [Reason.LIMIT] * 40
    network.run(4.0)
    assert len(arrived(network)) == 20
    at_rest(network)


def test_a_site_that_leaves_ends_what_it_has_and_others_go_on() -> None:
    network = Network(MESH, delay_s=0.1)
    through, past = network.start(network.begin(A, B, C)), network.start(network.begin(A, C, D))
    network.run(0.05)
    network.feed(B, ev.Leave())
    network.run(2.0)
    assert outcome(network, through) == ev.Failed(through, B, Reason.STOPPED)
    assert arrived(network) == [past]
    at_rest(network)


def test_a_repeater_that_changes_what_it_passes_on_is_not_seen_by_tags_but_by_who_compares() -> None:
    network = line()
    network.sites[C].bend = lambda content: bytes([content[0] ^ 1]) + content[1:]
    transfer = network.start(network.begin(A, B, C, D))
    network.run(1.0)
    assert arrived(network) == [transfer]
    _, content = network.came[transfer]
    assert content != network.content[transfer]
    assert content[1:] == network.content[transfer][1:]


@pytest.mark.parametrize("place", [0, 600, -1])
def test_what_is_changed_on_a_link_is_seen_at_its_end(place: int) -> None:
    def flipped(site: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if site != B or not isinstance(message, wire.Carry):
            return [message]
        sealed = bytearray(message.sealed)
        sealed[place] ^= 0x10
        return [wire.Carry(message.transfer, bytes(sealed), message.tag)]

    network = line()
    network.disturb = flipped
    transfer = network.start(network.begin(A, B, C, D))
    network.run(1.0)
    assert outcome(network, transfer) == ev.Failed(transfer, C, Reason.TAMPERED)
    assert not network.breaches
    at_rest(network)


def test_two_shares_of_one_block_go_over_two_paths_and_either_alone_says_nothing() -> None:
    network = Network(MESH)
    one, other = network.start(network.begin(A, B, D)), network.start(network.begin(A, C, D))
    network.run(1.0)
    assert {*arrived(network)} == {one, other}
    contents = network.take(D)
    assert sorted(map(KeyMaterial.reveal, contents)) == sorted(network.content[each].reveal() for each in (one, other))
