"""One network of three nodes for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qss.cli.demo.network import Network
from qss.model.identifiers import QksId
from support.network import ALICE, BOB, CAROL, HASTY_S, SLASHED, RunningNetwork, running_network


def edit(site: QksId, toml: str) -> str:
    toml += f'\n[[saes]]\nid = "{SLASHED}"\nsite = "B"\n'
    toml += f'\n[[pairs]]\nmaster = "{ALICE}"\nslaves = ["*"]\n'
    return toml.replace("[northbound]\n", f"[northbound]\nrequest_timeout_s = {HASTY_S}\n") if site == "C" else toml


def prepare(network: Network) -> None:
    network.pki.issue_sae(SLASHED, 1)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("network"), edit=edit, prepare=prepare) as running:
        running.until_keys((ALICE, BOB), (BOB, ALICE), (BOB, CAROL), (CAROL, BOB))
        yield running
