"""Key that a routing module tags with, and makes and checks tags with (Routing 12.5 and 12.6): a `Tagger`.

It lives in this process and nowhere else. A piece that was used is gone from here, with all before it: whoever asked
for it again, by mistake, would get an error and no second tag. Which piece is used for what is the core's to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.core.routing.tag_key import PIECE_BYTES, TagRange
from qss.crypto.link_tags import check_tag, make_tag
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range

_Name = tuple[QksId, StreamId, Range, bool]
"""Neighbour, key stream, the whole range, and whether this end drew it."""


@dataclass(slots=True)
class _Left:
    place: int
    key: KeyMaterial

    def piece(self, place: int) -> KeyMaterial:
        """Return the piece at this place."""
        begin = place - self.place
        if begin < 0 or begin + PIECE_BYTES > len(self.key):
            raise LocalProtocolError("a piece of key for tags was to be used that is not here, or was used")
        return self.key[begin : begin + PIECE_BYTES]

    def drop_to(self, place: int) -> None:
        """Keep nothing that lies before this place."""
        self.key, self.place = self.key[place - self.place :], place


class TagKeeper:
    """The key for tags of one site's links. All methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._kept: dict[_Name, _Left] = {}

    def __len__(self) -> int:
        """Return how many ranges are kept."""
        return len(self._kept)

    def put(self, peer: QksId, stream: StreamId, part: Range, key: KeyMaterial, *, own: bool) -> None:
        """Keep a range."""
        self._kept[peer, stream, part, own] = _Left(part.start, key)

    def forget(self, peer: QksId, stream: StreamId, part: Range, *, own: bool) -> None:
        """Keep it no more."""
        self._kept.pop((peer, stream, part, own), None)

    def tag(self, peer: QksId, key: TagRange, text: bytes) -> bytes:
        """Return the tag of `text`, as `Tagger.tag`. Raises `LocalProtocolError` if its key was used."""
        left = self._left((peer, key.stream, key.part, True))
        piece = left.piece(key.place)
        left.drop_to(key.place + PIECE_BYTES)
        return make_tag(piece, text)

    def check(self, peer: QksId, key: TagRange, place: int, text: bytes, tag: bytes) -> None:
        """Check a tag, as `Tagger.check`; one that is wrong uses nothing up."""
        left = self._left((peer, key.stream, key.part, False))
        check_tag(left.piece(place), text, tag)
        left.drop_to(place + PIECE_BYTES)

    def _left(self, name: _Name) -> _Left:
        if name not in self._kept:
            raise LocalProtocolError("a range of key for tags was to be used that is not here")
        return self._kept[name]
