"""`qss key` against the door."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import structlog
from click.testing import CliRunner, Result

from qss.cli.main import main
from support.northbound import ALICE, BOB, CAROL, FakeKeyService, Northbound, northbound
from support.pki import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("key") / "pki")


@pytest.fixture
def door(pki) -> Iterator[Northbound]:
    """A door that is open in another thread, because the command runs a loop of its own."""
    opened: list[Northbound] = []
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with northbound(pki, FakeKeyService()) as door:
            opened.append(door)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    with structlog.testing.capture_logs():  # the server's log would mix with what the command prints
        yield opened[0]
    loops[0].call_soon_threadsafe(over.set)
    thread.join()


def qss(door: Northbound, sae: str, *arguments: str) -> Result:
    pair = door.pki.sae(sae)
    environment = {
        "QSS_URL": door.url,
        "QSS_CERT": str(pair.certificate),
        "QSS_KEY": str(pair.key),
        "QSS_CA": str(door.pki.authority),
    }
    return CliRunner().invoke(main, ["key", *arguments], env=environment)


def test_get_and_take(door) -> None:
    got = qss(door, ALICE, "get", BOB, "--number", "2", "--size", "128", "--also", CAROL)
    assert got.exit_code == 0, got.output
    lines = got.stdout.splitlines()
    ids = [line.split()[0] for line in lines]
    assert [len(line.split()[1]) for line in lines] == [24, 24]
    assert qss(door, BOB, "take", ALICE, *ids).stdout == got.stdout
    taken = json.loads(qss(door, CAROL, "take", ALICE, ids[0], "--json").stdout)
    assert taken == {"keys": [{"key_ID": ids[0], "key": lines[0].split()[1]}]}
    again = qss(door, BOB, "take", ALICE, *ids)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "not found on KME" in again.stderr


def test_status(door) -> None:
    assert "keys at hand: 1000 of at most 5000, 256 bits each" in qss(door, ALICE, "status", BOB).stdout
    assert json.loads(qss(door, ALICE, "status", BOB, "--json").stdout)["stored_key_count"] == 1000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", BOB, "--size", "12"], 1, "size shall be a multiple of 8"),
        (["get", BOB, "--number", "1001"], 1, "1000 keys are at hand"),
        (["get", ALICE], 1, "caller's own"),
        (["get", "b ob"], 1, "no SAE ID"),
        (["take", BOB, "abc"], 1, "no UUID"),
        (["take", BOB], 2, "KEY_ID"),
        (["get", BOB, "--number", "0"], 2, "--number"),
        (["get", BOB, "--url", "http://localhost"], 1, "https://host:port"),
        (["get", BOB, "--ca", "/nowhere/ca.pem"], 1, "/nowhere/ca.pem"),
    ],
)
def test_failures_are_one_line_on_stderr(door, arguments, code, said) -> None:
    result = qss(door, ALICE, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_missing_is_named() -> None:
    result = CliRunner().invoke(main, ["key", "get", BOB], env={"QSS_URL": None})
    assert result.exit_code == 2
    assert "--url" in result.stderr
    assert "QSS_URL" in CliRunner().invoke(main, ["key", "get", "--help"]).stdout
