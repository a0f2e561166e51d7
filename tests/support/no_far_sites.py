"""End-to-end streams of a site that has none."""

from __future__ import annotations

from qss.model.errors import Unavailable
from qss.model.identifiers import QksId
from qss.model.keys import Priority
from qss.model.relay_policy import RelayPolicy
from qss.runtime.link import LinkRunner


class NoFarSites:
    """Implements `qss.runtime.end_to_end.EndToEnd`."""

    def link(self, peer: QksId) -> LinkRunner:
        raise Unavailable(f"nothing is relayed to {peer} in this test")

    async def filled(self, peer: QksId, policy: RelayPolicy, length: int, priority: Priority) -> None:
        raise AssertionError("there was no link")
