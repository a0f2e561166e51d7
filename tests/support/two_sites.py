"""Two sites' ledgers in operation: real stores, barriers and connections; only the key's source is made up."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

from qss.adapters.stores.anchor import AnchorFile
from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.barrier import Barrier
from qss.core.keyserver.policy import PairPolicy, PairRule
from qss.core.keyserver.quotas import QuotaPlan, Quotas
from qss.core.keyserver.requests import RequestPlanner
from qss.core.reservation import LinkSettings
from qss.model.errors import StoreUnavailable
from qss.model.identifiers import KeyId, PairId, QksId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyLimits
from qss.model.network import Graph
from qss.ports.key_source import KeySource
from qss.ports.store import Contents, SealedChange, SealedStore
from qss.runtime.connecting import keep_connected
from qss.runtime.key_server import KeyServer
from qss.runtime.relay_listener import DrawListener, RelayListener
from qss.runtime.site import LinkPlan, Site
from qss.transport.connection import Connection
from qss.transport.dialling import connect
from qss.transport.listening import Listener, Route
from qss.wire import external
from support.no_far_sites import NoFarSites
from support.paired_source import PairedSource
from support.pki import Pki

A, B = QksId("A"), QksId("B")
PAIR = PairId(b"pair of devices.")
ALICE, BOB, CAROL = SaeId("sae:alice"), SaeId("sae:bob"), SaeId("sae:carol")
HOMES = {ALICE: A, BOB: B, CAROL: B}


def clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


class FragileStore:
    """A sealed store whose disk can be full."""

    def __init__(self, store: SealedStore) -> None:
        self._store = store
        self.full = False

    async def contents(self) -> Contents:
        if self.full:
            raise StoreUnavailable("the disk fails")
        return await self._store.contents()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[SealedChange], fence: int) -> int:
        if self.full:
            raise StoreUnavailable("the disk is full")
        return await self._store.commit(batch, fence)


class OneSite:
    """One site with one link, which can be stopped and started again."""

    def __init__(self, here: QksId, peer: QksId, folder: Path, source: KeySource) -> None:
        self.here, self.peer = here, peer
        self.sources = {PAIR: source}
        self.path = folder / f"{here}.sqlite"
        self.anchor = AnchorFile(folder / f"{here}.anchor")
        self.data_key = KeyMaterial(os.urandom(32))
        create_store(self.path, here)
        self.settings: dict[str, object] = {}
        self.graph = Graph()
        """The network, as this site's routing shows it."""
        self.listener: RelayListener | None = None
        self.tagger: DrawListener | None = None

    async def start(self) -> None:
        limits = KeyLimits()
        policy = PairPolicy([PairRule("*", frozenset({"*"}))])
        planner = RequestPlanner(self.here, limits, policy, HOMES.get, frozenset({self.peer}), lambda: self.graph)
        settings = LinkSettings(
            self.here,
            self.peer,
            partial(planner.objection, self.peer),
            retry_s=0.05,
            **self.settings,  # type: ignore[arg-type]
        )
        self.store = FragileStore(Barrier(SqliteStore(self.path, self.here), self.data_key, self.here))
        self.site = Site(
            cast("SealedStore", self.store),
            self.anchor,
            [LinkPlan(settings, self.sources)],
            clocks,
            listener=self.listener,
            tag_draws=self.tagger,
        )
        await self.site.start()
        self.link = self.site.links[self.peer]
        self.key_server = KeyServer(
            self.here, limits, planner, Quotas(QuotaPlan()), self.site.links, NoFarSites(), os.urandom, time.monotonic
        )

    async def take(
        self, slave: SaeId, master: SaeId, key_ids: tuple[KeyId, ...], name: str | None = None
    ) -> tuple[Key, ...]:
        """Get key with key IDs."""
        return await self.key_server.get_key_with_ids(slave, master, KeyIdsRequest(key_ids, name))

    async def stop(self) -> None:
        await self.site.stop()


@dataclass
class Accepted:
    """A connection that site B took."""

    is_open: bool = True


class TwoSites:
    """Sites A and B with the connection between them."""

    def __init__(self, folder: Path, pki: Pki, *, chunk_bytes: int = 1024, chunks: int = 64) -> None:
        source_a, source_b = PairedSource.pair(chunk_bytes, chunks)
        self.pki = pki
        self.a, self.b = OneSite(A, B, folder, source_a), OneSite(B, A, folder, source_b)
        self.dialling: asyncio.Task[None] | None = None
        self.accepted: list[Accepted] = []

    async def __aenter__(self) -> Self:
        await self.a.start()
        await self.b.start()
        self._listener = Listener(
            "127.0.0.1",
            0,
            self.pki.server_context("B"),
            {"/external": Route((external.SUBPROTOCOL,), self._accept, external.MAX_FRAME_BYTES)},
        )
        await self._listener.start()
        self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        await self._listener.close()
        await asyncio.gather(self.a.stop(), self.b.stop())

    async def _accept(self, connection: Connection) -> None:
        accepted = Accepted()
        self.accepted.append(accepted)
        await self.b.link.serve(connection)
        accepted.is_open = False

    def connect(self) -> None:
        self.dialling = asyncio.create_task(keep_connected(B, self.call, lambda c: self.a.link.serve(c)))

    async def disconnect(self) -> None:
        if self.dialling is not None:
            self.dialling.cancel()
            await asyncio.wait({self.dialling})
            self.dialling = None

    async def call(self) -> Connection:
        port = self._listener.address[1]
        return await connect(
            f"wss://127.0.0.1:{port}/external",
            self.pki.client_context("A"),
            subprotocols=(external.SUBPROTOCOL,),
            max_frame=external.MAX_FRAME_BYTES,
        )

    async def until_keys(self, count: int = 1, key_bytes: int = 32) -> None:
        """Wait until both ends can serve `count` keys."""
        async with asyncio.timeout(10):
            while min(site.link.core.key_count(key_bytes) for site in (self.a, self.b)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
