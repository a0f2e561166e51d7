"""When a routing module that was just started knows the network as well as it can: what it says before is not all.

A module begins with an empty table, and hears of everything within moments. Whoever took that table for the network's
would refuse what is right, and give up key for it. Held here: how long it is waited, and for what. Not here: what is
done meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from qss.core.routing import RouterSettings
from qss.core.routing.adjacency import Phase

GIVEN_UP_S = RouterSettings().dead_s + 6.0
"""A neighbour whose adjacency is not full so long after the start is not waited for.

After the dead time it has noticed that its connection to the module before is gone; then it pauses up to five seconds
before it calls again.
"""


def has_settled(neighbours: Iterable[Phase], since_start_s: float) -> bool:
    """Whether all that neighbours have to tell at the start is here, as far as it can be had.

    `neighbours` are the phases of the adjacencies with all that are configured.
    """
    return since_start_s >= GIVEN_UP_S or all(phase is Phase.FULL for phase in neighbours)
