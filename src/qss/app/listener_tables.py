"""The tables of a site's configuration file that say where it listens, besides Northbound.

Not here: what is said there, and the rest of the configuration (`site_tables`).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from qss.app.table_types import SaeName, Seconds, Table
from qss.model.addresses import Address


class KeyStreams(Table, frozen=True, kw_only=True):
    """ETSI GS QKD 004 from the key server: where applications open key streams. TLS is as at Northbound."""

    listen: Address
    max_connections: Annotated[int, Meta(ge=1, le=4096)] = 256


class External(Table, frozen=True, kw_only=True):
    """Where other sites' QKSs and QKDMs connect: key reservation, relaying and Sync.

    `address` is where they reach it, if that is not where it listens.
    """

    listen: Address
    address: Address | None = None
    reply_timeout_s: Seconds = 5.0


class Admin(Table, frozen=True, kw_only=True):
    """Liveness, readiness, status and metrics."""

    listen: Address
    administrators: tuple[SaeName, ...] = ()
