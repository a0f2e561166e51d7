"""The conversation with the peer over one connection after another: its state, and the greeting on each (KRP 1, 2).

The states are in `phases`. A message that its state does not allow, and a frame of another incarnation, is the peer's
fault: the link asks to be disconnected, and takes in nothing more of this connection.

Not here: what two Hellos come to (`recovery`), and what messages mean once the link is up (`link` passes them on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from qss.core.reservation.events import Disconnect
from qss.core.reservation.phases import LinkPhase, LinkStep, link_after
from qss.core.reservation.recovery import Recovery
from qss.core.reservation.state import LinkState
from qss.model.errors import InvalidIdentifier, RemoteProtocolError
from qss.wire import external as wire

_ALLOWED: dict[LinkPhase, tuple[type, ...]] = {
    LinkPhase.WAITING: (wire.Hello,),
    LinkPhase.GREETING: (wire.Hello,),
    LinkPhase.COMPARING: (wire.Held,),
    LinkPhase.SETTLING: (wire.Held,),
    LinkPhase.UP: (
        wire.Open,
        wire.Mark,
        wire.Close,
        wire.Skip,
        wire.Reserve,
        wire.Reserved,
        wire.Ask,
        wire.Grant,
        wire.Refuse,
        wire.Cover,
        wire.Covered,
        wire.Confirm,
        wire.Gone,
        wire.Void,
        wire.Recall,
        wire.Recalled,
        wire.Draw,
        wire.Drawn,
        wire.Undrawn,
        wire.Want,
    ),
}


class Conversation:
    """What is said on the connection.

    `take` gets the messages of a link that is up, after `came_up` got the Hello that this end has sent.
    """

    def __init__(
        self,
        state: LinkState,
        incarnation: int,
        recovery: Recovery,
        came_up: Callable[[wire.Hello], None],
        take: Callable[[wire.Message], None],
    ) -> None:
        self._state = state
        self._incarnation = incarnation
        self._recovery = recovery
        self._came_up = came_up
        self._take = take
        self.phase = LinkPhase.DOWN
        self.peer_incarnation = 0
        """The peer's incarnation on this connection; 0 before its Hello."""
        self._mine: wire.Hello | None = None
        self._early: wire.Hello | None = None
        self._early_held: wire.Held | None = None
        self._commit_number = 0
        self._greet_by = 0.0
        self._at_fault = False
        """The peer has broken the protocol on this connection."""
        self._heard = False
        """The peer's Hello on this connection was compared with this end's."""
        self._told = (0, b"")
        """The peer's commit number and proof in the frame that came last."""
        self._hello_commit = 0

    # --- begin and end --------------------------------------------------------------------------------------------

    def connected(self, commit_number: int) -> None:
        """A connection stands; this site's store has come to `commit_number`."""
        self.phase = link_after(self.phase, LinkStep.CONNECTED)
        self._commit_number = commit_number
        self._greet_by = self._state.now + self._state.settings.greeting_s
        self._at_fault = self._heard = False
        self._state.epoch += 1
        self.greet_when_settled()

    def disconnected(self) -> None:
        """The connection has ended: what was to be said on it is not said."""
        state = self._state
        self.phase = link_after(self.phase, LinkStep.DISCONNECTED)
        state.up = False
        self._mine = self._early = self._early_held = None
        self.peer_incarnation = 0
        state.to_confirm.clear()
        state.dropped.clear()
        state.gone.clear()

    def fail(self, step: LinkStep, farewell: str) -> None:
        """Say and heed nothing more, whatever comes."""
        connected = self.phase is not LinkPhase.DOWN
        self.phase = link_after(self.phase, step)
        self._state.up = self._state.exchanged = False
        if connected:
            self._state.effect(Disconnect(farewell))

    def end_if_late(self) -> None:
        """End a connection on which the states were not exchanged in time."""
        greeting = self.phase not in (LinkPhase.DOWN, LinkPhase.UP)
        if greeting and not self._at_fault and self._greet_by <= self._state.now:
            self._at_fault = True
            self._state.effect(Disconnect("the states were not exchanged in time"))

    # --- the greeting ---------------------------------------------------------------------------------------------

    def greet_when_settled(self) -> None:
        """Send Hello once none of this end's reservations waits for its first commit (KRP 2.1)."""
        if self.phase is not LinkPhase.WAITING or self._state.undurable:
            return
        self.phase = link_after(self.phase, LinkStep.SETTLED)
        self._mine = self._recovery.greet()
        self._state.send(self._mine)
        if self._early is not None:
            with self._disconnecting_on_fault():
                self._hello(self._early)

    def _hello(self, hello: wire.Hello) -> None:
        if self.phase is LinkPhase.WAITING:
            if self._early is not None:
                raise RemoteProtocolError("a second Hello came")
            self._early = hello
            return
        if self._heard:
            raise RemoteProtocolError("a second Hello came")
        self._heard = True
        assert self._mine is not None
        if self._recovery.in_doubt(self._mine, self._commit_number, hello, self._hello_commit):
            return  # whoever has forgotten something comes again, and says so
        held = self._recovery.compare(self._mine, hello, self._commit_number)
        self.peer_incarnation = hello.incarnation
        self.phase = link_after(self.phase, LinkStep.HELLO)
        # The peer remembers this end's numbers from Held on, so the note that it does comes first (KRP 2.4).
        self._state.when_durable(partial(self._compared, self._state.epoch, held))

    def _compared(self, epoch: int, held: wire.Held) -> None:
        if epoch != self._state.epoch or self.phase is not LinkPhase.COMPARING:
            return
        self.phase = link_after(self.phase, LinkStep.COMPARED)
        self._state.send(held)
        if self._early_held is not None:
            with self._disconnecting_on_fault():
                self._held(self._early_held)

    def _held(self, held: wire.Held) -> None:
        assert self._mine is not None
        if self.phase is LinkPhase.COMPARING:
            if self._early_held is not None:
                raise RemoteProtocolError("a second Held came")
            self._early_held = held
            return
        self._recovery.settle(self._mine, held)
        self.phase = link_after(self.phase, LinkStep.HELD)
        state = self._state
        commit_seen, proof = self._told
        state.put_peer(
            replace(state.peer, incarnation=self.peer_incarnation, commit_seen=commit_seen, commit_proof=proof)
        )
        state.up = state.exchanged = True
        state.trouble = None
        self._came_up(self._mine)

    # --- what comes -----------------------------------------------------------------------------------------------

    def received(self, frame: wire.Frame) -> None:
        """Take a frame's messages in, in order."""
        if self._at_fault:
            return  # the connection is about to end
        with self._disconnecting_on_fault():
            self._check_incarnations(frame)
            if sum(isinstance(message, wire.Recall) for message in frame.messages) > wire.MAX_RECALLS:
                raise RemoteProtocolError(f"a frame has more than {wire.MAX_RECALLS} Recalls")
            self._remember(frame)
            for message in frame.messages:
                self._heed(message)

    @contextmanager
    def _disconnecting_on_fault(self) -> Iterator[None]:
        """Take what the peer does wrong as a reason to end the connection."""
        try:
            yield
        except (RemoteProtocolError, InvalidIdentifier) as error:
            self._at_fault = True
            self._state.effect(Disconnect(str(error)))

    def _heed(self, message: wire.Message) -> None:
        if not isinstance(message, _ALLOWED.get(self.phase, ())):
            raise RemoteProtocolError(f"{type(message).__name__} came while the link was {self.phase}")
        match message:
            case wire.Hello():
                self._hello(message)
            case wire.Held():
                self._held(message)
            case _:
                self._take(message)

    def _remember(self, frame: wire.Frame) -> None:
        """Note how far the peer's store has come; it becomes durable with what is committed next, or soon."""
        self._told = (frame.commit, frame.proof)
        if any(isinstance(message, wire.Hello) for message in frame.messages):
            self._hello_commit = frame.commit
        peer = self._state.peer
        if self._state.up and frame.commit > peer.commit_seen:
            self._state.peer = replace(peer, commit_seen=frame.commit, commit_proof=frame.proof)

    def _check_incarnations(self, frame: wire.Frame) -> None:
        """Refuse what was meant for, or comes from, another incarnation (KRP 1.4)."""
        greeting = [message for message in frame.messages if isinstance(message, wire.Hello)]
        if greeting or (self._early is not None and self.peer_incarnation == 0):
            sender = (greeting[0] if greeting else self._early).incarnation  # type: ignore[union-attr]
        else:
            sender = self.peer_incarnation
        answers = len(frame.messages) > len(greeting)
        if frame.sender != sender or frame.receiver not in ({self._incarnation} if answers else {0, self._incarnation}):
            raise RemoteProtocolError("a frame of another incarnation came, or one before its Hello")
