"""A QKD module's configuration: reading it, and the rules that hold between its tables, as `configuration` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qss.app.configuration import Fault, device_faults, is_module_of
from qss.app.module_tables import NAME_IS, ModuleConfiguration
from qss.app.site_tables import SeededSimulator
from qss.app.table_types import PEER_MODULE_IS, QKS_ID_IS, SAE_ID_IS
from qss.app.toml_decoding import decode_file, shown
from qss.model.errors import ConfigurationError, InvalidIdentifier
from qss.model.identifiers import QksId, parse_qkdm_id, parse_qks_id, parse_sae_id, site_of_module


def load(path: Path) -> ModuleConfiguration:
    """Read a module's configuration. Raises `ConfigurationError` at the first thing that cannot be used."""
    configuration = decode_file(path, ModuleConfiguration)
    for key, found, allowed in _faults(configuration):
        raise ConfigurationError(str(path), key, found, allowed)
    return configuration


def notes(configuration: ModuleConfiguration) -> tuple[str, ...]:
    """Return what an operator should know of a configuration that can be used: a sentence each, for the log."""
    found = []
    if isinstance(configuration.device, SeededSimulator):
        found.append("device: the bits of this device are predictable to anyone who has the seed; it is for tests only")
    if configuration.register is None and not configuration.southbound.clients:
        found.append("there is neither [register] nor southbound.clients: nobody will pull key from this module")
    return tuple(found)


def is_initiator(configuration: ModuleConfiguration) -> bool:
    """Whether this end dials for Sync: the site with the lower ID does (Sync 1.1)."""
    return site_of_module(configuration.module.id) < configuration.module.peer


def _faults(configuration: ModuleConfiguration) -> Iterator[Fault]:
    """Yield every rule that is broken. Identifiers come first, because the other rules compare them."""
    yield from _identifiers(configuration)
    yield from _module(configuration)
    yield from device_faults("device", configuration.device)
    yield from _addresses(configuration)


def _identifiers(configuration: ModuleConfiguration) -> Iterator[Fault]:
    try:
        parse_qkdm_id(configuration.module.id)
    except InvalidIdentifier:
        yield "module.id", shown(configuration.module.id), NAME_IS
    try:
        parse_qks_id(configuration.module.peer)
    except InvalidIdentifier:
        yield "module.peer", shown(configuration.module.peer), QKS_ID_IS
    saes = [(f"southbound.clients[{i}]", sae) for i, sae in enumerate(configuration.southbound.clients)]
    if configuration.admin is not None:
        saes += [(f"admin.administrators[{i}]", sae) for i, sae in enumerate(configuration.admin.administrators)]
    for key, sae in saes:
        try:
            parse_sae_id(sae)
        except InvalidIdentifier:
            yield key, shown(sae), SAE_ID_IS


def _module(configuration: ModuleConfiguration) -> Iterator[Fault]:
    here: QksId = site_of_module(configuration.module.id)
    if configuration.module.peer == here:
        yield "module.peer", shown(here), "another site than the module's own: a device pair leads to a neighbour"
    other = configuration.module.peer_module
    if other is not None and not is_module_of(configuration.module.peer, other):
        yield "module.peer_module", shown(other), PEER_MODULE_IS
    identity = configuration.southbound.identity
    if len(set(identity)) < len(identity):
        yield "southbound.identity", shown(list(identity)), "each certificate field once"


def _is_everywhere(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - that is what is looked for


def _addresses(configuration: ModuleConfiguration) -> Iterator[Fault]:
    sync, southbound = configuration.sync, configuration.southbound
    needed, other = ("address", "listen") if is_initiator(configuration) else ("listen", "address")
    which = "lower" if is_initiator(configuration) else "higher"
    if getattr(sync, needed) is None:
        yield f"sync.{needed}", "nothing", f"host:port: the site with the {which} ID has `{needed}` (Sync 1.1)"
    if getattr(sync, other) is not None:
        yield f"sync.{other}", shown(str(getattr(sync, other))), f"`{needed}` alone: this site has the {which} ID"
    if configuration.register is not None and southbound.address is None and _is_everywhere(southbound.listen.host):
        allowed = "host:port where the key server reaches this module: southbound.listen names every interface"
        yield "southbound.address", "nothing", allowed
    dialled = {"sync.address": sync.address, "southbound.address": southbound.address}
    if configuration.register is not None:
        dialled["register.address"] = configuration.register.address
    for key, address in dialled.items():
        if address is not None and address.port == 0:
            yield key, shown(str(address)), "the port that is listened on, 1 to 65535"
    listening = {"southbound.listen": southbound.listen, "sync.listen": sync.listen}
    if configuration.admin is not None:
        listening["admin.listen"] = configuration.admin.listen
    seen: dict[object, str] = {}
    for key, address in listening.items():
        if address is not None and address.port:
            if address in seen:
                yield key, shown(str(address)), f"another port than {seen[address]}"
            seen[address] = key
