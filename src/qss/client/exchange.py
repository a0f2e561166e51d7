"""One exchange with a key server, apart from any connection: what is sent, and what the answer means.

Keys are asked for with POST: HTTP lets libraries and proxies repeat a GET, and a repeated ask is lost key. The forms of
GET are for key servers that know nothing else. An answer that has other keys than were asked for is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qss.client.errors import KeyServerRefused
from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import KeyId, SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyOffer, KeyRequest, PairStatus
from qss.wire.etsi014.answers import parse_error, parse_keys, parse_offer, parse_status
from qss.wire.etsi014.paths import PREFIX, Method, render_path
from qss.wire.etsi014.questions import (
    render_key_id_query,
    render_key_ids,
    render_key_request,
    render_key_request_query,
)


@dataclass(frozen=True, slots=True)
class Exchange[T]:
    """A request, and how to read the body of its answer."""

    method: str
    path: str
    body: bytes = field(repr=False)
    read: Callable[[bytes], T]

    def result(self, status: int, body: bytes) -> T:
        """Return what the answer says. Raises `KeyServerRefused`, or `RemoteProtocolError` if it cannot be used."""
        if status == 200:
            return self.read(body)
        raise _refusal(status, body)


def ask_status(slave: SaeId) -> Exchange[PairStatus]:
    """Get status (clause 6.1)."""
    return Exchange("GET", render_path(slave, Method.STATUS), b"", parse_status)


def ask_keys(slave: SaeId, request: KeyRequest) -> Exchange[tuple[Key, ...]]:
    """Get key (clause 6.2)."""

    def read(body: bytes) -> tuple[Key, ...]:
        keys = _at_most(request, body)
        if len(keys) < request.number:
            raise RemoteProtocolError(f"the key server answered {len(keys)} keys when {request.number} were asked for")
        return keys

    return Exchange("POST", render_path(slave, Method.ENC_KEYS), render_key_request(request), read)


def ask_keys_with_ids(master: SaeId, request: KeyIdsRequest, prefix: str = PREFIX) -> Exchange[tuple[Key, ...]]:
    """Get key with key IDs (clause 6.4); the keys come in the order of their IDs."""
    key_ids = request.key_ids
    if not key_ids or len(set(key_ids)) < len(key_ids):
        raise BadRequest("ask for one key ID or more, each once")
    path = render_path(master, Method.DEC_KEYS, prefix)
    return Exchange("POST", path, render_key_ids(request), lambda body: _exactly(key_ids, body))


# --- a vendor's box, which may have paths of its own, or know only GET ---------------------------------------------


def ask_offer(slave: SaeId, prefix: str = PREFIX) -> Exchange[KeyOffer]:
    """Get status (clause 6.1), of which only limits and stock are read."""
    return Exchange("GET", render_path(slave, Method.STATUS, prefix), b"", parse_offer)


def ask_some_keys(slave: SaeId, request: KeyRequest, prefix: str = PREFIX) -> Exchange[tuple[Key, ...]]:
    """Get key (clause 6.2) of a server that may answer fewer keys than were asked for, or none."""
    path = render_path(slave, Method.ENC_KEYS, prefix)
    return Exchange("POST", path, render_key_request(request), lambda body: _at_most(request, body))


def get_some_keys(slave: SaeId, request: KeyRequest, prefix: str = PREFIX) -> Exchange[tuple[Key, ...]]:
    """`ask_some_keys` by GET, for `number` and `size` only."""
    path = f"{render_path(slave, Method.ENC_KEYS, prefix)}?{render_key_request_query(request)}"
    return Exchange("GET", path, b"", lambda body: _at_most(request, body))


def get_key_with_id(master: SaeId, key_id: KeyId, prefix: str = PREFIX) -> Exchange[tuple[Key, ...]]:
    """Get key with key IDs (clause 6.4) by GET, which can ask for one key."""
    path = f"{render_path(master, Method.DEC_KEYS, prefix)}?{render_key_id_query(key_id)}"
    return Exchange("GET", path, b"", lambda body: _exactly((key_id,), body))


# --- answers ------------------------------------------------------------------------------------------------------


def _at_most(request: KeyRequest, body: bytes) -> tuple[Key, ...]:
    keys = parse_keys(body)
    if len(keys) > request.number or len({key.key_id for key in keys}) < len(keys):
        raise RemoteProtocolError(f"the key server answered {len(keys)} keys when {request.number} were asked for")
    if request.size is not None and any(8 * len(key.material) != request.size for key in keys):
        raise RemoteProtocolError(f"the key server answered keys of another size than {request.size} bits")
    return keys


_MAX_MESSAGE = 500
"""How much is kept of what a server says of its refusal."""


def _exactly(key_ids: tuple[KeyId, ...], body: bytes) -> tuple[Key, ...]:
    answered = parse_keys(body)
    keys = {key.key_id: key for key in answered}
    if len(answered) != len(key_ids) or keys.keys() != set(key_ids):
        raise RemoteProtocolError("the key server answered other keys than were asked for")
    return tuple(keys[key_id] for key_id in key_ids)


def _refusal(status: int, body: bytes) -> KeyServerRefused:
    if status == 401:
        return KeyServerRefused(
            401, "this SAE may not ask for that: check its certificate, its registration, and the rule for the pair"
        )
    try:
        message, details = parse_error(body)
    except RemoteProtocolError:
        return KeyServerRefused(status, "it gave no reason that ETSI GS QKD 014 knows: check the address")
    return KeyServerRefused(status, message[:_MAX_MESSAGE], details)
