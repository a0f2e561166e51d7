"""How Updates are tagged with key of the link, and tags are demanded (Routing 12).

Held here: the steps. Not here: which key there is (`tag_key`), what is agreed with a neighbour (`link_tags`), nor
cryptography: a `Tagger` comes in, which alone has the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from qss.core.routing import events as ev
from qss.core.routing.link_tags import Leaving, LinkTags, TagSetting
from qss.core.routing.neighbour import Neighbour
from qss.core.routing.shared import Shared
from qss.core.routing.tag_key import TagRange, is_range
from qss.model.errors import LocalProtocolError, RemoteProtocolError, Unauthorised
from qss.model.identifiers import QksId
from qss.wire import routing as wire

SHORT_S = 5.0
"""After so long without key it is told (Routing 12.7)."""

WAIT_S = 10.0
"""After so long a full adjacency is ended (Routing 12.7)."""


class Tagger(Protocol):
    """Makes and checks tags with key that was told of by `TagKeyCame`, under the name that its range has there."""

    def tag(self, peer: QksId, key: TagRange, text: bytes) -> bytes:
        """Return the tag of `text` under the piece at `key.place` of a range that this end drew."""
        ...

    def check(self, peer: QksId, key: TagRange, place: int, text: bytes, tag: bytes) -> None:
        """Raise `Unauthorised` unless this is its tag, under a piece of a range that the neighbour drew."""
        ...


class NoTagger:
    """For a module that tags with nobody."""

    def tag(self, peer: QksId, key: TagRange, text: bytes) -> bytes:
        """Refuse."""
        raise LocalProtocolError("a module that tags with nobody was to make a tag")

    def check(self, peer: QksId, key: TagRange, place: int, text: bytes, tag: bytes) -> None:
        """Refuse."""
        raise LocalProtocolError("a module that tags with nobody was to check a tag")


class Direction(StrEnum):
    """Whence an Update came."""

    SENT = "sent"
    RECEIVED = "received"


class Tagging:
    """Chapter 12, with all neighbours."""

    def __init__(
        self, shared: Shared, tagger: Tagger, settings: Mapping[QksId, TagSetting], ended: Callable[[], None]
    ) -> None:
        """Begin. Neighbours that are not in `settings` are off; `ended` is called when an adjacency is to end."""
        self._shared = shared
        self._tagger = tagger
        self._ended = ended
        self._links = {peer: LinkTags(setting) for peer, setting in settings.items()}
        self.updates: Counter[tuple[QksId, Direction, bool]] = Counter()
        """Updates with each neighbour, and whether they had a tag."""

    def of(self, peer: QksId) -> LinkTags:
        """Return what is agreed with a neighbour."""
        return self._links.setdefault(peer, LinkTags())

    # --- Tags (Routing 12.1, 12.2, 12.4) --------------------------------------------------------------------------

    def greet(self, neighbour: Neighbour) -> None:
        """A connection stands: say Tags, before anything else."""
        neighbour.tags.connected(self._shared.now)
        self._say(neighbour)

    def _say(self, neighbour: Neighbour) -> None:
        tags = neighbour.tags
        if tags.setting is not TagSetting.OFF:
            neighbour.messages.append(wire.Tags(tags.setting is TagSetting.REQUIRED, tags.theirs.told))

    def take(self, peer: QksId, neighbour: Neighbour, said: wire.Tags) -> None:
        """The neighbour has said Tags; where tags are off nothing follows."""
        neighbour.tags.take(said, self._shared.now)
        self._tell_forgotten(peer, neighbour.tags)

    def admits(self, peer: QksId, neighbour: Neighbour) -> bool:
        """Whether a Hello may count; if tags are required and were not agreed on, the connection ends (12.2)."""
        if neighbour.tags.lacks_consent:
            self._end(
                peer,
                neighbour,
                "it does not tag, and tags are required here: set link_tags to offered or required at both ends",
            )
            return False
        return True

    # --- key (Routing 12.3, 12.4) ---------------------------------------------------------------------------------

    def key_came(self, event: ev.TagKeyCame) -> None:
        """A range is here: the neighbour is told of what it drew."""
        tags, now = self.of(event.peer), self._shared.now
        if tags.setting is TagSetting.OFF or not is_range(event.part):
            self._shared.effects.append(ev.ForgetTagKey(event.peer, event.stream, event.part, event.own))
        elif event.own:
            tags.own_came(event.stream, event.part, now)
        else:
            tags.theirs.came(event.stream, event.part, now)
            neighbour = self._shared.neighbours.get(event.peer)
            if neighbour is not None:
                self._say(neighbour)
        self._tell_forgotten(event.peer, tags)

    def no_key(self, peer: QksId) -> None:
        """What was to be drawn is not had."""
        self.of(peer).own.failed(self._shared.now)

    def _tell_forgotten(self, peer: QksId, tags: LinkTags) -> None:
        for ranges, own in ((tags.own, True), (tags.theirs, False)):
            self._shared.effects += (ev.ForgetTagKey(peer, each.stream, each.part, own) for each in ranges.forgotten)
            ranges.forgotten.clear()

    # --- what comes (Routing 12.6) --------------------------------------------------------------------------------

    def opened(self, peer: QksId, neighbour: Neighbour, message: wire.Tagged) -> wire.Update | None:
        """Return what a neighbour has tagged; None: the tag is not good, and the connection ends."""
        tags = neighbour.tags
        if not tags.agreed:
            raise RemoteProtocolError("it tags, which was not agreed on")
        key = tags.theirs.find(message.stream, message.place)
        if key is None:
            self._end(peer, neighbour, "it tagged with key that is not held here, or was used")
            return None
        here = self._shared.here
        text = wire.tagged_text(peer, here, message.stream, message.place, message.update)
        try:
            self._tagger.check(peer, key, message.place, text, message.tag)
        except Unauthorised as error:
            self._end(peer, neighbour, f"what came in its name is not its own, or was changed: {error}")
            return None
        # What is forgotten is told later: what the Update breaks may tell nothing.
        tags.theirs.accept(key, message.place)
        self.updates[peer, Direction.RECEIVED, True] += 1
        return wire.decode_update(message.update)

    def plain(self, peer: QksId, neighbour: Neighbour, update: wire.Update) -> wire.Update | None:
        """Return what came without tag, if that may be; else the connection ends."""
        if neighbour.tags.demanded:
            self._end(peer, neighbour, "an Update came without a tag, and tags are demanded")
            return None
        self.updates[peer, Direction.RECEIVED, False] += 1
        return update

    def _end(self, peer: QksId, neighbour: Neighbour, why: str) -> None:
        self._shared.drop(peer, ev.Reason.TAG, None)
        self._part(peer, neighbour, why)

    def _part(self, peer: QksId, neighbour: Neighbour, why: str) -> None:
        neighbour.adjacency.end_untagged()
        self._shared.effects.append(ev.Disconnect(peer, why))
        self._ended()

    # --- what leaves (Routing 12.5, 12.7) -------------------------------------------------------------------------

    def flush(self, peer: QksId, neighbour: Neighbour) -> tuple[wire.Message, ...]:
        """Return what may be sent to a neighbour now, tagged where they tag."""
        shared = self._shared
        leaving = neighbour.tags.leaving(shared.now)
        messages = []
        for message in neighbour.flush(shared.here, shared.now, leaving):
            is_tagged = isinstance(message, wire.Update) and leaving is Leaving.TAGGED
            if isinstance(message, wire.Update):
                self.updates[peer, Direction.SENT, is_tagged] += 1
            messages.append(self._tagged(peer, neighbour.tags, message) if is_tagged else message)
        return tuple(messages)

    def _tagged(self, peer: QksId, tags: LinkTags, message: wire.Message) -> wire.Tagged:
        assert isinstance(message, wire.Update)
        key, update = tags.take_piece(self._shared.now), wire.encode_update(message)
        text = wire.tagged_text(self._shared.here, peer, key.stream.value, key.place, update)
        tagged = wire.Tagged(key.stream.value, key.place, update, self._tagger.tag(peer, key, text))
        self._tell_forgotten(peer, tags)
        return tagged

    def tend(self, peer: QksId, neighbour: Neighbour) -> None:
        """Draw key when it is time; end what has waited for it for too long."""
        tags, shared = neighbour.tags, self._shared
        if not tags.agreed:
            return
        if tags.own.wants(shared.now):
            shared.effects.append(ev.DrawTagKey(peer))
        self._tell_forgotten(peer, tags)
        full = neighbour.adjacency.full
        waiting = (bool(neighbour.updates) and not tags.own.left) if full else not tags.is_ready
        waited_s = tags.waited_s(shared.now, for_key=tags.demanded and waiting)
        if waited_s >= SHORT_S and not tags.is_short:
            tags.is_short = True
            shared.note(peer, ev.Happening.TAG_KEY_SHORT)
        if full and waited_s >= WAIT_S:
            self._part(peer, neighbour, f"there was no key to tag with for {WAIT_S:g} s, and tags are demanded")
