"""Real nodes for a benchmark, two or a line of them: the demo's files, with links as fast and as large as is asked."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase

from benchmarks.load import Caller, Target, connected

from qss.cli.demo.exchanges import ALICE, BOB
from qss.cli.demo.network import SITES, Network
from qss.cli.demo.nodes import Nodes
from qss.model.identifiers import QksId, SaeId
from qss.wire.status import STATES

A, B = SITES[:2]
TO_BOB = f"/api/v1/keys/{BOB}/enc_keys"
TO_ALICE = f"/api/v1/keys/{ALICE}/enc_keys"

Edit = Callable[[QksId, str], str]


@dataclass
class Sites:
    """The nodes and how to reach them."""

    network: Network
    nodes: Nodes

    async def caller(self, sae: SaeId) -> Caller:
        """Connect to an SAE's key server, as soon as it listens."""
        return await connected(lambda: Target.of(self.network, sae))

    def ingested_bits(self, site: QksId) -> int:
        """Return the bits that a site has ever stored with its neighbour."""
        (peer,) = {A, B} - {site}
        return self.bits(site, peer)["ingested"]

    def bits(self, site: QksId, peer: QksId) -> Counter[str]:
        """Return what a site tells of all streams with another one, in bits; nothing if it knows of none."""
        pair = self.network.pki.site(site)
        context = ssl.create_default_context(cafile=str(self.network.pki.authority.certificate))
        context.load_cert_chain(pair.certificate, pair.key)
        url = f"https://localhost:{self.network.ports[site].admin}/status"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            links = json.load(answer)["links"]
        found = Counter[str]()
        for link in links:
            if link["peer"] == peer:
                for stream in link["streams"]:
                    found.update({state: int(stream[state]) for state in STATES})
        return found


def link_of(rate_bps: float, capacity_bits: int) -> Edit:
    """Return an edit that gives links this rate and this capacity."""

    def edit(_: QksId, text: str) -> str:
        text = re.sub(r"rate_bps = \S+", f"rate_bps = {rate_bps:.0f}", text)
        return re.sub(r"capacity_bits = \d+", f"capacity_bits = {capacity_bits}", text) + _NO_LIMIT

    return edit


_NO_LIMIT = "\n[quotas]\nsae_keys = 1000000000\npair_keys = 1000000000\n"


@asynccontextmanager
async def two_sites(
    edit: Edit, prepare: Callable[[Network], None] = lambda _: None, *, start: bool = True
) -> AsyncIterator[Sites]:
    """Make the network, let `prepare` change its folder, and run A and B as long as the context lasts."""
    async with _running(lambda folder: Network(folder, links=((A, B),)), edit, prepare, start=start) as sites:
        yield sites


@asynccontextmanager
async def line_of(length: int, edit: Edit, prepare: Callable[[Network], None] = lambda _: None) -> AsyncIterator[Sites]:
    """As `two_sites`, with so many sites in a line; at home in A, B and so on are `sae:a`, `sae:b` and so on."""
    names = [QksId(letter) for letter in ascii_uppercase[:length]]
    homes = {sae_of(site): site for site in names}
    async with _running(
        lambda folder: Network(folder, links=tuple(pairwise(names)), homes=homes), edit, prepare
    ) as made:
        yield made


def sae_of(site: QksId) -> SaeId:
    """Return the SAE that is at home in a site of a line."""
    return SaeId(f"sae:{site.lower()}")


@asynccontextmanager
async def _running(
    make: Callable[[Path], Network], edit: Edit, prepare: Callable[[Network], None], *, start: bool = True
) -> AsyncIterator[Sites]:
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as folder:
        network = make(Path(folder))
        await network.build(lambda _: None)
        for site in network.sites:
            path = network.configuration(site)
            path.write_text(edit(site, path.read_text("utf-8")), "utf-8")
        await asyncio.to_thread(prepare, network)
        nodes = Nodes(network)
        try:
            if start:
                for site in network.sites:
                    await nodes.start(site)
            yield Sites(network, nodes)
        finally:
            await nodes.stop_all()
