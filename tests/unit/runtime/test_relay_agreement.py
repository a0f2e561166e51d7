"""What two ends of a hybrid stream agree on, and with whom they do not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from qss.model.errors import RemoteProtocolError, Unauthorised
from qss.model.identifiers import PairId, QksId
from qss.runtime.relay.agreement import Agreement
from qss.wire.lsa import Authentication
from qss.wire.relay_device import Answer, Block, Offer, decode, encode

A, B = QksId("A"), QksId("B")
PAIR = PairId(b"p" * 16)
TRANSFERS = (b"t" * 16, b"u" * 16)


def sign_as(site: QksId) -> Callable[[bytes], Authentication]:
    return lambda text: Authentication("test", (), site.encode() + text)


def verify(site: QksId, text: bytes, said: Authentication) -> None:
    if said.signature != site.encode() + text:
        raise Unauthorised(f"{site} has not signed this")


class Channel:
    """One end of a channel; what is sent passes `changed` first."""

    def __init__(self, changed: Callable[[bytes], bytes] = lambda frame: frame) -> None:
        self.other: Channel = self
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = changed

    async def send(self, frame: bytes) -> None:
        self.other.frames.put_nowait(self._changed(frame))

    async def receive(self) -> bytes:
        return await self.frames.get()


async def agreed(
    *,
    there: QksId = B,
    pair: PairId = PAIR,
    offered: Callable[[bytes], bytes] = lambda frame: frame,
    answered: Callable[[bytes], bytes] = lambda frame: frame,
) -> tuple[bytes, bytes]:
    """Have A and B agree on a block of 1,072 bytes; return what either combines it with."""
    one, other = Channel(offered), Channel(answered)
    one.other, other.other = other, one
    here = Agreement(B, PAIR, sign_as(A), verify, os.urandom)
    far = Agreement(A, pair, sign_as(there), verify, os.urandom)

    async def answer() -> bytes:
        return (await far.answer(other, decode(await other.receive(), Offer))).reveal()

    async with asyncio.TaskGroup() as tasks:
        offering = tasks.create_task(here.offer(one, 3, 1072, TRANSFERS))
        answering = tasks.create_task(answer())
    return offering.result().reveal(), answering.result()


async def test_both_ends_agree_and_never_twice_on_the_same() -> None:
    first, second = await agreed(), await agreed()
    assert first[0] == first[1]
    assert len(first[0]) == 1072
    assert first[0] != second[0]


async def test_somebody_else_agrees_with_nobody() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await agreed(there=QksId("X"))
    assert raised.group_contains(Unauthorised)


async def test_what_was_said_of_another_stream_counts_for_nothing() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await agreed(pair=PairId(b"q" * 16))
    assert raised.group_contains(Unauthorised)


def with_other_transfers(frame: bytes) -> bytes:
    offer = decode(frame, Offer)
    return encode(Offer(offer.number, offer.length, TRANSFERS[::-1], offer.encapsulation_key, offer.authentication))


def with_another_ciphertext(frame: bytes) -> bytes:
    answer = decode(frame, Answer)
    return encode(Answer(answer.number, bytes(1088), answer.authentication))


@pytest.mark.parametrize(
    "lies", [{"offered": with_other_transfers}, {"answered": with_another_ciphertext}], ids=["offer", "answer"]
)
async def test_what_was_changed_on_its_way_is_found(lies: dict[str, Callable[[bytes], bytes]]) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await agreed(**lies)
    assert raised.group_contains(Unauthorised)


async def test_an_answer_for_another_block_breaks_the_protocol() -> None:
    def of_another_block(frame: bytes) -> bytes:
        answer = decode(frame, Answer)
        return encode(Answer(answer.number + 1, answer.ciphertext, answer.authentication))

    with pytest.raises(ExceptionGroup) as raised:
        await agreed(answered=of_another_block)
    assert raised.group_contains(RemoteProtocolError)


async def test_a_block_that_is_not_offered_breaks_the_protocol() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await agreed(offered=lambda _: encode(Block(3, 1072, TRANSFERS)))
    assert raised.group_contains(RemoteProtocolError)
