"""The tables of a QKD module's configuration file, as frozen structs.

Held here: names, types, defaults and ranges (the reference is `docs/reference/module.md`, and a test holds the two
together). Not here: rules between tables (`module_configuration`). The devices are those of a site's own modules
(`site_tables`).
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from qss.app.site_tables import DeviceTable, Tls
from qss.app.table_types import PeerModule, QksName, SaeName, Table
from qss.model.addresses import Address
from qss.model.identifiers import PairId, QkdmId, QksId

NAME_IS = "a module's name: its site's QKS ID, '/' and 1 to 63 letters, digits, '.', '-' or '_', such as A/1"

OwnName = Annotated[QkdmId, Meta(description=NAME_IS)]


class Module(Table, frozen=True, kw_only=True):
    """This module: its name, the device pair that it has one end of, and the site and module at the other end.

    `peer_module` None: that one runs in the process of its site.
    """

    id: OwnName
    pair: UUID
    peer: QksName
    peer_module: PeerModule | None = None

    @property
    def far_end(self) -> QksId | QkdmId:
        """Who is at the other end: a module that is a process of its own, or the site that has it in its process."""
        return self.peer_module or self.peer

    @property
    def pair_id(self) -> PairId:
        """The device pair's ID."""
        return PairId.from_uuid(self.pair)


class Southbound(Table, frozen=True, kw_only=True):
    """ETSI GS QKD 004: where the key server, and perhaps applications, pull key."""

    listen: Address
    address: Address | None = None
    clients: tuple[SaeName, ...] = ()
    identity: Annotated[tuple[Literal["uri", "cn", "dns"], ...], Meta(min_length=1)] = ("uri", "cn")
    minimum_tls: Literal["1.3", "1.2"] = "1.3"
    max_connections: Annotated[int, Meta(ge=1, le=4096)] = 64


class Sync(Table, frozen=True, kw_only=True):
    """How this module and the one at the other end find each other: one listens, the other dials."""

    listen: Address | None = None
    address: Address | None = None


class Register(Table, frozen=True, kw_only=True):
    """Where the key server of this module's site listens for its neighbours."""

    address: Address


class Admin(Table, frozen=True, kw_only=True):
    """Liveness, readiness, status and metrics of the module, and the settings of its simulator."""

    listen: Address
    administrators: tuple[SaeName, ...] = ()


class ModuleConfiguration(Table, frozen=True, kw_only=True):
    """The whole of a `module.toml`."""

    module: Module
    tls: Tls
    southbound: Southbound
    sync: Sync
    device: DeviceTable
    register: Register | None = None
    admin: Admin | None = None
