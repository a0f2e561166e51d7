"""The demo's patience: waits until the links have gathered key, as both ends of each tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich.progress import Progress

from qss.cli.demo.admins import Admins
from qss.cli.demo.network import LINKS, RATE_BPS
from qss.cli.demo.nodes import Nodes
from qss.client import KeyServerUnreachable
from qss.model.errors import QssError
from qss.model.identifiers import QksId

NEEDED_BITS = 300_000
"""Key that each link gathers before the exchange begins."""

PATIENCE_S = 60.0
"""How long the key may take to gather."""

_POLL_S = 0.1


class NoKey(QssError):
    """Too little key gathered in time."""


async def gather_key(nodes: Nodes, admins: Admins, progress: Progress, on_step: Callable[[str], None]) -> None:
    """Wait until all links have key, at both of their ends. Raises `NoKey`."""
    on_step(f"gathering key from simulated devices of {RATE_BPS // 1000} kbit/s")
    bars = {link: progress.add_task(f"link {'-'.join(link)}", total=NEEDED_BITS) for link in LINKS}
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                nodes.check()
                gathered = {link: await _gathered_bits(admins, *link) for link in bars}
                for link, bar in bars.items():
                    progress.update(bar, completed=min(gathered[link], NEEDED_BITS))
                if min(gathered.values()) >= NEEDED_BITS:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise NoKey(
            f"a link gathered less than {NEEDED_BITS} bits within {PATIENCE_S:g} s: try again when this machine is idle"
        ) from None


async def _gathered_bits(admins: Admins, one: QksId, other: QksId) -> int:
    """Return how much key both ends of a link hold now."""
    return min([await _available(admins, one, other), await _available(admins, other, one)])


async def _available(admins: Admins, site: QksId, peer: QksId) -> int:
    try:
        status = await admins[site].status()
    except KeyServerUnreachable:
        return 0  # a node that is still starting
    return sum(stream.available for link in status.links if link.peer == peer for stream in link.streams)
