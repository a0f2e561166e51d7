"""Whatever happens to a site and its disk, its audit log is whole, with all that was acknowledged, in its order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qss.app.audit import scribe as scribes
from support.audit_logs import AuditedSite, made_site
from support.failing_disk import at_most

WRITE, PAUSE, STOP, KILL, CRASH, FULL = range(6)

steps = st.lists(
    st.tuples(st.sampled_from([WRITE, WRITE, WRITE, PAUSE, STOP, KILL, CRASH, FULL]), st.integers(0, 5000)),
    max_size=40,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditedSite]:
    before, scribes.SEGMENT_BYTES = scribes.SEGMENT_BYTES, 6000
    yield made_site(tmp_path_factory.mktemp("history"))
    scribes.SEGMENT_BYTES = before


def tail(site: AuditedSite) -> tuple[Path, int]:
    last = site.files()[-1]
    return last, last.stat().st_size


class History:
    """What a site has acknowledged, and what may be there besides."""

    def __init__(self, site: AuditedSite) -> None:
        self.site = site
        self.expected: list[str] = []
        self.noted: list[tuple[int, str]] = []
        self.count = 0

    def page(self, size: int) -> list[str]:
        """Return the names of a page's events."""
        self.count += 1
        return [f"{self.count}.{number}" for number in range(size % 40)]

    def write(self, size: int) -> None:
        page = self.page(size)
        self.site.write(*page)
        self.expected += page

    def crash(self, size: int) -> None:
        """While a page is written, of which so much comes to the disk."""
        path, durable = tail(self.site)
        anchored = self.site.anchor.read_bytes()
        page = self.page(size)
        self.site.write(*page)
        self.site.die()
        last, length = tail(self.site)
        keep = durable if last == path else last.read_bytes().index(b"\n") + 1
        with last.open("rb+") as file:
            file.truncate(keep + size % (length - keep + 1))
        self.site.anchor.write_bytes(anchored)
        there = self.site.verify().events - len(self.expected)
        self.expected += page[:there]

    def full(self, size: int) -> None:
        """A page for which the disk has too little room, or not; what was refused is given again."""
        page = self.page(size)
        try:
            with at_most(tail(self.site)[1] + size):
                self.site.write(*page)
        except OSError:
            self.site.write(*page)
        self.expected += page

    def step(self, what: int, size: int) -> None:
        match what:
            case 0:
                self.write(size)
            case 1:
                self.site.clock[0] += size % 20
                self.write(0)
            case 2:
                self.site.stop()
            case 3:
                self.site.die()
            case 4:
                self.crash(size)
            case _:
                self.full(size)

    def check(self) -> None:
        found = self.site.verify(*self.noted)
        assert self.site.events() == self.expected
        assert (found.events, found.lost, found.began) == (len(self.expected), 0, [])
        if found.checkpoint is not None:
            self.noted = [*self.noted, (found.checkpoint.seq, found.checkpoint.hash)][-20:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=steps)
def test_the_log_is_whole_after_any_history(made: AuditedSite, history: list[tuple[int, int]]) -> None:
    """A checkpoint that was noted once stays in it for ever, but that which a crash has cut off was never durable."""
    shutil.rmtree(made.data, ignore_errors=True)
    made.anchor.unlink(missing_ok=True)
    made.scribe = None
    made.write()  # before its first checkpoint a log is nobody's
    so_far = History(made)
    for what, size in history:
        so_far.step(what, size)
        so_far.check()
    made.die()
