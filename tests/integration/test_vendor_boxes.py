"""Two real sites as a vendor's network: their 014 interface is the device of another pair of modules."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from qss.adapters.devices.etsi014 import Etsi014Device, Side
from support.module_runners import TwoModules, chunks
from support.pki import Pki
from support.two_sites import ALICE, BOB, TwoSites
from support.vendor_box import Box, Oddity, listening, only_get


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("vendor") / "pki")


@pytest.mark.parametrize("oddity", [None, only_get], ids=["post", "get"])
async def test_key_of_a_network_by_014_becomes_a_key_stream(tmp_path, pki, oddity: Oddity | None) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(1000)
        box_a = Box(pki, ALICE, BOB, sites.a.key_server, "/vendor/keys", oddity)
        box_b = replace(box_a, sae=BOB, other_sae=ALICE, service=sites.b.key_server, asked=[])
        async with listening(box_a, box_b):
            devices = (
                Etsi014Device(box_a.client, Side.MASTER, ALICE, BOB, block_bytes=2048),
                Etsi014Device(box_b.client, Side.SLAVE, BOB, ALICE),
            )
            async with TwoModules(*devices) as modules, asyncio.timeout(20):
                opened = await modules.open(1024)
                one, two = await asyncio.gather(
                    *(chunks(module, opened.stream, 20) for module in (modules.a, modules.b))
                )
                assert one == two
                assert len(set(one)) == 20
                assert [module.status().counts.unequal_blocks for module in (modules.a, modules.b)] == [0, 0]
        delivered = [sum(r.tally.delivered for r in site.link.core.streams) for site in (sites.a, sites.b)]
        assert min(delivered) >= 20 * 8192


async def test_a_network_that_runs_short_and_one_end_of_which_restarts(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki, chunks=8) as sites:
        await sites.until_keys(100)
        box_a = Box(pki, ALICE, BOB, sites.a.key_server)
        box_b = Box(pki, BOB, ALICE, sites.b.key_server)
        async with listening(box_a, box_b):
            devices = (
                Etsi014Device(box_a.client, Side.MASTER, ALICE, BOB),
                Etsi014Device(box_b.client, Side.SLAVE, BOB, ALICE),
            )
            async with TwoModules(*devices) as modules, asyncio.timeout(30):
                opened = await modules.open(512)
                await asyncio.gather(*(chunks(module, opened.stream, 14) for module in (modules.a, modules.b)))
                pulling = [asyncio.create_task(chunks(m, opened.stream, 6, 14)) for m in (modules.a, modules.b)]
                await asyncio.sleep(0.5)
                assert not any(task.done() for task in pulling)  # 8 KiB is all there was
                await sites.b.stop()
                await sites.b.start()  # the network opens a stream anew, which brings new key
                box_b.service = sites.b.key_server
                one, two = await asyncio.gather(*pulling)
                assert one == two
