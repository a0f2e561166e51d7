"""The generation of a site's LSAs, higher at each start than at any before (Routing 7.7): `routing.generation`.

It is the time of the start, unless the clock was ahead once: then it is one more than the last one. So the file is a
help and not a must: without it, or if it is damaged, the time alone counts, and neighbours put the site right.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from qss.pki.durable import replace_file
from qss.wire.routing import MAX_GENERATION

GENERATION = "routing.generation"
"""The file in the data folder."""

_DIGITS = 20

_log = structlog.get_logger(__name__)


def next_generation(file: Path, now: float) -> int:
    """Return the generation of this start, at `now` in seconds since 1970, and note it."""
    generation = max(int(now), _last(file) + 1)
    try:
        replace_file(file, f"{generation}\n".encode("ascii"), 0o600)
    except OSError as error:
        _log.warning("the generation of routing cannot be noted", file=str(file), reason=error.strerror)
    return generation


def _last(file: Path) -> int:
    """Return the last generation that was noted; 0 if there is none that can be used."""
    try:
        text = file.read_bytes()[: _DIGITS + 1].decode("ascii").strip()
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("the last generation of routing cannot be read", file=str(file), reason=str(error))
        return 0
    if not text.isdigit() or int(text) >= MAX_GENERATION:
        _log.warning("the last generation of routing is damaged, and not used", file=str(file))
        return 0
    return int(text)
