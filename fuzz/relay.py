"""Relay: frames, which are taken or refused, and a site's relay whose neighbours say anything and whose shell is right.

What neighbours say is decoded from the input, if it can be, and else made up of a few names, so that it meets. Whatever
comes, the core raises nothing but `RemoteProtocolError` at Carry, keeps its limits, says only what the other end can
read, ends each range once, and has nothing left when all have fallen silent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

from qss.core.relay import Relay, RelaySettings
from qss.core.relay import events as ev
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import QksId, TransferId
from qss.wire import relay as wire

HERE, NEIGHBOURS = QksId("R"), tuple(QksId(name) for name in "ABC")
_PATHS = ("ARB", "BRA", "RA", "CR", "ARBC", "QARCZ", "CRB", "AR", "RBC", "ABR", "ARA", "RAR", "AB")
_IDS = tuple(bytes([number]) * 16 for number in range(4))
_LIMITS = RelaySettings(max_transfers_of_neighbour=3, max_early_of_neighbour=2)
_STEPS = 60

_Draw = tuple[QksId, TransferId, bool]


def seeds() -> list[bytes]:
    """Return a frame of each message."""
    chance = random.Random(1)
    carry = wire.Carry(_IDS[0], bytes(wire.MIN_CARRIED), bytes(16))
    failed = wire.Failed(_IDS[0], "A", wire.Reason.LATE)
    messages: tuple[wire.Message, ...] = (_begin(chance, _IDS[0]), carry, wire.Arrived(_IDS[0]), failed)
    return [wire.encode([message]) for message in messages]


def one(data: bytes) -> None:
    """Feed `data`, the first byte saying to what. Raises `AssertionError` for what must not be."""
    if not data:
        return
    if data[0] % 2:
        _frame(data[1:])
    else:
        _Site(data).run()


def _frame(data: bytes) -> None:
    try:
        messages = wire.decode(data)
    except RemoteProtocolError:
        return
    assert wire.decode(wire.encode(messages)) == messages, "messages do not survive being sent"
    runs = wire.split(messages)
    assert [message for run in runs for message in run] == list(messages)
    for run in runs:
        assert len(wire.encode(run)) <= wire.MAX_FRAME_BYTES


class _Site:
    """A core, and a shell that keeps to what `core.relay.events` says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._chance = random.Random(data)
        self._relay = Relay(HERE, frozenset(NEIGHBOURS), _LIMITS)
        self._now = 0.0
        self._connected = set[QksId]()
        self._asked = list[_Draw]()
        """Draws of this end that are to be answered."""
        self._ready = set[_Draw]()
        self._passing = list[TransferId]()
        self._started = set[TransferId]()
        """What this site has begun, and is to be answered."""

    def run(self) -> None:
        """Do what the input says, then let all come to its end."""
        for peer in NEIGHBOURS:
            self._connect(peer)
        for peer, message in self._messages():
            self._say(peer, message)
            for _ in range(self._chance.randrange(3)):
                self._happen()
        while self._asked or self._passing:
            self._answer()
        self._pass_time(10.0)
        while self._asked or self._passing:
            self._answer()
        self._pass_time(40.0)
        assert not self._relay.phases, "a transfer is left"
        assert not self._relay.early, "early key is left"
        assert not self._ready, "a range was never ended"
        assert not self._started, "a source was never answered"

    # --- what happens -----------------------------------------------------------------------------------------------

    def _messages(self) -> Iterator[tuple[QksId, wire.Message]]:
        """Yield what the input holds, and made-up messages."""
        with suppress(RemoteProtocolError):
            for message in wire.decode(self._data[1:]):
                yield self._chance.choice(NEIGHBOURS), message
        for _ in range(self._chance.randrange(_STEPS)):
            peer, name = self._chance.choice(NEIGHBOURS), self._name()
            match self._chance.randrange(5):
                case 0 | 1:
                    yield peer, _begin(self._chance, name)
                case 2:
                    length = self._chance.choice((wire.MIN_CARRIED, wire.MIN_CARRIED, wire.MIN_CARRIED + 1))
                    yield peer, wire.Carry(name, bytes(length), bytes(16))
                case 3:
                    yield peer, wire.Arrived(name)
                case _:
                    yield peer, wire.Failed(name, self._chance.choice("ABCRQZ"), self._chance.choice([*wire.Reason]))

    def _name(self) -> bytes:
        """Return a name that was used before, often one of this site's own."""
        own = [each.value for each in sorted(self._started)]
        return self._chance.choice(own if own and self._chance.random() < 0.4 else _IDS)

    def _say(self, peer: QksId, message: wire.Message) -> None:
        if peer not in self._connected:
            self._connect(peer)
        if not isinstance(message, wire.Carry):
            self._feed(ev.Received(peer, message))
            return
        try:
            self._feed(ev.CarryCame(peer, TransferId(message.transfer), len(message.sealed)))
        except RemoteProtocolError:
            self._disconnect(peer)

    def _happen(self) -> None:
        chance = self._chance
        peer, name = chance.choice(NEIGHBOURS), TransferId(self._name())
        match chance.randrange(9):
            case 0 | 1 | 2 | 3:
                self._answer()
            case 4:
                draw = (peer, name, False)
                if draw not in self._ready:
                    self._tell(draw, ready=chance.random() < 0.8)
            case 5 if self._ready:
                peer, name, ours = chance.choice(sorted(self._ready))
                self._feed(ev.KeyFailed(peer, name, ours, chance.choice([*wire.Reason])))
            case 6:
                self._start()
            case 7:
                self._feed(chance.choice((ev.Taken(name), ev.GiveUp(name), ev.Tick())))
            case _:
                self._pass_time(chance.choice((0.1, 1.0, 6.0)))

    def _start(self) -> None:
        begin = _begin(self._chance, self._chance.randbytes(16))
        name = TransferId(begin.transfer)
        if begin.path[0] == HERE:
            self._started.add(name)
            self._feed(ev.Start(begin))

    def _answer(self) -> None:
        """Have the shell answer one of the things that it was asked."""
        if self._passing and (self._chance.random() < 0.5 or not self._asked):
            name = self._passing.pop(self._chance.randrange(len(self._passing)))
            failed = ev.PassFailed(name, wire.Reason.TAMPERED)
            self._feed(ev.Passed(name) if self._chance.random() < 0.7 else failed)
        elif self._asked:
            draw = self._asked.pop(self._chance.randrange(len(self._asked)))
            self._tell(draw, ready=self._chance.random() < 0.8)

    def _tell(self, draw: _Draw, *, ready: bool) -> None:
        peer, name, ours = draw
        if ready:
            self._ready.add(draw)
            self._feed(ev.KeyReady(peer, name, ours))
        else:
            self._feed(ev.KeyFailed(peer, name, ours, wire.Reason.SHORTAGE))

    def _connect(self, peer: QksId) -> None:
        self._connected.add(peer)
        self._feed(ev.Connected(peer))

    def _disconnect(self, peer: QksId) -> None:
        self._connected.remove(peer)
        self._feed(ev.Disconnected(peer))

    def _pass_time(self, seconds: float) -> None:
        self._now += seconds
        self._feed(ev.Tick())

    # --- and what comes of it ---------------------------------------------------------------------------------------

    def _feed(self, event: ev.Event) -> None:
        for effect in self._relay.handle(event, self._now):
            match effect:
                case ev.Send(peer, messages):
                    assert peer in self._connected, "said to nobody"
                    assert wire.decode(wire.encode(messages)) == messages
                case ev.Draw(peer, transfer):
                    assert (peer, transfer, True) not in self._ready, "drawn twice under one name"
                    self._asked.append((peer, transfer, True))
                case ev.EndDraw(peer, transfer, ours):
                    self._ready.remove((peer, transfer, ours))
                case ev.Pass(transfer):
                    self._passing.append(transfer)
                case ev.Arrived(transfer) | ev.Failed(transfer):
                    self._started.remove(transfer)
        assert sum(self._relay.phases.values()) <= 3 * (len(NEIGHBOURS) + 1)
        assert self._relay.early <= 2 * len(NEIGHBOURS)


def _begin(chance: random.Random, name: bytes) -> wire.Begin:
    path = tuple(chance.choice(_PATHS))
    share, shares = chance.choice(((0, 1), (0, 1), (1, 2), (1, 1)))
    hop = chance.choice(("one-time-pad", "one-time-pad", "aes-256-gcm", "none"))
    return wire.Begin(
        name, path, wire.MIN_CARRIED, bytes(16), 0, share, shares, hop, "{}", urgent=chance.random() < 0.5
    )
