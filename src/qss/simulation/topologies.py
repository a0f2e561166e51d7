"""Shapes of networks to simulate and measure: lists of roads between sites. Pure; the same seed gives the same roads.

Made ones name their sites `s` and a number; NSFNET and GÉANT name them by city and country. All are connected, and name
no road twice. Held here: who is joined to whom. Not here: what a road costs or does (`routing`).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

from qss.model.identifiers import QksId

Roads = tuple[tuple[QksId, QksId], ...]
"""Pairs of sites, the lower ID first, in order."""

Edges = tuple[tuple[int, int], ...]
"""The same of sites that are numbers, where addresses or indices are reckoned from them."""

NEAREST = 3
"""How many others a site of `scattered` is joined to by itself."""

_NSFNET = """
Seattle: Palo-Alto San-Diego Champaign
Palo-Alto: San-Diego Salt-Lake-City
San-Diego: Houston
Salt-Lake-City: Boulder Ann-Arbor
Boulder: Houston Lincoln
Houston: Atlanta College-Park
Lincoln: Champaign
Champaign: Pittsburgh
Pittsburgh: Atlanta Ithaca Princeton
Ann-Arbor: Ithaca Princeton
College-Park: Ithaca Princeton
"""

_GEANT = """
NL: BE DK DE UK LT
BE: IE
DK: IS NO DE EE SE RU
PL: UA BY DE CZ LT
DE: CZ LU CH CY IL AT RU
CZ: SK
LU: FR
FR: CH ES UK
CH: IT ES
IT: ES MT AT GR
MD: RO
BG: TR MK RO HU GR
RO: HU TR
GR: AT
CY: UK
IL: LT
ME: HR
HU: RS HR SK
SK: AT
PT: ES UK
HR: SI
SI: AT
LT: LV
IS: UK
IE: UK
NO: SE
SE: FI
EE: LV
"""


def site(number: int) -> QksId:
    """Return the name of a site of a made network."""
    return QksId(f"s{number:02}")


def line(size: int) -> Roads:
    """Return sites one after the other."""
    return _ordered((site(n), site(n + 1)) for n in range(size - 1))


def ring(size: int) -> Roads:
    """Return a line whose ends are joined; `size` is three or more. Raises ValueError."""
    if size < 3:
        raise ValueError(f"a ring has three sites or more, and not {size}: take a line")
    return _ordered([*line(size), (site(0), site(size - 1))])


def grid(side: int) -> Roads:
    """Return `side` times `side` sites, each joined to the next in its row and in its column."""
    places = list(itertools.product(range(side), repeat=2))
    steps = [((x, y), (x + dx, y + dy)) for x, y in places for dx, dy in ((0, 1), (1, 0))]
    return _ordered((site(side * a + b), site(side * c + d)) for (a, b), (c, d) in steps if max(c, d) < side)


def tangle(size: int, seed: int) -> Roads:
    """Return a random network in which a site has four neighbours in the mean."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    roads = {frozenset((n, dice.randrange(n))) for n in range(1, size)}
    while len(roads) < min(2 * size, math.comb(size, 2)):
        roads.add(frozenset(dice.sample(range(size), 2)))
    return _ordered((site(one), site(other)) for one, other in roads)


def scattered(size: int, seed: int) -> Roads:
    """Return sites at random places on a square, joined to their nearest ones, as fibre joins towns.

    Each is joined to its three nearest, which gives about four neighbours in the mean; then whatever lies apart is
    joined where it comes nearest to the rest.
    """
    dice = random.Random(seed)  # noqa: S311 - no secret
    places = [(dice.random(), dice.random()) for _ in range(size)]
    roads: set[frozenset[int]] = set()
    for n, here in enumerate(places):
        nearest = sorted(range(size), key=lambda other: math.dist(here, places[other]))
        roads |= {frozenset((n, other)) for other in nearest[1 : NEAREST + 1]}
    while len(island := _reached(roads, 0)) < size:
        pairs = itertools.product(island, set(range(size)) - island)
        nearest_pair = min(pairs, key=lambda pair: math.dist(places[pair[0]], places[pair[1]]))
        roads.add(frozenset(nearest_pair))
    return _ordered((site(one), site(other)) for one, other in roads)


def nsfnet() -> Roads:
    """Return the 14 sites and 21 links of the NSFNET backbone of 1991, which the field compares itself on."""
    return _listed(_NSFNET)


def geant() -> Roads:
    """Return the 40 sites and 61 links of GÉANT, as the Internet Topology Zoo recorded its map of March 2012."""
    return _listed(_GEANT)


def numbered(roads: Roads) -> Edges:
    """Return roads with a number for each site, from zero, in the order of their names."""
    sites = sorted(set(itertools.chain.from_iterable(roads)))
    numbers = {name: number for number, name in enumerate(sites)}
    return tuple(sorted((numbers[one], numbers[other]) for one, other in roads))


def _reached(roads: set[frozenset[int]], begin: int) -> set[int]:
    neighbours: dict[int, set[int]] = {}
    for each in roads:
        for one, other in itertools.permutations(each):
            neighbours.setdefault(one, set()).add(other)
    reached, waiting = {begin}, [begin]
    while waiting:
        new = neighbours[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def _listed(text: str) -> Roads:
    rows = [row.split(":") for row in text.strip().splitlines()]
    return _ordered((QksId(one), QksId(other)) for one, others in rows for other in others.split())


def _ordered(roads: Iterable[tuple[QksId, QksId]]) -> Roads:
    return tuple(sorted((min(each), max(each)) for each in roads))
