"""The sealing of one hop: vectors, plain re-computation, what the tag binds, and that nothing shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto.hops import TAG_BYTES, Sealed, key_bytes, open_sealed, seal
from qss.model.errors import LocalProtocolError, TransferVoid
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.relay_policy import Hop
from qss.wire.relay import Begin, hop_context
from support.plain_ciphers import aes_256_gcm, poly1305

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "relay" / "hops.json").read_text("utf-8"))["hops"]

HOPS = st.sampled_from(Hop)
LENGTH = 1072


def bits(seed: int, length: int) -> bytes:
    return bytes((seed + 7 * place + place * place // 5) % 256 for place in range(length))


def key_for(hop: Hop, length: int = LENGTH) -> KeyMaterial:
    return KeyMaterial(bits(3, key_bytes(hop, length)))


def plainly_sealed(hop: Hop, key: bytes, context: bytes, content: bytes) -> Sealed:
    """What `seal` is to return, by code that shares nothing with it."""
    if hop is Hop.AES_256_GCM:
        return Sealed(*aes_256_gcm(key[:32], key[32:], content, context))
    sealed = bytes(one ^ pad for one, pad in zip(content, key, strict=False))
    return Sealed(sealed, poly1305(key[len(content) :], context + sealed))


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_key_takes_as_many_bytes_as_the_page_says() -> None:
    assert [key_bytes(Hop.ONE_TIME_PAD, length) for length in (1072, 262_192)] == [1104, 262_224]
    assert [key_bytes(Hop.AES_256_GCM, length) for length in (1072, 262_192)] == [44, 44]


def test_test_case_16_of_the_specification_of_gcm() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation: AES-256, with associated data."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2 + "cafebabefacedbaddecaf888")
    content = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
        "b16aedf5aa0de657ba637b39"
    )
    context = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = seal(Hop.AES_256_GCM, KeyMaterial(key), context, KeyMaterial(content))
    assert sealed.sealed.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
        "c5f61e6393ba7a0abcc9f662"
    )
    assert sealed.tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"
    assert plainly_sealed(Hop.AES_256_GCM, key, context, content) == sealed


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["begin"]["hop"])
def test_the_vectors(vector: dict[str, object]) -> None:
    told, link = vector["begin"], vector["link"]
    assert isinstance(told, dict)
    assert isinstance(link, dict)
    begin = Begin(
        **told | {name: bytes.fromhex(told[name]) for name in ("transfer", "stream")} | {"path": (*told["path"],)}
    )
    part = Range(link["start"], link["stop"])
    stream = StreamId(bytes.fromhex(link["stream"]))
    context = hop_context(begin, QksId(link["sender"]), QksId(link["receiver"]), link["place"], stream, part)
    assert context.hex() == vector["context"]
    key, content, sealed, tag = (bytes.fromhex(str(vector[name])) for name in ("key", "content", "sealed", "tag"))
    hop = Hop(begin.hop)
    assert len(key) == len(part) == key_bytes(hop, begin.length)
    assert seal(hop, KeyMaterial(key), context, KeyMaterial(content)) == Sealed(sealed, tag)
    assert open_sealed(hop, KeyMaterial(key), context, sealed, tag) == KeyMaterial(content)
    assert plainly_sealed(hop, key, context, content) == Sealed(sealed, tag)


def test_there_is_a_vector_of_each_strategy() -> None:
    assert {vector["begin"]["hop"] for vector in VECTORS} == set(Hop)


@given(hop=HOPS, content=st.binary(min_size=1, max_size=200), context=st.binary(max_size=100), seed=st.integers(0, 255))
def test_it_is_what_plain_code_computes(hop: Hop, content: bytes, context: bytes, seed: int) -> None:
    key = bits(seed, key_bytes(hop, len(content)))
    made = seal(hop, KeyMaterial(key), context, KeyMaterial(content))
    assert made == plainly_sealed(hop, key, context, content)
    assert (len(made.sealed), len(made.tag)) == (len(content), TAG_BYTES)


# --- and back -------------------------------------------------------------------------------------------------------


@given(hop=HOPS, content=st.binary(min_size=1, max_size=2000), context=st.binary(max_size=100))
def test_what_is_sealed_opens_again(hop: Hop, content: bytes, context: bytes) -> None:
    key = key_for(hop, len(content))
    made = seal(hop, key, context, KeyMaterial(content))
    assert open_sealed(hop, key, context, made.sealed, made.tag) == KeyMaterial(content)


@pytest.mark.parametrize("hop", Hop)
def test_any_bit_that_is_another_voids_the_transfer(hop: Hop) -> None:
    key, context, content = key_for(hop), b"a context", KeyMaterial(bits(9, LENGTH))
    made = seal(hop, key, context, content)
    given = [key.reveal(), context, made.sealed, made.tag]
    tried = 0
    for part, value in enumerate(given):
        for bit in range(0, 8 * len(value), 1 if len(value) < 50 else 101):
            other = bytearray(value)
            other[bit // 8] ^= 1 << bit % 8
            parts = [*given[:part], bytes(other), *given[part + 1 :]]
            if part == 0 and hop is Hop.ONE_TIME_PAD and not authenticates(bit, len(value)):
                continue
            with pytest.raises(TransferVoid):
                open_sealed(hop, KeyMaterial(parts[0]), parts[1], parts[2], parts[3])
            tried += 1
    assert tried > 200


def authenticates(bit: int, length: int) -> bool:
    """Whether this bit of the key enters a one-time pad's tag: those of the pad do not, nor do some of r."""
    place = bit // 8 - (length - 32)
    return (
        place >= 0
        and not (place % 4 == 3 and place < 16 and bit % 8 >= 4)
        and not (place in (4, 8, 12) and bit % 8 < 2)
    )


def test_context_and_sealed_bytes_are_told_apart_by_the_context() -> None:
    """A hop's context says by itself where it ends, so nothing that is sealed can be taken for a part of it."""
    hops = [vector["context"] for vector in VECTORS]
    assert not any(one != other and one.startswith(other) for one in hops for other in hops)


@pytest.mark.parametrize("hop", Hop)
@pytest.mark.parametrize("wrong", [-1, 1])
def test_key_of_another_length_is_a_defect(hop: Hop, wrong: int) -> None:
    key = KeyMaterial(bits(3, key_bytes(hop, LENGTH) + wrong))
    with pytest.raises(LocalProtocolError, match="were drawn"):
        seal(hop, key, b"", KeyMaterial(bits(9, LENGTH)))
    with pytest.raises(LocalProtocolError, match="were drawn"):
        open_sealed(hop, key, b"", bits(9, LENGTH), bytes(TAG_BYTES))


@pytest.mark.parametrize("hop", Hop)
def test_what_does_not_open_says_the_same_of_any_key_and_content(hop: Hop) -> None:
    said = set()
    for byte in (b"\xab", b"\xcd"):
        key = KeyMaterial(byte * key_bytes(hop, LENGTH))
        made = seal(hop, key, b"", KeyMaterial(byte * LENGTH))
        assert repr(made) == "Sealed()"
        with pytest.raises(TransferVoid) as void:
            open_sealed(hop, key, b"other", made.sealed, made.tag)
        assert void.value.__cause__ is None
        said.add(str(void.value))
    assert len(said) == 1
