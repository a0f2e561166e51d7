"""The independent checker: reads a run's log afterwards, and names every invariant that was broken.

It believes what applications were given, and compares with it what sites say of themselves. Of time it knows only the
order of the entries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from qss.model.identifiers import QksId, SaeId
from qss.wire.status import PAST, StreamBalance
from torture.log import GOT, LOST, MALFORMED, REFUSED, Asked, Broken, Delivered, Ended, Entry, Fetching, Looked

WINDOW_BYTES = 8
"""Two keys that have so many bytes in a row in common share bits of a key stream."""

_PASSES = 16

_UNKNOWN = "is not known here"

_INSTEAD_OF_RELAYED = ("abandoned", "skipped", "refused", "closed")
"""Why an end burned what the other one relayed: it had not got so far."""

_TAG_KEY_BITS = 256
"""What the tag takes with which keys come to a further site."""

Party = tuple[str, SaeId]
"""A key ID, and who has it or wants it."""


@dataclass
class Record:
    """A log, sorted by what it tells. Positions are those of entries in the log."""

    asked: dict[int, Asked] = field(default_factory=dict)
    fetches: dict[int, Fetching] = field(default_factory=dict)
    began: dict[int, int] = field(default_factory=dict)
    """Where each ask begins."""
    under: dict[int, str] = field(default_factory=dict)
    """The name of each ask; one that has none gets one of its own here."""
    ended: dict[int, tuple[int, Ended]] = field(default_factory=dict)
    delivered: dict[int, list[Delivered]] = field(default_factory=lambda: defaultdict(list))
    """What came in answer to each ask."""
    keys: dict[str, bytes] = field(default_factory=dict)
    """What each key ID stands for: what was delivered first."""
    origin: dict[str, Asked] = field(default_factory=dict)
    """In answer to what each key ID was made: the first time."""
    looks: list[Looked] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def deliveries(self) -> Iterator[Delivered]:
        """All deliveries, ask by ask."""
        for deliveries in self.delivered.values():
            yield from deliveries

    def outcome(self, ask: int) -> str:
        """How an ask ended; one that was under way to the last has lost its answer."""
        return self.ended[ask][1].outcome if ask in self.ended else LOST


def gather(entries: Iterable[Entry]) -> Record:
    """Sort a log."""
    record = Record()
    for position, entry in enumerate(entries):
        match entry:
            case Asked(ask=ask):
                record.asked[ask] = entry
                record.began[ask] = position
                record.under[ask] = entry.name or f"ask {ask}"
            case Fetching(ask=ask):
                record.fetches[ask] = entry
                record.began[ask] = position
                record.under[ask] = entry.name or f"ask {ask}"
            case Delivered(ask=ask, key_id=key_id):
                record.delivered[ask].append(entry)
                record.keys.setdefault(key_id, entry.key)
                if ask in record.asked:
                    record.origin.setdefault(key_id, record.asked[ask])
            case Ended(ask=ask):
                record.ended[ask] = position, entry
            case Looked():
                record.looks.append(entry)
            case Broken(what):
                record.broken.append(what)
            case _:  # faults are for the reader
                pass
    return record


def violations(record: Record, homes: Mapping[SaeId, QksId]) -> list[str]:
    """Return what is wrong with a run, in words; `homes` says at which site each SAE is."""
    return [
        *record.broken,
        *_agreement(record),
        *_right_party(record),
        *_repeats(record),
        *_reuse(record.keys),
        *_all_or_nothing(record),
        *_refusals(record, homes),
        *_balance(record.looks),
        *_both_ends(record.looks),
        *_relayed_alike(record.looks),
        *_relayed_enough(record.looks),
        *_books(record, homes),
    ]


# --- deliveries ----------------------------------------------------------------------------------------------------


def _agreement(record: Record) -> Iterator[str]:
    """The same key ID stands for the same bytes, whoever has it."""
    for one in record.deliveries:
        if one.key != record.keys[one.key_id]:
            yield f"{one.key_id}, as {one.sae} got it, is another key than others got"


def _right_party(record: Record) -> Iterator[str]:
    """A key goes to its master and to the slaves that its request names, at most once to each, repeats apart."""
    had: dict[Party, str] = {}
    for one in record.deliveries:
        origin = record.origin.get(one.key_id)
        if origin is None or one.sae not in (origin.master, *origin.slaves):
            yield f"{one.key_id} went to {one.sae}, who has no part in it"
        elif had.setdefault((one.key_id, one.sae), record.under[one.ask]) != record.under[one.ask]:
            yield f"{one.key_id} went to {one.sae} twice"
        elif one.ask in record.asked and record.under[one.ask] != record.under[origin.ask]:
            yield f"{one.key_id} was made for two requests"


def _repeats(record: Record) -> Iterator[str]:
    """Whatever is asked under one name, and answered with keys, is answered with the same ones in the same order."""
    first: dict[str, list[tuple[str, bytes]]] = {}
    for ask in record.began:
        if record.outcome(ask) == GOT:
            container = [(one.key_id, one.key) for one in record.delivered[ask]]
            if container != first.setdefault(record.under[ask], container):
                yield f"ask {ask} got other keys than an ask before it under the name {record.under[ask]}"


def _reuse(keys: Mapping[str, bytes]) -> Iterator[str]:
    """No `WINDOW_BYTES` bytes in a row occur twice, in two keys or in one, whatever their places.

    Goes through the keys several times, each time for the windows with certain first bytes, which bounds the memory.
    """
    for share in range(_PASSES):
        owner: dict[bytes, str] = {}
        for key_id, key in keys.items():
            for at in range(len(key) - WINDOW_BYTES + 1):
                if key[at] % _PASSES != share:
                    continue
                window = key[at : at + WINDOW_BYTES]
                if window in owner:
                    yield f"{owner[window]} and {key_id} have {WINDOW_BYTES} bytes in a row in common"
                owner[window] = key_id


def _all_or_nothing(record: Record) -> Iterator[str]:
    """n asked, n got, of the right size; or none. Slaves get just what they asked for."""
    for ask, one in record.asked.items():
        got = record.delivered.get(ask, [])
        wanted = one.number if record.outcome(ask) == GOT else 0
        if len(got) != wanted or len({key.key_id for key in got}) != wanted:
            yield f"ask {ask}: {one.master} was to get {wanted} keys and got {len(got)}"
        if any(8 * len(key.key) != one.size for key in got):
            yield f"ask {ask}: {one.master} got keys of another size than {one.size} bits"
    for ask, fetch in record.fetches.items():
        got = record.delivered.get(ask, [])
        due = fetch.key_ids if record.outcome(ask) == GOT else ()
        if tuple(key.key_id for key in got) != due:
            yield f"ask {ask}: {fetch.sae} was to get {len(due)} keys and got {len(got)}, or others"


def _refusals(record: Record, homes: Mapping[SaeId, QksId]) -> Iterator[str]:
    """A right question is answered with keys or 503; a key that was promised can be had until it was.

    A repeat is no second question: what its own name was answered with before is no reason to refuse it. A site that
    has just started, and is cut off from the rest, knows nothing of SAEs at far sites, and may take them for wrong.
    """
    far = {(look.site, look.peer) for look in record.looks if look.far}
    tries: dict[Party, list[int]] = defaultdict(list)
    """Fetches that gave a key to a slave, or may have."""
    for ask, fetch in record.fetches.items():
        if record.outcome(ask) in (GOT, LOST):
            for key_id in fetch.key_ids:
                tries[key_id, fetch.sae].append(ask)
    for ask, (position, end) in record.ended.items():
        if end.outcome == MALFORMED:
            yield f"ask {ask}: the answer is none: {end.message}"
        if end.outcome != REFUSED or end.status == 503:
            continue
        if ask in record.asked:
            if _UNKNOWN in end.message and (homes[record.asked[ask].master], homes[record.asked[ask].slaves[0]]) in far:
                continue
            yield f"ask {ask}: {record.asked[ask].master} was refused with status {end.status}: {end.message}"
            continue
        fetch = record.fetches[ask]
        origins = [record.origin[key_id] for key_id in fetch.key_ids if key_id in record.origin]
        is_named = all(fetch.sae in origin.slaves and fetch.master == origin.master for origin in origins)
        had = any(
            record.began[other] < position and record.under[other] != record.under[ask]
            for key_id in fetch.key_ids
            for other in tries[key_id, fetch.sae]
        )
        if is_named and not (had and end.status == 400):
            yield f"ask {ask}: {fetch.sae} was refused its keys with status {end.status}: {end.message}"


# --- what sites tell -----------------------------------------------------------------------------------------------


def _balance(looks: Iterable[Looked]) -> Iterator[str]:
    """Every bit of every stream is somewhere, whenever somebody looks."""
    for look in looks:
        for stream in look.streams:
            parts = (stream.available, stream.reserved, stream.delivered, stream.relayed, stream.burned)
            if stream.ingested != sum(parts) or min(parts) < 0:
                yield f"{stream.stream} at {look.site} with {look.peer} does not balance: {stream}"


def _both_ends(looks: Iterable[Looked]) -> Iterator[str]:
    """At rest, both ends of a link are equally far in each stream."""
    left = {
        (look.site, look.peer): {stream.stream: stream for stream in look.streams if stream.stream != PAST}
        for look in looks
        if look.final
    }
    for site, peer in sorted({(min(ends), max(ends)) for ends in left}):
        here, there = left.get((site, peer), {}), left.get((peer, site), {})
        for stream in here.keys() | there.keys():
            if not _agree(here.get(stream), there.get(stream)):
                yield f"{site} and {peer} differ in how far {stream} is allocated"


def _agree(here: StreamBalance | None, there: StreamBalance | None) -> bool:
    """Whether two ends are equally far: with what is used up if the stream still grows, with what is left if not.

    What is left of a closed stream ends for both where the shorter one ends; the longer end burns what it has beyond. A
    stream of which nothing is left is forgotten, by each end in its time.
    """
    left, left_there = (0 if end is None else end.available for end in (here, there))
    used, used_there = (None if end is None else end.ingested - end.available for end in (here, there))
    return left == left_there or (used == used_there and used is not None)


def _relayed_alike(looks: Iterable[Looked]) -> Iterator[str]:
    """At rest, what one end of a link relayed the other end relayed too, or burned for a reason that explains that."""
    final = {(look.site, look.peer): look for look in looks if look.final}
    for (site, peer), look in final.items():
        there = final.get((peer, site))
        missing = _sum(look.streams, "relayed") - (_sum(there.streams, "relayed") if there else 0)
        explained = sum(there.burned.get(reason, 0) for reason in _INSTEAD_OF_RELAYED) if there else 0
        if missing > explained:
            yield f"{site} relayed {missing} bits with {peer}, which neither relayed nor gave them up"


def _relayed_enough(looks: Iterable[Looked]) -> Iterator[str]:
    """At rest, a site has no more bits of end-to-end streams than its own links have relayed."""
    relayed, held = defaultdict[QksId, int](int), defaultdict[QksId, int](int)
    for look in looks:
        if look.final:
            relayed[look.site] += _sum(look.streams, "relayed")
            held[look.site] += _sum([one for one in look.streams if look.far or one.policy], "ingested")
    for site, bits in held.items():
        if bits > relayed[site]:
            yield f"{site} has {bits} bits of end-to-end streams, and its links relayed {relayed[site]}"


def _books(record: Record, homes: Mapping[SaeId, QksId]) -> Iterator[str]:
    """At rest, what a site says it gave out is what its applications got, and at most what else they may have got."""
    promised: dict[frozenset[QksId], int] = defaultdict(int)
    for key_id, origin in record.origin.items():
        for site in _sites(origin, homes):
            promised[frozenset((homes[origin.master], site))] += 8 * len(record.keys[key_id])
    most = _most_delivered(record, homes)
    told = {(look.site, look.peer) for look in record.looks if look.final}
    for ends in promised if told else ():
        for site, peer in permutations(ends):
            if (site, peer) not in told:
                yield f"{site} tells nothing of {peer}, with which keys were promised"
    for look in record.looks:
        if not look.final:
            continue
        here = f"{look.site} with {look.peer}"
        kept = _sum(look.streams, "delivered") + _sum(look.streams, "reserved")
        if kept < promised[frozenset((look.site, look.peer))]:
            yield f"{here} accounts for {kept} bits that were promised, but more were"
        if _sum(look.streams, "delivered") > most[look.site, look.peer]:
            yield f"{here} says it delivered {_sum(look.streams, 'delivered')} bits, more than anybody asked for"


def _most_delivered(record: Record, homes: Mapping[SaeId, QksId]) -> Mapping[tuple[QksId, QksId], int]:
    """Return the most bits that each end of a link can have delivered: to its masters, and to its slaves.

    What came to a second or third site of an ask had a tag, whose key counts as delivered whatever became of the ask.
    An ask for several sites has its name once all have the keys (KRP 4.19): what was reserved before, and lost, may
    count as delivered besides what a repeat got.
    """
    most: dict[tuple[QksId, QksId], int] = defaultdict(int)
    answered = {
        ask if len(_sites(one, homes)) > 1 else record.under[ask]: one
        for ask, one in record.asked.items()
        if record.outcome(ask) in (GOT, LOST)
    }
    for one in answered.values():
        for place, site in enumerate(_sites(one, homes)):
            most[homes[one.master], site] += one.number * one.size + (_TAG_KEY_BITS if place else 0)
    for one in record.asked.values():
        for site in _sites(one, homes)[1:]:
            most[site, homes[one.master]] += _TAG_KEY_BITS
    fetched: set[tuple[str, QksId]] = set()
    for ask, fetch in record.fetches.items():
        if record.outcome(ask) in (GOT, LOST):
            fetched.update((key_id, homes[fetch.sae]) for key_id in fetch.key_ids)
    for key_id, site in fetched:
        if key_id in record.origin:
            most[site, homes[record.origin[key_id].master]] += 8 * len(record.keys[key_id])
    return most


def _sites(origin: Asked, homes: Mapping[SaeId, QksId]) -> tuple[QksId, ...]:
    """Return the sites of the slaves, that of the first one first."""
    return tuple(dict.fromkeys(homes[slave] for slave in origin.slaves))


def _sum(streams: Iterable[StreamBalance], state: str) -> int:
    return sum(getattr(stream, state) for stream in streams)
