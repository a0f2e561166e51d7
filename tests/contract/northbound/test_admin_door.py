"""Admin over TLS: probes without a certificate, data only with the right one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.identifiers import QksId, SaeId
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.pki.contexts import probe_context
from qss.servers.admin import Admin
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener
from qss.wire.status import SiteStatus, status_samples
from support.pki import Pki, application_context

STATUS = SiteStatus(
    site="A",
    uuid="6f1c2f5e-9a52-4a0a-8f0f-1f4f0c6c7d01",
    version="1",
    ready=True,
    certificate_expires=datetime(2027, 3, 1, tzinfo=UTC),
    store_writable=True,
    anchor_writable=True,
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
