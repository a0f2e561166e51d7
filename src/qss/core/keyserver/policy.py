"""Which SAEs may share keys. Nobody may, unless a rule says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qss.model.identifiers import SaeId

ANYONE = "*"
"""In a rule, in place of an SAE ID: every SAE. Never a default."""


@dataclass(frozen=True, slots=True)
class PairRule:
    """This master may ask for keys with any of these slaves."""

    master: str
    slaves: frozenset[str]


class PairPolicy:
    """The rules of one site. A pair needs one rule that names both."""

    def __init__(self, rules: Iterable[PairRule]) -> None:
        self._slaves: dict[str, frozenset[str]] = {}
        for rule in rules:
            self._slaves[rule.master] = self._slaves.get(rule.master, frozenset()) | rule.slaves

    def allows(self, master: SaeId, slave: SaeId) -> bool:
        """Whether `master` may share keys with `slave`. An SAE never does with itself."""
        named = self._slaves.get(master, frozenset()) | self._slaves.get(ANYONE, frozenset())
        return master != slave and (slave in named or ANYONE in named)
