"""Keys of Alice and Carol, whose sites share no link: over one of the two repeaters between them, over both, and when
one of them is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from qss.cli.demo.exchanges import ALICE, CAROL, Applications, Ask, Delivery
from qss.cli.demo.network import B, D
from qss.cli.demo.nodes import Nodes
from qss.model.errors import QssError

PATIENCE_S = 10.0
"""How long it may take until keys are held ready for the two."""

HELD_KEYS = 100
"""As many are held ready, of those that a stream in use has."""

_POLL_S = 0.05

COLD = Ask("one key cold", ALICE, (CAROL,), over=f"{B} or {D}")
WARM = replace(COLD, what="one key warm")
APART = replace(COLD, what="two shares", over=f"{B} and {D}", demands=(("qss_disjoint_paths", 2),))
HYBRID = replace(COLD, what="ML-KEM-768", demands=(("qss_hybrid", "ml-kem-768"),))
AROUND = replace(COLD, what=f"100, {D} gone", keys=100, bits=1024, over=B)
"""More than is held ready: it has to be relayed now."""


class NotHeld(QssError):
    """No keys were held ready in time."""


async def over_repeaters(saes: Applications) -> list[Delivery]:
    """Exchange keys in every way that the network offers. Raises `NotHeld`."""
    cold = await saes.deliver(COLD)
    await _until_held(saes)
    return [cold, *[await saes.deliver(ask) for ask in (WARM, APART, HYBRID)]]


async def _until_held(saes: Applications) -> None:
    """Wait until the stream, which is used now, has been filled with what will be used next."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (await saes.clients[ALICE].status(CAROL)).stored_key_count >= HELD_KEYS:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise NotHeld(
            f"no keys were held ready for {ALICE} and {CAROL} within {PATIENCE_S:g} s: try again when this machine is "
            "idle"
        ) from None


async def round_a_lost_repeater(saes: Applications, nodes: Nodes, on_step: Callable[[str], None]) -> list[Delivery]:
    """Exchange keys while a repeater is stopped, and start it again."""
    on_step(f"stopping repeater {D}")
    await nodes.stop(D)
    delivery = await saes.deliver(AROUND)
    on_step(f"starting repeater {D} again")
    await nodes.start(D)
    return [delivery]
