"""The kernel's routing tables of many network namespaces, as the kernel tells of every change, with the time of it.

Held here is a copy of each namespace's /32 routes, and the wait until all of them are as they should be. Times are
those at which this process was told (`time.monotonic`, seconds). Refused is polling: a table is asked for only to prove
the copy right, after a measurement.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from benchmarks.namespaces import Namespace
from benchmarks.netlink import LinkDown, Requests, Route, changes, watching

type Table = Mapping[str, frozenset[int]]
"""For each destination, the interfaces that lead to it."""
type Right = Callable[[int, Table], bool]
"""Whether a router's table is as it should be."""

_READ_BYTES = 1 << 16


class KernelTables:
    """A copy of the tables, by the router whose namespace it is."""

    def __init__(self, namespaces: Mapping[int, Namespace]) -> None:
        self.tables: dict[int, dict[str, frozenset[int]]] = {router: {} for router in namespaces}
        self.kernels: dict[int, Requests] = {}
        self._selector = selectors.DefaultSelector()
        for router, namespace in namespaces.items():
            with namespace.inside():
                self._selector.register(watching(), selectors.EVENT_READ, router)
                self.kernels[router] = Requests()

    def wait(self, right: Right, timeout_s: float, what: str) -> dict[int, float]:
        """Read until every table is right; return when each became so, without those that had been right all along."""
        wrong = {router for router, table in self.tables.items() if not right(router, table)}
        became: dict[int, float] = {}
        deadline = time.monotonic() + timeout_s
        while wrong:
            changed = self._read(deadline - time.monotonic())
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"after {timeout_s:.0f} s routers {sorted(wrong)} lack {what}: see what they said last"
                )
            for router, now in changed.items():
                if not right(router, self.tables[router]):
                    wrong.add(router)
                elif router in wrong:
                    wrong.remove(router)
                    became[router] = now
        return became

    def rest(self, quiet_s: float, timeout_s: float) -> None:
        """Read until nothing has changed for a while, then compare the copy with the kernel's tables."""
        deadline = time.monotonic() + timeout_s
        while self._read(quiet_s):
            if time.monotonic() > deadline:
                raise TimeoutError(f"routes still change after {timeout_s:.0f} s: see what the routers said last")
        for router, kernel in self.kernels.items():
            if (held := kernel.routes()) != self.tables[router]:
                raise RuntimeError(f"router {router}: its table is {held}, and we were told {self.tables[router]}")

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        for kernel in self.kernels.values():
            kernel.close()

    def _read(self, timeout_s: float) -> dict[int, float]:
        """Take in what has been told, after waiting for it; return the routers and the times."""
        told: dict[int, float] = {}
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            assert isinstance(key.fileobj, socket.socket)
            with suppress(BlockingIOError):
                while True:
                    data = key.fileobj.recv(_READ_BYTES)
                    told[key.data] = time.monotonic()
                    self._take(key.data, data)
        return told

    def _take(self, router: int, data: bytes) -> None:
        table = self.tables[router]
        for change in changes(data):
            if isinstance(change, LinkDown):
                self._drop(table, change.interface)
            else:
                _set(table, change)

    @staticmethod
    def _drop(table: dict[str, frozenset[int]], interface: int) -> None:
        for destination, via in list(table.items()):
            if interface in via:
                _set(table, Route(destination, via - {interface}))


def _set(table: dict[str, frozenset[int]], route: Route) -> None:
    if route.via:
        table[route.destination] = route.via
    else:
        table.pop(route.destination, None)
