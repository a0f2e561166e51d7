"""The tables of a site's configuration file, as frozen structs.

Held here: names, types, defaults and ranges (the reference is `docs/reference/configuration.md`, and a test holds the
two together). Not here: rules between tables (`configuration`), nor whether the files that are named can be used
(`pki`, the key rings and the data folder say that). The configuration holds no key, only where the master key is.

Durations are in seconds (`…_s`), sizes in bits (`…_bits`) or bytes (`…_bytes`), rates in bits per second (`…_bps`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, field

from qss.app.listener_tables import Admin, External, KeyStreams
from qss.app.table_types import (
    BasePath,
    CredentialName,
    KeySize,
    LinkTags,
    ModuleName,
    Outstanding,
    Party,
    PeerModule,
    QksName,
    Rate,
    SaeName,
    Seconds,
    Table,
    Uri,
)
from qss.app.toml_decoding import SECRET
from qss.core.reservation.pairs import MAX_PAIRS
from qss.model.addresses import Address
from qss.model.identifiers import MAX_KEYS_PER_RESERVATION, PairId, QkdmId, QksId
from qss.model.keys import KeyLimits
from qss.model.relay_policy import MAX_AVOIDED, MAX_DISJOINT_PATHS, MAX_HOPS
from qss.model.simulator_settings import SimulatorSettings
from qss.wire.etsi004.framing import MAX_KEY_BYTES
from qss.wire.etsi014.paths import PREFIX
from qss.wire.external import MAX_LISTED, MAX_SLAVES

FLOOR_BITS = 262_144
"""What relaying leaves of a link at most, if nobody says: a tenth of a large one would be hours without relaying."""

MAX_WARM = 256
"""Streams that are held ready, one for each site and way."""


class Site(Table, frozen=True, kw_only=True):
    """This site. `uuid` is its name for SDN controllers (ETSI GS QKD 015)."""

    id: QksName
    uuid: UUID
    data: Path
    anchor: Path | None = None
    audit_bytes: Annotated[int, Meta(ge=1 << 26, le=1 << 50)] = 1 << 30

    @property
    def anchor_file(self) -> Path:
        """The file that remembers the commit number outside the data folder and its back-ups."""
        return self.anchor or self.data.with_name(self.data.name + ".anchor")


class PassphraseKeyRing(Table, frozen=True, kw_only=True, tag="passphrase", tag_field="type"):
    """The master key is derived from the passphrase in a file."""

    file: Path


class KeyFileKeyRing(Table, frozen=True, kw_only=True, tag="key-file", tag_field="type"):
    """The master key is the contents of a file."""

    file: Path


class SystemdKeyRing(Table, frozen=True, kw_only=True, tag="systemd", tag_field="type"):
    """The master key is a systemd credential."""

    credential: CredentialName


KeyRingTable = PassphraseKeyRing | KeyFileKeyRing | SystemdKeyRing


class Tls(Table, frozen=True, kw_only=True):
    """The site's certificate, for every interface, and the authority that all sites' certificates come from."""

    authority: Path
    certificate: Path
    key: Path


class Northbound(Table, frozen=True, kw_only=True):
    """ETSI GS QKD 014: where applications ask for keys. Key sizes in bits."""

    listen: Address
    authority: Path | None = None
    identity: Annotated[tuple[Literal["uri", "cn", "dns"], ...], Meta(min_length=1)] = ("uri", "cn")
    minimum_tls: Literal["1.3", "1.2"] = "1.3"
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 24)] = 65_536
    request_timeout_s: Seconds = 30.0
    max_connections: Annotated[int, Meta(ge=1, le=65_536)] = 1000
    key_size: KeySize = 256
    min_key_size: KeySize = 64
    max_key_size: KeySize = 8192
    max_key_per_request: Annotated[int, Meta(ge=1, le=MAX_KEYS_PER_RESERVATION)] = 128
    max_sae_id_count: Annotated[int, Meta(ge=0, le=MAX_SLAVES - 1)] = 8

    def key_limits(self) -> KeyLimits:
        """Return what this key server offers on one key request."""
        return KeyLimits(
            key_size=self.key_size,
            min_key_size=self.min_key_size,
            max_key_size=self.max_key_size,
            max_key_per_request=self.max_key_per_request,
            max_sae_id_count=self.max_sae_id_count,
        )


class Lifetimes(Table, frozen=True, kw_only=True):
    """How long things are kept."""

    reserved_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 3600.0
    grace_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    stream_s: Annotated[float, Meta(ge=1, le=31_536_000)] = 604_800.0


class RoutingCosts(Table, frozen=True, kw_only=True):
    """What the routing module tells of this site. The constants are those of the published cost."""

    route_invalidation_s: Annotated[int, Meta(ge=3, le=86_400)] = 90
    transit: bool = True
    cost_base: Annotated[float, Meta(gt=0, le=8_000_000)] = 1024.0
    cost_level: Annotated[float, Meta(ge=0, le=8_000_000)] = 800.0
    cost_trend: Annotated[float, Meta(ge=0, le=8_000_000)] = 160.0


class Routing(RoutingCosts, frozen=True, kw_only=True):
    """What a site's own file says besides. `process` None: its routing module is in the node's process."""

    process: Address | None = None
    link_tags: LinkTags = "off"


class PairRelay(Table, frozen=True, kw_only=True):
    """What is demanded of the way that a pair's keys come. None: nothing."""

    direct_only: bool = False
    disjoint_paths: Annotated[int, Meta(ge=1, le=MAX_DISJOINT_PATHS)] = 1
    hybrid: Literal["ml-kem-768"] | None = None
    max_hops: Annotated[int, Meta(ge=1, le=MAX_HOPS)] = MAX_HOPS
    avoid: Annotated[tuple[QksName, ...], Meta(max_length=MAX_AVOIDED)] = ()
    hop: Literal["one-time-pad", "aes-256-gcm"] | None = None


class WarmStream(Table, frozen=True, kw_only=True):
    """Key with a site that is held ready, over ways that are like this (`relay`), though nobody asks for it."""

    site: QksName
    bits: Annotated[int, Meta(ge=8, le=1 << 40)]
    relay: PairRelay = field(default_factory=PairRelay)


class Relay(Table, frozen=True, kw_only=True):
    """Key over repeaters: what each end-to-end stream may hold, and how long a request waits for a cold one.

    `detours`: also with neighbours, where the link between the two has too little key.
    """

    capacity_bits: Annotated[int, Meta(ge=1 << 16, le=1 << 40)] = 8_388_608
    wait_s: Seconds = 10.0
    detours: bool = False
    warm: Annotated[tuple[WarmStream, ...], Meta(max_length=MAX_WARM)] = ()


class Quotas(Table, frozen=True, kw_only=True):
    """How much key each master, and each pair of master and slave, may take. None: without limit."""

    sae_bps: Rate | None = None
    sae_keys: Outstanding | None = 100_000
    pair_bps: Rate | None = None
    pair_keys: Outstanding | None = 10_000
    burst_s: Seconds = 60.0


class _SetRate(Table, frozen=True, kw_only=True):
    """What every simulated device is told. `block_bytes` None: what fits the rate."""

    rate_bps: Annotated[float, Meta(gt=0, le=10_000_000_000)]
    qber: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    qber_limit: Annotated[float, Meta(ge=0, le=1)] = 1.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    buffer_bits: Annotated[int, Meta(ge=0, le=1 << 40)] | None = None
    start_up_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    outage_every_s: Annotated[float, Meta(ge=1, le=31_536_000)] | None = None
    outage_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 10.0
    block_bytes: Annotated[int, Meta(ge=1024, le=65_536)] | None = None

    def settings(self) -> SimulatorSettings:
        """Return what the device is set to at the start."""
        return SimulatorSettings(
            rate_bps=self.rate_bps,
            qber=self.qber,
            qber_limit=self.qber_limit,
            jitter=self.jitter,
            buffer_bits=self.buffer_bits,
            start_up_s=self.start_up_s,
            outage_every_s=self.outage_every_s,
            outage_s=self.outage_s,
        )


class Simulator(_SetRate, frozen=True, kw_only=True, tag="simulator", tag_field="type"):
    """A simulated device whose bits nobody can foretell."""


class SeededSimulator(_SetRate, frozen=True, kw_only=True, tag="seeded-simulator", tag_field="type"):
    """A simulated device whose bits anyone can compute who knows the seed. For tests, and for nothing else."""

    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1), SECRET]


class CourieredKey(Table, frozen=True, kw_only=True, tag="file", tag_field="type"):
    """Key that somebody brought to both ends, in a file or a folder of files; used once."""

    path: Path
    state: Path | None = None
    used: Literal["overwritten", "removed", "kept"] = "overwritten"
    rate_bps: Annotated[float, Meta(gt=0, le=10_000_000_000)] = 1_000_000.0
    block_bytes: Annotated[int, Meta(ge=1024, le=65_536)] = 16_384
    warn_bits: Annotated[int, Meta(ge=0, le=1 << 53)] | None = None

    @property
    def state_folder(self) -> Path:
        """Where it is remembered how far the key is used."""
        return self.state or self.path.with_name(f"{self.path.name}.state")


class _Box(Table, frozen=True, kw_only=True):
    """How a vendor's box is reached, and who we are there. What it is said to yield counts until it was measured."""

    address: Address
    certificate: Path
    key: Path
    authority: Path
    rate_bps: Annotated[float, Meta(gt=0, le=10_000_000_000)] = 10_000.0
    block_bytes: Annotated[int, Meta(ge=1024, le=65_536)] = 1024


class Etsi014(_Box, frozen=True, kw_only=True, tag="etsi014", tag_field="type"):
    """A vendor's box, or key management entity, that offers ETSI GS QKD 014. `key_bits` None: the box's own size."""

    side: Literal["master", "slave"]
    own_sae: SaeName
    other_sae: SaeName
    base_path: BasePath = PREFIX
    key_bits: KeySize | None = None
    timeout_s: Seconds = 10.0


class Etsi004(_Box, frozen=True, kw_only=True, tag="etsi004", tag_field="type"):
    """A vendor's box that offers ETSI GS QKD 004. `chunk_bytes` None: what the box chooses."""

    source: Uri
    destination: Uri
    chunk_bytes: Annotated[int, Meta(ge=1, le=MAX_KEY_BYTES)] | None = None
    form: Literal["forge", "qubip"] = "forge"
    edition: Literal["2.1.1", "3-draft"] = "2.1.1"


DeviceTable = Simulator | SeededSimulator | CourieredKey | Etsi014 | Etsi004


class LinkModule(Table, frozen=True, kw_only=True):
    """This end of one device pair of a link. `uuid` is the pair's, the same at both ends.

    Its module runs in this process and wraps `device`, or in a process of its own, which registers as `module`. With
    `device`, `peer_module` is the module at the other end, if that is a process of its own, and `sync` is where it
    answers Sync.
    """

    uuid: UUID
    device: DeviceTable | None = None
    module: ModuleName | None = None
    peer_module: PeerModule | None = None
    sync: Address | None = None

    @property
    def pair(self) -> PairId:
        """The device pair's ID."""
        return PairId.from_uuid(self.uuid)


class Link(Table, frozen=True, kw_only=True):
    """A neighbour, and this end of the device pairs that lead to it. `uuid` is the same at both ends.

    With `device`, the one pair of the link has the link's UUID. `routing` is where the neighbour's routing module
    listens, if that is not at `address`. `link_tags` None: as `routing.link_tags` says.
    """

    peer: QksName
    uuid: UUID
    address: Address
    device: DeviceTable | None = None
    modules: Annotated[tuple[LinkModule, ...], Meta(max_length=MAX_PAIRS)] = ()
    capacity_bits: Annotated[int, Meta(ge=8192, le=1 << 43)] = 100_000_000
    max_reservations: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100_000
    relay_reserve_bits: Annotated[int, Meta(ge=0, le=1 << 43)] = 0
    high_priority_bits: Annotated[int, Meta(ge=0, le=1 << 43)] = 0
    relay_floor_bits: Annotated[int, Meta(ge=0, le=1 << 43)] | None = None
    administrative_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    routing: Address | None = None
    link_tags: LinkTags | None = None

    @property
    def pairs(self) -> tuple[LinkModule, ...]:
        """The link's device pairs at this end."""
        return self.modules if self.device is None else (LinkModule(uuid=self.uuid, device=self.device),)

    @property
    def floor_bits(self) -> int:
        """Key that relaying leaves to applications: a tenth, up to `FLOOR_BITS`, if nobody has thought of it."""
        return min(self.capacity_bits // 10, FLOOR_BITS) if self.relay_floor_bits is None else self.relay_floor_bits

    def far_end(self, pair: LinkModule) -> QksId | QkdmId:
        """Who is at the other end of a pair: a module that is a process of its own, or the site whose node has it."""
        return pair.peer_module or self.peer


class Sae(Table, frozen=True, kw_only=True):
    """An application and its home site. `statement` is the authority's of that, to be shown to all other sites."""

    id: SaeName
    site: QksName
    statement: Path | None = None
    uuid: UUID | None = None
    quota_bps: Rate | None = None
    quota_keys: Outstanding | None = None


class Pair(Table, frozen=True, kw_only=True):
    """Who may ask for keys (`master`) to share with whom (`slaves`), how urgently, and what these must be like."""

    master: Party
    slaves: Annotated[tuple[Party, ...], Meta(min_length=1)]
    priority: Literal["low", "normal", "high"] | None = None
    relay: PairRelay = field(default_factory=PairRelay)


class SiteConfiguration(Table, frozen=True, kw_only=True):
    """The whole of a `site.toml`."""

    site: Site
    keyring: Annotated[KeyRingTable, SECRET]
    tls: Tls
    northbound: Northbound
    external: External
    admin: Admin
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    quotas: Quotas = field(default_factory=Quotas)
    routing: Routing = field(default_factory=Routing)
    relay: Relay = field(default_factory=Relay)
    key_streams: KeyStreams | None = None
    links: tuple[Link, ...] = ()
    saes: tuple[Sae, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def devices(self) -> tuple[tuple[str, DeviceTable], ...]:
        """The devices whose modules run in this process, each with the key of its table."""
        found: list[tuple[str, DeviceTable | None]] = []
        for i, link in enumerate(self.links):
            found.append((f"links[{i}].device", link.device))
            found += [(f"links[{i}].modules[{j}].device", module.device) for j, module in enumerate(link.modules)]
        return tuple((key, device) for key, device in found if device is not None)

    @property
    def northbound_authority(self) -> Path:
        """The authority that the applications' certificates come from."""
        return self.northbound.authority or self.tls.authority
