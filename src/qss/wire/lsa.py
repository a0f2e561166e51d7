"""Link state advertisements of Routing, version 1: their shapes and limits, and what is signed, as MessagePack.

What is signed travels as the bytes that were signed, and is decoded apart (`decode_body`), so that one body that cannot
be read spoils nothing that travels along. Not here: the messages that carry them (`wire.routing`), what they mean
(`core.routing`; `docs/reference/routing-protocol.md` numbers the steps), nor signatures (`pki.statements`).
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from qss.model.errors import LocalProtocolError, RemoteProtocolError
from qss.wire.framing import decode_frame
from qss.wire.home_statement import MAX_STATEMENT_BYTES

VERSION = 1
"""The version of a body (Routing 3.1)."""

SIGNED_AS = b"qss-routing-lsa.1\x00"
"""What comes before a body where it is signed: the same key signs other things too (Routing 3.3)."""

MAX_BODY_BYTES = 64 * 1024
"""Largest body of an LSA."""

MAX_CHAIN = 4
"""Most certificates from an origin's to its authority's."""

MAX_PARTS = 64
"""Most LSAs of one type that an origin has."""

MAX_LSAS = 128
"""Most LSAs of one origin, of all types: those of type S, its links, and some that a later release may tell."""

MAX_NEIGHBOURS = 4096
"""Most neighbours that one LSA names."""

MAX_SEQUENCE = 2**32 - 1
"""The last sequence of a generation."""

DIGEST_BYTES = 8
"""Of SHA-256, where it tells two honest things apart; nothing rests on its being hard to meet."""

MAX_COST = 1 << 24
"""Highest cost of a link."""

MAX_LIFETIME_S = 24 * 3600
"""Longest lifetime of an LSA."""

MAX_GENERATION = 2**63 - 1
"""The last generation there is."""

CARRIED_BYTES = 256
"""Most that is around body, certificates and signature of a carried LSA: names, numbers, lengths."""

_COUNT = MAX_GENERATION

SiteName = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
SaeName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[!-~]+\Z")]
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[A-Za-z0-9._:-]*\Z")]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Part = Annotated[int, Meta(ge=0, lt=MAX_PARTS)]
Count = Annotated[int, Meta(ge=0, le=_COUNT)]
Sequence_ = Annotated[int, Meta(ge=1, le=MAX_SEQUENCE)]
Milliseconds = Annotated[int, Meta(ge=0, le=1000 * MAX_LIFETIME_S)]
Digest = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Certificate = Annotated[bytes, Meta(min_length=1, max_length=4096)]
Statement = Annotated[bytes, Meta(max_length=MAX_STATEMENT_BYTES)]
TypeName = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"\A[A-Za-z0-9-]+\Z")]


class LsaType(StrEnum):
    """What an LSA tells of its origin, as far as it is known here (Routing 3.1 and 3.5)."""

    SAES = "S"
    LINKS = "K"


KNOWN = frozenset(LsaType)
"""Types that are read here; all others are stored and sent on (Routing 3.5)."""


class _Structure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of what messages are made of: arrays."""


class Key(_Structure, frozen=True, order=True):
    """Which LSA: all instances of it have the same key."""

    origin: SiteName
    type: TypeName
    part: Part


class Header(_Structure, frozen=True):
    """Which instance of an LSA (Routing 3.2). `digest` is that of its body."""

    key: Key
    generation: Count
    sequence: Sequence_
    digest: Digest

    @property
    def version(self) -> tuple[int, int, bytes]:
        """What is compared to tell which of two instances is newer."""
        return self.generation, self.sequence, self.digest


class Endpoint(_Structure, frozen=True):
    """Where something listens."""

    host: Host
    port: Port


class Source(_Structure, frozen=True):
    """The origin's QKS, and where its External is."""

    qks: SiteName
    host: Host
    port: Port


class LinkState(_Structure, frozen=True):
    """A link as one of its ends tells it: the other end, what it costs, and the bits of key left (Routing 8)."""

    peer: SiteName
    cost: Annotated[int, Meta(ge=1, le=MAX_COST)]
    available_bits: Count


class SaeState(_Structure, frozen=True):
    """An SAE at home at the origin, and the authority's statement of that, if there is one (Routing 3.4)."""

    sae: SaeName
    statement: Statement | None


class Preamble(msgspec.Struct, frozen=True, array_like=True):
    """What every body begins with, of whatever type and version (Routing 3.5). `lifetime_s` in seconds.

    What follows in one that is not known here is nobody's business but its origin's and its readers'.
    """

    version: Annotated[int, Meta(ge=VERSION, le=_COUNT)]
    type: TypeName
    source: Source
    routing: Endpoint
    part: Part
    generation: Count
    sequence: Sequence_
    lifetime_s: Annotated[int, Meta(ge=1, le=MAX_LIFETIME_S)]
    withdrawn: bool

    @property
    def key(self) -> Key:
        """Which LSA this is an instance of."""
        return Key(self.source.qks, self.type, self.part)


class Body(Preamble, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the origin signs, of a type and version that are known here (Routing 3.1).

    `transit` says whether paths may lead through the origin; one type of neighbours is always empty; `timestamp` is in
    seconds since 1970.
    """

    transit: bool
    links: Annotated[tuple[LinkState, ...], Meta(max_length=MAX_NEIGHBOURS)]
    saes: Annotated[tuple[SaeState, ...], Meta(max_length=MAX_NEIGHBOURS)]
    timestamp: Count


class Authentication(_Structure, frozen=True):
    """By what a body's origin is known (Routing 3.3): its certificate comes first, then those up to its authority's."""

    algorithm: Annotated[str, Meta(min_length=1, max_length=32)]
    certificates: Annotated[tuple[Certificate, ...], Meta(max_length=MAX_CHAIN)]
    signature: Annotated[bytes, Meta(max_length=4096)]

    @property
    def size(self) -> int:
        """Its bytes. No signature is over them: whoever sends an LSA on may add certificates that nobody needs."""
        return len(self.signature) + sum(map(len, self.certificates))


class Carried(_Structure, frozen=True):
    """An LSA on its way: who sent it on, how old it is, what was signed, and by whom."""

    forwarder: SiteName
    age_ms: Milliseconds
    body: Annotated[bytes, Meta(min_length=1, max_length=MAX_BODY_BYTES)]
    authentication: Authentication

    @property
    def size(self) -> int:
        """At least as many bytes as it has on the wire."""
        return CARRIED_BYTES + len(self.body) + self.authentication.size


_NAME = "qss-routing-lsa.1"
_ENCODER = msgspec.msgpack.Encoder()
_BODY_DECODER: msgspec.msgpack.Decoder[Body] = msgspec.msgpack.Decoder(Body)
_SAE_DECODER: msgspec.msgpack.Decoder[SaeState] = msgspec.msgpack.Decoder(SaeState)
_PREAMBLE_DECODER: msgspec.msgpack.Decoder[Preamble] = msgspec.msgpack.Decoder(Preamble)


def encode_body(body: Body) -> bytes:
    """Return the bytes that are signed. Raises `LocalProtocolError` if nobody could read them."""
    encoded = _ENCODER.encode(body)
    if len(encoded) > MAX_BODY_BYTES:
        raise LocalProtocolError(f"an LSA of {len(encoded)} bytes is larger than {MAX_BODY_BYTES}: part it")
    try:
        decode_body(encoded)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"an LSA of this site could not be read by others: {error}") from error
    return encoded


def is_readable(sae: SaeState) -> bool:
    """Whether others can read what is told of this SAE: whoever builds one has not been held to the limits."""
    try:
        _SAE_DECODER.decode(_ENCODER.encode(sae))
    except ValueError:
        return False
    return True


def decode_body(encoded: bytes) -> Body | Preamble:
    """Return what was signed: a `Body` of a known type and version, of any other one its `Preamble`.

    Raises `RemoteProtocolError` if it is none, or contradicts itself.
    """
    try:
        body = decode_frame(_BODY_DECODER, encoded, MAX_BODY_BYTES, _NAME)
    except RemoteProtocolError:
        body = None  # most are known: so this is tried first
    if body is not None and _is_known(body):
        _check(body)
        return body
    preamble = decode_frame(_PREAMBLE_DECODER, encoded, MAX_BODY_BYTES, _NAME)
    if _is_known(preamble):
        raise RemoteProtocolError(f"an LSA of type {preamble.type} has not the members of such a one")
    return preamble


def _is_known(body: Preamble) -> bool:
    return body.version == VERSION and body.type in KNOWN


def _check(body: Body) -> None:
    """Raise `RemoteProtocolError` if a body contradicts itself."""
    wrong = body.saes if body.type == LsaType.LINKS else body.links
    peers = {each.peer for each in body.links}
    named = len(body.links) + len(body.saes)
    if wrong or (named and body.withdrawn) or len(peers | {each.sae for each in body.saes}) < named:
        raise RemoteProtocolError("an LSA contradicts itself: neighbours twice, of another type, or after a withdrawal")
    if body.source.qks in peers:  # an SAE may well be called as its site is
        raise RemoteProtocolError("an LSA contradicts itself: a link of a site to itself")
    if body.part and body.type == LsaType.LINKS:
        raise RemoteProtocolError("links are told in part 0 alone")


def header_of(encoded: bytes, body: Preamble) -> Header:
    """Return which instance a body is."""
    return Header(body.key, body.generation, body.sequence, hashlib.sha256(encoded).digest()[:DIGEST_BYTES])


def header_digest(header: Header) -> int:
    """Return what a header adds to the digest of a database (Routing 4.6), to be combined by XOR."""
    return int.from_bytes(hashlib.sha256(_ENCODER.encode(header)).digest()[:DIGEST_BYTES])
