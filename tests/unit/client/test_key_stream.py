"""An application's end of a key stream: what it asks, how long it waits, and what it makes of each answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qss.client.etsi004 import Chunk, Opened
from qss.client.key_stream import KeyStreamClient, StreamChunk
from qss.model.errors import (
    BadRequest,
    InvalidIdentifier,
    LocalProtocolError,
    RemoteProtocolError,
    StreamEnded,
    Unavailable,
)
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status
from support.pki import Pki

NAME, OTHER_NAME = StreamId(b"predefined KSID!"), StreamId(b"another KSID ...")
KEY = KeyMaterial(b"k" * 32)
TOLD = b'{"age": 7, "hops": 2, "vendor": true}'


def chunk(status: Status = Status.SUCCESS, index: int = 0, metadata: bytes = TOLD) -> Chunk:
    success = status is Status.SUCCESS
    return Chunk(status, index, KEY if success else None, metadata if success else b"", 0)


@dataclass
class FakeServer:
    """What the client calls: answers by turns."""

    opens: Opened = field(default_factory=lambda: Opened(Status.PEER_NOT_CONNECTED, QoS(), NAME))
    chunks: list[Chunk] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)

    async def open_connect(self, source: str, destination: str, qos: QoS, stream: StreamId | None) -> Opened:
        self.asked.append((source, destination, qos.key_chunk_size, stream))
        return self.opens

    async def get_key(self, stream: StreamId, index: int, metadata_size: int, *, timeout_ms: int) -> Chunk:
        self.asked.append((stream, index))
        await asyncio.sleep(0)
        return self.chunks.pop(0)

    async def close_stream(self, stream: StreamId) -> Status:
        self.asked.append(("close", stream))
        return Status.SUCCESS

    def disconnect(self) -> None:
        self.asked.append("disconnect")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("streams") / "pki")


def client_of(
    pki: Pki, server: FakeServer, patience_s: float = 60, address: str = "localhost:1", own: str = "sae:a"
) -> KeyStreamClient:
    pair = pki.sae("sae:a")
    client = KeyStreamClient(
        address, pair.certificate, pair.key, Path(pki.authority), own, "sae:b", patience_s=patience_s
    )
    client._client = server  # type: ignore[assignment]
    return client


async def test_chunks_come_in_order_and_the_stream_is_closed(pki: Pki) -> None:
    server = FakeServer(chunks=[chunk(), chunk(Status.INSUFFICIENT_KEY, 1), chunk(index=1)])
    async with client_of(pki, server) as client:
        assert await client.open(chunk_bytes=32) == NAME
        assert await client.chunk() == StreamChunk(0, KEY, 7, 2)
        assert (await client.chunk()).index == 1
    asked = [("sae:a", "sae:b", 32, None), (NAME, 0), (NAME, 1), (NAME, 1), ("close", NAME), "disconnect"]
    assert server.asked == asked


async def test_another_stream_is_opened_in_place_of_the_first(pki: Pki) -> None:
    server = FakeServer(chunks=[chunk(), chunk()])
    async with client_of(pki, server) as client:
        for _ in range(2):
            await client.open(NAME)
            assert (await client.chunk()).index == 0
    assert server.asked.count(("close", NAME)) == 2


@pytest.mark.parametrize("status", [Status.NO_QKD_CONNECTION, Status.KSID_IN_USE, Status.TIMEOUT, Status.QOS_NOT_MET])
async def test_what_is_not_opened_is_told_and_not_closed(pki: Pki, status: Status) -> None:
    server = FakeServer(Opened(status, QoS(), None))
    async with client_of(pki, server) as client:
        with pytest.raises(Unavailable, match=r"opens no key stream: [a-z]+ "):
            await client.open()
        with pytest.raises(LocalProtocolError):
            await client.chunk()
    assert ("close", NAME) not in server.asked


async def test_another_stream_than_was_asked_for_is_none(pki: Pki) -> None:
    async with client_of(pki, FakeServer()) as client:
        with pytest.raises(RemoteProtocolError):
            await client.open(OTHER_NAME)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (Status.PEER_APPLICATION_NOT_CONNECTED, "sae:b has not opened"),
        (Status.INSUFFICIENT_KEY, "not enough key"),
    ],
)
async def test_patience_has_an_end(pki: Pki, status: Status, why: str) -> None:
    async with client_of(pki, FakeServer(chunks=[chunk(status)]), patience_s=0) as client:
        await client.open()
        with pytest.raises(Unavailable, match=why):
            await client.chunk()


@pytest.mark.parametrize("status", [Status.NO_QKD_CONNECTION, Status.TIMEOUT])
async def test_an_end_is_told(pki: Pki, status: Status) -> None:
    async with client_of(pki, FakeServer(chunks=[chunk(status)])) as client:
        await client.open()
        with pytest.raises(StreamEnded):
            await client.chunk()


@pytest.mark.parametrize(
    "came", [chunk(index=1), chunk(metadata=b""), chunk(metadata=b'{"age": 1}'), chunk(metadata=b"\xff")]
)
async def test_what_is_no_answer_is_refused(pki: Pki, came: Chunk) -> None:
    async with client_of(pki, FakeServer(chunks=[came])) as client:
        await client.open()
        with pytest.raises(RemoteProtocolError):
            await client.chunk()


def test_what_cannot_be_asked_is_refused(pki: Pki) -> None:
    with pytest.raises(BadRequest, match="host:port"):
        client_of(pki, FakeServer(), address="https://localhost:1")
    with pytest.raises(InvalidIdentifier):
        client_of(pki, FakeServer(), own="two words")
