"""What a QKD module in a process of its own tells its administrators: the data model of its status, and its metrics.

Bits are counted, never shown. Names and labels are those of a site's modules (`wire.status`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from qss.wire.metrics import Sample
from qss.wire.status import (
    CERTIFICATE_EXPIRY,
    MODULE_EXCHANGE,
    MODULE_READY,
    MODULE_REGISTERED,
    MODULE_UP,
    ModuleState,
    module_samples,
)


class ModuleProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One module process."""

    name: str
    pair: str
    """The device pair's UUID."""
    peer: str
    """The site at the other end."""
    version: str
    ready: bool
    """It is registered, if it is to be, and has a Sync connection."""
    certificate_expires: datetime
    """When the module's own certificate ends; aware, UTC."""
    registered: bool
    """Its key server has accepted it (QRP)."""
    exchange: bool
    """Key streams may be opened."""
    module: ModuleState


def render_module_status(status: ModuleProcessStatus) -> bytes:
    """Return the status as JSON."""
    return msgspec.json.encode(status)


def module_process_samples(status: ModuleProcessStatus) -> Iterator[Sample]:
    """Yield what a status counts, as metrics."""
    labels = (("peer", status.peer), ("pair", status.pair))
    yield Sample(CERTIFICATE_EXPIRY, (), int(status.certificate_expires.timestamp()))
    yield Sample(MODULE_READY, labels, int(status.ready))
    yield Sample(MODULE_REGISTERED, labels, int(status.registered))
    yield Sample(MODULE_EXCHANGE, labels, int(status.exchange))
    yield Sample(MODULE_UP, labels, int(status.module.up))
    yield from module_samples(labels, status.module)
