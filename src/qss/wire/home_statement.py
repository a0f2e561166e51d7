"""The authority's statement that an SAE is at home at a site, as bytes for the network and as text for files.

A statement is a MessagePack array: body, algorithm, signature. The body is one, too: version, SAE, site, expiry. As
text it is those bytes in base64 between two lines, as PEM has it. Specified in docs/reference/routing-protocol.md, 3.4.
Held here: forms and limits. Not here: whose signature it is (`qss.pki.statements`).
"""

from __future__ import annotations

import base64
import textwrap
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import BadRequest, InvalidIdentifier
from qss.model.identifiers import QksId, SaeId, parse_qks_id, parse_sae_id

MAX_STATEMENT_BYTES = 1536
"""Largest statement: the longest names, and a signature by the longest RSA key."""

SIGNED_AS = b"qss-home-statement.1\x00"
"""What comes before a body where it is signed: the same key signs certificates."""

VERSION = 1

_BEGIN = "-----BEGIN QSS HOME STATEMENT-----"
_END = "-----END QSS HOME STATEMENT-----"
_MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999: later ones are no dates."""


class HomeStatement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """That `sae` is at home at `site`, until `expires` (seconds since 1970)."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    sae: SaeId
    site: QksId
    expires: Annotated[int, Meta(ge=0, le=_MAX_SECONDS)]


class SignedStatement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The bytes of a statement's body, and its signature."""

    body: bytes
    algorithm: str
    signature: bytes


def encode_home(sae: SaeId, site: QksId, expires: int) -> bytes:
    """Return the body of a statement: what is signed, after `SIGNED_AS`."""
    return msgspec.msgpack.encode(HomeStatement(VERSION, sae, site, expires))


def encode_statement(signed: SignedStatement) -> bytes:
    """Return the whole statement."""
    return msgspec.msgpack.encode(signed)


def decode_statement(statement: bytes) -> tuple[SignedStatement, HomeStatement]:
    """Return a statement and what it says. Raises `BadRequest` if it is none; its signature was not looked at."""
    if len(statement) > MAX_STATEMENT_BYTES:
        raise _no_statement()
    try:
        signed = msgspec.msgpack.decode(statement, type=SignedStatement)
        home = msgspec.msgpack.decode(signed.body, type=HomeStatement)
        parse_sae_id(home.sae)
        parse_qks_id(home.site)
    except (ValueError, InvalidIdentifier):
        raise _no_statement() from None
    if encode_statement(signed) != statement:  # else anybody could make many of one, each to be looked at anew
        raise _no_statement()
    return signed, home


def statement_text(statement: bytes) -> str:
    """Return a statement as text."""
    lines = textwrap.wrap(base64.b64encode(statement).decode("ascii"), 64)
    return "\n".join((_BEGIN, *lines, _END, ""))


def parse_statement_text(text: str) -> bytes:
    """Return the statement that a text is. Raises `BadRequest` if it is none."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if (lines[:1], lines[-1:]) != ([_BEGIN], [_END]) or len(text) > 4 * MAX_STATEMENT_BYTES:
        raise _no_statement()
    try:
        statement = base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:
        raise _no_statement() from None
    decode_statement(statement)
    return statement


def _no_statement() -> BadRequest:
    return BadRequest("this is no statement of an SAE's home: give what `qss pki home` made")
