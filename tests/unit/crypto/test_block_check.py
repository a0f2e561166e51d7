"""The block check: RFC 8439's vector through it, what the tags bind, and that nothing shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto import block_check
from qss.crypto.block_check import CHECK_BYTES, MIN_BLOCK_BYTES, check_block
from qss.model.errors import DeviceError
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from support.plain_ciphers import poly1305

STREAM = StreamId(bytes(range(16)))


def test_the_vector_of_rfc_8439_clause_2_5_2():
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    message = b"Cryptographic Forum Research Group"
    tag = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
    assert poly1305(key, message) == tag
    assert block_check._tag(key, message[:7], message[7:]) == tag


@given(
    payload=st.binary(min_size=MIN_BLOCK_BYTES - CHECK_BYTES, max_size=MIN_BLOCK_BYTES + 40),
    key=st.binary(min_size=CHECK_BYTES, max_size=CHECK_BYTES),
    number=st.integers(0, 2**63),
)
def test_tags_are_poly1305_under_r_and_either_s_over_all_that_they_bind(payload, key, number):
    check = check_block(STREAM, number, KeyMaterial(payload + key))
    bound = STREAM.value + number.to_bytes(8, "big") + len(payload).to_bytes(8, "big") + payload
    assert check.payload.reveal() == payload
    assert check.initiator_tag == poly1305(key[:32], bound)
    assert check.responder_tag == poly1305(key[:16] + key[32:], bound)


def test_every_bit_of_the_rest_and_its_place_changes_both_tags():
    block = bytes((7 * i + 3) % 251 for i in range(MIN_BLOCK_BYTES))
    reference = check_block(STREAM, 5, KeyMaterial(block))
    others = [check_block(STREAM, 6, KeyMaterial(block)), check_block(StreamId(bytes(16)), 5, KeyMaterial(block))]
    for bit in range(0, 8 * (MIN_BLOCK_BYTES - CHECK_BYTES), 61):
        other = bytearray(block)
        other[bit // 8] ^= 1 << bit % 8
        others.append(check_block(STREAM, 5, KeyMaterial(bytes(other))))
    assert all(o.initiator_tag != reference.initiator_tag for o in others)
    assert all(o.responder_tag != reference.responder_tag for o in others)


def test_a_block_that_is_too_short_to_be_worth_it_is_refused():
    with pytest.raises(DeviceError, match="at least 1024"):
        check_block(STREAM, 0, KeyMaterial(bytes(MIN_BLOCK_BYTES - 1)))


def test_neither_payload_nor_tags_show_themselves():
    check = check_block(STREAM, 0, KeyMaterial(b"\xab" * MIN_BLOCK_BYTES))
    assert repr(check) == f"BlockCheck(payload=<{MIN_BLOCK_BYTES - CHECK_BYTES} secret bytes>)"
