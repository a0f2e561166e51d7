"""A QKD module in another process, reached by ETSI GS QKD 004, as a key source (`ports.key_source`).

Chunks are asked for one after the other, and each has come before the next is asked for; one is asked for ahead. So an
ask that was lost with its connection, or cancelled, is repeated under the same index, and the module answers the same
bytes (`core.module.sessions`). Not here: what the key is for.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from qss.client.etsi004 import Chunk, Etsi004Client, Verify
from qss.model.addresses import Address
from qss.model.errors import ConnectionLost, DeviceError, RemoteProtocolError, StreamEnded
from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.key_source import OpenedStream
from qss.wire.etsi004.messages import MAX_NUMBER, QoS
from qss.wire.etsi004.status import Edition, Status
from qss.wire.sync import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

TIMEOUT_MS = 5_000
"""How long the module may make one call wait."""

MAX_TIMEOUT_MS = 60_000
"""Longest that a call waits for the module, whatever that says."""

TTL_S = 86_400
"""How long the module keeps the stream without a call: a key server with full buffers pulls nothing for long."""

PATIENCE_S = 3.0
"""How long a module may be out of reach until its stream is given up, if nothing else is said."""

_FIRST_PAUSE_S = 0.02

_TO_ASK_AGAIN = frozenset({Status.INSUFFICIENT_KEY, Status.PEER_APPLICATION_NOT_CONNECTED})
_OPENED = frozenset({Status.SUCCESS, Status.PEER_NOT_CONNECTED})


@dataclass(slots=True)
class _Stream:
    """The stream that is open, and which chunk of it comes next."""

    stream: StreamId
    chunk_bytes: int
    timeout_ms: int
    next: int = 0
    asking: bool = False


class Etsi004Source:
    """One module, as one key server sees it. Implements `qss.ports.key_source.KeySource`."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        verify: Verify,
        *,
        edition: Edition = Edition.V2_1_1,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Reach the module at `address`; `verify` raises `Unauthorised` for a certificate that is not its.

        A stream is given up when no connection to the module could be had for `patience_s` seconds.
        """
        self._client = Etsi004Client(address, context, verify, edition=edition)
        self._patience_s = patience_s
        self._open: _Stream | None = None

    @property
    def security(self) -> str | None:
        """How the connection to the module is secured; None without one."""
        return self._client.security

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        """Open or join a key stream; one that this source has open is closed by it. Raises `DeviceError`."""
        if (stream is None) is not (source < destination):
            raise DeviceError("the site with the lower ID opens key streams, the other one joins them by their ID")
        if stream is not None and chunk_bytes is None:
            raise DeviceError("join a key stream with the chunk size of its opener")
        asked = QoS(key_chunk_size=chunk_bytes or 0, timeout=TIMEOUT_MS, ttl=TTL_S)
        try:
            opened = await self._client.open_connect(f"qks:{source}", f"qks:{destination}", asked, stream)
        except (ConnectionLost, RemoteProtocolError) as error:
            raise DeviceError(f"the module cannot be asked for a key stream: {error}") from error
        if opened.status not in _OPENED or opened.stream is None or opened.qos is None:
            raise DeviceError(_why_not_opened(opened.status, asked, opened.qos))
        granted = opened.qos
        if not MIN_CHUNK_BYTES <= granted.key_chunk_size <= MAX_CHUNK_BYTES:
            await self.close(opened.stream)
            raise DeviceError(
                f"the module has chunks of {granted.key_chunk_size} bytes; {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES} "
                "are taken"
            )
        if chunk_bytes not in (None, granted.key_chunk_size) or (stream is not None and opened.stream != stream):
            await self.close(opened.stream)
            raise DeviceError(f"the module opened another stream, or one with chunks of {granted.key_chunk_size} bytes")
        self._open = _Stream(opened.stream, granted.key_chunk_size, min(granted.timeout, MAX_TIMEOUT_MS))
        return OpenedStream(opened.stream, granted.key_chunk_size)

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        """Return chunk `index` (from 0, each once, in order), waiting until it is there. Cancelled, it takes nothing.

        It is one, whatever `most` says: so is the protocol's call. Raises `StreamEnded` when the stream will yield no
        more, or the module does not answer; `DeviceError` for an index that is not the next.
        """
        held = self._open
        if held is None or held.stream != stream:
            raise StreamEnded(f"key stream {stream} is not open here; open a new one")
        if index != held.next:
            raise DeviceError(f"chunk {index} was asked for, but chunk {held.next} is next: each is given once")
        if held.asking:
            raise DeviceError(f"chunk {index} is being asked for already: each is given once")
        if index > MAX_NUMBER:
            raise StreamEnded("the key stream has no more indices; open a successor")
        while True:
            chunk = await self._ask(held, index)
            if self._open is not held:
                raise StreamEnded(f"key stream {stream} was closed")
            if chunk.key is not None:
                break
            if chunk.status not in _TO_ASK_AGAIN:
                raise StreamEnded(f"the module yields no more of key stream {stream}: {_meaning(chunk.status)}")
        if chunk.index != index or len(chunk.key) != held.chunk_bytes:
            raise StreamEnded("the module answered another chunk than it was asked for")
        held.next += 1
        return chunk.key

    async def _ask(self, held: _Stream, index: int) -> Chunk:
        held.asking = True
        try:
            return await self._ask_patiently(held, index)
        except (ConnectionLost, RemoteProtocolError) as error:
            raise StreamEnded(f"the module cannot be asked for key: {error}") from error
        finally:
            held.asking = False

    async def _ask_patiently(self, held: _Stream, index: int) -> Chunk:
        """Ask until there is an answer: a connection that is lost may be had again, and no key is lost with it."""
        loop = asyncio.get_running_loop()
        gives_up, pause = loop.time() + self._patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return await self._client.get_key(held.stream, index, timeout_ms=held.timeout_ms, more=True)
            except ConnectionLost:
                if self._open is not held or loop.time() + pause > gives_up:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    async def close(self, stream: StreamId) -> None:
        """End the stream at this end. Unknown streams, and a module that is gone, are no error."""
        if self._open is not None and self._open.stream == stream:
            if self._open.asking:
                self._client.disconnect()  # whoever waits for key is told, and CLOSE need not wait for it
            self._open = None
        try:
            await self._client.close_stream(stream)
        except (ConnectionLost, RemoteProtocolError):
            return  # its TTL ends it, or the next stream that is opened

    async def stop(self) -> None:
        """End the connection. Can be called twice."""
        self._client.disconnect()


def _why_not_opened(status: Status, asked: QoS, offered: QoS | None) -> str:
    if status is Status.QOS_NOT_MET and offered is not None:
        return (
            f"the module does not give chunks of {asked.key_chunk_size} bytes, it offers {offered.key_chunk_size}; "
            "ask for what it offers"
        )
    return f"the module opened no key stream: {_meaning(status)}"


def _meaning(status: Status) -> str:
    return _MEANINGS.get(status, status.replace("_", " "))


_MEANINGS = {
    Status.NO_QKD_CONNECTION: "it has no connection to its peer, is in use by somebody else, or the stream has ended",
    Status.TIMEOUT: "the module at the other end did not join in time",
    Status.KSID_IN_USE: "the stream's ID is in use by somebody else, or was used before",
}
