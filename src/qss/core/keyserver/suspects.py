"""Sites and links that paths keep clear of for a while, because something went wrong there.

A link whose key ran short, or whose end could not be reached, is passed by for seconds: that is nobody's fault, and
soon over. A repeater that may have changed a block is passed by for minutes (Relay 6.5): all repeaters of the block's
paths are, for only the comparison of the two ends told that it differs.

Times are in seconds of a clock that never steps.
"""

from __future__ import annotations

from collections.abc import Iterable

from qss.model.identifiers import QksId
from qss.wire.relay import Reason

BLAMED_S = 600.0
"""How long a repeater is passed by whose block differed."""

_PASSED_BY_S = {
    Reason.SHORTAGE: 1.0,
    Reason.LIMIT: 1.0,
    Reason.REFUSED: 10.0,
    Reason.UNREACHABLE: 2.0,
    Reason.LATE: 2.0,
    Reason.TAMPERED: 30.0,
    Reason.STOPPED: 5.0,
}

Link = tuple[QksId, QksId]
"""Its two ends, the lower ID first."""


class Suspects:
    """What one site passes by."""

    def __init__(self, here: QksId) -> None:
        self._here = here
        self._sites: dict[QksId, float] = {}
        self._links: dict[Link, float] = {}

    def failed(self, now: float, path: tuple[QksId, ...], site: QksId, reason: Reason) -> None:
        """A transfer on this path failed at `site`: pass the link by on which it could not go on.

        A wrong tag came from upstream; all else went wrong downstream of the site.
        """
        place = path.index(site) if site in path else 0
        first = place - 1 if reason is Reason.TAMPERED or place == len(path) - 1 else place
        one, other = sorted(path[max(0, first) : max(0, first) + 2])
        self._links[one, other] = now + _PASSED_BY_S[reason]

    def differed(self, now: float, paths: Iterable[tuple[QksId, ...]]) -> frozenset[QksId]:
        """A block that came over these paths was another one when it arrived; return the repeaters that may have done
        that, which are passed by from now on.
        """
        repeaters = frozenset(site for path in paths for site in path[1:-1])
        for site in repeaters:
            self._sites[site] = now + BLAMED_S
        return repeaters

    def sites(self, now: float) -> frozenset[QksId]:
        """Return the sites that no path may lead through now."""
        self._sites = {site: until for site, until in self._sites.items() if until > now}
        return frozenset(self._sites)

    def links(self, now: float) -> frozenset[Link]:
        """Return the links that no path may use now."""
        self._links = {link: until for link, until in self._links.items() if until > now}
        return frozenset(self._links)
