"""Key of the site's links for tags of routing (Routing 12.3): where a routing module and the key server's links meet.

What is handed over here was set aside for this at both ends of the link, is erased from the store, and is nobody
else's. Whoever has it uses each bit of it once.
"""

from __future__ import annotations

from typing import Protocol

from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range


class TagKeyTaker(Protocol):
    """Who tags. No verb waits for anything."""

    def tag_key_came(self, peer: QksId, stream: StreamId, part: Range, key: KeyMaterial, *, own: bool) -> None:
        """A range of the link with `peer` was drawn, by this end (`own`) or by the other, and this is it."""
        ...

    def no_tag_key(self, peer: QksId) -> None:
        """What this end was to draw is not had."""
        ...


class TagKeySource(Protocol):
    """What has key drawn. No verb waits for anything."""

    def serve(self, taker: TagKeyTaker) -> None:
        """Tell `taker` from now on, and nobody else. Before that, and without it, what neighbours draw is given up."""
        ...

    def draw(self, peer: QksId, length: int) -> None:
        """Have so many bytes of the link with `peer` drawn; answered by one call to the taker, perhaps at once."""
        ...
