"""The routing module's core (docs/reference/routing-protocol.md): one file for each noun of the protocol.

    chapter            file                            what to touch for a change
    ─────────────────  ──────────────────────────────  ────────────────────────────────────────────────────────────────
    2 frames, shapes   wire/routing.py                 a message: a class there, `Router._received`, section 2
    3 LSAs             wire/lsa.py, homes.py           a type of LSA: `LsaType`, members and checks in `decode_body`;
                                                       `Origination._wanted` says it, `Router._says_else` uses it
    4 adjacency        adjacency.py                    a phase or step: the table `_AFTER`, and the essay above it
    5 exchange         exchange.py, request_list.py
    6 flooding         flooding.py, retransmission.py  a reason to drop: `events.Reason`, `admission`, section 6.2
    7 life of an LSA   origination.py, parts.py,       when something is told: `Hold`; what of the site is told:
                       hold.py, database.py            `Origination.set_...`, with an event of its own
    8 cost             cost.py, links.py               the cost: `CostWeights.exact` (equation 2); what is told of
                                                       a link besides: `LinkState`, `SiteLinks.told`, `Links._edge`
    9 paths            route_calculation.py, table.py, a constraint on paths: a method of `model.network.Graph` that
                       paths.py, disjoint.py           leaves out what must not be used (as `with_key`, `without`)
    10 limits          admission.py, buckets.py, and   a limit: where it is counted, and section 10
                       where things are kept
    12 tags            tagging.py, link_tags.py,       what is tagged: `Tagging.flush` and `Router._received`; how
                       tag_key.py                      much key is drawn: `tag_key`; what settings mean: `link_tags`

`router` dispatches events to these, `shared` is what they share, `neighbour` gathers what leaves.
"""

from qss.core.routing.cost import CostWeights
from qss.core.routing.disjoint import disjoint_paths
from qss.core.routing.link_tags import TagSetting
from qss.core.routing.origination import Origin
from qss.core.routing.paths import equal_paths, shortest_paths
from qss.core.routing.router import Router
from qss.core.routing.shared import RouterSettings
from qss.core.routing.table import Table

__all__ = [
    "CostWeights",
    "Origin",
    "Router",
    "RouterSettings",
    "Table",
    "TagSetting",
    "disjoint_paths",
    "equal_paths",
    "shortest_paths",
]
