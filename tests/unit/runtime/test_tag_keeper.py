"""Key for tags, piece by piece: each for one tag, and gone after that."""

from __future__ import annotations

import pytest

from qss.core.routing.tag_key import PIECE_BYTES, TagRange
from qss.crypto.link_tags import make_tag
from qss.model.errors import LocalProtocolError, Unauthorised
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.runtime.tag_keeper import TagKeeper

A, B = QksId("A"), QksId("B")
STREAM, PART = StreamId(bytes(16)), Range(1000, 1000 + 4 * PIECE_BYTES)
KEY = KeyMaterial(bytes(range(4 * PIECE_BYTES)))


def at(number: int) -> TagRange:
    return TagRange(STREAM, PART, PART.start + number * PIECE_BYTES)


def piece(number: int) -> KeyMaterial:
    return KEY[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]


@pytest.fixture
def keeper() -> TagKeeper:
    keeper = TagKeeper()
    for own in (True, False):
        keeper.put(B, STREAM, PART, KEY, own=own)
    return keeper


def check(keeper: TagKeeper, number: int, tag: bytes, text: bytes = b"text") -> None:
    keeper.check(B, at(0), at(number).place, text, tag)


def test_each_piece_tags_what_it_is_asked_for_once(keeper: TagKeeper) -> None:
    assert [keeper.tag(B, at(n), b"text") for n in (0, 2, 3)] == [make_tag(piece(n), b"text") for n in (0, 2, 3)]
    for number in range(5):
        with pytest.raises(LocalProtocolError, match="not here, or was used"):
            keeper.tag(B, at(number), b"another text")


def test_each_piece_checks_one_tag_that_is_good_and_any_number_of_others(keeper: TagKeeper) -> None:
    for _ in range(3):
        with pytest.raises(Unauthorised):
            check(keeper, 1, bytes(16))
    check(keeper, 1, make_tag(piece(1), b"text"))
    for number in (0, 1):
        with pytest.raises(LocalProtocolError):
            check(keeper, number, make_tag(piece(number), b"text"))
    check(keeper, 3, make_tag(piece(3), b"text"))


def test_what_was_used_is_not_kept(keeper: TagKeeper) -> None:
    keeper.tag(B, at(1), b"text")
    (left,) = [left for name, left in keeper._kept.items() if name[-1]]
    assert left.key.reveal() == KEY.reveal()[2 * PIECE_BYTES :]


def test_the_ends_of_a_link_and_its_neighbours_do_not_share_key(keeper: TagKeeper) -> None:
    keeper.forget(B, STREAM, PART, own=True)
    with pytest.raises(LocalProtocolError, match="is not here"):
        keeper.tag(B, at(0), b"text")
    with pytest.raises(LocalProtocolError, match="is not here"):
        keeper.check(A, at(0), PART.start, b"text", bytes(16))
    check(keeper, 0, make_tag(piece(0), b"text"))
    keeper.forget(B, STREAM, PART, own=False)
    keeper.forget(B, STREAM, PART, own=False)
    assert len(keeper) == 0


def test_nothing_shows_key(keeper: TagKeeper) -> None:
    assert KEY[:8].reveal().hex() not in repr(vars(keeper))
    assert repr(KEY[:8].reveal())[2:-1] not in repr(vars(keeper))
