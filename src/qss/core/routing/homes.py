"""Where SAEs are at home, kept up LSA by LSA (Routing 3.4 and 9.4).

    a claim   what it means                                      leaves it
    ────────  ─────────────────────────────────────────────────  ────────────────────────────────────────────────────
    unseen    its statement waits to be looked at                it is looked at ▶ proven, over or false
    proven    the authority states it; it counts until its end   another statement comes ▶ unseen, counting as before
    over      it has ended, so nobody looked at its signature    the clock is put back ▶ unseen
    false     it is no statement, of another home, or forged     another statement comes ▶ unseen

A change of an LSA costs what is in that LSA, and nothing of what all others say. Verdicts are kept with the claims that
they are of: so none is forgotten while its LSA lives, and none outlives it. What costs time is looked at at a bounded
rate, of each origin in turn, so that whoever tells heaps of statements waits behind nobody but himself. A verdict is on
what the authority has signed: another signature of the same is not looked at.

Held here: claims, turns, and who has a home. Not here: the authority's signature (`stated` comes in). Times in seconds;
`wall` is the time since 1970, by which statements end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from qss.core.routing.buckets import Bucket, Buckets
from qss.model.errors import BadRequest
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import HomeStatement, SignedStatement, decode_statement
from qss.wire.routing import Key, SaeState

Stated = Callable[[SignedStatement], bool]
"""Whether the network's authority has signed this."""

LOOKS_BURST, LOOKS_PER_SECOND = 256, 2560.0
"""Statements that are looked at at once, and in a second after that: a signature takes some 55 us (Routing 10)."""

FORGED_BURST, FORGED_PER_SECOND = 100, 100 / 60
"""Statements of one origin whose signatures were looked at in vain; beyond, what it tells waits (Routing 10)."""

STEP_S = 1.0
"""If both clocks disagree by more since the last look, one was put elsewhere: all ends are looked at anew."""

ENDS_S = 5.0
"""How often it is looked, at most, which statements have ended."""


@dataclass(slots=True, eq=False)
class _Claim:
    """That an SAE is at home at the origin of an LSA."""

    sae: SaeId
    statement: bytes | None
    seen: bool = False
    proven: bool = False
    body: bytes = b""
    """What the authority has signed."""
    until: float = 0.0
    """The end of what is stated, seconds since 1970."""
    counted: bool = False


class Homes:
    """The homes that count, as one site sees them."""

    def __init__(self, here: QksId, stated: Stated) -> None:
        """Begin with nothing. What `here` tells counts without statements."""
        self.version = 0
        """Another one with each change."""
        self._here = here
        self._stated = stated
        self._claims: dict[Key, tuple[_Claim, ...]] = {}
        self._unseen: dict[QksId, dict[Key, deque[_Claim]]] = {}
        """What waits to be looked at, by origin, the one whose turn is next first."""
        self._origins: dict[SaeId, tuple[QksId, ...]] = {}
        """By whom an SAE's home is claimed and counts, once for each LSA."""
        self._homes: dict[SaeId, QksId] = {}
        self.contested: dict[SaeId, tuple[QksId, ...]] = {}
        """SAEs with several homes that count, which are served by none, and these homes in the order of their IDs."""
        self._given: dict[SaeId, QksId] | None = None
        self._looks = Bucket(LOOKS_BURST, LOOKS_PER_SECOND)
        self._forged = Buckets[QksId](FORGED_BURST, FORGED_PER_SECOND)
        self._next_end = math.inf
        self._ends_at = 0.0
        self._apart_s: float | None = None
        """By how much the clocks were apart at the last look."""

    @property
    def are_all_seen(self) -> bool:
        """Whether no statement waits to be looked at."""
        return not self._unseen

    def homes(self) -> Mapping[SaeId, QksId]:
        """Return the home of each SAE that has one that counts. What was given is not changed by what comes later."""
        if self._given is None:
            self._given = dict(self._homes)
        return self._given

    # --- what is told ---------------------------------------------------------------------------------------------

    def tell(self, key: Key, states: Iterable[SaeState], now: float, wall: float) -> None:
        """Take in what an LSA says now: nothing, if it was withdrawn or has passed its lifetime."""
        origin = QksId(key.origin)
        before = {claim.sae: claim for claim in self._claims.pop(key, ())}
        own = origin == self._here
        claims: list[_Claim] = []
        for state in states:
            if state.statement is None and not own:
                continue
            claim = before.pop(SaeId(state.sae), None)
            if claim is None or claim.statement != state.statement:
                claim = claim or _Claim(SaeId(state.sae), None)  # one of before counts on until it is looked at
                claim.statement, claim.seen = state.statement, own
            claims.append(claim)
        for claim in before.values():
            self._count(claim, origin, counts=False)
        self._wait(origin, key, [claim for claim in claims if not claim.seen])
        if claims:
            self._claims[key] = tuple(claims)
        if own:
            for claim in claims:
                self._count(claim, origin, counts=True)
        elif self._unseen.keys() == {origin}:  # if others wait as well, it has its turn with them
            self._look(now, wall)

    def _wait(self, origin: QksId, key: Key, claims: list[_Claim]) -> None:
        waiting = self._unseen.get(origin, {})
        waiting.pop(key, None)
        if claims:
            self._unseen.setdefault(origin, waiting)[key] = deque(claims)
        elif not waiting:
            self._unseen.pop(origin, None)

    # --- what is looked at ----------------------------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> None:
        """Look at what waits, and at what has ended."""
        apart_s = wall - now
        stepped = self._apart_s is not None and abs(apart_s - self._apart_s) > STEP_S
        self._apart_s = apart_s
        if stepped or (wall >= self._next_end and now - self._ends_at >= ENDS_S):
            self._ends_at = now
            self._look_at_ends(wall)
        if self._unseen:
            self._look(now, wall)

    def tidy(self, now: float) -> None:
        """Forget who has told nothing false lately."""
        self._forged.tidy(now)

    def look_at_all(self, now: float, wall: float) -> None:
        """Look at all that waits, whatever it costs."""
        while self._unseen:
            self._look_at_next(next(iter(self._unseen)), now, wall)

    def _look(self, now: float, wall: float) -> None:
        turns = deque(origin for origin in self._unseen if self._forged.has_room(origin, now))
        while turns and self._looks.has_room(now):
            self._looks.add(now)
            origin = turns.popleft()
            if self._look_at_next(origin, now, wall) and self._forged.has_room(origin, now):
                turns.append(origin)

    def _look_at_next(self, origin: QksId, now: float, wall: float) -> bool:
        """Look at one statement of an origin, whose turn comes last then; return whether more of it wait."""
        waiting = self._unseen.pop(origin)
        key, claims = next(iter(waiting.items()))
        claim = claims.popleft()
        if not claims:
            del waiting[key]
        if waiting:
            self._unseen[origin] = waiting
        if not self._look_at(claim, origin, wall):
            self._forged.add(origin, now)
        return bool(waiting)

    def _look_at(self, claim: _Claim, origin: QksId, wall: float) -> bool:
        """Judge a claim: what costs least comes first. Return whether its signature was not looked at in vain."""
        former = claim.body if claim.proven else None
        claim.seen, claim.proven, claim.body, claim.until = True, False, b"", 0.0
        signed, home = _read(claim.statement)
        true = True
        if signed is not None and home is not None and (home.sae, home.site) == (claim.sae, origin):
            claim.until = home.expires
            if home.expires > wall:
                true = signed.body == former or self._stated(signed)
                claim.proven, claim.body = true, signed.body
                claim.until = home.expires if true else 0.0
        self._judge(claim, origin, wall)
        return true

    def _look_at_ends(self, wall: float) -> None:
        """Judge by the clock alone what was looked at; what was over before and is not now waits to be looked at."""
        self._next_end = math.inf
        for key, claims in self._claims.items():
            origin = QksId(key.origin)
            if origin == self._here:
                continue
            back = [claim for claim in claims if claim.seen and not claim.proven and claim.until > wall]
            for claim in back:
                claim.seen = False
            if back:
                self._wait(origin, key, [claim for claim in claims if not claim.seen])
            for claim in claims:
                if claim.proven:
                    self._judge(claim, origin, wall)

    # --- who has a home -------------------------------------------------------------------------------------------

    def _judge(self, claim: _Claim, origin: QksId, wall: float) -> None:
        counts = claim.proven and claim.until > wall
        if counts:
            self._next_end = min(self._next_end, claim.until)
        self._count(claim, origin, counts=counts)

    def _count(self, claim: _Claim, origin: QksId, *, counts: bool) -> None:
        if claim.counted == counts:
            return
        claim.counted = counts
        origins = list(self._origins.pop(claim.sae, ()))
        if counts:
            origins.append(origin)
        else:
            origins.remove(origin)
        if origins:
            self._origins[claim.sae] = tuple(origins)
        home = self._home(set(origins))
        self.contested.pop(claim.sae, None)
        if origins and home is None:
            self.contested[claim.sae] = tuple(sorted(set(origins)))
        self._set_home(claim.sae, home)

    def _home(self, origins: set[QksId]) -> QksId | None:
        """Return the home of an SAE that these claim: what this site itself says counts alone (Routing 3.4)."""
        if self._here in origins:
            return self._here
        return next(iter(origins)) if len(origins) == 1 else None

    def _set_home(self, sae: SaeId, home: QksId | None) -> None:
        if self._homes.get(sae) == home:
            return
        if home is None:
            del self._homes[sae]
        else:
            self._homes[sae] = home
        self._given = None
        self.version += 1


def _read(statement: bytes | None) -> tuple[SignedStatement, HomeStatement] | tuple[None, None]:
    try:
        return decode_statement(statement or b"")
    except BadRequest:
        return None, None
