"""What a caller asks: the Key request and Key IDs data models (ETSI GS QKD 014 V1.1.1, clauses 6.2 and 6.4).

The parse functions know form only. They refuse with `BadRequest` and cost no more than the size of what they read;
the limits a key server announces in its status are applied behind them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec

from qss.model.errors import BadRequest, InvalidIdentifier, KeysNotFound
from qss.model.identifiers import MAX_KEYS_PER_RESERVATION, KeyId, SaeId, parse_sae_id
from qss.model.keys import KeyIdsRequest, KeyRequest
from qss.wire.etsi014.json import decode_json
from qss.wire.etsi014.naming import EXTENSION, parse_extension

NOT_MULTIPLE_OF_8 = "size shall be a multiple of 8"
"""The standard's literal message for a `size` in bits that is no whole number of bytes (clause 6.2)."""

MAX_ADDITIONAL_SLAVES = 1024
"""Entries of `additional_slave_SAE_IDs` that are read at all."""

MAX_EXTENSIONS = 64
"""Extension parameters of one kind that are read at all."""

MAX_KEY_IDS = MAX_KEYS_PER_RESERVATION
"""Entries of `key_IDs` that are read at all."""

MAX_INTEGER = 2**63 - 1

_MAX_QUERY_FIELDS = 32
_DIGITS = re.compile(r"[1-9][0-9]{0,18}")


class _KeyRequest(msgspec.Struct):
    number: int = 1
    size: int | msgspec.UnsetType = msgspec.UNSET
    additional_slave_SAE_IDs: list[str] | msgspec.UnsetType = msgspec.UNSET
    extension_mandatory: list[dict[str, object]] = []
    extension_optional: list[dict[str, object]] = []


class _KeyIdObject(msgspec.Struct):
    key_ID: str


class _KeyIds(msgspec.Struct):
    key_IDs: list[_KeyIdObject]
    key_IDs_extension: dict[str, object] = {}


# --- Get key ------------------------------------------------------------------------------------------------------


def parse_key_request(body: bytes, caller: SaeId, slave: SaeId) -> KeyRequest:
    """Read the body of POST enc_keys; an empty one stands for `{}`. Raises `BadRequest`.

    `caller` and `slave` are needed because neither may stand among the additional slaves.
    """
    model = decode_json(body or b"{}", _KeyRequest)
    optional = _extensions("extension_optional", model.extension_optional)
    names = {parse_extension(value) for name, value in optional if name == EXTENSION}
    if len(names) > 1:
        raise BadRequest(f"{EXTENSION} is given twice: give one name")
    return KeyRequest(
        _positive("number", model.number),
        None if model.size is msgspec.UNSET else _bits(model.size),
        ()
        if model.additional_slave_SAE_IDs is msgspec.UNSET
        else _additional_slaves(model.additional_slave_SAE_IDs, (caller, slave)),
        _extensions("extension_mandatory", model.extension_mandatory),
        tuple(pair for pair in optional if pair[0] != EXTENSION),
        *names,
    )


def parse_key_request_query(query: str) -> KeyRequest:
    """Read the query of GET enc_keys: `number` and `size`, each once or not at all. Raises `BadRequest`.

    The other members of a Key request need POST (clause 6.2). To ignore them would hand out a key under other
    conditions than were asked, so they are refused; names unknown to the standard are ignored.
    """
    fields = _fields(query)
    for name in ("additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"):
        if name in fields:
            raise BadRequest(f"{name} cannot be given in a query: send it in the body of a POST")
    return KeyRequest(
        _integer("number", fields["number"]) if "number" in fields else 1,
        _bits(_integer("size", fields["size"])) if "size" in fields else None,
    )


def render_key_request(request: KeyRequest) -> bytes:
    """Return the body of POST enc_keys; members that have their default are left out."""
    model: dict[str, object] = {"number": request.number}
    if request.size is not None:
        model["size"] = request.size
    if request.additional_slaves:
        model["additional_slave_SAE_IDs"] = request.additional_slaves
    if request.extension_mandatory:
        model["extension_mandatory"] = [{name: value} for name, value in request.extension_mandatory]
    named = () if request.name is None else ((EXTENSION, request.name),)
    if optional := (*request.extension_optional, *named):
        model["extension_optional"] = [{name: value} for name, value in optional]
    return msgspec.json.encode(model)


def render_key_request_query(request: KeyRequest) -> str:
    """Return the query of GET enc_keys, which can say number and size and nothing else (clause 6.2)."""
    size = "" if request.size is None else f"&size={request.size}"
    return f"number={request.number}{size}"


# --- Get key with key IDs -----------------------------------------------------------------------------------------


def parse_key_ids(body: bytes) -> KeyIdsRequest:
    """Read the body of POST dec_keys, in its order. Raises `BadRequest`."""
    model = decode_json(body, _KeyIds)
    texts = [entry.key_ID for entry in model.key_IDs]
    if not texts:
        raise BadRequest("key_IDs is empty: name at least one key")
    if len(texts) > MAX_KEY_IDS:
        raise BadRequest(f"key_IDs has more than {MAX_KEY_IDS} entries: ask in several requests")
    key_ids = tuple(KeyId.parse(text) for text in texts)
    if len(set(key_ids)) < len(key_ids):
        raise KeysNotFound  # the first of two asks for one key takes it away from the second
    extension = model.key_IDs_extension
    return KeyIdsRequest(key_ids, parse_extension(extension[EXTENSION]) if EXTENSION in extension else None)


def parse_key_ids_query(query: str) -> KeyIdsRequest:
    """Read the query of GET dec_keys: exactly one `key_ID` (clause 6.4). Raises `BadRequest`."""
    fields = _fields(query)
    if "key_ID" not in fields:
        raise BadRequest("key_ID is missing: ask as …/dec_keys?key_ID=<UUID>, or for several keys with POST")
    return KeyIdsRequest((KeyId.parse(fields["key_ID"]),))


def render_key_ids(request: KeyIdsRequest) -> bytes:
    """Return the body of POST dec_keys."""
    model: dict[str, object] = {"key_IDs": [{"key_ID": str(key_id)} for key_id in request.key_ids]}
    if request.name is not None:
        model["key_IDs_extension"] = {EXTENSION: request.name}
    return msgspec.json.encode(model)


def render_key_id_query(key_id: KeyId) -> str:
    """Return the query of GET dec_keys, which can name one key (clause 6.4)."""
    return f"key_ID={key_id}"


# --- parts --------------------------------------------------------------------------------------------------------


def _fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:  # UnicodeDecodeError is one
        raise BadRequest(
            f"the query cannot be read: give at most {_MAX_QUERY_FIELDS} name=value fields, percent-encoded from UTF-8"
        ) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BadRequest("a query parameter is given more than once: give each once")
    return fields


def _integer(name: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise _no_positive_integer(name)
    return _positive(name, int(text))


def _positive(name: str, value: int) -> int:
    if not 0 < value <= MAX_INTEGER:
        raise _no_positive_integer(name)
    return value


def _no_positive_integer(name: str) -> BadRequest:
    return BadRequest(f"{name} shall be an integer from 1 to {MAX_INTEGER}")


def _bits(size: int) -> int:
    if _positive("size", size) % 8:
        raise BadRequest(NOT_MULTIPLE_OF_8)
    return size


def _additional_slaves(texts: Sequence[str], taken: Collection[SaeId]) -> tuple[SaeId, ...]:
    if not texts:
        raise BadRequest("additional_slave_SAE_IDs is empty: name at least one SAE, or leave it out")
    if len(texts) > MAX_ADDITIONAL_SLAVES:
        raise BadRequest(f"additional_slave_SAE_IDs has more than {MAX_ADDITIONAL_SLAVES} entries: name fewer")
    try:
        slaves = tuple(parse_sae_id(text) for text in texts)
    except InvalidIdentifier as error:
        raise BadRequest(f"additional_slave_SAE_IDs: {error.message}") from None
    if len({*slaves, *taken}) < len(slaves) + len(taken):
        raise BadRequest(
            "additional_slave_SAE_IDs names an SAE twice, or the caller, or the slave in the path: name each once"
        )
    return slaves


def _extensions(name: str, objects: Sequence[Mapping[str, object]]) -> tuple[tuple[str, object], ...]:
    parameters = tuple(pair for entry in objects for pair in entry.items())
    if max(len(objects), len(parameters)) > MAX_EXTENSIONS:
        raise BadRequest(f"{name} has more than {MAX_EXTENSIONS} parameters: name fewer")
    return parameters
