"""A network of relays under whatever order of events hypothesis finds: starts, cuts, crashes, want of key, lies."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qss.core.relay import RelaySettings
from qss.core.relay import events as ev
from qss.model.identifiers import QksId, TransferId
from qss.model.relay_policy import Hop
from qss.simulation.relay import Network
from qss.simulation.relay_links import Fate
from qss.wire import relay as wire
from support.relay_world import MESH, NAMES, A, B, C, D, E, agreed, at_rest, outcome

SITES = st.sampled_from(NAMES)
ROADS = st.sampled_from(MESH)
PATHS = st.sampled_from(
    [
        (A, B),
        (A, B, C),
        (C, B, A),
        (A, C, E),
        (A, B, C, D, E),
        (E, D, C, B, A),
        (B, D, E),
        (E, C, D, B, A),
        (A, C, B, D),
    ]
)
FATES = st.lists(st.sampled_from([Fate.READY, Fate.READY, *Fate]), max_size=6)


class AnyOrder(RuleBasedStateMachine):
    """Every step is one thing that can happen in a network. None of it may have an honest site accuse another."""

    @initialize(
        seed=st.integers(0, 1 << 30),
        delay_s=st.sampled_from([0.0, 0.01, 0.3, 2.0]),
        limits=st.sampled_from([(1024, 1024), (3, 2)]),
    )
    def begin(self, seed: int, delay_s: float, limits: tuple[int, int]) -> None:
        transfers, early = limits
        chosen = RelaySettings(max_transfers_of_neighbour=transfers, max_early_of_neighbour=early)
        self.network = Network(MESH, seed=seed, delay_s=delay_s, settings=chosen)
        self.network.fate = self.fate
        self.network.disturb = self.disturb
        self.fates: list[Fate] = []
        self.orphans: set[TransferId] = set()
        self.paths: dict[TransferId, tuple[str, ...]] = {}
        self.bent: set[QksId] = set()
        """Sites that change what they pass on."""
        self.spoiling: set[QksId] = set()
        """Sites whose Carry is changed on its way."""

    def fate(self, _: QksId, __: ev.Draw) -> Fate:
        return self.fates.pop() if self.fates else Fate.READY

    def disturb(self, site: QksId, _: QksId, message: wire.Message) -> list[wire.Message]:
        if site in self.spoiling and isinstance(message, wire.Carry):
            return [wire.Carry(message.transfer, message.sealed[::-1], message.tag)]
        return [message]

    # --- what happens -----------------------------------------------------------------------------------------------

    @rule(path=PATHS, hop=st.sampled_from(Hop), count=st.integers(1, 3))
    def start(self, path: tuple[QksId, ...], hop: Hop, count: int) -> None:
        for _ in range(count if path[0] in self.network.sites else 0):
            transfer = self.network.start(self.network.begin(*path, hop=hop))
            self.paths[transfer] = path

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.02, 0.2, 1.0, 6.0]))
    def run_on(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(road=ROADS)
    def cut(self, road: tuple[QksId, QksId]) -> None:
        self.network.cut(*road)

    @rule(road=ROADS)
    def cut_link(self, road: tuple[QksId, QksId]) -> None:
        self.network.cut_link(*road)

    @rule()
    def connect(self) -> None:
        self.network.connect_all()

    @rule(site=SITES)
    def kill(self, site: QksId) -> None:
        if site in self.network.sites:
            self.orphans |= {
                transfer
                for transfer, path in self.paths.items()
                if path[0] == site and outcome(self.network, transfer) is None
            }
            self.network.kill(site)

    @rule()
    def start_sites(self) -> None:
        for site in NAMES:
            if site not in self.network.sites:
                self.network.start_site(site)
                self.bend(site, site in self.bent)

    @rule(site=SITES)
    def leave(self, site: QksId) -> None:
        if site in self.network.sites:
            self.network.feed(site, ev.Leave())

    @rule(fates=FATES)
    def let_draws_fail(self, fates: list[Fate]) -> None:
        self.fates = fates

    @rule(site=SITES)
    def get_stuck(self, site: QksId) -> None:
        self.network.stuck ^= {site}

    @precondition(lambda self: self.paths)
    @rule(back=st.integers(1, 5))
    def give_up(self, back: int) -> None:
        transfer = [*self.paths][-min(back, len(self.paths))]
        source = QksId(self.paths[transfer][0])
        if source in self.network.sites:
            self.network.feed(source, ev.GiveUp(transfer))

    @rule(site=SITES)
    def take(self, site: QksId) -> None:
        if site in self.network.sites:
            self.network.take(site)

    # --- lies -------------------------------------------------------------------------------------------------------

    @rule(site=SITES, lies=st.booleans())
    def bend(self, site: QksId, lies: bool) -> None:
        """It opens, changes, and seals what comes from now on."""
        if lies:
            self.bent.add(site)
            if site in self.network.sites:
                self.network.sites[site].bend = lambda content: content[::-1]

    @rule(site=SITES)
    def spoil(self, site: QksId) -> None:
        self.spoiling ^= {site}

    @precondition(lambda self: self.paths)
    @rule(back=st.integers(1, 5), liar=SITES, peer=SITES, named=SITES, reason=st.sampled_from(wire.Reason))
    def blame(self, back: int, liar: QksId, peer: QksId, named: QksId, reason: wire.Reason) -> None:
        transfer = [*self.paths][-min(back, len(self.paths))]
        self.network.say(liar, peer, wire.Failed(transfer.value, named, reason))

    # --- what must be so --------------------------------------------------------------------------------------------

    def lied_about(self, transfer: TransferId) -> bool:
        return not self.bent.isdisjoint(map(QksId, self.paths[transfer]))

    @invariant()
    def honest_sites_are_never_accused_and_what_arrives_is_what_was_sent(self) -> None:
        if not hasattr(self, "network"):
            return
        network = self.network
        assert network.breaches == []
        assert network.absent == []
        for transfer in network.answers:
            answer = outcome(network, transfer)
            if isinstance(answer, ev.Arrived) and not self.lied_about(transfer):
                assert network.came[transfer][1] == network.content[transfer]
            if isinstance(answer, ev.Failed):
                assert answer.site in self.paths[transfer]

    @invariant()
    def repeaters_hold_content_of_nothing(self) -> None:
        if hasattr(self, "network"):
            for name, site in self.network.sites.items():
                ends = {transfer for transfer, path in self.paths.items() if name in (path[0], path[-1])}
                assert site.contents.keys() <= ends

    def teardown(self) -> None:
        """Whatever happened: nothing is left, nobody is unanswered, and the network works on."""
        if not hasattr(self, "network"):
            return
        network = self.network
        for transfer in self.orphans:
            del network.answers[transfer]
        at_rest(network)
        self.fates, self.spoiling, network.stuck, network.delay_s = [], set(), set(), 0.01
        for site in [*network.sites]:
            network.kill(site)
        for site in NAMES:
            network.start_site(site)
        network.connect_all()
        last = [network.start(network.begin(*path)) for path in ((A, B, C, D, E), (E, C, A))]
        network.run(1.0)
        assert [type(outcome(network, each)) for each in last] == [ev.Arrived, ev.Arrived]
        network.answers = {each: network.answers[each] for each in last}
        agreed(network)
        at_rest(network)


AnyOrder.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
