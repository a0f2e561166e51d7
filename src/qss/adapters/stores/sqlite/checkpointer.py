"""The checkpointer: moves the log into the main file, off the commit path.

A checkpoint is due at once when the log has grown large, and within a few seconds after bytes were erased, because the
log still holds them until it is cut. The thread copies with a connection of its own (passive: it blocks nobody); what
remains is little, and the writer copies that and begins the log anew between two transactions. It cuts it when bytes
have to go, and else keeps its length. A checkpoint that fails is due again later.

Refused here: touching rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import structlog

from qss.adapters.stores.sqlite.faults import store_error
from qss.adapters.stores.sqlite.writer import LogEnd

ERASURE_DELAY_S = 2.0
"""Longest time that erased bytes wait in the log for the next checkpoint, in seconds."""

LARGE_LOG_BYTES = 64 << 20
"""Size of the log that makes a checkpoint due at once."""

_log = structlog.get_logger(__name__)


class Checkpointer:
    """Owns the checkpoint connection. `end_log` asks the writer to begin the log anew when it has been copied."""

    def __init__(
        self, connection: apsw.Connection, path: Path, end_log: Callable[[LogEnd], None], erasure_delay_s: float
    ) -> None:
        self._connection = connection
        self._path = path
        self._end_log = end_log
        self._erasure_delay_s = erasure_delay_s
        self._changed = threading.Condition()
        self._cut_by: float | None = None
        self._large = False
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="qss-store-checkpointer", daemon=True)
        self._thread.start()

    def due_now(self) -> None:
        """Checkpoint at once: the log is large."""
        with self._changed:
            self._large = True
            self._changed.notify()

    def due_soon(self) -> None:
        """Checkpoint and cut within the erasure delay: bytes were erased, or a checkpoint has to be repeated."""
        with self._changed:
            if self._cut_by is None:
                self._cut_by = time.monotonic() + self._erasure_delay_s
                self._changed.notify()

    def close(self) -> None:
        """End; a checkpoint under way is finished. Blocks; not for the event loop's thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # --- in the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (end := self._wait_until_due()) is not None:
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as error:
                if not self._failing:
                    _log.warning("checkpoint failed, to be repeated", reason=str(store_error(error, self._path)))
                self._failing = True
                self.due_soon()
            else:
                self._failing = False
                self._end_log(end)

    def _wait_until_due(self) -> LogEnd | None:
        with self._changed:
            while not self._closing:
                left = None if self._cut_by is None else self._cut_by - time.monotonic()
                if left is not None and left <= 0:
                    self._cut_by, self._large = None, False
                    return LogEnd.CUT
                if self._large:
                    self._large = False
                    return LogEnd.KEPT
                self._changed.wait(left)
        return None
