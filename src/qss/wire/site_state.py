"""What a key server publishes to its site's routing module by way of Admin, as JSON (`qss.ports.routing_table`).

SAEs and homes are many and change seldom; the key of links changes with every request. So they have a revision, and
while that is the one that the module has, only the links are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import BadRequest
from qss.model.identifiers import QksId, parse_qks_id, parse_sae_id
from qss.model.network import Load, SiteState
from qss.wire.answers import parse_answer
from qss.wire.etsi014.json import decode_json

MAX_WAIT_S = 20.0
"""How long a question for a changed table may wait for its answer."""

_Bits = Annotated[int, Meta(ge=0, le=1 << 53)]


class _Load(msgspec.Struct, forbid_unknown_fields=True):
    available_bits: _Bits
    capacity_bits: Annotated[int, Meta(ge=1, le=1 << 53)]
    administrative_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class _State(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    links: dict[str, _Load]
    saes: dict[str, bytes | None] | None = None
    homes: dict[str, str] | None = None
    revision: int = 0


class _Wait(msgspec.Struct, forbid_unknown_fields=True):
    after: int
    wait_s: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)]


@dataclass(frozen=True, slots=True)
class Publication:
    """How a site is. Of one that is not whole, SAEs and homes are those of that revision, which was told before."""

    revision: int
    whole: bool
    state: SiteState


def render_state(state: SiteState, revision: int = 0) -> bytes:
    """Return a site's state; its SAEs and homes are `revision`."""
    saes = {str(sae): statement for sae, statement in state.saes.items()}
    homes = {str(sae): str(site) for sae, site in state.homes.items()}
    return msgspec.json.encode(_State(_rendered(state.links), saes, homes, revision))


def render_links(links: Mapping[QksId, Load], revision: int) -> bytes:
    """Return the links of a site whose SAEs and homes are still `revision`."""
    return msgspec.json.encode(_State(_rendered(links), revision=revision))


def _rendered(links: Mapping[QksId, Load]) -> dict[str, _Load]:
    return {
        str(peer): _Load(load.available_bits, load.capacity_bits, load.administrative_cost)
        for peer, load in links.items()
    }


def parse_publication(body: bytes) -> Publication:
    """Return how a site is. Raises `BadRequest`."""
    found = decode_json(body, _State)
    if (found.saes is None) != (found.homes is None):
        raise BadRequest("saes and homes go together: send both, or, with the revision that they still are, none")
    state = SiteState(
        {parse_sae_id(sae): statement for sae, statement in (found.saes or {}).items()},
        {parse_sae_id(sae): parse_qks_id(site) for sae, site in (found.homes or {}).items()},
        {
            parse_qks_id(peer): Load(load.available_bits, load.capacity_bits, load.administrative_cost)
            for peer, load in found.links.items()
        },
    )
    return Publication(found.revision, found.saes is not None, state)


def render_wait(after: int, wait_s: float) -> bytes:
    """Ask for a table of another version than `after`, as soon as there is one, or whatever there is after `wait_s`."""
    return msgspec.json.encode(_Wait(after, wait_s))


def parse_wait(body: bytes) -> tuple[int, float]:
    """Return version and seconds. Raises `BadRequest`."""
    question = decode_json(body, _Wait)
    return question.after, question.wait_s


def render_taken(version: int, *, known: bool) -> bytes:
    """Return the answer to a publication: the table's version then, and whether its revision is known.

    If not, nothing was taken: the whole state is to be sent.
    """
    return msgspec.json.encode(_Taken(version, known))


def parse_taken(body: bytes) -> bool:
    """Read that answer: whether the revision is known. Raises `RemoteProtocolError`."""
    return parse_answer(body, _Taken).known


class _Taken(msgspec.Struct):
    version: int
    known: bool
