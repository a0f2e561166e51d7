"""Two sites that pull their key from real modules over ETSI GS QKD 004: keys agree, and come back after any loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.model.addresses import Address
from qss.model.keys import KeyRequest
from qss.runtime.module.southbound import Southbound
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import Etsi004Server
from support.module_runners import TwoModules
from support.pki import Pki
from support.southbounds import Southbounds, admit_anybody
from support.two_sites import ALICE, BOB, PAIR, A, B, TwoSites


@dataclass
class Network:
    sites: TwoSites
    modules: TwoModules
    southbounds: Southbounds

    async def keys_agree(self) -> None:
        """A key that is asked for at either end is had at the other."""
        await self.sites.until_keys(2)
        keys = await self.sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        assert await self.sites.b.take(BOB, ALICE, tuple(key.key_id for key in keys)) == keys


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    pki = Pki(tmp_path / "pki")
    modules = TwoModules()
    async with modules, Southbounds(modules, pki) as southbounds:
        sites = TwoSites(tmp_path, pki)
        sites.a.sources = {PAIR: southbounds.a}
        sites.b.sources = {PAIR: southbounds.b}
        async with sites:
            yield Network(sites, modules, southbounds)


async def successor(network: Network, before: object) -> None:
    """Wait until a stream after `before` runs at both modules."""
    async with asyncio.timeout(20):
        while (  # noqa: ASYNC110 - a state that nobody announces
            {module.status().phase for module in (network.modules.a, network.modules.b)} != {"running"}
            or network.modules.a.status().stream in (None, before)
        ):
            await asyncio.sleep(0.02)


async def test_key_is_pulled_at_both_ends_and_agrees(network: Network) -> None:
    await network.keys_agree()
    counts = network.southbounds.server_a.counts
    called = {(labels[1][1], labels[2][1]) for s in counts.samples() if s.value and (labels := s.labels)}
    assert called >= {("open_connect", "peer_not_connected"), ("get_key", "success")}


async def test_a_connection_that_is_cut_again_and_again_costs_no_stream(network: Network) -> None:
    await network.keys_agree()
    stream = network.modules.a.status().stream
    for _ in range(20):
        for server in (network.southbounds.server_a, network.southbounds.server_b):
            for connection in vars(server)["_acceptor"].established:
                connection.abort()
        await asyncio.sleep(0.01)
    await network.keys_agree()
    assert network.modules.a.status().stream == stream


async def test_sync_that_is_lost_is_followed_by_another_stream(network: Network) -> None:
    await network.keys_agree()
    before = network.modules.a.status().stream
    for connection in network.modules.connections or ():
        connection.cut()
    await network.modules.connect()
    await successor(network, before)
    await network.keys_agree()


@pytest.mark.parametrize("end", ["a", "b"])
async def test_a_module_that_is_away_for_a_while_is_found_again(network: Network, end: str) -> None:
    await network.keys_agree()
    before = network.modules.a.status().stream
    southbounds = network.southbounds
    site, peer = (A, B) if end == "a" else (B, A)
    address: Address = southbounds.address(site)
    module = getattr(network.modules, end)
    await getattr(southbounds, f"server_{end}").close()
    await asyncio.sleep(0.2)
    again = Etsi004Server(
        address.host,
        address.port,
        southbounds.pki.server_context(site),
        lambda: Southbound(module, site, peer),
        admit_anybody,
        CallCounts(f"{site}/1"),
    )
    setattr(southbounds, f"server_{end}", again)
    await again.start()
    await successor(network, before)
    await network.keys_agree()


@pytest.mark.parametrize("end", ["a", "b"])
async def test_a_key_server_that_restarts_takes_its_module_again(network: Network, end: str) -> None:
    await network.keys_agree()
    before = network.modules.a.status().stream
    site = getattr(network.sites, end)
    await site.stop()
    await site.start()
    await successor(network, before)
    await network.keys_agree()
