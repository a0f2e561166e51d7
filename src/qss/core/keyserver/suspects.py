"""Sites and links that paths keep clear of for a while, because something went wrong there.

A link whose key ran short, or whose end could not be reached, is passed by for seconds: that is nobody's fault, and
soon over. If it is not, that time doubles up to `LONGEST_S`; and a link on which nothing came in time is passed by for
longer at once. For a transfer may take five seconds to fail: two paths that never work would be tried in turn, and a
third one never. A repeater that may have changed a block is passed by for minutes (Relay 6.5): all repeaters of the
block's paths are, for only the comparison of the two ends told that it differs.

Times are in seconds of a clock that never steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from qss.model.identifiers import QksId
from qss.wire.relay import Reason

BLAMED_S = 600.0
"""How long a repeater is passed by whose block differed."""

LONGEST_S = 8.0
"""How long a link is passed by that fails each time, for what is soon over as a rule."""

FORGOTTEN_S = 30.0
"""After so long a link that has failed is one as any other."""

_PASSED_BY_S = {
    Reason.SHORTAGE: 1.0,
    Reason.LIMIT: 1.0,
    Reason.REFUSED: 10.0,
    Reason.UNREACHABLE: 2.0,
    Reason.LATE: 30.0,
    Reason.TAMPERED: 30.0,
    Reason.STOPPED: 5.0,
}

Link = tuple[QksId, QksId]
"""Its two ends, the lower ID first."""


@dataclass(frozen=True, slots=True)
class _Failed:
    until: float
    times: int
    """How often in a row, as far as that matters."""


_MOST_TIMES = 10
_NEVER = _Failed(0.0, 0)


class Suspects:
    """What one site passes by."""

    def __init__(self, here: QksId) -> None:
        self._here = here
        self._sites: dict[QksId, float] = {}
        self._links: dict[Link, _Failed] = {}

    def failed(self, now: float, path: tuple[QksId, ...], site: QksId, reason: Reason) -> None:
        """A transfer on this path failed at `site`: pass the link by on which it could not go on.

        A wrong tag came from upstream; all else went wrong downstream of the site. If it is the source that has waited
        in vain, nobody has said where it went wrong: it may have been on any link.
        """
        self._forget(now)
        if reason is Reason.LATE and site == path[0]:
            for ends in pairwise(path):
                self._pass_by(now, ends, reason)
            return
        place = path.index(site) if site in path else 0
        first = place - 1 if reason is Reason.TAMPERED or place == len(path) - 1 else place
        self._pass_by(now, path[max(0, first) : max(0, first) + 2], reason)

    def _pass_by(self, now: float, ends: tuple[QksId, ...], reason: Reason) -> None:
        one, other = sorted(ends)
        before = self._links.get((one, other), _NEVER)
        times = min(before.times + (before.until <= now), _MOST_TIMES)  # what fails at the same time has failed once
        least = _PASSED_BY_S[reason]
        until = now + min(least * 2 ** (times - 1), max(least, LONGEST_S))
        self._links[one, other] = _Failed(max(until, before.until), times)

    def worked(self, path: tuple[QksId, ...]) -> None:
        """A transfer has arrived over this path: nothing is wrong with its links."""
        for ends in pairwise(path):
            one, other = sorted(ends)
            self._links.pop((one, other), None)

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
        return frozenset(link for link, failed in self._links.items() if failed.until > now)

    def _forget(self, now: float) -> None:
        self._links = {link: failed for link, failed in self._links.items() if failed.until + FORGOTTEN_S > now}
