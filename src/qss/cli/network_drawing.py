"""A network as one site sees it, drawn: as text for Graphviz (DOT), and as a picture by itself (SVG).

Sites are circles, the one that was asked is filled; links say what they cost and the bits of key that they have left,
and are red where they have none. Pure: the same view gives the same picture. Not here: the view (`wire.routes`), and
where sites lie in the picture (`network_layout`).
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from itertools import chain
from typing import TYPE_CHECKING

from qss.cli.network_layout import placed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qss.wire.routes import LinkView, RoutingStatus

_LINK = 150.0
"""Length of a link in the mean, in pixels: its label fits between the circles."""

_SITE = 120.0
"""Room for one site in the mean."""

_MARGIN = 90.0
"""Around all circles' middles: a site at the edge has its SAEs below."""

_RADIUS = 18
_HALO = 'stroke="white" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
_SHOWN_SAES = 4

type Places = Mapping[str, tuple[float, float]]


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
    sites = _sites(status)
    places = placed(sites, [link.ends for link in status.links], _LINK, _SITE)
    at = {site: (round(_MARGIN + x, 1), round(_MARGIN + y, 1)) for site, (x, y) in places.items()}
    width, height = (max(axis) + _MARGIN for axis in zip(*at.values(), strict=True))
    fonts = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" {fonts}>',
        f"<title>The network as {status.site} sees it</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        *_lines(status, at),
        *_circles(status, at),
        f"<g {_HALO}>",
        *_texts(status, at),
        "</g>",
        "</svg>",
    ]
    return "\n".join((*drawn, ""))


def _lines(status: RoutingStatus, at: Places) -> Iterator[str]:
    for link in status.links:
        (x1, y1), (x2, y2) = at[link.ends[0]], at[link.ends[1]]
        yield f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{_colour(link)}"/>'


def _circles(status: RoutingStatus, at: Places) -> Iterator[str]:
    for site, (x, y) in at.items():
        fill = "#dde" if site == status.site else "white"
        yield f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="{fill}" stroke="black"/>'


def _texts(status: RoutingStatus, at: Places) -> Iterator[str]:
    """Yield what is written: it lies upon lines and circles, and a halo keeps it apart from what it lies upon."""
    saes = _saes(status)
    for site, (x, y) in at.items():
        for row, sae in enumerate(_some(saes[site]), 1):
            yield f'<text x="{x}" y="{y + _RADIUS + 12 * row:.1f}" fill="#246">{escape(sae)}</text>'
    for link in status.links:
        (x1, y1), (x2, y2) = at[link.ends[0]], at[link.ends[1]]
        x, y = (x1 + x2) / 2, (y1 + y2) / 2 - 4
        yield f'<text x="{x:.1f}" y="{y:.1f}" fill="{_colour(link)}">{_label(link)}</text>'
    for site, (x, y) in at.items():
        yield f'<text x="{x}" y="{y + 4:.1f}" stroke="none">{site}</text>'


def _colour(link: LinkView) -> str:
    return "#555" if link.available_bits else "#c00"


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
