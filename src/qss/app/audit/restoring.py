"""What a back-up says of the audit log, and the chain that a restored site begins.

A back-up has no records: they can be large, and are only added to, so any program that copies files copies them while
the site runs. It says where the log stood. A restored site begins a chain of its own there, because the one that it had
may have gone on since, and two that go on from one record would both be signed.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from qss.app.audit.chain import begun
from qss.app.audit.pen import Pen
from qss.app.audit.segments import AUDIT
from qss.model.identifiers import QksId
from qss.wire import audit as wire


def begin_restored(data: Path, site: QksId, follows: wire.Position | None, now: float) -> None:
    """Begin the log of a restored site in the new data folder `data`, at `now` in seconds since 1970.

    `follows` is the last record that its back-up knows of. Raises `OSError`.
    """
    line, _ = begun(
        wire.Begin(
            at=wire.time_text(now),
            site=site,
            chain=secrets.token_hex(16),
            segment=1,
            because="restored",
            follows=follows,
        )
    )
    Pen(data / AUDIT).begin(1, line)
