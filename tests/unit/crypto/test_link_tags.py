"""One-time tags between neighbours: the standard's vector, plain re-computation, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.crypto.link_tags import TAG_KEY_BYTES, check_tag, make_tag
from qss.model.errors import LocalProtocolError, Unauthorised
from qss.model.key_material import KeyMaterial
from support.plain_ciphers import poly1305

KEY = KeyMaterial(bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"))
TEXT = b"Cryptographic Forum Research Group"
TAG = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")


def test_the_vector_of_rfc_8439_clause_2_5_2() -> None:
    assert make_tag(KEY, TEXT) == TAG
    check_tag(KEY, TEXT, TAG)


@given(st.binary(min_size=TAG_KEY_BYTES, max_size=TAG_KEY_BYTES), st.binary(max_size=200))
def test_tags_are_those_of_the_standard(key: bytes, text: bytes) -> None:
    assert make_tag(KeyMaterial(key), text) == poly1305(key, text)


@pytest.mark.parametrize(
    ("key", "text", "tag"),
    [
        (KEY, TEXT, TAG[:15] + b"x"),
        (KEY, TEXT, TAG[:15]),
        (KEY, TEXT, b""),
        (KEY, TEXT + b"\0", TAG),
        (KeyMaterial(bytes(32)), TEXT, TAG),
    ],
)
def test_a_tag_of_something_else_is_refused(key: KeyMaterial, text: bytes, tag: bytes) -> None:
    with pytest.raises(Unauthorised, match="not made with this link's key") as refused:
        check_tag(key, text, tag)
    assert key.reveal().hex() not in str(refused.value)


@pytest.mark.parametrize("length", [0, 31, 33, 2048])
def test_key_of_another_length_is_a_defect(length: int) -> None:
    key = KeyMaterial(bytes(length))
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        make_tag(key, TEXT)
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        check_tag(key, TEXT, TAG)
