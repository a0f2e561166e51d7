"""Admin's recall of keys, as JSON: what is to be recalled, and what came of it.

A question names one of: keys by their IDs, an SAE, or a link by its peer.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from qss.model.errors import BadRequest
from qss.model.identifiers import KeyId, QksId, parse_qks_id, parse_sae_id
from qss.model.records import Scope
from qss.wire.etsi014.json import decode_json

MAX_KEY_IDS = 1000
"""Key IDs in one recall."""

_ONE_OF = 'name one of "key_ids" (a list of UUIDs), "sae" (an SAE ID) and "peer" (a neighbour\'s QKS ID)'


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    key_ids: list[str] | None = None
    sae: str | None = None
    peer: str | None = None


def parse_recall(body: bytes) -> tuple[Scope, QksId | None]:
    """Return which keys to recall, and the link if it is one whole link. Raises `BadRequest`."""
    question = decode_json(body or b"{}", _Question)
    given = [name for name in ("key_ids", "sae", "peer") if getattr(question, name) is not None]
    if len(given) != 1 or question.key_ids == []:
        raise BadRequest(_ONE_OF)
    if question.key_ids is not None and len(question.key_ids) > MAX_KEY_IDS:
        raise BadRequest(f"key_ids has more than {MAX_KEY_IDS} entries: recall in several requests")
    peer = None if question.peer is None else parse_qks_id(question.peer)
    sae = None if question.sae is None else parse_sae_id(question.sae)
    return Scope(tuple(map(KeyId.parse, question.key_ids or ())), sae), peer


def render_recall(scope: Scope, peer: QksId | None) -> bytes:
    """Return the question."""
    if peer is not None:
        return msgspec.json.encode({"peer": peer})
    if scope.sae is not None:
        return msgspec.json.encode({"sae": scope.sae})
    return msgspec.json.encode({"key_ids": [str(key_id) for key_id in scope.key_ids]})


def render_recalled(bits: Mapping[QksId, int]) -> bytes:
    """Return the answer: bits that were burned at this site, by link."""
    return msgspec.json.encode({"burned_bits": bits})


def parse_recalled(body: bytes) -> Mapping[str, int]:
    """Read the answer. Raises `BadRequest` if it is none."""
    return decode_json(body, _Answer).burned_bits


class _Answer(msgspec.Struct):
    burned_bits: dict[str, int]
