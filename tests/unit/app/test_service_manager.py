"""What the service manager is told, over real sockets."""

from __future__ import annotations

import re
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.app.service_manager import READY, RELOADING, STOPPING, notify
from support.gaps import gap


def in_the_file_system(folder: Path) -> tuple[str, str]:
    return str(folder / "notify"), str(folder / "notify")


def abstract(_: Path) -> tuple[str, str]:
    if sys.platform != "linux":
        gap("abstract sockets", "run on Linux")
    name = f"qss-test-{secrets.token_hex(8)}"
    return f"@{name}", f"\0{name}"


@pytest.mark.parametrize("kind", [in_the_file_system, abstract])
def test_it_hears_each_state_as_one_datagram(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Callable[[Path], tuple[str, str]]
) -> None:
    told, bound = kind(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", told)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(bound)
        manager.settimeout(5)
        for state in (READY, RELOADING, STOPPING):
            notify(state)
        ready, reloading, stopping = (manager.recv(100) for _ in range(3))
    assert (ready, stopping) == (b"READY=1", b"STOPPING=1")
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)


def test_nobody_is_told_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with capture_logs() as logs:
        notify(READY)
    assert logs == []


def test_a_manager_that_is_not_there_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with capture_logs() as logs:
        notify(READY)
    ((event, level, reason),) = [(line["event"], line["log_level"], line["reason"]) for line in logs]
    assert (event, level) == ("the service manager cannot be told", "warning")
    assert reason == "No such file or directory"
