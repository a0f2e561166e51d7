"""WebSocket connections over mutual TLS: bounded, awake, and never hanging at the end."""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

import aiohttp
import pytest
import uvloop
from aiohttp import web
from structlog.testing import capture_logs

from qss.model.certificates import site_of
from qss.model.errors import ConnectionLost, ListenError, LocalProtocolError, NothingThere, Unauthorised
from qss.transport import listening
from qss.transport.accepting import SPARE_CONNECTIONS
from qss.transport.dialling import connect
from qss.transport.listening import Listener, Route
from qss.transport.proof import seconds_left
from qss.transport.websocket import CLOSING_S, WebSocketConnection
from support.pki import Pki, application_context

PROMPT = 2.0
"""Seconds within which what should happen at once has happened, also on a busy machine."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("websocket") / "pki")


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    async with asyncio.timeout(PROMPT):
        while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.wait(left)


@asynccontextmanager
async def listening_at(pki: Pki, routes: dict[str, Route], **options) -> AsyncIterator[Listener]:
    listener = Listener("127.0.0.1", 0, pki.server_context("A"), routes, **options)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


class Ends:
    """Both ends of one connection: `dialled` by site B, `accepted` by site A."""

    def __init__(self, dialled: WebSocketConnection, accepted: WebSocketConnection) -> None:
        self.dialled = dialled
        self.accepted = accepted

    def both_ways(self) -> list[tuple[WebSocketConnection, WebSocketConnection]]:
        return [(self.dialled, self.accepted), (self.accepted, self.dialled)]


class Wire:
    """A TCP relay that can freeze, as a cut cable does, or break."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def freeze(self) -> None:
        self._open.clear()

    def cut(self) -> None:
        for pump in self._pumps:
            pump.cancel()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._pumps.add(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.transport.abort()


@asynccontextmanager
async def connected(
    pki: Pki, *, silence_s: float = 5.0, max_frame: int = 1 << 20, theirs: int = 1 << 20
) -> AsyncIterator[tuple[Ends, Wire]]:
    accepted: asyncio.Future[WebSocketConnection] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hand_over(connection: WebSocketConnection) -> None:
        accepted.set_result(connection)
        await over.wait()

    routes = {"/": Route(("test.1",), hand_over, max_frame=theirs)}
    async with listening_at(pki, routes, silence_s=silence_s) as listener, Wire(listener.address[1]) as wire:
        dialled = await connect(
            f"wss://127.0.0.1:{wire.port}/",
            pki.client_context("B"),
            subprotocols=("test.1",),
            silence_s=silence_s,
            max_frame=max_frame,
        )
        try:
            yield Ends(dialled, await accepted), wire
        finally:
            over.set()
            await dialled.close()


async def lost(receiving: Awaitable[object]) -> str:
    with pytest.raises(ConnectionLost) as caught:
        await asyncio.wait_for(receiving, PROMPT)
    return str(caught.value)


async def dial(pki: Pki, listener: Listener, path: str = "/", **options) -> WebSocketConnection:
    context = options.pop("context", None) or pki.client_context("B")
    url = f"wss://127.0.0.1:{listener.address[1]}{path}"
    return await connect(url, context, **({"subprotocols": ("test.1",)} | options))


async def echo(connection: WebSocketConnection) -> None:
    while True:
        await connection.send(await connection.receive())


# --- frames -------------------------------------------------------------------------------------------------------


async def test_frames_go_whole_and_in_order_both_ways(pki):
    frames = [b"", b"a", bytes(125), bytes(126), bytes(65535), bytes(65536), b"\0\1\2", bytes(300_000)]
    async with connected(pki) as (ends, _):
        for one, other in ends.both_ways():
            for frame in frames:
                await one.send(frame)
            assert [await other.receive() for _ in frames] == frames


async def test_both_ends_know_each_other_and_the_protection(pki):
    async with connected(pki) as (ends, _):
        assert site_of(ends.dialled.peer) == "A"
        assert site_of(ends.accepted.peer) == "B"
        for end in (ends.dialled, ends.accepted):
            assert end.security.startswith("TLSv1.3, TLS_")
            assert end.subprotocol == "test.1"
            assert end.address == "127.0.0.1"


async def test_the_largest_frame_passes_and_a_larger_one_is_not_sent(pki):
    async with connected(pki, max_frame=1000, theirs=1000) as (ends, _):
        for one, other in ends.both_ways():
            with pytest.raises(LocalProtocolError, match="1001 bytes exceeds the limit of 1000"):
                await one.send(bytes(1001))
            await one.send(bytes(1000))
            assert await other.receive() == bytes(1000)


async def test_a_frame_above_the_receivers_limit_ends_the_connection(pki):
    async with connected(pki, max_frame=2000, theirs=1000) as (ends, _):
        await ends.dialled.send(bytes(1001))
        assert "above the limit of 1000 bytes" in await lost(ends.accepted.receive())
        await lost(ends.dialled.receive())


async def test_receive_can_be_cancelled_without_loss(pki):
    async with connected(pki) as (ends, _):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ends.accepted.receive(), 0.005)
        await ends.dialled.send(b"after")
        assert await ends.accepted.receive() == b"after"


async def test_a_slow_receiver_holds_the_sender_back(pki):
    async with connected(pki, theirs=100_000) as (ends, _):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(2000):
                await ends.dialled.send(bytes(50_000))
                sent += 1

        flooding = asyncio.create_task(flood())
        before = -1
        while sent != before:  # until it stands still
            before = sent
            await asyncio.sleep(0.05)
        # Buffers of two sockets, a relay and two TLS layers; not everything that could be sent.
        assert sent < 1000
        for _ in range(sent):
            assert len(await ends.accepted.receive()) == 50_000
        flooding.cancel()
        await asyncio.wait([flooding])


async def test_empty_frames_are_held_back_too(pki):
    async with connected(pki, theirs=1000) as (ends, _):
        for _ in range(500):
            await ends.dialled.send(b"")
        await asyncio.sleep(0.02)
        assert len(ends.accepted._frames) < 1000 // 64 + 2
        for _ in range(500):
            assert await ends.accepted.receive() == b""


# --- silence ------------------------------------------------------------------------------------------------------


async def test_both_ends_notice_a_cut_cable(pki):
    async with connected(pki, silence_s=0.2) as (ends, wire):
        wire.freeze()
        for end in (ends.dialled, ends.accepted):
            assert await lost(end.receive()) == "the other end was silent for 0.2 s"
            assert await lost(end.send(b"x")) == "the other end was silent for 0.2 s"


async def test_a_cut_cable_frees_a_sender_that_waits(pki):
    async with connected(pki, silence_s=0.2) as (ends, wire):
        wire.freeze()

        async def flood() -> None:
            while True:
                await ends.dialled.send(bytes(100_000))

        assert "silent" in await lost(flood())


async def test_an_idle_connection_lives(pki):
    async with connected(pki, silence_s=0.1) as (ends, _):
        await asyncio.sleep(0.35)
        for one, other in ends.both_ways():
            await one.send(b"still there")
            assert await other.receive() == b"still there"


async def test_whoever_is_slow_to_take_frames_is_not_taken_for_dead(pki):
    async with connected(pki, silence_s=0.1, theirs=100_000) as (ends, _):
        sending = asyncio.create_task(send_all(ends.dialled, [bytes(50_000)] * 400))
        await asyncio.sleep(0.35)
        assert not sending.done()
        for _ in range(400):
            assert len(await ends.accepted.receive()) == 50_000
        await sending


async def send_all(connection: WebSocketConnection, frames: list[bytes]) -> None:
    for frame in frames:
        await connection.send(frame)


# --- the end ------------------------------------------------------------------------------------------------------


async def test_what_was_sent_before_closing_arrives(pki):
    for dialler_closes in (True, False):
        async with connected(pki) as (ends, _):
            one, other = ends.both_ways()[0 if dialler_closes else 1]
            for number in range(100):
                await one.send(bytes([number]))
            await one.close()
            assert [await other.receive() for _ in range(100)] == [bytes([number]) for number in range(100)]
            assert await lost(other.receive()) == "the other end has closed the connection"
            assert await lost(other.send(b"x")) == "the other end has closed the connection"


async def test_closing_wakes_whoever_receives(pki):
    async with connected(pki) as (ends, _):
        receiving = asyncio.create_task(ends.dialled.receive())
        await asyncio.sleep(0)
        await ends.dialled.close()
        assert await lost(receiving) == "this end has closed the connection"
        assert await lost(ends.dialled.send(b"x")) == "this end has closed the connection"


async def test_closing_twice_and_at_both_ends_at_once(pki):
    async with connected(pki) as (ends, _):
        async with asyncio.timeout(PROMPT):
            await asyncio.gather(*(end.close() for end in (ends.dialled, ends.accepted, ends.dialled, ends.accepted)))
            await ends.dialled.close()


@pytest.mark.parametrize("closer", ["dialled", "accepted"])
async def test_closing_does_not_wait_for_a_dead_peer(pki, closer):
    async with connected(pki) as (ends, wire):
        end: WebSocketConnection = getattr(ends, closer)
        wire.freeze()
        flooding = asyncio.create_task(send_all(end, [bytes(100_000)] * 1000))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(CLOSING_S + PROMPT):
            await end.close()
        await lost(flooding)


async def test_closing_with_frames_unread_does_not_wait_in_vain(pki):
    async with connected(pki, theirs=1000) as (ends, _):
        await send_all(ends.dialled, [bytes(1000)] * 50)
        await asyncio.sleep(0.02)  # the buffer is full
        async with asyncio.timeout(CLOSING_S * 0.9):
            await ends.accepted.close()
        await lost(ends.accepted.receive())


async def test_a_broken_wire_is_noticed_at_once(pki):
    async with connected(pki) as (ends, wire):
        wire.cut()
        for end in (ends.dialled, ends.accepted):
            assert await lost(end.receive()) == "the connection broke"
            await lost(end.send(b"x"))


async def test_closing_the_listener_ends_its_connections(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        connections = [await dial(pki, listener) for _ in range(5)]
        async with asyncio.timeout(PROMPT):
            await listener.close()
        for connection in connections:
            await lost(connection.receive())
            await connection.close()
        assert "cannot connect" in await lost(dial(pki, listener))


# --- whom it lets in ----------------------------------------------------------------------------------------------


async def test_the_listeners_preferred_common_version_is_spoken(pki):
    routes = {"/": Route(("test.3", "test.2", "test.1"), echo)}
    async with listening_at(pki, routes) as listener:
        connection = await dial(pki, listener, subprotocols=("test.1", "test.2"))
        assert connection.subprotocol == "test.2"
        await connection.close()


async def test_without_a_common_version_both_sides_are_named(pki):
    async with listening_at(pki, {"/": Route(("test.3", "test.2"), echo)}) as listener:
        message = await lost(dial(pki, listener))
        assert "this end speaks test.1, the other end 'test.3, test.2'" in message


async def test_paths_lead_to_their_handlers_only(pki):
    async def greet(connection: WebSocketConnection) -> None:
        await connection.send(b"sync")

    routes = {"/external": Route(("test.1",), echo), "/sync": Route(("test.1",), greet)}
    async with listening_at(pki, routes) as listener:
        connection = await dial(pki, listener, "/sync")
        assert await connection.receive() == b"sync"
        await lost(connection.receive())  # the handler has returned
        await connection.close()
        assert "compare the UUIDs" in await lost(dial(pki, listener, "/other"))


async def test_connections_are_counted(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}, max_connections=2) as listener:
        one, two = await dial(pki, listener), await dial(pki, listener)
        assert "HTTP status 503" in await lost(dial(pki, listener))
        await one.close()
        async with asyncio.timeout(PROMPT):
            while True:
                try:
                    one = await dial(pki, listener)
                    break
                except ConnectionLost:
                    await asyncio.sleep(0.005)
        await one.close()
        await two.close()


async def test_callers_are_bounded_before_their_handshake(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}, max_connections=2) as listener:
        silent = [await asyncio.open_connection(*listener.address) for _ in range(2 + SPARE_CONNECTIONS)]
        assert "no connection within 0.3 s" in await lost(dial(pki, listener, timeout_s=0.3))  # it is not accepted
        for _, writer in silent[:2]:
            writer.close()
        connection = await dial(pki, listener)
        await connection.send(b"x")
        assert await connection.receive() == b"x"
        await connection.close()
        for _, writer in silent[2:]:
            writer.close()


async def test_a_slow_handshake_is_cut_off(pki, monkeypatch):
    monkeypatch.setattr(listening, "OPENING_S", 0.05)
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        reader, writer = await asyncio.open_connection(*listener.address)
        assert await asyncio.wait_for(reader.read(), PROMPT) == b""
        writer.close()


async def test_closing_cuts_handshakes_and_callers_that_have_not_asked(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        silent = [
            await asyncio.open_connection(*listener.address),
            await asyncio.open_connection(*listener.address, ssl=pki.client_context("B")),
        ]
        await asyncio.sleep(0.01)
        async with asyncio.timeout(PROMPT):
            await listener.close()
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()


async def test_a_handler_that_goes_on_after_its_connection_is_cancelled(pki, monkeypatch):
    monkeypatch.setattr(listening, "CLOSING_S", 0.05)
    cancelled = asyncio.Event()

    async def stubborn(connection: WebSocketConnection) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with listening_at(pki, {"/": Route(("test.1",), stubborn)}) as listener:
        connection = await dial(pki, listener)
        async with asyncio.timeout(PROMPT):
            await listener.close()
        assert cancelled.is_set()
        await connection.close()


async def test_a_name_is_listened_on_at_all_its_addresses(pki):
    listener = Listener("localhost", 0, pki.server_context("A"), {"/": Route(("test.1",), echo)})
    await listener.start()
    port = listener.address[1]
    for family, _, _, _, address in await asyncio.get_running_loop().getaddrinfo("localhost", port):
        host = f"[{address[0]}]" if family is socket.AF_INET6 else address[0]
        url = f"wss://{host}:{port}/"
        connection = await connect(url, pki.client_context("B"), subprotocols=("test.1",))
        await connection.close()
    await listener.close()


async def test_the_listener_works_on_uvloop(pki):
    def run() -> None:
        async def main() -> None:
            async with listening_at(pki, {"/": Route(("test.1",), echo)}, max_connections=1) as listener:
                connection = await dial(pki, listener)
                await connection.send(b"x")
                assert await connection.receive() == b"x"
                assert "HTTP status 503" in await lost(dial(pki, listener))
                reader, writer = await asyncio.open_connection(*listener.address)
                async with asyncio.timeout(PROMPT):
                    await listener.close()
                    assert await reader.read() == b""
                writer.close()
                await connection.close()

        uvloop.run(main())

    await asyncio.to_thread(run)


async def test_a_handlers_refusal_ends_its_connection_only(pki):
    refused: list[str] = []

    async def sites_only(connection: WebSocketConnection) -> None:
        try:
            site_of(connection.peer)
        except Unauthorised as error:
            refused.append(str(error))
            raise

    routes = {"/": Route(("test.1",), sites_only), "/echo": Route(("test.1",), echo)}
    async with listening_at(pki, routes) as listener:
        connection = await dial(pki, listener, context=pki.sae_client_context("sae:alice"))
        await lost(connection.receive())
        await connection.close()
        assert len(refused) == 1
        connection = await dial(pki, listener, "/echo")
        await connection.send(b"fine")
        assert await connection.receive() == b"fine"
        await connection.close()


async def test_strangers(pki, tmp_path):
    stranger = Pki(tmp_path / "stranger")
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        message = await lost(dial(pki, listener, context=stranger.client_context("B")))
        assert "the other end's certificate is not accepted" in message
        for pair in (stranger.site("B"), pki.expired_site("B")):
            context = application_context(pair, pki.authority)
            message = await lost(dial(pki, listener, context=context))
            assert "whether it accepts our certificate" in message
        nobody = ssl.create_default_context(cafile=pki.authority)
        assert "whether it accepts our certificate" in await lost(dial(pki, listener, context=nobody))
        old = pki.sae_client_context("sae:old")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        await lost(dial(pki, listener, context=old))


async def test_no_plaintext(pki):
    with pytest.raises(LocalProtocolError, match="wss://"):
        await connect("ws://127.0.0.1:1/", pki.client_context("B"), subprotocols=("test.1",))
    careless = pki.client_context("B")
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(LocalProtocolError, match="demand the server's certificate"):
        await connect("wss://127.0.0.1:1/", careless, subprotocols=("test.1",))
    open_to_all = pki.server_context("A")
    open_to_all.verify_mode = ssl.CERT_OPTIONAL
    with pytest.raises(LocalProtocolError, match="demands its callers' certificates"):
        Listener("127.0.0.1", 0, open_to_all, {})


@asynccontextmanager
async def http_server(answer: Callable, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    http = web.Server(answer)
    server = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await http.shutdown(1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "elsewhere", ["http://127.0.0.1:{port}/", "/", "https://a..b/", f"https://{'x' * 64}/", "//", "\\"]
)
async def test_a_redirect_is_not_followed(pki, status, elsewhere):
    asked = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response()

    async with http_server(answer, None) as plain:

        async def redirect(request: web.BaseRequest) -> web.StreamResponse:
            asked.append("first")
            return web.Response(status=status, headers={"Location": elsewhere.format(port=plain)})

        async with http_server(redirect, pki.server_context("A")) as port:
            url = f"wss://127.0.0.1:{port}/"
            message = await lost(connect(url, pki.client_context("B"), subprotocols=("test.1",)))
            assert "correct the link's address" in message
    assert asked == ["first"]


async def test_an_address_that_is_none_is_no_defect(pki):
    for url in ("wss://a..b:1/", f"wss://{'x' * 64}:1/"):
        assert await lost(connect(url, pki.client_context("B"), subprotocols=("test.1",)))


async def test_a_server_that_chooses_no_version(pki):
    async def upgrade(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async with http_server(upgrade, pki.server_context("A")) as port:
        url = f"wss://127.0.0.1:{port}/"
        message = await lost(connect(url, pki.client_context("B"), subprotocols=("test.1",)))
        assert "chose none of the versions test.1" in message


async def test_dialling_gives_up_in_time(pki):
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"wss://127.0.0.1:{port}/"
    dialling = connect(url, pki.client_context("B"), subprotocols=("test.1",), timeout_s=0.05)
    assert "no connection within 0.05 s" in await lost(dialling)
    server.close()


async def test_a_caller_that_never_asks_is_cut_off(pki, monkeypatch):
    monkeypatch.setattr(listening, "OPENING_S", 0.05)
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        reader, writer = await asyncio.open_connection(*listener.address, ssl=pki.client_context("B"))
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")  # and then nothing more
        assert await asyncio.wait_for(reader.read(), PROMPT) == b""
        writer.close()
        connection = await dial(pki, listener)
        await asyncio.sleep(0.15)  # one that did ask stays
        await connection.send(b"x")
        assert await connection.receive() == b"x"
        await connection.close()


async def test_an_address_in_use(pki):
    async with listening_at(pki, {}) as listener:
        host, port = listener.address
        second = Listener(host, port, pki.server_context("A"), {})
        with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1 port {port}.*another address"):
            await second.start()
        await second.close()


async def test_ipv6(pki):
    listener = Listener("::1", 0, pki.server_context("A"), {"/": Route(("test.1",), echo)})
    await listener.start()
    host, port = listener.address
    connection = await connect(f"wss://[{host}]:{port}/", pki.client_context("B"), subprotocols=("test.1",))
    await connection.close()
    await listener.close()


# --- other implementations ----------------------------------------------------------------------------------------


@asynccontextmanager
async def foreign_client(pki: Pki, listener: Listener) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    connector = aiohttp.TCPConnector(ssl=pki.client_context("B"))
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"wss://127.0.0.1:{listener.address[1]}/"
        async with session.ws_connect(url, protocols=("test.1",), autoping=False) as socket:
            yield socket


async def test_pings_are_answered(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener, foreign_client(pki, listener) as socket:
        await socket.ping(b"one")
        message = await socket.receive(timeout=PROMPT)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"one")


async def test_text_is_refused(pki):
    reasons: list[str] = []

    async def listen(connection: WebSocketConnection) -> None:
        reasons.append(await lost(connection.receive()))

    routes = {"/": Route(("test.1",), listen)}
    async with listening_at(pki, routes) as listener, foreign_client(pki, listener) as socket:
        await socket.send_str("text")
        await socket.receive(timeout=PROMPT)
    assert reasons == ["the other end sent a text message, where frames are binary"]


async def test_plain_requests_are_refused(pki):
    async with listening_at(pki, {"/": Route(("test.1",), echo)}) as listener:
        connector = aiohttp.TCPConnector(ssl=pki.client_context("B"))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://127.0.0.1:{listener.address[1]}/"
            async with session.get(url, headers={"Sec-WebSocket-Protocol": "test.1"}) as response:
                assert response.status == 400
                assert "WebSocket connections only" in await response.text()


@pytest.mark.parametrize("end", ["accepting", "dialling"])
async def test_a_connection_ends_with_the_other_ends_certificate(pki, monkeypatch, end) -> None:
    monkeypatch.setattr(importlib.import_module(f"qss.transport.{end}"), "seconds_left", lambda _: 0.5)
    async with connected(pki) as (ends, _):
        await ends.dialled.send(b"still valid")
        assert await ends.accepted.receive() == b"still valid"
        for connection in (ends.dialled, ends.accepted):
            await lost(connection.receive())


async def test_a_certificate_is_valid_for_as_long_as_it_says(pki) -> None:
    async with connected(pki) as (ends, _):
        left = seconds_left(ends.dialled._transport.get_extra_info("ssl_object"))
        assert 9.9 * 86_400 < left <= 10 * 86_400
    assert seconds_left(None) is None


async def test_a_caller_that_is_refused_again_and_again_is_a_line(pki) -> None:
    async def nobody(_: WebSocketConnection) -> None:
        raise Unauthorised("nobody may")

    routes = {"/": Route(("test.1",), nobody)}
    with capture_logs() as logs:
        async with listening_at(pki, routes) as listener:
            for number in range(4):
                for site in "BC":
                    context = pki.client_context(site)
                    await lost(dial(pki, listener, f"/{number}", context=context))
                    connection = await dial(pki, listener, context=context)
                    await lost(connection.receive())
                    await connection.close()
    told = [log["event"] for log in logs]
    assert told.count("somebody asked for a path that is not here, or not yet") == 2
    assert told.count("connection ended") == 2


async def test_a_path_that_somebody_goes_on_asking_for_is_a_warning_with_a_remedy(pki, monkeypatch) -> None:
    monkeypatch.setattr("qss.transport.telling.LASTS_S", 0.0)
    with capture_logs() as logs:
        async with listening_at(pki, {}) as listener:
            await lost(dial(pki, listener, "/sync/x"))
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("warning", "somebody goes on asking for a path that is not here")
    ]
    assert "compare the UUIDs" in logs[0]["remedy"]


async def test_that_there_is_nothing_at_a_path_is_told_apart(pki) -> None:
    async with listening_at(pki, {}) as listener:
        with pytest.raises(NothingThere):
            await dial(pki, listener, "/sync/x")


async def test_a_long_path_is_cut_in_the_log(pki) -> None:
    with capture_logs() as logs:
        async with listening_at(pki, {}) as listener:
            await lost(dial(pki, listener, "/" + 5000 * "x"))
    assert len(logs[0]["path"]) == 100
