"""What a site looks at before it starts: certificates, key ring, data folder, store, anchor. `qss node --check` ends
there.

Nothing is changed by it: no lock is taken, no port is opened, and nothing is burned; the site's node may run meanwhile.
So whatever can be refused is refused here, before the store counts a start. Not here: reading the configuration, the
store's every page, and what shows only in operation, such as a port that is taken.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from qss.app import site_tables as tables
from qss.app.audit.segments import AUDIT
from qss.app.catalogue import anchor_of, check_device, keyring_of, note_on_device, store_was_started
from qss.app.configuration import notes
from qss.app.data_folder import LEDGER, open_store, openness
from qss.app.data_key_file import DATA_KEY, ZEROIZED
from qss.app.homes import Homes
from qss.app.rules import read_statements
from qss.app.sae_register import SAES, SaeRegister
from qss.model.errors import PkiError, StoreError, StoreUnavailable
from qss.pki.contexts import (
    application_context,
    check_site,
    client_context,
    northbound_context,
    probe_context,
    server_context,
)
from qss.pki.own_call import check_called, check_own_call
from qss.ports.store import SealedStore

_LITTLE_ROOM_BYTES = 16 << 20
"""Free space of the data folder's disk below which it will soon be full."""

TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
"""TLS versions by their names in a configuration."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The TLS contexts of one site."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    probe: ssl.SSLContext
    northbound: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a start goes on with."""

    contexts: Contexts
    certificate_expires: datetime
    store: SealedStore
    """Unsealed, and not yet started."""
    notes: tuple[str, ...]
    """What is usable and yet odd: a sentence each, for the log."""


async def prepare(configuration: tables.SiteConfiguration) -> Prepared:
    """Look at everything that a start needs.

    Raises what would keep the site from starting: `PkiError`, `KeyRingError`, `StoreError`, `StoreUnavailable`.
    """
    site = configuration.site
    contexts = _contexts(configuration)
    expires = check_site(configuration.tls.certificate, site.id)
    check_own_call(contexts.server, contexts.client, configuration.tls.certificate, configuration.tls.authority)
    _check_routing_process(configuration, contexts.server)
    _check_devices(configuration)
    saes = _saes(configuration)
    _check_that_it_is_there(site)
    store = await open_store(site.data, site.id, keyring_of(configuration.keyring))
    _check_writable(site)
    _check_anchor(site)
    found = (
        openness(site.data),
        _little_room(site),
        _missing_anchor(site),
        _closed_audit_log(site),
        *_couriers(configuration),
        *saes,
    )
    return Prepared(contexts, expires, store, (*notes(configuration), *(note for note in found if note is not None)))


def _contexts(configuration: tables.SiteConfiguration) -> Contexts:
    own = (configuration.tls.certificate, configuration.tls.key)
    authority = configuration.tls.authority
    minimum = TLS_VERSIONS[configuration.northbound.minimum_tls]
    return Contexts(
        server_context(*own, authority),
        client_context(*own, authority),
        probe_context(*own, authority),
        northbound_context(*own, configuration.northbound_authority, minimum),
    )


def _check_devices(configuration: tables.SiteConfiguration) -> None:
    for key, device in configuration.devices:
        try:
            check_device(device)
        except PkiError as error:
            raise PkiError(f"{key}: {error}") from error


def _check_routing_process(configuration: tables.SiteConfiguration, server: ssl.SSLContext) -> None:
    """Refuse a host of the routing module that its certificate, which is the site's, does not name."""
    process, tls = configuration.routing.process, configuration.tls
    if process is not None:
        client = application_context(tls.certificate, tls.key, tls.authority)
        try:
            check_called(server, client, tls.certificate, process.host)
        except PkiError as error:
            raise PkiError(f"routing.process: {error}") from error


def _saes(configuration: tables.SiteConfiguration) -> tuple[str, ...]:
    """Return what an operator should know of statements that hold no more. Raises `PkiError` for one that never did."""
    register, homes = SaeRegister(configuration.site.data / SAES), Homes(configuration.tls.authority)
    return tuple(
        f"the statement of the home of {sae} does not count any more: other sites serve it only if they have it "
        f"configured; have the authority make a new one with: qss pki home {sae} {configuration.site.id}"
        for sae, statement in {**register.statements, **read_statements(configuration, homes)}.items()
        if statement is not None and not homes.hold(statement, sae, configuration.site.id)
    )


def _couriers(configuration: tables.SiteConfiguration) -> Iterator[str]:
    """Yield what an operator should know of couriered key that cannot be used as it is now."""
    for key, device in configuration.devices:
        note = note_on_device(device)
        if note is not None:
            yield f"{key}: {note}"


def _check_that_it_is_there(site: tables.Site) -> None:
    """Refuse a folder with nothing in it if its site has run before: it may be a mount point without its volume."""
    if not os.path.lexists(site.anchor_file) or any(os.path.lexists(site.data / name) for name in (DATA_KEY, ZEROIZED)):
        return
    raise StoreError(
        f"{site.data} has no {DATA_KEY}, but this site has run before: its anchor {site.anchor_file} is there. "
        "Mount the data folder, or correct site.data; if it is lost, restore it from a back-up with `qss restore`"
    )


def _little_room(site: tables.Site) -> str | None:
    """Return what an operator should know of a disk that is almost full, else None."""
    found = os.statvfs(site.data)
    free = found.f_bavail * found.f_frsize
    if free >= _LITTLE_ROOM_BYTES:
        return None
    return f"the disk of {site.data} has {free >> 10} KiB free: make room; a full one keeps a node from starting"


def _missing_anchor(site: tables.Site) -> str | None:
    """Return what an operator should know of an anchor that is gone, or named wrongly, else None."""
    if site.anchor_file.exists() or not store_was_started(site.data / LEDGER):
        return None
    return (
        f"the anchor {site.anchor_file} is missing, and this site has run before: a start burns all key that it has; "
        "put the anchor in its place, mount its folder, or correct site.anchor"
    )


def _closed_audit_log(site: tables.Site) -> str | None:
    """Return what an operator should know of an audit log that cannot be written, else None."""
    folder = site.data / AUDIT
    if not os.path.lexists(folder) or (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        return None
    return f"the audit log {folder} cannot be written: see that it is a folder, and to its owner and mode (0700)"


def _check_writable(site: tables.Site) -> None:
    """Refuse a store that could be read alone: a start writes to it."""
    if not os.access(site.data, os.W_OK | os.X_OK):
        raise StoreUnavailable(
            f"the data folder {site.data} cannot be written; check its owner and mode (0700), and that it is not "
            "mounted read-only"
        )
    ledger = site.data / LEDGER
    for file in (ledger, *(ledger.with_name(ledger.name + suffix) for suffix in ("-wal", "-shm", ".lock"))):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            raise StoreUnavailable(f"{file} cannot be written; check its owner and mode (0600)")


def _check_anchor(site: tables.Site) -> None:
    """Refuse an anchor that cannot be kept. A start without one would burn all key for nothing."""
    folder = site.anchor_file.parent
    if not folder.is_dir():
        raise StoreError(f"there is no folder {folder} for the anchor; make it, mount it, or correct site.anchor")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnavailable(
            f"the anchor's folder {folder} cannot be written; check its owner, and that it is not mounted read-only"
        )
    anchor_of(site).read()
