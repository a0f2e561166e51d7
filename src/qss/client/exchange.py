"""One exchange with a key server, apart from any connection: what is sent, and what the answer means.

Keys are always asked for with POST: HTTP lets libraries and proxies repeat a GET, and a repeated ask is lost key.
An answer that has other keys than were asked for is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qss.client.errors import KeyServerRefused
from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyRequest, PairStatus
from qss.wire.etsi014.answers import parse_error, parse_keys, parse_status
from qss.wire.etsi014.paths import Method, render_path
from qss.wire.etsi014.questions import render_key_ids, render_key_request


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
        keys = parse_keys(body)
        if len(keys) != request.number or len({key.key_id for key in keys}) < len(keys):
            raise RemoteProtocolError(f"the key server answered {len(keys)} keys when {request.number} were asked for")
        if request.size is not None and any(8 * len(key.material) != request.size for key in keys):
            raise RemoteProtocolError(f"the key server answered keys of another size than {request.size} bits")
        return keys

    return Exchange("POST", render_path(slave, Method.ENC_KEYS), render_key_request(request), read)


def ask_keys_with_ids(master: SaeId, request: KeyIdsRequest) -> Exchange[tuple[Key, ...]]:
    """Get key with key IDs (clause 6.4); the keys come in the order of their IDs."""
    key_ids = request.key_ids
    if not key_ids or len(set(key_ids)) < len(key_ids):
        raise BadRequest("ask for one key ID or more, each once")

    def read(body: bytes) -> tuple[Key, ...]:
        answered = parse_keys(body)
        keys = {key.key_id: key for key in answered}
        if len(answered) != len(key_ids) or keys.keys() != set(key_ids):
            raise RemoteProtocolError("the key server answered other keys than were asked for")
        return tuple(keys[key_id] for key_id in key_ids)

    return Exchange("POST", render_path(master, Method.DEC_KEYS), render_key_ids(request), read)


def _refusal(status: int, body: bytes) -> KeyServerRefused:
    if status == 401:
        return KeyServerRefused(
            401, "this SAE may not ask for that: check its certificate, its registration, and the rule for the pair"
        )
    try:
        message, details = parse_error(body)
    except RemoteProtocolError:
        return KeyServerRefused(status, "it gave no reason that ETSI GS QKD 014 knows: check the address")
    return KeyServerRefused(status, message, details)
