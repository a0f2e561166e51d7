"""A routing module in a process of its own that is started anew: what the node knows of the network outlives that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from qss.model.identifiers import SaeId
from qss.model.network import Load, SiteState
from support.module_runners import until
from support.pki import Pki
from support.routing_tables import A, B, Tables, asking, module, neighbour

ALICE, BOB, CAROL = SaeId("sae:alice"), SaeId("sae:bob"), SaeId("sae:carol")
LOAD = Load(1 << 20, 1 << 20)


async def test_homes_are_known_throughout(tmp_path) -> None:
    """Were they not, a neighbour's master would be refused, and its key burned."""
    pki = Pki(tmp_path / "pki")
    async with AsyncExitStack() as stack:
        there, address = await stack.enter_async_context(neighbour(pki))
        first = AsyncExitStack()
        port = (await first.enter_async_context(module(pki, address))).addresses["admin"].port
        node = await stack.enter_async_context(asking(pki, port))
        tables = Tables(node, there, pki)
        at_home = {BOB: tables.stated(BOB, B)}
        node.publish(SiteState({ALICE: None}, links={B: LOAD}))
        there.publish(SiteState(at_home, links={A: LOAD}))
        await until(lambda: node.route(BOB) is not None and node.route(BOB).next_hop == B)
        await until(lambda: node.status().settled)
        homes = []
        node.watch(lambda: homes.append((node.route(ALICE), node.route(BOB))))

        await first.aclose()
        there.publish(SiteState({**at_home, CAROL: tables.stated(CAROL, B)}, links={A: LOAD}))
        await stack.enter_async_context(module(pki, address, port))
        async with asyncio.timeout(20):
            while node.route(CAROL) is None:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
        await until(lambda: node.route(CAROL).next_hop == B)
        assert homes
        assert [(alice, bob) for alice, bob in homes if not (alice and bob)] == []
