"""Sites that lie: what they can cost, whom they can accuse, and that they set no honest neighbours at odds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import msgspec
import pytest

from qss.core.relay import RelaySettings
from qss.core.relay import events as ev
from qss.core.relay.phases import Phase
from qss.model.identifiers import QksId, TransferId
from qss.model.key_material import KeyMaterial
from qss.simulation.relay import Network
from qss.wire import relay as wire
from qss.wire.relay import Reason
from support.relay_world import LINE, MESH, NAMES, A, B, C, D, E, at_rest, outcome


@pytest.mark.parametrize("named", NAMES)
def test_a_repeater_can_blame_itself_and_what_lies_beyond_it_and_nobody_else(named: QksId) -> None:
    def blaming(site: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if site == C and isinstance(message, wire.Begin):
            return []
        return [message]

    network = Network(LINE)
    network.disturb = blaming
    begin = network.begin(*NAMES)
    transfer = network.start(begin)
    network.run(0.1)
    network.say(C, B, wire.Failed(begin.transfer, named, Reason.TAMPERED))
    network.run(1.0)
    believed = named if named in (C, D, E) else C
    assert outcome(network, transfer) == ev.Failed(transfer, believed, Reason.TAMPERED)
    at_rest(network)


def test_a_repeater_that_says_arrived_too_early_is_not_heard() -> None:
    network = Network(LINE, delay_s=0.5)
    begin = network.begin(A, B, C)
    transfer = network.start(begin)
    network.say(B, A, wire.Arrived(begin.transfer))
    network.run(0.3)
    assert outcome(network, transfer) is None
    assert (network.dropped[B, ev.DropReason.UNKNOWN], network.breaches) == (1, [])


def test_who_sends_carry_twice_loses_its_connection() -> None:
    network = Network(LINE)
    network.disturb = lambda site, _, message: [message] * (2 if site == B and isinstance(message, wire.Carry) else 1)
    transfer = network.start(network.begin(A, B, C, D))
    network.run(1.0)
    assert network.breaches == ["C of B: a second Carry came of one transfer"]
    assert outcome(network, transfer) == ev.Failed(transfer, B, Reason.UNREACHABLE)
    network.connect_all()
    at_rest(network)


def test_a_neighbour_costs_no_more_than_its_limits_and_others_are_served() -> None:
    """It begins without end, carries nothing, and draws without a Begin."""
    network = Network(MESH, settings=RelaySettings(max_transfers_of_neighbour=20, max_early_of_neighbour=20))
    network.puppets = {B}
    for _ in range(50):
        for _ in range(20):
            network.say(B, C, network.begin(B, C, D))
            network.draw(B, C, network.begin(B, C, D))
        network.run(0.02)
        relay = network.sites[C].core
        assert sum(relay.phases.values()) <= 20
        assert relay.early <= 20
    good = network.start(network.begin(A, C, E))
    network.run(1.0)
    assert isinstance(outcome(network, good), ev.Arrived)
    assert network.dropped[B, ev.DropReason.LIMIT] > 900
    network.drop_ranges(B)
    network.run(40.0)
    assert all(site.is_empty for site in network.sites.values())


# --- names that are used twice --------------------------------------------------------------------------------------

LIARS, HONEST = (A, E), (B, C, D)


class Conspiracy:
    """Two sites at the edge of a network that use few names, and keep to no rule but shapes."""

    def __init__(self, seed: int) -> None:
        self.network = Network(MESH, seed=seed, delay_s=0.05)
        self.network.puppets = set(LIARS)
        self.dice = random.Random(seed)
        self.begun: list[wire.Begin] = []
        self.paths = [path for path in self._paths() if path[0] in LIARS]

    def _paths(self) -> Iterator[tuple[QksId, ...]]:
        roads = {frozenset(pair) for pair in MESH}
        for count in range(2, 6):
            for path in itertools.permutations(NAMES, count):
                if all(frozenset(pair) in roads for pair in itertools.pairwise(path)):
                    yield path

    def go_on(self) -> None:
        """Do many things, in any time."""
        for _ in range(300):
            self.act()
            self.network.run(self.dice.choice((0.0, 0.0, 0.02, 0.1, 1.0)))

    def act(self) -> None:
        """Do one thing."""
        network, dice = self.network, self.dice
        network.connect_all()
        liar = dice.choice(LIARS)
        peer = dice.choice([B, C] if liar == A else [C, D])
        begin = dice.choice(self.begun[-4:]) if self.begun else self._begin()
        match dice.randrange(8):
            case 0 | 1:
                begin = self._begin()
                network.say(QksId(begin.path[0]), QksId(begin.path[1]), begin)
                network.draw(QksId(begin.path[0]), QksId(begin.path[1]), begin)
            case 2 | 3:
                self.carry(begin)
            case 4:
                network.say(liar, peer, wire.Carry(begin.transfer, bytes(begin.length), bytes(16)))
            case 5:
                network.say(liar, peer, wire.Failed(begin.transfer, liar, Reason.LATE))
            case 6:
                network.say(liar, peer, wire.Arrived(begin.transfer))
            case _:
                network.drop_ranges(liar)

    def _begin(self) -> wire.Begin:
        name = self.dice.choice((b"1", b"2", b"3")) * 16
        begin = msgspec.structs.replace(self.network.begin(*self.dice.choice(self.paths)), transfer=name)
        self.begun.append(begin)
        return begin

    def carry(self, begin: wire.Begin) -> None:
        """Send what opens, if there is key for it."""
        source, peer, transfer = QksId(begin.path[0]), QksId(begin.path[1]), TransferId(begin.transfer)
        site = self.network.sites[source]
        range_ = site.ranges.get((peer, transfer, True))
        if range_ is not None and source not in range_.used:
            site.contents[transfer] = KeyMaterial(bytes(begin.length))
            carry = site.carry_on(ev.Pass(transfer, begin, 0, None, peer))
            assert carry is not None
            self.network.say(source, peer, carry)


@pytest.mark.parametrize("seed", range(60))
def test_who_uses_names_twice_sets_no_honest_neighbours_at_odds_and_has_no_pad_used_twice(seed: int) -> None:
    """Whatever they do, an honest site closes the connection of a liar at most, and is empty when they stop."""
    conspiracy = Conspiracy(seed)
    network = conspiracy.network
    conspiracy.go_on()
    assert {breach.split(":")[0].split(" of ")[1] for breach in network.breaches} <= set(LIARS)
    for liar in LIARS:
        network.drop_ranges(liar)
    network.connect_all()
    good = network.start(network.begin(B, C, D))
    network.run(1.0)
    assert isinstance(outcome(network, good), ev.Arrived)
    network.run(40.0)
    assert all(network.sites[name].is_empty for name in HONEST)


class Steady(random.Random):
    """Dice that make everything take as long as it may."""

    def random(self) -> float:
        return 1.0


def conspired(*, seed: int = 0) -> Conspiracy:
    conspiracy = Conspiracy(seed)
    conspiracy.network.dice = Steady(seed)
    return conspiracy


def test_failed_of_an_earlier_transfer_may_end_a_later_one_of_its_name_at_one_site_and_not_at_the_next() -> None:
    """B and C, who are honest, each hear of the end of the first from their own side, and their own words cross."""
    conspiracy = conspired()
    network = conspiracy.network
    first = network.begin(A, B, C, E)
    network.say(A, B, first)
    network.run(1.0)
    network.drop_ranges(E)
    network.say(E, C, wire.Failed(first.transfer, E, Reason.LATE))
    network.say(A, B, wire.Failed(first.transfer, A, Reason.LATE), first)
    network.run(0.06)
    assert [bool(network.sites[name].core.phases) for name in (B, C)] == [True, False], "the words cross here"
    network.run(0.2)
    assert [network.sites[name].core.phases for name in (B, C)] == [{}, {Phase.GATHERING: 1}]
    network.drop_ranges(E)
    longer = msgspec.structs.replace(first, length=first.length + 1)
    network.say(A, B, longer)
    network.draw(A, B, longer)
    network.run(0.11)
    conspiracy.carry(longer)
    network.run(1.0)
    assert network.breaches == []
    assert network.dropped[B, ev.DropReason.REPEATED] == 1
    network.drop_ranges(A)
    network.drop_ranges(E)
    network.run(40.0)
    assert all(network.sites[name].is_empty for name in HONEST)


def test_arrived_of_an_earlier_transfer_does_not_count_for_a_later_one_of_its_name_over_another_path() -> None:
    conspiracy = conspired()
    network = conspiracy.network
    first = network.begin(A, B, C)
    network.say(A, B, first)
    network.draw(A, B, first)
    network.run(0.2)
    conspiracy.carry(first)
    while not network.sites[C].core.phases[Phase.HELD]:
        network.run(0.001)
    network.delay_s = 0.01
    network.say(A, B, wire.Failed(first.transfer, A, Reason.LATE), msgspec.structs.replace(first, path=(A, B, D)))
    network.run(1.0)
    assert network.breaches == []
    assert network.dropped[C, ev.DropReason.UNKNOWN] == 1


def test_the_conspiracy_gets_far() -> None:
    """What it does would not show much if honest sites came to nothing by it."""
    used = repeated = breaches = 0
    for seed in range(10):
        conspiracy = Conspiracy(seed)
        conspiracy.go_on()
        network = conspiracy.network
        used += network.ended[True]
        repeated += sum(network.dropped[peer, ev.DropReason.REPEATED] for peer in HONEST)
        breaches += len(network.breaches)
    assert used > 200
    assert repeated > 50
    assert breaches > 0
