"""The audit log's records as lines: what is hashed, and what is no record."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from fuzz.__main__ import TARGETS, run

from qss.app.audit.chain import MAX_UNSIGNED
from qss.app.audit.inbox import MAX_WAITING_BYTES
from qss.app.audit.log import PAGE_S, RETRY_S
from qss.app.audit.scribe import CHECKPOINT_S, SEGMENT_BYTES
from qss.app.log_budget import MAX_CHARACTERS
from qss.model.errors import BadRequest
from qss.model.identifiers import QksId
from qss.wire import audit as wire

AT = "2026-11-23T04:00:02.000123Z"
CHAIN, HASH = "0f" * 16, "ab" * 32
A = QksId("A")

RECORDS: list[wire.Record] = [
    wire.Begin(at=AT, site=A, chain=CHAIN, segment=1, because="first", follows=None),
    wire.Begin(
        at=AT, site=A, chain=CHAIN, segment=4, because="damaged", follows=wire.Position(chain=CHAIN, seq=9, hash=HASH)
    ),
    wire.Segment(seq=3, at=AT, site=A, chain=CHAIN, segment=2, previous=HASH),
    wire.Start(seq=4, at=AT, release="0.1.0", clean=False),
    wire.Stop(seq=5, at=AT),
    wire.Event(
        seq=6, at=AT, event='an SAE was "registered"', level="warning", fields=msgspec.Raw(b'{"by":"\xc3\xa4"}')
    ),
    wire.Checkpoint(seq=7, at=AT, algorithm="ed25519", certificates=(b"\x00\x01", b""), signature=b"\xff" * 64),
    wire.Lost(seq=8, at=AT, records=2**40),
    wire.Recovered(seq=9, at=AT, cut_bytes=17),
    wire.Removed(seq=10, at=AT, before=3),
]


def test_every_kind_is_among_them() -> None:
    assert {type(record) for record in RECORDS} == set(wire.Record.__args__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__struct_config__.tag)
def test_a_record_is_read_as_it_was_written(record: wire.Record) -> None:
    line, digest = wire.seal(record, bytes(range(32)))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    text, told = wire.split(line)
    assert told == digest
    found = wire.decode(text)
    assert type(found) is type(record)
    assert wire.seal(found, bytes(range(32))) == (line, digest)


def test_a_line_is_json_whose_last_member_hashes_what_stands_before_it() -> None:
    """As docs/reference/store.md says it, with nothing of ours."""
    before = bytes(range(32))
    line, _ = wire.seal(RECORDS[5], before)
    members = json.loads(line)
    assert list(members) == ["kind", "seq", "at", "event", "level", "fields", "hash"]
    assert members["fields"] == {"by": "ä"}
    hashed = line[: line.index(b',"hash":"')]
    assert members["hash"] == hashlib.sha256(before + hashed).hexdigest()


def test_what_a_checkpoint_signs() -> None:
    """As docs/reference/store.md says it."""
    text = wire.checkpoint_text(A, CHAIN, 7, AT, bytes.fromhex(HASH))
    assert text == b"qss-audit-checkpoint.1\0" + f"A {CHAIN} 7 {AT} {HASH}".encode()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__struct_config__.tag)
def test_a_line_that_is_cut_or_has_more_is_none(record: wire.Record) -> None:
    line, _ = wire.seal(record, wire.NOTHING)
    for cut in range(len(line)):
        with pytest.raises(BadRequest):
            wire.decode(wire.split(line[:cut])[0])
    for more in (b"\n", b" ", b"\0", line):
        with pytest.raises(BadRequest):
            wire.decode(wire.split(line + more)[0])


def as_text(members: dict[str, object]) -> bytes:
    return json.dumps(members).encode()[:-1]


GOOD: dict[str, object] = {"kind": "stop", "seq": 1, "at": AT}
EVENT: dict[str, object] = GOOD | {"kind": "event", "event": "x", "level": "info", "fields": {}}
BEGIN: dict[str, object] = {
    "kind": "begin", "seq": 0, "at": AT, "format": 1, "site": "A", "chain": CHAIN, "segment": 1, "because": "first",
    "follows": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[", b"7", b"null", b"\xff", b"{" * 100_000, b'{"kind":"stop"',
        as_text(GOOD | {"kind": "end"}),
        as_text(GOOD | {"seq": -1}),
        as_text(GOOD | {"seq": 2**63}),
        as_text(GOOD | {"seq": "1"}),
        as_text(GOOD | {"more": 1}),
        *(as_text(GOOD | {"at": at}) for at in (AT[:-1], AT + "\n", AT.replace("T", " "), AT.replace("-11-", "-13-"))),
        *(as_text(BEGIN | {name: value}) for name, value in (
            ("format", 2), ("site", "A B"), ("site", "A\n"), ("site", ""), ("site", "x" * 64), ("chain", CHAIN[1:]),
            ("chain", CHAIN.upper()), ("because", "bored"), ("follows", {"chain": CHAIN, "seq": 1, "hash": "ab"}),
        )),
        as_text(EVENT)[:-1] + b",}",
        as_text(EVENT | {"fields": 0})[:-1] + b'{"a":' + b"[" * 100_000,
        as_text(EVENT | {"fields": []}),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(text: bytes) -> None:
    assert isinstance(wire.decode(as_text(GOOD)), wire.Stop)
    assert isinstance(wire.decode(as_text(BEGIN)), wire.Begin)
    assert isinstance(wire.decode(as_text(EVENT)), wire.Event)
    with pytest.raises(BadRequest, match="no record of this release's format"):
        wire.decode(text)


@pytest.mark.parametrize("told", [HASH.upper(), HASH[:-1] + "g", HASH[:-2] + "  ", HASH[:-1] + "é", HASH[:-1]])
def test_what_is_no_hash_is_refused(told: str) -> None:
    with pytest.raises(BadRequest, match="no hash at its end"):
        wire.split(as_text(GOOD) + f',"hash":"{told}"}}\n'.encode())


def test_times_are_told_so_that_they_sort_as_texts_do() -> None:
    texts = [wire.time_text(seconds) for seconds in (0, 0.000001, 1.5, 1e9, 4e9)]
    assert texts == sorted(texts)
    assert [wire.moment(text).timestamp() for text in texts] == [0, 0.000001, 1.5, 1e9, 4e9]


def test_certificates_are_in_the_base64_of_the_standard() -> None:
    line, _ = wire.seal(RECORDS[6], wire.NOTHING)
    assert json.loads(line)["signature"] == base64.b64encode(b"\xff" * 64).decode()


def test_nothing_is_found_by_fuzzing() -> None:
    assert run(TARGETS["audit"], seed=1, tries=2000) == 2000


# --- the page -------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "store.md"
COMMON = {"seq", "at"}


def section() -> str:
    return PAGE.read_text("utf-8").partition("## 8. The audit log")[2]


def test_the_page_has_every_kind_with_its_members() -> None:
    rows = dict(re.findall(r"^ +\| `(?!kind)(\w+)` \| (.*?) ?\| .*? \|$", section(), re.MULTILINE))
    assert rows.keys() == {str(kind.__struct_config__.tag) for kind in wire.Record.__args__}
    for kind in wire.Record.__args__:
        told = rows[str(kind.__struct_config__.tag)]
        assert [name for name in kind.__struct_fields__ if name not in COMMON and f"`{name}`" not in told] == []


def test_the_page_has_every_reason_of_a_beginning_and_every_limit() -> None:
    text = " ".join(section().split())
    for reason in get_args(inspect.get_annotations(wire.Begin, eval_str=True)["because"]):
        assert f"`{reason}`" in text
    assert f"the bytes `{wire.SIGNED_AS[:-1].decode()}`, a zero byte, and `SITE CHAIN SEQ AT HASH`" in text
    assert f"after {MAX_UNSIGNED} records, {CHECKPOINT_S:.0f} seconds after the first record" in text
    assert f"one that has {SEGMENT_BYTES >> 20} MiB" in text
    assert f"at most {wire.MAX_LINE_BYTES >> 10} KiB" in text
    assert f"more than {wire.MAX_FIELDS_BYTES >> 10} KiB together" in text
    assert f"up to {MAX_WAITING_BYTES >> 20} MiB" in text
    assert f"cut to {MAX_CHARACTERS} characters" in text
    assert (PAGE_S, RETRY_S) == (1.0, 1.0)  # "for a second", "every second"
