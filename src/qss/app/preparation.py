"""What a site looks at before it starts: certificates, key ring, data folder, store, anchor. `qss node --check` ends
there.

Nothing is changed by it: no lock is taken, no port is opened, and nothing is burned; the site's node may run meanwhile.
So whatever can be refused is refused here, before the store counts a start. Not here: reading the configuration, the
store's every page, and what shows only in operation, such as a port that is taken.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime

from qss.app import site_tables as tables
from qss.app.catalogue import anchor_of, check_device, keyring_of, store_was_started
from qss.app.configuration import notes
from qss.app.data_folder import LEDGER, open_store, openness
from qss.model.errors import PkiError, StoreError, StoreUnavailable
from qss.pki.contexts import check_site, client_context, northbound_context, probe_context, server_context
from qss.pki.own_call import check_own_call
from qss.ports.store import SealedStore

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
    _check_devices(configuration)
    store = await open_store(site.data, site.id, keyring_of(configuration.keyring))
    _check_anchor(site)
    found = (openness(site.data), _missing_anchor(site))
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


def _missing_anchor(site: tables.Site) -> str | None:
    """Return what an operator should know of an anchor that is gone, or named wrongly, else None."""
    if site.anchor_file.exists() or not store_was_started(site.data / LEDGER):
        return None
    return (
        f"the anchor {site.anchor_file} is missing, and this site has run before: a start burns all key that it has; "
        "put the anchor in its place, mount its folder, or correct site.anchor"
    )


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
