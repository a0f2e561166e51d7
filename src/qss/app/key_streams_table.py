"""The table of key streams in a site's configuration file (docs/reference/configuration.md)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from qss.app.table_types import Table
from qss.model.addresses import Address


class KeyStreams(Table, frozen=True, kw_only=True):
    """ETSI GS QKD 004 from the key server: where applications open key streams. TLS is as at Northbound."""

    listen: Address
    max_connections: Annotated[int, Meta(ge=1, le=4096)] = 256
