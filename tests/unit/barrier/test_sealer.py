"""The sealed form of a block, and when the subkey is renewed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.barrier.sealer import OVERHEAD_BYTES, Sealer
from qss.crypto.sealing import NONCE_BYTES, SALT_BYTES, derive_subkey
from qss.model.errors import KeyRingError, Tampered
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.store import SealedBlock
from support.store_records import SITE, stream_id

DATA_KEY = KeyMaterial(bytes(range(32)))
SECRET = bytes(range(100, 164))


def counting_entropy() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda length: next(numbers).to_bytes(length)


def sealer(data_key: KeyMaterial = DATA_KEY, site: QksId = SITE, seals_per_subkey: int = 1 << 24) -> Sealer:
    return Sealer(data_key, site, counting_entropy(), seals_per_subkey=seals_per_subkey)


def salt_of(block: SealedBlock) -> bytes:
    return block.sealed[1 : 1 + SALT_BYTES]


def nonce_of(block: SealedBlock) -> int:
    return int.from_bytes(block.sealed[1 + SALT_BYTES : 1 + SALT_BYTES + NONCE_BYTES])


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 2**62))
def test_what_was_sealed_opens(secret: bytes, start: int) -> None:
    block = sealer().seal(stream_id(1), start, secret)
    assert (block.stream, block.start, block.length) == (stream_id(1), start, len(secret))
    assert len(block.sealed) == len(secret) + OVERHEAD_BYTES
    assert sealer().open(block) == secret  # another process with the same data key


def test_the_format_is_version_salt_nonce_body() -> None:
    block = sealer().seal(stream_id(1), 0, SECRET)
    assert block.sealed[0] == 1
    assert salt_of(block) == (1).to_bytes(SALT_BYTES)
    assert nonce_of(block) == 0
    assert SECRET not in block.sealed


def test_nonces_count_and_the_salt_is_renewed_before_they_end() -> None:
    it = sealer(seals_per_subkey=3)
    blocks = [it.seal(stream_id(1), 0, SECRET) for _ in range(7)]
    assert [nonce_of(block) for block in blocks] == [0, 1, 2, 0, 1, 2, 0]
    assert [int.from_bytes(salt_of(block)) for block in blocks] == [1, 1, 1, 2, 2, 2, 3]
    assert all(it.open(block) == SECRET for block in blocks)


def test_every_process_has_a_salt_of_its_own() -> None:
    salts = {salt_of(Sealer(DATA_KEY, SITE, os.urandom).seal(stream_id(1), 0, SECRET)) for _ in range(20)}
    assert len(salts) == 20


def test_many_salts_are_readable_though_few_subkeys_are_kept() -> None:
    it = sealer(seals_per_subkey=1)
    blocks = [it.seal(stream_id(1), number, SECRET) for number in range(600)]
    assert all(it.open(block) == SECRET for block in blocks)
    assert len(it._subkeys) <= 256


@given(st.integers(0, len(SECRET) + OVERHEAD_BYTES - 1), st.integers(1, 255))
def test_any_altered_byte_is_noticed(position: int, difference: int) -> None:
    block = sealer().seal(stream_id(1), 64, SECRET)
    altered = bytearray(block.sealed)
    altered[position] ^= difference
    with pytest.raises(Tampered):
        sealer().open(SealedBlock(block.stream, block.start, block.length, bytes(altered)))


@given(st.integers(0, len(SECRET) + OVERHEAD_BYTES - 1))
def test_any_truncation_is_noticed(length: int) -> None:
    block = sealer().seal(stream_id(1), 64, SECRET)
    for claimed in {block.length, max(0, length - OVERHEAD_BYTES)}:
        with pytest.raises(Tampered):
            sealer().open(SealedBlock(block.stream, block.start, claimed, block.sealed[:length]))


@pytest.mark.parametrize(("stream", "start"), [(stream_id(2), 64), (stream_id(1), 65), (stream_id(1), 0)])
def test_a_moved_block_is_noticed(stream: StreamId, start: int) -> None:
    block = sealer().seal(stream_id(1), 64, SECRET)
    with pytest.raises(Tampered, match=str(stream)):
        sealer().open(SealedBlock(stream, start, block.length, block.sealed))


def test_another_site_or_data_key_does_not_open_it() -> None:
    block = sealer().seal(stream_id(1), 64, SECRET)
    with pytest.raises(Tampered):
        sealer(site=QksId("AB")).open(block)
    with pytest.raises(Tampered):
        sealer(data_key=KeyMaterial(bytes(32))).open(block)


def test_a_data_key_of_another_size_is_refused() -> None:
    with pytest.raises(KeyRingError, match="32"):
        sealer(data_key=KeyMaterial(bytes(16)))


def test_subkeys_are_those_of_rfc_5869() -> None:
    # RFC 5869, test case 1: its first 32 bytes of output.
    subkey = derive_subkey(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert subkey.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
