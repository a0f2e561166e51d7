"""The rate-set simulator: pace on a virtual clock, entropy, and what it says of itself."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.distilling import BUFFER_S
from qss.adapters.devices.simulator import NAP_S, RateSetSimulator, UnsafeSeededSimulator, fitting_block
from qss.model.errors import DeviceError
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import DeviceRole
from support.device_channel import MemoryChannel

REAL_SLEEP = asyncio.sleep
SET = SimulatorSettings(rate_bps=1e6)
FAST = SimulatorSettings(rate_bps=1e9)


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
            await REAL_SLEEP(0)

    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


async def running(device):
    await device.start(Sink(), DeviceRole.INITIATOR)
    return device


async def test_blocks_come_at_the_set_rate_without_drift(clock):
    device = await running(RateSetSimulator(SET, block_bytes=1250))  # a block in 10 ms
    for number in range(100):
        await device.read()
        assert clock.now == pytest.approx((number + 1) * 0.01)
        clock.now += 0.007  # whoever reads takes its time
    assert clock.now == pytest.approx(1.007)


async def test_what_a_stall_cost_is_made_up_for_within_bounds_only(clock):
    device = await running(RateSetSimulator(SET, block_bytes=1250))
    clock.now += 1000
    stalled = clock.now
    at_once = 0
    while clock.now == stalled:
        await device.read()
        at_once += 1
    assert BUFFER_S / 0.01 <= at_once <= BUFFER_S / 0.01 + 2


async def test_bits_are_drawn_from_the_given_entropy():
    asked = []
    device = await running(RateSetSimulator(FAST, block_bytes=1024, entropy=lambda n: asked.append(n) or b"e" * n))
    block = await device.read()
    assert block.material.reveal() == b"e" * 1024
    assert asked == [1024]
    status = device.status()
    assert (status.kind, status.simulated, status.seeded) == ("simulator", True, False)


async def test_a_seed_is_named_in_kind_status_and_log():
    with capture_logs() as logs:
        device = await running(UnsafeSeededSimulator(FAST, 7))
        again = await running(UnsafeSeededSimulator(FAST, 7))
        other = await running(UnsafeSeededSimulator(FAST, 8))
    assert [entry["log_level"] for entry in logs] == ["warning"] * 3
    assert "predictable" in logs[0]["event"]
    status = device.status()
    assert (status.kind, status.simulated, status.seeded) == ("seeded-simulator", True, True)
    one, two, three = [await end.read() for end in (device, again, other)]
    assert one == two != three


def test_blocks_fit_the_rate():
    assert [fitting_block(rate) for rate in (100, 1e6, 2e6, 1e9)] == [1024, 4096, 8192, 65536]


@pytest.mark.parametrize("size", [1023, 65537])
def test_a_block_size_that_cannot_be_is_refused(size):
    with pytest.raises(DeviceError, match="set 1024 to 65536"):
        RateSetSimulator(SET, block_bytes=size)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate_bps", 0), ("rate_bps", float("nan")), ("rate_bps", float("inf")), ("qber", 1.1), ("qber", -0.1),
     ("qber_limit", 2), ("jitter", 1.5), ("jitter", float("nan")), ("buffer_bits", -1), ("start_up_s", -1),
     ("outage_every_s", 0.5), ("outage_s", 0), ("outage_s", float("inf"))],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(DeviceError, match=f"cannot have {name} {value}: set it to"):
        replace(SET, **{name: value})


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_has_63_bits(seed):
    with pytest.raises(DeviceError, match="seed"):
        UnsafeSeededSimulator(SET, seed)


# --- settings -----------------------------------------------------------------------------------------------------


async def yielded(device, clock, seconds):
    """Read for some time; return how many blocks came."""
    count, end = 0, clock.now + seconds
    while True:
        reading = asyncio.ensure_future(device.read())
        while not reading.done():
            await REAL_SLEEP(0)
            if clock.now > end:
                reading.cancel()
                return count
        await reading
        count += 1


async def test_another_rate_counts_from_now_on(clock):
    device = await running(RateSetSimulator(SET, block_bytes=1250))
    assert await yielded(device, clock, 1) == pytest.approx(100, abs=2)
    device.adjust(replace(SET, rate_bps=3e6))
    assert await yielded(device, clock, 1) == pytest.approx(300, abs=2)
    assert device.status().rate_bps == 3e6


async def test_an_outage_by_hand_lasts_until_it_is_over(clock):
    device = await running(RateSetSimulator(SET, block_bytes=1250))
    device.adjust(replace(SET, off=True))
    assert await yielded(device, clock, 10) == 0
    assert device.status().note == "an outage was set by hand"
    device.adjust(SET)
    assert device.status().note == ""
    begun = clock.now
    await device.read()
    assert clock.now - begun <= NAP_S + 0.01


async def test_it_yields_nothing_above_its_qber_limit(clock):
    settings = replace(SET, qber=0.05, qber_limit=0.11)
    device = await running(RateSetSimulator(settings, block_bytes=1250))
    await device.read()
    device.adjust(replace(settings, qber=0.12))
    assert await yielded(device, clock, 10) == 0
    assert device.status().qber == 0.12
    assert "0.12 is above 0.11" in device.status().note


async def test_it_starts_up_at_each_start(clock):
    device = RateSetSimulator(replace(SET, start_up_s=5), block_bytes=1250)
    for _ in range(2):
        begun = clock.now
        await running(device)
        assert "starts up for 5.0 s more" in device.status().note
        await device.read()
        assert clock.now - begun == pytest.approx(5.01)
        assert device.status().note == ""
        await device.stop()


async def test_a_buffer_holds_so_much_and_the_rest_is_lost_and_counted(clock):
    device = await running(RateSetSimulator(replace(SET, buffer_bits=50_000), block_bytes=1250))
    clock.now += 10
    stalled, at_once = clock.now, 0
    while clock.now == stalled:
        await device.read()
        at_once += 1
    assert at_once == 5 + 1 + 1  # the buffer's, the one that was being distilled, and the one that came after
    assert device.status().lost_bits == 10_000_000 - 60_000
    clock.now += 1
    assert device.status().lost_bits > 10_000_000 - 60_000 + 900_000


async def test_nothing_is_distilled_or_lost_while_it_does_not_run(clock):
    clock.now = 1e6
    device = RateSetSimulator(SET, block_bytes=1250)
    device.adjust(replace(SET, qber=0.03))
    assert device.status().lost_bits == 0
    await running(device)
    await device.read()
    await device.stop()
    await device.stop()
    clock.now += 1000
    assert (device.status().lost_bits, device.status().note) == (0, "")
    begun = clock.now
    await running(device)
    await device.read()
    assert clock.now - begun == pytest.approx(0.01)


async def test_what_a_smaller_buffer_does_not_hold_is_lost_and_counted(clock):
    device = await running(RateSetSimulator(replace(SET, buffer_bits=50_000), block_bytes=1250))
    clock.now += 0.06
    device.adjust(replace(SET, buffer_bits=20_000))
    assert device.status().lost_bits == pytest.approx(30_000, abs=2)


async def test_a_block_that_takes_longer_than_the_buffer_is_long_comes_all_the_same(clock):
    device = await running(RateSetSimulator(replace(SET, buffer_bits=0, jitter=1.0), block_bytes=1250))
    for _ in range(200):
        await device.read()


async def test_jitter_moves_blocks_and_not_the_mean(clock):
    device = await running(RateSetSimulator(replace(SET, jitter=0.5), block_bytes=1250, dice=random.Random(1)))
    times = []
    for _ in range(2000):
        begun = clock.now
        await device.read()
        times.append(clock.now - begun)
    assert 0.005 <= min(times) < 0.006
    assert 0.014 < max(times) <= 0.0151
    assert sum(times) / len(times) == pytest.approx(0.01, rel=0.02)


async def test_outages_come_as_often_and_last_as_long_as_was_set(clock):
    settings = replace(SET, rate_bps=1e4, outage_every_s=30, outage_s=10)
    device = await running(RateSetSimulator(settings, block_bytes=1250, dice=random.Random(2)))
    notes = 0
    begun = clock.now
    for _ in range(10_000):
        await device.read()
    assert 10_000 / (clock.now - begun) == pytest.approx(30 / 40, rel=0.05)  # of one block a second
    for _ in range(4000):
        clock.now += 7
        notes += device.status().note == "an outage"
    assert notes / 4000 == pytest.approx(10 / 40, abs=0.03)


async def test_outages_that_are_set_off_are_over(clock):
    settings = replace(SET, outage_every_s=1, outage_s=1e6)
    device = await running(RateSetSimulator(settings, block_bytes=1250))
    clock.now += 1000
    assert device.status().note == "an outage"
    device.adjust(replace(settings, outage_every_s=None))
    assert device.status().note == ""
    await device.read()


async def test_the_same_seed_gives_the_same_times_as_well(clock):
    settings = replace(SET, jitter=0.9, outage_every_s=3, outage_s=1)
    runs = []
    for _ in range(2):
        clock.now = 0.0
        device = await running(UnsafeSeededSimulator(settings, 7, block_bytes=1250))
        times = []
        for _ in range(500):
            block = await device.read()
            times.append((clock.now, block.material.reveal()))
        runs.append(times)
    assert runs[0] == runs[1]


async def test_the_responder_follows_what_the_initiator_is_set_to():
    near, far = MemoryChannel.pair()
    first, second = RateSetSimulator(SET, block_bytes=1024), RateSetSimulator(FAST, block_bytes=1024)
    second.adjust(replace(FAST, jitter=0.1))  # it does not run yet
    await first.start(near, DeviceRole.INITIATOR)
    await second.start(far, DeviceRole.RESPONDER)
    assert await first.read() == await second.read()
    assert second.settings == SET
    with pytest.raises(DeviceError, match="set it at the site with the lower ID"):
        second.adjust(FAST)
    first.adjust(replace(SET, qber=0.5, qber_limit=0.1))
    reading = [asyncio.create_task(end.read()) for end in (first, second)]
    await asyncio.sleep(0.03)
    assert not any(task.done() for task in reading)
    assert second.status().note == first.status().note != ""
    first.adjust(SET)
    one, two = await asyncio.gather(*reading)
    assert one == two
    assert one.number == 1
    for end in (first, second):
        await end.stop()


@pytest.mark.parametrize("frame", [b"", b"nonsense", b"[]", b"{}", b'{"rate_bps": "1"}', b'{"x": 1}', b"\xff"])
async def test_what_is_no_simulator_at_the_other_end_is_refused(frame):
    near, far = MemoryChannel.pair()
    device = RateSetSimulator(FAST, block_bytes=1024)
    await device.start(near, DeviceRole.RESPONDER)
    await far.send(frame)
    with pytest.raises(DeviceError):
        await device.read()
    await device.stop()
