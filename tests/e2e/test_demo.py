"""`qss demo` as a newcomer runs it: the commands that it prints, and its end at whatever moment it comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.processes import processes_of

PATIENCE_S = 60.0
INTERRUPTED = 130


@dataclass(frozen=True)
class Demo:
    """A demo that runs: its process, and the folder in which all that it makes lies."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text(encoding="utf-8")

    def until(self, text: str) -> None:
        """Wait until it has said something."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.out + self.err:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < end, self.err
            time.sleep(0.01)

    def end(self, signum: int) -> int:
        """Signal the demo's group of processes, as Ctrl-C at a terminal does; return the exit status."""
        os.killpg(self.process.pid, signum)
        return self.process.wait(PATIENCE_S)

    def must_leave_nothing(self) -> None:
        assert list((self.folder / "tmp").iterdir()) == []
        assert processes_of(self.folder) == []
        assert "Traceback" not in self.out + self.err


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[Demo]:
    (folder / "tmp").mkdir()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "qss.cli.main", "demo", *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"TMPDIR": str(folder / "tmp")},
            start_new_session=True,
        )
    try:
        yield Demo(process, folder)
    finally:
        process.kill()
        process.wait()
        for pid in processes_of(folder):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("moment", "signum"),
    [
        ("making a certificate authority", signal.SIGTERM),
        ("starting four nodes", signal.SIGINT),
        ("gathering key", signal.SIGTERM),
        ("one key", signal.SIGINT),
        ("stopping repeater", signal.SIGTERM),
    ],
)
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, moment: str, signum: int) -> None:
    with demo(tmp_path) as running:
        running.until(moment)
        assert running.end(signum) == INTERRUPTED
        running.must_leave_nothing()
        assert running.out == ""


def test_modules_can_be_processes_of_their_own_and_both_ends_get_the_same(tmp_path: Path) -> None:
    with demo(tmp_path, "--once", "--split", "--json") as running:
        running.until("gathering key")
        assert len(processes_of(tmp_path)) == 12
        assert running.process.wait(2 * PATIENCE_S) == 0, running.err
        said = json.loads(running.out)
        assert said["ok"]
        assert all(delivery["match"] for delivery in said["deliveries"])
        relayed = [one["over"] for one in said["deliveries"] if (one["from"], one["to"]) == ("A", "C")]
        assert relayed == ["B or D", "B or D", "B and D", "B or D", "B"]
        assert all(one["over"] == "link" for one in said["deliveries"] if (one["from"], one["to"]) != ("A", "C"))
        assert {route["SAE_ID"]: (route["dest"], route["length"]) for route in said["routes"]} == {
            "sae:alice": ("A", 0), "sae:bob": ("B", 1), "sae:bella": ("B", 1), "sae:carol": ("C", 2),
            "sae:chris": ("C", 2),
        }  # fmt: skip
        assert "stopping repeater D" in running.err
        running.must_leave_nothing()


def test_the_commands_that_it_prints_work_as_they_are(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.until("Ctrl-C ends the sites")
        assert len(processes_of(tmp_path)) == 4
        lines = running.out.splitlines()
        (folder,) = [line for line in lines if line.startswith("cd ")]
        status, get, take = [f"{folder} && {line}" for line in lines if line.startswith("curl ")]
        said = pasted(status)
        assert (said["source_KME_ID"], said["target_KME_ID"], said["slave_SAE_ID"]) == ("A", "B", "sae:bob")
        got = pasted(get)["keys"]
        assert len(got) == 2
        for key in got:
            assert pasted(take.replace("KEY_ID", key["key_ID"]))["keys"] == [key]
        assert running.end(signal.SIGINT) == 0
        running.must_leave_nothing()


def pasted(line: str) -> dict[str, list[dict[str, str]]]:
    ran = subprocess.run(line + " --silent --show-error", shell=True, capture_output=True, check=False, timeout=30)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert isinstance(said, dict)
    return said
