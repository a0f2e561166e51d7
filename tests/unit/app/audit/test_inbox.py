"""Records that wait: in order, within bounds, and what there is no room for is counted where it would be."""

from __future__ import annotations

import threading

import msgspec
import pytest

from qss.app.audit import inbox as inboxes
from qss.app.audit.inbox import Inbox
from qss.wire import audit as wire

AT = "2026-11-23T04:00:02.000123Z"


def event(name: str, size: int = 2) -> wire.Event:
    return wire.Event(at=AT, event=name, level="info", fields=msgspec.Raw(b"{" + b" " * (size - 2) + b"}"))


def shown(inbox: Inbox) -> list[str | int]:
    return [record.event if isinstance(record, wire.Event) else record.records for record in inbox.first()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three small records."""
    monkeypatch.setattr(inboxes, "MAX_WAITING_BYTES", 3 * 602)


def test_records_stay_until_they_are_written() -> None:
    inbox = Inbox()
    assert inbox.put(event("one"))
    assert inbox.put(event("two"))
    assert shown(inbox) == shown(inbox) == ["one", "two"]
    inbox.put(event("three"))
    inbox.written()
    assert shown(inbox) == ["three"]


def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "MAX_PAGE", 2)
    inbox = Inbox()
    for name in "abc":
        inbox.put(event(name))
    assert shown(inbox) == ["a", "b"]
    inbox.written()
    assert shown(inbox) == ["c"]


@pytest.mark.usefixtures("small")
def test_what_there_is_no_room_for_is_counted_at_its_place() -> None:
    inbox = Inbox()
    for name in "abcde":
        assert inbox.put(event(name))  # it answers for them
    assert (shown(inbox), inbox.lost) == (["a", "b", "c", 2], 2)
    inbox.put(event("f"))  # while the others are being written
    inbox.put(event("g"))
    assert inbox.lost == 4
    inbox.written()
    assert shown(inbox) == [2]
    inbox.put(event("h"))
    inbox.written()
    assert shown(inbox) == ["h"]


@pytest.mark.usefixtures("small")
def test_what_is_given_again_has_counted_on() -> None:
    inbox = Inbox()
    for name in "abcd":
        inbox.put(event(name))
    assert shown(inbox) == ["a", "b", "c", 1]
    inbox.put(event("e"))
    assert shown(inbox) == ["a", "b", "c", 1, 1]
    inbox.put(event("f"))
    assert shown(inbox) == ["a", "b", "c", 1, 1, 1]
    for _ in range(1000):
        inbox.put(event("g"))
    assert len(inbox.first()) == 7


@pytest.mark.usefixtures("small")
def test_a_large_record_takes_more_room() -> None:
    inbox = Inbox()
    inbox.put(event("large", 1000))
    inbox.put(event("one"))
    assert shown(inbox) == ["large", 1]
    inbox.written()
    for name in "abc":
        inbox.put(event(name))
    assert shown(inbox) == ["a", "b", "c"]


def test_nothing_is_taken_after_the_end_and_nobody_waits_then() -> None:
    inbox = Inbox()
    inbox.put(event("one"))
    inbox.close()
    assert not inbox.put(event("two"))
    assert inbox.wait(None)
    inbox.pause(60)
    assert (shown(inbox), inbox.lost) == (["one"], 0)


def test_whoever_waits_is_woken_by_a_record() -> None:
    inbox = Inbox()
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(inbox.wait(60)))
    waiting.start()
    inbox.put(event("one"))
    waiting.join(10)
    assert woken == [False]
    assert not Inbox().wait(0)
