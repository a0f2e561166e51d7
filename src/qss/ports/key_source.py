"""The key source: the three calls of ETSI GS QKD 004 (clause 6), as a QKS makes them at its QKDM.

In-process module and 004 client are two adapters of this one port. A key source is trusted to give both ends the
same bytes under the same index: the modules have checked that before bytes get an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qss.model.identifiers import QksId, StreamId
from qss.model.key_material import KeyMaterial


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """Answer to OPEN_CONNECT: the stream's ID and the size of its chunks in bytes."""

    stream: StreamId
    chunk_bytes: int


class KeySource(Protocol):
    """One link's source of key streams at one end."""

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        """Open a key stream: with `stream` None a new one is named (004 case 1), else the peer's is joined.

        `chunk_bytes` None asks for the size that fits the device's rate; a joiner gives the opener's.
        Raises `DeviceError` if no stream can be had now.
        """
        ...

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        """Return chunk `index` (from 0, each once, in order), waiting until it is there; and those that follow it.

        Of these, whole ones that are there already, together at most `most`: the index goes on behind them. A source
        may give fewer, down to the one, as the call of ETSI GS QKD 004 does.

        Raises `StreamEnded` when the stream will yield no more.
        """
        ...

    async def close(self, stream: StreamId) -> None:
        """End the stream at this end. Unknown streams are no error."""
        ...
