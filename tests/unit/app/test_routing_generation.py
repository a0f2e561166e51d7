"""Each start of a site has a higher generation than all before, whatever the clock says and the disk does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.app.routing_generation import GENERATION, next_generation
from qss.wire.routing import MAX_GENERATION


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / GENERATION


def test_it_is_the_time_or_more_than_the_last_one(file: Path) -> None:
    assert next_generation(file, 1000.9) == 1000
    assert next_generation(file, 2000.0) == 2000
    assert [next_generation(file, 10.0) for _ in range(3)] == [2001, 2002, 2003]
    assert next_generation(file, 2003.0) == 2004
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"-1\n", b"1e9\n", b"\xff", b"12 34\n", f"{MAX_GENERATION}\n".encode(), b"9" * 40]
)
def test_a_damaged_file_keeps_nobody_from_starting(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with capture_logs() as logs:
        assert next_generation(file, 1000.0) == 1000
    assert len(logs) == 1
    assert next_generation(file, 1.0) == 1001


def test_a_disk_that_refuses_keeps_nobody_from_starting(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert next_generation(tmp_path / "gone" / GENERATION, 1000.0) == 1000
    assert [log["event"] for log in logs] == ["the generation of routing cannot be noted"]
