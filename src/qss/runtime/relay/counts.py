"""What a site's relay counts since its process began: its own transfers, and what it did for neighbours.

All tables are bounded: neighbours are configured, the ends of own transfers are the sites that this one has streams
with, and of sites at which transfers fail, whose names come from others, `MAX_SITES` are told apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product

from qss.core.relay.events import DropReason
from qss.model.identifiers import QksId
from qss.wire.relay import Reason
from qss.wire.relay_status import ELSEWHERE

MAX_SITES = 256
"""Sites that are told apart where transfers failed; the others count as one."""

ARRIVED = "arrived"
"""Of a transfer: the destination has its content."""

GIVEN_UP = "given-up"
"""Of a transfer: nobody waited for it any more, because its stream has ended."""

OUTCOMES = (ARRIVED, *map(str, Reason), GIVEN_UP)
"""What can become of a transfer of the site's own."""


class RelayCounts:
    """The counts of one relay."""

    def __init__(self, neighbours: Iterable[QksId]) -> None:
        peers = tuple(neighbours)
        self.dropped: Counter[tuple[QksId, DropReason]] = Counter(dict.fromkeys(product(peers, DropReason), 0))
        """What was passed over of neighbours, and why."""
        self.passed_on: Counter[QksId] = Counter(dict.fromkeys(peers, 0))
        """Transfers of others, by the neighbour that they went on to."""
        self.transfers: defaultdict[QksId, Counter[str]] = defaultdict(lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
        """Of this site's own, by the site that they lead to and what became of them."""
        self.failures: Counter[tuple[str, Reason]] = Counter()
        """Of this site's own, by where they failed, as far as neighbours can be believed, and why."""
        self._sites: set[QksId] = set()

    def arrived(self, end: QksId) -> None:
        """A transfer of this site's own has arrived."""
        self.transfers[end][ARRIVED] += 1

    def given_up(self, end: QksId) -> None:
        """Nobody waits for a transfer of this site's own any more."""
        self.transfers[end][GIVEN_UP] += 1

    def failed(self, end: QksId, site: QksId, reason: Reason) -> None:
        """A transfer of this site's own has failed at `site`."""
        self.transfers[end][str(reason)] += 1
        if len(self._sites) < MAX_SITES:
            self._sites.add(site)
        self.failures[site if site in self._sites else ELSEWHERE, reason] += 1
