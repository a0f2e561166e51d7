"""The writer: one thread that makes batches durable, as many in one transaction as have gathered.

Batches are taken in the order of submission. While one transaction is being synced, others gather and share the next,
so the cost of a sync is divided among them. Each batch gets a verdict of its own; of a refused one no trace is left. A
failing disk is the verdict of them all. Between transactions, and only there, the log is begun anew (`checkpointer`).

A log that begins anew keeps its length, because to overwrite it costs less than to lengthen it again. What erased bytes
it has then are overwritten by the next commits, or cut off behind them when it begins anew again, soon after.

Refused here: retries. Whoever submitted a batch that failed knows what it meant. If the disk failed while the end of a
transaction was being synced, that transaction may be found whole after a crash; a caller must not count on either.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import structlog

from qss.adapters.stores.sqlite import ledger
from qss.adapters.stores.sqlite.faults import store_error
from qss.adapters.stores.sqlite.room import LogRoom
from qss.adapters.stores.sqlite.schema import BUSY_MS
from qss.model.errors import FenceLost, LimitReached, QssError, StoreError
from qss.ports.store import Change, PutBlock

MAX_WAITING_BATCHES = 4096
"""Batches that may wait for the disk."""

MAX_WAITING_BYTES = 256 << 20
"""Sealed bytes that may wait for the disk; a single batch may not have more. A link has about 2 MiB at most."""

_MAX_GROUP = 512
# A program that reads the store for long must not hold up commits: the log's new beginning waits no longer for it.
_RESTART_BUSY_MS = 50

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A submitted batch and who waits for it."""

    batch: tuple[Change, ...]
    fence: int
    weight: int
    done: asyncio.Future[int]


_Verdict = int | QssError
"""The commit number, or why there is none."""


class Writer:
    """Owns the writing connection. What it calls back it calls in the writer's thread.

    `on_commit(erased)` follows each transaction, `on_trouble()` one that failed, `on_log_end(again)` each `end_log`:
    `again` if the log has to be begun anew soon, because it could not be, or because erased bytes may be left in it.

    It makes room in the log itself, and has to hear from SQLite's hook how long that is.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        room: LogRoom,
        on_commit: Callable[[bool], None],
        on_trouble: Callable[[], None],
        on_log_end: Callable[[bool], None],
    ) -> None:
        self._connection = connection
        self._path = path
        self._room = room
        self._on_commit = on_commit
        self._on_trouble = on_trouble
        self._on_log_end = on_log_end
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._waiting_bytes = 0
        self._log_ends = False
        self._erased = True  # bytes that are in the log: it may be of a process that was killed
        self._erased_behind = False  # bytes that may be behind its end
        self._data_version = connection.execute("PRAGMA data_version").get
        self._failing = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="qss-store-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Sequence[Change], fence: int) -> asyncio.Future[int]:
        """Queue a batch; its place in the order is taken when this returns. Raises `LimitReached`."""
        weight = sum(len(change.block.sealed) for change in batch if isinstance(change, PutBlock))
        ticket = _Ticket(tuple(batch), fence, weight, self._loop.create_future())
        with self._changed:
            if self._closing:
                raise StoreError(f"{self._path} is being closed; start the store again")
            if len(self._waiting) >= MAX_WAITING_BATCHES or self._waiting_bytes + weight > MAX_WAITING_BYTES:
                raise LimitReached(
                    f"{len(self._waiting)} batches wait for the disk of {self._path}, and one of {weight} sealed bytes "
                    f"is too much (limits: {MAX_WAITING_BATCHES} batches, {MAX_WAITING_BYTES} bytes); "
                    "ask again later, or for less at a time"
                )
            self._waiting.append(ticket)
            self._waiting_bytes += weight
            self._changed.notify()
        return ticket.done

    def end_log(self) -> None:
        """Have the log begun anew before the next transaction. Its pages should be in the main file already."""
        with self._changed:
            self._log_ends = True
            self._changed.notify()

    def close(self) -> None:
        """Commit what was submitted, then end. Blocks; not for the event loop's thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # --- in the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._log_ends or self._closing):
                    self._changed.wait()
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_GROUP))]
                self._waiting_bytes -= sum(ticket.weight for ticket in group)
                log_ends, self._log_ends = self._log_ends, False
            if log_ends:
                self._begin_log_anew()
            elif not group:
                self._room.close()
                return
            if group:
                verdicts = self._commit(group)
                # A loop that went without closing the store has nobody left who waits.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(_settle, group, verdicts)
            self._room.make()

    def _begin_log_anew(self) -> None:
        try:
            self._restart_log()
        except (apsw.Error, OSError) as error:
            if not self._failing:
                reason = str(store_error(error, self._path)) if isinstance(error, apsw.Error) else str(error)
                _log.warning("the log could not be begun anew, to be repeated", reason=reason)
            self._failing = again = True
        else:
            self._failing, again = False, self._erased_behind
        self._on_log_end(again)

    def _restart_log(self) -> None:
        written = self._room.is_written
        self._connection.set_busy_timeout(_RESTART_BUSY_MS)
        try:
            keep = written and (self._trim() if self._erased_behind else True)
            self._connection.wal_checkpoint(
                mode=apsw.SQLITE_CHECKPOINT_RESTART if keep else apsw.SQLITE_CHECKPOINT_TRUNCATE
            )
        finally:
            self._connection.set_busy_timeout(BUSY_MS)
        self._room.begin_anew()
        self._erased, self._erased_behind = False, keep and self._erased

    def _trim(self) -> bool:
        """Cut off what earlier rounds of the log left; or cut nothing, where somebody else has committed as well."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self._connection.execute("PRAGMA data_version").get != self._data_version:
                return False
            self._room.trim()
            return True
        finally:
            self._connection.execute("ROLLBACK")

    def _commit(self, group: list[_Ticket]) -> list[_Verdict]:
        try:
            verdicts = self._transaction(group)
        except Exception as error:  # noqa: BLE001 - the thread must live, and whoever waits must hear
            self._on_trouble()
            return [self._failure(error) for _ in group]
        erased = any(
            ledger.erases(ticket.batch)
            for ticket, verdict in zip(group, verdicts, strict=True)
            if isinstance(verdict, int)
        )
        self._erased = self._erased or erased or (self._erased_behind and self._room.went_on)
        self._on_commit(erased)
        return verdicts

    def _transaction(self, group: list[_Ticket]) -> list[_Verdict]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            incarnation = ledger.incarnation(connection)
            refusals = [self._try(ticket, incarnation, alone=len(group) == 1) for ticket in group]
            if all(refusals):
                connection.execute("ROLLBACK")
                return [refusal for refusal in refusals if refusal]
            number = ledger.raise_commit_number(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends it by itself after some failures
                connection.execute("ROLLBACK")
            raise
        return [refusal or number for refusal in refusals]

    def _try(self, ticket: _Ticket, incarnation: int, *, alone: bool) -> QssError | None:
        """Apply one batch, or leave no trace of it and return why. Raises `apsw.Error` if the disk is at fault.

        Where it is `alone` in its transaction, no trace is left once the caller has rolled that back.
        """
        if ticket.fence != incarnation:
            return FenceLost(
                f"{self._path} was started again since (incarnation {incarnation}, this commit has {ticket.fence}); "
                "end this process"
            )
        if alone:
            return self._apply(ticket)
        self._connection.execute("SAVEPOINT batch")
        refusal = self._apply(ticket)
        if refusal is not None:
            self._connection.execute("ROLLBACK TO batch")
        self._connection.execute("RELEASE batch")
        return refusal

    def _apply(self, ticket: _Ticket) -> QssError | None:
        try:
            ledger.apply(self._connection, ticket.batch)
        except Exception as error:
            refusal = self._refusal(error)
            if refusal is None:
                raise
            return refusal
        return None

    def _failure(self, error: Exception) -> QssError:
        if isinstance(error, apsw.Error):
            return store_error(error, self._path)
        return StoreError(f"{self._path} met a {type(error).__name__}; this is a defect in qss")

    def _refusal(self, error: Exception) -> QssError | None:
        """Return the verdict if the batch is at fault, or None if the disk is."""
        if isinstance(error, QssError):
            return error
        if isinstance(error, apsw.Error) and not isinstance(error, apsw.ConstraintError | apsw.MismatchError):
            return None
        return StoreError(
            f"{self._path} cannot hold a value of this batch ({type(error).__name__}); this is a defect in qss"
        )


def _settle(group: list[_Ticket], verdicts: list[_Verdict]) -> None:
    for ticket, verdict in zip(group, verdicts, strict=True):
        if ticket.done.done():  # its task was cancelled; the commit stands all the same
            continue
        if isinstance(verdict, int):
            ticket.done.set_result(verdict)
        else:
            ticket.done.set_exception(verdict)
