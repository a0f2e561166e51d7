"""One application's end of a key stream, from a key server that serves ETSI GS QKD 004 (docs/reference/key-streams.md).

Calls are repeated until their chunk comes, for as long as the caller has patience. Refused: a server that is no site,
answers out of order. Not here: how the other application learns the stream's name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from qss.client.etsi004 import Etsi004Client
from qss.model.addresses import Address
from qss.model.certificates import site_of
from qss.model.errors import BadRequest, LocalProtocolError, RemoteProtocolError, StreamEnded, Unavailable
from qss.model.identifiers import StreamId, parse_sae_id
from qss.model.key_material import KeyMaterial
from qss.pki.contexts import application_context
from qss.wire.etsi004.messages import JSON_MIMETYPE, QoS
from qss.wire.etsi004.status import Status

PATIENCE_S = 60.0
"""How long a chunk is waited for if nothing else is said."""

_TIMEOUT_MS = 5000
_METADATA_BYTES = 64

_NOT_OPENED = {
    Status.NO_QKD_CONNECTION: "it shares no key streams with these two applications, or has no room for another one; "
    "its log says why",
    Status.KSID_IN_USE: "that stream is somebody else's, or was used before; take another name",
    Status.TIMEOUT: "the two ends have not met, and will not; open another stream",
    Status.QOS_NOT_MET: "it gives no chunks of that size; ask for 32 to 65,536 bytes",
}


class _Metadata(msgspec.Struct, frozen=True):
    """What comes with a chunk (clause 6.2)."""

    age: int
    hops: int


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """One chunk of a stream. `age_ms` is since it could be had, `hops` the trusted nodes it passed, at most."""

    index: int
    key: KeyMaterial
    age_ms: int
    hops: int


class KeyStreamClient:
    """Has one stream at a time. Use it as `async with`: a stream that is open is closed at its end."""

    def __init__(
        self,
        address: str,
        certificate: Path | str,
        key: Path | str,
        authority: Path | str,
        own: str,
        other: str,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take where the site's `key_streams.listen` is reached (host:port), PEM files, and both applications' SAE IDs.

        `authority` is what the site's certificate must come from. Raises `PkiError` for files that cannot be used,
        `BadRequest` for an address that is none, and `InvalidIdentifier`.
        """
        self._own, self._other = parse_sae_id(own), parse_sae_id(other)
        try:
            reached = Address.parse(address)
        except ValueError:
            raise BadRequest(f"{address!r} is no address of a key server: use host:port") from None
        context = application_context(Path(certificate), Path(key), Path(authority))
        self._client = Etsi004Client(reached, context, site_of)
        self._patience_s = patience_s
        self._stream: StreamId | None = None
        self._next = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.close()
        finally:
            self._client.disconnect()

    async def open(self, stream: StreamId | None = None, chunk_bytes: int = 0) -> StreamId:
        """Open a stream, or join the one of this name, and return its name; None has the key server name it.

        `chunk_bytes` 0 leaves the size to the other application, or the key server. Raises, as every method does,
        `Unavailable` for what is refused or does not come, `ConnectionLost` and `RemoteProtocolError`.
        """
        await self.close()
        qos = QoS(key_chunk_size=chunk_bytes, timeout=_TIMEOUT_MS, metadata_mimetype=JSON_MIMETYPE)
        opened = await self._client.open_connect(self._own, self._other, qos, stream)
        if opened.status not in (Status.SUCCESS, Status.PEER_NOT_CONNECTED):
            raise Unavailable(f"the key server opens no key stream: {_NOT_OPENED.get(opened.status, opened.status)}")
        if opened.stream is None or stream not in (None, opened.stream):
            raise RemoteProtocolError("the key server opened another key stream than was asked for")
        self._stream, self._next = opened.stream, 0
        return opened.stream

    async def chunk(self) -> StreamChunk:
        """Return the next chunk, waiting until it is there. Raises `StreamEnded` if no more will come."""
        if self._stream is None:
            raise LocalProtocolError("no key stream is open: call `open` first")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while True:
            came = await self._client.get_key(self._stream, self._next, _METADATA_BYTES, timeout_ms=_TIMEOUT_MS)
            if came.status is Status.SUCCESS:
                break
            if came.status is Status.PEER_APPLICATION_NOT_CONNECTED:
                reason = f"{self._other} has not opened the stream"
            elif came.status is Status.INSUFFICIENT_KEY:
                reason = "there is not enough key, or the other end has not taken what there is"
            else:
                raise StreamEnded("the key stream is over; open another one")
            if loop.time() >= deadline:
                raise Unavailable(f"no key came within {self._patience_s:g} s: {reason}; nothing was consumed")
        if came.index != self._next or came.key is None:
            raise RemoteProtocolError("the key server gave another chunk than was asked for")
        self._next += 1
        metadata = _read(came.metadata)
        return StreamChunk(came.index, came.key, metadata.age, metadata.hops)

    async def close(self) -> None:
        """Close the stream that is open, if one is: what was not taken is destroyed."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await self._client.close_stream(stream)


def _read(metadata: bytes) -> _Metadata:
    try:
        return msgspec.json.decode(metadata, type=_Metadata)
    except ValueError:
        raise RemoteProtocolError("the metadata of a chunk is none of ETSI GS QKD 004") from None
