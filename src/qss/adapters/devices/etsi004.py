"""A vendor's box that offers ETSI GS QKD 004 as a device at both ends.

The initiator opens a key stream at its box and tells its Key_stream_ID to the responder over the channel that the
module hands it (so inside Sync); the responder opens the same stream at its box. From then on each end pulls chunk
after chunk, and the same whole chunks make the same block; `docs/reference/vendor-boxes.md` numbers the steps.

Held here: opening, pulling, what each status of the standard means for us. A chunk that is not there yet is waited for;
a stream that the box has ended ends this device, and the next key stream opens another one. That the boxes gave both
ends the same bytes is not believed but checked by the module. Refused: chunks of another index or size than asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from qss.adapters.devices.patience import Patience, until_answered
from qss.client.etsi004 import Etsi004Client, Opened
from qss.model.errors import ConnectionLost, DeviceError, QssError, RemoteProtocolError, Shortage
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceChannel, DeviceRole, DeviceStatus, RawBlock
from qss.wire.etsi004.framing import MAX_KEY_BYTES, MAX_METADATA_BYTES
from qss.wire.etsi004.messages import MAX_NUMBER, QoS
from qss.wire.etsi004.status import Status
from qss.wire.vendor_boxes import (
    MAX_BLOCK_BYTES,
    MIN_BLOCK_BYTES,
    Joined,
    Mark,
    decode,
    encode,
)
from qss.wire.vendor_boxes import Opened as OpenedThere

LEAD = 4
"""How many blocks an end may be ahead of the other (Boxes 3.4)."""

TIMEOUT_MS = 5_000
"""How long the box is asked to let one call wait."""

CLOSE_S = 2.0
"""How long the box may take to hear that we are done."""

_OPEN = (Status.SUCCESS, Status.PEER_NOT_CONNECTED)
_LATER = (Status.PEER_APPLICATION_NOT_CONNECTED, Status.PEER_NOT_CONNECTED, Status.TIMEOUT)

_REMEDIES = {
    Status.NO_QKD_CONNECTION: "it has no connection to its peer, or the key stream has ended there; look at the box",
    Status.KSID_IN_USE: "the Key_stream_ID is in use by somebody else: do two ends share one box or certificate?",
}


class Etsi004Device:
    """One end of a pair of boxes. Implements `qss.ports.device.Device`."""

    kind = "etsi004"

    def __init__(
        self,
        box: Callable[[], Etsi004Client],
        source: str,
        destination: str,
        *,
        chunk_bytes: int = 0,
        block_bytes: int = MIN_BLOCK_BYTES,
        rate_bps: float = 10_000.0,
        patience: Patience | None = None,
    ) -> None:
        """Take key from the box that `box` makes a client of, anew for every key stream.

        `source` and `destination` are the URIs of the two ends as the box has them. `chunk_bytes` (0: the box chooses)
        and `block_bytes`, the least that a block has, count at the initiator. `rate_bps` is what the box is said to
        yield, and is reported until there is a rate that was measured.
        """
        if not 0 <= chunk_bytes <= MAX_KEY_BYTES or not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES:
            raise DeviceError(
                f"a box cannot yield blocks of {block_bytes} bytes in chunks of {chunk_bytes}: set blocks of "
                f"{MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes, chunks of at most {MAX_KEY_BYTES}"
            )
        if not rate_bps > 0:
            raise DeviceError(f"a box cannot yield {rate_bps} bit/s: set a rate above 0")
        self._box = box
        self._names = source, destination
        self._chunk_bytes = chunk_bytes
        self._block_bytes = block_bytes
        self._patience = patience or Patience()
        self._rate_bps = rate_bps
        self._stream: _Stream | None = None
        self._role = DeviceRole.INITIATOR
        self._note = ""
        self._began = 0.0

    async def start(self, channel: DeviceChannel, role: DeviceRole) -> None:
        """Begin a key stream with the other end. Nothing is asked of the box before the first `read`.

        Raises `PkiError` if the certificates for the box cannot be used.
        """
        if self._stream is not None:
            raise DeviceError("the device is running already; stop it first")
        self._stream = _Stream(self._box(), channel, self._names, self._patience, self._tell)
        self._role = role

    async def read(self) -> RawBlock:
        """Return the next block, however long the box takes for it.

        Raises `DeviceError` if no more will come; the text says what to do at the box.
        """
        stream = self._stream
        if stream is None:
            raise DeviceError("the device is not running; start it")
        try:
            if stream.name is None:
                await self._open(stream)
            block = await stream.block()
        except DeviceError:
            raise
        except QssError as error:
            raise DeviceError(f"the box cannot go on: {error}") from error
        passed = asyncio.get_running_loop().time() - self._began
        if passed > 0:
            self._rate_bps = 8 * len(block.material) * (block.number + 1) / passed
        return block

    async def _open(self, stream: _Stream) -> None:
        if self._role is DeviceRole.INITIATOR:
            await stream.open(self._chunk_bytes, self._block_bytes)
        else:
            await stream.join()
        self._began = asyncio.get_running_loop().time()

    def _tell(self, note: str) -> None:
        self._note = note

    async def stop(self) -> None:
        """Stop, and close the stream at the box. Can be called twice, and before `start`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._note = ""
            await stream.close()

    def status(self) -> DeviceStatus:
        """Return what is known of the box; of the quantum channel behind it 004 says nothing."""
        return DeviceStatus(
            kind=self.kind,
            running=self._stream is not None,
            rate_bps=self._rate_bps,
            qber=None,
            simulated=False,
            note=self._note,
        )


class _Stream:
    """One key stream at one box."""

    def __init__(
        self,
        client: Etsi004Client,
        channel: DeviceChannel,
        names: tuple[str, str],
        patience: Patience,
        tell: Callable[[str], None],
    ) -> None:
        self.name: StreamId | None = None
        self._client = client
        self._channel = channel
        self._names = names
        self._patience = patience
        self._tell = tell
        self._chunk_bytes = 0
        self._chunks_per_block = 0
        self._timeout_ms = 0
        self._room = 0
        self._index = 0
        self._number = 0
        self._others = 0

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self, chunk_bytes: int, block_bytes: int) -> None:
        """Boxes 3.1: open a stream that the box names, and tell the responder."""
        opened = await until_answered(lambda: self._opened(chunk_bytes, None), self._patience, self._tell)
        if opened.stream is None:
            raise RemoteProtocolError("it opened a key stream and gave it no Key_stream_ID")
        self._begin(opened, opened.stream, chunk_bytes, block_bytes)
        await self._channel.send(encode(OpenedThere(opened.stream.value, self._chunk_bytes, block_bytes)))
        decode(await self._channel.receive(), Joined)

    async def join(self) -> None:
        """Boxes 3.2: open the stream that the initiator's box has named."""
        there = decode(await self._channel.receive(), OpenedThere)
        stream = StreamId(there.stream)
        opened = await until_answered(lambda: self._opened(there.chunk_bytes, stream), self._patience, self._tell)
        self._begin(opened, stream, there.chunk_bytes, there.block_bytes)
        if self._chunk_bytes != there.chunk_bytes:
            raise DeviceError(
                f"the boxes give chunks of {there.chunk_bytes} bytes at one end and of {self._chunk_bytes} at the "
                "other; set chunk_bytes to a size that both give"
            )
        await self._channel.send(encode(Joined()))

    async def _opened(self, chunk_bytes: int, stream: StreamId | None) -> Opened:
        """OPEN_CONNECT. What the box proposes instead is accepted, if its chunks have the size that was asked for."""
        asked = QoS(key_chunk_size=chunk_bytes, timeout=TIMEOUT_MS)
        opened = await self._client.open_connect(*self._names, asked, stream)
        proposed = opened.qos
        if opened.status is Status.QOS_NOT_MET and proposed and chunk_bytes in (0, proposed.key_chunk_size):
            opened = await self._client.open_connect(*self._names, replace(proposed, metadata_mimetype=""), stream)
        if opened.status in _OPEN:
            return opened
        if opened.status in _LATER:
            raise ConnectionLost(f"OPEN_CONNECT was answered {_said(opened.status)}")
        if opened.status is Status.QOS_NOT_MET:
            raise DeviceError(f"the box does not grant what was asked; {_counter_proposal(opened.qos)}")
        raise _explained("OPEN_CONNECT", opened.status)

    def _begin(self, opened: Opened, stream: StreamId, asked: int, block_bytes: int) -> None:
        granted = asked if opened.qos is None else opened.qos.key_chunk_size
        if not 0 < granted <= MAX_KEY_BYTES:
            raise RemoteProtocolError(f"it says that chunks have {granted} bytes; set chunk_bytes to what it gives")
        self._chunk_bytes = granted
        self._chunks_per_block = -(-block_bytes // granted)
        self._timeout_ms = 0 if opened.qos is None else opened.qos.timeout
        self.name = stream

    # --- pulling --------------------------------------------------------------------------------------------------

    async def block(self) -> RawBlock:
        """Boxes 3.3 and 3.4: pull the next block when the other end is near enough."""
        while self._number - self._others >= LEAD:
            mark = decode(await self._channel.receive(), Mark)
            if mark.block != self._others:
                raise RemoteProtocolError(f"the other end's mark of block {mark.block} came out of turn")
            self._others += 1
        chunks = [(await self._chunk()).reveal() for _ in range(self._chunks_per_block)]
        number = self._number
        self._number += 1
        await self._channel.send(encode(Mark(number)))
        return RawBlock(number, KeyMaterial(b"".join(chunks)))

    async def _chunk(self) -> KeyMaterial:
        if self._index > MAX_NUMBER:
            raise DeviceError("the key stream at the box has no more indices; a new one begins from 0")
        key = await until_answered(self._pulled, self._patience, self._tell)
        self._index += 1
        return key

    async def _pulled(self) -> KeyMaterial:
        assert self.name is not None
        chunk = await self._client.get_key(self.name, self._index, self._room, timeout_ms=self._timeout_ms)
        match chunk.status:
            case Status.SUCCESS if chunk.key is not None:
                if chunk.index != self._index or len(chunk.key) != self._chunk_bytes:
                    raise RemoteProtocolError(
                        f"it answered {len(chunk.key)} bytes at index {chunk.index} where {self._chunk_bytes} at "
                        f"{self._index} were asked for"
                    )
                return chunk.key
            case Status.INSUFFICIENT_KEY:
                raise Shortage("the box has too little key now")
            case Status.METADATA_TOO_LARGE if self._room < chunk.room <= MAX_METADATA_BYTES:
                self._room = chunk.room  # it gives no key without metadata, which nobody here reads
                raise ConnectionLost("it wants more room for metadata")
            case status if status in _LATER:
                raise ConnectionLost(f"GET_KEY was answered {_said(status)}")
            case status:
                raise _explained("GET_KEY", status)

    async def close(self) -> None:
        """Close the stream at the box, if it hears us in time, and the connection."""
        with suppress(QssError, TimeoutError):
            if self.name is not None:
                async with asyncio.timeout(CLOSE_S):
                    await self._client.close_stream(self.name)
        self._client.disconnect()


def _explained(call: str, status: Status) -> DeviceError:
    remedy = _REMEDIES.get(status, "the standard has no such answer to this call; ask the vendor")
    return DeviceError(f"the box answered {call} {_said(status)}: {remedy}")


def _said(status: Status) -> str:
    return status.replace("_", " ")


def _counter_proposal(qos: QoS | None) -> str:
    if qos is None or not qos.key_chunk_size:
        return "set another chunk_bytes, as the vendor's manual says"
    return f"it offers chunks of {qos.key_chunk_size} bytes: set chunk_bytes to that"
