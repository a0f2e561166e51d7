"""Admin's registering of SAEs, as JSON: what is asked, and what is at home at a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from qss.model.identifiers import QksId, SaeId, parse_sae_id
from qss.wire.answers import parse_answer
from qss.wire.etsi014.json import decode_json
from qss.wire.home_statement import decode_statement


class SaeView(msgspec.Struct, frozen=True, kw_only=True):
    """An SAE at home at the site that was asked."""

    id: str
    configured: bool
    """Whether it is in the configuration, and not registered."""
    stated_until: int | None
    """Until when the authority's statement of its home holds, in seconds since 1970; null: there is none."""
    leaving: bool = False
    """It was removed, and its keys are being burned."""


class _Addition(msgspec.Struct, forbid_unknown_fields=True):
    sae: str
    statement: bytes | None = None


class _Removal(msgspec.Struct, forbid_unknown_fields=True):
    sae: str


class _Removed(msgspec.Struct):
    burned_bits: dict[str, int]


def parse_addition(body: bytes) -> tuple[SaeId, bytes | None]:
    """Return which SAE to register, and the statement of its home. Raises `BadRequest`."""
    question = decode_json(body, _Addition)
    if question.statement is not None:
        decode_statement(question.statement)
    return parse_sae_id(question.sae), question.statement


def render_addition(sae: SaeId, statement: bytes | None) -> bytes:
    """Return the question."""
    return msgspec.json.encode(_Addition(sae, statement))


def parse_removal(body: bytes) -> SaeId:
    """Return which SAE to remove. Raises `BadRequest`."""
    return parse_sae_id(decode_json(body, _Removal).sae)


def render_removal(sae: SaeId) -> bytes:
    """Return the question."""
    return msgspec.json.encode(_Removal(sae))


def render_removed(bits: Mapping[QksId, int]) -> bytes:
    """Return the answer: bits that were burned at this site, by link."""
    return msgspec.json.encode({"burned_bits": bits})


def parse_removed(body: bytes) -> Mapping[str, int]:
    """Read the answer. Raises `RemoteProtocolError` if it is none."""
    return parse_answer(body, _Removed).burned_bits


def render_saes(saes: Sequence[SaeView]) -> bytes:
    """Return what is at home at a site."""
    return msgspec.json.encode(saes)


def parse_saes(body: bytes) -> tuple[SaeView, ...]:
    """Read what is at home at a site. Raises `RemoteProtocolError` if it is none."""
    return parse_answer(body, tuple[SaeView, ...])
