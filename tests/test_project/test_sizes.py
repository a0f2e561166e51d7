"""No file of code is longer than it may be, and no line of a page is wider than an editor beside another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

MAX_LINES = 400
MAX_WIDTH = 120


def too_wide(text: str) -> list[str]:
    """Return the lines of a page that could be broken, and are not: no code, no row of a table, no address."""
    lines = re.sub(r"^ *```.*?```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()
    return [line for line in lines if len(line) > MAX_WIDTH and not line.lstrip().startswith("|") and "://" not in line]


def test_no_file_has_more_lines_than_can_be_kept_in_mind() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in (ROOT / "src").rglob("*.py")
    }
    assert lengths
    assert {file: length for file, length in lengths.items() if length > MAX_LINES} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_a_page_is_too_wide(page: Path) -> None:
    assert too_wide(page.read_text("utf-8")) == []


def test_what_cannot_be_broken_may_be_wide() -> None:
    wide = "wide " * 30
    assert too_wide(f"{wide}\n\n- {wide}") == [wide, f"- {wide}"]
    assert too_wide(f"| {wide} |\n```\n{wide}\n```\n   ```\n   {wide}\n   ```\n<https://example.org/{wide}>") == []
