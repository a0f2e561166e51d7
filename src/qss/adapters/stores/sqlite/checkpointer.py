"""The checkpointer: moves the log into the main file, off the commit path.

A checkpoint is due at once when the log has grown large, and within a few seconds after bytes were erased, because the
log still holds them. The thread copies with a connection of its own (passive: it blocks nobody); what remains is
little: the writer copies that between two transactions, and begins the log anew. Until it has answered, no further one
is begun, which would be in its way. A checkpoint that fails is due again later.

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

ERASURE_DELAY_S = 2.0
"""Longest time that erased bytes wait in the log for the next checkpoint, and then for the one that cuts them off."""

LARGE_LOG_BYTES = 64 << 20
"""Size of the log that makes a checkpoint due at once."""

_log = structlog.get_logger(__name__)


class Checkpointer:
    """Owns the checkpoint connection. `end_log` asks the writer to begin the log anew when it has been copied."""

    def __init__(
        self, connection: apsw.Connection, path: Path, end_log: Callable[[], None], erasure_delay_s: float
    ) -> None:
        self._connection = connection
        self._path = path
        self._end_log = end_log
        self._erasure_delay_s = erasure_delay_s
        self._changed = threading.Condition()
        self._due: float | None = None
        self._under_way = False
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="qss-store-checkpointer", daemon=True)
        self._thread.start()

    def due_now(self) -> None:
        """Checkpoint at once, if none is under way: the log is large."""
        if not self._under_way:
            self._be_due(time.monotonic())

    def due_soon(self) -> None:
        """Checkpoint within the erasure delay: bytes were erased, or another one is needed."""
        self._be_due(time.monotonic() + self._erasure_delay_s)

    def log_ended(self, *, again: bool) -> None:
        """The writer has begun the log anew, or could not; if `again` it has to be begun anew soon."""
        with self._changed:
            self._under_way = False
            self._changed.notify()
        if again:
            self.due_soon()

    def close(self) -> None:
        """End; a checkpoint under way is finished. Blocks; not for the event loop's thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _be_due(self, when: float) -> None:
        with self._changed:
            if self._due is None or when < self._due:
                self._due = when
                self._changed.notify()

    # --- in the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_until_due():
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as error:
                if not self._failing:
                    _log.warning("checkpoint failed, to be repeated", reason=str(store_error(error, self._path)))
                self._failing = True
                self.log_ended(again=True)
            else:
                self._failing = False
                self._end_log()

    def _wait_until_due(self) -> bool:
        with self._changed:
            while not self._closing:
                left = None if self._due is None or self._under_way else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._due, self._under_way = None, True
                    return True
                self._changed.wait(left)
        return False
