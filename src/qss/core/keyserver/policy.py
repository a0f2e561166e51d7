"""Which SAEs may share keys, what is demanded of the way that these come, and what priority their requests can have.

Nobody may share any, unless a rule says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qss.core.keyserver.demands import NOTHING, Demand, strictest
from qss.model.identifiers import SaeId
from qss.model.keys import Priority

ANYONE = "*"
"""In a rule, in place of an SAE ID: every SAE. Never a default."""


@dataclass(frozen=True, slots=True)
class PairRule:
    """This master may ask for keys with any of these slaves, if they come as is demanded."""

    master: str
    slaves: frozenset[str]
    demand: Demand = NOTHING
    priority: Priority | None = None
    """The highest that their requests can have; None: it says nothing about that."""

    def names(self, slave: SaeId) -> bool:
        """Whether this is one of the slaves."""
        return slave in self.slaves or ANYONE in self.slaves


class PairPolicy:
    """The rules of one site. A pair needs one rule that names both; what any rule that names both demands, holds."""

    def __init__(self, rules: Iterable[PairRule]) -> None:
        self._slaves: dict[str, frozenset[str]] = {}
        self._saying_more: dict[str, list[PairRule]] = {}
        """Rules that say more than that there is a right."""
        for rule in rules:
            self._slaves[rule.master] = self._slaves.get(rule.master, frozenset()) | rule.slaves
            if rule.demand != NOTHING or rule.priority is not None:
                self._saying_more.setdefault(rule.master, []).append(rule)

    def allows(self, master: SaeId, slave: SaeId) -> bool:
        """Whether `master` may share keys with `slave`. An SAE never does with itself."""
        named = self._slaves.get(master, frozenset()) | self._slaves.get(ANYONE, frozenset())
        return master != slave and (slave in named or ANYONE in named)

    def demand(self, master: SaeId, slave: SaeId) -> Demand:
        """Return the strictest of what the rules that name both demand, member by member."""
        return strictest(*(rule.demand for rule in self._naming(master, slave)))

    def priority(self, master: SaeId, slave: SaeId) -> Priority:
        """Return the highest priority that a rule which names both gives; normal if none says anything."""
        given = (rule.priority for rule in self._naming(master, slave) if rule.priority is not None)
        return max(given, key=lambda priority: priority.rank, default=Priority.NORMAL)

    def _naming(self, master: SaeId, slave: SaeId) -> Iterator[PairRule]:
        rules = (*self._saying_more.get(master, ()), *self._saying_more.get(ANYONE, ()))
        return (rule for rule in rules if rule.names(slave))
