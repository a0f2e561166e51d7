"""Admin's starting and stopping of a device pair's exchange, as JSON: question and answer have the same form."""

from __future__ import annotations

from uuid import UUID

import msgspec

from qss.model.identifiers import PairId
from qss.wire.etsi014.json import decode_json


class _Exchange(msgspec.Struct, forbid_unknown_fields=True):
    pair: UUID
    exchange: bool


def parse_exchange(body: bytes) -> tuple[PairId, bool]:
    """Return the device pair, and whether its exchange is to be on. Raises `BadRequest`."""
    question = decode_json(body, _Exchange)
    return PairId.from_uuid(question.pair), question.exchange


def render_exchange(pair: PairId, *, on: bool) -> bytes:
    """Return the question, or the answer."""
    return msgspec.json.encode({"pair": str(pair), "exchange": on})
