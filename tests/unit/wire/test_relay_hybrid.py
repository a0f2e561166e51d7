"""What is signed where a block is combined with ML-KEM's secret (Relay 6.3): each member of it counts."""

from __future__ import annotations

import msgspec

from qss.model.identifiers import PairId
from qss.wire.relay_hybrid import Role, transcript

PAIR = PairId(bytes(range(16)))
ONE, OTHER = bytes(16), b"\xff" * 16
EK, CT = b"e" * 1184, b"c" * 1088


def test_the_bytes_are_what_the_page_says() -> None:
    said = transcript(Role.DESTINATION, PAIR, 7, 65_536, [ONE, OTHER], EK, CT)
    start, _, array = said.partition(b"\0")
    assert start == b"qss-relay-hybrid.1"
    assert array[:13] == b"\x97\xabdestination"
    assert msgspec.msgpack.decode(array) == ["destination", PAIR.value, 7, 65_536, [ONE, OTHER], EK, CT]


def test_the_source_has_no_ciphertext_yet() -> None:
    said = transcript(Role.SOURCE, PAIR, 0, 1024, [ONE], EK)
    assert msgspec.msgpack.decode(said.partition(b"\0")[2]) == ["source", PAIR.value, 0, 1024, [ONE], EK, b""]


def test_whatever_differs_is_seen() -> None:
    told = [
        (Role.SOURCE, PAIR, 0, 1024, [ONE], EK, CT),
        (Role.BOTH, PAIR, 0, 1024, [ONE], EK, CT),
        (Role.SOURCE, PairId(OTHER), 0, 1024, [ONE], EK, CT),
        (Role.SOURCE, PAIR, 1, 1024, [ONE], EK, CT),
        (Role.SOURCE, PAIR, 0, 1025, [ONE], EK, CT),
        (Role.SOURCE, PAIR, 0, 1024, [ONE, OTHER], EK, CT),
        (Role.SOURCE, PAIR, 0, 1024, [OTHER, ONE], EK, CT),
        (Role.SOURCE, PAIR, 0, 1024, [ONE], EK + CT[:1], CT[1:]),
        (Role.SOURCE, PAIR, 0, 1024, [ONE], EK, b""),
    ]
    assert len({transcript(*each) for each in told}) == len(told)
