"""What a site tells its administrators about itself: the data model of Admin's status, and its balance as metrics.

Bits are counted, never shown. Per stream: ingested = available + reserved + delivered + relayed + burned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from qss.wire.etsi014.json import decode_json
from qss.wire.metrics import Metric, Sample
from qss.wire.relay_status import RelayStatus, relay_samples

READY = Metric("qss_ready", "gauge", "Whether the site takes requests: 1 or 0.")
CERTIFICATE_EXPIRY = Metric(
    "qss_certificate_expiry_timestamp_seconds", "gauge", "When the site's own certificate ends, in seconds since 1970."
)
STORE_WRITABLE = Metric("qss_store_writable", "gauge", "Whether the store took the last commit: 1 or 0.")
ANCHOR_WRITABLE = Metric("qss_anchor_writable", "gauge", "Whether the anchor can be written: 1 or 0.")
AUDIT_WRITABLE = Metric("qss_audit_writable", "gauge", "Whether the audit log could be written last: 1 or 0.")
AUDIT_LOST = Metric("qss_audit_lost_records_total", "counter", "Records for which the audit log had no room.")
AUDIT_FINDINGS = Metric(
    "qss_audit_findings_total", "counter", "How often the audit log was other than the site had left it, and how."
)
LINK_UP = Metric("qss_link_up", "gauge", "Whether the neighbour is connected and agrees: 1 or 0.")
LINK_CAPACITY = Metric("qss_link_capacity_bits", "gauge", "Bits of key that are kept of a link, as configured.")
STREAM_BITS = Metric("qss_stream_bits", "gauge", "Bits of a key stream at this end, by what became of them.")
MODULE_ATTACHED = Metric(
    "qss_module_attached", "gauge", "Whether this end's module of a device pair can be asked for key: 1 or 0."
)
MODULE_READY = Metric(
    "qss_module_ready", "gauge", "Whether a module process is registered and connected to its peer: 1 or 0."
)
MODULE_REGISTERED = Metric(
    "qss_module_registered", "gauge", "Whether a module process is registered at its key server: 1 or 0."
)
MODULE_EXCHANGE = Metric(
    "qss_module_exchange", "gauge", "Whether key streams may be opened on a device pair: 1, or 0 if it was stopped."
)
MODULE_UP = Metric("qss_module_up", "gauge", "Whether the modules of a device pair have a key stream open: 1 or 0.")
MODULE_BITS = Metric("qss_module_bits_total", "counter", "Bits that a device yielded, by what became of them.")
DEVICE_RATE = Metric("qss_device_rate_bps", "gauge", "Bits per second that a device says it yields.")
DEVICE_QBER = Metric("qss_device_qber_ratio", "gauge", "Quantum bit error rate that a device reports, 0 to 1.")
DEVICE_SEEDED = Metric("qss_device_seeded", "gauge", "1 if a device's bits are predictable: seeded, for tests.")
DEVICE_LOST = Metric("qss_device_lost_bits_total", "counter", "Bits that a device had and did not keep.")
DEVICE_OWED = Metric("qss_device_owed_seconds", "gauge", "For how long a device has owed the block it was asked for.")
DEVICE_LEFT = Metric("qss_device_left_bits", "gauge", "Bits that a device can still yield at all, if it has an end.")
HEALTH_FAILURES = Metric(
    "qss_device_health_failures_total",
    "counter",
    "Key streams that ended because a device's bits failed a health test.",
)
KEY_STREAMS = Metric("qss_key_streams", "gauge", "Key streams that applications have open at the key server.")
KEY_STREAM_BITS = Metric(
    "qss_key_stream_bits_total", "counter", "Bits of key streams of applications, by what became of them."
)
BURNED_BITS = Metric("qss_burned_bits_total", "counter", "Bits given up, by reason.")

STATES = ("ingested", "available", "reserved", "delivered", "relayed", "burned")
"""What becomes of the bits of a key stream; members of `StreamBalance`."""


PAST = "past"
"""In the place of a stream: all streams of the link that are used up."""


class StreamBalance(msgspec.Struct, frozen=True, kw_only=True):
    """One key stream at this end, in bits."""

    stream: str
    """Its ID, or `PAST`."""
    ingested: int
    available: int
    reserved: int
    delivered: int
    relayed: int
    burned: int
    policy: str = ""
    """How its key comes: empty for device pairs' own, else the policy that it is relayed by.

    Of streams that are used up nobody knows that any more: empty at a neighbour, `PAST` at a far site.
    """


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """What a QKD device says of itself.

    `qber`: None if it does not tell; `seeded`: its bits are predictable; `left_bits`: None if it has no end.
    """

    kind: str
    running: bool
    rate_bps: float
    qber: float | None
    simulated: bool
    seeded: bool
    lost_bits: int = 0
    left_bits: int | None = None
    note: str = ""
    """What an operator should know of it now, if anything."""


class ModuleState(msgspec.Struct, frozen=True, kw_only=True):
    """A QKD module. `bits` are counted from the start of its process, by what became of them."""

    phase: str
    up: bool
    """A key stream is open at both modules."""
    security: str | None
    """How the Sync connection is protected."""
    device: DeviceState
    bits: Mapping[str, int]
    owed_s: int
    """For how many seconds the device has owed the block that it was asked for."""
    health_failures: Mapping[str, int]
    """Streams that each health test ended, since the process began."""


class PairStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A device pair of a link, at this end."""

    uuid: str
    """The pair's, the same at both ends."""
    name: str | None
    """Under which a module in a process of its own registers; None: the module is in this one."""
    registered: bool
    """A module in a process of its own is registered here (QRP)."""
    release: str | None
    """The release of that module."""
    southbound: str | None
    """Where that module answers ETSI GS QKD 004."""
    exchange: bool
    """Key streams may be opened: an administrator can stop that."""
    attached: bool
    """The module can be asked for key streams."""
    up: bool
    """A key stream is open, as far as is known here: at both modules, if this end's tells."""
    stream: str | None
    """The pair's key stream that is filled now."""
    trouble: str
    """Why no key comes of it, or what its device has to say; empty if all is well."""
    module: ModuleState | None
    """The module: as it is if it is in this process, else as it said last; None if it said nothing."""


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One neighbour, or far site. `up` and `security` are External's, which has a connection of its own.

    `burned` are bits by reason.
    """

    peer: str
    uuid: str | None
    """The link's, the same at both ends; None for a far site: there is no link, and all key is relayed."""
    up: bool
    security: str | None
    capacity_bits: int
    """How much key is kept, as configured."""
    streams: tuple[StreamBalance, ...]
    burned: Mapping[str, int]
    pairs: tuple[PairStatus, ...]


class KeyStreamsState(msgspec.Struct, frozen=True, kw_only=True):
    """The key streams of a site's applications. `bits` are counted from the start, by what became of them."""

    open: int
    bits: Mapping[str, int]


class SiteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One site. `ready`: it takes requests (docs/reference/northbound.md, section 8)."""

    site: str
    uuid: str
    version: str
    ready: bool
    certificate_expires: datetime
    """When the site's own certificate ends; aware, UTC."""
    store_writable: bool
    """The store took the last commit."""
    anchor_writable: bool
    """The anchor was written when it last had to be."""
    audit_writable: bool
    """The audit log was written when it last had to be."""
    audit_lost: int
    """Records that it had no room for, since the process began."""
    audit_findings: Mapping[str, int]
    """How often it was other than the site had left it, by what was found, since the process began."""
    audit_checkpoint: str | None
    """Its last checkpoint, to be noted: number and hash; None if this process has written none yet."""
    links: tuple[LinkStatus, ...]
    relay: RelayStatus = RelayStatus()
    key_streams: KeyStreamsState | None = None
    """None: the site serves none."""


def render_status(status: SiteStatus) -> bytes:
    """Return the status as JSON."""
    return msgspec.json.encode(status)


def parse_site_status(body: bytes) -> SiteStatus:
    """Read a status. Raises `BadRequest` if it is none of this release's."""
    return decode_json(body, SiteStatus)


def status_samples(status: SiteStatus) -> Iterator[Sample]:
    """Yield what a status counts, as metrics."""
    yield Sample(READY, (), int(status.ready))
    yield Sample(CERTIFICATE_EXPIRY, (), int(status.certificate_expires.timestamp()))
    yield Sample(STORE_WRITABLE, (), int(status.store_writable))
    yield Sample(ANCHOR_WRITABLE, (), int(status.anchor_writable))
    yield Sample(AUDIT_WRITABLE, (), int(status.audit_writable))
    yield Sample(AUDIT_LOST, (), status.audit_lost)
    for finding, times in status.audit_findings.items():
        yield Sample(AUDIT_FINDINGS, (("finding", finding),), times)
    for link in status.links:
        peer = ("peer", link.peer)
        yield Sample(LINK_UP, (peer,), int(link.up))
        yield Sample(LINK_CAPACITY, (peer,), link.capacity_bits)
        for pair in link.pairs:
            yield from _pair_samples(peer, pair)
        for balance in link.streams:
            for state in STATES:
                labels = (peer, ("stream", balance.stream), ("policy", balance.policy), ("state", state))
                yield Sample(STREAM_BITS, labels, getattr(balance, state))
        for reason, bits in link.burned.items():
            yield Sample(BURNED_BITS, (peer, ("reason", reason)), bits)
    yield from relay_samples(status.relay)

    if status.key_streams is not None:
        yield Sample(KEY_STREAMS, (), status.key_streams.open)
        for outcome, bits in status.key_streams.bits.items():
            yield Sample(KEY_STREAM_BITS, (("outcome", outcome),), bits)


def _pair_samples(peer: tuple[str, str], status: PairStatus) -> Iterator[Sample]:
    labels = (peer, ("pair", status.uuid))
    yield Sample(MODULE_ATTACHED, labels, int(status.attached))
    yield Sample(MODULE_EXCHANGE, labels, int(status.exchange))
    yield Sample(MODULE_UP, labels, int(status.up))
    if status.module is not None:
        yield from module_samples(labels, status.module)


def module_samples(labels: tuple[tuple[str, str], ...], module: ModuleState) -> Iterator[Sample]:
    """Yield what a module's state counts, as metrics with these labels."""
    for outcome, bits in module.bits.items():
        yield Sample(MODULE_BITS, (*labels, ("outcome", outcome)), bits)
    device = module.device
    yield Sample(DEVICE_RATE, labels, device.rate_bps)
    if device.qber is not None:
        yield Sample(DEVICE_QBER, labels, device.qber)
    yield Sample(DEVICE_SEEDED, labels, int(device.seeded))
    yield Sample(DEVICE_LOST, labels, device.lost_bits)
    yield Sample(DEVICE_OWED, labels, module.owed_s)
    if device.left_bits is not None:
        yield Sample(DEVICE_LEFT, labels, device.left_bits)
    for test, failures in module.health_failures.items():
        yield Sample(HEALTH_FAILURES, (*labels, ("test", test)), failures)
