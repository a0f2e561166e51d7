"""A module process: who may call it, who may be at the other end of Sync, and what it takes over while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qss.adapters.identity.certificate import CertificateIdentity
from qss.app.connecting import sync_route
from qss.app.module_callers import Callers
from qss.app.module_configuration import load
from qss.app.module_process import ModuleProcess, running
from qss.app.module_tables import ModuleConfiguration
from qss.client import AdminClient, KeyServerRefused
from qss.model.certificates import PeerCertificate
from qss.model.errors import ConfigurationError, ListenError, PkiError, Unauthorised
from qss.model.identifiers import QkdmId, QksId, SaeId
from support.connections import memory_pair
from support.pki import Pki

A, B = QksId("A"), QksId("B")
A1 = QkdmId("A/1")
ALICE = SaeId("sae:alice")

TOML = """
[module]
id = "A/1"
pair = "9c1be8f4-24d7-4f0a-b1c9-5d2f7a6e8b04"
peer = "0"

[tls]
authority = "{authority}"
certificate = "{certificate}"
key = "{key}"

[southbound]
listen = "127.0.0.1:{port}"
clients = [{clients}]

[sync]
listen = "127.0.0.1:0"

[device]
type = "simulator"
rate_bps = {rate}

[admin]
listen = "127.0.0.1:0"
"""


def named(*uris: str) -> PeerCertificate:
    return PeerCertificate("alice", uris, ())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "pki")


def configured(
    folder: Path, pki: Pki, *, module: str = "A/1", clients: str = '"sae:alice"', rate: int = 1000, port: int = 0
) -> ModuleConfiguration:
    pair = pki.module(module)
    toml = TOML.format(
        authority=pki.authority, certificate=pair.certificate, key=pair.key, clients=clients, rate=rate, port=port
    )
    (folder / "module.toml").write_text(toml, encoding="utf-8")
    return load(folder / "module.toml")


# --- who ----------------------------------------------------------------------------------------------------------


def test_the_own_key_server_and_listed_applications_may_call():
    callers = Callers(A, [ALICE], CertificateIdentity())
    assert callers.name(named("qks:A")) == "site A"
    assert callers.name(named("sae:alice")) == "sae:alice"


@pytest.mark.parametrize(
    "uris",
    [("qks:B",), ("qks:A", "qks:B"), ("qks:A", "qkdm:A/1"), ("qkdm:A/1",), ("qkdm:B/1",), ("sae:bob",),
     ("sae:alice", "x:y"), ()],
)  # fmt: skip
def test_nobody_else_may_call(uris):
    with pytest.raises(Unauthorised):
        Callers(A, [ALICE], CertificateIdentity()).name(named(*uris))


def test_no_application_can_be_named_as_a_site_is():
    callers = Callers(A, [SaeId("site")], CertificateIdentity(("cn",)))
    with pytest.raises(Unauthorised):
        callers.name(PeerCertificate("site A", (), ()))


@pytest.mark.parametrize("peer", ["B", "B/1"])
@pytest.mark.parametrize("uri", ["qks:B", "qkdm:B/1", "qkdm:B/2", "qks:A", "qkdm:C/1"])
async def test_sync_takes_the_module_at_the_other_end_and_nobody_else(peer, uri):
    ours, _ = memory_pair(b_is=uri)
    module = Taking()
    serving = sync_route(peer, module).handler(ours)
    if uri in (f"qks:{peer}", f"qkdm:{peer}"):
        await serving
        assert module.came == [ours]
    else:
        with pytest.raises(
            Unauthorised, match=f"called, but the other end of this device pair is (site|module) {peer}'s; .*"
        ):
            await serving
        assert module.came == []


class Taking:
    """A module that notes which connections it is given."""

    def __init__(self) -> None:
        self.came: list[object] = []

    async def serve(self, connection: object) -> None:
        self.came.append(connection)


# --- life -----------------------------------------------------------------------------------------------------------


async def test_it_listens_and_stops(tmp_path, pki):
    async with running(configured(tmp_path, pki)) as process:
        assert set(process.listening()) == {"southbound", "sync", "admin"}
        assert not process.failed.done()
        port = process.addresses["southbound"].port
        with pytest.raises(ListenError, match=r"southbound\.listen"):
            async with running(configured(tmp_path, pki, port=port)):
                pass
    assert process.failed.cancelled()


async def test_its_simulator_is_set_at_its_admin(tmp_path, pki):
    configuration = configured(tmp_path, pki)
    site = pki.site("A")
    async with running(configuration) as process:
        url = f"https://localhost:{process.addresses['admin'].port}"
        async with AdminClient(url, site.certificate, site.key, pki.authority) as client:
            pair = str(configuration.module.pair_id)
            assert (await client.adjust_device(pair, {"rate_bps": 5000.0})).rate_bps == 5000
            assert (await client.adjust_device(pair, {})).rate_bps == 5000
            with pytest.raises(KeyServerRefused, match=f"one end of pair {pair}, and of no other"):
                await client.adjust_device(pair.replace("9", "8"), {"rate_bps": 1.0})


async def test_another_modules_certificate_keeps_it_from_starting(tmp_path, pki):
    with pytest.raises(PkiError, match="is a certificate of module A/2, not A/1"):
        async with running(configured(tmp_path, pki, module="A/2")):
            pass


async def test_clients_are_taken_over_while_it_runs_and_nothing_else(tmp_path, pki):
    callers = Callers(A, [ALICE], CertificateIdentity())
    process = ModuleProcess(configured(tmp_path, pki), callers, asyncio.get_running_loop().create_future())
    file = tmp_path / "module.toml"
    changes = process.take_over(configured(tmp_path, pki, clients='"sae:bob", "sae:carol"'), file)
    assert changes == {"clients_added": 2, "clients_removed": 1}
    assert callers.name(named("sae:bob")) == "sae:bob"
    with pytest.raises(Unauthorised):
        callers.name(named("sae:alice"))
    with pytest.raises(ConfigurationError, match="device"):
        process.take_over(configured(tmp_path, pki, clients="", rate=2000), file)
    assert callers.name(named("sae:bob")) == "sae:bob"
    assert process.take_over(configured(tmp_path, pki, clients=""), file) == {"clients_added": 0, "clients_removed": 2}
