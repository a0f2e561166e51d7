"""Two link cores with a virtual disk and a virtual wire between them, driven step by step.

Nothing happens by itself: a test (or hypothesis) says which commit becomes durable, which frame arrives, who crashes.
The pair notes everything that is delivered or drawn and checks agreement, no reuse, right party and balance as it goes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import pairwise

from qss.core.reservation import Link, LinkSettings
from qss.core.reservation import events as ev
from qss.core.reservation.phases import LinkPhase
from qss.model.answers import AnswerRecord, AskName, KeyRun
from qss.model.errors import PeerUnavailable
from qss.model.identifiers import KeyId, PairId, QksId, ReservationId, SaeId, StreamId, TransferId
from qss.model.keys import Priority
from qss.model.ranges import Range
from qss.model.records import (
    COVERED_FROM,
    TAG_KEY_BYTES,
    Part,
    PeerRecord,
    RecallRecord,
    ReservationRecord,
    Scope,
    Side,
    StreamRecord,
)
from qss.wire.external import Frame, Purpose, Reason, decode, encode, split
from support.draw_book import DrawBook

ALICE, BOB, CAROL = SaeId("sae:alice"), SaeId("sae:bob"), SaeId("sae:carol")
PAIRS = (PairId(b"\1" * 16), PairId(b"\2" * 16))
"""The device pairs of a link; most tests do with the first."""

HOME = {ALICE: QksId("A"), BOB: QksId("B"), CAROL: QksId("B")}


@dataclass
class Disk:
    """What survives a crash."""

    incarnation: int = 0
    commit_number: int = 0
    streams: dict[StreamId, StreamRecord] = field(default_factory=dict)
    rows: dict[ReservationId, ReservationRecord] = field(default_factory=dict)
    peer: PeerRecord | None = None
    bytes_held: dict[StreamId, int] = field(default_factory=dict)
    answers: dict[bytes, AnswerRecord] = field(default_factory=dict)
    recalls: dict[int, RecallRecord] = field(default_factory=dict)
    covered: set[tuple[StreamId, Range]] = field(default_factory=set)
    """Keys that came under a range, where they lie."""

    def copy(self) -> Disk:
        return Disk(
            self.incarnation,
            self.commit_number,
            dict(self.streams),
            dict(self.rows),
            self.peer,
            dict(self.bytes_held),
            dict(self.answers),
            dict(self.recalls),
            set(self.covered),
        )

    def apply(self, commit: ev.Commit) -> None:
        for record in commit.streams:
            old = self.streams.get(record.stream)
            assert record.version == (old.version if old else 0) + 1, "commits must form a chain"
            assert old is None or record.head >= old.head
            self.streams[record.stream] = record
        for stream, start, handle in commit.keys:
            place = Range(start, start + handle % _LONGEST)
            if start >= COVERED_FROM:
                assert not any(stream == of and place.intersection(part) for of, part in self.covered)
                self.covered.add((stream, place))
                continue
            assert self.bytes_held.get(stream, 0) == start
            self.bytes_held[stream] = place.stop
        for stream in commit.dropped_streams:
            del self.streams[stream]
            assert not [
                row for row in self.rows.values() if row.stream == stream and row.id not in commit.dropped_reservations
            ]
        for row in commit.reservations:
            self.rows[row.id] = row
        for reservation in commit.dropped_reservations:
            self.rows.pop(reservation, None)
        for answer in commit.answers:
            self.answers[answer.name.digest] = answer
        for digest in commit.dropped_answers:
            self.answers.pop(digest, None)
        for recall in commit.recalls:
            self.recalls[recall.number] = recall
        for number in commit.dropped_recalls:
            self.recalls.pop(number, None)
        if commit.peer is not None:
            self.peer = commit.peer
        self.commit_number += 1


_LONGEST = 1 << 16
"""A handle of key is a number, and its length below this."""


class End:
    """One end: a core, its disk, and what is on its way to either."""

    lives = 0

    def __init__(self, here: str, peer: str, pairs: tuple[PairId, ...], **settings: object) -> None:
        self.name = QksId(here)
        self.settings = LinkSettings(
            QksId(here),
            QksId(peer),
            objection=lambda master, slaves, _: (
                None if HOME.get(master) == peer and all(HOME.get(s) == here for s in slaves) else Reason.UNAUTHORISED
            ),
            **settings,  # type: ignore[arg-type]
        )
        self.disk = Disk()
        self.unsynced: deque[ev.Commit] = deque()
        self.outgoing: deque[bytes] = deque()
        self.attached = set(pairs)
        self.modules: dict[PairId, StreamId] = {}
        """The stream that each module has open."""
        self.opening: dict[PairId, ev.OpenSource] = {}
        """What each module was asked for, and has not done yet."""
        self.effects: list[ev.Effect] = []
        self.arrived: set[int] = set()
        """Handles of key that the core has been given, and neither committed nor discarded."""
        self.connected = False
        self.told: set[tuple[int, int]] = set()
        """What commit proofs would show: incarnations, and the commit numbers that were sent in them."""
        self.noticed: int | None = None
        """What the peer says this end's store had reached, until that is noted on the disk."""
        self.begin()

    def begin(self) -> None:
        """Start (or start again) from the disk."""
        self.noticed = None
        End.lives += 1
        self.disk.incarnation = End.lives
        if self.disk.peer is not None and self.disk.peer.exchanged:
            self.disk.peer = replace(self.disk.peer, base=self.disk.commit_number, exchanged=False)
            self.disk.commit_number += 1
        self.waiting: set[object] = set()
        self.load()

    def load(self) -> None:
        """Make the core from what is durable."""
        self.parts: dict[ReservationId, ReservationRecord] = {}
        """Parts of requests for several sites that are ready here."""
        self.covers: dict[ReservationId, ev.OpenCover] = {}
        """What has come for slaves here and is not opened yet."""
        self.link = Link(
            self.settings,
            self.disk.incarnation,
            tuple(self.disk.streams.values()),
            tuple(self.disk.rows.values()),
            self.disk.peer,
            tuple(self.disk.answers.values()),
            tuple(self.disk.recalls.values()),
        )
        for pair in sorted(self.attached):
            assert not self.link.handle(ev.SourceAttached(pair), 0.0, 0.0)


class LinkPair:
    """Site A (the owner) and site B."""

    def __init__(self, pairs: int = 1, **settings: object) -> None:
        self.now = 1000.0
        self.clock_step = 0.0
        """How far the wall clock was set back or forth."""
        self.a, self.b = (End(here, peer, PAIRS[:pairs], **settings) for here, peer in ("AB", "BA"))
        self.entropy = 0
        self.requests = 0
        self.master_got: dict[ReservationId, tuple[tuple[StreamId, Range], ...]] = {}
        self.slave_got: dict[tuple[KeyId, SaeId], tuple[StreamId, Range]] = {}
        self.fetches: dict[int, ev.Fetch] = {}
        self.recalls: dict[int, int] = {}
        """Bits that were burned at the recalling end, by request."""
        self.refused: dict[object, Exception] = {}
        self._taken: dict[tuple[KeyId, SaeId], list[AskName | None]] = {}
        self.asked: dict[ReservationId, ev.Reserve] = {}
        self.draws = DrawBook()
        self.disconnect_reasons: list[str] = []
        self.recalled_parts: list[KeyId] = []
        """Keys of masters that other sites are to hear of."""
        self.restored = False
        """A store was replaced by a back-up: that end does not know what it gave since, nor what it held."""

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a

    def fresh(self) -> bytes:
        self.entropy += 1
        return self.entropy.to_bytes(6).ljust(16, b"\x5a")

    # --- steps ----------------------------------------------------------------------------------------------------

    def handle(self, end: End, event: ev.Event) -> None:
        for effect in end.link.handle(event, self.now, self.now + self.clock_step):
            end.effects.append(effect)
            self._perform(end, effect)

    def _perform(self, end: End, effect: ev.Effect) -> None:
        match effect:
            case ev.Commit(keys=keys):
                end.arrived.difference_update(handle for _, _, handle in keys)
                end.unsynced.append(effect)
            case ev.Discard(handle):
                end.arrived.remove(handle)
            case ev.Send(messages):
                if end.connected:
                    number = end.disk.commit_number
                    end.told.add((end.link.incarnation, number))
                    for run in split(messages):
                        frame = Frame(end.link.incarnation, end.link.peer_incarnation, number, b"proof", run)
                        end.outgoing.append(encode(frame))
            case ev.Deliver(request, keys):
                end.waiting.remove(request)
                self._note_delivery(end, request, keys)
                self.handle(end, ev.Released(request))
            case ev.Recalled(request, bits):
                end.waiting.remove(request)
                self.recalls[int(str(request))] = bits
            case ev.Refused(request, error):
                self.refused[request] = error
                end.waiting.remove(request)
            case ev.DrawReady(draw, stream, part):
                end.waiting.discard(draw)
                assert end.disk.streams[stream].head >= part.stop, "drawn before it was durable here"
                assert end.disk.bytes_held[stream] >= part.stop, "drawn before it was durable here"
                self.draws.note_ready(end.name, self.other(end).name, effect, self.now)
                self.check()
            case ev.DrawFailed(draw):
                end.waiting.discard(draw)
                self.draws.note_failed(end.name, effect)
            case ev.PartReady(row):
                end.parts[row.id] = row
                assert end.disk.rows[row.id] == row, "ready before it was durable here"
                assert self.other(end).disk.rows[row.id].range == row.range, "ready before it was durable there"
                self.handle(end, ev.Released(row.id))
            case ev.PartCovered(reservation):
                row = self.other(end).disk.rows[reservation]
                assert row.covered
                assert (row.stream, row.keys) in self.other(end).disk.covered, "said before it was durable"
            case ev.OpenCover(row):
                end.covers[row.id] = effect
            case ev.PartsRecalled(key_ids):
                self.recalled_parts.extend(key_ids)
            case ev.OpenSource(pair):
                assert pair in end.attached, "a module was asked that is not there"
                assert pair not in end.opening or end.opening[pair].stream, "a module was asked twice"
                self._fail_opening(end, pair)
                end.opening[pair] = effect
            case ev.CloseSource(pair, stream):
                if end.modules.get(pair) == stream:
                    self.end_session(end, pair)
                elif pair in end.opening and end.opening[pair].stream == stream:
                    self._fail_opening(end, pair)
            case ev.Disconnect(reason):
                self.disconnect_reasons.append(reason)
                self.disconnect()
            case ev.Erase(stream, parts):
                for part in parts:
                    self._check_not_needed(end, stream, part)
            case ev.RestoreNoticed(incarnation, commit_number, _):
                self.hold(end, commit_number if (incarnation, commit_number) in end.told else 0)
            case ev.Rebuild() | ev.BurnedRestored() | ev.PeerRecalled() | ev.PairForbidden() | ev.PairAbsent():
                pass
            case ev.Wanted():
                pass

    def sync(self, end: End) -> None:
        """The oldest commit becomes durable."""
        if end.unsynced:
            commit = end.unsynced.popleft()
            end.disk.apply(commit)
            self.handle(end, ev.Committed(commit.token))

    def receive(self, end: End) -> None:
        """The oldest frame on its way to `end` arrives."""
        sender = self.other(end)
        if end.connected and sender.outgoing:
            self.handle(end, ev.Received(decode(sender.outgoing.popleft())))

    def connect(self) -> None:
        if not self.a.connected:
            for end in (self.a, self.b):
                end.connected = True
                end.outgoing.clear()
            for end in (self.a, self.b):
                if end.connected:
                    self.handle(end, ev.Connected(end.disk.commit_number))

    def disconnect(self) -> None:
        for end in (self.a, self.b):
            if end.connected:
                end.connected = False
                end.outgoing.clear()
                self.handle(end, ev.Disconnected())

    def crash(self, end: End) -> None:
        """The process of `end` is killed: what was not synced is gone; the module's session ends at both ends."""
        end.unsynced.clear()
        end.arrived.clear()
        end.modules.clear()
        end.opening.clear()
        end.connected = False
        self.draws.forget(end.name)
        end.begin()
        other = self.other(end)
        if other.connected:
            other.connected = False
            self.handle(other, ev.Disconnected())
        self.end_session(other)

    def fail(self, end: End) -> None:
        """The store refuses the oldest commit, and so all that build on it; the link starts over from the disk."""
        if end.unsynced:
            failed, end.unsynced = list(end.unsynced), deque()
            for commit in failed:
                self.handle(end, ev.CommitFailed(commit.token, "the disk is full"))
            self.disconnect()
            end.modules.clear()
            end.opening.clear()
            self.end_session(self.other(end))
            assert not end.arrived, "whoever stores key would wait for ever"
            if end.noticed is None:
                end.load()

    def hold(self, end: End, known: int = 0) -> None:
        """The site of `end` has heard that its store was restored."""
        end.noticed = known
        self.handle(end, ev.StoreRestored())

    def note_restore(self, end: End) -> None:
        """The site notes durably that the link must burn, and the link starts over from that."""
        if end.noticed is None:
            return
        assert end.link.phase is LinkPhase.FAILED
        assert not end.arrived, "whoever stores key would wait for ever"
        while end.unsynced:
            self.sync(end)
        known, end.noticed = end.noticed, None
        end.disk.peer = replace(end.disk.peer or PeerRecord(self.other(end).name), must_burn=True)
        end.disk.commit_number = max(end.disk.commit_number, known) + 1
        self.disconnect()
        end.modules.clear()
        end.opening.clear()
        self.end_session(self.other(end))
        end.load()

    def restore(self, end: End, backup: Disk) -> None:
        """The store of `end` is replaced by an older copy, and its process started again."""
        end.disk = backup.copy()
        self.restored = True
        self.crash(end)

    def end_session(self, end: End, *pairs: PairId) -> None:
        """The module's stream ends; without a pair named, those of all modules."""
        for pair in pairs or PAIRS:
            if (stream := end.modules.pop(pair, None)) is not None:
                self.handle(end, ev.SourceEnded(pair, stream))

    def _fail_opening(self, end: End, pair: PairId) -> None:
        """The module does not do what was asked of it."""
        if (opening := end.opening.pop(pair, None)) is not None:
            self.handle(end, ev.SourceEnded(pair, opening.stream))

    def open_source(self, end: End) -> None:
        """The modules carry out what was asked of them. One that has a stream open closes it."""
        for pair, opening in list(end.opening.items()):
            del end.opening[pair]
            before = end.modules.pop(pair, None)
            end.modules[pair] = opening.stream or StreamId.from_entropy(self.fresh())
            self.handle(end, ev.SourceOpened(pair, end.modules[pair], opening.chunk_bytes or 64))
            if before is not None:
                self.handle(end, ev.SourceEnded(pair, before))

    def attach(self, end: End, pair: PairId) -> None:
        end.attached.add(pair)
        self.handle(end, ev.SourceAttached(pair))

    def detach(self, end: End, pair: PairId) -> None:
        """The module is gone, and with it what it was about to do."""
        if pair in end.attached:
            end.attached.remove(pair)
            self.handle(end, ev.SourceDetached(pair, "the test took it away"))
            self._fail_opening(end, pair)

    def key_arrives(self, end: End, length: int = 64, pair: PairId = PAIRS[0]) -> None:
        stream = end.modules.get(pair)
        if stream is not None and end.link.wants_key(stream):
            handle = self._number() * _LONGEST + length
            end.arrived.add(handle)
            self.handle(end, ev.KeyArrived(stream, handle, length))

    def tick(self, seconds: float = 0.2) -> None:
        self.now += seconds
        for end in (self.a, self.b):
            self.handle(end, ev.Tick())

    def reserve(
        self,
        end: End,
        count: int = 1,
        key_bytes: int = 16,
        name: AskName | None = None,
        policy: str = "",
        part: Part = Part.WHOLE,
        priority: Priority = Priority.NORMAL,
    ) -> ReservationId:
        reservation = ReservationId.from_entropy(self.fresh())
        master, slaves = (ALICE, (BOB, CAROL)) if end is self.a else (BOB, (ALICE,))
        event = ev.Reserve(reservation, count, key_bytes, master, slaves, name, policy, part, priority)
        self.asked[reservation] = event
        end.waiting.add(reservation)
        self.handle(end, event)
        return reservation

    def cover(self, end: End, reservation: ReservationId) -> None:
        """The keys of a further part are sealed at the master's site."""
        row = end.parts[reservation]
        sealed = bytes(row.count * row.key_bytes)
        self.handle(end, ev.CoverMade(reservation, sealed, bytes(16)))

    def open_cover(self, end: End, reservation: ReservationId, *, opens: bool = True) -> None:
        """What came for slaves at this end is opened, or does not open."""
        cover = end.covers.pop(reservation)
        if not opens:
            self.handle(end, ev.CoverFailed(reservation))
            return
        handle = self._number() * _LONGEST + len(cover.sealed)
        end.arrived.add(handle)
        self.handle(end, ev.CoverOpened(reservation, handle))

    def conclude(self, end: End, reservation: ReservationId) -> bool:
        """All sites have the keys, if this one has; return whether it has."""
        if not end.link.concludes(reservation):
            return False
        row = end.parts[reservation]
        if row.part is Part.FURTHER:
            end.waiting.remove(reservation)
            self.master_got[reservation] = _parts(row.run)
        self.handle(end, ev.Conclude(reservation))
        return True

    def abandon(self, end: End, reservation: ReservationId) -> None:
        """Another site has not got the keys."""
        self.handle(end, ev.Abandon(reservation, PeerUnavailable("another site")))

    def fetch(
        self,
        reservation: ReservationId,
        slave: SaeId,
        positions: tuple[int, ...] = (0,),
        name: AskName | None = None,
    ) -> int:
        ask = self.asked[reservation]
        request = self._number()
        key_ids = tuple(reservation.key_id(position) for position in positions)
        self.fetches[request] = ev.Fetch(request, slave, ask.master, key_ids, name)
        end = self.a if HOME[slave] == "A" else self.b
        end.waiting.add(request)
        self.handle(end, self.fetches[request])
        return request

    def recall(self, end: End, scope: Scope) -> int:
        request = self._number()
        end.waiting.add(request)
        self.handle(end, ev.Recall(request, scope))
        return request

    def draw(
        self,
        end: End,
        length: int = 16,
        *,
        urgent: bool = True,
        draw: TransferId | None = None,
        purpose: Purpose = Purpose.RELAY,
    ) -> TransferId:
        """Somebody at this end draws, under a fresh name if none is given."""
        name = draw or TransferId(self.fresh())
        end.waiting.add(name)
        self.handle(end, ev.Draw(name, length, urgent, purpose))
        return name

    def end_draw(self, end: End, draw: TransferId, *, used: bool) -> None:
        """A relay at this end has used what was drawn, or gives it up."""
        end.waiting.discard(draw)
        event = ev.DrawEnded(draw, used)
        self.draws.note_ended(end.name, event, self.now)
        self.handle(end, event)

    def _number(self) -> int:
        self.requests += 1
        return self.requests

    def settle(self) -> None:
        """Let everything that is under way come to an end."""
        for _ in range(200):
            quiet = True
            for end in (self.a, self.b):
                while end.unsynced:
                    self.sync(end)
                    quiet = False
                while end.connected and self.other(end).outgoing:
                    self.receive(end)
                    quiet = False
                if end.opening:
                    self.open_source(end)
                    quiet = False
                if end.noticed is not None:
                    self.note_restore(end)
                    self.connect()
                    quiet = False
            if quiet:
                return
        raise AssertionError("the two ends never come to rest")

    def rest(self) -> None:
        """Let also that come to an end which waits for a tick: commits without hurry, confirmations, erasures."""
        for _ in range(6):
            self.settle()
            self.tick()
        self.settle()

    # --- invariants -----------------------------------------------------------------------------------------------

    def _note_delivery(self, end: End, request: ev.Request, keys: tuple[KeyRun, ...]) -> None:
        parts = {key_id: part for run in keys for key_id, part in zip(run.key_ids(), _parts(run), strict=True)}
        if isinstance(request, ReservationId):
            self._note_master(end, request, parts)
        else:
            self._note_slave(request, parts)
        for stream, key_range in parts.values():
            if key_range.start >= COVERED_FROM:
                held = any(stream == of and key_range in place for of, place in end.disk.covered)
                assert held, "delivered before it was durable here"
            else:
                assert end.disk.bytes_held[stream] >= key_range.stop, "delivered before it was durable here"
        self.check()

    def _note_master(self, end: End, request: ReservationId, parts: dict[KeyId, tuple[StreamId, Range]]) -> None:
        ask, first = self.asked[request], next(iter(parts)).reservation
        assert first is not None
        assert ask.count == len(parts)
        got = tuple(parts.values())
        if first == request:
            assert request not in self.master_got, "delivered twice to the master"
            row = end.disk.rows[request]
            assert [row.key_range(i) for i in range(row.count)] == [part for _, part in got], "not durable"
        else:
            assert ask.name is not None
            assert self.asked[first] == replace(ask, reservation=first), "the answer of another ask"
        assert self.master_got.setdefault(first, got) == got

    def _note_slave(self, request: int, parts: dict[KeyId, tuple[StreamId, Range]]) -> None:
        ask = self.fetches[request]
        assert tuple(parts) == ask.key_ids
        for key_id, place in parts.items():
            part = _under(place)
            before = self.slave_got.setdefault((key_id, ask.caller), part)
            assert before == part
            names = self._taken.setdefault((key_id, ask.caller), [])
            assert not names or (ask.name is not None and names[0] == ask.name), "delivered twice to one slave"
            names.append(ask.name)

    def _all_delivered(self) -> dict[KeyId, set[tuple[StreamId, Range]]]:
        delivered: dict[KeyId, set[tuple[StreamId, Range]]] = {}
        for reservation, parts in self.master_got.items():
            for position, part in enumerate(parts):
                delivered.setdefault(reservation.key_id(position), set()).add(part)
        for (key_id, _), part in self.slave_got.items():
            delivered.setdefault(key_id, set()).add(part)
        return delivered

    def check(self) -> None:
        """Agreement and no reuse, over everything delivered so far."""
        delivered = self._all_delivered()
        taken: list[tuple[StreamId, Range]] = [*self.draws.all_places()]
        for key_id, parts in delivered.items():
            assert len(parts) == 1, f"{key_id} stands for two ranges"
            taken.extend(parts)
        taken.sort(key=lambda item: (item[0], item[1].start))
        for (stream, part), (next_stream, next_part) in pairwise(taken):
            assert stream != next_stream or part.stop <= next_part.start, "bits serve two purposes"

    def _check_not_needed(self, end: End, stream: StreamId, part: Range) -> None:
        for answer in end.disk.answers.values():
            for run in answer.keys:
                assert run.stream != stream or not run.range.intersection(part), "erased while an answer keeps it"
        for row in end.link.reservations:
            if row.stream == stream and row.awaits_cover:
                assert row.complete or not row.range.intersection(part), "erased before the keys came"
            elif row.stream == stream and row.side is Side.SLAVE:
                for position in range(row.count):
                    if not all(mask >> position & 1 for mask in row.fetched):
                        assert not row.key_range(position).intersection(part), "erased before it was fetched"
        for of, drawn in self.draws.in_hands(end.name, self.now):
            assert of != stream or not drawn.intersection(part), "erased while a relay has it"

    def balanced(self) -> None:
        """Every ingested bit is accounted for, on disk as in memory."""
        for end in (self.a, self.b):
            for record in end.disk.streams.values():
                tally = record.tally
                stop = record.mark if record.limit is None else min(record.limit, record.mark)
                total = 8 * (stop - record.head) + tally.reserved + tally.delivered + tally.relayed + tally.burned_total
                assert total == 8 * record.mark
                rows = [row for row in end.disk.rows.values() if row.stream == record.stream and row.side is Side.SLAVE]
                open_bits = sum(
                    8 * row.key_bytes
                    for row in rows
                    for position in range(row.count)
                    if not all(mask >> position & 1 for mask in row.fetched)
                )
                open_bits += sum(8 * TAG_KEY_BYTES for row in rows if row.awaits_cover and not row.complete)
                assert tally.reserved == open_bits

    def kept_its_books(self) -> None:
        """What an end has given to its masters, and to the last of its slaves, counts as delivered there, durably.

        What its relays have, and did not give back unused, counts as relayed.
        """
        if self.restored:
            return
        for end in (self.a, self.b):
            given = sum(
                len(part)
                for reservation, parts in self.master_got.items()
                if HOME[self.asked[reservation].master] == end.name
                for _, part in parts
            )
            for key_id in {key_id for key_id, slave in self.slave_got if HOME[slave] == end.name}:
                reservation = key_id.reservation
                assert reservation is not None
                slaves = self.asked[reservation].slaves
                if all((key_id, slave) in self.slave_got for slave in slaves):
                    given += len(self.slave_got[key_id, slaves[0]][1])
            past = 0 if end.disk.peer is None else end.disk.peer.past.delivered
            delivered = past + sum(record.tally.delivered for record in end.disk.streams.values())
            assert delivered >= 8 * given, f"{end.name} counts delivered key as burned"
            past = 0 if end.disk.peer is None else end.disk.peer.past.relayed
            relayed = past + sum(record.tally.relayed for record in end.disk.streams.values())
            assert relayed >= self.draws.kept.get(end.name, 0), f"{end.name} counts relayed key as burned"

    def ready(self, chunks: int = 8) -> LinkPair:
        """Connect, open a stream and fill it at both ends."""
        self.connect()
        self.settle()
        self.tick()
        self.settle()
        for _ in range(chunks):
            for end in (self.a, self.b):
                for pair in PAIRS:
                    self.key_arrives(end, pair=pair)
        self.settle()
        return self


def _parts(run: KeyRun) -> tuple[tuple[StreamId, Range], ...]:
    """The place of each key of a run."""
    size = run.key_bytes
    return tuple(
        (run.stream, Range(start, start + size)) for start in range(run.start, run.start + size * run.count, size)
    )


def _under(place: tuple[StreamId, Range]) -> tuple[StreamId, Range]:
    """What covered a key on its way, and so stands for it in these tests; the key's own place if it came alone."""
    stream, part = place
    down = COVERED_FROM if part.start >= COVERED_FROM else 0
    return stream, Range(part.start - down, part.stop - down)


__all__ = ["ALICE", "BOB", "CAROL", "PAIRS", "Disk", "End", "LinkPair"]
