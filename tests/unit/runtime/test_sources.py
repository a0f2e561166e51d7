"""Sources come and go, whatever they are doing; the core hears what came of everything that it asked for."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from qss.core.reservation import LinkSettings
from qss.core.reservation import events as ev
from qss.core.reservation.pairs import MAX_PAIRS
from qss.model.errors import DeviceError, LimitReached, StreamEnded
from qss.model.identifiers import PairId, QksId, StreamId
from qss.model.key_material import KeyMaterial
from qss.ports.key_source import OpenedStream
from qss.runtime.sources import Sources

A, B = QksId("A"), QksId("B")
PAIR, OTHER = PairId(b"p" * 16), PairId(b"q" * 16)
STREAM = StreamId(b"s" * 16)


class Source:
    """A source that opens when the test says so, and gives one chunk."""

    def __init__(self, *, able: bool = True) -> None:
        self.able = able
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.closed: list[StreamId] = []
        self._ended = asyncio.Event()

    async def open_connect(
        self, source: QksId, destination: QksId, stream: StreamId | None, chunk_bytes: int | None
    ) -> OpenedStream:
        await self.may_open.wait()
        if not self.able:
            raise DeviceError("not now")
        return OpenedStream(stream or STREAM, chunk_bytes or 4)

    async def get_key(self, stream: StreamId, index: int, most: int = 1) -> KeyMaterial:
        if index == 0:
            return KeyMaterial(b"key!")
        await self._ended.wait()
        raise StreamEnded("it was closed")

    async def close(self, stream: StreamId) -> None:
        self.closed.append(stream)
        self._ended.set()


class Core:
    """Hears events; what is stored is durable at once."""

    def __init__(self, **attached: Source) -> None:
        self.heard: list[ev.Event] = []
        pairs = {PAIR: attached["attached"]} if attached else {}
        settings = LinkSettings(A, B, lambda *_: True)
        self.known: set[StreamId] = set()
        self.sources = Sources(
            settings,
            pairs,
            self.handle,
            lambda _: True,
            lambda stream: stream in self.known,
            self._defect,
            structlog.get_logger(),
        )

    def handle(self, event: ev.Event) -> None:
        self.heard.append(event)
        if isinstance(event, ev.KeyArrived):
            assert self.sources.material(event.handle).reveal() == b"key!"
            asyncio.get_running_loop().call_soon(self.sources.settle, event.handle)

    @staticmethod
    def _defect(error: BaseException) -> None:
        raise AssertionError from error

    async def hears(self, event: ev.Event) -> None:
        async with asyncio.timeout(5):
            while event not in self.heard:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)

    def kinds(self) -> list[type]:
        return [type(event) for event in self.heard]


async def test_a_stream_is_opened_pulled_closed_and_told() -> None:
    core = Core(attached=Source())
    core.sources.announce()
    core.sources.open(PAIR, None, None)
    await core.hears(ev.SourceOpened(PAIR, STREAM, 4))
    await core.hears(ev.KeyArrived(STREAM, 1, 4))
    core.sources.close(PAIR, STREAM)
    await core.hears(ev.SourceEnded(PAIR, STREAM))
    assert core.kinds() == [ev.SourceAttached, ev.SourceOpened, ev.KeyArrived, ev.SourceEnded]
    await core.sources.drained()


async def test_a_module_cannot_name_its_stream_as_one_that_is_here() -> None:
    """As a box with streams of fixed names would, for the second pair."""
    source = Source()
    core = Core(attached=source)
    core.known.add(STREAM)
    core.sources.open(PAIR, None, None)
    await core.hears(ev.SourceEnded(PAIR, None))
    assert core.kinds() == [ev.SourceEnded]
    assert source.closed == [STREAM]


async def test_a_source_that_cannot_open_is_told() -> None:
    core = Core(attached=Source(able=False))
    core.sources.open(PAIR, None, None)
    await core.hears(ev.SourceEnded(PAIR, None))
    core.sources.open(PAIR, STREAM, 4)
    await core.hears(ev.SourceEnded(PAIR, STREAM))


async def test_why_there_is_no_stream_is_logged_once_for_each_cause() -> None:
    source = Source(able=False)
    core = Core(attached=source)
    with structlog.testing.capture_logs() as logs:
        for able in (False, False, True, False):
            source.able = able
            core.heard.clear()
            core.sources.open(PAIR, None, None)
            await core.hears(ev.SourceOpened(PAIR, STREAM, 4) if able else ev.SourceEnded(PAIR, None))
            core.sources.close(PAIR, STREAM)
    assert [log["event"] for log in logs if log["event"] != "key stream ended"] == [
        "no key stream",
        "key stream opened",
        "no key stream",
    ]


async def test_a_pair_that_was_detached_before_its_source_was_asked_is_told() -> None:
    core = Core(attached=Source())
    core.sources.open(PAIR, STREAM, 4)
    core.sources.detach(PAIR, "it has left")
    await core.hears(ev.SourceEnded(PAIR, STREAM))
    assert core.kinds() == [ev.SourceDetached, ev.SourceEnded]


@pytest.mark.parametrize("another", [True, False])
async def test_a_source_that_is_detached_while_it_opens_is_closed_again(another) -> None:
    source = Source()
    core = Core(attached=source)
    source.may_open.clear()
    core.sources.open(PAIR, None, None)
    await asyncio.sleep(0)
    core.sources.detach(PAIR, "it has left")
    if another:
        core.sources.attach(PAIR, Source())
    source.may_open.set()
    await core.hears(ev.SourceEnded(PAIR, None))
    assert source.closed == [STREAM]
    assert ev.SourceOpened not in core.kinds()


async def test_what_a_detached_source_had_open_is_closed_at_that_source() -> None:
    first, second = Source(), Source()
    core = Core(attached=first)
    core.sources.open(PAIR, None, None)
    await core.hears(ev.KeyArrived(STREAM, 1, 4))
    core.sources.attach(PAIR, second)
    assert core.heard[-2:] == [
        ev.SourceDetached(PAIR, "another module of its device pair has taken its place"),
        ev.SourceAttached(PAIR),
    ]
    core.sources.close(PAIR, STREAM)  # as the core asks
    await core.hears(ev.SourceEnded(PAIR, STREAM))
    assert first.closed
    assert not second.closed


async def test_there_is_a_limit_of_pairs_and_a_pair_that_is_replaced_counts_once() -> None:
    core = Core()
    for number in range(MAX_PAIRS):
        core.sources.attach(PairId(number.to_bytes(16)), Source())
    with pytest.raises(LimitReached, match="detach one"):
        core.sources.attach(OTHER, Source())
    core.sources.attach(PairId(bytes(16)), Source())


async def test_nothing_is_opened_once_it_was_stopped_and_to_detach_what_is_not_there_is_no_error() -> None:
    core = Core(attached=Source())
    core.sources.open(PAIR, None, None)
    await core.hears(ev.SourceOpened(PAIR, STREAM, 4))
    await core.sources.stop()
    heard = list(core.heard)
    core.sources.open(PAIR, None, None)
    await core.sources.finished()
    core.sources.detach(OTHER, "it was never there")
    assert core.heard == heard
