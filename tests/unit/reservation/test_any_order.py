"""Two cores under whatever order of steps, crashes, cuts and restores hypothesis finds."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qss.model.answers import AskName
from qss.model.identifiers import PairId, ReservationId, SaeId, TransferId
from qss.model.records import Part, ReservationRecord, Scope
from qss.wire.external import Purpose
from support.link_pair import ALICE, BOB, CAROL, PAIRS, LinkPair

ENDS = st.sampled_from(["a", "b"])
OF = st.sampled_from(PAIRS)
NAMES = st.integers(0, 3)


def ask_name(word: object, request: object) -> AskName:
    """A name that a caller chose, for what it asks."""
    return AskName(sha256(repr(word).encode()).digest(), sha256(repr(request).encode()).digest())


class AnyOrder(RuleBasedStateMachine):
    """Every step is one thing that can happen between two sites."""

    @initialize(pairs=st.integers(1, 2), chunks=st.sampled_from([12, 1 << 32]))
    def begin(self, pairs: int, chunks: int) -> None:
        self.pairs = PAIRS[:pairs]
        self.pair = LinkPair(
            pairs,
            reserved_s=60.0,
            grace_s=20.0,
            stream_s=100.0,
            successor_chunks=chunks,
            relay_floor_bytes=32,
            max_draws=4,
        ).ready()
        self.covered: dict[str, list[tuple[ReservationId, ReservationRecord]]] = {}
        """Parts whose keys were sent."""
        self.backups = {name: getattr(self.pair, name).disk.copy() for name in ("a", "b")}

    @rule(end=ENDS, count=st.integers(1, 4))
    def reserve(self, end: str, count: int) -> None:
        self.pair.reserve(getattr(self.pair, end), count)

    @rule(end=ENDS, count=st.integers(1, 2), name=NAMES)
    def reserve_under_a_name(self, end: str, count: int, name: int) -> None:
        """Now and then a repeat, and now and then of another request."""
        self.pair.reserve(getattr(self.pair, end), count, name=ask_name(name, count))

    @rule(end=ENDS, count=st.integers(1, 2), part=st.sampled_from([Part.FIRST, Part.FURTHER]), name=NAMES | st.none())
    def reserve_a_part(self, end: str, count: int, part: Part, name: int | None) -> None:
        """Of a request whose other slaves are at home elsewhere."""
        named = None if name is None or part is Part.FURTHER else ask_name(("of several sites", name), count)
        self.pair.reserve(getattr(self.pair, end), count, name=named, part=part)

    @rule(end=ENDS)
    def cover(self, end: str) -> None:
        here = getattr(self.pair, end)
        for reservation, row in list(here.parts.items()):
            if row.part is Part.FURTHER:
                self.pair.cover(here, reservation)
                self.covered.setdefault(end, []).append((reservation, here.parts.pop(reservation)))

    @rule(end=ENDS, opens=st.sampled_from([True, True, True, False]))
    def open_covers(self, end: str, opens: bool) -> None:
        here = getattr(self.pair, end)
        for reservation in list(here.covers):
            self.pair.open_cover(here, reservation, opens=opens)

    @rule(end=ENDS)
    def cover_and_open(self, end: str) -> None:
        """What most requests come to, so that the rest is not lost in what seldom happens."""
        self.cover(end)
        self.pair.settle()
        self.open_covers("b" if end == "a" else "a", opens=True)
        self.pair.settle()
        self.conclude(end)

    @rule(end=ENDS)
    def conclude(self, end: str) -> None:
        here = getattr(self.pair, end)
        here.parts.update(self.covered.pop(end, []))
        for reservation in list(here.parts):
            if self.pair.conclude(here, reservation):
                del here.parts[reservation]
            elif here.parts[reservation].part is Part.FURTHER:
                self.covered.setdefault(end, []).append((reservation, here.parts.pop(reservation)))

    @rule(end=ENDS)
    def abandon(self, end: str) -> None:
        here = getattr(self.pair, end)
        for reservation in [*here.parts, *(each for each, _ in self.covered.pop(end, []))]:
            self.pair.abandon(here, reservation)
        here.parts.clear()

    @rule(data=st.data(), name=NAMES | st.none())
    def fetch(self, data: st.DataObject, name: int | None) -> None:
        known = sorted(self.pair.master_got)
        if known:
            reservation: ReservationId = data.draw(st.sampled_from(known))
            ask = self.pair.asked[reservation]
            positions = tuple(data.draw(st.lists(st.integers(0, ask.count - 1), min_size=1, unique=True)))
            slave = data.draw(st.sampled_from(ask.slaves))
            named = None if name is None else ask_name((slave, name), (reservation, positions))
            self.pair.fetch(reservation, slave, positions, named)

    @rule(end=ENDS, length=st.sampled_from([1, 16, 64]), purpose=st.sampled_from(Purpose))
    def draw(self, end: str, length: int, purpose: Purpose) -> None:
        self.pair.draw(getattr(self.pair, end), length, purpose=purpose)

    @rule(first=ENDS, length=st.sampled_from([16, 32]))
    def draw_under_one_name_at_both_ends(self, first: str, length: int) -> None:
        """Somebody has had two transfers of one name cross, or a transfer and a draw for tags."""
        end = getattr(self.pair, first)
        draw = self.pair.draw(end, 16)
        self.pair.draw(self.pair.other(end), length, draw=draw, purpose=Purpose.TAGS)

    @rule(end=ENDS, data=st.data(), used=st.booleans())
    def end_draw(self, end: str, data: st.DataObject, used: bool) -> None:
        here = getattr(self.pair, end)
        ready = self.pair.draws.ready.get(here.name, {})
        early = [each for each in here.waiting if isinstance(each, TransferId)]
        known = sorted({*ready, *early})
        if known:
            draw = data.draw(st.sampled_from(known))
            self.pair.end_draw(here, draw, used=used and draw not in early)

    @rule(end=ENDS, sae=st.sampled_from([ALICE, BOB, CAROL, None]))
    def recall(self, end: str, sae: SaeId | None) -> None:
        self.pair.recall(getattr(self.pair, end), Scope(sae=sae))

    @rule(end=ENDS, data=st.data())
    def recall_keys(self, end: str, data: st.DataObject) -> None:
        known = sorted(self.pair.master_got)
        if known:
            reservation: ReservationId = data.draw(st.sampled_from(known))
            self.pair.recall(getattr(self.pair, end), Scope((reservation.key_id(0),)))

    @rule(end=ENDS, steps=st.integers(1, 3))
    def sync(self, end: str, steps: int) -> None:
        for _ in range(steps):
            self.pair.sync(getattr(self.pair, end))

    @rule(end=ENDS, steps=st.integers(1, 3))
    def receive(self, end: str, steps: int) -> None:
        for _ in range(steps):
            self.pair.receive(getattr(self.pair, end))

    @rule(end=ENDS)
    def open_source(self, end: str) -> None:
        self.pair.open_source(getattr(self.pair, end))

    @rule(end=ENDS, of=OF)
    def key_arrives(self, end: str, of: PairId) -> None:
        self.pair.key_arrives(getattr(self.pair, end), pair=of)

    @rule(of=OF)
    def key_arrives_everywhere(self, of: PairId) -> None:
        self.pair.settle()
        self.pair.key_arrives(self.pair.a, 256, of)
        self.pair.key_arrives(self.pair.b, 256, of)

    @rule(seconds=st.sampled_from([0.2, 2.0, 10.0, 30.0]))
    def tick(self, seconds: float) -> None:
        self.pair.tick(seconds)

    @rule()
    def cut(self) -> None:
        self.pair.disconnect()

    @rule()
    def connect(self) -> None:
        self.pair.connect()

    @rule(end=ENDS)
    def crash(self, end: str) -> None:
        self.pair.crash(getattr(self.pair, end))

    @rule(end=ENDS)
    def disk_fails(self, end: str) -> None:
        self.pair.fail(getattr(self.pair, end))

    @rule(end=ENDS, of=OF)
    def session_ends(self, end: str, of: PairId) -> None:
        self.pair.end_session(getattr(self.pair, end), of)

    @rule(end=ENDS, of=OF)
    def detach(self, end: str, of: PairId) -> None:
        self.pair.detach(getattr(self.pair, end), of)

    @rule(end=ENDS, of=OF)
    def attach(self, end: str, of: PairId) -> None:
        if of in self.pairs:
            self.pair.attach(getattr(self.pair, end), of)

    @rule(end=ENDS)
    def back_up(self, end: str) -> None:
        self.backups[end] = getattr(self.pair, end).disk.copy()

    @rule(end=ENDS)
    def restore(self, end: str) -> None:
        self.pair.settle()
        self.pair.connect()
        self.pair.settle()
        self.pair.restore(getattr(self.pair, end), self.backups[end])

    @invariant()
    def invariants(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()
            self.pair.balanced()
            self.pair.kept_its_books()
            # Honest ends never find fault with each other.
            no_fault = ("the store", "in time")
            for reason in self.pair.disconnect_reasons:
                assert any(words in reason for words in no_fault), reason

    def all_open(self) -> bool:
        """Whether each device pair has a key stream, the same at both ends."""
        pair = self.pair
        return all(
            pair.a.link.open_stream(each) == pair.b.link.open_stream(each) == pair.a.modules.get(each) is not None
            for each in self.pairs
        )

    def end_draws(self) -> None:
        """Let relays come to an end with what they have."""
        for end in (self.pair.a, self.pair.b):
            for draw in list(self.pair.draws.ready.setdefault(end.name, {})):
                self.pair.end_draw(end, draw, used=True)

    def teardown(self) -> None:
        """Whatever happened, the link works on."""
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        for end in (pair.a, pair.b):
            for each in self.pairs:
                pair.attach(end, each)
        pair.connect()
        pair.settle()
        for end in ("a", "b"):
            self.open_covers(end, opens=True)
            self.abandon(end)
        self.end_draws()
        for _ in range(6):  # a stream may just have come of age
            pair.tick(2.0)
            pair.rest()
            for end in (pair.a, pair.b):
                pair.key_arrives(end)
            pair.settle()
            last, drawn = pair.reserve(pair.b), [pair.draw(end) for end in (pair.a, pair.b)]
            pair.settle()
            had = [draw in pair.draws.ready[end.name] for draw in drawn for end in (pair.a, pair.b)]
            self.end_draws()
            if last in pair.master_got and all(had) and self.all_open():  # one may have waited for its next attempt
                break
        assert last in pair.master_got
        assert all(had)
        assert self.all_open()
        here, there = ({record.stream: record for record in end.link.streams} for end in (pair.a, pair.b))
        for stream in here.keys() & there.keys():
            # Where one end stands further on, it has burned what it alone held: there is nothing left to agree on.
            one, other = here[stream], there[stream]
            assert one.head == other.head or min(one.end, other.end) <= max(one.head, other.head)
        assert not pair.a.waiting | pair.b.waiting, "somebody was never answered"
        pair.balanced()
        pair.kept_its_books()


AnyOrder.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
