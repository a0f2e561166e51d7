"""The line that holds a wrapped data key: any bytes are one, or a `KeyRingError`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.adapters.keyrings import envelope
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

FIELDS = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters=":"), max_size=20)
WRAPPING_KEY = bytes(range(32))


@given(FIELDS, FIELDS, st.binary(max_size=64), st.binary(max_size=100))
def test_what_was_closed_is_read_and_opened(kind, parameters, salt, context) -> None:
    header = envelope.Header(kind, parameters, salt)
    line = envelope.close(header, WRAPPING_KEY, KeyMaterial(b"secret"), context)
    read = envelope.read(line, kind)
    assert read.header == header
    assert envelope.open_(read, WRAPPING_KEY, context, "wrong") == KeyMaterial(b"secret")
    with pytest.raises(KeyRingError, match=r"^wrong$"):
        envelope.open_(read, bytes(32), context, "wrong")


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: b"qss1:" + text.encode()))
def test_anything_else_is_refused(line) -> None:
    with pytest.raises(KeyRingError, match="the sealed data key is damaged; restore"):
        envelope.read(line, "key-file")


def test_a_context_is_no_part_of_the_header() -> None:
    """Bytes that move from one to the other make another binding."""
    line = envelope.close(envelope.Header("k", "p", b""), WRAPPING_KEY, KeyMaterial(b"secret"), b"context")
    read = envelope.read(line, "k")
    moved = envelope.Envelope(envelope.Header("k", "p", b""), read.nonce, read.sealed)
    for context in (b":context", b"", b"k:p::context"):
        with pytest.raises(KeyRingError):
            envelope.open_(moved, WRAPPING_KEY, context, "wrong")


def test_no_line_is_longer_than_is_read() -> None:
    header = envelope.Header("k", "p" * 5000, b"")
    line = envelope.close(header, WRAPPING_KEY, KeyMaterial(b"secret"), b"")
    with pytest.raises(KeyRingError, match="damaged"):
        envelope.read(line, "k")
