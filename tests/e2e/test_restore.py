"""Data folders that are lost and come back from a back-up of a node that ran: nothing is delivered twice, what is in
doubt is burned at both ends, and keys flow again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import ALICE, BOB, A, B, RunningNetwork, qss, repeated_bytes, running_network

NOT_FOUND = "one or more keys specified are not found on KME"
WAYS = ((ALICE, BOB), (BOB, ALICE))
NOTICED = "a store was restored: all key of this link was burned"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    def fast(_: QksId, toml: str) -> str:
        return toml.replace("rate_bps = 400000", "rate_bps = 2000000").replace(
            "[external]\n", "[external]\nreply_timeout_s = 1\n"
        )

    with running_network(tmp_path_factory.mktemp("restore"), (A, B), fast) as running:
        yield running


@dataclass
class Reserved:
    """Keys that their master has, and that their slave has not fetched."""

    master: SaeId
    slave: SaeId
    keys: dict[str, bytes]


def reserve(network: RunningNetwork) -> list[Reserved]:
    """Get some keys each way."""
    network.until_keys(*WAYS, count=100)
    return [Reserved(*way, network.get(*way, 4)) for way in WAYS]


def fetch(network: RunningNetwork, reserved: list[Reserved]) -> None:
    """Fetch one key of each, and some that are fresh."""
    for some in reserved:
        first = next(iter(some.keys))
        assert network.take(some.slave, some.master, [first]).keys == {first: some.keys[first]}
        fresh = network.get(some.master, some.slave, 20)
        assert network.take(some.slave, some.master, fresh).keys == fresh


def data_of(network: RunningNetwork, site: QksId) -> Path:
    return network.network.folder / f"{site}.data"


def back_up(network: RunningNetwork, site: QksId, folder: Path) -> Path:
    ran = qss("backup", data_of(network, site), folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Backed up site {site} to {folder} (commit ")
    return folder


def lose(network: RunningNetwork, site: QksId, anchor: str) -> None:
    shutil.rmtree(data_of(network, site))
    if anchor == "lost":
        data_of(network, site).with_name(f"{site}.data.anchor").unlink()


def restored_bits(network: RunningNetwork, site: QksId) -> int:
    """What the site says it burned for that reason on the link between the two."""
    status, metrics = network.admin(site, "/metrics", network.network.pki.site(site))
    assert status == 200
    lines = [line for line in metrics.decode().splitlines() if 'reason="restored"' in line and 'peer="C"' not in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def must_burn_and_go_on(network: RunningNetwork, doubtful: list[Reserved], before: dict[QksId, int]) -> None:
    """Nothing reserved before is found, both ends have burned, and fresh keys are new."""
    network.until_ready(A, B)
    network.until_keys(*WAYS, count=100)
    for some in doubtful:
        for key_id in some.keys:
            again = network.take(some.slave, some.master, [key_id])
            assert (again.status, again.message) == (400, NOT_FOUND)
    for site, bits in before.items():
        assert restored_bits(network, site) > bits
    for way in WAYS:
        fresh = network.get(*way, 20)
        assert network.take(way[1], way[0], fresh).keys == fresh
    assert len(network.keys) > 40
    assert repeated_bytes(network.keys) == []
    for ends in ((A, B), (B, A)):
        network.streams(*ends)  # which balance


def audited(network: RunningNetwork, site: QksId) -> list[dict[str, object]]:
    """The records of a site's audit log, which come into its file within about a second."""
    return [json.loads(line) for line in qss("audit", "show", data_of(network, site), "--json").stdout.splitlines()]


def burned_so_far(network: RunningNetwork) -> dict[QksId, int]:
    return {site: restored_bits(network, site) for site in (A, B)}


def put_back(network: RunningNetwork, copies: dict[QksId, Path], anchor: str) -> None:
    """Lose data folders, and start their nodes, which have ended, on what is made of the back-ups."""
    for site, copy in copies.items():
        lose(network, site, anchor)
        ran = qss("restore", copy, data_of(network, site))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith(f"Restored site {site} in {data_of(network, site)}, as it was at ")
        assert "burned at both ends of the links with " in ran.stdout
    network.start(*copies)


@pytest.mark.parametrize(("site", "anchor"), [(A, "kept"), (A, "lost"), (B, "kept"), (B, "lost")])
def test_one_end_is_restored(two: RunningNetwork, tmp_path: Path, site: QksId, anchor: str) -> None:
    doubtful = reserve(two)
    before = burned_so_far(two)
    copy = back_up(two, site, tmp_path / "copy")
    fetch(two, doubtful)
    events = len(two.events(site))
    two.kill(site)
    put_back(two, {site: copy}, anchor)
    must_burn_and_go_on(two, doubtful, before)
    assert NOTICED in [event["event"] for event in two.events(site)[events:]]
    two.until(lambda: NOTICED in [record.get("event") for record in audited(two, site)], "the record of it")
    begin = audited(two, site)[0]
    assert (begin["kind"], begin["because"], begin["follows"] is None) == ("begin", "restored", False)


@pytest.mark.parametrize("anchor", ["kept", "lost"])
def test_both_ends_are_restored_from_different_moments(two: RunningNetwork, tmp_path: Path, anchor: str) -> None:
    doubtful = reserve(two)
    before = burned_so_far(two)
    copies = {A: back_up(two, A, tmp_path / "A")}
    fetch(two, doubtful)
    later = reserve(two)
    copies[B] = back_up(two, B, tmp_path / "B")
    fetch(two, later)
    two.kill(A, B)
    put_back(two, copies, anchor)
    must_burn_and_go_on(two, doubtful + later, before)


def test_a_back_up_that_nothing_came_after_burns_as_well(two: RunningNetwork, tmp_path: Path) -> None:
    """No anchor and no neighbour remembers more than it: its marks alone say that it was restored."""
    doubtful = reserve(two)
    two.settled(A, B)
    before = burned_so_far(two)
    assert two.stop(A) == 0
    copy = back_up(two, A, tmp_path / "copy")
    put_back(two, {A: copy}, "kept")
    must_burn_and_go_on(two, doubtful, before)


def test_a_plain_copy_of_a_stopped_site_is_put_in_its_place(two: RunningNetwork, tmp_path: Path) -> None:
    doubtful = reserve(two)
    assert two.stop(B) == 0
    shutil.copytree(data_of(two, B), tmp_path / "copy")
    two.start(B)
    two.until_keys(*WAYS)
    fetch(two, doubtful)
    before = burned_so_far(two)
    two.kill(B)
    lose(two, B, "kept")
    shutil.copytree(tmp_path / "copy", data_of(two, B))
    two.start(B)
    must_burn_and_go_on(two, doubtful, before)
    two.until(lambda: two.status(B)["audit_findings"]["missing"] == 1, "the audit log to be found too old")
    ran = qss("audit", "verify", data_of(two, B))
    assert (ran.returncode, "records were taken out" in ran.stderr) == (1, True)
    (data_of(two, B) / "audit" / "000001.jsonl").rename(tmp_path / "older.jsonl")  # what is behind it is whole


def test_an_older_back_up_is_restored_twice(two: RunningNetwork, tmp_path: Path) -> None:
    doubtful = reserve(two)
    before = burned_so_far(two)
    copies = {A: back_up(two, A, tmp_path / "copy")}
    for _ in range(2):
        fresh = reserve(two)
        fetch(two, fresh)
        two.kill(A)
        put_back(two, copies, "lost")
        must_burn_and_go_on(two, doubtful + fresh, before)


def test_a_node_that_is_zeroized_ends_and_never_starts_again(two: RunningNetwork) -> None:
    reserve(two)
    ran = qss("zeroize", "--yes", data_of(two, A))
    assert ran.returncode == 1
    assert f"Destroyed the data key of {data_of(two, A)}." in ran.stdout
    assert "holds its data key in memory: a node ends for that within seconds" in ran.stderr
    assert "was destroyed with `qss zeroize` while this node ran" in two.until_ended(A)
    ran = qss("zeroize", "--yes", data_of(two, A))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Erased what it had sealed." in ran.stdout
    for more in ([], ["--check"]):
        ran = qss("node", "--config", two.network.configuration(A), *more)
        assert ran.returncode == 1
        assert "was destroyed with `qss zeroize`, and nobody can open it again; move the folder away" in ran.stderr
