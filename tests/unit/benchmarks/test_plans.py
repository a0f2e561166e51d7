"""Configuration of FRR and of `qss routing` on a topology."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest
from benchmarks import frr_plan, modules_plan
from benchmarks.addressing import addresses, loopback, neighbours

from qss.app.routing_tables import load
from qss.simulation.topologies import numbered, site, tangle

EDGES = numbered(tangle(50, 1))


@pytest.mark.parametrize("router", [0, 1, 49])
def test_every_interface_speaks_ospf_point_to_point(router: int) -> None:
    text = frr_plan.ospfd(EDGES, router)
    for neighbour in neighbours(EDGES, router):
        assert f"interface to{neighbour}\n ip ospf area 0\n ip ospf network point-to-point\n" in text
    assert text.count("point-to-point") == len(neighbours(EDGES, router))
    assert f"router ospf\n ospf router-id {loopback(router)}\n" in text


def test_the_two_set_ups_of_zebra_differ_in_its_wait_alone() -> None:
    assert frr_plan.WITHOUT_ZEBRAS_WAIT.removeprefix(frr_plan.AS_SHIPPED) == "zebra work-queue 0\n"


@pytest.mark.parametrize("router", [0, 49])
def test_a_module_dials_its_neighbours_over_the_links_to_them(router, tmp_path) -> None:
    file = tmp_path / "routing.toml"
    file.write_text(modules_plan.configuration(EDGES, router), "utf-8")
    configuration = load(file)
    assert configuration.site.id == site(router)
    dialled = {link.peer: link.address.host for link in configuration.links}
    at_the_other_end = {
        site(other): str(ip_interface(addresses(EDGES, other)[f"to{router}"]).ip) for other in neighbours(EDGES, router)
    }
    assert dialled == at_the_other_end
