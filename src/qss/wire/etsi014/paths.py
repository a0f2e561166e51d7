"""Paths of the three methods (ETSI GS QKD 014 V1.1.1, clause 5, table 2).

An SAE ID is one percent-encoded path segment: `sae%3Aalice` and `sae:alice` are the same, and an ID with a slash
travels as `%2F`.
"""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes

from qss.model.errors import BadRequest
from qss.model.identifiers import SaeId, parse_sae_id

PREFIX = "/api/v1/keys"
"""What every path begins with. Some vendors' boxes have another."""


class Method(StrEnum):
    """The three methods, by the last segment of their paths."""

    STATUS = "status"
    ENC_KEYS = "enc_keys"
    DEC_KEYS = "dec_keys"


def render_path(sae: SaeId, method: Method, prefix: str = PREFIX) -> str:
    """Return the path of `method` for the slave SAE (`status`, `enc_keys`) or the master SAE (`dec_keys`)."""
    return f"{prefix}/{quote(sae, safe=':')}/{method}"


def parse_path(path: str) -> tuple[str, Method]:
    """Split a request path, as it came on the wire, into the SAE's segment, still encoded, and the method.

    Raises `BadRequest` for any other path: the standard's tables of status codes know no 404.
    """
    head, _, rest = path.partition(f"{PREFIX}/")
    segment, slash, last = rest.partition("/")
    if head or not slash or last not in Method:
        raise BadRequest(
            "there is nothing at this path: use /api/v1/keys/{SAE_ID}/status, …/enc_keys or …/dec_keys, "
            "with the SAE ID percent-encoded; what administrators ask is answered at the address of admin.listen"
        )
    return segment, Method(last)


def parse_segment(segment: str) -> SaeId:
    """Return the SAE ID that a path segment spells. Raises `BadRequest` if it is blank or no SAE ID."""
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the SAE ID in the path is not UTF-8: percent-encode it from UTF-8") from None
    return parse_sae_id(text)
