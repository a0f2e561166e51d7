"""The end of the site's own certificate is said in time, and not more than once a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from qss.app.certificate_expiry import expiry_note, watch_expiry

NOW = datetime(2027, 1, 1, 10, tzinfo=UTC)


class Over(Exception):
    """The test has seen enough."""


class Time:
    """A clock that a pause moves, until `end`."""

    def __init__(self, end: datetime) -> None:
        self.now = NOW
        self._end = end

    async def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now += timedelta(seconds=seconds)
        if self.now > self._end:
            raise Over


async def said(expires: datetime, days: float) -> list[tuple[float, str, str]]:
    """Return what is said within so many days: after how many hours, at which level, and what."""
    time = Time(NOW + timedelta(days=days))
    lines: list[tuple[float, str, str]] = []
    with capture_logs() as logs:

        async def pause(seconds: float) -> None:
            hours = (time.now - NOW) / timedelta(hours=1)
            lines.extend((hours, line["log_level"], line["event"]) for line in logs)
            logs.clear()
            await time.pause(seconds)

        with pytest.raises(Over):
            await watch_expiry(expires, now=lambda: time.now, pause=pause)
    return lines


async def test_nothing_is_said_of_a_certificate_that_lives_on() -> None:
    assert await said(NOW + timedelta(days=365), 300) == []


async def test_it_is_said_at_once_and_then_once_a_day() -> None:
    lines = await said(NOW + timedelta(days=29), 4)
    assert lines == [(24 * day, "warning", "the certificate expires soon") for day in range(5)]


async def test_it_is_said_when_thirty_days_begin_and_when_it_has_ended() -> None:
    lines = await said(NOW + timedelta(days=30, hours=5), 32)
    soon = [(5 + 24 * day, "warning", "the certificate expires soon") for day in range(30)]
    over = [(5 + 24 * day, "error", "the certificate has expired") for day in (30, 31)]
    assert lines == soon + over


def test_the_check_says_it_as_well() -> None:
    assert expiry_note(NOW + timedelta(days=30, seconds=1), NOW) is None
    note = expiry_note(NOW + timedelta(days=29), NOW)
    assert note is not None
    assert note.startswith("the certificate ends on 2027-01-30 10:00 UTC: renew it")
