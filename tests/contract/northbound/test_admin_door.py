"""Admin over TLS: probes without a certificate, data only with the right one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
import structlog

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.identifiers import QksId, SaeId
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.pki.contexts import probe_context
from qss.servers.admin import Admin
from qss.servers.admin_door import MAX_BODY_BYTES, AdminDoor, Views
from qss.servers.administrators import Administrators
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener, Limits
from qss.servers.messages import JSON, Response
from qss.transport import http_connection
from qss.wire.status import SiteStatus, status_samples
from support.module_runners import until
from support.pki import Pki, application_context

STATUS = SiteStatus(
    site="A",
    uuid="6f1c2f5e-9a52-4a0a-8f0f-1f4f0c6c7d01",
    version="1",
    ready=True,
    certificate_expires=datetime(2027, 3, 1, tzinfo=UTC),
    store_writable=True,
    anchor_writable=True,
    audit_writable=True,
    audit_lost=3,
    audit_findings={"missing": 1},
    audit_checkpoint=None,
    links=(),
)


class Service:
    def alive(self) -> bool:
        return True

    ready = alive

    def status(self) -> SiteStatus:
        return STATUS

    def metrics(self):
        return status_samples(STATUS)

    def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        raise NotImplementedError


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("admin") / "pki")


@pytest.fixture
async def url(pki) -> AsyncIterator[str]:
    site = pki.site("A")
    context = probe_context(site.certificate, site.key, pki.authority)
    admin = Admin(QksId("A"), [SaeId("sae:operator")], CertificateIdentity(), Service(), RequestCounts())
    listener = HttpsListener("127.0.0.1", 0, context, admin)
    await listener.start()
    yield f"https://127.0.0.1:{listener.address[1]}"
    await listener.close()


async def statuses(url: str, context: ssl.SSLContext) -> list[int]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        found = []
        for path in ("/livez", "/readyz", "/status", "/metrics"):
            async with session.get(url + path) as answer:
                found.append(answer.status)
        return found


async def test_without_a_certificate_there_are_only_probes(pki, url) -> None:
    assert await statuses(url, ssl.create_default_context(cafile=str(pki.authority))) == [200, 200, 401, 401]


async def test_an_application_sees_no_more(pki, url) -> None:
    assert await statuses(url, pki.sae_client_context("sae:alice")) == [200, 200, 403, 403]


async def test_another_site_sees_no_more(pki, url) -> None:
    assert await statuses(url, application_context(pki.site("B"), pki.authority)) == [200, 200, 403, 403]


@pytest.mark.parametrize("who", ["site", "operator"])
async def test_site_and_administrator_see_all(pki, url, who) -> None:
    pair = pki.site("A") if who == "site" else pki.sae("sae:operator")
    assert await statuses(url, application_context(pair, pki.authority)) == [200] * 4


async def test_a_certificate_of_a_stranger_does_not_even_get_probes(pki, url, tmp_path) -> None:
    context = application_context(Pki(tmp_path / "foreign").sae("sae:operator"), pki.authority)
    with pytest.raises(aiohttp.ClientError):
        await statuses(url, context)


# --- bodies, and callers without a certificate ----------------------------------------------------------------------

LARGE = 1 << 22
SMALL = 1 << 12
HASTE = 3.0
"""Seconds within which what should happen at once has happened, also on a busy machine."""


class Opened:
    """An Admin of two actions, one of which takes much."""

    def __init__(self, pki: Pki, **limits) -> None:
        self.pki = pki
        self.bodies: list[int] = []
        self.going_on = asyncio.Event()
        self.going_on.set()
        site = pki.site("A")
        views = Views(
            lambda: True, lambda: True, lambda: b"{}", tuple,
            {"/much": self._act, "/little": self._act}, {}, {"/much": LARGE},
        )  # fmt: skip
        door = AdminDoor(Administrators(QksId("A"), [], CertificateIdentity()), views)
        context = probe_context(site.certificate, site.key, pki.authority)
        self.listener = HttpsListener("127.0.0.1", 0, context, door, limits=replace(Limits(), **limits))

    async def _act(self, who: str, rest: str, body: bytes) -> Response:
        self.bodies.append(len(body))
        await self.going_on.wait()
        return Response(200, JSON, b"{}")

    def context(self, who: str | None) -> ssl.SSLContext:
        if who is None:
            return ssl.create_default_context(cafile=str(self.pki.authority))
        pair = self.pki.sae(who) if who.startswith("sae:") else self.pki.site(who)
        return application_context(pair, self.pki.authority)

    @asynccontextmanager
    async def caller(self, who: str | None):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.listener.address[1], ssl=self.context(who), server_hostname="localhost"
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def post(self, who: str | None, path: str, length: int, sent: int | None = None, verb: str = "POST") -> int:
        """Send the head of a request and so much of its body; return the status that is answered."""
        async with self.caller(who) as (reader, writer):
            writer.write(f"{verb} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
            writer.write(b"x" * (length if sent is None else sent))
            async with asyncio.timeout(HASTE):
                return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


@asynccontextmanager
async def opened(pki: Pki, **limits) -> AsyncIterator[Opened]:
    admin = Opened(pki, **limits)
    await admin.listener.start()
    try:
        yield admin
    finally:
        admin.going_on.set()
        await admin.listener.close()


@pytest.fixture(autouse=True)
def short_lingering(monkeypatch) -> None:
    monkeypatch.setattr(http_connection, "LINGERING_S", 0.1)


@pytest.mark.parametrize(
    ("who", "path", "verb", "status"),
    [
        (None, "/much", "POST", 401),
        ("sae:alice", "/much", "POST", 403),
        ("B", "/little", "POST", 403),
        ("A", "/nothing", "POST", 404),
        ("A", "/status", "POST", 405),
        ("A", "/much", "GET", 405),
        (None, "/livez", "GET", 200),
        ("A", "/status", "GET", 200),
    ],
)
async def test_no_body_is_read_before_it_is_known_that_it_may_come(pki, who, path, verb, status) -> None:
    """The answer comes though the body does not."""
    async with opened(pki) as admin:
        assert await admin.post(who, path, LARGE, sent=1, verb=verb) == status
        assert admin.bodies == []
        assert admin.listener._bodies_bytes == 0


async def test_a_large_body_is_for_the_one_path_that_takes_it(pki) -> None:
    async with opened(pki) as admin:
        assert await admin.post("A", "/much", LARGE) == 200
        assert await admin.post("A", "/much", LARGE + 1, sent=0) == 400
        assert await admin.post("A", "/little", MAX_BODY_BYTES) == 200
        assert await admin.post("A", "/little", MAX_BODY_BYTES + 1, sent=0) == 400
        assert admin.bodies == [LARGE, MAX_BODY_BYTES]


async def test_all_bodies_together_have_a_bound(pki) -> None:
    async with opened(pki, max_bodies_bytes=2 * LARGE) as admin:
        admin.going_on.clear()
        two = [asyncio.create_task(admin.post("A", "/much", LARGE)) for _ in range(2)]
        await until(lambda: len(admin.bodies) == 2)
        assert await admin.post("A", "/much", SMALL) == 503
        async with admin.caller("A") as (reader, writer):  # of an unknown length: so it counts as the largest
            writer.write(b"POST /little HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert b" 503 " in await reader.readline()
        assert await admin.post("A", "/status", 0, verb="GET") == 200
        admin.going_on.set()
        assert await asyncio.gather(*two) == [200, 200]
        assert await admin.post("A", "/much", SMALL) == 200
        assert admin.listener._bodies_bytes == 0


async def test_room_is_given_back_by_those_who_leave_while_they_send(pki) -> None:
    async with opened(pki, max_bodies_bytes=LARGE) as admin:
        async with admin.caller("A") as (_, writer):
            writer.write(f"POST /much HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n".encode() + b"x")
            await until(lambda: admin.listener._bodies_bytes)
        await until(lambda: not admin.listener._bodies_bytes)
        assert await admin.post("A", "/much", LARGE) == 200


async def test_callers_without_a_certificate_cannot_take_all_places(pki) -> None:
    """They are more than the listener has places, and say nothing: those with one come in, and so do probes."""
    async with opened(pki, max_connections=8, max_anonymous=4) as admin:
        silent = []
        for _ in range(60):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", admin.listener.address[1], ssl=admin.context(None), server_hostname="localhost"
            )
            silent.append((reader, writer))
            if len(silent) % 20 == 0:
                assert await admin.post("A", "/little", 1) == 200
                assert await admin.post(None, "/livez", 0, verb="GET") == 200
        async with asyncio.timeout(HASTE):
            for reader, _ in silent[:56]:
                with suppress(OSError):
                    assert await reader.read() == b""
        await until(lambda: len(admin.listener._acceptor.established) <= 4)
        for _, writer in silent:
            writer.transport.abort()


async def test_a_flood_of_refusals_is_a_line_for_each_caller(pki) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(pki) as admin:
            for _ in range(5):
                for who in ("sae:alice", "sae:bob"):
                    assert await admin.post(who, "/status", 0, verb="GET") == 403
    told = [log["reason"] for log in logs if log["event"] == "refused"]
    assert [reason.split()[0] for reason in told] == ["sae:alice", "sae:bob"]
