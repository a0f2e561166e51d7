"""What a module looks at before it starts: certificates, its own and its device's. `qss qkd-module --check` ends there.

Nothing is changed by it, and no port is opened. Not here: reading the configuration, and what shows only in
operation, such as a port that is taken, or a device that does not answer.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime

from qss.app.catalogue import check_device, note_on_device
from qss.app.module_configuration import notes
from qss.app.module_tables import ModuleConfiguration
from qss.app.preparation import TLS_VERSIONS
from qss.pki.contexts import check_module, client_context, northbound_context, probe_context, server_context
from qss.pki.own_call import check_own_call


@dataclass(frozen=True, slots=True)
class PreparedModule:
    """What a start goes on with: TLS contexts for Sync, calls, the southbound interface and Admin."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    southbound: ssl.SSLContext
    probe: ssl.SSLContext
    certificate_expires: datetime
    notes: tuple[str, ...]
    """What is usable and yet odd: a sentence each, for the log."""


def prepare_module(configuration: ModuleConfiguration) -> PreparedModule:
    """Look at everything that a start needs. Raises `PkiError`."""
    table = configuration.tls
    own = (table.certificate, table.key, table.authority)
    server, client = server_context(*own), client_context(*own)
    expires = check_module(table.certificate, configuration.module.id)
    check_own_call(server, client, table.certificate, table.authority)
    check_device(configuration.device)
    found, courier = notes(configuration), note_on_device(configuration.device)
    if courier is not None:
        found = (*found, f"device: {courier}")
    southbound = northbound_context(*own, TLS_VERSIONS[configuration.southbound.minimum_tls])
    return PreparedModule(server, client, southbound, probe_context(*own), expires, found)
