"""The demo's network as files."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from qss.cli.demo.network import SITES, Network

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lowest_outgoing_port() -> int:
    return int(OUTGOING.read_text("utf-8").split()[0]) if OUTGOING.exists() else 32_768


async def test_no_outgoing_connection_takes_a_site_s_port(tmp_path: Path) -> None:
    network = Network(tmp_path)
    await network.build(lambda _: None)
    ports = [port for site in SITES for port in astuple(network.ports[site])]
    assert len(set(ports)) == 9
    assert all(1024 < port < lowest_outgoing_port() for port in ports)
