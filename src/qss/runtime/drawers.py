"""Who draws on a link: relays, and routing for tags. Each hears of its own ranges, and of no other's (Relay 3.9)."""

from __future__ import annotations

from collections.abc import Callable

from qss.core.reservation import events as ev
from qss.model.identifiers import QksId
from qss.runtime.relay_listener import DrawListener, RelayListener
from qss.wire.external import Purpose


class Drawers:
    """Tells what one link has to say of draws. What is drawn for a purpose that nobody has here is given up."""

    def __init__(
        self,
        peer: QksId,
        relay: RelayListener | None,
        tags: DrawListener | None,
        handle: Callable[[ev.Event], None],
    ) -> None:
        """`handle` takes what is said to the link with `peer`."""
        self._peer = peer
        self._relay = relay
        self._tags = tags
        self._handle = handle

    def tell(self, effect: ev.DrawReady | ev.DrawFailed | ev.Wanted) -> None:
        """Tell whoever it is for."""
        if isinstance(effect, ev.Wanted):
            if self._relay is not None:
                self._relay.wanted(self._peer, effect.pair, effect.policy, effect.length, urgent=effect.urgent)
            return
        drawer = self._tags if effect.purpose is Purpose.TAGS else self._relay
        match effect:
            case ev.DrawReady(draw) if drawer is None:
                self._handle(ev.DrawEnded(draw, used=False))
            case ev.DrawReady(draw, stream, part, own) if drawer is not None:
                drawer.drawn(self._peer, draw, stream, part, own=own)
            case ev.DrawFailed(draw, reason, own) if drawer is not None:
                drawer.undrawn(self._peer, draw, reason, own=own)
            case _:
                pass  # nobody here has drawn it
