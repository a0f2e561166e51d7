"""A key server in memory, and a site's northbound door in front of whatever key server a test has."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from qss.adapters.identity.certificate import CertificateIdentity
from qss.client import Client, SyncClient
from qss.model.certificates import PeerCertificate
from qss.model.errors import KeysNotFound, Shortage, Unauthorised
from qss.model.identifiers import KeyId, QksId, ReservationId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyLimits, KeyRequest, PairStatus
from qss.pki.folder import Pair
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener, Limits
from qss.servers.etsi014 import Etsi014, KeyService
from support.pki import Pki

ALICE, BOB, CAROL, MALLORY = SaeId("sae:alice"), SaeId("sae:bob"), SaeId("sae:carol"), SaeId("sae:mallory")


def certificate_of(sae: str) -> PeerCertificate:
    return PeerCertificate(common_name=None, uris=(sae,), dns_names=())


@dataclass
class FakeKeyService:
    """Both ends of a link at once: it obeys ETSI GS QKD 014, from a stock of keys in memory.

    Everybody but `strangers` may share keys with everybody. `asked` lists the calls, in order.
    """

    stock: int = 1000
    limits: KeyLimits = field(default_factory=KeyLimits)
    strangers: frozenset[SaeId] = frozenset({MALLORY})
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._held: dict[KeyId, tuple[SaeId, set[SaeId], frozenset[SaeId], KeyMaterial]] = {}

    def get_status(self, caller: SaeId, slave: SaeId) -> PairStatus:
        self._authorise(("status", caller, slave), caller, (slave,))
        return PairStatus(QksId("A"), QksId("B"), caller, slave, self.stock, 5000, self.limits)

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        slaves = (slave, *request.additional_slaves)
        self._authorise(("enc_keys", caller, slave, request), caller, slaves)
        if self.gate is not None:
            await self.gate.wait()
        if request.number > self.stock:
            raise Shortage(f"{self.stock} keys are at hand, fewer than {request.number}; none was consumed")
        self.stock -= request.number
        size = (request.size or self.limits.key_size) // 8
        number = next(self._numbers)
        reservation = ReservationId.from_entropy((number << 64).to_bytes(16))
        keys = []
        for position in range(request.number):
            material = KeyMaterial(self.draw(number * 1000 + position, size))
            key = Key(reservation.key_id(position), material)
            self._held[key.key_id] = (caller, set(slaves), frozenset(slaves), material)
            keys.append(key)
        return tuple(keys)

    async def get_key_with_ids(self, caller: SaeId, master: SaeId, request: KeyIdsRequest) -> tuple[Key, ...]:
        key_ids = request.key_ids
        self._authorise(("dec_keys", caller, master, key_ids), caller, ())
        rows = [self._held.get(key_id) for key_id in key_ids]
        if any(row is not None and caller not in row[2] for row in rows):
            raise Unauthorised(f"{caller} is not named in the reservation of every key that it asked for")
        if any(row is None or row[0] != master or caller not in row[1] for row in rows):
            raise KeysNotFound
        for key_id in key_ids:
            self._held[key_id][1].discard(caller)
        return tuple(Key(key_id, self._held[key_id][3]) for key_id in key_ids)

    def draw(self, number: int, size: int) -> bytes:
        """A key that a test can tell from all others."""
        return (number.to_bytes(4) * (size // 4 + 1))[:size]

    def _authorise(self, call: tuple[object, ...], caller: SaeId, slaves: Iterable[SaeId]) -> None:
        self.asked.append(call)
        if self.failure is not None:
            raise self.failure
        if self.strangers & {caller, *slaves}:
            raise Unauthorised("no rule for this pair")


@dataclass(frozen=True)
class Northbound:
    """A door that is open, and how to come to it."""

    pki: Pki
    listener: HttpsListener
    counts: RequestCounts

    @property
    def url(self) -> str:
        host, port = self.listener.address
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def client(self, sae: str, timeout: float = 30.0) -> Client:
        return self.client_with(self.pki.sae(sae), timeout)

    def client_with(self, pair: Pair, timeout: float = 30.0) -> Client:
        return Client(self.url, pair.certificate, pair.key, self.pki.authority, timeout)

    def sync_client(self, sae: str) -> SyncClient:
        pair = self.pki.sae(sae)
        return SyncClient(self.url, pair.certificate, pair.key, self.pki.authority)

    def counted(self) -> dict[tuple[str, str], float]:
        """Return what was counted, by method and status."""
        return {
            (sample.labels[0][1], sample.labels[1][1]): sample.value for sample in self.counts.samples() if sample.value
        }


@asynccontextmanager
async def northbound(
    pki: Pki, service: KeyService, *, host: str = "127.0.0.1", limits: Limits | None = None
) -> AsyncIterator[Northbound]:
    counts = RequestCounts()
    handler = Etsi014(service, CertificateIdentity(), counts)
    listener = HttpsListener(
        host, 0, pki.northbound_context("A"), handler, limits=limits, on_refusal=counts.add_refusal
    )
    await listener.start()
    try:
        yield Northbound(pki, listener, counts)
    finally:
        await listener.close()
