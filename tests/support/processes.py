"""Processes that a test has started, however indirectly."""

from __future__ import annotations

import os
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command line names the folder: the nodes of a network that lies there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            named = os.fsencode(folder) in path.read_bytes()
        except OSError:  # it has just ended
            continue
        if named:
            found.append(int(path.parent.name))
    return found
