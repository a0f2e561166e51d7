"""Used key leaves the disk: who has the files and the master key finds none of it 10 s after its grace time ended."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qss.app.catalogue import keyring_of
from qss.app.data_folder import open_store
from qss.app.site_tables import KeyFileKeyRing
from qss.barrier import Barrier
from qss.model.errors import Tampered
from qss.model.identifiers import QksId, StreamId
from qss.ports.store import SealedBlock
from support.network import ALICE, BOB, A, B, RunningNetwork, running_network

GRACE_S = 2.0
GONE_S = 10.0
PIECE = 48
"""Bytes of a sealed block by which it is looked for: pages split what is long."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[RunningNetwork]:
    def edit(_: QksId, text: str) -> str:
        return f"[lifetimes]\ngrace_s = {GRACE_S}\n{text}"

    with running_network(tmp_path, (A, B), edit) as running:
        running.until_keys((ALICE, BOB))
        yield running


class Thief:
    """Has a copy of everything: the files at any time, and the master key."""

    def __init__(self, network: RunningNetwork, site: QksId) -> None:
        self._folder = network.network.folder / f"{site}.data"
        keyring = keyring_of(KeyFileKeyRing(file=network.network.folder / f"{site}.master"))
        store = asyncio.run(open_store(self._folder, site, keyring))
        assert isinstance(store, Barrier)
        self._sealer = store._unsealed()
        self.seen: dict[bytes, bytes] = {}
        """What every block that was ever seen holds, by its sealed bytes."""

    def look(self) -> None:
        """Open what is in the store now."""
        connection = sqlite3.connect(f"file:{self._folder / 'ledger.sqlite'}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT stream, start, length, sealed FROM blocks").fetchall()
        finally:
            connection.close()
        for stream, start, length, sealed in rows:
            try:
                block = SealedBlock(StreamId(stream), start, length, sealed)
                self.seen.setdefault(sealed, self._sealer.open(block))
            except Tampered as error:
                raise AssertionError("a block of the store does not open") from error

    def found(self, keys: list[bytes]) -> list[bytes]:
        """Return which of the keys can be had from the files as they are now, erased pages and the log included."""
        files = [path.read_bytes() for path in self._folder.rglob("*") if path.is_file()]
        there = [
            secret
            for sealed, secret in self.seen.items()
            if any(sealed[at : at + PIECE] in content for at in range(0, len(sealed), PIECE) for content in files)
        ]
        return [key for key in keys if any(key in secret for secret in there) or any(key in file for file in files)]


def test_used_key_is_gone_from_the_disk_in_time(two: RunningNetwork) -> None:
    thieves = [Thief(two, site) for site in (A, B)]
    name = os.urandom(8).hex()
    header = ("-H", f"Idempotency-Key: {name}")
    got = two.curl(ALICE, f"/api/v1/keys/{BOB}/enc_keys?number=5", *header).keys
    for thief in thieves:
        thief.look()
    keys = list(got.values())
    assert all(sorted(thief.found(keys)) == sorted(keys) for thief in thieves)  # the thief is able
    assert two.curl(ALICE, f"/api/v1/keys/{BOB}/enc_keys?number=5", *header).keys == got
    taken = two.take(BOB, ALICE, got)
    assert taken.keys == got

    deadline = time.monotonic() + GRACE_S + GONE_S
    while any(thief.found(keys) for thief in thieves) and time.monotonic() < deadline:
        time.sleep(0.2)
        for thief in thieves:
            thief.look()
    assert [thief.found(keys) for thief in thieves] == [[], []]
