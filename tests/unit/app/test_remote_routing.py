"""The node's end of a routing module in a process of its own: whom it believes, and what it measures."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from qss.app.remote_routing import RemoteRouting
from qss.app.site_tables import Routing, Tls
from qss.model.addresses import Address
from qss.model.identifiers import QksId, SaeId
from qss.pki.contexts import server_context
from qss.servers.door import HttpsListener
from qss.servers.messages import JSON, Response
from support.module_runners import until
from support.pki import Pki

VICTIM = SaeId("sae:victim")
ROUTE = {"SAE_ID": VICTIM, "next_hop": "M", "dest": "M", "cost": 1, "length": 1}
STATUS = {"site": "A", "version": 7, "changed": 0.0, "neighbours": {}, "lsas": 3, "settled": True, "dropped": {},
          "links": [], "repeaters": [], "routes": [ROUTE]}  # fmt: skip


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("remote") / "pki")


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (lambda pki: pki.site("A"), None),
        (lambda pki: pki.site("B"), "is site B, not A; routing.process must be where Admin of this site's own routing"),
        (lambda pki: pki.module("A/1"), "the certificate is a QKD module's"),
    ],
    ids=["the site's own", "another site", "a module of the site"],
)
async def test_where_saes_are_at_home_is_the_sites_own_to_say(pki, server, told):
    """All three have a certificate of the network that names this host."""
    asked = []

    async def answer(request):
        asked.append(request.path)
        if len(asked) > 2:
            await asyncio.sleep(10)
        return Response(200, JSON, json.dumps({**STATUS, "known": True}).encode())

    pair, own = server(pki), pki.site("A")
    listener = HttpsListener("127.0.0.1", 0, server_context(pair.certificate, pair.key, pki.authority), answer)
    await listener.start()
    tls = Tls(authority=pki.authority, certificate=own.certificate, key=own.key)
    configuration = SimpleNamespace(site=SimpleNamespace(id=QksId("A")), tls=tls, routing=Routing())
    defects = []
    routing = RemoteRouting(configuration, Address("localhost", listener.address[1]), defects.append)
    try:
        with capture_logs() as logs:
            routing.start()
            await until(lambda: logs or routing.route(VICTIM))
            await asyncio.sleep(0.1)
        if told is None:
            assert routing.route(VICTIM).dest == "M"
        else:
            assert routing.route(VICTIM) is None
            assert asked == []
            assert told in logs[0]["reason"]
        assert [sample.metric.name for sample in routing.samples()] == ["qss_routing_process_silent_seconds"]
        assert defects == []
    finally:
        await routing.stop()
        await listener.close()
