"""The demo's network as files."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from qss.app import configuration, module_configuration
from qss.app.module_preparation import prepare_module
from qss.cli.demo.network import SITES, Network
from qss.model.identifiers import QksId

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lowest_outgoing_port() -> int:
    return int(OUTGOING.read_text("utf-8").split()[0]) if OUTGOING.exists() else 32_768


async def test_no_outgoing_connection_takes_a_site_s_port(tmp_path: Path) -> None:
    network = Network(tmp_path)
    await network.build(lambda _: None)
    ports = [port for site in SITES for port in astuple(network.ports[site])]
    assert len(set(ports)) == 12
    assert all(1024 < port < lowest_outgoing_port() for port in ports)


async def test_a_split_network_has_two_modules_for_each_link_that_fit_each_other(tmp_path: Path) -> None:
    network = Network(tmp_path, split=True)
    await network.build(lambda _: None)
    assert network.processes == (*SITES, "A/1", "B/1", "B/2", "C/1", "C/2", "D/1", "A/2", "D/2")
    modules = {name: module_configuration.load(network.configuration(name)) for name in network.processes[4:]}
    for lower, higher in (("A/1", "B/1"), ("B/2", "C/1"), ("C/2", "D/1"), ("A/2", "D/2")):
        assert modules[lower].sync.address == modules[higher].sync.listen
        assert modules[lower].module.pair == modules[higher].module.pair
    for name, module in modules.items():
        prepare_module(module)
        site = configuration.load(network.configuration(QksId(name[0])))
        (link,) = (link for link in site.links if link.peer == module.module.peer)
        (pair,) = link.pairs
        assert (pair.module, pair.uuid, module.register.address) == (name, module.module.pair, site.external.listen)
