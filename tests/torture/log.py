"""The harness's own log: what was asked, came, was told by sites, was broken; one JSON line each, only appended.

It is written as things happen, before anybody judges them, and read by `checker` alone. Nothing in it comes from a
site's log or store. It holds key in the clear: it is for keys of tests, and lies in the run's own folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec

from qss.model.identifiers import QksId, SaeId
from qss.wire.status import StreamBalance

GOT, REFUSED, MALFORMED, UNSENT, LOST = "got", "refused", "malformed", "unsent", "lost"
"""How an ask ends: with keys; with a status; with an answer that is none; without a connection; without an answer, so
that key may have been given out in vain."""


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """A master is about to ask for new keys. `size` in bits; asks under one `name`, if it is not empty, are one."""

    ask: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    number: int
    size: int
    name: str = ""


class Fetching(msgspec.Struct, frozen=True, tag="fetching"):
    """Somebody is about to ask for keys by their IDs; `name` as in `Asked`."""

    ask: int
    sae: SaeId
    master: SaeId
    key_ids: tuple[str, ...]
    name: str = ""


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """One key came in answer to an ask."""

    ask: int
    sae: SaeId
    key_id: str
    key: bytes


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """An ask has ended. `status` is 0 where none came."""

    ask: int
    outcome: str
    status: int = 0
    message: str = ""


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """What a site tells of one link, or of a far site; `burned` by reason. `final`: everything has come to rest."""

    site: QksId
    peer: QksId
    streams: tuple[StreamBalance, ...]
    burned: Mapping[str, int]
    final: bool = False
    far: bool = False


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """Something was broken, or mended."""

    what: str


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The harness saw what must not be: a site that ends by itself, or does not work again."""

    what: str


Entry = Asked | Fetching | Delivered | Ended | Looked | Fault | Broken


class _Line(msgspec.Struct, frozen=True):
    at: float
    """Seconds since the log was begun."""
    entry: Entry


class Log:
    """A log that is being written. A line is in the file when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, entry: Entry) -> None:
        """Append an entry."""
        line = _Line(round(time.monotonic() - self._began, 6), entry)
        self._file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a log."""
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as lines:
        for line in lines:
            yield decoder.decode(line).entry
