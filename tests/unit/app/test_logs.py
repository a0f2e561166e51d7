"""The log: what libraries log goes to stderr in the same form, and never with the text of an exception."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from qss.app.audit import tap
from qss.app.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put back what configuring the log changes in this process."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def fail() -> None:
    try:
        int("key 0123456789")
    except ValueError:
        logging.getLogger("library").exception("it failed")


def test_a_librarys_exception_is_named_by_type_and_place(capsys) -> None:
    configure_logs("json")
    fail()
    line = json.loads(capsys.readouterr().err)
    file, number = line["place"].split(":")
    assert (line["event"], line["level"], line["error"], file) == ("it failed", "error", "ValueError", "test_logs.py")
    assert 'int("key' in Path(__file__).read_text(encoding="utf-8").splitlines()[int(number) - 1]
    assert "0123456789" not in str(line)


def test_text_for_people_hides_it_as_well(capsys) -> None:
    configure_logs("text")
    fail()
    written = capsys.readouterr().err
    assert "ValueError" in written
    assert "test_logs.py:" in written
    assert "0123456789" not in written


def test_of_libraries_only_warnings_are_shown(capsys) -> None:
    configure_logs("json")
    logging.getLogger("library").info("chatter")
    assert capsys.readouterr().err == ""


class Kept:
    """An audit log that notes what it is to keep."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, object]]] = []

    def keep(self, event: str, level: str, fields: Mapping[str, object]) -> bool:
        self.records.append((event, level, dict(fields)))
        return True


def test_what_is_for_the_audit_log_alone_goes_nowhere_else(capsys) -> None:
    configure_logs("json")
    log, kept = structlog.get_logger(), Kept()
    with tap.attached(kept):
        log.info("a key was given", audit="alone", sae="sae:alice")
        log.warning("an SAE was removed", audit=True)
    assert kept.records == [("a key was given", "info", {"sae": "sae:alice"}), ("an SAE was removed", "warning", {})]
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["event"] == "an SAE was removed"
