"""A network as one site sees it, drawn: as text for Graphviz (DOT), and as a picture by itself (SVG).

Sites are circles, the one that was asked is filled; links say what they cost and the bits of key that they have left,
and are red where they have none. Pure: the same view gives the same picture. Not here: the view (`wire.routes`).
"""

from __future__ import annotations

import cmath
from collections import defaultdict
from functools import partial
from html import escape
from itertools import chain, combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qss.wire.routes import LinkView, RoutingStatus

_MOST_ROUNDS = 300
_FEWEST_ROUNDS = 4
_WORK = 4_000_000
"""Pairs of sites that are looked at in all: a picture of a thousand sites is rough, and takes a few seconds."""

_FIRST_STEP = 0.2
_GRAVITY = 1.0
_SITE = 120.0
"""Room for one site, in pixels."""

_RADIUS = 18
_SHOWN_SAES = 4


def dot_of(status: RoutingStatus) -> str:
    """Return the network in Graphviz's language."""
    saes = _saes(status)
    lines = [f"graph network {{  // as {status.site} sees it", "  node [shape=circle]"]
    for site in _sites(status):
        label = "\\n".join((site, *map(_quoted, _some(saes[site]))))
        style = ", style=filled, fillcolor=lightgrey" if site == status.site else ""
        lines.append(f'  "{site}" [label="{label}"{style}]')
    for link in status.links:
        colour = "" if link.available_bits else ", color=red"
        lines.append(f'  "{link.ends[0]}" -- "{link.ends[1]}" [label="{_label(link)}"{colour}]')
    return "\n".join((*lines, "}", ""))


def svg_of(status: RoutingStatus) -> str:
    """Return the network as a picture."""
    sites, saes = _sites(status), _saes(status)
    places = _placed(sites, status.links)
    size = _SITE * (2 + len(sites) ** 0.5)
    at = {site: (round(x * size, 1), round(y * size, 1)) for site, (x, y) in places.items()}
    fonts = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size:.0f}" height="{size:.0f}" {fonts}>',
        f"<title>The network as {status.site} sees it</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for link in status.links:
        (x1, y1), (x2, y2) = at[link.ends[0]], at[link.ends[1]]
        colour = "#555" if link.available_bits else "#c00"
        drawn.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"/>')
        drawn.append(f'<text x="{(x1 + x2) / 2:.1f}" y="{(y1 + y2) / 2 - 3:.1f}" fill="{colour}">{_label(link)}</text>')
    for site in sites:
        x, y = at[site]
        fill = "#dde" if site == status.site else "white"
        drawn.append(f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="{fill}" stroke="black"/>')
        drawn.append(f'<text x="{x}" y="{y + 4}">{site}</text>')
        drawn += [
            f'<text x="{x}" y="{y + _RADIUS + 12 * row}" fill="#246">{escape(sae)}</text>'
            for row, sae in enumerate(_some(saes[site]), 1)
        ]
    return "\n".join((*drawn, "</svg>", ""))


def _sites(status: RoutingStatus) -> list[str]:
    ends = chain.from_iterable(link.ends for link in status.links)
    return sorted({status.site, *ends, *(route.dest for route in status.routes)})


def _saes(status: RoutingStatus) -> Mapping[str, list[str]]:
    found = defaultdict(list)
    for route in status.routes:
        found[route.dest].append(route.SAE_ID)
    return found


def _some(saes: Sequence[str]) -> list[str]:
    more = len(saes) - _SHOWN_SAES
    return [*saes[:_SHOWN_SAES], *([f"and {more} more"] if more > 0 else [])]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _label(link: LinkView) -> str:
    return f"{link.cost} · {_bits(link.available_bits)}"


def _bits(bits: int) -> str:
    for unit, factor in (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 10**3)):
        if bits >= factor:
            return f"{bits / factor:.0f} {unit}"
    return f"{bits} bit"


def _placed(sites: Sequence[str], links: Sequence[LinkView]) -> dict[str, tuple[float, float]]:
    """Return a place in the unit square for each site: linked ones near, all apart (Fruchterman and Reingold, 1991)."""
    number = len(sites)
    index = {site: i for i, site in enumerate(sites)}
    pairs = [(index[one], index[other]) for one, other in (link.ends for link in links)]
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
    return dict(zip(sites, _in_unit_square(places), strict=True))


def _along(way: complex, length: Callable[[float], float]) -> complex:
    """Return the vector along `way` whose length is given by that of `way`."""
    distance = max(abs(way), 1e-6)
    return way / distance * length(distance)


def _in_unit_square(places: Sequence[complex]) -> list[tuple[float, float]]:
    margin = 1 / (2 + len(places) ** 0.5)
    axes = []
    for axis in ([place.real for place in places], [place.imag for place in places]):
        low, width = min(axis), max(max(axis) - min(axis), 1e-6)
        axes.append([margin + (1 - 2 * margin) * (value - low) / width for value in axis])
    return list(zip(*axes, strict=True))
