"""The door over real TLS: what comes slowly, in masses, broken or unproved is bounded, and answered where it can be."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
import uvloop

from qss.model.errors import ListenError, LocalProtocolError
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener, Limits
from qss.servers.messages import Request, Response
from qss.transport import http_connection
from qss.transport.accepting import SPARE_CONNECTIONS
from qss.transport.binding import bind
from support.northbound import ALICE, BOB, FakeKeyService, Northbound, northbound
from support.pki import Pki, application_context

PROMPT = 3.0
"""Seconds within which what should happen at once has happened, also on a busy machine."""

KEYS = f"/api/v1/keys/{BOB}/enc_keys"


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("door") / "pki")


@pytest.fixture(autouse=True)
def short_lingering(monkeypatch) -> None:
    monkeypatch.setattr(http_connection, "LINGERING_S", 0.1)


class Caller:
    """One TLS connection, on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str = KEYS) -> tuple[int, dict[str, str], bytes]:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return await self.answer()

    async def post(self, body: bytes = b"", *headers: str, path: str = KEYS) -> None:
        head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *headers])
        await self.send(head.encode() + b"\r\n\r\n" + body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers, body."""
        async with asyncio.timeout(PROMPT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def is_closed(self) -> bool:
        """Whether the other end closes without saying more."""
        async with asyncio.timeout(PROMPT):
            try:
                return await self.reader.read() == b""
            except OSError:
                return True


@asynccontextmanager
async def calling(door: Northbound, context: ssl.SSLContext | None = None) -> AsyncIterator[Caller]:
    host, port = door.listener.address
    context = context or door.pki.sae_client_context(ALICE)
    async with asyncio.timeout(PROMPT):
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def message(answer: tuple[int, dict[str, str], bytes], status: int = 400) -> str:
    code, headers, body = answer
    assert code == status
    assert headers["content-type"] == "application/json"
    return json.loads(body)["message"]


async def asked(service: FakeKeyService) -> None:
    """Wait until a request has reached the key server."""
    async with asyncio.timeout(PROMPT):
        while not service.asked:  # noqa: ASYNC110 - the fake is for use without a loop as well
            await asyncio.sleep(0.001)


async def refused_connection(door: Northbound, context: ssl.SSLContext) -> None:
    """Come with a certificate that must not even get an answer."""
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with calling(door, context) as caller:
            await caller.get()


# --- who may come -------------------------------------------------------------------------------------------------


async def test_a_certificate_without_sae_id_gets_401_without_a_word(pki) -> None:
    for pair in (pki.nameless(), pki.site("B")):
        async with northbound(pki, FakeKeyService()) as door:
            async with calling(door, application_context(pair, pki.authority)) as caller:
                status, headers, body = await caller.get()
            assert (status, headers["content-length"], body) == (401, "0", b"")
            assert "content-type" not in headers
            assert door.counted() == {("none", "401"): 1}


async def test_expired_foreign_and_missing_certificates_fail_in_tls(pki, tmp_path) -> None:
    service = FakeKeyService()
    foreign = Pki(tmp_path / "foreign")
    async with northbound(pki, service) as door:
        with structlog.testing.capture_logs() as log:
            await refused_connection(door, application_context(pki.expired_sae(ALICE), pki.authority))
            await refused_connection(door, application_context(foreign.sae(ALICE), pki.authority))
            await refused_connection(door, ssl.create_default_context(cafile=str(pki.authority)))
        assert {(line["event"], line["caller"]) for line in log} == {("TLS handshake failed", "127.0.0.1")}
        assert log[0]["reason"] == "certificate has expired"
        assert service.asked == []
        async with calling(door) as caller:
            assert (await caller.get())[0] == 200


async def test_plaintext_gets_nothing(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door:
        reader, writer = await asyncio.open_connection(*door.listener.address)
        writer.write(f"GET {KEYS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        async with asyncio.timeout(PROMPT):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()
        await writer.wait_closed()


async def test_tls_1_2_is_refused_unless_allowed(pki) -> None:
    context = pki.sae_client_context(ALICE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with northbound(pki, FakeKeyService()) as door:
        await refused_connection(door, context)


def test_a_context_that_ignores_certificates_is_refused() -> None:
    async def answer(_: Request) -> Response:
        return Response(200)

    with pytest.raises(LocalProtocolError):
        HttpsListener("127.0.0.1", 0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), answer)


# --- bodies -------------------------------------------------------------------------------------------------------

GIGABYTE = 1 << 30


async def test_a_body_announced_as_too_large_is_refused_before_it_comes(pki) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door, calling(door) as caller:
        await caller.post(b"", f"Content-Length: {GIGABYTE}")
        answer = await caller.answer()
        assert message(answer) == "the body is too large: at most 65536 bytes are read"
        assert answer[1]["connection"] == "close"
        assert await caller.is_closed()
        assert door.counted() == {("none", "400"): 1}
    assert service.asked == []


async def test_nobody_is_told_to_continue_with_a_body_that_is_too_large(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.post(b"", f"Content-Length: {GIGABYTE}", "Expect: 100-continue")
        assert "too large" in message(await caller.answer())


async def test_a_body_that_may_come_is_awaited_with_100_continue(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.post(b"", "Content-Length: 13", "Expect: 100-continue")
        assert (await caller.answer())[0] == 100
        await caller.send(b'{"number": 2}')
        status, _, body = await caller.answer()
        assert (status, len(json.loads(body)["keys"])) == (200, 2)


async def flood(caller: Caller, data: bytes) -> int:
    """Send until the other end has enough; return how much it took."""
    sent = 0
    try:
        while sent < GIGABYTE:
            await caller.send(data)
            sent += len(data)
            # Over TLS, drain() does not yield once a send has failed: unless the loop runs, nobody hears of the
            # connection's end, and what is written then is dropped but counted.
            await asyncio.sleep(0)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("headers", [("Transfer-Encoding: chunked",), (f"Content-Length: {GIGABYTE}",)])
async def test_a_stream_without_end_is_refused_and_takes_no_memory(pki, headers) -> None:
    chunk = b"x" * (1 << 18)
    data = b"%x\r\n%s\r\n" % (len(chunk), chunk) if "chunked" in headers[0] else chunk
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await caller.post(b"", *headers)
        flooding = asyncio.create_task(flood(caller, data))
        assert "too large" in message(await caller.answer())
        async with asyncio.timeout(PROMPT):
            assert await flooding < GIGABYTE
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB
        assert door.counted() == {("none", "400"): 1}


async def test_a_body_of_just_the_limit_is_read(pki) -> None:
    limits = Limits(max_body_bytes=100)
    async with northbound(pki, FakeKeyService(), limits=limits) as door, calling(door) as caller:
        for body, status in ((b" " * 98 + b"{}", 200), (b" " * 99 + b"{}", 400)):
            await caller.post(body, f"Content-Length: {len(body)}")
            assert (await caller.answer())[0] == status


async def test_a_chunked_body_is_read(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.post(b'3\r\n{"n\r\na\r\number": 2}\r\n0\r\n\r\n', "Transfer-Encoding: chunked")
        status, _, body = await caller.answer()
        assert (status, len(json.loads(body)["keys"])) == (200, 2)


async def test_a_slow_body_is_refused(pki) -> None:
    service = FakeKeyService()
    async with northbound(pki, service, limits=Limits(request_s=0.1)) as door, calling(door) as caller:
        await caller.post(b'{"number"', "Content-Length: 13")
        assert message(await caller.answer()) == "the request did not arrive within 0.1 s"
        assert await caller.is_closed()
    assert service.asked == []


@pytest.mark.parametrize("headers", [("Content-Length: 13",), ("Transfer-Encoding: chunked",)])
async def test_a_body_that_breaks_off_asks_for_nothing(pki, headers) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door:
        async with calling(door) as caller:
            await caller.post(b"2\r\n{}\r\n" if "chunked" in headers[0] else b"{}", *headers)
        async with calling(door) as caller:
            assert (await caller.get())[0] == 200
        assert door.counted() == {("enc_keys", "200"): 1}
    assert len(service.asked) == 1


async def test_bytes_beyond_the_body_are_no_second_request(pki) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door, calling(door) as caller:
        await caller.post(b'{}{"number": 2}\r\n\r\n', "Content-Length: 2")
        assert "well-formed" in message(await caller.answer())
        assert await caller.is_closed()
    assert service.asked == []


async def test_a_compressed_body_is_not_unpacked(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.post(b"\x1f\x8b\x08\x00", "Content-Length: 4", "Content-Encoding: gzip")
        assert "UTF-8" in message(await caller.answer())


# --- heads --------------------------------------------------------------------------------------------------------

BROKEN_HEADS = {
    "no HTTP": b"\x00\x01\x02\x03\r\n\r\n",
    "long line": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + b"\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 100 + b"\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "bad chunk": b"POST " + KEYS.encode() + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("head", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_what_is_no_http_gets_an_error_and_no_traceback(pki, head, caplog) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door, calling(door) as caller:
        await caller.send(head)
        answer = await caller.answer()
        assert message(answer)
        assert answer[1]["server"] == "qss"
        assert await caller.is_closed()
        assert set(door.counted()) == {("none", "400")}
    assert service.asked == []
    assert caplog.records == []


async def test_a_slow_head_and_an_idle_connection_are_cut_off(pki) -> None:
    limits = Limits(idle_s=0.1)
    async with northbound(pki, FakeKeyService(), limits=limits) as door:
        async with calling(door) as caller:
            assert await caller.is_closed()
        async with calling(door) as caller:
            await caller.send(b"GET / HT")
            assert await caller.is_closed()
        async with calling(door) as caller:
            assert (await caller.get())[0] == 200
            assert await caller.is_closed()


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS", "PUT", "DELETE", "BREW"])
async def test_other_verbs_get_400(pki, verb) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.send(f"{verb} {KEYS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        first, *_ = (await caller.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        assert b" 400 " in first


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET {KEYS} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (f"GET {KEYS} HTTP/1.0\r\n\r\n", 200),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    ],
)
async def test_a_connection_never_becomes_another_protocol(pki, head, status) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        await caller.send(head.encode())
        assert (await caller.answer())[0] == status


@pytest.mark.parametrize("target", ["https://a/api/v1/keys/sae%3Abob/status?x=1", "/api/v1/keys/a%2Fb/status", "*"])
async def test_targets_arrive_as_they_were_sent(pki, target) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        assert (await caller.get(target))[0] == (400 if target == "*" else 200)


# --- answers ------------------------------------------------------------------------------------------------------


async def test_a_key_answer_may_not_be_kept(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        status, headers, _ = await caller.get()
    assert (status, headers["cache-control"], headers["content-type"]) == (200, "no-store", "application/json")
    assert "aiohttp" not in headers["server"]


async def test_a_defect_becomes_a_503_that_says_nothing(pki, caplog) -> None:
    service = FakeKeyService(failure=RuntimeError("key 0123456789"))
    async with northbound(pki, service) as door, calling(door) as caller:
        with structlog.testing.capture_logs() as log:
            answer = await caller.get()
        assert "0123456789" not in message(answer, 503)
        assert [(line["event"], line["error"]) for line in log] == [("request failed", "RuntimeError")]
        assert "northbound.py:" in log[0]["place"]
        assert "0123456789" not in str(log)
        assert door.counted() == {("none", "503"): 1}
        service.failure = None
        assert (await caller.get())[0] == 200
    assert caplog.records == []


async def test_a_key_server_that_does_not_answer_in_time(pki) -> None:
    service = FakeKeyService(gate=asyncio.Event())
    async with northbound(pki, service, limits=Limits(request_s=0.1)) as door, calling(door) as caller:
        assert "no answer within 0.1 s" in message(await caller.get(), 503)


async def test_an_answer_that_is_not_taken_is_given_up(pki) -> None:
    await given_up(pki)


async def given_up(pki: Pki) -> None:
    async def answer(_: Request) -> Response:
        return Response(200, {}, bytes(64 << 20))

    listener = HttpsListener("127.0.0.1", 0, pki.northbound_context("A"), answer, limits=Limits(request_s=0.2))
    await listener.start()
    try:
        with structlog.testing.capture_logs() as log:
            async with calling(Northbound(pki, listener, RequestCounts())) as caller:
                await caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await caller.reader.readuntil(b"\r\n\r\n")
                async with asyncio.timeout(PROMPT):
                    while not log:  # noqa: ASYNC110 - a list has no event
                        await asyncio.sleep(0.01)
        assert [line["event"] for line in log] == ["an answer was not taken in time"]
    finally:
        await listener.close()


# --- connections --------------------------------------------------------------------------------------------------


async def test_connections_above_the_limit_are_told_so(pki) -> None:
    async with northbound(pki, FakeKeyService(), limits=Limits(max_connections=1)) as door:
        async with calling(door) as first:
            assert (await first.get())[0] == 200
            async with calling(door) as second:
                assert "too many connections" in message(await second.get(), 503)
                assert await second.is_closed()
            assert (await first.get())[0] == 200
        await asyncio.sleep(0.01)
        async with calling(door) as third:
            assert (await third.get())[0] == 200
        assert door.counted() == {("enc_keys", "200"): 3, ("none", "503"): 1}


async def test_slow_handshakes_are_cut_off_and_hold_up_nobody_for_long(pki) -> None:
    limits = Limits(max_connections=1, handshake_s=0.2)
    async with northbound(pki, FakeKeyService(), limits=limits) as door:
        silent = [await asyncio.open_connection(*door.listener.address) for _ in range(1 + SPARE_CONNECTIONS)]
        async with calling(door) as caller:  # waits in the queue until the silent ones are cut off
            assert (await caller.get())[0] == 200
        for reader, writer in silent:
            async with asyncio.timeout(PROMPT):
                assert await reader.read() == b""
            writer.close()


async def test_many_callers_at_once(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door:

        async def one() -> int:
            async with calling(door) as caller:
                return (await caller.get())[0]

        assert await asyncio.gather(*(one() for _ in range(30))) == [200] * 30


async def test_pipelined_requests_are_answered_in_order(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as caller:
        for number in (1, 2, 3):
            await caller.send(f"GET {KEYS}?number={number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert [len(json.loads((await caller.answer())[2])["keys"]) for _ in range(3)] == [1, 2, 3]


# --- beginning and end --------------------------------------------------------------------------------------------


async def test_closing_lets_requests_under_way_finish(pki) -> None:
    service = FakeKeyService(gate=asyncio.Event())
    async with northbound(pki, service) as door, calling(door) as busy, calling(door) as idle:
        asking = asyncio.create_task(busy.get())
        await asked(service)
        closing = asyncio.create_task(door.listener.close(drain_s=PROMPT))
        assert await idle.is_closed()
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            async with calling(door):
                pass
        assert not closing.done()
        service.gate.set()
        status, headers, _ = await asking
        assert (status, headers["connection"]) == (200, "close")
        async with asyncio.timeout(PROMPT):
            await closing


async def test_closing_waits_no_longer_than_it_was_told(pki) -> None:
    service = FakeKeyService(gate=asyncio.Event())
    async with northbound(pki, service) as door, calling(door) as caller:
        asking = asyncio.create_task(caller.get())
        await asked(service)
        async with asyncio.timeout(PROMPT):
            await door.listener.close(drain_s=0.05)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await asking


async def test_closing_ends_handshakes_and_uploads(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, calling(door) as uploading:
        reader, writer = await asyncio.open_connection(*door.listener.address)
        await uploading.post(b"{", "Content-Length: 2")
        await asyncio.sleep(0.01)
        async with asyncio.timeout(PROMPT):
            await door.listener.close()
            assert await reader.read() == b""
        writer.close()
        assert await uploading.is_closed()


async def test_a_listener_that_was_not_started_can_be_closed_twice(pki) -> None:
    async def answer(_: Request) -> Response:
        return Response(200)

    listener = HttpsListener("127.0.0.1", 0, pki.northbound_context("A"), answer)
    with pytest.raises(LocalProtocolError):
        _ = listener.address
    await listener.close()
    await listener.close()


async def test_an_address_in_use_is_named_with_a_remedy(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door:
        port = door.listener.address[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1 port {port} \(.*\): stop what uses it"):
            await bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
async def test_an_address_that_is_not_ours_is_named(host) -> None:
    with pytest.raises(ListenError, match=host):
        await bind(host, 0)


async def test_a_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    sockets = await bind("localhost", 0)
    try:
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        assert len({opened.family for opened in sockets}) == len(sockets)
        assert {opened.family for opened in sockets} <= {socket.AF_INET, socket.AF_INET6}
    finally:
        for opened in sockets:
            opened.close()


def test_the_door_works_on_uvloop(pki) -> None:
    async def main() -> None:
        service = FakeKeyService()
        async with northbound(pki, service, limits=Limits(request_s=0.2)) as door:
            async with door.client(ALICE) as alice:
                assert len(await alice.get_keys(BOB, number=2)) == 2
            async with calling(door) as caller:
                await caller.post(b"{", "Content-Length: 2")
                assert "did not arrive" in message(await caller.answer())
                assert await caller.is_closed()
            await refused_connection(door, ssl.create_default_context(cafile=str(pki.authority)))
            silent, writer = await asyncio.open_connection(*door.listener.address)
            async with calling(door) as idle:
                async with asyncio.timeout(PROMPT):
                    await door.listener.close()
                assert await idle.is_closed()
            assert await silent.read() == b""
            writer.close()
        await given_up(pki)

    uvloop.run(main())


async def test_names_that_are_no_text_are_a_failed_handshake_and_take_no_slot(pki) -> None:
    """An authority outside may sign such a certificate; the library raises what is no TLS error."""
    asyncio.get_running_loop().set_exception_handler(lambda _, found: told.append(found["message"]))
    told: list[str] = []
    unreadable = pki.unreadable()
    async with northbound(pki, FakeKeyService(), limits=Limits(max_connections=1)) as door:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3 + SPARE_CONNECTIONS):
                await refused_connection(door, application_context(unreadable, pki.authority))
        assert "TLS handshake failed" in {log["event"] for log in logs}
        async with calling(door) as caller:
            assert (await caller.get())[0] == 200
    assert "Task exception was never retrieved" not in told
