"""The exchange of databases with the neighbours (Routing 5): which Summaries, Requests and Updates follow upon which.

Held here: the steps. Not here: what one neighbour has told and was asked for (`request_list`), nor how far the
adjacency with it has come (`adjacency`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qss.core.routing.events import Reason
from qss.core.routing.neighbour import Neighbour
from qss.core.routing.shared import Shared
from qss.model.identifiers import QksId
from qss.wire.routing import Key, Summary


class DatabaseExchange:
    """Chapter 5, with all neighbours."""

    def __init__(self, shared: Shared, became_full: Callable[[], None]) -> None:
        """Begin. `became_full` is called when the adjacency with a neighbour has become full."""
        self._shared = shared
        self._became_full = became_full

    def summary(self, peer: QksId, neighbour: Neighbour, message: Summary) -> None:
        """Take in a Summary; after the last one ask for what is newer there, and send the other (Routing 5.2)."""
        database = self._shared.database
        neighbour.requests.take(message, database)
        if message.more:
            return
        found = neighbour.requests.complete(database, self._shared.now)
        if found is None:
            self._shared.drop(peer, Reason.SUMMARIES, None)
            return
        ask, lacking = found
        neighbour.ask(ask)
        for instance in lacking:
            neighbour.offer(instance)
        neighbour.adjacency.told()
        self.check(neighbour)

    def requested(self, neighbour: Neighbour, keys: Iterable[Key]) -> None:
        """Answer a Request (Routing 5.3)."""
        for key in keys:
            instance = self._shared.database.get(key)
            if instance is not None:
                neighbour.offer(instance)

    def tend(self, neighbour: Neighbour) -> None:
        """Ask once more for what has not come, and then let it be (Routing 5.4), unless it has to wait for key."""
        if neighbour.tags.is_ready:
            neighbour.ask(neighbour.requests.overdue(self._shared.now, self._shared.settings.request_s))
        self.check(neighbour)

    def check(self, neighbour: Neighbour) -> None:
        """Whether all that was asked for has come (Routing 5.4), and what is new can come and go (12.7)."""
        if not neighbour.requests.asked and neighbour.tags.is_ready and neighbour.adjacency.loaded():
            self._became_full()
