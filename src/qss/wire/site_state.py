"""What a key server publishes to its site's routing module by way of Admin, as JSON (`qss.ports.routing_table`)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.identifiers import parse_qks_id, parse_sae_id
from qss.model.network import Load, SiteState
from qss.wire.etsi014.json import decode_json

MAX_WAIT_S = 20.0
"""How long a question for a changed table may wait for its answer."""

_Bits = Annotated[int, Meta(ge=0, le=1 << 53)]


class _Load(msgspec.Struct, forbid_unknown_fields=True):
    available_bits: _Bits
    capacity_bits: Annotated[int, Meta(ge=1, le=1 << 53)]
    administrative_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class _State(msgspec.Struct, forbid_unknown_fields=True):
    saes: dict[str, bytes | None]
    homes: dict[str, str]
    links: dict[str, _Load]


class _Wait(msgspec.Struct, forbid_unknown_fields=True):
    after: int
    wait_s: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)]


def render_state(state: SiteState) -> bytes:
    """Return a site's state."""
    links = {
        str(peer): _Load(load.available_bits, load.capacity_bits, load.administrative_cost)
        for peer, load in state.links.items()
    }
    return msgspec.json.encode(
        _State(
            {str(sae): statement for sae, statement in state.saes.items()},
            {str(sae): str(site) for sae, site in state.homes.items()},
            links,
        )
    )


def parse_state(body: bytes) -> SiteState:
    """Return a site's state. Raises `BadRequest`."""
    found = decode_json(body, _State)
    return SiteState(
        {parse_sae_id(sae): statement for sae, statement in found.saes.items()},
        {parse_sae_id(sae): parse_qks_id(site) for sae, site in found.homes.items()},
        {
            parse_qks_id(peer): Load(load.available_bits, load.capacity_bits, load.administrative_cost)
            for peer, load in found.links.items()
        },
    )


def render_wait(after: int, wait_s: float) -> bytes:
    """Ask for a table of another version than `after`, as soon as there is one, or whatever there is after `wait_s`."""
    return msgspec.json.encode(_Wait(after, wait_s))


def parse_wait(body: bytes) -> tuple[int, float]:
    """Return version and seconds. Raises `BadRequest`."""
    question = decode_json(body, _Wait)
    return question.after, question.wait_s


def render_taken(version: int) -> bytes:
    """Return the answer to a state: the table's version then."""
    return msgspec.json.encode({"version": version})


def parse_taken(body: bytes) -> int:
    """Read that answer. Raises `BadRequest`."""
    return decode_json(body, _Taken).version


class _Taken(msgspec.Struct):
    version: int
