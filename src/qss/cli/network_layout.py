"""Places for the sites of a network that is to be drawn: linked ones near each other, all apart. Pure.

Fruchterman and Reingold's forces (1991): sites push each other away, links pull. Then the whole lies with its long side
across. Not here: what is drawn (`network_drawing`).
"""

from __future__ import annotations

import cmath
import math
import statistics
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST_ROUNDS = 300
_FEWEST_ROUNDS = 4
_WORK = 4_000_000
"""Pairs of sites that are looked at in all: a picture of a thousand sites is rough, and takes a few seconds."""

_FIRST_STEP = 0.2
_GRAVITY = 1.0


def placed(
    sites: Sequence[str], links: Sequence[tuple[str, str]], link: float, room: float
) -> dict[str, tuple[float, float]]:
    """Return a place for each site, from zero on; the same for the same network.

    Links are at least `link` long in the mean, and a site has at least `room` in the square, in the mean.
    """
    index = {site: i for i, site in enumerate(sites)}
    pairs = [(index[one], index[other]) for one, other in links]
    places = _lying(_relaxed(len(sites), pairs))
    scale = _scale(places, pairs, link, room)
    left, top = min(place.real for place in places), min(place.imag for place in places)
    at = [(scale * (place.real - left), scale * (place.imag - top)) for place in places]
    return dict(zip(sites, at, strict=True))


def _relaxed(number: int, pairs: Sequence[tuple[int, int]]) -> list[complex]:
    """Return where forces move sites that begin on a circle."""
    wanted = 1.5 / number**0.5
    rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, _WORK // number**2))
    places = [cmath.rect(1, 2 * cmath.pi * i / number) for i in range(number)]
    for step in range(rounds, 0, -1):
        moves = [-_GRAVITY * place for place in places]  # what is linked to nothing does not flee for ever
        for i, j in combinations(range(number), 2):
            push = _along(places[i] - places[j], lambda distance: wanted**2 / distance)
            moves[i] += push
            moves[j] -= push
        for i, j in pairs:
            pull = _along(places[i] - places[j], lambda distance: distance**2 / wanted)
            moves[i] -= pull
            moves[j] += pull
        bounded = partial(min, _FIRST_STEP * step / rounds)
        places = [place + _along(move, bounded) for place, move in zip(places, moves, strict=True)]
    return places


def _along(way: complex, length: Callable[[float], float]) -> complex:
    """Return the vector along `way` whose length is given by that of `way`."""
    distance = max(abs(way), 1e-6)
    return way / distance * length(distance)


def _lying(places: Sequence[complex]) -> list[complex]:
    """Return places turned about their middle, so that they differ most from left to right."""
    middle = sum(places) / len(places)
    turn = cmath.rect(1, -cmath.phase(sum((place - middle) ** 2 for place in places)) / 2)
    return [(place - middle) * turn for place in places]


def _scale(places: Sequence[complex], pairs: Sequence[tuple[int, int]], link: float, room: float) -> float:
    width = 2 * max(abs(place) for place in places) or 1.0
    for_sites = room * math.sqrt(len(places)) / width
    lengths = [abs(places[i] - places[j]) for i, j in pairs]
    return max(for_sites, link / statistics.fmean(lengths)) if lengths else for_sites
