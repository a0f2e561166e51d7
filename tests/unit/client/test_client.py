"""The client against servers that are not there, not trusted, slow, or lying."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from qss.client import Client, KeyServerRefused, KeyServerUnreachable, SyncClient, https
from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest, PkiError, RemoteProtocolError, Unauthorised
from support.northbound import ALICE, BOB, FakeKeyService, northbound
from support.pki import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("client") / "pki")


def client_of(pki: Pki, url: str, timeout: float = 5.0) -> Client:
    pair = pki.sae(ALICE)
    return Client(url, pair.certificate, pair.key, pki.authority, timeout)


@asynccontextmanager
async def answering(context: ssl.SSLContext, *pieces: bytes, hold: bool = False) -> AsyncIterator[str]:
    """A server that answers every request with `pieces`, and then closes, or holds the connection."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if hold:
                await over.wait()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # the last connection's task ends


async def unreachable(client: Client) -> str:
    async with client:
        with pytest.raises(KeyServerUnreachable) as caught:
            await client.status(BOB)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "localhost:1",
        "",
        "https://",
        "wss://localhost",
        "https:///x",
        "https://[::1",
        "https://a:99999",
    ],
)
def test_an_address_that_is_none_is_refused(pki, url) -> None:
    with pytest.raises(BadRequest, match="https://host:port"):
        client_of(pki, url)


def test_files_that_cannot_be_used_are_named(pki, tmp_path) -> None:
    pair, other = pki.sae(ALICE), pki.sae(BOB)
    missing, junk = tmp_path / "missing.pem", tmp_path / "junk.pem"
    junk.write_text("junk")
    for certificate, key, authority, named in (
        (missing, pair.key, pki.authority, missing),
        (pair.certificate, missing, pki.authority, missing),
        (pair.certificate, other.key, pki.authority, other.key),
        (junk, pair.key, pki.authority, junk),
        (pair.certificate, pair.key, missing, missing),
        (pair.certificate, pair.key, junk, junk),
    ):
        for kind in (Client, SyncClient):
            with pytest.raises(PkiError, match=named.name):
                kind("https://localhost:1", certificate, key, authority)


async def test_nobody_listens(pki) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    told = await unreachable(client_of(pki, f"https://127.0.0.1:{port}"))
    assert "cannot connect" in told
    assert told.endswith("check the address, and whether the node is running there")


async def test_a_server_of_another_authority_is_not_trusted(pki, tmp_path) -> None:
    async with northbound(Pki(tmp_path / "foreign"), FakeKeyService()) as door:
        assert "certificate is not accepted" in await unreachable(client_of(pki, door.url))


async def test_a_server_of_another_name_is_not_trusted(pki) -> None:
    async with northbound(pki, FakeKeyService(), host="127.0.0.2") as door:
        assert "certificate is not accepted" in await unreachable(client_of(pki, door.url))


async def test_an_application_cannot_pass_for_a_server(pki) -> None:
    pair = pki.sae(BOB)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with answering(context) as url:
        assert "certificate is not accepted" in await unreachable(client_of(pki, url))


def test_our_certificate_has_expired(pki) -> None:
    pair = pki.expired_sae(ALICE)
    with pytest.raises(PkiError, match="the certificate expired on"):
        Client("https://localhost:1", pair.certificate, pair.key, pki.authority)


async def test_our_certificate_is_refused(pki, tmp_path) -> None:
    async with northbound(pki, FakeKeyService()) as door:
        text = await unreachable(door.client_with(Pki(tmp_path / "foreign").sae(ALICE)))
    assert "whether it accepts this certificate" in text


async def test_no_answer_in_time(pki) -> None:
    service = FakeKeyService(gate=asyncio.Event())
    async with northbound(pki, service) as door, client_of(pki, door.url, timeout=0.1) as client:
        with pytest.raises(KeyServerUnreachable, match=r"no answer within 0\.1 s; whether keys were reserved"):
            await client.get_keys(BOB)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ],
)
async def test_what_is_no_http(pki, answer) -> None:
    async with answering(pki.northbound_context("A"), answer) as url:
        assert url in await unreachable(client_of(pki, url))


async def test_an_answer_without_end_is_cut_short(pki, monkeypatch) -> None:
    monkeypatch.setattr(https, "MAX_ANSWER_BYTES", 1 << 17)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
    async with (
        answering(pki.northbound_context("A"), head, *[bytes(1 << 16)] * 16, hold=True) as url,
        client_of(pki, url) as client,
    ):
        with pytest.raises(RemoteProtocolError, match="ask for fewer keys"):
            await client.get_keys(BOB)


async def test_redirects_are_not_followed(pki) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {door.url}/api/v1/keys/x/status\r\nContent-Length: 0\r\n\r\n"
        async with answering(pki.northbound_context("A"), answer.encode()) as url, client_of(pki, url) as client:
            with pytest.raises(KeyServerRefused, match="status 302"):
                await client.status(BOB)
    assert service.asked == []


async def test_a_request_is_never_repeated(pki) -> None:
    """A server that dies after reading: to ask again could cost a key, so the application decides."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for answer in (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\n\r\n" + b'{"message":"x"}', None):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(b'{"number":1}'))
            asked += 1
            if answer is None:
                writer.transport.abort()
                return
            writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=pki.northbound_context("A"))
    async with client_of(pki, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(KeyServerRefused, match="x"):
            await client.get_keys(BOB)
        with pytest.raises(KeyServerUnreachable, match="broke off"):
            await client.get_keys(BOB)
    server.close()
    await server.wait_closed()
    assert asked == 2


async def test_a_closed_client_opens_again(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door:
        client = client_of(pki, door.url + "/")
        await client.close()
        assert len(await client.get_keys(BOB)) == 1
        await client.close()
        await client.close()


async def test_a_server_whose_names_are_no_text_is_unreachable(pki) -> None:
    pair = pki.unreadable()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncio tells of it at length
    async with answering(context) as url:
        assert "malformed" in await unreachable(client_of(pki, url.replace("127.0.0.1", "localhost")))


async def test_a_server_that_is_not_who_was_meant_is_asked_nothing(pki) -> None:
    """Its certificate is the network's, and for this host; but it is another's."""
    asked, heard = [], []

    def check(certificate: PeerCertificate) -> None:
        if "qks:A" not in certificate.uris:
            raise Unauthorised("it is not site A")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            asked.append(await reader.read(1))
        writer.transport.abort()

    for pair, told in (
        (pki.module("A/1"), "another server than was meant: it is not site A"),
        (pki.site("A"), "broke off"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        own, url = pki.sae(ALICE), f"https://localhost:{server.sockets[0].getsockname()[1]}"
        assert told in await unreachable(Client(url, own.certificate, own.key, pki.authority, 5.0, check=check))
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)
        heard.append(b"".join(asked))
        asked.clear()
    assert heard[0] == b""
    assert heard[1]
