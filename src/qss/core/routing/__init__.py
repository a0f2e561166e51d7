"""The routing module's core (docs/reference/routing-protocol.md): one file for each noun of the protocol."""

from qss.core.routing.cost import CostWeights
from qss.core.routing.disjoint import disjoint_paths
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
    "disjoint_paths",
    "equal_paths",
    "shortest_paths",
]
