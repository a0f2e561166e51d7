"""Waiting for a vendor's box: pauses that grow to a bound, and how long what is waited for.

A box that has too little key is waited for without end: key comes when it comes. A box that does not answer is waited
for a while; then the key stream ends, so that the reason is seen at the link, and the next stream tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import structlog

from qss.client.errors import KeyServerRefused, KeyServerUnreachable
from qss.model.errors import ConnectionLost, DeviceError, Shortage

_TOO_MANY_REQUESTS = 429

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How a box is waited for. Times in seconds."""

    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0
    """Pauses double from the first to this."""
    silence_s: float = 60.0
    """How long a box may fail to answer, or say that it is broken."""
    late_s: float = 2.0
    """How long a key may be missing at the slave's box: the boxes may tell each other later than we do."""
    losses: int = 8
    """After so many requests in a row whose keys are missing there, the boxes are no pair."""

    def pauses(self) -> Iterator[float]:
        """Yield how long to pause, before the second try and every further one."""
        pause = self.first_pause_s
        while True:
            yield pause
            pause = min(2 * pause, self.longest_pause_s)


async def until_answered[T](ask: Callable[[], Awaitable[T]], patience: Patience, tell: Callable[[str], None]) -> T:
    """Ask a box until it answers. `Shortage` is waited for without end. `tell` hears what is waited for, then "".

    Raises `DeviceError` once the box was silent or broken for too long, `KeyServerRefused` for refusals that do not
    pass by themselves, and what else `ask` raises.
    """
    now = asyncio.get_running_loop().time
    silent_since: float | None = None
    waiting = False
    for pause in patience.pauses():
        try:
            answer = await ask()
        except Shortage as error:
            reason, silent_since = str(error), None
        except (KeyServerUnreachable, KeyServerRefused, ConnectionLost) as error:
            if isinstance(error, KeyServerRefused) and not _passes(error.status):
                raise
            reason = str(error)
            silent_since = now() if silent_since is None else silent_since
            if now() + pause - silent_since > patience.silence_s:
                raise DeviceError(f"the box gave no usable answer for {patience.silence_s:g} s: {reason}") from error
        else:
            tell("")
            return answer
        if not waiting:
            _log.info("waiting for the vendor's box", reason=reason)
            waiting = True
        tell(f"waiting for the vendor's box: {reason}")
        await asyncio.sleep(pause)
    raise AssertionError("pauses do not end")


def _passes(status: int) -> bool:
    return status >= 500 or status == _TOO_MANY_REQUESTS
