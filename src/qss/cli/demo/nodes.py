"""The demo's `qss node` processes: started together, watched, and ended together, whatever happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from qss.cli.demo.network import SITES, Network
from qss.model.errors import QssError
from qss.model.identifiers import QksId

_PATIENCE_S = 15.0
"""How long a node may take to end by itself."""

_LINES_SHOWN = 5


class NodeFailed(QssError):
    """A node ended by itself."""


class Nodes:
    """The processes that are running, by their sites."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._processes: dict[QksId, asyncio.subprocess.Process] = {}

    def log(self, site: QksId) -> Path:
        """Where a node's log is."""
        return self._network.folder / f"{site}.log"

    def pid(self, site: QksId) -> int:
        """Return the process ID of a node."""
        return self._processes[site].pid

    async def start(self, site: QksId) -> None:
        """Start a site's node; it goes on with the log of an earlier one."""
        with self.log(site).open("ab") as log:
            self._processes[site] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "qss.cli.main", "node"),
                *("--config", str(self._network.configuration(site)), "--log-format", "json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for the demo, which then ends its nodes
            )

    def check(self) -> None:
        """Raise `NodeFailed`, with the end of its log, if a node has ended."""
        for site, process in self._processes.items():
            if process.returncode is not None:
                lines = self.log(site).read_text("utf-8", "replace").splitlines()[-_LINES_SHOWN:]
                raise NodeFailed(
                    f"the node of site {site} ended with status {process.returncode}; its log ends so:\n"
                    + "\n".join(lines)
                )

    async def kill(self, site: QksId) -> None:
        """End a node as a power failure would."""
        process = self._processes.pop(site)
        process.kill()
        await process.wait()

    async def stop(self, site: QksId) -> int:
        """Ask a node to end, and return its exit status; a node that does not end in time is killed."""
        process = self._processes.pop(site)
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def stop_all(self) -> None:
        """End all nodes."""
        await asyncio.gather(*(self.stop(site) for site in list(self._processes)))


@asynccontextmanager
async def running_nodes(network: Network) -> AsyncIterator[Nodes]:
    """Run a node for each site as long as the context lasts."""
    nodes = Nodes(network)
    try:
        for site in SITES:
            await nodes.start(site)
        yield nodes
    finally:
        await _to_the_end(nodes)


async def _to_the_end(nodes: Nodes) -> None:
    """End all nodes, even if a second Ctrl-C comes meanwhile."""
    stopping = asyncio.ensure_future(nodes.stop_all())
    while not stopping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)
