"""Draws key for tags of routing on the site's links, reads it, and hands it over (Routing 12.3): a `TagKeySource`.

A range is read once it is durable here, is then erased from the store, and goes to the routing module, or nowhere.
What neighbours draw is given up where nothing tags with them, and if it is longer than any honest range. Held here:
what is being read, and how much key it came to. Not here: when to draw (`core.routing.tag_key`), nor what becomes of
the key (`tag_keeper`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from qss.core.reservation.relay_events import DrawFailure
from qss.core.routing.tag_key import is_range
from qss.model.errors import QssError
from qss.model.identifiers import QksId, StreamId, TransferId
from qss.model.ranges import Range
from qss.ports.tag_key import TagKeyTaker
from qss.runtime.link import LinkRunner
from qss.runtime.relay.relaying import Keys
from qss.runtime.tasks import Defect, Tasks
from qss.transport.telling import Telling
from qss.wire.external import Purpose

MAX_READING = 8
"""Ranges of one neighbour that are read at a time; honest ones draw one after the other."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Drawn:
    """A range that is being read."""

    stream: StreamId
    part: Range
    is_gone: bool = False
    """Its link knows it no more: what that has under this name is another one."""


class TagRanges:
    """A `TagKeySource`, and the `DrawListener` for tags. All methods belong to the event loop's thread."""

    def __init__(
        self, store: Keys, tagging: Collection[QksId], entropy: Callable[[int], bytes], defect: Defect
    ) -> None:
        """Read from `store`, for tags with these neighbours. `entropy` names draws."""
        self._store = store
        self._tagging = frozenset(tagging)
        self._entropy = entropy
        self._links: Mapping[QksId, LinkRunner] = {}
        self._taker: TagKeyTaker | None = None
        self._reading: dict[tuple[QksId, TransferId, bool], _Drawn] = {}
        self._telling = Telling()
        self._reads = Tasks(defect)  # not to be cancelled: each has a range to end
        self.bits: Counter[QksId] = Counter()
        """Key of the link with each neighbour that was drawn for tags, by either end, and not given up."""

    def start(self, links: Mapping[QksId, LinkRunner]) -> None:
        """Draw on these links, which tell of it by `drawn` and `undrawn`."""
        self._links = links

    async def stop(self) -> None:
        """Hand nothing over any more. Can be called twice."""
        self._taker = None
        await self._reads.finished()

    # --- who tags -------------------------------------------------------------------------------------------------

    def serve(self, taker: TagKeyTaker) -> None:
        """As `TagKeySource.serve`."""
        self._taker = taker

    def draw(self, peer: QksId, length: int) -> None:
        """As `TagKeySource.draw`."""
        self._links[peer].draw(TransferId(self._entropy(16)), length, urgent=True, purpose=Purpose.TAGS)

    # --- links ----------------------------------------------------------------------------------------------------

    def drawn(self, peer: QksId, draw: TransferId, stream: StreamId, part: Range, *, own: bool) -> None:
        """As `DrawListener.drawn`."""
        name = peer, draw, own
        before = self._reading.get(name)
        if before is not None:  # it took so long that its link has done with it
            before.is_gone = True
        if before is not None or not self._is_wanted(peer, part):
            self._links[peer].end_draw(draw, used=False)
            return
        self._reading[name] = _Drawn(stream, part)
        self._reads.start_now(self._read(peer, draw, self._reading[name], own=own))

    def undrawn(self, peer: QksId, draw: TransferId, reason: DrawFailure, *, own: bool) -> None:
        """As `DrawListener.undrawn`."""
        drawn = self._reading.get((peer, draw, own))
        if drawn is None:
            self._tell_none(peer, own=own)
        elif reason is DrawFailure.STOPPED:
            drawn.is_gone = True

    def _is_wanted(self, peer: QksId, part: Range) -> bool:
        if self._taker is None or peer not in self._tagging or not is_range(part):
            return False
        return sum(1 for other, _, _ in self._reading if other == peer) < MAX_READING

    async def _read(self, peer: QksId, draw: TransferId, drawn: _Drawn, *, own: bool) -> None:
        try:
            key = await self._store.read_key(drawn.stream, drawn.part)
        except QssError as error:
            if (unsaid := self._telling.unsaid(peer)) is not None:
                _log.error("key for tags of routing cannot be read", peer=peer, reason=str(error), unsaid=unsaid)
            key = None
        del self._reading[peer, draw, own]
        if not drawn.is_gone:  # the other end may be using it, whatever becomes of it here
            self._links[peer].end_draw(draw, used=True)
        if key is None or self._taker is None:
            self._tell_none(peer, own=own)
            return
        self.bits[peer] += 8 * len(drawn.part)
        self._taker.tag_key_came(peer, drawn.stream, drawn.part, key, own=own)

    def _tell_none(self, peer: QksId, *, own: bool) -> None:
        if own and self._taker is not None:
            self._taker.no_tag_key(peer)
