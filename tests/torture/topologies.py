"""The networks that are tortured: their links, their applications, and who talks to whom.

In `row3` each conversation is between neighbours. In the others most are between sites that share no link, over one to
three repeaters, and in the ring some wish for shares over two paths: so every site is a repeater too, and is killed as
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from qss.cli.demo.network import HOMES, A, B, C, D
from qss.model.identifiers import QksId, SaeId
from support.network import ALICE, BELLA, BOB, CAROL, CHRIS, LINKS
from torture.applications import Conversation

E = QksId("E")
DAVE, ERIN = SaeId("sae:dave"), SaeId("sae:erin")

TWO_PATHS = (("qss_disjoint_paths", 2),)
"""A wish, and no demand: where a link is away there may be one path only."""


@dataclass(frozen=True)
class Topology:
    """One network."""

    links: tuple[tuple[QksId, QksId], ...]
    homes: Mapping[SaeId, QksId]
    conversations: tuple[Conversation, ...]

    @property
    def directions(self) -> tuple[tuple[QksId, QksId], ...]:
        """From which site to which one keys are given."""
        ends = ((self.homes[one.master], self.homes[one.slaves[0]]) for one in self.conversations)
        return tuple(dict.fromkeys(ends))

    @property
    def has_far_sites(self) -> bool:
        """Whether any two sites talk that share no link."""
        return any(ends not in self.links and ends[::-1] not in self.links for ends in self.directions)


_FIVE_HOMES = {ALICE: A, BOB: B, BELLA: B, CAROL: C, CHRIS: C, DAVE: D, ERIN: E}
_LINE = tuple(pairwise((A, B, C, D, E)))

TOPOLOGIES = {
    "row3": Topology(
        LINKS,
        HOMES,
        (
            Conversation(ALICE, (BOB,), BELLA),
            Conversation(ALICE, (BELLA, BOB), CAROL),
            Conversation(BOB, (ALICE,), BELLA),
            Conversation(BELLA, (ALICE,), BOB),
            Conversation(BOB, (CAROL,), CHRIS),
            Conversation(BELLA, (CHRIS, CAROL), BOB),
            Conversation(CAROL, (BOB,), BELLA),
            Conversation(CHRIS, (BOB, BELLA), CAROL),
            Conversation(BOB, (ALICE, CAROL), BELLA),
            Conversation(BELLA, (CHRIS, ALICE, CAROL), BOB),
        ),
    ),
    "line5": Topology(
        _LINE,
        _FIVE_HOMES,
        (
            Conversation(ALICE, (BOB,), BELLA),
            Conversation(DAVE, (ERIN,), ALICE),
            Conversation(ALICE, (CHRIS, CAROL), BOB),
            Conversation(CAROL, (ERIN,), DAVE),
            Conversation(DAVE, (ALICE,), BOB),
            Conversation(BELLA, (ERIN,), CAROL),
            Conversation(ALICE, (ERIN,), DAVE),
            Conversation(ERIN, (ALICE,), BELLA),
        ),
    ),
    "ring5": Topology(
        (*_LINE, (A, E)),
        _FIVE_HOMES,
        (
            Conversation(ALICE, (BOB,), BELLA),
            Conversation(ERIN, (ALICE,), BOB),
            Conversation(ALICE, (CAROL, CHRIS), BOB),
            Conversation(CAROL, (ERIN,), DAVE),
            Conversation(DAVE, (ALICE,), BOB, TWO_PATHS),
            Conversation(BELLA, (DAVE,), CAROL, TWO_PATHS),
            Conversation(BOB, (ERIN,), ALICE),
            Conversation(CAROL, (BELLA,), ERIN, TWO_PATHS),
        ),
    ),
}
