"""How a box is waited for: pauses grow to a bound, key is waited for without end, silence is not."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from qss.adapters.devices.patience import Patience, until_answered
from qss.client.errors import KeyServerRefused, KeyServerUnreachable
from qss.model.errors import ConnectionLost, DeviceError, RemoteProtocolError, Shortage
from support.virtual_time import in_virtual_time

SHORT = Shortage("too little")
SILENT = KeyServerUnreachable("no answer")


class Box:
    """Fails in these ways, one after the other, and then answers. `times` are when it was asked."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times: list[float] = []

    async def ask(self) -> str:
        self.times.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        return "key"


def test_pauses_grow_to_a_bound() -> None:
    assert list(islice(Patience().pauses(), 9)) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@in_virtual_time
async def test_key_is_waited_for_without_end() -> None:
    box = Box(*[SHORT] * 1000)
    assert await until_answered(box.ask, Patience(), lambda _: None) == "key"
    assert box.times[1] - box.times[0] == pytest.approx(0.1)
    assert box.times[-1] - box.times[-2] == pytest.approx(10)
    assert box.times[-1] > 9000


@pytest.mark.parametrize(
    "failure", [SILENT, ConnectionLost("cut"), KeyServerRefused(500, "broken"), KeyServerRefused(429, "too many")]
)
def test_a_box_that_answers_again_in_time_is_gone_on_with(failure) -> None:
    @in_virtual_time
    async def run() -> None:
        assert await until_answered(Box(*[failure] * 9).ask, Patience(), lambda _: None) == "key"

    run()


@in_virtual_time
async def test_a_box_that_is_silent_for_too_long_is_given_up() -> None:
    box = Box(*[SILENT] * 100)
    with pytest.raises(DeviceError, match="no usable answer for 60 s: no answer"):
        await until_answered(box.ask, Patience(), lambda _: None)
    assert 45 <= box.times[-1] <= 60


@in_virtual_time
async def test_a_box_that_says_it_is_short_is_not_silent() -> None:
    box = Box(*[SILENT, SHORT] * 100)
    assert await until_answered(box.ask, Patience(), lambda _: None) == "key"


@pytest.mark.parametrize(
    "failure", [KeyServerRefused(401, "no"), KeyServerRefused(400, "no"), RemoteProtocolError("garbage")]
)
def test_what_does_not_pass_by_itself_is_raised_at_once(failure) -> None:
    @in_virtual_time
    async def run() -> None:
        box = Box(failure)
        with pytest.raises(type(failure)):
            await until_answered(box.ask, Patience(), lambda _: None)
        assert len(box.times) == 1

    run()
