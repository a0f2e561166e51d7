"""Statements of homes, as bytes and as text, Admin's questions about SAEs, and the file of registered ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from qss.app.sae_register import SAES, SaeRegister
from qss.model.errors import BadRequest, RemoteProtocolError, StoreError
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import (
    MAX_STATEMENT_BYTES,
    SignedStatement,
    decode_statement,
    encode_home,
    encode_statement,
    parse_statement_text,
    statement_text,
)
from qss.wire.saes import parse_addition, parse_removal, parse_saes, render_addition, render_removal

_SAE = SaeId("sae:alice")
_STATEMENT = encode_statement(SignedStatement(encode_home(_SAE, QksId("A"), 1_800_000_000), "ed25519", bytes(64)))


def seeds() -> list[bytes]:
    """Return one of each that is good."""
    return [
        _STATEMENT,
        statement_text(_STATEMENT).encode(),
        render_addition(_SAE, _STATEMENT),
        render_removal(_SAE),
        b'[{"id":"sae:alice","configured":true,"stated_until":5,"leaving":false}]',
        json.dumps({"format": 1, "registered": {"sae:alice": None}, "leaving": ["sae:bob"]}).encode(),
    ]


def one(data: bytes) -> None:
    """Read `data`, but for its first byte, which says as what."""
    _READERS[data[0] % len(_READERS)](data[1:])


def _statement(data: bytes) -> None:
    with suppress(BadRequest):
        signed, home = decode_statement(data)
        assert len(data) <= MAX_STATEMENT_BYTES
        assert encode_statement(signed) == data, "a statement has two forms"
        assert 1 <= len(home.sae) <= 255


def _text(data: bytes) -> None:
    with suppress(BadRequest):
        statement = parse_statement_text(data.decode("ascii", "replace"))
        assert parse_statement_text(statement_text(statement)) == statement


def _json(parse: Callable[[bytes], object], data: bytes) -> None:
    with suppress(BadRequest, RemoteProtocolError):
        parse(data)


def _register(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SAES
        file.write_bytes(data)
        with suppress(StoreError):
            register = SaeRegister(file)
            assert not register.leaving & set(register)


_READERS: list[Callable[[bytes], None]] = [
    _statement,
    _text,
    partial(_json, parse_addition),
    partial(_json, parse_removal),
    partial(_json, parse_saes),
    _register,
]
