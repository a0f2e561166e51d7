"""The audit log's records: lines of JSON, each of which holds a hash over all before it (docs/reference/store.md, 8).

What is hashed are the bytes as they are written, so no byte of a line can be another one, and nobody need agree on how
JSON is written. Held here: forms, limits, and what a checkpoint signs. Not here: in which order records come
(`qss.app.audit.chain`), and whose a signature is (`qss.pki.statements`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qss.model.errors import BadRequest
from qss.model.identifiers import QksId

FORMAT = 1
"""The form of a segment's records; its first one says which."""

SIGNED_AS = b"qss-audit-checkpoint.1\x00"
"""What comes before the text of a checkpoint where it is signed: the same key signs other things too."""

MAX_LINE_BYTES = 128 << 10
"""Longest line."""

MAX_FIELDS_BYTES = 64 << 10
"""Largest fields of an event: the key IDs of the largest recall, and room."""

HASH_BYTES = 32

NOTHING = bytes(HASH_BYTES)
"""What stands for the hash before the first record of a chain."""

_HASH = b',"hash":"'
_END = b'"}\n'
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\n')
_TAIL_BYTES = len(_HASH) + 2 * HASH_BYTES + len(_END)

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")]
ChainName = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
SiteName = Annotated[QksId, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record: its chain, its number there, and its hash in hexadecimal."""

    chain: ChainName
    seq: Count
    hash: Hash

    @property
    def noted(self) -> str:
        """How a person notes it down: `17:5e0c…`."""
        return f"{self.seq}:{self.hash}"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seq: Count = 0
    """Its number in its chain, from 0."""
    at: Time


class Begin(_Record, frozen=True, kw_only=True, tag="begin", tag_field="kind"):
    """The first record of a chain, and of a segment. `follows` is the last one that is known of the chain before."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    site: SiteName
    chain: ChainName
    segment: Count
    because: Literal["first", "restored", "damaged", "changed", "foreign", "missing"]
    follows: Position | None


class Segment(_Record, frozen=True, kw_only=True, tag="segment", tag_field="kind"):
    """The first record of a segment in which a chain goes on. `previous` is the hash of the record before."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    site: SiteName
    chain: ChainName
    segment: Count
    previous: Hash


class Start(_Record, frozen=True, kw_only=True, tag="start", tag_field="kind"):
    """The site has started. `clean`: it had stopped before, or this is the chain's first start."""

    release: str
    clean: bool


class Stop(_Record, frozen=True, kw_only=True, tag="stop", tag_field="kind"):
    """The site is stopping, and writes no more."""


class Event(_Record, frozen=True, kw_only=True, tag="event", tag_field="kind"):
    """Something that matters for security. `fields` are a JSON object, encoded."""

    event: str
    level: str
    fields: msgspec.Raw


class Checkpoint(_Record, frozen=True, kw_only=True, tag="checkpoint", tag_field="kind"):
    """The site's signature for all before. `certificates` (DER): its own, and those between it and its authority."""

    algorithm: str
    certificates: tuple[bytes, ...]
    signature: bytes


class Lost(_Record, frozen=True, kw_only=True, tag="lost", tag_field="kind"):
    """Here so many records would be that could not be kept: the disk took none, and memory was full of them."""

    records: Count


class Recovered(_Record, frozen=True, kw_only=True, tag="recovered", tag_field="kind"):
    """A line that a crash left unfinished was cut off."""

    cut_bytes: Count


class Removed(_Record, frozen=True, kw_only=True, tag="removed", tag_field="kind"):
    """To make room the site removes the segments whose numbers are below this one."""

    before: Count


Record = Begin | Segment | Start | Stop | Event | Checkpoint | Lost | Recovered | Removed

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def seal(record: Record, before: bytes) -> tuple[bytes, bytes]:
    """Return the line of a record that comes after one of the hash `before`, and its own hash."""
    text = msgspec.json.encode(record)[:-1]
    digest = sha256(before + text).digest()
    return b"".join((text, _HASH, digest.hex().encode("ascii"), _END)), digest


def split(line: bytes) -> tuple[bytes, bytes]:
    """Return what of a line is hashed, and the hash that it tells. Raises `BadRequest` if it has none."""
    found = _TAIL.fullmatch(line[-_TAIL_BYTES:])
    if found is None:
        raise BadRequest("it has no hash at its end")
    return line[:-_TAIL_BYTES], bytes.fromhex(found[1].decode("ascii"))


def decode(text: bytes) -> Record:
    """Return the record of a line's text. Raises `BadRequest` if it is none."""
    try:
        record = _DECODER.decode(text + b"}")
        moment(record.at)
    except (ValueError, RecursionError):
        raise _no_record() from None
    if isinstance(record, Event) and bytes(record.fields)[:1] != b"{":
        raise _no_record()
    return record


def _no_record() -> BadRequest:
    return BadRequest("it is no record of this release's format")


def checkpoint_text(site: QksId, chain: str, seq: int, at: str, before: bytes) -> bytes:
    """Return what the checkpoint of this number and time signs, after a record of the hash `before`."""
    return SIGNED_AS + f"{site} {chain} {seq} {at} {before.hex()}".encode("ascii")


def time_text(seconds: float) -> str:
    """Return seconds since 1970 as records tell them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def moment(at: Time) -> datetime:
    """Return the time of a record; aware, UTC. Raises `ValueError` if there is no such time."""
    return datetime.fromisoformat(at)
