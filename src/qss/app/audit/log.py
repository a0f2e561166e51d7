"""A running site's audit log: takes events from any thread at once, and has them written by a thread of its own.

A record that comes when nothing has been written for a moment is written at once; what comes meanwhile shares the next
page, so that a flood costs few syncs. A disk that refuses is tried again and again while the site goes on: what comes
meanwhile waits in memory, and is counted when that is full. Refused here: what an event is (`tap`), files (`scribe`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import msgspec
import structlog

from qss.app.audit.fields import encoded
from qss.app.audit.inbox import MAX_PAGE, Inbox
from qss.app.audit.scribe import Scribe
from qss.model.errors import StoreError
from qss.runtime.causes import Causes
from qss.runtime.link import Clocks
from qss.runtime.tasks import Defect
from qss.wire import audit as wire

PAGE_S = 1.0
"""Seconds from one page to the next; what comes meanwhile is written together."""

RETRY_S = 1.0
"""Seconds until a disk that refused is tried again."""

_log = structlog.get_logger(__name__)


class AuditLog:
    """The audit log of the site that runs in this process."""

    def __init__(self, scribe: Scribe, clocks: Clocks, defect: Defect) -> None:
        """`defect` hears in the event loop's thread of what nobody expected."""
        self._scribe = scribe
        self._clocks = clocks
        self._defect = defect
        self._inbox = Inbox()
        self._causes = Causes()
        self._thread: threading.Thread | None = None
        self.writable = True
        """The last page was written."""

    @property
    def lost(self) -> int:
        """Records that could not be kept, since the process began."""
        return self._inbox.lost

    @property
    def findings(self) -> Mapping[str, int]:
        """How often it was found, since the process began, to be other than the site had left it (`scribe`)."""
        return self._scribe.findings

    @property
    def checkpoint(self) -> wire.Position | None:
        """The last checkpoint that this process has written."""
        return self._scribe.checkpoint

    def keep(self, event: str, level: str, fields: Mapping[str, object]) -> bool:
        """Have an event written, durably within about a second, or counted as lost; return False after the end."""
        at = wire.time_text(self._clocks()[1])
        return self._inbox.put(wire.Event(at=at, event=event, level=level, fields=msgspec.Raw(encoded(fields))))

    def start(self) -> None:
        """Begin to write; what came before comes first. The site's store must be open, so that no other site's is."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="audit log")
        self._thread.start()

    async def stop(self) -> None:
        """Write what is left, a stop and a checkpoint. Nothing is kept any more."""
        self._inbox.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # --- its thread -------------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._write_page():
                pass
        except Exception as error:  # noqa: BLE001 - whatever nobody expected ends the site
            loop.call_soon_threadsafe(self._defect, error)
        finally:
            self._scribe.close()

    def _write_page(self) -> bool:
        """Wait until something is to be written, and write it; return whether that was the end."""
        stopping = self._inbox.wait(self._scribe.due_in())
        records = self._inbox.first()
        last = stopping and len(records) < MAX_PAGE
        try:
            self._scribe.write(records, stopping=last)
        except (OSError, StoreError) as error:
            self._refused(error)
            self._inbox.pause(RETRY_S)
            return stopping
        self._inbox.written()
        self._written()
        if len(records) < MAX_PAGE:
            self._inbox.pause(PAGE_S)
        return last

    def _refused(self, error: OSError | StoreError) -> None:
        self.writable = False
        reason = (
            f"{error.filename or self._scribe.folder}: {error.strerror}" if isinstance(error, OSError) else str(error)
        )
        if self._causes.is_new("writing", reason):
            _log.error("the audit log cannot be written, and what is to be in it waits in memory", reason=reason)

    def _written(self) -> None:
        if not self.writable:
            self.writable = True
            self._causes.over("writing")
            _log.warning("the audit log can be written again", lost=self.lost)
