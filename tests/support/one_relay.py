"""One relay's core, whose neighbours and shell are the test: as source, as repeater or as destination."""

from __future__ import annotations

from qss.core.relay import Relay, RelaySettings
from qss.core.relay import events as ev
from qss.model.identifiers import QksId, TransferId
from qss.wire import relay as wire

S, R, D, X = (QksId(name) for name in "SRDX")
"""A path's source, repeater and destination; and a neighbour of the repeater's that has no part in it."""

LENGTH = 1072
OTHERS = {S: {R}, R: {S, D, X}, D: {R}}


def begin(*path: str, number: int = 0, urgent: bool = False, **other: object) -> wire.Begin:
    """Return the Begin of transfer `number`, from S to D by way of R if no path is given."""
    members = {"length": LENGTH, "stream": bytes(16), "block": 0, "share": 0, "shares": 1, "hop": "one-time-pad"}
    return wire.Begin(number.to_bytes(16), path or (S, R, D), policy="{}", urgent=urgent, **(members | other))  # type: ignore[arg-type]


def name_of(message: wire.Begin) -> TransferId:
    return TransferId(message.transfer)


class OneRelay:
    """The core of `here`, with all its neighbours connected."""

    def __init__(self, here: QksId = R, connected: bool = True, **settings: object) -> None:
        self.now = 100.0
        self.core = Relay(here, frozenset(OTHERS[here]), RelaySettings(**settings))  # type: ignore[arg-type]
        self.here = here
        if connected:
            for peer in sorted(OTHERS[here]):
                assert self(ev.Connected(peer)) == ()

    def __call__(self, event: ev.Event) -> ev.Effects:
        return self.core.handle(event, self.now)

    def after(self, seconds: float) -> ev.Effects:
        """Let time pass."""
        self.now += seconds
        return self(ev.Tick())

    def said(self, peer: QksId, message: ev.PlainMessage) -> ev.Effects:
        return self(ev.Received(peer, message))

    def ready(self, peer: QksId, message: wire.Begin) -> ev.Effects:
        """The key of a transfer is ready on the link with this neighbour."""
        return self(ev.KeyReady(peer, name_of(message), self._ours(peer, message)))

    def denied(self, peer: QksId, message: wire.Begin, reason: wire.Reason = wire.Reason.SHORTAGE) -> ev.Effects:
        return self(ev.KeyFailed(peer, name_of(message), self._ours(peer, message), reason))

    def carried(self, peer: QksId, message: wire.Begin) -> ev.Effects:
        return self(ev.CarryCame(peer, name_of(message), message.length))

    def _ours(self, peer: QksId, message: wire.Begin) -> bool:
        path = message.path
        return path.index(peer) > path.index(self.here)

    # --- ways to a phase --------------------------------------------------------------------------------------------

    def gathering(self, message: wire.Begin) -> ev.Effects:
        """Have a transfer begun here."""
        place = message.path.index(self.here)
        if place == 0:
            return self(ev.Start(message))
        return self.said(QksId(message.path[place - 1]), message)

    def passing(self, message: wire.Begin) -> ev.Effects:
        """Have it come to where the shell is to pass it on; return what that took last."""
        self.gathering(message)
        place = message.path.index(self.here)
        effects: ev.Effects = ()
        if place + 1 < len(message.path):
            effects = self.ready(QksId(message.path[place + 1]), message)
        if place:
            self.ready(QksId(message.path[place - 1]), message)
            effects = self.carried(QksId(message.path[place - 1]), message)
        return effects

    def passed(self, message: wire.Begin) -> ev.Effects:
        """Have it passed on, or kept by its destination."""
        self.passing(message)
        return self(ev.Passed(name_of(message)))
