"""What this RM says of its own site, and when: sequences, refreshing, withdrawal, and holding back (Routing 7).

Held here: bodies, versions and times. Not here: signing, installing and sending (`router`). Times in seconds; the wall
clock only dates what is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qss.core.routing.hold import Hold
from qss.core.routing.parts import Parts
from qss.model.identifiers import SaeId
from qss.wire.routing import (
    MAX_GENERATION,
    MAX_SEQUENCE,
    VERSION,
    Body,
    Endpoint,
    Header,
    Key,
    LinkState,
    LsaType,
    SaeState,
    Source,
)

LAST = (MAX_GENERATION, MAX_SEQUENCE)
"""The version after which there is none. Who gets there has a site's key, and wants to silence it (Routing 3.2)."""

REFRESHES = 3
"""Refreshes in one lifetime."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who says it: the site, its External, its RM, the lifetime of what it says, and whether paths may lead through."""

    source: Source
    routing: Endpoint
    lifetime_s: int = 90
    transit: bool = True


@dataclass(slots=True)
class _Said:
    body: Body
    at: float


@dataclass(slots=True)
class Origination:
    """The LSAs of this RM's own site. `generation` is that of its first ones."""

    origin: Origin
    generation: int = 0
    _links: tuple[LinkState, ...] = ()
    _parts: Parts = field(default_factory=Parts)
    _said: dict[Key, _Said] = field(default_factory=dict)
    _beyond: dict[Key, Header] = field(default_factory=dict)
    """Instances of before that somebody still has: what is said next must be newer."""
    _holds: dict[LsaType, Hold] = field(default_factory=lambda: {each: Hold() for each in LsaType})
    _leaving: bool = False
    _look_at: float = 0.0
    """Before that there is nothing to be said: no hold time passes that holds anything back, and no LSA is stale."""

    def set_links(self, links: Sequence[LinkState]) -> None:
        """Say this of the site's links from now on."""
        told = tuple(sorted(links, key=lambda link: link.peer))
        if told != self._links:
            self._links, self._look_at = told, 0.0

    def set_saes(self, saes: Mapping[SaeId, bytes | None]) -> None:
        """Say from now on that these SAEs are at home here, with their statements."""
        self._parts.set(SaeState(sae, saes[sae]) for sae in sorted(saes))
        self._look_at = 0.0

    @property
    def untold(self) -> tuple[str, ...]:
        """SAEs at home here that no LSA can tell of."""
        return self._parts.untold

    def leave(self) -> None:
        """Withdraw all, and say nothing more (Routing 7.4)."""
        self._leaving, self._look_at = True, 0.0

    def heard_own(self, header: Header) -> None:
        """Somebody has an instance of this site's LSA that is none of those said here (Routing 7.3)."""
        before = self._beyond.get(header.key)
        if before is None or before.version < header.version:
            self._beyond[header.key] = header
        self._look_at = 0.0

    def is_over(self, key: Key) -> bool:
        """Whether nothing can be said any more in this LSA."""
        return self._last_version(key) == LAST

    def due(self, now: float, wall: float) -> Iterator[Body]:
        """Yield what is to be said now (Routing 7.5). Costs nothing where that is nothing."""
        if now < self._look_at:
            return
        wanted = {} if self._leaving else dict(self._wanted())
        wanted = {key: neighbours for key, neighbours in wanted.items() if not self.is_over(key)}
        for lsa_type, hold in self._holds.items():
            keys = {key for key in self._keys(wanted) if key.type == lsa_type}
            changed = [key for key in sorted(keys) if self._differs(key, wanted.get(key))]
            if changed and (hold.may_act(now) or self._leaving):
                hold.acted(now)
            else:
                changed = []
            stale = {key for key in keys - set(changed) if key in wanted and self._is_stale(key, now)}
            for key in (*changed, *sorted(stale)):
                yield self._say(key, wanted.get(key), now, wall)
        differ = [key for key in self._keys(wanted) if self._differs(key, wanted.get(key))]
        held = [self._holds[LsaType(key.type)].until for key in differ]
        stale_at = [self._said[key].at + self.origin.lifetime_s / REFRESHES for key in wanted if key in self._said]
        self._look_at = min((*held, *stale_at), default=math.inf)

    def _wanted(self) -> Iterator[tuple[Key, tuple[LinkState, ...] | tuple[SaeState, ...]]]:
        site = self.origin.source.qks
        yield Key(site, LsaType.LINKS, 0), self._links
        for part, saes in self._parts:
            yield Key(site, LsaType.SAES, part), saes

    def _keys(self, wanted: Iterable[Key]) -> set[Key]:
        """Return the LSAs of which something may have to be said."""
        return {key for key in (*self._said, *self._beyond, *wanted) if not self.is_over(key)}

    def _differs(self, key: Key, wanted: tuple[LinkState, ...] | tuple[SaeState, ...] | None) -> bool:
        said = self._said.get(key)
        if key in self._beyond or said is None:
            return wanted is not None or key in self._beyond
        if wanted is None:
            return not said.body.withdrawn
        now_said = said.body.links if key.type == LsaType.LINKS else said.body.saes
        return said.body.withdrawn or wanted != now_said

    def _is_stale(self, key: Key, now: float) -> bool:
        """Whether it is time to refresh it (Routing 7.2)."""
        return now - self._said[key].at >= self.origin.lifetime_s / REFRESHES

    def _say(
        self, key: Key, neighbours: tuple[LinkState, ...] | tuple[SaeState, ...] | None, now: float, wall: float
    ) -> Body:
        generation, sequence = self._next_version(key)
        links = [each for each in neighbours or () if isinstance(each, LinkState)]
        saes = [each for each in neighbours or () if isinstance(each, SaeState)]
        body = Body(
            VERSION,
            key.type,
            self.origin.source,
            self.origin.routing,
            key.part,
            generation,
            sequence,
            self.origin.lifetime_s,
            neighbours is None,
            self.origin.transit,
            tuple(links),
            tuple(saes),
            max(0, int(wall)),
        )
        self._said[key] = _Said(body, now)
        return body

    def _last_version(self, key: Key) -> tuple[int, int]:
        """Return the highest version that anybody may have; sequence 0 if there is none of its generation."""
        versions = [(self.generation, 0)]
        if said := self._said.get(key):
            versions.append((said.body.generation, said.body.sequence))
        if beyond := self._beyond.get(key):
            versions.append((beyond.generation, beyond.sequence))
        return max(versions)

    def _next_version(self, key: Key) -> tuple[int, int]:
        generation, sequence = self._last_version(key)
        self._beyond.pop(key, None)
        return (generation + 1, 1) if sequence == MAX_SEQUENCE else (generation, sequence + 1)
