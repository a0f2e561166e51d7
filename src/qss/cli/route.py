"""`qss route`: what a site, or its routing module, knows of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import click

from qss.cli.asking import ADMIN_OF_ROUTING, Asked, asking
from qss.cli.columns import in_columns

if TYPE_CHECKING:
    from qss.client import AdminClient
    from qss.model.identifiers import QksId
    from qss.model.network import Graph
    from qss.model.network import Path as Way
    from qss.wire.routes import LsaView, RoutingStatus


@click.group("route")
def command() -> None:
    """Look at what a site knows of the network: where SAEs are at home, and the ways there.

    --url is the Admin interface of the site or of its routing module, and the certificate that of the site or of an
    administrator.
    """


@command.command()
@asking(ADMIN_OF_ROUTING)
def show(asked: Asked) -> None:
    """Show the routing table, and the links with their cost and the key that they had left when that was told last.

    That is told in steps, rounded down: after some use there is less, and after some rest more.
    """
    from qss.wire.routes import render_routing

    seen = asked.ask_admin(lambda client: client.routing())
    if asked.as_json:
        click.echo(render_routing(seen))
        return
    table: list[tuple[object, ...]] = [("SAE_ID", "next_hop", "dest", "cost", "length")]
    for route in seen.routes:
        if route.next_hop is None:
            table.append((route.SAE_ID, "no way", route.dest))
        else:
            table.append((route.SAE_ID, route.next_hop, route.dest, route.cost, route.length))
    click.echo(in_columns(table))
    links: list[tuple[object, ...]] = [("link", "cost", "bits left when told")]
    links += [(f"{link.ends[0]}-{link.ends[1]}", link.cost, link.available_bits) for link in seen.links]
    click.echo(f"\n{in_columns(links)}")
    for peer, phase in seen.neighbours.items():
        if phase != "full":
            click.echo(f"the routing module of {peer} is not heard ({phase})")
    for peer, tags in seen.tags.items():
        how = _TAGGED.get(tags.state, tags.state)
        click.echo(
            f"routing with {peer} {how} (link_tags {tags.setting}): {tags.key_bits} bits were drawn for tags, "
            f"{tags.untagged} updates had none"
        )
    through_none = sorted({end for link in seen.links for end in link.ends} - set(seen.repeaters))
    if through_none:
        click.echo(f"no way leads through {', '.join(through_none)}: transit is off there")
    for sae, homes in seen.contested.items():
        click.echo(f"{sae} has several homes, {' and '.join(homes)}, and is served at none: remove it at all but one")
    if seen.silent_s:
        click.echo(f"the routing module could not be asked for {seen.silent_s:.0f} s: this is what it knew then")
    if not seen.settled:
        click.echo("not the whole network: the routing module has just started, or cannot be asked (see the log)")


@command.command()
@click.argument("to", metavar="SAE_OR_SITE")
@click.option("--bits", type=click.IntRange(min=0), default=0, help="Over links alone that have so many bits left.")
@click.option("--disjoint", type=click.IntRange(2, 16), help="So many ways that share no site on the way.")
@asking(ADMIN_OF_ROUTING)
def trace(asked: Asked, to: str, bits: int, disjoint: int | None) -> None:
    """Show the way to an SAE or a site, link by link; of several that cost the same, all."""
    import json

    from qss.core.routing import disjoint_paths, equal_paths
    from qss.model.identifiers import QksId
    from qss.wire.routes import graph_of

    seen = asked.ask_admin(lambda client: client.routing())
    here, dest = QksId(seen.site), _home(seen, to)
    graph = graph_of(seen).with_key(bits)
    ways = equal_paths(graph, here, dest) if disjoint is None else disjoint_paths(graph, here, dest, disjoint)
    if not ways:
        _fail_without_way(seen, dest, bits)
    if disjoint is not None and len(ways) < disjoint:
        click.echo(f"only {len(ways)} of {disjoint} ways share no site on the way", err=True)
    if asked.as_json:
        click.echo(json.dumps([{"cost": way.cost, "length": way.length, "sites": way.sites} for way in ways]))
        return
    for way in ways:
        _show_way(graph, way)


@command.command()
@asking(ADMIN_OF_ROUTING)
def lsdb(asked: Asked) -> None:
    """Show the link state database: all advertisements, of whom, how old they are and what they say.

    `external` is where other sites are told to reach that one's key server.
    """
    from qss.wire.routes import render_lsas

    known = asked.ask_admin(_lsas)
    if asked.as_json:
        click.echo(render_lsas(known))
        return
    table: list[tuple[object, ...]] = [
        ("origin", "type", "sequence", "age, s", "lifetime, s", "algorithm", "external", "says")
    ]
    for lsa in known:
        links = [f"{peer} {cost} ({bits} bits)" for peer, (cost, bits) in lsa.links.items()]
        saes = [sae if stated else f"{sae} (no statement)" for sae, stated in lsa.saes.items()]
        says = "withdrawn" if lsa.withdrawn else ", ".join(links + saes) or "nothing"
        part = f"{lsa.type}{lsa.part or ''}"
        version = f"{lsa.generation}.{lsa.sequence}"
        age = f"{lsa.age_s:.1f}"
        table.append((lsa.origin, part, version, age, lsa.lifetime_s, lsa.algorithm, lsa.external, says))
    click.echo(in_columns(table))


@command.command("graph")
@click.option("--format", "form", type=click.Choice(["dot", "svg"]), default="dot", show_default=True)
@asking(ADMIN_OF_ROUTING)
def graph_(asked: Asked, form: str) -> None:
    """Draw the network: as text for Graphviz, or as a picture (SVG)."""
    from qss.cli.network_drawing import dot_of, svg_of
    from qss.wire.routes import render_routing

    seen = asked.ask_admin(lambda client: client.routing())
    if asked.as_json:
        click.echo(render_routing(seen))
        return
    click.echo(dot_of(seen) if form == "dot" else svg_of(seen), nl=False)


_TAGGED = {
    "tagged": "is tagged with key of the link",
    "short": "has no key of the link to tag with",
    "none": "is not tagged",
}


async def _lsas(client: AdminClient) -> tuple[LsaView, ...]:
    from qss.client import KeyServerRefused
    from qss.model.errors import BadRequest

    try:
        return await client.lsas()
    except KeyServerRefused as error:
        if error.status != 404:
            raise
        raise BadRequest(
            "there is no link state database here: if the site's routing module is a process of its own, ask that "
            "(--url is then routing.process of the site's configuration)"
        ) from error


def _home(seen: RoutingStatus, to: str) -> QksId:
    """Return the home of an SAE, or the site of that name."""
    from qss.model.errors import BadRequest
    from qss.model.identifiers import QksId

    homes = {route.SAE_ID: QksId(route.dest) for route in seen.routes}
    sites = {seen.site, *homes.values(), *(end for link in seen.links for end in link.ends)}
    if to in homes:
        return homes[to]
    if to not in sites:
        raise BadRequest(f"{seen.site} knows neither an SAE nor a site {to!r}: see `qss route show`")
    return QksId(to)


def _fail_without_way(seen: RoutingStatus, dest: str, bits: int) -> NoReturn:
    from qss.model.errors import Unavailable

    way = f"there is no way from {seen.site} to {dest}"
    if bits:
        raise Unavailable(f"{way} over links with {bits} bits left: ask for fewer --bits, or wait for more key")
    raise Unavailable(f"{way}: see in `qss route show` which links there are, and which neighbour is not heard")


def _show_way(graph: Graph, way: Way) -> None:
    from itertools import pairwise

    links = "1 link" if way.length == 1 else f"{way.length} links"
    click.echo(f"{way.sites[0]} to {way.sites[-1]}: cost {way.cost}, {links}")
    for one, other in pairwise(way.sites):
        edge = graph.edges[one][other]
        click.echo(f"  {one}-{other}  {edge.cost}  {edge.available_bits} bits left when told")
