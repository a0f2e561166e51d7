"""Which keys make which block: both ends the same, whatever is dropped, and nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.adapters.devices import key_blocks
from qss.adapters.devices.key_blocks import KeyBlocks, KnownIds
from qss.model.errors import DeviceError, LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import KeyId
from qss.model.key_material import KeyMaterial


def ids(first: int, count: int) -> list[KeyId]:
    return [KeyId(number.to_bytes(16)) for number in range(first, first + count)]


def keys(first: int, count: int, size: int) -> list[KeyMaterial]:
    return [KeyMaterial(number.to_bytes(size)) for number in range(first, first + count)]


def test_a_block_is_the_fewest_whole_keys_and_is_asked_for_in_parts() -> None:
    blocks = KeyBlocks(32, 1024, 10, KnownIds())
    asked = []
    while (block := blocks.take()) is None:
        count, first = blocks.next_number, sum(asked)
        blocks.offered(ids(first, count))
        blocks.held(keys(first, count, 32))
        asked.append(count)
    assert asked == [10, 10, 10, 2]
    assert block.reveal() == b"".join(key.reveal() for key in keys(0, 32, 32))
    assert blocks.take() is None
    assert blocks.next_number == 10


def test_keys_that_do_not_divide_the_block_make_it_longer() -> None:
    blocks = KeyBlocks(1000, 1024, 10, KnownIds())
    assert blocks.next_number == 2
    blocks.offered(ids(0, 2))
    blocks.held(keys(0, 2, 1000))
    block = blocks.take()
    assert block is not None
    assert len(block) == 2000


@given(
    st.integers(1, 3000),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=200),
)
def test_both_ends_make_the_same_blocks_of_what_was_held(size, most, answers) -> None:
    master, slave = KeyBlocks(size, 1024, most, KnownIds()), KeyBlocks(size, 1024, 1024, KnownIds())
    first, held, dropped, made = 0, b"", 0, b""
    for answered, there in answers:
        count = min(answered, master.next_number)
        for end in (master, slave):
            end.offered(ids(first, count))
        if there:
            material = keys(first % 200, count, size) if size == 1 else keys(first, count, size)
            held += b"".join(key.reveal() for key in material)
            for end in (master, slave):
                end.held(material)
        else:
            dropped += count * size
            for end in (master, slave):
                end.dropped()
        first += count
        one, two = master.take(), slave.take()
        assert one == two
        if one is not None:
            assert 1024 <= len(one) < 1024 + size
            made += one.reveal()
    assert held.startswith(made)
    assert master.dropped_bytes == slave.dropped_bytes == dropped


def test_a_box_with_fewer_keys_is_asked_for_those_until_it_answers() -> None:
    blocks = KeyBlocks(32, 1024, 128, KnownIds())
    assert blocks.next_number == 32
    blocks.short(5)
    assert blocks.next_number == 5
    blocks.short(None)
    assert blocks.next_number == 32
    blocks.short(0)
    assert blocks.next_number == 32
    blocks.short(3)
    blocks.offered(ids(0, 3))
    blocks.held(keys(0, 3, 32))
    assert blocks.next_number == 29


def test_a_key_id_that_comes_again_ends_it() -> None:
    blocks = KeyBlocks(32, 1024, 128, KnownIds())
    with pytest.raises(DeviceError, match="second time"):
        blocks.offered([*ids(0, 1), *ids(0, 1)])
    blocks.offered(ids(0, 3))
    blocks.dropped()
    with pytest.raises(DeviceError, match="second time"):
        blocks.offered(ids(2, 3))


def test_a_key_id_of_an_earlier_stream_ends_it() -> None:
    known = KnownIds()
    KeyBlocks(32, 1024, 128, known).offered(ids(0, 3))
    later = KeyBlocks(32, 1024, 128, known)
    later.offered(ids(3, 1))
    later.dropped()
    with pytest.raises(DeviceError, match="second time"):
        later.offered(ids(2, 1))


def test_key_ids_are_remembered_up_to_a_limit(monkeypatch) -> None:
    monkeypatch.setattr(key_blocks, "REMEMBERED_IDS", 64)
    blocks = KeyBlocks(32, 1024, 1, KnownIds())
    for first in range(64):
        blocks.offered(ids(first, 1))
        blocks.dropped()
    with pytest.raises(DeviceError):
        blocks.offered(ids(0, 1))
    blocks.offered(ids(64, 1))
    blocks.dropped()
    blocks.offered(ids(0, 1))


def test_more_than_the_block_needs_is_refused() -> None:
    for count in (0, 33):
        with pytest.raises(RemoteProtocolError, match="complete the block"):
            KeyBlocks(32, 1024, 128, KnownIds()).offered(ids(0, count))


def test_what_is_out_of_order_is_a_defect() -> None:
    blocks = KeyBlocks(32, 1024, 128, KnownIds())
    for settle in (blocks.dropped, lambda: blocks.held([])):
        with pytest.raises(LocalProtocolError):
            settle()
    blocks.offered(ids(0, 2))
    for wrong in (
        lambda: blocks.offered(ids(2, 1)),
        lambda: blocks.held(keys(0, 1, 32)),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()


def test_offers_dropped_in_a_row_are_counted() -> None:
    blocks = KeyBlocks(32, 1024, 128, KnownIds())
    for first in range(3):
        blocks.offered(ids(first, 1))
        blocks.dropped()
    assert blocks.dropped_in_a_row == 3
    blocks.offered(ids(3, 1))
    blocks.held(keys(3, 1, 32))
    assert blocks.dropped_in_a_row == 0
    assert blocks.dropped_bytes == 96
