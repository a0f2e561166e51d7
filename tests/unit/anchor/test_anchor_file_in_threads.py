"""The anchor when several threads write it: the highest number stays, whoever comes last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from qss.adapters.stores.anchor import AnchorFile


def test_threads_that_write_at_once_leave_the_highest_number(tmp_path) -> None:
    anchor = AnchorFile(tmp_path / "anchor")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(anchor.write, [number * 37 % 101 for number in range(101)]))
    assert anchor.read() == 100
    assert list(tmp_path.iterdir()) == [tmp_path / "anchor"]
