"""What was dropped from the store leaves its files: the pages of the main file, and the log."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from qss.adapters.stores.sqlite import SqliteStore, create_store
from qss.ports.store import DropBlock, PutBlock, PutStream
from support.store_records import SITE, block, stream_id, stream_record


def holders(path: Path, sealed: bytes) -> set[str]:
    """The store's files that have any part of `sealed`: pages split what is long."""
    pieces = [sealed[start : start + 64] for start in range(0, len(sealed), 64)]
    return {
        file.name
        for file in path.parent.iterdir()
        if any(piece in content for content in [file.read_bytes()] for piece in pieces)
    }


async def until_gone(path: Path, sealed: bytes) -> None:
    async with asyncio.timeout(10):
        while holders(path, sealed):  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.02)


async def test_the_bytes_of_a_dropped_block_are_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    create_store(path, SITE)
    store = SqliteStore(path, SITE, erasure_delay_s=0.05)
    fence = (await store.start()).incarnation
    sealed = [os.urandom(40_000) for _ in range(3)]
    await store.commit([PutStream(stream_record()), PutBlock(block(0, sealed=sealed[0]))], fence)
    assert holders(path, sealed[0]) == {"ledger.sqlite-wal"}
    await store.commit([PutBlock(block(16, sealed=sealed[1])), PutBlock(block(32, sealed=sealed[2]))], fence)
    await store.commit([DropBlock(stream_id(1), 0)], fence)
    await until_gone(path, sealed[0])  # the log was moved to the main file, and cut
    assert holders(path, sealed[1]) == holders(path, sealed[2]) == {"ledger.sqlite"}
    await store.commit([DropBlock(stream_id(1), 16)], fence)
    await until_gone(path, sealed[1])
    assert holders(path, sealed[2]) == {"ledger.sqlite"}
    await store.close()
