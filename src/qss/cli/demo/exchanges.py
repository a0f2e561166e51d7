"""What the demo's applications ask of their key servers, and whether both ends got the same keys.

Every ask goes over HTTPS, as any other program's would, with the application's own certificate.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from qss.cli.demo.network import HOMES, SITES, STRANGER, Network
from qss.client import Client, KeyServerRefused
from qss.model.identifiers import SaeId

ALICE, BOB, BELLA, CAROL, CHRIS = HOMES

LARGEST = (128, 8192)
"""Keys and bits of the largest request that the limits let through: more than a link of the demo ever keeps."""

DIRECT_ONLY = (("qss_direct_only", True),)
"""A mandatory extension: no repeater may see the key."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Keys that a master shall get, and all its slaves take; `bits` is the size of each."""

    what: str
    master: SaeId
    slaves: tuple[SaeId, ...]
    keys: int = 1
    bits: int = 256
    over: str = "link"
    """Which way they come: the link of the two sites, or repeaters."""
    demands: tuple[tuple[str, object], ...] = ()
    """Mandatory extensions: names and values."""


AMONG_NEIGHBOURS = (
    Ask("one key", ALICE, (BOB,)),
    Ask("one key", BOB, (ALICE,)),
    Ask("one key", BOB, (CAROL,)),
    Ask("one key", CAROL, (BELLA,)),
    Ask("100 keys", ALICE, (BOB,), 100, 1024),
    Ask("multicast", BOB, (CAROL, CHRIS)),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Keys that a master got and its slaves took."""

    ask: Ask
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

    def __init__(self, clients: dict[SaeId, Client], on_step: Callable[[str], None]) -> None:
        """`on_step` hears what is being asked."""
        self.clients = clients
        self._on_step = on_step

    async def deliver(self, ask: Ask) -> Delivery:
        """Have the master get keys, and every slave take them."""
        self._on_step(f"for {ask.master} and {' and '.join(ask.slaves)}: {ask.what}")
        first, *others = ask.slaves
        began = time.perf_counter()
        keys = await self.clients[ask.master].get_keys(first, ask.keys, ask.bits, others, ask.demands)
        got = time.perf_counter()
        key_ids = [key.key_id for key in keys]
        taken = [await self.clients[slave].get_keys_with_ids(ask.master, key_ids) for slave in ask.slaves]
        took = time.perf_counter()
        return Delivery(
            ask,
            1000 * (got - began),
            1000 * (took - got) / len(ask.slaves),
            all(one == keys for one in taken) and all(8 * len(key.material) == ask.bits for key in keys),
        )

    async def refusals(self) -> tuple[Refusal, ...]:
        """Ask for what must be refused."""
        self._on_step("what must be refused")
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
        no_link = await _refusal(
            "alice wants no repeater to carol", 400, lambda: alice.get_keys(CAROL, extension_mandatory=DIRECT_ONLY)
        )
        return (*refusals, again, no_link)


async def _refusal(what: str, expected: int, ask: Callable[[], Awaitable[object]]) -> Refusal:
    try:
        await ask()
    except KeyServerRefused as refusal:
        return Refusal(what, expected, refusal.status, refusal.message)
    return Refusal(what, expected, 200, "it was served")


@asynccontextmanager
async def applications(network: Network, on_step: Callable[[str], None]) -> AsyncIterator[Applications]:
    """Open the clients of all applications; `on_step` hears what they ask."""
    async with AsyncExitStack() as stack:
        clients = {}
        for sae in (*HOMES, STRANGER):
            pair = network.pki.sae(sae)
            url = network.url(HOMES.get(sae, SITES[0]))
            client = Client(url, pair.certificate, pair.key, network.pki.authority.certificate)
            clients[sae] = await stack.enter_async_context(client)
        yield Applications(clients, on_step)
