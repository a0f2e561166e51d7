"""`qss route`: what is shown of a site's view, and pictures of it."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from qss.cli.asking import Asked
from qss.cli.main import main
from qss.cli.network_drawing import dot_of, svg_of
from qss.client import KeyServerRefused
from qss.wire.routes import LinkView, LsaView, RouteView, RoutingStatus, TagsView, graph_of

ODD = 'sae:"<&\\'
"""An SAE whose ID means something in every language that it is put into."""


def link(one: str, other: str, cost: int = 64, bits: int = 1 << 20) -> LinkView:
    return LinkView(ends=(one, other), cost=cost, available_bits=bits)


def view(**changes) -> RoutingStatus:
    """A square of sites with one corner more: A-B-D, A-C-D, D-E, where nothing is left between D and E."""
    found = {
        "site": "A",
        "version": 1,
        "changed": 0.0,
        "neighbours": {"B": "full", "C": "init"},
        "lsas": 10,
        "settled": True,
        "dropped": {},
        "links": (link("A", "B"), link("A", "C"), link("B", "D"), link("C", "D"), link("D", "E", 1024, 0)),
        "repeaters": ("A", "B", "C", "D", "E"),
        "routes": (
            RouteView(SAE_ID=ODD, next_hop="B", dest="D", cost=128, length=2),
            RouteView(SAE_ID="sae:far", next_hop=None, dest="Z", cost=0, length=0),
        ),
    }
    return RoutingStatus(**found | changes)


LSA = LsaView(
    origin="B", type="K", part=0, generation=7, sequence=3, age_s=1.25, lifetime_s=90, withdrawn=False, transit=True,
    timestamp=0, algorithm="ecdsa-sha256", bytes=99, external="b:1", routing="b:1", links={"A": (64, 1024)}, saes={},
)  # fmt: skip


class Site:
    async def routing(self):
        return view()

    async def lsas(self):
        return LSA, replace(LSA, type="S", part=1, links={}, saes={"sae:bob": True, "sae:new": False})


async def answer(what):
    return what


@pytest.fixture
def run(monkeypatch):
    import asyncio

    monkeypatch.setattr(Asked, "ask_admin", lambda _, ask: asyncio.run(ask(Site())))

    def run(*words):
        options = ["--url", "https://localhost:1", "--cert", "c", "--key", "k", "--ca", "a"]
        return CliRunner().invoke(main, ["route", *words, *options])

    return run


def test_a_trace_shows_every_link_of_all_ways_that_cost_the_same(run):
    shown = run("trace", "D")
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines() == [
        "A to D: cost 128, 2 links",
        "  A-B  64  1048576 bits left when told",
        "  B-D  64  1048576 bits left when told",
        "A to D: cost 128, 2 links",
        "  A-C  64  1048576 bits left when told",
        "  C-D  64  1048576 bits left when told",
    ]
    assert run("trace", ODD).output == shown.output
    ways = json.loads(run("trace", "E", "--json").output)
    assert [(way["cost"], way["sites"]) for way in ways] == [(1152, ["A", "B", "D", "E"]), (1152, ["A", "C", "D", "E"])]


def test_ways_that_share_no_site_on_the_way(run):
    ways = json.loads(run("trace", "D", "--disjoint", "2", "--json").output)
    assert [way["sites"] for way in ways] == [["A", "B", "D"], ["A", "C", "D"]]
    fewer = run("trace", "D", "--disjoint", "3")
    assert fewer.exit_code == 0
    assert fewer.stderr == "only 2 of 3 ways share no site on the way\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("trace", "E", "--bits", "1"),
            "there is no way from A to E over links with 1 bits left: ask for fewer",
        ),
        (("trace", "Z"), "there is no way from A to Z: see in `qss route show`"),
        (("trace", "sae:far"), "there is no way from A to Z: see in `qss route show`"),
        (("trace", "sae:nobody"), "A knows neither an SAE nor a site 'sae:nobody': see `qss route show`"),
    ],
)
def test_where_there_is_no_way(run, words, told):
    ran = run(*words)
    assert ran.exit_code == 1
    assert ran.stderr.startswith(f"qss: {told}")
    assert ran.stderr.count("\n") == 1


def test_the_database(run):
    lines = [re.split("  +", line) for line in run("lsdb").output.splitlines()]
    assert lines[1] == ["B", "K", "7.3", "1.2", "90", "ecdsa-sha256", "b:1", "A 64 (1024 bits)"]
    assert lines[2][1] == "S1"
    assert lines[2][-1] == "sae:bob, sae:new (no statement)"
    assert json.loads(run("lsdb", "--json").output)[0]["generation"] == 7


def test_a_neighbour_that_is_not_heard_is_told(run):
    shown = run("show").output
    assert "the routing module of C is not heard (init)" in shown
    assert "not the whole network" not in shown


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("tagged", "is tagged with key of the link"),
        ("short", "has no key of the link to tag with"),
        ("none", "is not tagged"),
        ("of a later release", "of a later release"),
    ],
)
def test_how_it_stands_with_tags_is_told(run, monkeypatch, state, says):
    tags = {"B": TagsView(setting="offered", state=state, key_bits=32_768, untagged=3)}
    monkeypatch.setattr(Site, "routing", lambda _: answer(view(tags=tags)))
    told = f"routing with B {says} (link_tags offered): 32768 bits were drawn for tags, 3 updates had none"
    assert told in run("show").output.splitlines()


def test_a_table_is_shown_in_columns_and_nothing_is_said_of_a_way_that_is_not(run):
    lines = run("show").output.splitlines()
    assert lines[1:3] == [f"{ODD}  B         D     128   2", "sae:far   no way    Z"]
    assert lines[4:6] == ["link  cost  bits left when told", "A-B   64    1048576"]


def test_a_view_that_is_not_whole_yet_is_said_to_be_so(run, monkeypatch):
    monkeypatch.setattr(Site, "routing", lambda _: answer(view(settled=False)))
    assert "not the whole network" in run("show").output


def test_what_keeps_a_way_or_a_home_from_being_is_told(run, monkeypatch):
    odd = view(repeaters=("A", "B", "E"), contested={"sae:two": ("B", "C")})
    monkeypatch.setattr(Site, "routing", lambda _: answer(odd))
    shown = run("show").output
    assert "no way leads through C, D: transit is off there" in shown
    assert "sae:two has several homes, B and C, and is served at none: remove it at all but one" in shown
    assert "transit is off" not in run("graph").output


def test_what_a_module_said_before_it_fell_silent_is_said_to_be_old(run, monkeypatch):
    monkeypatch.setattr(Site, "routing", lambda _: answer(view(silent_s=7.2)))
    assert "the routing module could not be asked for 7 s: this is what it knew then" in run("show").output


def test_a_node_whose_module_is_elsewhere_says_whom_to_ask(run, monkeypatch):
    async def refuse(_):
        raise KeyServerRefused(404, "there is nothing at this path")

    monkeypatch.setattr(Site, "lsas", refuse)
    ran = run("lsdb")
    assert ran.exit_code == 1
    assert "ask that (--url is then routing.process of the site's configuration)" in ran.stderr


def test_graphviz_gets_every_site_and_link(run):
    text = run("graph").output
    assert text == dot_of(view())
    for one, other in (("A", "B"), ("A", "C"), ("B", "D"), ("C", "D"), ("D", "E")):
        assert f'"{one}" -- "{other}" [label=' in text
    assert '"D" [label="D\\nsae:\\"<&\\\\"]' in text
    assert '"D" -- "E" [label="1024 · 0 bit", color=red]' in text


def test_the_picture_is_well_formed_has_all_and_nothing_lies_upon_another(run):
    text = run("graph", "--format", "svg").output
    assert text == svg_of(view())
    picture = Xml.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in picture.iter(f"{space}text")]
    assert {"A", "B", "C", "D", "E", "Z", ODD} <= set(texts)
    assert len(list(picture.iter(f"{space}line"))) == 5
    at = [complex(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter(f"{space}circle")]
    width, height = float(picture.get("width")), float(picture.get("height"))
    assert all(0 < place.real < width and 0 < place.imag < height for place in at)
    assert min(abs(one - other) for i, one in enumerate(at) for other in at[:i]) > 40


def test_a_site_alone_can_be_drawn():
    alone = view(links=(), routes=(), repeaters=())
    assert '"A" [label="A", style=filled' in dot_of(alone)
    picture = Xml.fromstring(svg_of(alone))
    assert [each.tag.partition("}")[2] for each in picture] == ["title", "rect", "circle", "g"]
    assert [each.text for each in picture[-1]] == ["A"]


def test_texts_come_last_and_have_a_halo():
    *_, last = Xml.fromstring(svg_of(view()))
    assert last.get("paint-order") == "stroke"
    assert last.get("stroke") == "white"
    assert {each.tag for each in last} == {"{http://www.w3.org/2000/svg}text"}


def test_the_graph_of_a_view_is_alike_in_both_directions():
    graph = graph_of(view())
    assert graph.edges["A"]["B"] == graph.edges["B"]["A"]
    assert graph.repeaters == frozenset("ABCDE")
