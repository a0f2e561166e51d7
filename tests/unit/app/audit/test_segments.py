"""Files of an audit log, read while they grow."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import cast

import pytest

from qss.app.audit.segments import last_position, lines_of, segment_file, segments_in
from qss.wire.audit import MAX_LINE_BYTES
from support.audit_logs import made_site


class Growing:
    """A file into which somebody writes these pieces, each after the one before was read."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def readline(self, size: int) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        assert len(piece) <= size
        return piece


def read(*pieces: bytes) -> list[bytes]:
    return list(lines_of(cast("BufferedReader", Growing(*pieces))))


def test_a_line_that_is_being_written_is_read_on() -> None:
    assert read(b"one\n", b"tw", b"o", b"\n", b"three\n") == [b"one\n", b"two\n", b"three\n"]
    assert read(b"one\n", b"tw", b"o") == [b"one\n", b"two"]
    assert read() == []


def test_a_line_that_is_too_long_ends_the_reading() -> None:
    long = b"x" * (MAX_LINE_BYTES + 1)
    assert read(b"one\n", long, b"y\n") == [b"one\n", long]
    assert read(long[:-1], b"y", b"z\n") == [long[:-1] + b"y"]
    assert read(long[:-2] + b"\n") == [long[:-2] + b"\n"]


def test_segments_are_files_of_their_names_alone(tmp_path: Path) -> None:
    for name in (
        "000002.jsonl",
        "000010.jsonl",
        "1000000.jsonl",
        "3.jsonl",
        "000004.jsonl.gz",
        "x000005.jsonl",
        "lock",
    ):
        (tmp_path / name).touch()
    assert segments_in(tmp_path) == [2, 10, 1_000_000]
    assert [segment_file(tmp_path, segment).name for segment in (2, 1_000_000)] == ["000002.jsonl", "1000000.jsonl"]
    assert segments_in(tmp_path / "gone") == []


@pytest.mark.parametrize("last", [b"", b"{", b'{"kind":"segment"'])
def test_the_last_position_is_that_of_the_last_whole_record_of_all_segments(tmp_path: Path, last: bytes) -> None:
    site = made_site(tmp_path)
    assert last_position(site.data) is None
    site.write("one")
    before = site.verify().last
    segment_file(site.log, 2).write_bytes(last)
    assert last_position(site.data) == before
