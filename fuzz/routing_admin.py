"""What a node and its routing module in a process of its own say to each other by way of Admin: read, or refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, SiteState
from qss.wire.routes import (
    LinkView,
    LsaView,
    RouteView,
    RoutingStatus,
    graph_of,
    parse_lsas,
    parse_routing,
    render_lsas,
    render_routing,
)
from qss.wire.site_state import (
    parse_publication,
    parse_taken,
    parse_wait,
    render_links,
    render_state,
    render_taken,
    render_wait,
)

_STATE = SiteState(
    {SaeId("sae:a"): b"\0", SaeId("sae:b"): None}, {SaeId("sae:c"): QksId("C")}, {QksId("B"): Load(1, 2)}
)
_STATUS = RoutingStatus(
    site="A",
    version=1,
    changed=0.5,
    neighbours={"B": "full"},
    lsas=1,
    settled=True,
    dropped={"B signature": 1},
    links=(LinkView(ends=("A", "B"), cost=5, available_bits=7),),
    repeaters=("B",),
    routes=(RouteView(SAE_ID="sae:b", next_hop="B", dest="B", cost=5, length=1),),
)
_LSA = LsaView(
    origin="B",
    type="S",
    part=0,
    generation=1,
    sequence=1,
    age_s=0.5,
    lifetime_s=90,
    withdrawn=False,
    transit=True,
    timestamp=5,
    algorithm="ed25519",
    bytes=5,
    external="h:1",
    routing="h:2",
    links={"A": (1, 2)},
    saes={"sae:b": True},
)


def seeds() -> list[bytes]:
    """Return one of each that is good."""
    return [
        render_state(_STATE, 1),
        render_links(_STATE.links, 1),
        render_wait(1, 2.5),
        render_taken(1, known=True),
        render_routing(_STATUS),
        render_lsas([_LSA]),
    ]


def one(data: bytes) -> None:
    """Read `data`, but for its first byte, which says as what."""
    _READERS[data[0] % len(_READERS)](data[1:])


def _question(data: bytes) -> None:
    with suppress(BadRequest):
        found = parse_publication(data)
        again = render_state(found.state, found.revision)
        assert parse_publication(again).state == found.state, "a state does not survive being sent"


def _status(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        graph_of(parse_routing(data))


def _other(parse: Callable[[bytes], object], data: bytes) -> None:
    with suppress(BadRequest, RemoteProtocolError):
        parse(data)


_READERS: list[Callable[[bytes], None]] = [
    _question,
    _status,
    *(partial(_other, parse) for parse in (parse_wait, parse_taken, parse_lsas)),
]
