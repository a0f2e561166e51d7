"""What a link state database says of ways and homes, of which the published Table 1 is made (Routing 9). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from qss.core.routing.database import Instance
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Graph, Path

HomeJudge = Callable[[SaeId, QksId, bytes | None], bool]
"""Whether an SAE's home counts as told: by the authority's statement (Routing 3.4)."""


@dataclass(frozen=True, slots=True)
class Table:
    """Where every SAE is at home, and the best way there, as one site sees it."""

    here: QksId
    graph: Graph = field(default_factory=Graph)
    paths: Mapping[QksId, Path] = field(default_factory=dict)
    homes: Mapping[SaeId, QksId] = field(default_factory=dict)


def homes_of(instances: Iterable[Instance], counts: HomeJudge) -> dict[SaeId, QksId]:
    """Return the home of each SAE that has one and only one that counts (Routing 3.4)."""
    homes: dict[SaeId, QksId] = {}
    several: set[SaeId] = set()
    for instance in instances:
        origin = QksId(instance.body.source.qks)
        for state in instance.body.saes:
            sae = SaeId(state.sae)
            if counts(sae, origin, state.statement) and homes.setdefault(sae, origin) != origin:
                several.add(sae)
    for sae in several:
        del homes[sae]
    return homes
