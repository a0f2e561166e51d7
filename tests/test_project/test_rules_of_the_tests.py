"""The rules that `tests/conftest.py` enforces do bite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PYPROJECT = TESTS.parent / "pyproject.toml"


def run(folder: Path, test: str, **environment: str) -> tuple[int, str]:
    """Run one test module under this project's settings in a process of its own."""
    (folder / "tests").mkdir()
    shutil.copy(PYPROJECT, folder)
    shutil.copy(TESTS / "conftest.py", folder / "tests")
    shutil.copytree(TESTS / "support", folder / "tests" / "support", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests" / "test_it.py").write_text(test, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "CI"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


MANY = """
import asyncio, contextlib, warnings
import pytest
from hypothesis import given, settings, strategies
from support.gaps import gap

def test_gap(): gap("no printer", "buy one")
async def test_task(): asyncio.create_task(asyncio.sleep(60), name="lost")
@settings(max_examples=1)
@given(number=strategies.just(1))
async def test_task_in_a_property(number): asyncio.create_task(asyncio.sleep(60), name="astray")
def test_warning(): warnings.warn("odd")
def test_file(): open(__file__)

@pytest.fixture
async def ticking():
    task = asyncio.create_task(asyncio.sleep(60))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

async def test_task_that_its_fixture_ends(ticking): pass
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("many"), MANY)[1]


def test_a_gap_is_named_at_the_end(many: str) -> None:
    end = many.partition("not run on this machine")[2]
    assert "tests/test_it.py::test_gap: no printer; remedy: buy one" in end


@pytest.mark.parametrize(
    "complaint",
    [
        "1 tasks outlive the test.*lost",
        "1 tasks outlive the test.*astray",
        "UserWarning: odd",
        "ResourceWarning: unclosed file",
    ],
)
def test_what_is_left_behind_fails(many: str, complaint: str) -> None:
    assert re.search(complaint, many)


def test_a_task_that_its_fixture_ends_is_no_leak(many: str) -> None:
    assert "test_task_that_its_fixture_ends" not in many


def test_a_gap_fails_in_ci(tmp_path: Path) -> None:
    code, output = run(
        tmp_path, "from support.gaps import gap\ndef test_it(): gap('no printer', 'buy one')\n", CI="true"
    )
    assert code == 1
    assert "a gap, and CI may have none: no printer" in output


def test_no_gap_is_said_as_well(tmp_path: Path) -> None:
    code, output = run(tmp_path, "def test_it(): pass\n", CI="true")
    assert code == 0
    assert "nothing: every test that was asked for ran" in output


def test_no_test_skips_but_by_a_gap() -> None:
    skips = re.compile(r"pytest\.(skip\b|importorskip|mark\.skip)")
    allowed = {TESTS / "support" / "gaps.py", Path(__file__)}
    assert [file for file in TESTS.rglob("*.py") if file not in allowed and skips.search(file.read_text("utf-8"))] == []
