"""The end of old segments: which of them there is no room for, and their removal.

Refused here: saying in the log that they are gone, which comes before (`scribe`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from qss.app.audit.segments import segment_file, segments_in
from qss.pki.durable import sync_folder

MAX_SEGMENTS = 100_000
"""Segments that are kept, however small they are."""

_log = structlog.get_logger(__name__)


def beyond(folder: Path, keep_bytes: int) -> list[int]:
    """Return the oldest segments, which `keep_bytes` have no room for; never the last one. Raises `OSError`."""
    segments, size = segments_in(folder), 0
    for place, segment in enumerate(reversed(segments)):
        size += segment_file(folder, segment).stat().st_size
        if place and (size > keep_bytes or place >= MAX_SEGMENTS):
            return segments[: len(segments) - place]
    return []


def remove(folder: Path, segments: Sequence[int]) -> None:
    """Remove segments, durably, or say in the log why they are still there."""
    try:
        for segment in segments:
            segment_file(folder, segment).unlink(missing_ok=True)
        if segments:
            sync_folder(folder)
    except OSError as error:
        _log.error(
            "old segments of the audit log cannot be removed",
            folder=str(folder),
            reason=error.strerror,
            remedy="check the folder's owner and mode; what is above site.audit_bytes stays until then",
        )
