"""Two running modules behind their southbound interfaces, and their key servers' ends of those, over loopback TLS."""

from __future__ import annotations

import asyncio
from typing import Self

from qss.adapters.sources.etsi004 import Etsi004Source
from qss.client.etsi004 import Verify
from qss.model.addresses import Address
from qss.model.certificates import PeerCertificate, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId
from qss.runtime.module import QkdModule
from qss.runtime.module.southbound import Southbound
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import Etsi004Limits, Etsi004Server
from support.module_runners import A, B, TwoModules
from support.pki import Pki


def admit_anybody(certificate: PeerCertificate) -> str:
    """The caller is its first URI: a site `qks:A`, or an application."""
    if not certificate.uris:
        raise Unauthorised("the certificate names nobody")
    return certificate.uris[0]


def must_be(site: QksId) -> Verify:
    """What a key server asks of its module's certificate, where both have the site's."""

    def verify(certificate: PeerCertificate) -> None:
        if site_of(certificate) != site:
            raise Unauthorised(f"this is not {site}")

    return verify


def server(module: QkdModule, pki: Pki, site: QksId, peer: QksId, limits: Etsi004Limits | None = None) -> Etsi004Server:
    """A server for one end's module on a free port."""
    return Etsi004Server(
        "127.0.0.1",
        0,
        pki.server_context(site),
        lambda: Southbound(module, site, peer),
        admit_anybody,
        CallCounts(f"{site}/1"),
        limits=limits,
    )


class Southbounds:
    """Servers `server_a`, `server_b` of two modules, and key sources `a`, `b` on them."""

    def __init__(self, modules: TwoModules, pki: Pki, limits: Etsi004Limits | None = None) -> None:
        self.pki = pki
        self.server_a = server(modules.a, pki, A, B, limits)
        self.server_b = server(modules.b, pki, B, A, limits)
        self.a: Etsi004Source
        self.b: Etsi004Source

    async def __aenter__(self) -> Self:
        await asyncio.gather(self.server_a.start(), self.server_b.start())
        self.a, self.b = self.source(A), self.source(B)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.a.stop(), self.b.stop())
        await asyncio.wait_for(asyncio.gather(self.server_a.close(), self.server_b.close()), 5)

    def address(self, site: QksId) -> Address:
        return Address(*(self.server_a if site == A else self.server_b).address)

    def source(self, site: QksId) -> Etsi004Source:
        return Etsi004Source(self.address(site), self.pki.client_context(site), must_be(site), patience_s=1.0)
