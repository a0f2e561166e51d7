"""What else `qss routing` is measured at: SAEs and links that come and go anywhere, and a table that is waited for."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

from benchmarks.load import post
from benchmarks.modules import CALM_S, Modules

from qss.model.network import SiteState
from qss.wire.site_state import MAX_WAIT_S, render_wait


async def come_or_go(modules: Modules, dice: random.Random, number: int) -> float:
    """Have SAE `number`, or a link, come and go at some site; return the longer time to the last table, in seconds."""
    router = dice.choice(modules.routers)
    before = modules.states[router]
    if dice.random() < 0.5:
        _, changed = modules.with_sae(router, number)
    else:
        lost = dice.choice(sorted(before.links))
        changed = replace(before, links={peer: load for peer, load in before.links.items() if peer != lost})
    return max(await _change(modules, router, changed), await _change(modules, router, before))


async def _change(modules: Modules, router: int, state: SiteState) -> float:
    versions = {each: (await modules.table(each)).version for each in modules.routers}
    began = time.time()
    await modules.publish(router, state)
    became = await modules.wait(lambda each, table: table.version != versions[each], "the coming or going")
    return max(became.values()) - began


async def ask_after(modules: Modules, number: int) -> float:
    """Return the seconds until a key server that waits for the last site's table has SAE `number` of the first's."""
    origin, last = modules.routers[0], modules.routers[-1]
    before = modules.states[origin]
    sae, after = modules.with_sae(origin, number)
    version = (await modules.table(last)).version
    waiting = asyncio.create_task(modules.ask(last, post("/routing/wait", render_wait(version, MAX_WAIT_S))))
    await asyncio.sleep(CALM_S)
    began = time.monotonic()
    await modules.publish(origin, after)
    told = await waiting
    took = time.monotonic() - began
    if sae not in {route.SAE_ID for route in told.routes}:
        raise RuntimeError(f"another change came between, and the table lacks {sae}: measure again")
    await asyncio.sleep(CALM_S)
    await modules.publish(origin, before)
    await asyncio.sleep(CALM_S)
    return took
