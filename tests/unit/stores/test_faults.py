"""What SQLite's errors are to an operator."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from qss.adapters.stores.sqlite.faults import as_making_errors, store_error
from qss.model.errors import StoreUnavailable

LEDGER = Path("/srv/qss/A.data/ledger.sqlite")


@pytest.mark.parametrize(
    ("free_blocks", "says"), [(0, "is full; nothing was written. Make room"), (256, "failed; check the disk")]
)
def test_a_disk_that_refuses_is_asked_whether_it_is_full(monkeypatch, free_blocks, says) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(f_bavail=free_blocks, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    error = store_error(apsw.IOError("disk I/O error"), LEDGER)
    assert isinstance(error, StoreUnavailable)
    assert says in str(error)
    assert asked[0] == LEDGER.parent
    what = "the disk is full" if free_blocks == 0 else "the disk refuses"
    with pytest.raises(StoreUnavailable, match=what), as_making_errors(LEDGER):
        raise apsw.IOError("disk I/O error")


def test_a_disk_that_does_not_answer_is_not_called_full() -> None:
    assert "failed; check the disk" in str(store_error(apsw.IOError("disk I/O error"), LEDGER))
