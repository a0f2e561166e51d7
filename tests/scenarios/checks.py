"""What must hold in every run: the checker knows what every stream holds, and keeps its own book of all deliveries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from qss.core.reservation import Link
from qss.model.identifiers import KeyId, QksId, SaeId, StreamId
from qss.model.keys import Key
from qss.model.ranges import Range, subtract, union
from qss.model.records import COVERED_FROM, PeerRecord, ReservationRecord, Side, StreamRecord
from scenarios.world import CHUNK_BYTES, CHUNKS_PER_SECOND, SimulatedSite, World, content

_PULLED_BYTES = 8 * CHUNKS_PER_SECOND * CHUNK_BYTES
"""What may come on top of a link's capacity: what a feed had pulled while a disk was busy, which is never for long."""

_NOTED_BEFORE_S = 5.0
"""How long before it is given an answer may have been noted: its time ends with a clock that jumps meanwhile."""

_WINDOW_BYTES = 8
"""So many bytes in a row are not alike by chance."""

_LATE_S = 2.0
"""How late a link may be in giving up what has outlived its time: it looks once a second."""


class Book:
    """Every delivery of a run, and what is wrong with it. Violations go to the world's list, with the event log."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bytes: dict[KeyId, bytes] = {}
        self._delivered: set[tuple[KeyId, SaeId]] = set()
        self._parties: dict[KeyId, frozenset[SaeId]] = {}
        self._link: dict[KeyId, frozenset[QksId]] = {}
        self._named: dict[tuple[SaeId, str], tuple[float, int, tuple[KeyId, ...]]] = {}
        """What was answered under a name, when first, and how many recalls its site had heard of."""
        self.deliveries = 0
        self.relayed = 0
        """Deliveries of key that was relayed."""

    def asked(
        self,
        keys: tuple[Key, ...],
        count: int,
        size: int,
        master: SaeId,
        slaves: tuple[SaeId, ...],
        name: str | None = None,
    ) -> bool:
        """A master was answered. Return whether it was a repeat."""
        if name is not None and self._repeats(master, name, keys):
            return True
        if len(keys) != count or any(len(key.material) != size // 8 for key in keys):
            self._wrong(f"{master} asked for {count} keys of {size} bits and got {len(keys)}")
        for key in keys:
            if key.key_id in self._parties:
                self._wrong(f"{key.key_id} was given to a master twice")
            self._parties[key.key_id] = frozenset({master, *slaves})
            self._link[key.key_id] = frozenset({self._world.homes[master], self._world.homes[slaves[0]]})
            self._deliver(key, master)
        return False

    def fetched(self, keys: tuple[Key, ...], asked: tuple[KeyId, ...], slave: SaeId, name: str | None = None) -> None:
        """A slave was answered."""
        if name is not None and self._repeats(slave, name, keys):
            return
        if tuple(key.key_id for key in keys) != asked:
            self._wrong(f"{slave} asked for other keys than it got")
        for key in keys:
            self._deliver(key, slave)

    def _repeats(self, sae: SaeId, name: str, keys: tuple[Key, ...]) -> bool:
        """Whether this is an answer that was given before, as it must be while nothing was forgotten."""
        ids, now = tuple(key.key_id for key in keys), self._world.loop.time()
        site = self._world.sites[self._world.homes[sae]]
        peers = [link.core.peer for link in site.site.links.values()]
        heard = sum(peer.recall_seen + peer.recall_made for peer in peers)
        first_at, first_heard, first_ids = self._named.setdefault((sae, name), (now, heard, ()))
        if ids == first_ids:
            if any(self._bytes[key.key_id] != key.material.reveal() for key in keys):
                self._wrong(f"a repeat under {name} got other bytes")
            return True
        in_time = first_at < now < first_at + self._world.grace_s - 0.5
        if first_ids and in_time and site.forgot_at < first_at - _NOTED_BEFORE_S and heard == first_heard:
            self._wrong(f"a repeat of {sae} under {name} got other keys, {now - first_at:.3f} s later")
        self._named[sae, name] = (now, heard, ids)
        return False

    def _deliver(self, key: Key, sae: SaeId) -> None:
        self.deliveries += 1
        ends = self._link.get(key.key_id, frozenset())
        self.relayed += bool(ends) and not self._world.are_neighbours(*ends)
        material = key.material.reveal()
        self._world.log(self._world.homes[sae], "delivered", f"{key.key_id} to {sae}")
        if sae not in self._parties.get(key.key_id, ()):
            self._wrong(f"{key.key_id} went to {sae}, who has no part in it")
        if (key.key_id, sae) in self._delivered:
            self._wrong(f"{key.key_id} was delivered to {sae} twice")
        self._delivered.add((key.key_id, sae))
        if self._bytes.setdefault(key.key_id, material) != material:
            self._wrong(f"{key.key_id} stands for two keys")

    def _wrong(self, what: str) -> None:
        self._world.violate(what)

    # --- afterwards -----------------------------------------------------------------------------------------------

    def check_reuse(self, link: frozenset[QksId]) -> None:
        """No bit of a link's stream serves two keys, or a key and a pad."""
        channels = self._world.road(*link).channels
        lengths = {stream: length for channel in channels for stream, length in channel.lengths.items()}
        contents = {stream: content(stream, length) for stream, length in lengths.items()}
        taken: dict[StreamId, list[Range]] = defaultdict(list)
        for key_id, material in self._bytes.items():
            if self._link[key_id] != link:
                continue
            for stream, whole in contents.items():
                start = whole.find(material)
                if start >= 0:
                    taken[stream].append(Range(start, start + len(material)))
                    break
            else:
                self._wrong(f"{key_id} is of no key stream of its link")
        for stream in contents:
            for part, later in pairwise(sorted((*taken[stream], *self._world.pads.of(stream)))):
                if part.stop > later.start:
                    self._wrong(f"bytes {later.start} to {part.stop} of {stream} serve two purposes")

    def check_relayed(self) -> None:
        """No bit that was relayed serves two keys: of random bytes, no eight come twice."""
        seen: dict[bytes, KeyId] = {}
        for key_id, material in self._bytes.items():
            for start in range(len(material) - _WINDOW_BYTES + 1):
                window = material[start : start + _WINDOW_BYTES]
                if seen.setdefault(window, key_id) != key_id:
                    self._wrong(f"{key_id} and {seen[window]} have bytes in common")
                    return

    def check_site(self, site: SimulatedSite) -> None:
        """The books of a running site balance, in memory and on disk, and nothing is missing that somebody needs."""
        for runner in site.site.links.values():
            link = runner.core
            self._check_balance(site.here, link.streams, link.reservations)
            self._check_bounds(site, link)
        self._check_balance(
            site.here, tuple(site.disk.streams.values()), tuple(site.disk.reservations.values()), site=site
        )
        self._check_nothing_in_the_clear(site)

    def _check_bounds(self, site: SimulatedSite, link: Link) -> None:
        """What a link holds stays within what it was told."""
        settings = link.settings
        if len(link.reservations) > settings.max_reservations:
            self._wrong(f"{site.here} holds {len(link.reservations)} reservations with {settings.peer}")
        available = sum(record.available for record in link.streams)
        # Each open stream but the first to fill may have an equal share on top; a pair has two while one succeeds.
        near = settings.peer in site.neighbours
        streams = 2 * len(self._world.road(site.here, settings.peer).channels) if near else 2
        if available > settings.capacity_bytes * (2 - 1 / streams) + _PULLED_BYTES:
            self._wrong(f"{site.here} holds {available} bytes with {settings.peer}")

    def _check_nothing_in_the_clear(self, site: SimulatedSite) -> None:
        for block in site.disk.blocks.values():
            if block.start >= COVERED_FROM:  # keys of another stream, which are in the book if anybody had them
                clear = any(material in block.sealed for material in self._bytes.values())
            else:
                clear = content(block.stream, block.start + 16)[block.start :] in block.sealed
            if clear:
                self._wrong(f"the block of {block.stream} at {block.start} is not sealed on the disk of {site.here}")

    def _check_balance(
        self,
        here: QksId,
        streams: tuple[StreamRecord, ...],
        rows: tuple[ReservationRecord, ...],
        site: SimulatedSite | None = None,
    ) -> None:
        for record in streams:
            tally = record.tally
            accounted = 8 * record.available + tally.reserved + tally.delivered + tally.relayed + tally.burned_total
            if accounted != 8 * record.mark:
                self._wrong(f"{record.stream} at {here} does not balance: {record}")
            mine = [row for row in rows if row.stream == record.stream and row.side is Side.SLAVE]
            waiting = [part for row in mine for part in row.unfetched()]
            if tally.reserved != 8 * sum(map(len, waiting)):
                self._wrong(f"{record.stream} at {here} reserves {tally.reserved} bits, its rows {waiting}")
            # Damaged blocks are given up whole when a part of them is erased, and back-ups have no key at all.
            if (
                site is not None
                and not site.damaged
                and not site.disk.peers.get(record.peer, PeerRecord(record.peer)).must_burn
            ):
                held = [
                    Range(b.start, b.start + b.length) for b in site.disk.blocks.values() if b.stream == record.stream
                ]
                kept = _kept(site, record.stream)
                for part in [*waiting, *kept, Range(record.head, record.end)]:
                    if sum(len(common) for block in held if (common := block.intersection(part))) != len(part):
                        self._wrong(f"bytes of {part} of {record.stream} are not on the disk of {here}")

    def check_lifetimes(self, site: SimulatedSite) -> None:
        """Nothing has outlived its time at a site that has come to rest."""
        _, wall = site.clocks()
        for runner in site.site.links.values():
            link = runner.core
            due = wall - _LATE_S
            for row in link.reservations:
                if row.expires_at < due and not row.awaits_only_confirm:
                    self._wrong(f"{row.id} at {site.here} has outlived its time")
            for answer in link._state.answers.expired(due):
                self._wrong(f"an answer at {site.here} of {len(answer.keys)} runs of keys has outlived its time")
            for record in link.streams:
                if record.available and record.opened_at + link.settings.stream_s < due:
                    self._wrong(f"{record.stream} at {site.here} has outlived its time")

    def check_erased(self, site: SimulatedSite, due: Mapping[StreamId, Sequence[Range]]) -> None:
        """Nothing is on a disk that nobody needs, of a site that has stopped; `due` is what was `erasable` before."""
        for block in site.disk.blocks.values():
            record = site.disk.streams[block.stream]
            rows = [r for r in site.disk.reservations.values() if r.stream == block.stream and r.side is Side.SLAVE]
            unfetched = [part for row in rows for part in row.unfetched()]
            # What has become free while the site stopped is erased when it starts again, and nothing else is left to.
            erasable_now = erasable(site).get(block.stream, ())
            late = [piece for part in erasable_now for piece in subtract(part, due.get(block.stream, ()))]
            needed = union([*unfetched, *_kept(site, block.stream), *late, Range(record.head, record.end)])
            place = Range(block.start, block.start + block.length)
            kept = sum(len(common) for part in needed if (common := place.intersection(part)))
            if kept != len(place):
                self._wrong(f"{place} of {block.stream} is still on the disk of {site.here}, needed are {kept} bytes")


def erasable(site: SimulatedSite) -> dict[StreamId, list[Range]]:
    """Return what the links of a site say may be erased, and have not asked for yet."""
    return {
        stream: list(ledger._erasable)
        for runner in site.site.links.values()
        for stream, ledger in runner.core._state.ledgers.items()
    }


def _kept(site: SimulatedSite, stream: StreamId) -> list[Range]:
    """The bytes of a stream that answers keep on a disk."""
    answers = site.disk.answers.values()
    return [run.range for answer in answers for run in answer.keys if run.stream == stream]
