"""How costs grow: with the key that is stored, with the applications that are known, with the links of a site.

The curves are kept in build/curves.json. Of a site's many links one is connected; the other neighbours do not answer.
"""

from __future__ import annotations

import asyncio
import statistics
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from benchmarks.load import post, timed
from benchmarks.results import Line, slope, write_json
from benchmarks.sites import TO_BOB, A, Edit, link_of, two_sites
from benchmarks.state import fill, memory_mb, start

from qss.cli.demo.exchanges import ALICE
from qss.cli.demo.network import Network
from qss.model.identifiers import QksId

BITS = (10**4, 10**5, 10**6, 10**7, 10**8)
SAES = (10, 100, 1000, 10_000)
LINKS = (1, 4, 16, 64)
ROUNDS = 120
SMALL = post(TO_BOB, b'{"size": 64}')
CURVES = Path("build/curves.json")

_PLAIN = link_of(400_000, 1 << 40)


async def growth() -> AsyncIterator[Line]:
    """Measure all three curves."""
    bits = [await _point(n, _PLAIN, lambda network, n=n: fill(network, n)) for n in BITS]  # type: ignore[misc]
    stored = [(point["n"], point["store_bytes"]) for point in bits[1:]]  # the smallest is SQLite's own pages
    yield Line("growth_stored_slope", slope(stored), "", "<= 1.1")
    yield Line("growth_start_slope", slope([(point["n"], point["start_s"]) for point in bits]), "", "<= 1.1")
    yield _worst("bits", bits)
    saes = [await _point(n, _with_saes(n)) for n in SAES]
    yield _worst("saes", saes)
    links = [await _point(n, _with_links(n)) for n in LINKS]
    yield _worst("links", links)
    await asyncio.to_thread(write_json, {"bits": bits, "saes": saes, "links": links}, CURVES)


def _worst(what: str, curve: Sequence[dict[str, float]]) -> Line:
    worst = max(point["getkey_p50_ms"] for point in curve)
    return Line(f"growth_getkey_{what}", worst / curve[0]["getkey_p50_ms"], "x", "<= 1.5")


async def _point(n: int, edit: Edit, prepare: Callable[[Network], None] = lambda _: None) -> dict[str, float]:
    async with two_sites(edit, prepare, start=False) as sites:
        stored = (sites.network.folder / "A.data" / "ledger.sqlite").stat().st_size
        seconds = await start(sites)
        alice = await sites.caller(ALICE)
        times = [await timed(alice, SMALL) for _ in range(ROUNDS)]
        return {
            "n": n,
            "getkey_p50_ms": statistics.median(times[20:]),
            "start_s": seconds,
            "memory_mb": memory_mb(sites.nodes.pid(A)),
            "store_bytes": stored,
        }


def _with_saes(number: int) -> Edit:
    def edit(site: QksId, text: str) -> str:
        more = "".join(f'\n[[saes]]\nid = "sae:more-{n}"\nsite = "B"\n' for n in range(number))
        return _PLAIN(site, text) + more

    return edit


def _with_links(number: int) -> Edit:
    def edit(site: QksId, text: str) -> str:
        text = _PLAIN(site, text)
        if site != A:
            return text
        device = 'device = { type = "simulator", rate_bps = 400000 }'
        away = (f"P{n:03}" for n in range(number - 1))
        return text + "".join(
            f'\n[[links]]\npeer = "{peer}"\nuuid = "{uuid.uuid4()}"\naddress = "127.0.0.1:9"\n{device}\n'
            for peer in away
        )

    return edit
