"""One transfer at one site: what it was begun with, this site's place on its path, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from qss.core.relay.phases import LIVE, KeyPhase, KeyStep, Phase, Step, after, key_after
from qss.model.identifiers import QksId, TransferId
from qss.wire.relay import Begin


@dataclass(slots=True)
class Transfer:
    """`place` counts from the source, which has 0. `deadline` is when it is given up, or content that nobody took."""

    begin: Begin
    place: int
    deadline: float
    phase: Phase = Phase.GATHERING
    carried: bool = False
    """Whether what is to be passed is here."""
    keys: dict[QksId, KeyPhase] = field(default_factory=dict)
    """The key for each hop that this site has a part in, by the neighbour at its other end."""

    def __post_init__(self) -> None:
        self.carried = self.place == 0
        self.keys = {peer: KeyPhase.AWAITED for peer in (self.inward, self.outward) if peer is not None}

    @property
    def id(self) -> TransferId:
        """Its name."""
        return TransferId(self.begin.transfer)

    @property
    def inward(self) -> QksId | None:
        """The neighbour upstream; the source has none."""
        return QksId(self.begin.path[self.place - 1]) if self.place else None

    @property
    def outward(self) -> QksId | None:
        """The neighbour downstream; the destination has none."""
        return QksId(self.begin.path[self.place + 1]) if self.place + 1 < len(self.begin.path) else None

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.phase in LIVE

    @property
    def gathered(self) -> bool:
        """Whether all is here that it takes to pass it on (Relay 4.3 to 4.5)."""
        return self.carried and all(key is KeyPhase.READY for key in self.keys.values())

    def uses(self, peer: QksId, *, ours: bool) -> bool:
        """Whether a range that was drawn with this neighbour, by this end or by that one, is of use."""
        return peer == (self.outward if ours else self.inward) and self.keys[peer] is not KeyPhase.ENDED

    @property
    def settled(self) -> bool:
        """Whether the shell owes no answer: to a draw by this end, which is downstream's, or to `Pass`."""
        drawing = self.outward is not None and self.keys[self.outward] is KeyPhase.AWAITED
        return not drawing and KeyPhase.SPENT not in self.keys.values()

    def take(self, step: Step) -> None:
        """Take a step."""
        self.phase = after(self.phase, step)

    def take_key(self, peer: QksId, step: KeyStep) -> None:
        """Take a step with the key drawn with this neighbour."""
        self.keys[peer] = key_after(self.keys[peer], step)

    def believed(self, peer: QksId, site: str) -> QksId:
        """Return the site at which it failed, by what this neighbour says (Relay 4.8).

        A neighbour can name itself and the sites beyond it; no others can have told it.
        """
        beyond = self.begin.path[: self.place] if peer == self.inward else self.begin.path[self.place + 1 :]
        return QksId(site) if site in beyond else peer
