"""Devices that stop being random, at one end and at both: nothing of it reaches the QKS, whatever the tags say."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from structlog.testing import capture_logs

from qss.core.module import Phase
from qss.core.module import events as ev
from qss.core.module.rest import FIRST_PAUSE_S, FORGOTTEN_AFTER_S, LONGEST_PAUSE_S, Rest
from qss.model.errors import DeviceError, LocalProtocolError, StreamEnded
from qss.model.health import HealthTest
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.ports.device import RawBlock
from qss.wire import sync
from support.faulty_device import FaultyDevice, no_fault
from support.module_pair import ModulePair
from support.module_runners import TwoModules, chunks, until

FROM = 5
"""The block that is the first bad one."""

PAYLOAD = 1024 - 48


def pattern(size, seed=b""):
    return hashlib.shake_128(b"pattern" + seed).digest(size)


BAD_BLOCKS = {
    "all zeros": lambda _: bytes(1024),
    "all ones": lambda _: b"\xff" * 1024,
    "stuck pattern": lambda _: b"\xde\xad\xbe\xef" * 256,
    "short cycle": lambda number: (pattern(100) * 1000)[number * 1024 % 100 :][:1024],
    "cycle of more than a block": lambda number: (pattern(1000) * 100)[number * 1024 % 1000 :][:1024],
    "the same block": lambda _: pattern(1024),
    "blocks in turn": lambda number: pattern(1024, bytes([number % 7])),
}


def bad(name):
    """Both ends of a pair with this fault yield the same blocks: so the block check alone finds nothing."""

    def fault(block):
        if block.number < FROM:
            return block
        return RawBlock(block.number, KeyMaterial(BAD_BLOCKS[name](block.number)))

    return fault


async def drain(module, stream):
    got = []
    try:
        while True:
            got.append((await module.get_key(stream, len(got))).reveal())
    except StreamEnded as ended:
        return got, str(ended)


def failures(*modules):
    return [sum(module.status().counts.unhealthy.values()) for module in modules]


@pytest.mark.parametrize("name", BAD_BLOCKS)
@pytest.mark.parametrize("ends", [(0,), (1,), (0, 1)], ids=["initiator", "responder", "both"])
async def test_a_device_that_fails_ends_the_stream_and_none_of_its_bad_blocks_is_key(name, ends):
    devices = [FaultyDevice(bad(name) if end in ends else no_fault) for end in (0, 1)]
    with capture_logs() as logs:
        async with TwoModules(*devices) as modules:
            opened = await modules.open(PAYLOAD)
            pulled = await asyncio.gather(*(drain(m, opened.stream) for m in (modules.a, modules.b)))
            assert sum(failures(modules.a, modules.b)) >= 1
            assert {modules.a.status().phase, modules.b.status().phase} == {Phase.IDLE}
    (one, _), (two, _) = pulled
    assert all(x == y for x, y in zip(one, two, strict=False))
    allowed = FROM + 7 * (name == "blocks in turn")  # which is bad only when it comes again
    assert max(len(one), len(two)) <= allowed + (name.startswith(("the same", "cycle of")))
    assert any("failed the" in reason for _, reason in pulled)
    assert any(line["event"] == "the device failed a health test" for line in logs)


async def test_devices_that_are_stuck_alike_would_pass_the_block_check_alone(monkeypatch):
    """The reason for the tests: without them both ends take what everybody knows for key."""
    monkeypatch.setattr("qss.runtime.module.checking.examine", lambda state, _: state)
    async with TwoModules(FaultyDevice(bad("all zeros")), FaultyDevice(bad("all zeros"))) as modules:
        opened = await modules.open(PAYLOAD)
        assert (await chunks(modules.a, opened.stream, FROM + 1))[FROM] == bytes(PAYLOAD)


async def test_different_key_at_the_ends_is_found_by_the_block_check_and_is_no_failure_of_health():
    def other_bits(block):
        return RawBlock(block.number, KeyMaterial(pattern(1024, block.number.to_bytes(8))))

    async with TwoModules(FaultyDevice(other_bits)) as modules:
        await modules.open(PAYLOAD)
        await until(lambda: min(m.status().counts.unequal_blocks for m in (modules.a, modules.b)) > 10)
        for module in (modules.a, modules.b):
            assert module.status().counts.accepted == 0
        assert failures(modules.a, modules.b) == [0, 0]


async def test_a_failing_block_is_counted_as_a_failure_and_not_as_read():
    async with TwoModules(FaultyDevice(bad("all zeros"))) as modules:
        opened = await modules.open(PAYLOAD)
        await drain(modules.a, opened.stream)
        counts = modules.a.status().counts
        assert counts.unhealthy == {HealthTest.REPETITION_COUNT: 1}
        assert counts.read == FROM * 1024 == counts.check + counts.accepted + counts.unequal + counts.unfinished


async def test_the_next_stream_tries_the_device_again_and_the_one_after_waits():
    device = FaultyDevice(bad("all zeros"))
    async with TwoModules(device) as modules:
        for starts in (1, 2):
            opened = await modules.open(PAYLOAD)
            await drain(modules.a, opened.stream)
            assert device.starts == starts
        with pytest.raises(DeviceError, match=r"2 times in a row: it is left alone for 1 s more; check or replace it"):
            await modules.open(PAYLOAD)
        assert device.starts == 2
        assert modules.a.status().phase is Phase.IDLE


async def test_a_device_that_recovers_is_used_again():
    device = FaultyDevice(bad("all ones"))
    async with TwoModules(device) as modules:
        opened = await modules.open(PAYLOAD)
        await drain(modules.a, opened.stream)
        device.fault = no_fault
        opened = await modules.open(PAYLOAD)
        assert await chunks(modules.a, opened.stream, 9) == await chunks(modules.b, opened.stream, 9)


async def test_a_device_that_yields_the_blocks_of_the_last_stream_is_found():
    def recorded(block):
        return RawBlock(block.number, KeyMaterial(pattern(1024, block.number.to_bytes(8))))

    async with TwoModules(FaultyDevice(recorded), FaultyDevice(recorded)) as modules:
        opened = await modules.open(PAYLOAD)
        await asyncio.gather(*(chunks(m, opened.stream, 5) for m in (modules.a, modules.b)))
        opened = await modules.open(PAYLOAD)
        got, reason = await drain(modules.a, opened.stream)
        assert got == []
        assert "repeated-block" in reason or "the other end closed it" in reason
        assert sum(failures(modules.a, modules.b)) >= 1


async def test_the_responder_joins_no_stream_while_its_device_rests():
    device = FaultyDevice(bad("all zeros"))
    async with TwoModules(None, device) as modules:
        for _ in range(2):
            opened = await modules.open(PAYLOAD)
            await drain(modules.b, opened.stream)
        stream = (await modules.a.open_connect(QksId("A"), QksId("B"), None, PAYLOAD)).stream
        with pytest.raises(DeviceError, match="left alone"):
            await modules.b.open_connect(QksId("B"), QksId("A"), stream, PAYLOAD)


# --- the core -----------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_a_limit_and_are_forgotten():
    rest, now = Rest(), 1000.0
    assert rest.left(now) == 0
    rest.failed(now)
    assert rest.left(now) == 0
    pauses = []
    for _ in range(40):
        rest.failed(now)
        pauses.append(rest.left(now))
        assert rest.left(now + pauses[-1] / 2) == pytest.approx(pauses[-1] / 2)
        now += pauses[-1]
        assert rest.left(now) == 0
    assert pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S == pauses[-1]
    now += FORGOTTEN_AFTER_S
    rest.failed(now)
    assert rest.left(now) == 0


def test_blocks_in_check_are_burned_when_a_later_one_fails():
    pair = ModulePair()
    pair.connect()
    stream = pair.running()
    pair.unhealthy = {(sync.End.INITIATOR, stream, 1)}
    assert pair.produce(pair.a)
    assert pair.produce(pair.a)
    assert pair.produce(pair.b)
    pair.settle()
    assert pair.a.accepted[stream] == pair.b.accepted[stream] == []
    counts = pair.a.core.counts
    assert (counts.unfinished_blocks, counts.read, counts.unhealthy) == (1, 1024, {HealthTest.CYCLE: 1})
    assert "failed the cycle test" in pair.a.ended[stream]
    assert "the other end closed it" in pair.b.ended[stream]
    counts.unhealthy.clear()
    assert pair.a.core.counts.unhealthy, "who asks gets a copy"


def test_a_failure_of_a_block_that_was_not_read_is_a_defect():
    pair = ModulePair()
    pair.connect()
    with pytest.raises(LocalProtocolError):
        pair.a.core.handle(ev.Unhealthy(0, HealthTest.CYCLE, "again"), 0)
    pair.running()
    with pytest.raises(LocalProtocolError):
        pair.a.core.handle(ev.Unhealthy(0, HealthTest.CYCLE, "again"), 0)


def surprise(_: RawBlock) -> RawBlock:
    raise OverflowError("nobody foresaw this")


async def test_what_nobody_expected_of_an_adapter_ends_the_stream_and_not_the_site() -> None:
    device = FaultyDevice()
    async with TwoModules(device, FaultyDevice()) as modules:
        stream = (await modules.open(PAYLOAD)).stream
        device.fault = surprise
        with capture_logs() as logs:
            _, reason = await drain(modules.a, stream)
        assert reason.endswith("its adapter failed (OverflowError)")
        assert [entry["error"] for entry in logs if "defect in qss" in entry["event"]] == ["OverflowError"]
