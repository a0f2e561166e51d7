"""Key streams: frames by which sites meet, frames of their device, and a site's register under whatever others offer.

What others offer is decoded from the input, if it can be, and else made up of a few names, so that it meets. Whatever
comes, a stream is found by an offer of its own two SAEs from their site alone, once, and all tables keep their limits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_register import MAX_STREAMS, MAX_WAITING, StreamRegister
from qss.core.module.calls import Announcement
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.wire import stream_device, stream_meeting
from qss.wire.stream_meeting import Found, Offer, Refuse

_SITES = tuple(QksId(name) for name in "BCD")
_HERE, _THERE = (tuple(SaeId(f"sae:{place}{number}") for number in range(2)) for place in ("a", "c"))
_NAMES = tuple(bytes([number]) * 16 for number in range(1, 5))
_STEPS = 60


def seeds() -> list[bytes]:
    """Return a frame of each message."""
    meeting: tuple[stream_meeting.Message, ...] = (
        _offer(random.Random(1)),
        stream_meeting.Wait(),
        Found(64, initiator_asks=True),
        stream_meeting.Join(),
        Refuse(stream_meeting.Reason.LIMIT),
    )
    device: tuple[stream_device.Message, ...] = (stream_device.Keys(1, bytes(16), 2), stream_device.Want(976))
    return [*map(stream_meeting.encode, meeting), *map(stream_device.encode, device)]


def one(data: bytes) -> None:
    """Feed `data`, the first byte saying to what. Raises `AssertionError` for what must not be."""
    if not data:
        return
    match data[0] % 3:
        case 0:
            _meeting(data[1:])
        case 1:
            _device(data[1:])
        case _:
            _Site(data).run()


def _meeting(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        message = stream_meeting.decode(data)
        assert stream_meeting.decode(stream_meeting.encode(message)) == message, "it does not survive being sent"


def _device(data: bytes) -> None:
    for kind in (stream_device.Keys, stream_device.Want):
        with suppress(RemoteProtocolError):
            message = stream_device.decode(data, kind)
            assert stream_device.decode(stream_device.encode(message), kind) == message, "it does not survive"


class _Site:
    """A register, and a shell that keeps to what it says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._chance = random.Random(data)
        self._register = StreamRegister()
        self._taken: dict[StreamId, StreamPlan] = {}
        self._open: dict[StreamId, StreamPlan] = {}
        self._met: set[StreamId] = set()
        self._offers: list[tuple[QksId, Offer]] = []

    def run(self) -> None:
        """Do what the input says, then end all of it."""
        for offer in self._made():
            self._offered(self._chance.choice(_SITES), offer)
            for _ in range(self._chance.randrange(4)):
                self._happen()
            assert len(self._register) == len(self._taken) + len(self._open) <= MAX_STREAMS
            assert self._register.waiting <= min(MAX_WAITING, len(self._offers))
        for peer, offer in self._offers:
            self._register.withdraw(peer, offer)
        for stream in (*self._taken, *self._open):
            self._register.close(stream)
        assert (len(self._register), self._register.waiting) == (0, 0), "something is left"

    def _made(self) -> Iterator[Offer]:
        with suppress(RemoteProtocolError):
            yield stream_meeting.expected(self._data[1:], Offer)
        for _ in range(self._chance.randrange(_STEPS)):
            yield _offer(self._chance)

    def _offered(self, peer: QksId, offer: Offer) -> None:
        self._offers.append((peer, offer))
        self._judge(peer, offer, self._register.offered(peer, offer))

    def _judge(self, peer: QksId, offer: Offer, answer: object) -> None:
        if not isinstance(answer, Found):
            return
        stream = StreamId(offer.stream)
        plan = self._open[stream]
        assert (plan.peer, plan.other, plan.sae) == (peer, offer.sae, offer.other), "others have met"
        assert stream not in self._met, "a stream has met twice"
        masters = (plan.may_ask and offer.may_be_asked, plan.may_be_asked and offer.may_ask)
        assert masters[0] if answer.initiator_asks else masters[1], "a master asks that may not"
        if self._chance.random() < 0.5:
            self._register.meet(stream)
            self._met.add(stream)

    def _happen(self) -> None:
        chance = self._chance
        match chance.randrange(5):
            case 0:
                self._take()
            case 1 if self._taken:
                stream = chance.choice([*self._taken])
                self._announced(stream)
                self._open[stream] = self._taken.pop(stream)
                self._register.begin(stream, chance.choice((32, 64)))
            case 2 if self._offers:
                peer, offer = chance.choice(self._offers)
                self._judge(peer, offer, self._register.answer(peer, offer))
            case 3 if self._offers:
                self._register.withdraw(*self._offers[chance.randrange(len(self._offers))])
            case _:
                stream = StreamId(chance.choice(_NAMES))
                self._register.close(stream)
                self._taken.pop(stream, None)
                self._open.pop(stream, None)

    def _take(self) -> None:
        chance, stream = self._chance, StreamId(self._chance.choice(_NAMES))
        may_ask, may_be_asked = chance.choice(((True, True), (True, False), (False, True)))
        plan = StreamPlan(chance.choice(_HERE), chance.choice(_THERE), chance.choice(_SITES), may_ask, may_be_asked)
        refused = self._register.take(stream, plan)
        assert refused is not None or not (stream in self._taken or stream in self._open), "a name was taken twice"
        if refused is None:
            self._taken[stream] = plan

    def _announced(self, stream: StreamId) -> None:
        announced, plan = self._register.announced(stream), self._taken[stream]
        sizes = {
            offer.chunk_bytes
            for peer, offer in self._offers
            if (peer, offer.stream, offer.sae, offer.other) == (plan.peer, stream.value, plan.other, plan.sae)
        }
        assert announced is None or announced in {Announcement(stream, size) for size in sizes}, "others announced it"


def _offer(chance: random.Random) -> Offer:
    sae, other = chance.choice(_THERE), chance.choice(_HERE)
    rights = chance.choice(((True, True), (True, False), (False, True), (False, False)))
    return Offer(chance.choice(_NAMES), sae, other, chance.choice((32, 64)), *rights)
