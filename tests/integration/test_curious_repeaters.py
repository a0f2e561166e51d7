"""What repeaters could make of the keys that they passed on, if they put all together that they saw.

The checker gets whatever a repeater ever held: what it opened, with what it was told of it, all frames of its
connections, and the bytes of its store, unsealed. That it would find a key is shown each time by giving it what all of
them saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from qss.core.relay import events as ev
from qss.crypto import hybrid
from qss.crypto.shares import combine
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from support.relaying_sites import RING, ROW, A, B, C, D, RelayingSites, has_any, relaying_sites, unsealed, windows

E = QksId("E")
THREE_WAYS = (*RING, (A, E), (C, E))

Block = tuple[bytes, int, int]
"""The pair that names a stream, the number of one of its blocks, and its length."""


@dataclass
class Seen:
    """What one repeater saw."""

    opened: list[tuple[Block, bytes]] = field(default_factory=list)
    kept: bytes = b""
    frames: bytes = b""


def watch(sites: RelayingSites, at: QksId) -> Seen:
    """Note what a repeater opens from now on."""
    relay, seen = sites.relays[at].relaying, Seen()
    opened = relay._opened

    async def noted(effect: ev.Pass) -> KeyMaterial:
        content, begin = await opened(effect), effect.begin
        seen.opened.append(((begin.stream, begin.block, begin.length), content.reveal()))
        return content

    relay._opened = noted  # type: ignore[method-assign]
    return seen


def find(keys: set[bytes], by: Collection[Seen], paths: int) -> bool:
    """Whether a part of a key can be had from what these repeaters saw, by all sums of so many shares of a block."""
    if any(has_any(seen.kept, keys) or has_any(seen.frames, keys) for seen in by):
        return True
    shares: defaultdict[Block, list[KeyMaterial]] = defaultdict(list)
    for block, content in chain.from_iterable(seen.opened for seen in by):
        shares[block].append(KeyMaterial(content))
    sums = (
        combine(chosen)
        for alike in shares.values()
        for number in range(1, paths + 1)
        for chosen in combinations(alike, number)
    )
    return any(has_any(content.reveal(), keys) for content in sums)


async def deliver(sites: RelayingSites, **policy: Any) -> set[bytes]:
    """Have some keys delivered, until a share has been over each repeater; return their parts."""
    keys = [key for _ in range(3) for key in await sites.keys(number=4, **policy)]
    await sites.at_rest()
    return windows(key.material.reveal() for key in keys)


async def saw_all(sites: RelayingSites, seen: dict[QksId, Seen]) -> None:
    """Add what the repeaters have on disk and what was on their wires."""
    for site, view in seen.items():
        await sites.stop(site)
        view.kept = await unsealed(sites, site)
        view.frames = b"".join(sites.frames[site])
        assert view.opened
        assert len(view.kept) > 1000
        assert len(view.frames) > 1000


@pytest.mark.parametrize(("links", "repeaters"), [(RING, (B, D)), (THREE_WAYS, (B, D, E))], ids=["two", "three"])
async def test_all_but_one_of_the_repeaters_learn_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: tuple[tuple[QksId, QksId], ...],
    repeaters: tuple[QksId, ...],
) -> None:
    paths = len(repeaters)
    async with relaying_sites(tmp_path, monkeypatch, links) as sites:
        await sites.until_known()
        seen = {site: watch(sites, site) for site in repeaters}
        keys = await deliver(sites, disjoint_paths=paths)
        await saw_all(sites, seen)
    assert find(keys, seen.values(), paths)
    for some in combinations(repeaters, paths - 1):
        assert not find(keys, [seen[site] for site in some], paths)


async def test_one_path_shows_its_repeater_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what trusted repeater means, and what the policies are for."""
    async with relaying_sites(tmp_path, monkeypatch) as sites:
        await sites.until_known()
        seen = {B: watch(sites, B)}
        keys = await deliver(sites)
        await saw_all(sites, seen)
    assert find(keys, seen.values(), 1)


@pytest.mark.parametrize(("links", "repeaters"), [(ROW, (B,)), (RING, (B, D))], ids=["one path", "two paths"])
async def test_hybrid_keys_are_hidden_from_all_repeaters_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: tuple[tuple[QksId, QksId], ...],
    repeaters: tuple[QksId, ...],
) -> None:
    paths, masks = len(repeaters), _noted_masks(monkeypatch)
    async with relaying_sites(tmp_path, monkeypatch, links) as sites:
        await sites.until_known()
        seen = {site: watch(sites, site) for site in repeaters}
        keys = await deliver(sites, disjoint_paths=paths, hybrid="ml-kem-768")
        await saw_all(sites, seen)
    assert not find(keys, seen.values(), paths)
    # Whoever breaks ML-KEM has this besides: one share more of each block.
    broken = Seen([(block, mask) for block in {block for block, _ in seen[B].opened} for mask in masks[block[2]]])
    assert find(keys, [*seen.values(), broken], paths + 1)


def _noted_masks(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[bytes]]:
    """Return what blocks are masked with from now on, by its length."""
    masks: defaultdict[int, set[bytes]] = defaultdict(set)

    def noted(*of: Any) -> KeyMaterial:
        mask = hybrid.mask(*of)
        masks[len(mask)].add(mask.reveal())
        return mask

    monkeypatch.setattr("qss.runtime.relay.agreement.mask", noted)
    return masks
