"""A link knows when it has its share of commits under way, and the shares of all links fit into the store's queue."""

from __future__ import annotations

import asyncio

import pytest

from qss.adapters.stores.sqlite import writer
from qss.runtime.commits import ALL_BYTES, ALL_COMMITS, Commits, Share
from qss.runtime.feed import BLOCK_BYTES
from support.virtual_time import in_virtual_time, settled


@pytest.mark.parametrize("links", [0, 1, 3, 64, 1024])
def test_the_shares_of_all_links_fit_into_what_the_store_lets_wait(links):
    share = Share.among(links)
    assert links * share.commits <= ALL_COMMITS < writer.MAX_WAITING_BATCHES
    assert links * share.key_bytes <= ALL_BYTES
    assert share.commits > 0
    assert share.key_bytes > 0
    assert ALL_BYTES * (1 + 1 / 1024) + min(links, 128) * BLOCK_BYTES < writer.MAX_WAITING_BYTES


@pytest.mark.parametrize("sizes", [(0, 0, 0), (100,), (99, 1), (1000, 0)])
@in_virtual_time
async def test_a_link_is_full_by_number_or_by_bytes_until_a_commit_ends(sizes):
    commits = Commits(Share(3, 100), pytest.fail)
    for key_bytes in sizes:
        assert not commits.full or key_bytes == 0
        commits.start(asyncio.sleep(1), key_bytes)
    assert commits.full
    await commits.room()
    assert asyncio.get_running_loop().time() == 1.0
    assert not commits.full
    await commits.room()  # at once
    await commits.finished()


@in_virtual_time
async def test_everybody_who_waits_for_room_hears_of_it():
    commits = Commits(Share(1, 100), pytest.fail)
    commits.start(asyncio.sleep(1), 0)
    waiting = [asyncio.create_task(commits.room()) for _ in range(3)]
    await settled()
    assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)
    await commits.finished()
