"""A vendor's boxes: two HTTPS servers in front of one stock of keys, each as odd as a test makes it; or two modules."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from qss.adapters.identity.certificate import CertificateIdentity
from qss.client.etsi004 import Etsi004Client
from qss.client.vendor_box import VendorBox
from qss.model.identifiers import QksId
from qss.pki.contexts import application_context
from qss.servers.counts import RequestCounts
from qss.servers.door import HttpsListener
from qss.servers.etsi014 import Etsi014, KeyService
from qss.servers.messages import JSON, Request, Response
from qss.wire.etsi004.framing import FORGE_VERSION, QUBIP_VERSION
from qss.wire.etsi004.messages import Form
from qss.wire.etsi014.paths import PREFIX, Method
from support.northbound import ALICE, BOB, FakeKeyService
from support.pki import Pki
from support.southbounds import Southbounds


def client_of_004(boxes: Southbounds, pki: Pki, site: QksId, form: Form = Form.FORGE) -> Etsi004Client:
    """Return what calls the module at `site` as an application does."""
    pair = pki.sae(f"sae:device-{site}")
    context = application_context(pair.certificate, pair.key, pki.authority)
    version = FORGE_VERSION if form is Form.FORGE else QUBIP_VERSION
    return Etsi004Client(boxes.address(site), context, lambda _: None, form=form, version=version)


Handler = Callable[[Request], Awaitable[Response]]
Oddity = Callable[[Handler, Request], Awaitable[Response]]
"""Answers a request, perhaps by asking the handler that it stands in front of."""


@dataclass
class Box:
    """One box that listens. `asked` are the requests that came, as method and last segment of the path."""

    pki: Pki
    sae: str
    other_sae: str
    service: KeyService
    base_path: str = PREFIX
    oddity: Oddity | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.method, request.path.rpartition("/")[2]))
        if not request.path.startswith(f"{self.base_path}/"):
            return Response(404)
        request = replace(request, path=PREFIX + request.path.removeprefix(self.base_path))
        ours = Etsi014(self.service, CertificateIdentity(), RequestCounts())
        return await ours(request) if self.oddity is None else await self.oddity(ours, request)

    def client(self, timeout: float = 5.0) -> VendorBox:
        pair = self.pki.sae(self.sae)
        return VendorBox(
            self.url, pair.certificate, pair.key, self.pki.authority, self.other_sae, self.base_path, timeout
        )

    def asked_for(self, method: Method) -> int:
        return sum(last == method for _, last in self.asked)


@asynccontextmanager
async def listening(*boxes: Box) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for site, box in zip("AB", boxes, strict=False):
            listener = HttpsListener("127.0.0.1", 0, box.pki.northbound_context(site), box.answer)
            stack.push_async_callback(listener.close)
            await listener.start()
            box.url = f"https://127.0.0.1:{listener.address[1]}"
        yield


class RandomKeys(FakeKeyService):
    """A stock that passes the modules' health tests."""

    def draw(self, number: int, size: int) -> bytes:
        del number
        return os.urandom(size)


def pair_of_boxes(pki: Pki, service: KeyService) -> tuple[Box, Box]:
    """Return the master's box and the slave's, over one stock."""
    return Box(pki, ALICE, BOB, service), Box(pki, BOB, ALICE, service)


# --- oddities -----------------------------------------------------------------------------------------------------


async def only_get(ours: Handler, request: Request) -> Response:
    return Response(405) if request.method == "POST" else await ours(request)


async def only_get_by_404(ours: Handler, request: Request) -> Response:
    return Response(404) if request.method == "POST" else await ours(request)


def on(method: Method, answer: Handler) -> Oddity:
    """Answer this method otherwise."""

    async def odd(ours: Handler, request: Request) -> Response:
        return await (answer if request.path.endswith(f"/{method}") else ours)(request)

    return odd


def always(status: int, body: bytes = b"") -> Handler:
    async def answer(_: Request) -> Response:
        return Response(status, JSON, body)

    return answer
