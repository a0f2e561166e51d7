"""One-time tags between neighbours: Poly1305 under 32 fresh bytes of their link's key (Routing 12.5; RFC 8439, 2.5).

A tag holds against whoever can compute anything: of a text of `n` bytes that somebody chooses, the tag is guessed with
a chance of at most 8 * ceil(n / 16) / 2^106. That is so while the key has tagged nothing else. Refused: key of any
other length. Not here: what a text is made of (`wire.routing`), nor that each piece of key is used once
(`core.routing.tag_key`).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qss.model.errors import LocalProtocolError, Unauthorised
from qss.model.key_material import KeyMaterial

TAG_KEY_BYTES = 32
"""Bytes of key that one tag takes."""


def make_tag(key: KeyMaterial, text: bytes) -> bytes:
    """Return the tag of `text`, 16 bytes. Raises `LocalProtocolError` for key of another length than 32 bytes."""
    return Poly1305.generate_tag(_whole(key), text)


def check_tag(key: KeyMaterial, text: bytes, tag: bytes) -> None:
    """Raise `Unauthorised` unless this is the tag of `text`, and `LocalProtocolError` as `make_tag`."""
    try:
        Poly1305.verify_tag(_whole(key), text, tag)
    except InvalidSignature:
        raise Unauthorised(
            "the tag was not made with this link's key; if nobody is between the two sites, see that the device pair "
            "joins just these two"
        ) from None


def _whole(key: KeyMaterial) -> bytes:
    if len(key) != TAG_KEY_BYTES:
        raise LocalProtocolError(f"a tag takes {TAG_KEY_BYTES} bytes of key, not {len(key)}")
    return key.reveal()
