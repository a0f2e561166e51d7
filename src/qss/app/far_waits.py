"""How requests fared that wanted relayed key, counted: whether it was there, came in time, or was waited for in vain.

A request whose key somebody else was faster to take wants it again, and is counted again.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from qss.model.errors import QssError
from qss.model.identifiers import QksId


class Outcome(StrEnum):
    """What came of wanting key."""

    READY = "ready"
    """It was there at once."""
    WAITED = "waited"
    """It came while it was waited for."""
    IN_VAIN = "in-vain"
    """It did not come in time: the request was refused."""
    GIVEN_UP = "given-up"
    """Whoever asked waited no longer."""


class Waits:
    """Counts since the process began, by the site that key was wanted with: as many as there are links."""

    def __init__(self) -> None:
        self.outcomes: defaultdict[QksId, Counter[Outcome]] = defaultdict(lambda: Counter(dict.fromkeys(Outcome, 0)))

    @contextmanager
    def counted(self, peer: QksId, *, ready: bool) -> Iterator[None]:
        """Count what comes of what is done within; `ready`: the key is there already."""
        outcome = Outcome.READY if ready else Outcome.WAITED
        try:
            yield
        except QssError:
            outcome = Outcome.IN_VAIN
            raise
        except CancelledError:
            outcome = Outcome.GIVEN_UP
            raise
        finally:
            self.outcomes[peer][outcome] += 1
