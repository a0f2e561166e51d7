"""A site's configuration: reading it, and the rules that hold between its tables.

Held here: what no single key can be blamed for alone, such as two homes of one SAE. Not here: names, types and ranges
(`site_tables`), nor TOML and the wording of type errors (`toml_decoding`). Nothing is put right in silence: a
configuration is used as it stands or refused; what is odd but usable is in `notes`, for the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from qss.app.pair_demands import demand_faults
from qss.app.site_tables import (
    CourieredKey,
    DeviceTable,
    Etsi004,
    Etsi014,
    Link,
    LinkModule,
    RoutingCosts,
    SeededSimulator,
    SiteConfiguration,
)
from qss.app.table_types import ANY_SAE, MODULE_IS, PARTY_IS, PEER_MODULE_IS, QKS_ID_IS, SAE_ID_IS
from qss.app.tag_settings import tag_faults
from qss.app.toml_decoding import decode_file, shown
from qss.core.keyserver.stream_supply import MIN_BLOCK_BYTES, allow_blocks
from qss.model.errors import ConfigurationError, InvalidIdentifier
from qss.model.identifiers import QkdmId, QksId, parse_qkdm_id, parse_qks_id, parse_sae_id, site_of_module

MAX_ANSWER_BITS = 1 << 30
"""The most key material that one answer may hold, so that its memory is bounded."""

Fault = tuple[str, str, str]
"""Key, what was found, what is allowed."""


def load(path: Path) -> SiteConfiguration:
    """Read a site's configuration. Raises `ConfigurationError` at the first thing that cannot be used."""
    configuration = decode_file(path, SiteConfiguration)
    for key, found, allowed in _faults(configuration):
        raise ConfigurationError(str(path), key, found, allowed)
    return configuration


def notes(configuration: SiteConfiguration) -> tuple[str, ...]:
    """Return what an operator should know of a configuration that can be used: a sentence each, for the log."""
    return tuple(
        f"{key}: the bits of this device are predictable to anyone who has the seed; it is for tests only"
        for key, device in configuration.devices
        if isinstance(device, SeededSimulator)
    )


def _faults(configuration: SiteConfiguration) -> Iterator[Fault]:
    """Yield every rule that is broken. Identifiers come first, because the other rules compare them."""
    yield from _identifiers(configuration)
    yield from _site(configuration)
    yield from _key_sizes(configuration)
    yield from _key_streams(configuration)
    yield from _listeners(configuration)
    yield from cost_faults(configuration.routing)
    yield from tag_faults(configuration)
    yield from _links(configuration)
    yield from _modules(configuration)
    yield from _devices(configuration)
    yield from _saes(configuration)
    yield from _pairs(configuration)
    yield from _relay(configuration)


def _identifiers(configuration: SiteConfiguration) -> Iterator[Fault]:
    sites = [("site.id", configuration.site.id)]
    sites += [(f"links[{i}].peer", link.peer) for i, link in enumerate(configuration.links)]
    sites += [(f"saes[{i}].site", sae.site) for i, sae in enumerate(configuration.saes)]
    for i, pair in enumerate(configuration.pairs):
        sites += [(f"pairs[{i}].relay.avoid[{j}]", site) for j, site in enumerate(pair.relay.avoid)]
    for key, qks in sites:
        try:
            parse_qks_id(qks)
        except InvalidIdentifier:
            yield key, shown(qks), QKS_ID_IS
    saes = [(f"saes[{i}].id", sae.id) for i, sae in enumerate(configuration.saes)]
    saes += [(f"admin.administrators[{i}]", sae) for i, sae in enumerate(configuration.admin.administrators)]
    for key, sae_id in saes:
        try:
            parse_sae_id(sae_id)
        except InvalidIdentifier:
            yield key, shown(sae_id), SAE_ID_IS


def _site(configuration: SiteConfiguration) -> Iterator[Fault]:
    site = configuration.site
    if site.anchor_file.absolute().is_relative_to(site.data.absolute()):
        # It would be restored together with the store, and so never tell that the store was.
        yield "site.anchor", shown(str(site.anchor_file)), "a path outside site.data and its back-ups"


def _key_sizes(configuration: SiteConfiguration) -> Iterator[Fault]:
    table = configuration.northbound
    smallest, default, largest = table.min_key_size, table.key_size, table.max_key_size
    if smallest > largest:
        yield "northbound.min_key_size", str(smallest), f"at most max_key_size, which is {largest}"
    if not smallest <= default <= largest:
        allowed = f"min_key_size to max_key_size, which is {smallest} to {largest}"
        yield "northbound.key_size", str(default), allowed
    if table.max_key_per_request * largest > MAX_ANSWER_BITS:
        allowed = f"at most {MAX_ANSWER_BITS // largest}: times max_key_size it may not exceed {MAX_ANSWER_BITS} bits"
        yield "northbound.max_key_per_request", str(table.max_key_per_request), allowed
    if doubled := _repeated(table.identity):
        yield "northbound.identity", shown(doubled[1]) + " twice", "each certificate field once"


def _key_streams(configuration: SiteConfiguration) -> Iterator[Fault]:
    limits = configuration.northbound.key_limits()
    if configuration.key_streams is not None and not allow_blocks(limits):
        least, found = 8 * MIN_BLOCK_BYTES, limits.max_key_size // 8 * 8 * limits.max_key_per_request
        allowed = f"with [key_streams], so many that times max_key_size they have {least} bits; they have {found}"
        yield "northbound.max_key_per_request", str(limits.max_key_per_request), allowed


def _listeners(configuration: SiteConfiguration) -> Iterator[Fault]:
    listeners = ("northbound", "external", "admin", *(("key_streams",) if configuration.key_streams else ()))
    addresses = [getattr(configuration, name).listen for name in listeners]
    bound = [address if address.port else name for name, address in zip(listeners, addresses, strict=True)]
    if doubled := _repeated(bound):
        position, address = doubled
        other = listeners[bound.index(address)]
        yield f"{listeners[position]}.listen", shown(str(address)), f"another port than {other}.listen"


def cost_faults(table: RoutingCosts) -> Iterator[Fault]:
    """Yield what is wrong with the constants of the published cost."""
    least = table.cost_level + table.cost_trend
    if table.cost_base <= least:
        allowed = f"more than cost_level and cost_trend together, which are {least:g}: no link may cost nothing"
        yield "routing.cost_base", f"{table.cost_base:g}", allowed


def _links(configuration: SiteConfiguration) -> Iterator[Fault]:
    links = configuration.links
    for i, link in enumerate(links):
        if link.peer == configuration.site.id:
            yield f"links[{i}].peer", shown(link.peer), "another site than site.id: a link leads to a neighbour"
        if link.address.port == 0:
            yield f"links[{i}].address", shown(str(link.address)), "the port that the peer listens on, 1 to 65535"
        yield from _capacity(i, link)
    if peer := _repeated(link.peer for link in links):
        yield f"links[{peer[0]}].peer", shown(peer[1]) + " again", "one link to each neighbour"
    if uuid := _repeated([configuration.site.uuid, *(link.uuid for link in links)]):
        yield f"links[{uuid[0] - 1}].uuid", f"{uuid[1]} again", "a UUID of its own for each site and link"


def _devices(configuration: SiteConfiguration) -> Iterator[Fault]:
    for key, device in configuration.devices:
        yield from device_faults(key, device)
    yield from _couriered([(key, each) for key, each in configuration.devices if isinstance(each, CourieredKey)])


def _couriered(devices: Iterable[tuple[str, CourieredKey]]) -> Iterator[Fault]:
    """Neither key nor state of one device lies where another's does, or within that."""
    taken: list[tuple[str, Path]] = []
    for key, device in devices:
        own = [(f"{key}.path", device.path.resolve()), (f"{key}.state", device.state_folder.resolve())]
        for (name, path), (other, there) in product(own, taken):
            if path.is_relative_to(there) or there.is_relative_to(path):
                allowed = f"a place apart from {other}, which is {there}: each device pair has key of its own"
                yield name, shown(str(path)), allowed
        taken += own


def _modules(configuration: SiteConfiguration) -> Iterator[Fault]:
    """Each link has device pairs, in one form; no two of them have the same UUID or module."""
    named: list[tuple[str, LinkModule]] = []
    for i, link in enumerate(configuration.links):
        if link.device is None and not link.modules:
            yield f"links[{i}].device", "nothing", "the link's device, or else [[links.modules]] for each device pair"
        if link.device is not None and link.modules:
            yield f"links[{i}].modules", "device as well", "device, or [[links.modules]] for each device pair, not both"
        for j, module in enumerate(link.pairs):
            key = f"links[{i}].modules[{j}]" if link.modules else f"links[{i}]"
            named.append((key, module))
            yield from _module(key, module, configuration.site.id, link.peer)
    if uuid := _repeated(module.uuid for _, module in named):
        yield f"{named[uuid[0]][0]}.uuid", f"{uuid[1]} again", "a UUID of its own for each device pair"
    if name := _repeated(module.module or module for _, module in named):
        yield f"{named[name[0]][0]}.module", f"{name[1]} again", "one device pair for each module"


def _module(key: str, module: LinkModule, here: QksId, peer: QksId) -> Iterator[Fault]:
    """A device pair has a module at this end that is here or has a name, and one at the other end."""
    if (module.device is None) == (module.module is None):
        found = "neither device nor module" if module.device is None else "both device and module"
        yield key, found, "device for a module in this process, or module for one that registers under that name"
    if module.module is not None:
        if not is_module_of(here, module.module):
            yield f"{key}.module", shown(module.module), MODULE_IS
        for name, value in (("peer_module", module.peer_module), ("sync", module.sync)):
            if value is not None:
                yield f"{key}.{name}", shown(str(value)), "nothing: a module of its own process has it in its own file"
    elif module.peer_module is not None and not is_module_of(peer, module.peer_module):
        yield f"{key}.peer_module", shown(module.peer_module), PEER_MODULE_IS
    elif here < peer and module.peer_module is None and module.sync is not None:
        yield f"{key}.peer_module", "nothing", "the name of the module that answers at `sync`, such as B/1"
    elif here < peer and module.peer_module is not None and module.sync is None:
        yield f"{key}.sync", "nothing", f"host:port where {module.peer_module} answers Sync, which this site dials"
    elif here > peer and module.sync is not None:
        yield f"{key}.sync", shown(str(module.sync)), "nothing: this site has the higher ID, so it is the one called"
    if module.sync is not None and module.sync.port == 0:
        yield f"{key}.sync", shown(str(module.sync)), "the port that the other module listens on, 1 to 65535"


def is_module_of(site: QksId, module: QkdmId) -> bool:
    """Tell whether `module` is a module's name, and one of that site."""
    try:
        return site_of_module(parse_qkdm_id(module)) == site
    except InvalidIdentifier:
        return False


def _capacity(i: int, link: Link) -> Iterator[Fault]:
    block_bits = max((8 * (pair.device.block_bytes or 0) for pair in link.pairs if pair.device), default=0)
    if link.relay_reserve_bits >= link.capacity_bits:
        allowed = f"less than capacity_bits, which is {link.capacity_bits}: applications need key as well"
        yield f"links[{i}].relay_reserve_bits", str(link.relay_reserve_bits), allowed
    elif link.relay_reserve_bits + link.high_priority_bits >= link.capacity_bits:
        allowed = (
            f"with relay_reserve_bits less than capacity_bits, which is {link.capacity_bits}: others need key, too"
        )
        yield f"links[{i}].high_priority_bits", str(link.high_priority_bits), allowed
    if link.floor_bits > link.capacity_bits:
        allowed = f"at most capacity_bits, which is {link.capacity_bits}: more is not there to be left"
        yield f"links[{i}].relay_floor_bits", str(link.floor_bits), allowed
    if link.capacity_bits < block_bits:
        yield f"links[{i}].capacity_bits", str(link.capacity_bits), f"at least one block, which has {block_bits} bits"


def device_faults(key: str, device: DeviceTable) -> Iterator[Fault]:
    """Yield every rule that a device's table breaks by itself; `key` is the table's."""
    if isinstance(device, Etsi014):
        for name, sae in (("own_sae", device.own_sae), ("other_sae", device.other_sae)):
            try:
                parse_sae_id(sae)
            except InvalidIdentifier:
                yield f"{key}.{name}", shown(sae), SAE_ID_IS
    if isinstance(device, Etsi014 | Etsi004):
        yield from _box(key, device)


def _box(key: str, box: Etsi014 | Etsi004) -> Iterator[Fault]:
    if box.address.port == 0:
        yield f"{key}.address", shown(str(box.address)), "the port that the box listens on, 1 to 65535"
    if isinstance(box, Etsi014) and box.own_sae == box.other_sae:
        yield f"{key}.other_sae", shown(box.other_sae), "another SAE than own_sae: the one at the other end"


def _relay(configuration: SiteConfiguration) -> Iterator[Fault]:
    relay = configuration.relay
    for i, warm in enumerate(relay.warm):
        key = f"relay.warm[{i}]"
        if warm.site == configuration.site.id:
            yield f"{key}.site", f"{shown(warm.site)}, which is this site", "another site"
        if warm.bits > relay.capacity_bits:
            yield f"{key}.bits", str(warm.bits), f"at most relay.capacity_bits, which is {relay.capacity_bits}"
        if warm.relay.direct_only:
            yield f"{key}.relay.direct_only", "true", "false: a link's key is not relayed"
        if any((warm.site, warm.relay) == (other.site, other.relay) for other in relay.warm[:i]):
            yield key, "the same site and way again", "each once"
        yield from demand_faults(f"{key}.relay", warm.relay)


def _saes(configuration: SiteConfiguration) -> Iterator[Fault]:
    saes = configuration.saes
    if name := _repeated(sae.id for sae in saes):
        allowed = "one home site for each SAE: an SAE with two would be served by neither"
        yield f"saes[{name[0]}].id", shown(name[1]) + " again", allowed
    for i, sae in enumerate(saes):
        if sae.statement is not None and sae.site != configuration.site.id:
            allowed = "nothing: the statement of an SAE's home is shown by that home"
            yield f"saes[{i}].statement", shown(str(sae.statement)), allowed
    if uuid := _repeated(sae.uuid or sae for sae in saes):
        yield f"saes[{uuid[0]}].uuid", f"{uuid[1]} again", "a UUID of its own for each SAE"


def _pairs(configuration: SiteConfiguration) -> Iterator[Fault]:
    for i, pair in enumerate(configuration.pairs):
        for key, party in (("master", pair.master), *((f"slaves[{j}]", slave) for j, slave in enumerate(pair.slaves))):
            try:
                party == ANY_SAE or parse_sae_id(party)
            except InvalidIdentifier:
                yield f"pairs[{i}].{key}", shown(party), PARTY_IS
        for j, slave in enumerate(pair.slaves):
            if slave == pair.master != ANY_SAE:
                yield f"pairs[{i}].slaves[{j}]", shown(slave), "another SAE than the master"
        yield from demand_faults(f"pairs[{i}].relay", pair.relay)


def _repeated[T](items: Iterable[T]) -> tuple[int, T] | None:
    """Return the first item that stood there before, and its position."""
    seen: set[T] = set()
    for position, item in enumerate(items):
        if item in seen:
            return position, item
        seen.add(item)
    return None
