"""Rows of text in columns that line up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest


def in_columns(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as lines whose columns begin below each other, two spaces after the widest of the one before."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*texts, fillvalue="")]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in texts)
    return "\n".join(line.rstrip() for line in lines)
