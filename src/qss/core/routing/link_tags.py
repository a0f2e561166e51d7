"""What is agreed with one neighbour on tags, and whether an Update may leave (Routing 12.1, 12.2, 12.7 and 12.8).

    here      there     what holds
    ────────  ────────  ────────────────────────────────────────────────────────────────────────────────────────────────
    off       any       nothing is tagged; if it is required there, that end ends the connection
    offered   off       nothing is tagged
    offered   offered   what there is key for is tagged, the rest leaves without
    offered   required  demanded: nothing comes or leaves without tag
    required  off       the connection is ended
    required  offered   demanded
    required  required  demanded

Held here: the settings of both, the key (`tag_key`), and for how long it was lacking. Not here: messages and what
follows from them (`tagging`). Times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from qss.core.routing.buckets import Bucket
from qss.core.routing.tag_key import NeighboursKey, OwnKey, TagRange
from qss.model.identifiers import StreamId
from qss.model.ranges import Range
from qss.wire.routing import Tags

SENT_BURST, SENT_PER_SECOND = 64, 10.0
"""Updates that are tagged for one neighbour at once, and in a second after that: so much key they cost at most."""


class TagSetting(StrEnum):
    """What the configuration says of one neighbour (Routing 12.1)."""

    OFF = "off"
    OFFERED = "offered"
    REQUIRED = "required"


class TagState(StrEnum):
    """How it stands with a neighbour."""

    NONE = "none"
    """Nothing is agreed on: it is not connected, or does not tag."""
    SHORT = "short"
    """There is no key to tag with, or none that the neighbour would tag with."""
    TAGGED = "tagged"


class Leaving(Enum):
    """How Updates may leave now."""

    PLAIN = auto()
    TAGGED = auto()
    """One of them, tagged."""
    WAITING = auto()
    """None."""


@dataclass(slots=True)
class LinkTags:
    """One neighbour. It outlives connections."""

    setting: TagSetting = TagSetting.OFF
    own: OwnKey = field(default_factory=OwnKey)
    theirs: NeighboursKey = field(default_factory=NeighboursKey)
    said: Tags | None = None
    """What the neighbour has said last on this connection."""
    is_short: bool = False
    """Whether something has waited for key for so long that it was told."""
    _waits_since: float | None = None
    _sending: Bucket = field(default_factory=lambda: Bucket(SENT_BURST, SENT_PER_SECOND))

    def connected(self, now: float) -> None:
        """A new connection: nothing is agreed on."""
        self.said = self._waits_since = None
        self.is_short = False
        self.own.connected(now)

    def take(self, said: Tags, now: float) -> None:
        """The neighbour has said Tags."""
        self.said = said
        self.own.told(said.held, now)

    def own_came(self, stream: StreamId, part: Range, now: float) -> None:
        """What this end drew is here; the neighbour may have told before that it holds it."""
        self.own.came(stream, part, now)
        if self.said is not None:
            self.own.told(self.said.held, now)

    # --- what holds -----------------------------------------------------------------------------------------------

    @property
    def agreed(self) -> bool:
        """Whether the two tag."""
        return self.setting is not TagSetting.OFF and self.said is not None

    @property
    def lacks_consent(self) -> bool:
        """Whether tags are required here, and the neighbour has not said that it tags (Routing 12.2)."""
        return self.setting is TagSetting.REQUIRED and self.said is None

    @property
    def demanded(self) -> bool:
        """Whether nothing may come or leave without."""
        if self.setting is TagSetting.REQUIRED:
            return True
        return self.agreed and self.said is not None and self.said.required

    @property
    def state(self) -> TagState:
        """How it stands."""
        if not self.agreed:
            return TagState.NONE
        return TagState.TAGGED if self.own.left and self.theirs.ranges else TagState.SHORT

    @property
    def is_ready(self) -> bool:
        """Whether what is demanded can be had now, both ways (Routing 12.7)."""
        return not self.demanded or self.state is TagState.TAGGED

    # --- what leaves ----------------------------------------------------------------------------------------------

    def leaving(self, now: float) -> Leaving:
        """Return how Updates may leave now (Routing 12.5, 12.7 and 10)."""
        if self.agreed and self.own.left:
            return Leaving.TAGGED if self._sending.has_room(now) else Leaving.WAITING
        return Leaving.WAITING if self.demanded else Leaving.PLAIN

    def take_piece(self, now: float) -> TagRange:
        """Return where the piece of key lies for the tag of one Update that is to leave: it is used hereby."""
        self._sending.add(now)
        return self.own.take()

    def waited_s(self, now: float, *, for_key: bool) -> float:
        """Return for how long something has been waiting for key, if it does."""
        if not for_key:
            self._waits_since, self.is_short = None, False
            return 0.0
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since
