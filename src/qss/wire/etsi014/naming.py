"""Idempotency names: where a caller puts one, and what it may look like.

A name travels in the header `Idempotency-Key`, or in the body: Get key has it as an optional extension, Get key with
key IDs in `key_IDs_extension`. Both places may be used, if they say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from qss.model.errors import BadRequest

HEADER = "idempotency-key"
"""The header's name, in lower case."""

EXTENSION = "qss_idempotency_key"
"""The member's name in the body."""

_NAME = re.compile(r"[!#-\[\]-~]{1,255}")
_ALLOWED = "use 1 to 255 printable ASCII characters without spaces, quotes and backslashes, such as a UUID"


def parse_header(headers: Mapping[str, str]) -> str | None:
    """Return the name in the header, with or without quotes, or None. Raises `BadRequest`."""
    text = headers.get(HEADER)
    if text is None:
        return None
    text = text.strip(" \t")
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return _checked(text[1:-1] if quoted else text, "the header Idempotency-Key")


def parse_extension(value: object) -> str:
    """Return the name in an extension's value. Raises `BadRequest`."""
    if not isinstance(value, str):
        raise BadRequest(f"{EXTENSION} shall be a string: {_ALLOWED}")
    return _checked(value, EXTENSION)


def agreed(in_header: str | None, in_body: str | None) -> str | None:
    """Return the one name that a request has, or None. Raises `BadRequest` if it has two."""
    if None not in (in_header, in_body) and in_header != in_body:
        raise BadRequest(f"the header Idempotency-Key and {EXTENSION} differ: give one name")
    return in_body if in_header is None else in_header


def _checked(text: str, where: str) -> str:
    if not _NAME.fullmatch(text):
        raise BadRequest(f"{where} holds no usable name: {_ALLOWED}")
    return text
