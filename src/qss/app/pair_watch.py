"""What keeps a device pair from yielding key, in words; and the log's line about pairs that have been so for a minute.

Held here: which of a pair's facts is told first. Not here: the facts (`overview`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from qss.core.module import Phase
from qss.wire.status import LinkStatus, ModuleState, SiteStatus

WARNED_S = 60.0
"""A pair that has had no key stream for so long is told in the log; so is, in words, a device that owes a block."""

_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


def trouble_of(
    *,
    name: str | None,
    registered: bool,
    exchange: bool,
    link_up: bool,
    full: bool,
    up: bool,
    module: ModuleState | None,
) -> str:
    """Return why no key comes of a pair, or what its device has to say; nothing if all is well.

    `name` is that of a module in a process of its own, `full` whether its link has as much key as is kept.
    """
    if not exchange:
        return "its exchange is stopped here; `qss module start` starts it"
    if name is not None and not registered:
        return f"module {name} is not registered here: it is not running, or does not reach this site"
    if module is not None and module.device.note:
        return module.device.note
    if module is not None and module.owed_s >= WARNED_S:
        return f"its device has yielded nothing for {module.owed_s} s"
    if up:
        return ""
    if full:
        return "the link is full: no key stream is needed until there is room"
    if not link_up:
        return "the key server at the other end is not connected"
    if module is not None and module.phase == Phase.DOWN:
        return "its module has no Sync connection to the one at the other end"
    return "the other end does not open or join its key stream; see its log"


def _is_full(link: LinkStatus) -> bool:
    """Whether a link has as much key of its own as is kept."""
    return sum(stream.available for stream in link.streams if not stream.policy) >= link.capacity_bits


async def watch_pairs(
    look: Callable[[], SiteStatus],
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Log, for ever, which pairs have had no key stream for a minute though there is room, and which have one again."""
    since: dict[str, float] = {}
    told: set[str] = set()
    while True:
        for link in look().links:
            for pair in link.pairs:
                if pair.up or not pair.exchange or _is_full(link):
                    since.pop(pair.uuid, None)
                    if pair.up and pair.uuid in told:
                        told.remove(pair.uuid)
                        _log.info("a device pair has a key stream again", peer=link.peer, pair=pair.uuid)
                elif clock() - since.setdefault(pair.uuid, clock()) >= WARNED_S and pair.uuid not in told:
                    told.add(pair.uuid)
                    _log.warning(
                        "no key has come of a device pair for a minute",
                        peer=link.peer,
                        pair=pair.uuid,
                        module=pair.name,
                        reason=pair.trouble,
                    )
        await pause(_PAUSE_S)
