"""What the demo's applications ask of their key servers, and whether both ends got the same keys.

Every ask goes over HTTPS, as any other program's would, with the application's own certificate.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from qss.cli.demo.network import HOMES, SITES, STRANGER, Network
from qss.client import Client, KeyServerRefused
from qss.model.identifiers import SaeId

ALICE, BOB, BELLA, CAROL, CHRIS = HOMES

LARGEST = (128, 8192)
"""Keys and bits of the largest request that the limits let through: more than a link of the demo ever keeps."""

_SINGLE_KEYS = ((ALICE, BOB), (BOB, ALICE), (BOB, CAROL), (CAROL, BELLA))


@dataclass(frozen=True, slots=True)
class Delivery:
    """Keys that a master got and its slaves took."""

    what: str
    master: SaeId
    slaves: tuple[SaeId, ...]
    keys: int
    bits: int
    """Size of each key."""
    ms: float
    """How long the master waited, in milliseconds: reserved at both sites and delivered."""
    take_ms: float
    """How long the slaves waited, on average."""
    match: bool
    """Every slave got what the master got."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ask that must be refused."""

    what: str
    expected: int
    status: int
    """What came: 200 would be a failure of the demo."""
    message: str


@dataclass(frozen=True, slots=True)
class Results:
    """All that was asked."""

    deliveries: tuple[Delivery, ...]
    refusals: tuple[Refusal, ...]

    @property
    def ok(self) -> bool:
        """Whether every delivery matched, and every refusal came."""
        return all(one.match for one in self.deliveries) and all(one.status == one.expected for one in self.refusals)


class Applications:
    """The applications' clients. Each asks the key server of its home site; the stranger asks the first one."""

    def __init__(self, clients: dict[SaeId, Client]) -> None:
        self.clients = clients

    async def run_all(self, on_step: Callable[[str], None]) -> Results:
        """Carry out everything, one thing after the other."""
        deliveries: list[Delivery] = []
        for master, slave in _SINGLE_KEYS:
            on_step(f"one key for {master} and {slave}")
            deliveries.append(await self.deliver("one key", master, (slave,)))
        on_step(f"100 keys for {ALICE} and {BOB}")
        deliveries.append(await self.deliver("100 keys", ALICE, (BOB,), 100, 1024))
        on_step(f"one key for {BOB} and, all at once, {CAROL} and {CHRIS}")
        deliveries.append(await self.deliver("multicast", BOB, (CAROL, CHRIS)))
        on_step("what must be refused")
        return Results(tuple(deliveries), await self._refusals())

    async def deliver(
        self, what: str, master: SaeId, slaves: Sequence[SaeId], number: int = 1, size: int = 256
    ) -> Delivery:
        """Have `master` get keys, and every slave take them."""
        first, *others = slaves
        began = time.perf_counter()
        keys = await self.clients[master].get_keys(first, number, size, others)
        got = time.perf_counter()
        taken = [await self.clients[slave].get_keys_with_ids(master, [key.key_id for key in keys]) for slave in slaves]
        took = time.perf_counter()
        return Delivery(
            what,
            master,
            tuple(slaves),
            number,
            size,
            1000 * (got - began),
            1000 * (took - got) / len(slaves),
            all(one == keys for one in taken) and all(8 * len(key.material) == size for key in keys),
        )

    async def _refusals(self) -> tuple[Refusal, ...]:
        number, size = LARGEST
        (key,) = await self.clients[ALICE].get_keys(BOB)
        stranger, bella, alice, bob = (self.clients[sae] for sae in (STRANGER, BELLA, ALICE, BOB))
        refusals = (
            await _refusal("a stranger asks for a key", 401, lambda: stranger.get_keys(BOB)),
            await _refusal("bella takes a key of bob", 401, lambda: bella.get_keys_with_ids(ALICE, [key.key_id])),
            await _refusal("alice asks for more than there is", 503, lambda: alice.get_keys(BOB, number, size)),
        )
        await bob.get_keys_with_ids(ALICE, [key.key_id])
        again = await _refusal("bob takes a key twice", 400, lambda: bob.get_keys_with_ids(ALICE, [key.key_id]))
        return (*refusals, again)


async def _refusal(what: str, expected: int, ask: Callable[[], Awaitable[object]]) -> Refusal:
    try:
        await ask()
    except KeyServerRefused as refusal:
        return Refusal(what, expected, refusal.status, refusal.message)
    return Refusal(what, expected, 200, "it was served")


@asynccontextmanager
async def applications(network: Network) -> AsyncIterator[Applications]:
    """Open the clients of all applications."""
    async with AsyncExitStack() as stack:
        clients = {}
        for sae in (*HOMES, STRANGER):
            pair = network.pki.sae(sae)
            url = network.url(HOMES.get(sae, SITES[0]))
            client = Client(url, pair.certificate, pair.key, network.pki.authority.certificate)
            clients[sae] = await stack.enter_async_context(client)
        yield Applications(clients)
