"""Who may share keys changes while a node runs: all or nothing, and the log says what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.network import ALICE, BELLA, BOB, A, B, RunningNetwork, running_network

TAKEN_OVER = "the configuration was read anew"
NOT_TAKEN_OVER = "the configuration was not taken over: nothing has changed"
FORBIDDEN = "the neighbour was refused keys for SAEs that no rule here allows"
ENC = "/api/v1/keys/{}/enc_keys"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("reload"), (A, B)) as running:
        running.until_keys((ALICE, BOB))
        yield running


@pytest.fixture
def reload(two: RunningNetwork) -> Iterator[Callable[[Callable[[str], str]], dict[str, Any]]]:
    """Change A's configuration and tell its node; return what it logs of it. Afterwards all is as it was."""
    path = two.network.configuration(A)
    before = path.read_text("utf-8")

    def change(edit: Callable[[str], str]) -> dict[str, Any]:
        path.write_text(edit(before), "utf-8")
        seen = len(two.events(A))
        os.kill(two.nodes.pid(A), signal.SIGHUP)
        return until_told(two, seen)

    yield change
    assert change(lambda text: text)["event"] == TAKEN_OVER


def until_told(two: RunningNetwork, seen: int) -> dict[str, Any]:
    """Wait until A has logged, after its first `seen` events, what came of a hang-up."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        told = [event for event in two.events(A)[seen:] if event["event"] in (TAKEN_OVER, NOT_TAKEN_OVER)]
        if told:
            return told[0]
        time.sleep(0.02)
    raise AssertionError("the node says nothing")


def without_pairs(text: str) -> str:
    return text.partition("[[pairs]]")[0]


def test_a_pair_that_is_taken_away_is_refused_and_one_that_is_added_is_served(two: RunningNetwork, reload) -> None:
    kept = two.get(ALICE, BOB)
    told = reload(without_pairs)
    assert told["event"] == TAKEN_OVER
    assert told["pairs_removed"] > 0
    assert two.curl(ALICE, ENC.format(BOB)).status == 401
    assert two.take(BOB, ALICE, kept).keys == kept  # what was reserved before can still be fetched

    told = reload(lambda text: f'{without_pairs(text)}[[pairs]]\nmaster = "{ALICE}"\nslaves = ["{BELLA}"]\n')
    assert (told["event"], told["pairs_added"]) == (TAKEN_OVER, 1)
    assert two.curl(ALICE, ENC.format(BOB)).status == 401
    assert two.curl(ALICE, ENC.format(BELLA)).status == 200


def test_a_neighbours_reservations_are_judged_by_the_new_rules(two: RunningNetwork, reload) -> None:
    assert two.curl(BOB, ENC.format(ALICE)).status == 200
    reload(without_pairs)
    for _ in range(2):
        assert two.curl(BOB, ENC.format(ALICE)).status == 401
    (told,) = [event for event in two.events(A) if event["event"] == FORBIDDEN]
    assert (told["level"], told["peer"], told["master"], told["slaves"]) == ("warning", B, BOB, ALICE)
    assert f'[[pairs]] with master = "{BOB}" and slaves = ["{ALICE}"]' in told["remedy"]


def test_quotas_are_taken_over(two: RunningNetwork, reload) -> None:
    told = reload(lambda text: f"[quotas]\nsae_bps = 1\nburst_s = 100\n{text}")
    assert told["quotas_changed"] == 1
    refused = two.curl(ALICE, ENC.format(BOB))
    assert refused.status == 503
    assert "may take 1 bit/s" in refused.message


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text.replace("[northbound]", "[northbound"), "syntax error"),
        (lambda text: text.replace("[northbound]", "[northbound]\nmax_connections = 7"), "northbound: found another"),
        (lambda text: text.replace("[[links]]", "[[links]]\nmax_reservations = 7"), "links: found another value"),
        (lambda text: f'{text}\n[[pairs]]\nmaster = "sae nobody"\nslaves = ["*"]\n', "sae nobody"),
    ],
)
def test_what_cannot_be_taken_over_changes_nothing(two: RunningNetwork, reload, edit, reason) -> None:
    told = reload(lambda text: edit(without_pairs(text)))
    assert (told["event"], told["level"]) == (NOT_TAKEN_OVER, "error")
    assert reason in told["reason"]
    assert two.curl(ALICE, ENC.format(BOB)).status == 200


def test_a_hang_up_while_a_node_starts_takes_over_what_was_edited_meanwhile(two: RunningNetwork) -> None:
    path = two.network.configuration(A)
    before = path.read_text("utf-8")
    assert two.stop(A) == 0
    seen = len(two.events(A))
    path.unlink()
    os.mkfifo(path)
    try:
        two.start(A)
        with path.open("w", encoding="utf-8") as read_by_the_start:  # opens when the node does: it is starting
            os.kill(two.nodes.pid(A), signal.SIGHUP)
            read_by_the_start.write(before)
            path.unlink()
            path.write_text(without_pairs(before), "utf-8")
        told = until_told(two, seen)
        assert told["event"] == TAKEN_OVER
        assert told["pairs_removed"] > 0
        assert two.curl(ALICE, ENC.format(BOB)).status == 401
    finally:
        path.unlink()
        path.write_text(before, "utf-8")
    seen = len(two.events(A))
    os.kill(two.nodes.pid(A), signal.SIGHUP)
    assert until_told(two, seen)["event"] == TAKEN_OVER
    two.until_keys((ALICE, BOB))
