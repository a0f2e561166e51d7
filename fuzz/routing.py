"""Routing: frames and bodies, which are taken or refused, and a whole routing module that a neighbour tells anything.

The module is brought to some phase, and then gets what the input says: messages that are decoded from it, if it can be,
and else made up of a few names, so that they meet. Whatever comes, it raises nothing but `RemoteProtocolError`, keeps
its limits, uses no piece of key for two tags, and says only what the other end can read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from itertools import count
from operator import xor

from qss.core.routing import Origin, Router, RouterSettings
from qss.core.routing import events as ev
from qss.core.routing.link_tags import TagSetting
from qss.core.routing.request_list import MAX_ASKED, MAX_TOLD
from qss.core.routing.tag_key import PIECE_BYTES, RANGE_BYTES, TagRange
from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.model.network import Load
from qss.model.ranges import Range
from qss.simulation.routing import state_home
from qss.wire import routing as wire

HERE, LIAR, HONEST = QksId("A"), QksId("B"), QksId("C")
_NAMES = ("A", "B", "C", "D", "E")
_NUMBERS = (1, 2, 3, wire.MAX_SEQUENCE - 1, wire.MAX_SEQUENCE)
_GENERATIONS = (0, 1, wire.MAX_GENERATION - 1, wire.MAX_GENERATION)
_SIGNED = wire.Authentication("simulated", (), b"signed")
_STEPS = 30
_STREAM = StreamId(b"the link's key  ")
_TAG = b"a tag as it is.."
_SETTINGS = tuple(TagSetting)


def seeds() -> list[bytes]:
    """Return a frame of each message, and bodies of both types."""
    chance = random.Random(1)
    bodies = [_body(chance, name) for name in _NAMES for _ in range(2)]
    header = _header(chance)
    messages: tuple[wire.Message, ...] = (
        wire.Hello(heard=True, full=False, dead_ms=4000, digest=bytes(8)),
        wire.Summary((header,), more=True),
        wire.Request((header.key,)),
        wire.Update(tuple(wire.Carried(LIAR, 5, wire.encode_body(body), _SIGNED) for body in bodies)),
        wire.Ack((header,)),
        wire.Tags(required=True, held=(wire.HeldRange(_STREAM.value, 0, RANGE_BYTES),)),
        wire.Tagged(_STREAM.value, 0, wire.encode_update(wire.Update(())), _TAG),
    )
    return [*(wire.encode([message]) for message in messages), *map(wire.encode_body, bodies)]


def one(data: bytes) -> None:
    """Feed `data`, the first byte saying to what. Raises `AssertionError` for what must not be."""
    if not data:
        return
    match data[0] % 4:
        case 0:
            _frame(data[1:])
        case 1:
            _body_of(data[1:])
        case _:
            _module(data)


def _frame(data: bytes) -> None:
    try:
        messages = wire.decode(data)
    except RemoteProtocolError:
        return
    assert wire.decode(wire.encode(messages)) == messages, "messages do not survive being sent"
    assert [message for frame in wire.frames(messages) for message in wire.decode(frame)] == list(messages)


def _body_of(data: bytes) -> None:
    try:
        body = wire.decode_body(data)
    except RemoteProtocolError:
        return
    if not isinstance(body, wire.Body):
        assert wire.header_of(data, body).key == body.key
        return
    again = wire.encode_body(body)
    assert wire.decode_body(again) == body, "a body does not survive being signed"
    assert wire.header_of(again, body).version >= (body.generation, body.sequence, bytes(8))


# --- a whole module -------------------------------------------------------------------------------------------------


def _module(data: bytes) -> None:
    chance = random.Random(data)
    router = _router(_SETTINGS[data[-1] % len(_SETTINGS)])
    now = 0.0
    for event in _way_to_a_phase(data[0] >> 2):
        _checked(router, event, now)
    connected, starts = True, count()
    for message in _messages(data, chance):
        if not connected:
            _checked(router, ev.Connected(LIAR), now)
        connected = _checked(router, ev.Received(LIAR, message), now)
        if chance.random() < 0.3:
            now += chance.choice((0.0, 0.05, 1.0, 5.0, 100.0))
            _checked(router, ev.Tick(), now)
        if chance.random() < 0.1:
            start = RANGE_BYTES * next(starts)
            own = chance.random() < 0.5
            _checked(router, ev.TagKeyCame(LIAR, _STREAM, Range(start, start + RANGE_BYTES), own), now)
        if chance.random() < 0.05:
            _checked(router, ev.LinksUp({HONEST: Load(chance.randrange(1 << 20), 1 << 20)}), now)


class _Tagger:
    """Takes one tag for good, whatever it is of, and remembers which pieces of key were used."""

    def __init__(self) -> None:
        self._used = set[tuple[bool, int]]()

    def tag(self, _: QksId, key: TagRange, __: bytes) -> bytes:
        self._use((True, key.place))
        return _TAG

    def check(self, _: QksId, key: TagRange, place: int, __: bytes, tag: bytes) -> None:
        assert Range(place, place + PIECE_BYTES) in key.part, "a piece of key that is none"
        if tag != _TAG:
            raise Unauthorised("another tag")
        self._use((False, place))

    def _use(self, piece: tuple[bool, int]) -> None:
        assert piece not in self._used, "a piece of key was used twice"
        self._used.add(piece)


def _router(setting: TagSetting) -> Router:
    def verify(_: QksId, __: bytes, said: wire.Authentication) -> None:
        if said != _SIGNED:
            raise Unauthorised("not signed")

    origin = Origin(wire.Source(HERE, "h", 1), wire.Endpoint("h", 2))
    settings = RouterSettings()
    return Router(origin, lambda _: _SIGNED, verify, lambda *_: True, settings, 0, _Tagger(), {LIAR: setting})


def _way_to_a_phase(chosen: int) -> Iterator[ev.Event]:
    """Yield what brings the module from nothing to one of the phases of an adjacency, FULL included."""
    hello = wire.Hello(heard=True, full=True, dead_ms=600_000, digest=bytes(8))
    told = wire.Header(wire.Key("D", wire.LsaType.SAES, 0), 0, 1, bytes(8))
    yield ev.SaesAtHome({SaeId("sae:a"): None})
    yield ev.LinksUp({LIAR: Load(1, 2), HONEST: Load(1, 2)})
    yield ev.Connected(HONEST)
    yield ev.Received(HONEST, hello)
    yield ev.Received(HONEST, wire.Summary((), more=False))
    yield ev.Connected(LIAR)
    steps: tuple[wire.Message, ...] = (hello, wire.Summary((told,) if chosen & 1 else (), more=False))
    for message in steps[: chosen % 3]:
        yield ev.Received(LIAR, message)


def _checked(router: Router, event: ev.Event, now: float) -> bool:
    """Feed the module, and look at it; return whether the liar is still connected."""
    try:
        effects = router.handle(event, now, 1e9)
    except RemoteProtocolError:
        assert isinstance(event, ev.Received), "the neighbour broke the protocol, and no message had come"
        router.handle(ev.Broke(event.peer), now, 1e9)
        router.handle(ev.Disconnected(event.peer), now, 1e9)
        return False
    for effect in effects:
        if isinstance(effect, ev.Send):
            for frame in wire.frames(effect.messages):
                wire.decode(frame)
            for message in effect.messages:
                for carried in message.carried if isinstance(message, wire.Update) else ():
                    wire.decode_body(carried.body)
    _look_at(router)
    return True


def _look_at(router: Router) -> None:
    database = router.database
    kept = vars(database)
    digest = reduce(xor, (wire.header_digest(each.header) for each in database), 0)
    assert database.digest == digest.to_bytes(8), "the digest is not that of the database"
    assert len(kept["_ends"]) <= 2 * len(database) + 64, "ends are kept of what is no more"
    assert not kept["_instances"].keys() & kept["_gone"].keys()
    assert all(lsas > 0 for lsas in kept["_lsas"].values())
    for neighbour in vars(router)["_neighbours"].values():
        requests = neighbour.requests
        told, headers = (getattr(requests, name) for name in ("_told", "_headers"))
        assert len(requests.asked) <= MAX_ASKED
        assert headers <= MAX_TOLD
        assert len(told) <= len(database) + len(kept["_gone"])
    tags = router.tags(LIAR)
    assert max(len(tags.own.ranges), len(tags.theirs.ranges)) <= wire.MAX_HELD
    assert router.calculate() is router.table


def _messages(data: bytes, chance: random.Random) -> Iterator[wire.Message]:
    """Yield what the input holds, and made-up messages, which carry pieces of it in place of bodies."""
    with suppress(RemoteProtocolError):
        yield from wire.decode(data[1:])
    for _ in range(chance.randrange(_STEPS)):
        match chance.randrange(9):
            case 0:
                heard, full = chance.random() < 0.8, chance.random() < 0.5
                yield wire.Hello(heard, full, chance.choice((100, 4000, 600_000)), chance.randbytes(8))
            case 1:
                yield wire.Summary(tuple(_headers(chance)), chance.random() < 0.3)
            case 2:
                yield wire.Request(tuple(_key(chance) for _ in range(3)))
            case 3:
                yield wire.Ack((_header(chance), *_headers(chance)))
            case 4:
                held = (wire.HeldRange(_STREAM.value, _place(chance), RANGE_BYTES * chance.randint(1, 4)),)
                yield wire.Tags(chance.random() < 0.3, held * chance.randrange(3))
            case 5:
                update = wire.Update(tuple(_carried(data, chance) for _ in range(chance.randint(1, 4))))
                tag = _TAG if chance.random() < 0.9 else bytes(16)
                yield wire.Tagged(_STREAM.value, _place(chance), wire.encode_update(update), tag)
            case _:
                yield wire.Update(tuple(_carried(data, chance) for _ in range(chance.randint(1, 4))))


def _place(chance: random.Random) -> int:
    whole = PIECE_BYTES * chance.randrange(4 * RANGE_BYTES // PIECE_BYTES)
    return whole if chance.random() < 0.9 else chance.randrange(1 << 63)


def _carried(data: bytes, chance: random.Random) -> wire.Carried:
    body = wire.encode_body(_body(chance, chance.choice(_NAMES)))
    if chance.random() < 0.2:
        body = data[1 : 1 + wire.MAX_BODY_BYTES] or b"\xc0"
    elif chance.random() < 0.2:
        at = chance.randrange(len(body))
        body = body[:at] + chance.randbytes(1) + body[at + 1 :]
    said = _SIGNED if chance.random() < 0.8 else wire.Authentication("ecdsa-sha256", (), chance.randbytes(8))
    forwarder = LIAR if chance.random() < 0.98 else HONEST
    return wire.Carried(forwarder, chance.choice((0, 1, 999, 1000, 80_000, 1000 * wire.MAX_LIFETIME_S)), body, said)


def _headers(chance: random.Random) -> Iterator[wire.Header]:
    return (_header(chance) for _ in range(chance.randrange(4)))


def _header(chance: random.Random) -> wire.Header:
    return wire.Header(_key(chance), chance.choice(_GENERATIONS), chance.choice(_NUMBERS), chance.randbytes(8))


def _key(chance: random.Random) -> wire.Key:
    kind = chance.choice((*wire.LsaType, "X"))
    return wire.Key(chance.choice(_NAMES), kind, 0 if kind == wire.LsaType.LINKS else chance.choice((0, 1, 63)))


def _statement(chance: random.Random, name: str, site: str) -> bytes | None:
    true = state_home(SaeId(f"sae:{name}"), QksId(site), chance.choice((1, 4_000_000_000)))
    return chance.choice((None, true, true[:-1], chance.randbytes(20)))


def _body(chance: random.Random, site: str) -> wire.Body:
    key = _key(chance)
    links: tuple[wire.LinkState, ...] = ()
    saes: tuple[wire.SaeState, ...] = ()
    withdrawn = chance.random() < 0.2
    others = [name for name in _NAMES if name != site]
    if withdrawn:
        pass
    elif key.type == wire.LsaType.LINKS:
        links = tuple(wire.LinkState(peer, chance.randint(1, 9), 1) for peer in chance.sample(others, 2))
    else:
        saes = tuple(wire.SaeState(f"sae:{name}", _statement(chance, name, site)) for name in chance.sample(others, 2))
    return wire.Body(
        wire.VERSION,
        key.type,
        wire.Source(site, "h", 1),
        wire.Endpoint("h", 2),
        key.part,
        chance.choice(_GENERATIONS),
        chance.choice(_NUMBERS),
        chance.choice((1, 90, wire.MAX_LIFETIME_S)),
        withdrawn,
        chance.random() < 0.5,
        links,
        saes,
        chance.randrange(1 << 62),
    )
