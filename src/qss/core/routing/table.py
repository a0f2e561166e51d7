"""What a link state database says of ways and homes, of which the published Table 1 is made (Routing 9.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Path


@dataclass(frozen=True, slots=True)
class Table:
    """Where every SAE is at home, and the best way there, as one site sees it."""

    here: QksId
    graph: Graph = field(default_factory=Graph)
    paths: Mapping[QksId, Path] = field(default_factory=dict)
    homes: Mapping[SaeId, QksId] = field(default_factory=dict)
