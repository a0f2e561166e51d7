"""The tables of a routing module's configuration file, as frozen structs, and the rules that hold between them.

Held here: names, types, defaults and ranges (the reference is `docs/reference/routing.md`, and a test holds the two
together).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from qss.app.configuration import Fault, cost_faults
from qss.app.listener_tables import Admin
from qss.app.site_tables import RoutingCosts, Tls
from qss.app.table_types import QKS_ID_IS, SAE_ID_IS, QksName, Table
from qss.app.toml_decoding import decode_file, shown
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError, InvalidIdentifier
from qss.model.identifiers import parse_qks_id, parse_sae_id


class RoutingSite(Table, frozen=True, kw_only=True):
    """The site that the module speaks for, and where its key server listens for neighbours."""

    id: QksName
    external: Address


class Neighbours(Table, frozen=True, kw_only=True):
    """Where the neighbours' routing modules connect; `address` is where they reach it, if that is another one."""

    listen: Address
    address: Address | None = None


class RoutingLink(Table, frozen=True, kw_only=True):
    """A neighbour, and where its routing module listens."""

    peer: QksName
    address: Address


class RoutingConfiguration(Table, frozen=True, kw_only=True):
    """The whole of a `routing.toml`."""

    site: RoutingSite
    tls: Tls
    neighbours: Neighbours
    admin: Admin
    routing: RoutingCosts = field(default_factory=RoutingCosts)
    links: Annotated[tuple[RoutingLink, ...], Meta(max_length=4096)] = ()


def load(path: Path) -> RoutingConfiguration:
    """Read a routing module's configuration. Raises `ConfigurationError` at the first thing that cannot be used."""
    configuration = decode_file(path, RoutingConfiguration)
    for key, found, allowed in _faults(configuration):
        raise ConfigurationError(str(path), key, found, allowed)
    return configuration


def _faults(configuration: RoutingConfiguration) -> Iterator[Fault]:
    here = configuration.site.id
    for key, qks in (
        ("site.id", here),
        *((f"links[{i}].peer", link.peer) for i, link in enumerate(configuration.links)),
    ):
        try:
            parse_qks_id(qks)
        except InvalidIdentifier:
            yield key, shown(qks), QKS_ID_IS
    for i, sae in enumerate(configuration.admin.administrators):
        try:
            parse_sae_id(sae)
        except InvalidIdentifier:
            yield f"admin.administrators[{i}]", shown(sae), SAE_ID_IS
    yield from cost_faults(configuration.routing)
    listen = configuration.neighbours.listen
    if listen.port and listen == configuration.admin.listen:
        yield "admin.listen", shown(str(listen)), "another port than neighbours.listen"
    seen = {here: "site.id"}
    for i, link in enumerate(configuration.links):
        if link.peer in seen:
            yield f"links[{i}].peer", shown(link.peer), f"another site than {seen[link.peer]}"
        seen[link.peer] = f"links[{i}].peer"
        if link.address.port == 0:
            yield f"links[{i}].address", shown(str(link.address)), "the port that the peer's module listens on"
