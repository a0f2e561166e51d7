"""Whether an LSA that came may be taken in (Routing 6.2 and 10): limits first, because they cost least.

Two things must not be had by sending much: the time of this site, of which a signature's check takes most; and the
room that others have. So all counts are of one neighbour: whoever sends on forgeries, or all that a site has signed for
years, uses up nothing that an LSA needs which comes another way. And they are of one origin too, so that an origin whom
the neighbour believes and this site does not is no reason to look at nothing else that it sends. Held here: these
counts. Not here: cryptography (`verify` comes in), nor what is newer.
"""

from __future__ import annotations

from collections.abc import Callable

from qss.core.routing.buckets import Buckets
from qss.core.routing.database import Database
from qss.core.routing.events import Reason
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId
from qss.wire.routing import Authentication, Key

Verify = Callable[[QksId, bytes, Authentication], None]
"""Raises `Unauthorised` unless the body was signed by this site."""

LSA_BURST, LSA_PER_SECOND = 10, 5.0
"""Instances of one LSA that are taken of one neighbour at once, and in a second after that."""

ORIGIN_BURST, ORIGIN_PER_SECOND = 256, 80.0
"""Instances of all LSAs of one origin: a site has up to 65, and if their lifetime is short, says them every second."""

FAILED_BURST, FAILED_PER_SECOND = 200, 100.0
"""LSAs of one neighbour whose signatures were looked at in vain."""

FAILED_OF_ORIGIN_BURST, FAILED_OF_ORIGIN_PER_SECOND = 20, 10.0
"""Those of them that are in the name of one origin."""


class Admission:
    """Judges LSAs that are newer than what is known."""

    def __init__(self, verify: Verify, database: Database) -> None:
        self._verify = verify
        self._database = database
        self._of_lsa = Buckets[tuple[QksId, Key]](LSA_BURST, LSA_PER_SECOND)
        self._of_origin = Buckets[tuple[QksId, str]](ORIGIN_BURST, ORIGIN_PER_SECOND)
        self._failed = Buckets[QksId](FAILED_BURST, FAILED_PER_SECOND)
        self._failed_of_origin = Buckets[tuple[QksId, str]](FAILED_OF_ORIGIN_BURST, FAILED_OF_ORIGIN_PER_SECOND)

    def __len__(self) -> int:
        """Return how many counts are kept."""
        return len(self._of_lsa) + len(self._of_origin) + len(self._failed) + len(self._failed_of_origin)

    def refusal(self, peer: QksId, key: Key, body: bytes, said: Authentication, now: float) -> Reason | None:
        """Return why an LSA that `peer` sent is not taken, or None if it is."""
        if not self._database.has_room(key):
            return Reason.ORIGINS
        if not self._database.has_room_for(key, len(body)):
            return Reason.ROOM
        lsa, origin = (peer, key), (peer, key.origin)
        if not (self._of_lsa.has_room(lsa, now) and self._of_origin.has_room(origin, now)):
            return Reason.RATE
        if not (self._failed.has_room(peer, now) and self._failed_of_origin.has_room(origin, now)):
            return Reason.UNCHECKED
        try:
            self._verify(QksId(key.origin), body, said)
        except Unauthorised:
            self._failed.add(peer, now)
            self._failed_of_origin.add(origin, now)
            return Reason.SIGNATURE
        self._of_lsa.add(lsa, now)
        self._of_origin.add(origin, now)
        return None

    def tidy(self, now: float) -> None:
        """Forget what has been quiet."""
        self._of_lsa.tidy(now)
        self._of_origin.tidy(now)
        self._failed.tidy(now)
        self._failed_of_origin.tidy(now)
