"""The anchor of an audit log: a file outside the data folder that remembers how far the log had come.

Nothing in a folder shows that the folder is an older copy, or that it was there at all. So the last record is noted
beside the store's anchor (`<anchor>.audit`), where no back-up of the data folder takes it along. It lags behind the
log, never ahead of it. Refused here: drawing conclusions (`recovery`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from qss.model.errors import StoreError
from qss.pki.durable import replace_file
from qss.runtime.causes import Causes
from qss.wire import audit as wire

SUFFIX = ".audit"
"""What the file's name has behind that of the store's anchor."""

ANCHOR_S = 10.0
"""Seconds by which the anchor may lag behind the log, and a page."""

_MAX_BYTES = 1024

_Segment = Annotated[int, Meta(ge=1, le=10**12)]

_log = structlog.get_logger(__name__)


class Anchored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a log had come."""

    last: wire.Position
    """A record that was durable, and one of the last."""
    segment: _Segment
    """The segment in which it is."""
    first: _Segment
    """The oldest segment that the site had not removed."""


class AuditAnchor:
    """What is known of a site's audit log outside its folder. For one thread."""

    def __init__(self, path: Path, *, has_run: bool) -> None:
        """`has_run`: the site's store says that it ran before this process began."""
        self.path = path
        """The file."""
        self.has_run = has_run
        """The site has run before, and should have a log."""
        self._causes = Causes()
        self._due: float | None = None

    def read(self) -> Anchored | None:
        """Return what was noted last, None if there is no file. Raises `StoreError` if nobody can tell."""
        try:
            with self.path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=Anchored)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror}); check its owner and mode") from error
        except ValueError as error:
            raise StoreError(f"{self.path} is damaged; remove it once you have looked who could write it") from error

    def is_due(self, now: float) -> bool:
        """Whether nothing was noted in the last `ANCHOR_S` before `now`, in seconds."""
        return self._due is None or now >= self._due

    def note(self, anchored: Anchored, now: float) -> None:
        """Note, durably, how far the log has come, at `now`, in seconds.

        A disk that refuses is said in the log, once for each cause, and is tried again when it is due.
        """
        self._due = now + ANCHOR_S
        try:
            replace_file(self.path, msgspec.json.encode(anchored) + b"\n", 0o600)
        except OSError as error:
            reason = f"{self.path}: {error.strerror}"
            if self._causes.is_new("writing", reason):
                _log.error("how far the audit log has come cannot be noted outside its folder", reason=reason)
        else:
            self._causes.over("writing")
