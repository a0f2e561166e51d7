"""The rate-set simulator: pace on a virtual clock, entropy, and what it says of itself."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.simulator import CATCH_UP_S, RateSetSimulator, UnsafeSeededSimulator, fitting_block
from qss.model.errors import DeviceError
from qss.ports.device import DeviceRole


class Sink:
    """A channel that takes everything."""

    async def send(self, frame: bytes) -> None: ...

    async def receive(self) -> bytes:
        raise AssertionError


@pytest.fixture
async def clock(monkeypatch):
    """The loop's clock and sleep, virtual: nothing waits."""

    class Clock:
        now = 0.0

        async def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


async def running(device):
    await device.start(Sink(), DeviceRole.INITIATOR)
    return device


async def test_blocks_come_at_the_set_rate_without_drift(clock):
    device = await running(RateSetSimulator(1e6, block_bytes=1250))  # a block in 10 ms
    for number in range(100):
        await device.read()
        assert clock.now == pytest.approx((number + 1) * 0.01)
        clock.now += 0.007  # whoever reads takes its time
    assert clock.now == pytest.approx(1.007)


async def test_what_a_stall_cost_is_made_up_for_within_bounds_only(clock):
    device = await running(RateSetSimulator(1e6, block_bytes=1250))
    clock.now += 1000
    stalled = clock.now
    at_once = 0
    while clock.now == stalled:
        await device.read()
        at_once += 1
    assert CATCH_UP_S / 0.01 <= at_once <= CATCH_UP_S / 0.01 + 2


async def test_bits_are_drawn_from_the_given_entropy():
    asked = []
    device = await running(RateSetSimulator(1e9, block_bytes=1024, entropy=lambda n: asked.append(n) or b"e" * n))
    block = await device.read()
    assert block.material.reveal() == b"e" * 1024
    assert asked == [1024]
    status = device.status()
    assert (status.kind, status.simulated, status.seeded) == ("simulator", True, False)


async def test_a_seed_is_named_in_kind_status_and_log():
    with capture_logs() as logs:
        device = await running(UnsafeSeededSimulator(1e9, 7))
        again = await running(UnsafeSeededSimulator(1e9, 7))
        other = await running(UnsafeSeededSimulator(1e9, 8))
    assert [entry["log_level"] for entry in logs] == ["warning"] * 3
    assert "predictable" in logs[0]["event"]
    status = device.status()
    assert (status.kind, status.simulated, status.seeded) == ("seeded-simulator", True, True)
    one, two, three = [await end.read() for end in (device, again, other)]
    assert one == two != three


def test_blocks_fit_the_rate():
    assert [fitting_block(rate) for rate in (100, 1e6, 2e6, 1e9)] == [1024, 4096, 8192, 65536]


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_bps": 0},
        {"rate_bps": float("nan"), "block_bytes": 1024},
        {"rate_bps": 1, "block_bytes": 1023},
        {"rate_bps": 1, "block_bytes": 65537},
        {"rate_bps": 1, "qber": 1.1},
    ],
)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(DeviceError, match="set a rate above 0"):
        RateSetSimulator(**settings)


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_has_63_bits(seed):
    with pytest.raises(DeviceError, match="seed"):
        UnsafeSeededSimulator(1e6, seed)
