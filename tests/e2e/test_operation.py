"""A node in operation: it is stopped, started again, and its disk fills up."""

from __future__ import annotations

import json
import resource
import shutil
import socket
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import ALICE, BOB, A, Answer, B, RunningNetwork, repeated_bytes, rest_of, running_network

NOT_FOUND = "one or more keys specified are not found on KME"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    def hasty(_: QksId, toml: str) -> str:
        return toml.replace("[external]\n", "[external]\nreply_timeout_s = 1\n")

    with running_network(tmp_path_factory.mktemp("operation"), (A, B), hasty) as running:
        running.until_keys((ALICE, BOB), (BOB, ALICE))
        yield running


def test_a_stop_answers_what_is_under_way_and_nothing_else(two: RunningNetwork) -> None:
    body = b'{"number": 2}'
    head = f"POST /api/v1/keys/{BOB}/enc_keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with two.raw(ALICE) as under_way, two.raw(ALICE) as idle, ThreadPoolExecutor() as pool:
        under_way.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert under_way.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stopping = pool.submit(two.stop, A)
        assert rest_of(idle) == b""
        assert two.admin(A, "/readyz") == (503, b"not ready\n")
        assert two.admin(A, "/livez") == (200, b"ok\n")
        with (
            pytest.raises(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", two.network.ports[A].northbound), timeout=5),
        ):
            pass
        under_way.sendall(body)
        answer = rest_of(under_way)
        assert stopping.result() == 0
    first, _, content = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    keys = {entry["key_ID"]: b64decode(entry["key"]) for entry in json.loads(content)["keys"]}
    two.note(keys)
    events = [event["event"] for event in two.events(A)]
    assert events[-1] == "stopped"
    assert events.count("stopping") == 1

    two.start(A)
    two.until_keys((ALICE, BOB), (BOB, ALICE), count=1)
    assert two.take(BOB, ALICE, keys).keys == keys
    more = two.get(BOB, ALICE)
    assert two.take(ALICE, BOB, more).keys == more


def test_a_node_leaves_no_core_dump_and_takes_the_descriptors_it_may(two: RunningNetwork) -> None:
    limits = Path(f"/proc/{two.nodes.pid(A)}/limits").read_text(encoding="ascii")
    soft, hard = limits.partition("Max open files")[2].split()[:2]
    assert soft == hard
    assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"]
    assert Path(f"/proc/{two.nodes.pid(A)}").stat().st_uid == 0  # what Linux does to what may not be dumped


@pytest.mark.parametrize("site", [A, B], ids=["owner", "not owner"])
def test_a_full_disk(two: RunningNetwork, site: QksId) -> None:
    """No file of the node may grow: the system refuses that as it refuses a write to a full disk."""
    pairs = [(ALICE, BOB), (BOB, ALICE)]
    two.until_keys(*pairs)
    master, slave = (ALICE, BOB) if site == B else (BOB, ALICE)
    kept = two.get(master, slave, 3)
    given: dict[tuple[SaeId, SaeId], dict[str, bytes]] = {pair: {} for pair in pairs}

    fill_disk(two, site)
    for pair in pairs:
        refused = until_refused(two, *pair, given[pair])
        assert refused.status == 503
    first, *others = kept
    refused = two.take(slave, master, [first])
    assert refused.status == 503
    assert two.admin(site, "/livez")[0] == 200

    two.stop(site)
    two.start(site)
    two.until_keys(*pairs)
    assert two.take(slave, master, [first]).keys == {first: kept[first]}
    given[master, slave] |= {key_id: kept[key_id] for key_id in others}
    for (one, other), keys in given.items():
        fresh = two.get(one, other, 2)
        for key_id, key in (keys | fresh).items():
            assert two.take(other, one, [key_id]).keys == {key_id: key}
            assert two.take(other, one, [key_id]).message == NOT_FOUND
    assert repeated_bytes(two.keys) == []
    (refusal, *_) = [
        event["reason"] for event in two.events(site) if event["event"] == "the link starts over from the store"
    ]
    assert "check the disk" in refusal


def test_a_node_whose_ledger_is_replaced_ends_and_says_so(two: RunningNetwork) -> None:
    data = two.network.folder / f"{B}.data"
    shutil.copytree(data, data.with_name("copy"))
    (data.with_name("copy") / "ledger.sqlite").replace(data / "ledger.sqlite")
    assert "ledger.sqlite was replaced by another file while this process had it open" in two.until_ended(B)
    assert "stopped" not in [event["event"] for event in two.events(B)[-3:]]


def fill_disk(network: RunningNetwork, site: QksId) -> None:
    """Let no file of a node grow, but its log a little."""
    room = network.nodes.log(site).stat().st_size + 8192
    resource.prlimit(network.nodes.pid(site), resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def until_refused(network: RunningNetwork, master: SaeId, slave: SaeId, given: dict[str, bytes]) -> Answer:
    """Ask for keys until there are none; what came before must be good."""
    for _ in range(200):
        answer = network.curl(master, f"/api/v1/keys/{slave}/enc_keys?number=8")
        if answer.status != 200:
            return answer
        given |= answer.keys
    pytest.fail("the disk never filled up")
