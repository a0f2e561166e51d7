"""Two real nodes, A and B, for a benchmark: the demo's files, with a link as fast and as large as is asked for."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Caller, Target, connected

from qss.cli.demo.exchanges import ALICE, BOB
from qss.cli.demo.network import SITES, Network
from qss.cli.demo.nodes import Nodes
from qss.model.identifiers import QksId, SaeId

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
        pair = self.network.pki.site(site)
        context = ssl.create_default_context(cafile=str(self.network.pki.authority.certificate))
        context.load_cert_chain(pair.certificate, pair.key)
        url = f"https://localhost:{self.network.ports[site].admin}/status"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            links = json.load(answer)["links"]
        (link,) = [link for link in links if link["peer"] in (A, B)]
        return sum(int(stream["ingested"]) for stream in link["streams"])


def link_of(rate_bps: float, capacity_bits: int) -> Edit:
    """Return an edit that gives the link this rate and this capacity."""

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
    with tempfile.TemporaryDirectory(prefix="qss-bench-") as folder:
        network = Network(Path(folder), links=((A, B),))
        await network.build(lambda _: None)
        for site in (A, B):
            path = network.configuration(site)
            path.write_text(edit(site, path.read_text("utf-8")), "utf-8")
        await asyncio.to_thread(prepare, network)
        nodes = Nodes(network)
        try:
            if start:
                for site in (A, B):
                    await nodes.start(site)
            yield Sites(network, nodes)
        finally:
            await nodes.stop_all()
