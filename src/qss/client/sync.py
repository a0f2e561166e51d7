"""The client of ETSI GS QKD 014 for programs without asyncio: scripts, notebooks, threads.

It runs the other client on an event loop of its own in a thread of its own, so it can be used where a loop runs
already, and from several threads. Not for use after a fork: make a new one in the child.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from qss.client.errors import KeyServerUnreachable
from qss.client.etsi014 import Client
from qss.client.https import TIMEOUT_S
from qss.model.identifiers import KeyId
from qss.model.keys import Key, PairStatus


class SyncClient:
    """Asks one key server as one SAE. Use it as `with`, or `close` it."""

    def __init__(
        self,
        base_url: str,
        certificate: Path | str,
        key: Path | str,
        authority: Path | str,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """Take what `Client` takes, and raise what it raises."""
        self._client = Client(base_url, certificate, key, authority, timeout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qss client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the thread. Can be called twice."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def status(self, slave: str) -> PairStatus:
        """As `Client.status`."""
        return self._run(self._client.status(slave))

    def get_keys(
        self,
        slave: str,
        number: int = 1,
        size: int | None = None,
        additional_slaves: Iterable[str] = (),
        extension_mandatory: Sequence[tuple[str, object]] = (),
        extension_optional: Sequence[tuple[str, object]] = (),
        name: str | None = None,
    ) -> tuple[Key, ...]:
        """As `Client.get_keys`."""
        return self._run(
            self._client.get_keys(slave, number, size, additional_slaves, extension_mandatory, extension_optional, name)
        )

    def get_keys_with_ids(self, master: str, key_ids: Iterable[KeyId], name: str | None = None) -> tuple[Key, ...]:
        """As `Client.get_keys_with_ids`."""
        return self._run(self._client.get_keys_with_ids(master, key_ids, name))

    def _run[T](self, asking: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            asking.close()
            raise KeyServerUnreachable("this client has been closed: make a new one")
        future = asyncio.run_coroutine_threadsafe(asking, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C: do not go on asking behind the caller's back
            raise
