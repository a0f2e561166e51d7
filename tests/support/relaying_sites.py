"""Whole sites in one process that relay for each other: as `qss node` runs them, with real stores and TLS connections.

What an adversary, or a test, can change of a site is reached by its parts: `relays`, `sites`, `key_servers`. All bytes
that served as key of a hop, and what they covered, are in `pads` and `contents`; all frames of one site can be watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qss.app import node
from qss.app.catalogue import keyring_of
from qss.app.configuration import load
from qss.app.data_folder import open_store
from qss.app.site_relay import SiteRelay
from qss.cli.demo.network import Network
from qss.crypto import hops
from qss.model.certificates import site_of
from qss.model.errors import QssError
from qss.model.identifiers import QksId, SaeId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyRequest
from qss.model.ranges import Range
from qss.model.records import BurnReason
from qss.runtime.key_server import KeyServer
from qss.runtime.site import Site
from qss.transport.websocket import WebSocketConnection
from qss.wire import sync

A, B, C, D = map(QksId, "ABCD")
ROW = ((A, B), (B, C))
RING = ((A, B), (B, C), (C, D), (A, D))
ALICE, BOB, CAROL = map(SaeId, ("sae:alice", "sae:bob", "sae:carol"))
HOMES = {ALICE: A, BOB: B, CAROL: C}
WINDOW_BYTES = 8
"""So many random bytes in a row are not alike by chance."""

Frames = dict[QksId, list[bytes]]


@dataclass
class RelayingSites:
    """A network's sites, of which some run."""

    network: Network
    relays: dict[QksId, SiteRelay] = field(default_factory=dict)
    sites: dict[QksId, Site] = field(default_factory=dict)
    key_servers: dict[QksId, KeyServer] = field(default_factory=dict)
    pads: list[bytes] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    frames: Frames = field(default_factory=dict)
    """What each site was sent by others, and has sent, but over Sync of its links: simulated devices send their key."""
    nodes: dict[QksId, node.Node] = field(default_factory=dict)
    running: dict[QksId, AsyncExitStack] = field(default_factory=dict)

    async def start(self, *names: QksId) -> None:
        for name in names:
            stack = AsyncExitStack()
            self.nodes[name] = await stack.enter_async_context(node.running(load(self.network.configuration(name))))
            self.running[name] = stack

    async def stop(self, *names: QksId) -> None:
        for name in names:
            await self.running.pop(name).aclose()

    # --- applications -----------------------------------------------------------------------------------------------

    async def keys(
        self, master: SaeId = ALICE, slave: SaeId = CAROL, number: int = 1, **extensions: object
    ) -> tuple[Key, ...]:
        """Have keys reserved and fetched: what both got, which is the same."""
        request = KeyRequest(
            number, extension_mandatory=tuple((f"qss_{name}", extensions[name]) for name in extensions)
        )
        homes = self.network.homes
        got = await self.key_servers[homes[master]].get_key(master, slave, request)
        await self.fetched(got, master, slave)
        return got

    async def fetched(self, got: tuple[Key, ...], master: SaeId = ALICE, slave: SaeId = CAROL) -> None:
        ids = KeyIdsRequest(tuple(key.key_id for key in got))
        assert await self.key_servers[self.network.homes[slave]].get_key_with_ids(slave, master, ids) == got

    async def until_keys(self, *pairs: tuple[SaeId, SaeId]) -> None:
        """Wait until keys come."""
        async with asyncio.timeout(30):
            for master, slave in pairs or ((ALICE, CAROL), (CAROL, ALICE)):
                while True:
                    try:
                        await self.keys(master, slave)
                        break
                    except QssError:
                        await asyncio.sleep(0.1)

    async def until_known(self, bits: int = 100_000) -> None:
        """Wait until the routing of A knows of so much key on all links."""
        links = len(self.network.links)
        async with asyncio.timeout(30):
            while True:
                edges = self.relays[A].streams._table.graph.edges.values()
                if sum(edge.available_bits >= bits for ends in edges for edge in ends.values()) == 2 * links:
                    return
                await asyncio.sleep(0.1)

    # --- links ------------------------------------------------------------------------------------------------------

    async def cut(self, one: QksId, other: QksId) -> None:
        """Break the connections of two neighbours' key servers and relays."""
        for session in (self.sites[one].links[other]._session, self.relays[one].relaying._sessions[other]):
            if session._connection is not None:
                await session._connection.close()

    def tallies(self, here: QksId, peer: QksId) -> tuple[int, int]:
        """Return the bits that one end of a link has relayed, and those that it burned because they were not."""
        tallies = [record.tally for record in self.sites[here].links[peer].core.streams]
        return sum(tally.relayed for tally in tallies), sum(
            tally.burned.get(BurnReason.ABANDONED, 0) for tally in tallies
        )

    def must_balance(self) -> None:
        """Fail unless every bit that was ever ingested is accounted for, at each end of each stream."""
        for name in self.running:
            for runner in self.sites[name].links.values():
                for record in runner.core.streams:
                    tally = record.tally
                    counted = (
                        8 * record.available + tally.reserved + tally.delivered + tally.relayed + tally.burned_total
                    )
                    assert counted == 8 * record.mark, (name, record)

    async def at_rest(self) -> None:
        """Wait until nothing is relayed any more, no range is open, and all is on disk."""
        async with asyncio.timeout(60):
            while any(self._busy(name) for name in self.running):  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.1)

    def _busy(self, name: QksId) -> bool:
        relay = self.relays[name].relaying
        links = [runner.core._state for runner in self.sites[name].links.values()]
        open_or_unwritten = any(link.draws or link._awaited for link in links)
        return (
            open_or_unwritten
            or bool(relay._relay.phases)
            or any((relay._drawn, relay._kept, relay._held, relay._contents))
        )

    async def stored(self, here: QksId, peer: QksId) -> bytes:
        """Return all key that is available at one end of a link or end-to-end stream."""
        site = self.sites[here]
        parts = [
            await site._store.read_key(record.stream, Range(record.head, record.end))
            for record in site.links[peer].core.streams
            if record.available
        ]
        return b"".join(part.reveal() for part in parts)


async def unsealed(sites: RelayingSites, name: QksId) -> bytes:
    """Return every byte of key that the store of a site that has stopped holds, opened with its data key."""
    site = load(sites.network.configuration(name))
    barrier: Any = await open_store(site.site.data, name, keyring_of(site.keyring))
    contents = await barrier.start()
    found = [
        (await barrier.read_key(stream.stream, Range(block.start, block.start + block.length))).reveal()
        for stream in contents.streams
        for block in await barrier._store.blocks(stream.stream, Range(0, 1 << 60))
    ]
    await barrier.close()
    return b"".join(found)


def windows(secrets: Iterable[bytes]) -> set[bytes]:
    """Return all runs of `WINDOW_BYTES` bytes."""
    return {secret[at : at + WINDOW_BYTES] for secret in secrets for at in range(len(secret) - WINDOW_BYTES + 1)}


def has_any(text: bytes, known: set[bytes]) -> bool:
    """Whether one of these runs stands in `text`."""
    return any(text[at : at + WINDOW_BYTES] in known for at in range(len(text) - WINDOW_BYTES + 1))


@asynccontextmanager
async def relaying_sites(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: tuple[tuple[QksId, QksId], ...] = ROW,
    change: Callable[[QksId, str], str] = lambda _, text: text,
) -> AsyncIterator[RelayingSites]:
    """Make a network, with `change` made to the configuration of each site, and start all sites."""
    network = Network(folder, links=links, homes=HOMES)
    await network.build(lambda _: None)
    sites = RelayingSites(network)
    for name in network.sites:
        file = network.configuration(name)
        file.write_text(change(name, file.read_text(encoding="utf-8")), encoding="utf-8")
    _watch(sites, monkeypatch)
    try:
        await sites.start(*network.sites)
        yield sites
        sites.must_balance()
    finally:
        await sites.stop(*sites.running)


def _watch(sites: RelayingSites, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a hand on the parts of each site as it starts, on what its relay seals, and on its frames."""

    class Watched(SiteRelay):
        def relay_over(self, site: Site) -> None:
            here = self._configuration.site.id
            sites.relays[here], sites.sites[here] = self, site
            super().relay_over(site)

    def key_server(here: QksId, *rest: Any) -> KeyServer:
        sites.key_servers[here] = KeyServer(here, *rest)
        return sites.key_servers[here]

    monkeypatch.setattr(node, "SiteRelay", Watched)
    monkeypatch.setattr(node, "KeyServer", key_server)
    seal, open_sealed = hops.seal, hops.open_sealed

    def sealed(hop: Any, key: KeyMaterial, context: bytes, content: KeyMaterial) -> Any:
        sites.pads.append(key.reveal())
        sites.contents.append(content.reveal())
        return seal(hop, key, context, content)

    def opened(hop: Any, key: KeyMaterial, *rest: Any) -> KeyMaterial:
        sites.pads.append(key.reveal())
        content = open_sealed(hop, key, *rest)
        sites.contents.append(content.reveal())
        return content

    monkeypatch.setattr("qss.runtime.relay.relaying.seal", sealed)
    monkeypatch.setattr("qss.runtime.relay.relaying.open_sealed", opened)
    send, receive = WebSocketConnection.send, WebSocketConnection.receive

    def note(connection: WebSocketConnection, frame: bytes) -> None:
        """The other end is who the certificate says: it is that site's frame, whoever has sent it."""
        if connection.subprotocol == sync.SUBPROTOCOL:
            return
        sites.frames.setdefault(site_of(connection.peer), []).append(frame)

    async def noted_send(self: WebSocketConnection, frame: bytes) -> None:
        note(self, frame)
        await send(self, frame)

    async def noted_receive(self: WebSocketConnection) -> bytes:
        frame = await receive(self)
        note(self, frame)
        return frame

    monkeypatch.setattr(WebSocketConnection, "send", noted_send)
    monkeypatch.setattr(WebSocketConnection, "receive", noted_receive)
