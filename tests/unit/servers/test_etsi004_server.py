"""The southbound interface over real TLS: who is served, what is refused, and that no key is lost with an answer."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.client.etsi004 import Etsi004Client
from qss.core.module.sessions import METADATA_ROOM
from qss.model.certificates import PeerCertificate
from qss.model.errors import ConnectionLost, DeviceError, LocalProtocolError, StreamEnded, Unauthorised
from qss.model.identifiers import StreamId
from qss.runtime.module.southbound import Southbound
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import MAX_PIPELINED, Etsi004Limits, Etsi004Server
from qss.wire.etsi004.framing import ANSWERS, FORGE_VERSION, QUBIP_VERSION, FrameDecoder
from qss.wire.etsi004.messages import (
    Answer,
    Close,
    Error,
    Form,
    GetKey,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
    Request,
    decode,
    encode,
)
from support.module_runners import A, B, TwoModules, until
from support.pki import Pki
from support.southbounds import Southbounds, must_be

ALICE = "sae:alice"
QUICK = Etsi004Limits(max_connections=3, request_s=0.3, idle_s=0.6, handshake_s=1.0)


@pytest.fixture
async def running(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Southbounds]:
    limits = getattr(request, "param", None)
    async with TwoModules() as modules, Southbounds(modules, Pki(tmp_path), limits) as southbounds:
        southbounds.modules = modules  # type: ignore[attr-defined]
        yield southbounds


class Raw:
    """A connection on which a test says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.decoder = FrameDecoder(ANSWERS)
        self.answers: list[tuple[Answer, tuple[int, int, int]]] = []

    @classmethod
    async def connect(cls, running: Southbounds, caller: str = ALICE, site=A) -> Raw:
        context = running.pki.sae_client_context(caller)
        address = running.address(site)
        return cls(*await asyncio.open_connection(address.host, address.port, ssl=context))

    async def ask(self, request: Request, version=FORGE_VERSION) -> Answer:
        self.writer.write(encode(request, version))
        answer, said = await self.answer()
        assert said == version
        return answer

    async def answer(self) -> tuple[Answer, tuple[int, int, int]]:
        """The next answer. Raises `EOFError` at the end of the connection."""
        while not self.answers:
            data = await asyncio.wait_for(self.reader.read(65536), 10)
            if not data:
                raise EOFError
            for frame in self.decoder.feed(data):
                self.answers.append((decode(frame), frame.version))
        return self.answers.pop(0)

    async def ended(self) -> bool:
        """Whether the other end closes without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True

    def cut(self) -> None:
        self.writer.transport.abort()


@pytest.fixture
async def raws() -> AsyncIterator[list[Raw]]:
    made: list[Raw] = []
    yield made
    for raw in made:
        raw.cut()


async def opened(running: Southbounds, raws: list[Raw], qos=None, ends=2) -> tuple[Raw, Raw, bytes]:
    """A stream that Alice has open at both ends."""
    a, b = await Raw.connect(running), await Raw.connect(running, site=B)
    raws += [a, b]
    answer = await a.ask(OpenConnect("app:a", "app:b", qos or QoS(key_chunk_size=64)))
    assert isinstance(answer, OpenConnectAnswer)
    if ends == 2:
        joined = await b.ask(OpenConnect("app:b", "app:a", QoS(), answer.stream))
        assert joined.status == 0
    return a, b, answer.stream


def number(counts, method: str, status: str) -> float:
    return next(s.value for s in counts.samples() if dict(s.labels)["method"] == method and s.labels[2][1] == status)


# --- who is served --------------------------------------------------------------------------------------------------


async def test_a_caller_that_may_not_call_gets_an_error_frame(tmp_path):
    def nobody(_: PeerCertificate) -> str:
        raise Unauthorised("nobody may")

    pki = Pki(tmp_path)
    async with TwoModules() as modules:
        refusing = Etsi004Server(
            "127.0.0.1", 0, pki.server_context("A"), lambda: Southbound(modules.a, A, B), nobody, CallCounts("A/1")
        )
        await refusing.start()
        host, port = refusing.address
        raw = Raw(*await asyncio.open_connection(host, port, ssl=pki.sae_client_context(ALICE)))
        assert await raw.answer() == (Error(), FORGE_VERSION)
        assert await raw.ended()
        assert number(refusing.counts, "none", "refused") == 1
        raw.cut()
        await refusing.close()
        await refusing.close()


async def test_a_caller_without_certificate_is_cut_off(running, raws):
    context = ssl.create_default_context(cafile=str(running.pki.authority))
    address = running.address(A)
    raws.append(Raw(*await asyncio.open_connection(address.host, address.port, ssl=context)))
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await raws[0].answer()


async def test_a_server_without_client_certificates_is_not_made(tmp_path):
    async with TwoModules() as modules:
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.raises(LocalProtocolError):
            Etsi004Server("h", 1, lax, lambda: Southbound(modules.a, A, B), str, CallCounts("A/1"))


async def test_somebody_elses_stream_is_neither_given_nor_closed_nor_opened(running, raws):
    a, _, stream = await opened(running, raws)
    mallory = await Raw.connect(running, "sae:mallory")
    raws.append(mallory)
    assert (await mallory.ask(GetKey(stream, 0))).status == 4
    assert (await mallory.ask(Close(stream))).status == 4
    assert (await mallory.ask(OpenConnect("app:a", "app:b", QoS(), stream))).status == 5
    assert (await mallory.ask(OpenConnect("app:a", "app:b"))).status == 4
    assert (await a.ask(GetKey(stream, 0))).status == 0


async def test_a_stream_is_its_callers_on_whatever_connection(running, raws):
    """As the forge's C client does: a connection for each call."""
    a, b, stream = await opened(running, raws)
    a.cut()
    b.cut()
    given = []
    for site in (A, B):
        for index in range(3):
            raw = await Raw.connect(running, site=site)
            given.append(await raw.ask(GetKey(stream, index)))
            raw.cut()
    assert [answer.key for answer in given[:3]] == [answer.key for answer in given[3:]]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BBBBI", 2, 1, 1, 4, (1 << 32) - 1),
        struct.pack(">BBBBI", 9, 9, 9, 4, 24) + bytes(24),
        struct.pack(">BBBBI", 2, 1, 1, 0x0C, 0),
        struct.pack(">BBBBI", 2, 1, 1, 0xFF, 0),
        struct.pack(">BBBBI", 2, 1, 1, 8, 3) + b"abc",
        b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["4 GB", "version", "service", "close server", "malformed", "http"],
)
async def test_what_cannot_be_read_ends_the_connection_and_nothing_else(running, raws, data):
    a, _, stream = await opened(running, raws)
    bad = await Raw.connect(running)
    raws.append(bad)
    bad.writer.write(data)
    assert await bad.answer() == (Error(), FORGE_VERSION)
    assert await bad.ended()
    assert number(running.server_a.counts, "none", "refused") == 1
    assert (await a.ask(GetKey(stream, 0))).status == 0


async def test_too_many_calls_at_once_end_the_connection(running, raws):
    a, _, stream = await opened(running, raws, ends=1)
    a.writer.write(encode(GetKey(stream, 0), FORGE_VERSION) * (MAX_PIPELINED + 2))
    assert await a.answer() == (Error(), FORGE_VERSION)
    assert await a.ended()


async def test_calls_on_one_connection_are_answered_in_order(running, raws):
    a, _, stream = await opened(running, raws)
    a.writer.write(b"".join(encode(GetKey(stream, index), FORGE_VERSION) for index in range(20)))
    answers = [(await a.answer())[0] for _ in range(20)]
    assert [answer.index for answer in answers] == list(range(20))
    assert {answer.status for answer in answers} == {0}


@pytest.mark.parametrize("running", [QUICK], indirect=True)
@pytest.mark.parametrize("begun", [b"", b"\2\1\1", encode(Close(bytes(16)), FORGE_VERSION)[:-1]])
async def test_half_a_frame_and_silence_are_not_waited_for_long(running, raws, begun):
    slow = await Raw.connect(running)
    raws.append(slow)
    slow.writer.write(begun)
    async with asyncio.timeout(5):
        assert await slow.ended()


@pytest.mark.parametrize("running", [QUICK], indirect=True)
async def test_whoever_uses_a_connection_keeps_it(running, raws):
    a, _, stream = await opened(running, raws, QoS(key_chunk_size=64, timeout=1000), ends=1)
    assert (await a.ask(GetKey(stream, 0))).status == 3  # after a wait longer than any limit
    await asyncio.sleep(0.4)
    assert (await a.ask(Close(stream))).status == 0


@pytest.mark.parametrize("running", [QUICK], indirect=True)
async def test_connections_above_the_limit_are_told(running, raws):
    for _ in range(3):
        raws.append(await Raw.connect(running))
        assert (await raws[-1].ask(Close(bytes(16)))).status == 4
    late = await Raw.connect(running)
    raws.append(late)
    assert (await late.answer())[0] == Error()
    raws.pop(0).cut()
    await until(lambda: len(vars(running.server_a)["_acceptor"].established) < 4)
    again = await Raw.connect(running)
    raws.append(again)
    assert (await again.ask(Close(bytes(16)))).status == 4


FEW = Etsi004Limits(max_connections=3, max_of_one=2)


@pytest.mark.parametrize("running", [FEW], indirect=True)
async def test_nobody_takes_up_all_connections(running, raws):
    for _ in range(2):
        raws.append(await Raw.connect(running))
        assert (await raws[-1].ask(Close(bytes(16)))).status == 4
    for _ in range(4):
        raws.append(await Raw.connect(running))
        assert (await raws[-1].answer())[0] == Error()
    raws.append(await Raw.connect(running, "sae:bob"))
    assert (await raws[-1].ask(Close(bytes(16)))).status == 4
    raws.pop(0).cut()
    await until(lambda: vars(running.server_a)["_callers"][ALICE] < 2)
    raws.append(await Raw.connect(running))
    assert (await raws[-1].ask(Close(bytes(16)))).status == 4


@pytest.mark.parametrize("running", [QUICK], indirect=True)
async def test_whoever_does_not_take_its_answers_is_cut_off(running, raws):
    a, _, stream = await opened(running, raws, QoS(key_chunk_size=65536))
    a.writer.transport.pause_reading()
    index = 0
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            while not any("took too long" in line["event"] for line in logs):
                a.writer.write(encode(GetKey(stream, index), FORGE_VERSION))
                index += 1
                await asyncio.sleep(0.01)
    assert index < 500


# --- nothing is lost ------------------------------------------------------------------------------------------------


async def test_an_answer_that_was_lost_is_given_again(running, raws):
    a, b, stream = await opened(running, raws)
    for index in range(3):
        lost = await Raw.connect(running)
        lost.writer.write(encode(GetKey(stream, index), FORGE_VERSION))
        await lost.writer.drain()
        await asyncio.sleep(0.02)
        lost.cut()
        again = await a.ask(GetKey(stream, index))
        assert (again.status, again.key) == (0, (await b.ask(GetKey(stream, index))).key)


async def test_a_caller_that_leaves_while_it_waits_has_taken_nothing(running, raws):
    a, b, stream = await opened(running, raws, ends=1)
    gone = await Raw.connect(running)
    gone.writer.write(encode(GetKey(stream, 0), FORGE_VERSION))
    await gone.writer.drain()
    gone.cut()
    assert (await b.ask(OpenConnect("app:b", "app:a", QoS(), stream))).status == 0
    assert (await a.ask(GetKey(stream, 0))).key == (await b.ask(GetKey(stream, 0))).key


async def test_the_stream_ends_with_the_server_and_what_was_kept_is_destroyed(running, raws):
    a, _, stream = await opened(running, raws)
    await a.ask(GetKey(stream, 0))
    southbound = vars(running.server_a)["_service"]
    assert vars(southbound)["_kept"] is not None
    await running.server_a.close()
    assert vars(southbound)["_kept"] is None
    assert running.modules.a.status().stream is None
    assert await a.ended()


async def test_a_lost_open_is_asked_again_by_its_name(running, raws):
    _, b, stream = await opened(running, raws)
    again = await Raw.connect(running)
    raws.append(again)
    answer = await again.ask(OpenConnect("app:a", "app:b", QoS(key_chunk_size=4096), stream))
    assert (answer.status, answer.qos.key_chunk_size, answer.stream) == (0, 64, stream)
    assert (await again.ask(GetKey(stream, 0))).key == (await b.ask(GetKey(stream, 0))).key


async def test_modules_that_lose_each_other_before_they_met_answer_timeout(running, raws):
    """Cases 2 and 4 of the standard."""
    a, _, stream = await opened(running, raws, QoS(key_chunk_size=64, timeout=5000), ends=1)
    for connection in running.modules.connections:
        connection.cut()
    assert (await a.ask(GetKey(stream, 0))).status == 6
    assert (await a.ask(OpenConnect("app:a", "app:b"))).status == 4


async def test_what_is_left_is_given_when_the_other_end_has_closed(running, raws):
    a, b, stream = await opened(running, raws)
    first = (await a.ask(GetKey(stream, 0))).key
    assert (await a.ask(Close(stream))).status == 0
    assert (await b.ask(GetKey(stream, 0))).key == first
    index, last = 1, 0
    while last == 0:
        last = (await b.ask(GetKey(stream, index))).status
        index += 1
    assert last == 4
    assert (await b.ask(Close(stream))).status == 0


async def test_a_chunk_is_not_given_to_two_who_ask_at_once(running):
    opened_ = await running.a.open_connect(A, B, None, 64)
    first = asyncio.create_task(running.a.get_key(opened_.stream, 0))
    await asyncio.sleep(0.01)
    with pytest.raises(DeviceError, match="already"):
        await running.a.get_key(opened_.stream, 0)
    await running.b.open_connect(B, A, opened_.stream, 64)
    assert await first == await running.b.get_key(opened_.stream, 0)


# --- forms, metadata, counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "version"), [(Form.FORGE, FORGE_VERSION), (Form.QUBIP, QUBIP_VERSION)])
async def test_each_is_answered_in_its_own_way(running, raws, form, version):
    a = await Raw.connect(running)
    raws.append(a)
    with_metadata = QoS(key_chunk_size=64, metadata_mimetype="application/json")
    answer = await a.ask(OpenConnect("app:a", "app:b", with_metadata, form=form), version)
    assert (answer.status, answer.form, answer.qos.metadata_mimetype) == (1, form, "application/json")
    b = await Raw.connect(running, site=B)
    raws.append(b)
    await b.ask(OpenConnect("app:b", "app:a", QoS(), answer.stream))
    small = await a.ask(GetKey(answer.stream, 0, METADATA_ROOM - 1, form), version)
    assert (small.status, small.room_needed) == (8, METADATA_ROOM)
    assert (small.key is None) is (form is Form.QUBIP)
    given = await a.ask(GetKey(answer.stream, 0, METADATA_ROOM, form), version)
    assert given.status == 0
    metadata = json.loads(given.metadata)
    assert metadata.keys() == {"age", "hops"}
    assert metadata["hops"] == 0
    assert 0 <= metadata["age"] < 10_000
    assert (await b.ask(GetKey(answer.stream, 0, 64, form), version)).metadata == b"", "none was agreed at this end"


async def test_age_grows_while_a_chunk_waits(running, raws):
    a, _, stream = await opened(running, raws, QoS(key_chunk_size=64, metadata_mimetype="application/json"))

    async def age() -> int:
        return json.loads((await a.ask(GetKey(stream, 0, 64))).metadata)["age"]

    first = await age()
    await asyncio.sleep(0.05)
    assert await age() >= first + 50


async def test_every_answer_is_counted_by_call_and_status(running, raws):
    a, _, stream = await opened(running, raws)
    for index in (0, 0, 1, 7):
        await a.ask(GetKey(stream, index))
    await a.ask(Close(stream))
    await a.ask(Close(stream))
    counted = Counter({s.labels[1:]: s.value for s in running.server_a.counts.samples() if s.value})
    assert {(method[1], status[1]): value for (method, status), value in counted.items()} == {
        ("open_connect", "peer_not_connected"): 1,
        ("get_key", "success"): 3,
        ("get_key", "insufficient_key"): 1,
        ("close", "success"): 1,
        ("close", "no_qkd_connection"): 1,
    }
    assert {s.labels[0] for s in running.server_a.counts.samples()} == {("module", "A/1")}


async def test_no_key_is_logged(running, raws):
    with capture_logs() as logs:
        a, _, stream = await opened(running, raws)
        key = (await a.ask(GetKey(stream, 0))).key.reveal()
        (await Raw.connect(running, "sae:mallory")).cut()
    assert key not in repr(logs).encode()
    assert key.hex() not in repr(logs)


# --- our own client -------------------------------------------------------------------------------------------------


async def test_the_client_refuses_another_server_than_was_meant(running):
    client = Etsi004Client(running.address(A), running.pki.client_context("B"), must_be(B))
    with pytest.raises(ConnectionLost, match="another server than was meant"):
        await client.close_stream(StreamId(bytes(16)))
    client.disconnect()


async def test_the_client_says_where_nobody_listens(running):
    await running.server_b.close()
    client = Etsi004Client(running.address(B), running.pki.client_context("B"), must_be(B))
    with pytest.raises(ConnectionLost, match="cannot connect"):
        await client.close_stream(StreamId(bytes(16)))


async def test_the_client_connects_anew_and_repeats_what_was_lost(running):
    await running.a.open_connect(A, B, None, 64)
    stream = vars(running.a)["_open"].stream
    await running.b.open_connect(B, A, stream, 64)
    given = []
    for index in range(4):
        given.append(await running.a.get_key(stream, index))
        for connection in vars(running.server_a)["_acceptor"].established:
            connection.abort()
        await asyncio.sleep(0)
    assert given == [await running.b.get_key(stream, index) for index in range(4)]


async def test_a_module_that_restarts_ends_the_stream_for_its_key_server(running, tmp_path):
    opened_ = await running.a.open_connect(A, B, None, 64)
    port = running.address(A).port
    await running.server_a.close()
    with pytest.raises(StreamEnded, match="cannot be asked"):
        await running.a.get_key(opened_.stream, 0)
    with pytest.raises(DeviceError, match="cannot be asked"):
        await running.a.open_connect(A, B, None, 64)
    running.server_a = Etsi004Server(
        "127.0.0.1",
        port,
        running.pki.server_context("A"),
        lambda: Southbound(running.modules.a, A, B),
        str,
        CallCounts("A/1"),
    )
    await running.server_a.start()
    again = await running.a.open_connect(A, B, None, 64)
    await running.b.open_connect(B, A, again.stream, 64)
    assert await running.a.get_key(again.stream, 0) == await running.b.get_key(again.stream, 0)
