"""A site's audit log in operation: events from any thread, a disk that fails meanwhile, and the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from qss.app.audit import fields, inbox, log, scribe, tap
from qss.app.audit.log import AuditLog
from qss.app.log_budget import WARNING_LINES
from qss.app.logs import configure_logs
from qss.model.key_material import KeyMaterial
from qss.wire import audit as wire
from support.audit_logs import AuditedSite, made_site
from support.failing_disk import at_most


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditedSite:
    monkeypatch.setattr(log, "PAGE_S", 0.01)
    monkeypatch.setattr(log, "RETRY_S", 0.01)
    return made_site(tmp_path)


@pytest.fixture
async def running(site: AuditedSite) -> AsyncIterator[AuditLog]:
    """The site's audit log, begun."""
    made = made_log(site)
    made.start()
    yield made
    await made.stop()


def made_log(site: AuditedSite, defect: Callable[[BaseException], None] | None = None) -> AuditLog:
    def never(error: BaseException) -> None:
        raise error

    return AuditLog(site.start(), lambda: (site.clock[0], site.clock[1]), defect or never)


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not so():  # noqa: ASYNC110 - a thread's work is waited for
            await asyncio.sleep(0.005)


async def test_events_are_written_soon_in_their_order_and_signed_at_the_end(site, running) -> None:
    running.keep("one", "info", {"by": "site A"})
    await until(lambda: site.log.exists() and site.events() == ["one"])
    for number in range(1000):
        running.keep(str(number), "info", {})
    await running.stop()
    assert site.events() == ["one", *map(str, range(1000))]
    assert site.kinds()[-2:] == ["stop", "checkpoint"]
    found = site.verify()
    assert (found.unsigned, found.lost) == (0, 0)
    assert (running.checkpoint, running.lost, running.writable) == (found.checkpoint, 0, True)


async def test_pages_that_are_full_follow_each_other_at_once(site, monkeypatch) -> None:
    monkeypatch.setattr(log, "PAGE_S", 60.0)
    for module in (log, inbox):
        monkeypatch.setattr(module, "MAX_PAGE", 10)
    made = made_log(site)
    for number in range(35):
        made.keep(str(number), "info", {})
    made.start()
    await until(lambda: site.log.exists() and len(site.events()) == 35)
    await made.stop()


async def test_what_came_before_the_start_is_written_after_it(site) -> None:
    made = made_log(site)
    made.keep("early", "info", {})
    assert not site.data.joinpath("audit").exists()
    made.start()
    await made.stop()
    assert (site.kinds()[1:3], site.events()) == (["start", "event"], ["early"])


async def test_one_that_never_starts_writes_nothing(site) -> None:
    made = made_log(site)
    made.keep("early", "info", {})
    await made.stop()
    assert list(site.data.iterdir()) == []


async def test_after_the_end_nothing_is_kept(site, running) -> None:
    await running.stop()
    assert not running.keep("late", "info", {})


async def test_any_thread_may_have_events_kept(site, running) -> None:
    def keep(name: str) -> None:
        for number in range(200):
            running.keep(f"{name}{number}", "info", {})

    threads = [threading.Thread(target=keep, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await running.stop()
    for name in "abcd":
        assert [event for event in site.events() if event[0] == name] == [f"{name}{number}" for number in range(200)]
    site.verify()


async def test_a_checkpoint_is_written_when_nothing_new_comes(site, running) -> None:
    await until(lambda: site.scribe.due_in() is None)
    running.keep("one", "info", {})
    await until(lambda: site.scribe.due_in() == 10)
    assert site.kinds()[-1] == "event"
    site.clock[0] += 10
    running.keep("two", "info", {})  # whoever waits looks at the clock again
    await until(lambda: site.kinds()[-2:] == ["event", "checkpoint"])


async def test_a_log_is_whole_whenever_it_is_looked_at_while_it_is_written(site, monkeypatch) -> None:
    """Lines that are half written, segments that begin and segments that are removed are no damage."""
    monkeypatch.setattr(scribe, "SEGMENT_BYTES", 20_000)
    monkeypatch.setattr(log, "PAGE_S", 0.0)
    for module in (log, inbox):
        monkeypatch.setattr(module, "MAX_PAGE", 20)
    site.keep_bytes = 200_000
    made = made_log(site)
    made.start()

    async def write() -> None:
        for number in itertools.count():
            made.keep(str(number), "info", {"note": "x" * (number % 300)})
            if number % 50 == 0:
                await asyncio.sleep(0.001)

    writing = asyncio.create_task(write())
    try:
        await until(lambda: made.checkpoint is not None)
        removed = [0]
        while len(removed) < 60 or removed[-1] < 20:
            removed.append((await asyncio.to_thread(site.verify)).removed_before)
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        await made.stop()
    assert removed == sorted(removed)


# --- a disk that fails ----------------------------------------------------------------------------------------------


async def test_a_full_disk_is_said_once_and_what_came_meanwhile_is_written_when_there_is_room(site, running) -> None:
    running.keep("one", "info", {})
    await until(lambda: site.log.exists() and site.events() == ["one"])
    with capture_logs() as logs:
        with at_most(site.files()[0].stat().st_size + 50):
            for number in range(50):
                running.keep(str(number), "info", {})
                await asyncio.sleep(0.002)
            await until(lambda: not running.writable)
            assert site.events() == ["one"]
        await until(lambda: running.writable)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("error", "the audit log cannot be written, and what is to be in it waits in memory"),
        ("warning", "the audit log can be written again"),
    ]
    assert "File too large" in logs[0]["reason"]
    await running.stop()
    assert site.events() == ["one", *map(str, range(50))]
    site.verify()


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_start_on_a_full_disk_is_written_when_there_is_room_though_nothing_happens(site, stopped) -> None:
    site.write("one")
    if stopped:
        site.stop()
    made = made_log(site)
    try:
        with at_most(site.files()[0].stat().st_size):
            made.start()
            await until(lambda: not made.writable)
        await until(lambda: made.writable)
        assert site.kinds()[-2:] == ["start", "checkpoint"]
    finally:
        await made.stop()
    assert site.verify().crashes == (not stopped)


async def test_what_memory_has_no_room_for_is_counted_in_the_chain(site, running, monkeypatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 10 * 602)
    running.keep("one", "info", {})
    await until(lambda: site.log.exists() and site.events() == ["one"])
    with at_most(site.files()[0].stat().st_size):
        running.keep("first", "info", {})
        await until(lambda: not running.writable)
        for number in range(1000):
            running.keep(str(number), "info", {})
        assert running.lost == 991
    await until(lambda: running.writable)
    running.keep("last", "info", {})
    await running.stop()
    assert site.events() == ["one", "first", *map(str, range(9)), "last"]
    kinds = site.kinds()
    assert kinds.index("lost") == [number for number, kind in enumerate(kinds) if kind == "event"][-2] + 1
    assert site.verify().lost == running.lost == 991


async def test_a_disk_that_fails_at_the_end_keeps_nobody_waiting(site, running) -> None:
    running.keep("one", "info", {})
    await until(lambda: site.log.exists() and site.events() == ["one"])
    with at_most(site.files()[0].stat().st_size):
        running.keep("two", "info", {})
        async with asyncio.timeout(10):
            await running.stop()
    assert not running.writable
    assert site.events() == ["one"]
    site.verify()


async def test_a_folder_that_cannot_be_made_is_tried_again(site) -> None:
    site.data.mkdir()
    site.log.write_text("a file in its place")
    made = made_log(site)
    with capture_logs() as logs:
        made.start()
        made.keep("one", "info", {})
        await until(lambda: not made.writable)
        site.log.unlink()
        await until(lambda: made.writable)
        await made.stop()
    assert len(logs) == 2
    assert site.events() == ["one"]


async def test_a_log_that_another_process_writes_is_left_alone_until_that_has_ended(site) -> None:
    site.write("theirs")
    other = AuditedSite(site.folder, site.pki, clock=site.clock)
    made = made_log(other)
    with capture_logs() as logs:
        made.start()
        made.keep("ours", "info", {})
        await until(lambda: not made.writable)
        site.write("theirs, too")
        site.stop()
        await until(lambda: made.writable)
        await made.stop()
    assert "another process has the data folder" in logs[0]["reason"]
    assert other.events() == ["theirs", "theirs, too", "ours"]
    assert other.verify().crashes == 0


async def test_a_defect_ends_the_site(site, monkeypatch) -> None:
    heard: list[BaseException] = []
    made = made_log(site, heard.append)
    monkeypatch.setattr(site.scribe, "write", lambda *_, **__: 1 / 0)
    made.start()
    await until(lambda: bool(heard))
    assert isinstance(heard[0], ZeroDivisionError)
    await made.stop()


# --- events of the ordinary log -------------------------------------------------------------------------------------


@pytest.fixture
def as_before() -> Iterator[None]:
    """Put back what configuring the log changes in this process."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.usefixtures("as_before")
async def test_what_matters_is_in_the_audit_log_whatever_the_ordinary_log_drops(site, running, capsys) -> None:
    configure_logs("json", lambda: 0.0)
    told = structlog.get_logger().bind(subject="relay", peer="B")
    told.warning("before", audit=True)
    with tap.attached(running):
        for number in range(WARNING_LINES + 50):
            told.warning("passed on", audit=True, number=number, note="x" * 600)
        told.warning("connected", number=1)
    told.warning("after", audit=True)
    await running.stop()
    assert site.events() == ["relay passed on"] * (WARNING_LINES + 50)
    first = next(record for record in site.records() if isinstance(record, wire.Event))
    assert (first.level, json.loads(bytes(first.fields))) == (
        "warning",
        {"peer": "B", "number": 0, "note": "x" * 499 + "…"},
    )
    shown = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["relay before", *["relay passed on"] * WARNING_LINES, "relay connected", "relay after"]


@pytest.mark.usefixtures("as_before")
async def test_without_an_audit_log_the_ordinary_one_drops_nothing_that_matters(capsys) -> None:
    configure_logs("json", lambda: 0.0)
    for number in range(WARNING_LINES + 50):
        structlog.get_logger().warning("passed on", audit=True, number=number)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["number"] for line in lines] == list(range(WARNING_LINES + 50))


@pytest.mark.usefixtures("as_before")
async def test_an_audit_log_that_has_ended_answers_for_nothing(site, running, capsys) -> None:
    configure_logs("json", lambda: 0.0)
    await running.stop()
    with tap.attached(running):
        for _ in range(WARNING_LINES + 50):
            structlog.get_logger().warning("passed on", audit=True)
    assert len(capsys.readouterr().err.splitlines()) == WARNING_LINES + 50


# --- fields ---------------------------------------------------------------------------------------------------------


def test_fields_are_json_whatever_they_are() -> None:
    ring: list[object] = []
    ring.append(ring)
    for given, told in (
        ({}, {}),
        ({"by": "site A", "bits": {"B": 256}, "on": True, "way": ("A", "B")}, None),
        ({"path": Path("/a/b")}, {"path": "/a/b"}),
        ({"text": "x" * 501, "fine": "y" * 500}, {"text": "x" * 499 + "…", "fine": "y" * 500}),
        ({"secret": KeyMaterial(b"0123456789")}, {"secret": "<10 secret bytes>"}),
        ({"raw": b"0123456789"}, {"raw": "<10 bytes>"}),
        ({"bad": "\udcff"}, {"'bad'": "'\\udcff'"}),
        ({"ring": ring}, {"'ring'": "[[...]]"}),
        ({"odd": {("a", 1): 2}}, {"odd": {"('a', 1)": 2}}),
    ):
        found = json.loads(fields.encoded(given))
        assert found == (json.loads(json.dumps(given)) if told is None else told)


def test_fields_that_are_too_large_are_cut_and_still_there() -> None:
    ids = [f"{number:036}" for number in range(1000)]  # the largest recall
    assert json.loads(fields.encoded({"key_ids": ids})) == {"key_ids": ids}
    found = fields.encoded({"by": "site A", "key_ids": ids * 2})
    assert len(found) < wire.MAX_FIELDS_BYTES
    assert json.loads(found)["'by'"] == "'site A'"
    assert len(json.loads(found)["'key_ids'"]) == 500
    assert len(fields.encoded({str(number): "x" * 500 for number in range(10_000)})) <= wire.MAX_FIELDS_BYTES


def test_no_secret_stands_in_what_is_recorded(site) -> None:
    secret = os.urandom(32)
    found = fields.encoded({"key": KeyMaterial(secret), "keys": [KeyMaterial(secret)], "raw": secret})
    for spelled in (secret, secret.hex().encode()):
        assert spelled not in found
