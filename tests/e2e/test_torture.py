"""`make torture`, as CI runs it: twenty kills and no violation. And it does fail when it should, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from qss.cli.demo.nodes import Nodes
from qss.model.identifiers import QksId
from support.processes import processes_of
from torture import __main__ as command
from torture.log import GOT, Asked, Ended, Entry, Fault, Fetching, Looked, read
from torture.runs import DELIVERIES, run

TESTS = Path(__file__).parents[1]
KILLS = int(os.environ.get("KILLS") or "20")
SPLIT_KILLS = 8
AFAR_KILLS = 6
PATIENCE_S = 60.0
INTERRUPTED = 130


def repeats(entries: list[Entry], kind: type[Asked | Fetching]) -> int:
    """How many asks of a kind got keys under a name whose keys had come before."""
    got = {entry.ask for entry in entries if isinstance(entry, Ended) and entry.outcome == GOT}
    names = [entry.name for entry in entries if isinstance(entry, kind) and entry.name and entry.ask in got]
    return len(names) - len(set(names))


async def test_no_invariant_breaks_whatever_is_killed_and_cut(tmp_path: Path) -> None:
    outcome = await run(tmp_path, KILLS, seed=time.time_ns() // 1_000_000, say=print)
    assert not outcome.violations, f"{outcome}; its logs are in {tmp_path}: {outcome.violations[:20]}"
    assert outcome.kills == KILLS
    assert outcome.deliveries > 100 * KILLS
    assert outcome.faults > 2
    entries = list(read(tmp_path / DELIVERIES))
    assert sum(isinstance(entry, Fault) and entry.what.startswith("kill ") for entry in entries) == KILLS
    assert len({entry.master for entry in entries if isinstance(entry, Asked)}) == 5
    assert repeats(entries, Asked) > KILLS
    assert repeats(entries, Fetching) > KILLS
    assert processes_of(tmp_path) == []


async def test_no_invariant_breaks_when_modules_are_killed_too(tmp_path: Path) -> None:
    outcome = await run(tmp_path, SPLIT_KILLS, seed=time.time_ns() // 1_000_000, say=print, split=True)
    assert not outcome.violations, f"{outcome}; its logs are in {tmp_path}: {outcome.violations[:20]}"
    assert outcome.kills == SPLIT_KILLS
    assert outcome.deliveries > 50 * SPLIT_KILLS
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("topology", ["line5", "ring5"])
async def test_no_invariant_breaks_when_repeaters_are_killed(tmp_path: Path, topology: str) -> None:
    seed = time.time_ns() // 1_000_000
    outcome = await run(tmp_path, AFAR_KILLS, seed, say=print, topology=topology)
    assert not outcome.violations, f"{outcome}; its logs are in {tmp_path}: {outcome.violations[:20]}"
    assert outcome.kills == AFAR_KILLS
    assert outcome.deliveries > 100 * AFAR_KILLS
    far = [entry for entry in read(tmp_path / DELIVERIES) if isinstance(entry, Looked) and entry.final and entry.far]
    assert all(any(stream.delivered for stream in entry.streams) for entry in far)
    assert far
    assert processes_of(tmp_path) == []


def test_a_node_that_ends_by_itself_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def end_unexpectedly(self: Nodes, site: QksId) -> None:
        os.kill(self.pid(site), signal.SIGKILL)

    monkeypatch.setattr(Nodes, "kill", end_unexpectedly)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert command.main(["--kills", "1", "--seed", "1"]) == 1
    out = capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    assert "ended with status -9" in out
    assert "1 violations, seed 1, " in out, out
    assert out.endswith(f"are in {folder}\n")
    assert {DELIVERIES, "A.log", "B.log", "C.log"} <= {path.name for path in folder.iterdir()}
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("moment", ["everything is in", "1 kills, "])
def test_ctrl_c_leaves_nothing(tmp_path: Path, moment: str) -> None:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        [sys.executable, "-m", "torture", "--kills", "1000", "--seed", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            said = b""
            while moment.encode() not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            os.killpg(process.pid, signal.SIGINT)
            said += process.stdout.read()
            assert process.wait(PATIENCE_S) == INTERRUPTED, said
            assert b"Traceback" not in said
            assert processes_of(tmp_path) == []
            assert list(tmp_path.iterdir()) == []
        finally:
            process.kill()
            for pid in processes_of(tmp_path):
                os.kill(pid, signal.SIGKILL)
