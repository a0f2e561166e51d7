"""What a key server needs of the site's end-to-end key streams."""

from __future__ import annotations

from typing import Protocol

from qss.model.identifiers import QksId
from qss.model.keys import Priority
from qss.model.relay_policy import RelayPolicy
from qss.runtime.link import LinkRunner

RETRY_S = 0.02
"""After so long keys are asked for anew that somebody else took first."""

RETRIES = 20
"""So often."""


class EndToEnd(Protocol):
    """The site's end-to-end key streams."""

    def link(self, peer: QksId) -> LinkRunner:
        """Return what reserves keys with a site, neighbour or not. Raises `LimitReached`."""
        ...

    async def filled(self, peer: QksId, policy: RelayPolicy, length: int, priority: Priority) -> None:
        """Return when the stream of this policy has `length` bytes to allocate at once, as far as is known here.

        Who waits as well, and has a higher priority, comes first. Raises `Unavailable` if that does not come about in
        time.
        """
        ...
