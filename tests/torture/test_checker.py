"""The checker finds nothing in a sound run, and every kind of violation in one that is not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from qss.model.identifiers import QksId, SaeId
from qss.wire.status import StreamBalance
from torture.checker import gather, violations
from torture.log import (
    GOT,
    LOST,
    MALFORMED,
    REFUSED,
    UNSENT,
    Asked,
    Broken,
    Delivered,
    Ended,
    Entry,
    Fault,
    Fetching,
    Log,
    Looked,
    read,
)

A, B, C = QksId("A"), QksId("B"), QksId("C")
ALICE, BOB, BELLA, CAROL = SaeId("alice"), SaeId("bob"), SaeId("bella"), SaeId("carol")
HOMES = {ALICE: A, BOB: B, BELLA: B, CAROL: C}

KEYS = {name: random.Random(name).randbytes(16) for name in ("k1", "k2", "k3", "k4")}
BITS = 128


def asked(
    ask: int = 1, number: int = 2, slaves: tuple[SaeId, ...] = (BOB,), master: SaeId = ALICE, name: str = ""
) -> Asked:
    return Asked(ask, master, slaves, number, BITS, name)


def got(ask: int, sae: SaeId, *names: str) -> list[Entry]:
    return [*(Delivered(ask, sae, name, KEYS[name]) for name in names), Ended(ask, GOT, 200)]


def fetching(ask: int, sae: SaeId, *names: str, master: SaeId = ALICE, name: str = "") -> Fetching:
    return Fetching(ask, sae, master, names, name)


def refused(ask: int, status: int, message: str = "because") -> Ended:
    return Ended(ask, REFUSED, status, message)


MASTER: list[Entry] = [asked(), *got(1, ALICE, "k1", "k2")]
SLAVE: list[Entry] = [fetching(2, BOB, "k1", "k2"), *got(2, BOB, "k1", "k2")]
NAMED: list[Entry] = [asked(name="n"), *got(1, ALICE, "k1", "k2")]
NAMED_SLAVE: list[Entry] = [fetching(2, BOB, "k1", "k2", name="s"), *got(2, BOB, "k1", "k2")]


def balance(
    delivered: int, *, reserved: int = 0, burned: int = 0, ingested: int = 1000, relayed: int = 0, policy: str = ""
) -> StreamBalance:
    available = ingested - delivered - reserved - burned - relayed
    return StreamBalance(
        stream="s",
        ingested=ingested,
        available=available,
        reserved=reserved,
        delivered=delivered,
        relayed=relayed,
        burned=burned,
        policy=policy,
    )


def rest(here: StreamBalance, there: StreamBalance, **burned: int) -> list[Entry]:
    return [Looked(A, B, (here,), {}, final=True), Looked(B, A, (there,), burned, final=True)]


def afar(here: StreamBalance, there: StreamBalance) -> list[Entry]:
    """What A and C, which share no link, tell at rest."""
    return [Looked(A, C, (here,), {}, final=True, far=True), Looked(C, A, (there,), {}, final=True, far=True)]


def relayed(bits: int) -> list[Entry]:
    """What the links of A and C tell at rest, over which that was relayed."""
    ends = ((A, B), (B, A), (B, C), (C, B))
    return [Looked(site, peer, (balance(0, relayed=bits),), {}, final=True) for site, peer in ends]


def found(*entries: Entry) -> list[str]:
    return violations(gather(entries), HOMES)


BOOKS = rest(balance(256), balance(256))

SHARED: list[Entry] = [asked(slaves=(BOB, CAROL)), *got(1, ALICE, "k1", "k2")]
"""With slaves at two sites: to the second the keys come under as much key, and 256 bits more."""


def rest_further(here: int, there: int, *, reserved: int = 0) -> list[Entry]:
    """What the link with the second site's comes to, at both ends."""
    held = balance(there, reserved=reserved, burned=here - there - reserved)
    return [Looked(A, C, (balance(here),), {}, final=True), Looked(C, A, (held,), {}, final=True)]


SOUND: dict[str, Sequence[Entry]] = {
    "one request": [*MASTER, *SLAVE, *rest(balance(256), balance(256))],
    "two sites": [
        *SHARED,
        *SLAVE,
        fetching(3, CAROL, "k1", "k2"),
        *got(3, CAROL, "k1", "k2"),
        *rest(balance(256), balance(256)),
        *rest_further(512, 512),
    ],
    "two sites, nothing fetched yet": [
        *SHARED,
        *rest(balance(256), balance(0, reserved=256)),
        *rest_further(512, 256, reserved=256),
    ],
    "two sites, of which one did not answer in time": [
        asked(slaves=(BOB, CAROL)),
        refused(1, 503),
        *rest(balance(0, burned=256), balance(0, burned=256)),
        *[Looked(A, C, (balance(0, burned=512),), {}, final=True)],
        *[Looked(C, A, (balance(256, burned=256),), {}, final=True)],
    ],
    "nothing fetched yet": [*MASTER, *rest(balance(256), balance(0, reserved=256))],
    "refused with 503, nothing counted": [asked(), refused(1, 503), *rest(balance(0), balance(0))],
    "a master's answer was lost": [asked(), Ended(1, LOST), *rest(balance(256), balance(0, reserved=256))],
    "an ask was under way to the last": [asked(), *rest(balance(256), balance(0, reserved=256))],
    "a slave could not connect, and asks again": [*MASTER, fetching(3, BOB, "k1", "k2"), Ended(3, UNSENT), *SLAVE],
    "a slave's answer was lost, and so are the keys": [
        *MASTER,
        fetching(2, BOB, "k1", "k2"),
        Ended(2, LOST),
        fetching(3, BOB, "k1", "k2"),
        refused(3, 400),
        *rest(balance(256), balance(256)),
    ],
    "a slave asks twice at once": [*MASTER, fetching(3, BOB, "k1"), SLAVE[0], refused(3, 400), *SLAVE[1:]],
    "a slave comes back for more": [*MASTER, *SLAVE, fetching(3, BOB, "k1", "k2"), refused(3, 400)],
    "a stranger is refused": [*MASTER, fetching(3, BELLA, "k1", "k2"), refused(3, 401), *SLAVE],
    "one end is ahead in a stream that grows": [*MASTER, *SLAVE, *rest(balance(256), balance(256, ingested=2000))],
    "one end was ahead in a stream that was closed": [
        *MASTER,
        *SLAVE,
        *rest(balance(256), balance(256, ingested=2000, burned=1000)),
    ],
    "a stream used up, and forgotten at one end": [
        *(Looked(A, B, (balance(0, burned=1000),), {}, final=True), Looked(B, A, (), {}, final=True))
    ],
    "a master repeats what it got": [*NAMED, asked(3, name="n"), *got(3, ALICE, "k1", "k2"), *SLAVE, *BOOKS],
    "a master repeats what was lost": [
        *(asked(3, name="n"), Ended(3, LOST), asked(4, name="n"), refused(4, 503)),
        *(*NAMED, *SLAVE, *BOOKS),
    ],
    "a master repeats what was lost of two sites": [
        *(asked(3, slaves=(BOB, CAROL), name="n"), Ended(3, LOST)),
        *(asked(slaves=(BOB, CAROL), name="n"), *SHARED[1:]),
        *rest(balance(512), balance(0, reserved=512)),
        *rest_further(256 + 512, 256, reserved=256),
    ],
    "a slave repeats what it got, and what was lost": [
        *(*MASTER, fetching(3, BOB, "k1", "k2", name="s"), Ended(3, LOST), *NAMED_SLAVE),
        *(fetching(4, BOB, "k1", "k2", name="s"), *got(4, BOB, "k1", "k2"), *BOOKS),
    ],
    "a repeat is told to come later": [*NAMED, asked(3, name="n"), refused(3, 503)],
    "a slave gives its name up, and its answer": [
        *(*MASTER, fetching(2, BOB, "k1", name="s"), Ended(2, LOST), fetching(3, BOB, "k1"), refused(3, 400))
    ],
    "keys of a far site": [
        *(asked(slaves=(CAROL,)), *got(1, ALICE, "k1", "k2")),
        *(*afar(balance(256, ingested=300), balance(0, reserved=256, ingested=300)), *relayed(400)),
    ],
    "a range that one end used, and the other never had": rest(
        balance(0, relayed=100), balance(0, burned=100), skipped=100
    ),
    "a site that has just started knows nobody afar": [
        *(asked(slaves=(CAROL,)), refused(1, 400, "SAE carol is not known here"), *afar(balance(0), balance(0))),
        *relayed(1000),
    ],
    "faults": [Fault("kill A"), *MASTER],
}


@pytest.mark.parametrize("entries", SOUND.values(), ids=SOUND)
def test_a_sound_run_has_no_violation(entries: Sequence[Entry]) -> None:
    assert found(*entries) == []


def other(entry: Entry, **changes: object) -> Entry:
    return msgspec.structs.replace(entry, **changes)


SHIFTED = b"start" + KEYS["k1"][3:14]
OVERLAPPING = Delivered(3, ALICE, "k3", SHIFTED)

UNSOUND: dict[str, tuple[str, Sequence[Entry]]] = {
    "disagreement": (
        "k1, as bob got it, is another key",
        [*MASTER, SLAVE[0], other(SLAVE[1], key=KEYS["k3"]), *SLAVE[2:]],
    ),
    "bytes of one key in another": (
        "k1 and k3 have 8 bytes in a row in common",
        [*MASTER, asked(3, 1), OVERLAPPING, Ended(3, GOT, 200)],
    ),
    "the same key under two IDs": (
        "k1 and k3 have 8 bytes in a row in common",
        [*MASTER, asked(3, 1), other(OVERLAPPING, key=KEYS["k1"]), Ended(3, GOT, 200)],
    ),
    "bytes of a key in itself": (
        "k3 and k3 have 8 bytes in a row in common",
        [asked(3, 1), other(OVERLAPPING, key=2 * KEYS["k1"][:8]), Ended(3, GOT, 200)],
    ),
    "a key for a stranger": (
        "k1 went to bella, who has no part in it",
        [*MASTER, fetching(3, BELLA, "k1"), *got(3, BELLA, "k1")],
    ),
    "a key that no master got": (
        "k3 went to bob, who has no part in it",
        [*MASTER, fetching(3, BOB, "k3"), *got(3, BOB, "k3")],
    ),
    "a key twice to one slave": (
        "k1 went to bob twice",
        [*MASTER, *SLAVE, fetching(3, BOB, "k1"), *got(3, BOB, "k1")],
    ),
    "an ID for two requests": ("k1 went to alice twice", [*MASTER, asked(3, 1), *got(3, ALICE, "k1")]),
    "an ID for two masters": (
        "k1 was made for two requests",
        [*MASTER, asked(3, 1, (ALICE,), BOB), *got(3, BOB, "k1")],
    ),
    "a repeat that gets other keys": (
        "ask 3 got other keys than an ask before it under the name n",
        [*NAMED, asked(3, name="n"), *got(3, ALICE, "k3", "k4")],
    ),
    "a repeat that gets some other keys": (
        "ask 3 got other keys than an ask before it under the name n",
        [*NAMED, asked(3, name="n"), *got(3, ALICE, "k1", "k3")],
    ),
    "a repeat that gets its keys in another order": (
        "ask 3 got other keys than an ask before it under the name n",
        [*NAMED, asked(3, name="n"), *got(3, ALICE, "k2", "k1")],
    ),
    "a repeat that gets other bytes under the same IDs": (
        "ask 3 got other keys than an ask before it under the name n",
        [*NAMED, asked(3, name="n"), *got(3, ALICE, "k1"), Delivered(3, ALICE, "k2", KEYS["k3"])],
    ),
    "a slave's repeat that gets other bytes": (
        "ask 3 got other keys than an ask before it under the name s",
        [*MASTER, *NAMED_SLAVE, fetching(3, BOB, "k1", name="s"), *got(3, BOB, "k2")],
    ),
    "a repeat that is refused for good": (
        "alice was refused with status 400",
        [*NAMED, asked(3, name="n"), refused(3, 400)],
    ),
    "a slave's repeat that is refused": (
        "bob was refused its keys with status 400",
        [*MASTER, *NAMED_SLAVE, fetching(3, BOB, "k1", "k2", name="s"), refused(3, 400)],
    ),
    "one answer under two names": ("k1 went to alice twice", [*NAMED, asked(3, name="m"), *got(3, ALICE, "k1", "k2")]),
    "a repeat that was counted anew": (
        "A with B says it delivered 512 bits, more than anybody asked for",
        [*NAMED, asked(3, name="n"), *got(3, ALICE, "k1", "k2"), *rest(balance(512), balance(256, burned=256))],
    ),
    "fewer keys than asked for": ("alice was to get 2 keys and got 1", [asked(), *got(1, ALICE, "k1")]),
    "keys with a refusal": (
        "alice was to get 0 keys and got 2",
        [asked(), *got(1, ALICE, "k1", "k2")[:-1], refused(1, 503)],
    ),
    "keys of another size": ("keys of another size than 64", [other(asked(), size=64), *got(1, ALICE, "k1", "k2")]),
    "a slave gets some of its keys": (
        "bob was to get 2 keys and got 1",
        [*MASTER, fetching(2, BOB, "k1", "k2"), *got(2, BOB, "k1")],
    ),
    "an answer that is none": ("the answer is none: odd", [asked(), Ended(1, MALFORMED, 200, "odd")]),
    "a master refused for good": ("alice was refused with status 400", [asked(), refused(1, 400)]),
    "a slave's key has gone": (
        "bob was refused its keys with status 400",
        [*MASTER, fetching(2, BOB, "k1", "k2"), refused(2, 400)],
    ),
    "a slave's key comes back": (
        "bob was refused its keys with status 400",
        [*MASTER, fetching(3, BOB, "k1", "k2"), refused(3, 400), *SLAVE],
    ),
    "a slave taken for a stranger": (
        "bob was refused its keys with status 401",
        [*MASTER, *SLAVE, fetching(3, BOB, "k1"), refused(3, 401)],
    ),
    "an imbalance": (
        "s at A with B does not balance",
        [*MASTER, *SLAVE, Looked(A, B, (msgspec.structs.replace(balance(256), ingested=999),), {})],
    ),
    "a negative count": ("s at A with B does not balance", [Looked(A, B, (balance(2000),), {})]),
    "ends that allocated differently": (
        "A and B differ in how far s is allocated",
        [*MASTER, *SLAVE, *rest(balance(256), balance(256, burned=8))],
    ),
    "ends that know other streams": (
        "A and B differ in how far s is allocated",
        [Looked(A, B, (balance(0),), {}, final=True), Looked(B, A, (), {}, final=True)],
    ),
    "promised key in nobody's books": (
        "B with A accounts for 128 bits that were promised, but more were",
        [*MASTER, *rest(balance(256), balance(0, reserved=128, burned=128))],
    ),
    "key given out that nobody asked for": (
        "A with B says it delivered 384 bits, more than anybody asked for",
        [*MASTER, *SLAVE, *rest(balance(384), balance(256, burned=128))],
    ),
    "a range that one end used for a relay, and the other for something else": (
        "A relayed 100 bits with B, which neither relayed nor gave them up",
        rest(balance(0, relayed=100), balance(0, burned=100), expired=100),
    ),
    "key of a far site that nobody relayed": (
        "C has 500 bits of end-to-end streams, and its links relayed 400",
        [*afar(balance(0, ingested=500), balance(0, ingested=500)), *relayed(400)],
    ),
    "key of a neighbour over repeaters that nobody relayed": (
        "A has 1000 bits of end-to-end streams, and its links relayed 0",
        rest(balance(0, policy="{}"), balance(0, policy="{}")),
    ),
    "a far site that is forgotten": (
        "A tells nothing of C, with which keys were promised",
        [asked(slaves=(CAROL,)), *got(1, ALICE, "k1", "k2"), *relayed(0)],
    ),
    "a neighbour that is not known": (
        "alice was refused with status 400",
        [asked(), refused(1, 400, "SAE bob is not known here"), *BOOKS],
    ),
    "key given out at the second site that nobody asked for": (
        "A with C says it delivered 640 bits, more than anybody asked for",
        [*SHARED, *rest(balance(256), balance(0, reserved=256)), *rest_further(640, 256, reserved=256)],
    ),
    "promised key that the second site has not": (
        "C with A accounts for 128 bits that were promised, but more were",
        [*SHARED, *rest(balance(256), balance(0, reserved=256)), *rest_further(512, 0, reserved=128)],
    ),
    "what the harness saw": ("the node of site A ended", [Broken("the node of site A ended"), *MASTER]),
}


@pytest.mark.parametrize(("complaint", "entries"), UNSOUND.values(), ids=UNSOUND)
def test_every_violation_is_found(complaint: str, entries: Sequence[Entry]) -> None:
    assert any(complaint in violation for violation in found(*entries)), found(*entries)


def test_reuse_is_found_wherever_it_lies() -> None:
    """For every place in one key and every place in another, down to the shortest overlap that counts."""
    for at in range(9):
        for to in range(9):
            key = random.Random(17).randbytes(to) + KEYS["k1"][at : at + 8] + random.Random(18).randbytes(8 - to)
            entries = [asked(1, 1), *got(1, ALICE, "k1"), asked(2, 1), Delivered(2, ALICE, "x", key), Ended(2, GOT)]
            assert found(*entries) == ["k1 and x have 8 bytes in a row in common"]


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = [*MASTER, *SLAVE, *BOOKS, Fault("kill A"), Broken("odd"), refused(9, 503)]
    with Log(tmp_path / "log") as log:
        for entry in entries:
            log.write(entry)
        assert list(read(tmp_path / "log")) == entries
    assert len((tmp_path / "log").read_bytes().splitlines()) == len(entries)
    with pytest.raises(FileExistsError):
        Log(tmp_path / "log")
