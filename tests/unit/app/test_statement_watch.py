"""The ends of statements are said in time, once a day, and by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from qss.app.statement_watch import NAMED, PAUSE_S, watch_statements
from qss.model.identifiers import QksId, SaeId
from qss.wire.home_statement import SignedStatement, encode_home, encode_statement

NOW = datetime(2027, 1, 1, 10, tzinfo=UTC)
EVENT = "statements of homes have expired, or do so soon"


class Over(Exception):
    """The test has seen enough."""


def ending(days: float) -> bytes:
    end = int((NOW + timedelta(days=days)).timestamp())
    return encode_statement(SignedStatement(encode_home(SaeId("sae:any"), QksId("A"), end), "ecdsa-sha256", b"-"))


async def said(at_home, days: int):
    """Return what is said on each of so many days: the next end, how many, and whose."""
    day, lines = 0, []
    with capture_logs() as logs:

        async def pause(seconds: float) -> None:
            nonlocal day
            assert seconds == PAUSE_S
            lines.append([(log["next"], log["count"], log["saes"]) for log in logs])
            assert all((log["log_level"], log["event"]) == ("warning", EVENT) for log in logs)
            logs.clear()
            day += 1
            if day == days:
                raise Over

        with pytest.raises(Over):
            await watch_statements(lambda: at_home, now=lambda: NOW + timedelta(days=day), pause=pause)
    return lines


async def test_nothing_is_said_of_what_lasts_and_of_what_is_not_stated() -> None:
    assert await said({SaeId("sae:a"): ending(40), SaeId("sae:b"): None}, 3) == [[], [], []]
    assert await said({}, 1) == [[]]


async def test_the_next_end_is_told_first_and_those_that_have_come_as_well() -> None:
    at_home = {SaeId("sae:a"): ending(31), SaeId("sae:b"): ending(-1), SaeId("sae:c"): ending(400)}
    first, second = await said(at_home, 2)
    assert first == [("2026-12-31 10:00 UTC", 1, ["sae:b"])]
    assert second == [("2026-12-31 10:00 UTC", 2, ["sae:b", "sae:a"])]


async def test_of_many_some_are_named() -> None:
    at_home = {SaeId(f"sae:{number:03}"): ending(1 + number / 100) for number in range(200)}
    ((line,),) = await said(at_home, 1)
    assert line[1] == 200
    assert line[2] == [f"sae:{number:03}" for number in range(NAMED)]
