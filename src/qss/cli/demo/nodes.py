"""The demo's processes, `qss node` and perhaps `qss qkd-module`: started together, watched, and ended together,
whatever happens.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from qss.cli.demo.network import Network, stem
from qss.model.errors import QssError
from qss.model.identifiers import QkdmId, QksId

_PATIENCE_S = 15.0
"""How long a node may take to end by itself."""

_LINES_SHOWN = 5


Name = QksId | QkdmId
"""A site, by which its node is known, or a module that is a process of its own."""


class NodeFailed(QssError):
    """A node or module ended by itself."""


class Nodes:
    """The processes that are running, by their names."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._processes: dict[Name, asyncio.subprocess.Process] = {}

    def log(self, name: Name) -> Path:
        """Where a process's log is."""
        return self._network.folder / f"{stem(name)}.log"

    def pid(self, name: Name) -> int:
        """Return the process ID of a node or module."""
        return self._processes[name].pid

    async def start(self, name: Name) -> None:
        """Start a node or module; it goes on with the log of an earlier one."""
        with self.log(name).open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "qss.cli.main", "qkd-module" if "/" in name else "node"),
                *("--config", str(self._network.configuration(name)), "--log-format", "json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for the demo, which then ends its nodes
            )

    def check(self) -> None:
        """Raise `NodeFailed`, with the end of its log, if a node or module has ended."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                lines = self.log(name).read_text("utf-8", "replace").splitlines()[-_LINES_SHOWN:]
                raise NodeFailed(
                    f"{name} ended with status {process.returncode}; its log ends so:\n" + "\n".join(lines)
                )

    async def kill(self, name: Name) -> None:
        """End a node as a power failure would."""
        process = self._processes.pop(name)
        process.kill()
        await process.wait()

    async def stop(self, name: Name) -> int:
        """Ask a node to end, and return its exit status; a node that does not end in time is killed."""
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def stop_all(self) -> None:
        """End all processes."""
        await asyncio.gather(*(self.stop(name) for name in list(self._processes)))


@asynccontextmanager
async def running_nodes(network: Network) -> AsyncIterator[Nodes]:
    """Run the network's processes as long as the context lasts."""
    nodes = Nodes(network)
    try:
        for name in network.processes:
            await nodes.start(name)
        yield nodes
    finally:
        await _to_the_end(nodes)


async def _to_the_end(nodes: Nodes) -> None:
    """End all processes, even if a second Ctrl-C comes meanwhile."""
    stopping = asyncio.ensure_future(nodes.stop_all())
    while not stopping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)
