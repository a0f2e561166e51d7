"""The module's shell: two modules with connections in memory, faulty devices, cuts and altered frames."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.simulator import RateSetSimulator
from qss.core.module import ModuleSettings, Phase
from qss.model.errors import ConnectionLost, DeviceError, LocalProtocolError, StreamEnded
from qss.model.identifiers import StreamId
from qss.model.key_material import KeyMaterial
from qss.model.simulator_settings import SimulatorSettings
from qss.ports.device import DeviceRole, RawBlock
from qss.runtime.module import QkdModule, qkd_module
from qss.runtime.module import chunks as chunk_module
from qss.wire import sync
from support.connections import memory_pair
from support.faulty_device import FaultyDevice
from support.module_runners import FAST_BPS, A, B, TwoModules, chunks, raise_defect, until


def flipped(numbers):
    """A fault that changes the first bit of these blocks."""

    def fault(block):
        if block.number not in numbers:
            return block
        secret = block.material.reveal()
        return RawBlock(block.number, KeyMaterial(bytes([secret[0] ^ 128]) + secret[1:]))

    return fault


async def drain(module, stream, start=0):
    """Pull until the stream ends; return the chunks and the reason."""
    got = []
    try:
        while True:
            got.append((await module.get_key(stream, start + len(got))).reveal())
    except StreamEnded as ended:
        return got, str(ended)


# --- key ----------------------------------------------------------------------------------------------------------


async def test_blocks_that_differ_are_burned_at_both_ends_and_the_following_are_fine():
    drawn = []

    def noted(block):
        drawn.append(block.material.reveal())
        return block

    async with TwoModules(FaultyDevice(noted), FaultyDevice(flipped({2, 5}))) as modules:
        opened = await modules.open(976)  # what remains of one block
        one, two = await asyncio.gather(*(chunks(m, opened.stream, 10) for m in (modules.a, modules.b)))
        assert one == two == [drawn[n][:976] for n in (0, 1, 3, 4, 6, 7, 8, 9, 10, 11)]
        for module in (modules.a, modules.b):
            assert module.status().counts.unequal_blocks == 2
            assert module.status().counts.unequal == 2 * 976


async def test_backpressure_reaches_the_device_and_nothing_is_lost():
    device_a, device_b = FaultyDevice(), FaultyDevice()
    async with TwoModules(device_a, device_b, ModuleSettings(held_bytes=20 * 976)) as modules:
        opened = await modules.open(976)
        await until(lambda: modules.a.status().counts.stalls > 0)
        one = await chunks(modules.a, opened.stream, 20)
        await asyncio.sleep(0.01)  # b is not pulled, so a cannot go on for long
        assert device_b.reads <= 21
        assert device_a.reads <= device_b.reads + sync.DEVICE_WINDOW + 20
        two = await chunks(modules.b, opened.stream, 20)
        assert one == two
        more = await asyncio.gather(*(chunks(m, opened.stream, 200, 20) for m in (modules.a, modules.b)))
        assert more[0] == more[1]


async def test_a_stream_ends_before_its_index_does(monkeypatch):
    monkeypatch.setattr(chunk_module, "MAX_CHUNKS", 3)
    async with TwoModules() as modules:
        opened = await modules.open()
        got, reason = await drain(modules.a, opened.stream)
        assert len(got) == 3
        assert "successor" in reason


# --- ends ---------------------------------------------------------------------------------------------------------


async def test_after_a_cut_what_was_accepted_can_be_pulled_and_the_next_connection_carries_a_successor():
    async with TwoModules() as modules:
        first = await modules.open()
        await until(lambda: min(m.status().counts.accepted for m in (modules.a, modules.b)) > 5 * 1024)
        modules.connections[0].cut()
        await until(lambda: {m.status().phase for m in (modules.a, modules.b)} == {Phase.DOWN})
        (one, why), (two, _) = [await drain(m, first.stream) for m in (modules.a, modules.b)]
        assert min(len(one), len(two)) >= 5
        assert all(x == y for x, y in zip(one, two, strict=False))
        assert "the Sync connection ended" in why
        with pytest.raises(DeviceError, match="no Sync connection"):
            await modules.open()
        await modules.connect()
        second = await modules.open()
        assert await chunks(modules.a, second.stream, 5) == await chunks(modules.b, second.stream, 5)


async def test_a_newer_connection_takes_the_place_of_an_older_one():
    async with TwoModules() as modules:
        first = await modules.open()
        older = modules.connections
        await modules.connect()
        await until(lambda: all(m.status().phase is Phase.IDLE for m in (modules.a, modules.b)))
        with pytest.raises(ConnectionLost):
            await older[0].send(b"")
        await drain(modules.a, first.stream)
        second = await modules.open()
        assert await chunks(modules.a, second.stream, 5) == await chunks(modules.b, second.stream, 5)


async def test_of_many_connections_at_once_one_is_served():
    module = QkdModule(FaultyDevice(), DeviceRole.INITIATOR, B, raise_defect)
    pairs = [memory_pair() for _ in range(5)]
    tasks = [asyncio.create_task(module.serve(near)) for near, _ in pairs]
    await asyncio.wait(tasks, timeout=0.05)
    assert sum(task.done() for task in tasks) == 4
    await module.stop()
    await asyncio.gather(*tasks)


async def test_a_device_that_ends_ends_the_stream_at_both_ends_and_is_started_anew():
    def exhausted(block):
        if block.number == 7 and device.starts == 1:
            raise DeviceError("the laser is off")
        return block

    device = FaultyDevice(exhausted)
    async with TwoModules(device) as modules:
        opened = await modules.open(976)
        (one, why), (two, _) = await asyncio.gather(*(drain(m, opened.stream) for m in (modules.a, modules.b)))
        assert "the laser is off" in why
        assert len(one) <= 7
        assert all(x == y for x, y in zip(one, two, strict=False))
        second = await modules.open()
        assert await chunks(modules.a, second.stream, 9) == await chunks(modules.b, second.stream, 9)
        assert device.starts == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda block: RawBlock(block.number, block.material[:1023]), "at least 1024"),
        (lambda block: RawBlock(block.number + (block.number > 2), block.material), "yielded block 4 after block 2"),
    ],
)
async def test_a_device_that_breaks_its_port_ends_the_stream(fault, reason):
    async with TwoModules(FaultyDevice(fault)) as modules:
        opened = await modules.open()
        _, why = await drain(modules.a, opened.stream)
        assert reason in why
        assert modules.a.status().phase is Phase.IDLE


async def test_a_device_that_does_not_start_ends_the_stream():
    device = FaultyDevice()

    async def refuse(*_):
        raise DeviceError("no photons")

    device.start = refuse
    async with TwoModules(device_b=device) as modules:
        opened = await modules.open()
        assert "no photons" in (await drain(modules.b, opened.stream))[1]
        await drain(modules.a, opened.stream)


async def test_an_opening_that_nobody_joins_ends_in_time():
    async with TwoModules(settings=ModuleSettings(open_timeout_s=0.01)) as modules:
        opened = await modules.a.open_connect(A, B, None, None)
        with pytest.raises(StreamEnded, match="did not join"):
            await modules.a.get_key(opened.stream, 0)


async def test_opening_closes_what_is_open_and_destroys_its_key():
    async with TwoModules() as modules:
        first = await modules.open()
        await until(lambda: modules.a.status().counts.accepted > 5 * 1024)
        second = await modules.open()
        with pytest.raises(StreamEnded, match="not open here"):
            await modules.a.get_key(first.stream, 0)
        assert modules.a.status().counts.unused >= 5 * 1024
        assert await chunks(modules.a, second.stream, 5) == await chunks(modules.b, second.stream, 5)


async def test_a_refused_opening_leaves_the_open_stream_alone():
    async with TwoModules() as modules:
        opened = await modules.open()
        with pytest.raises(DeviceError):
            await modules.a.open_connect(A, B, None, 1)
        assert await chunks(modules.a, opened.stream, 5) == await chunks(modules.b, opened.stream, 5)


async def test_a_stopped_module_closes_whatever_it_is_given():
    module = QkdModule(FaultyDevice(), DeviceRole.INITIATOR, B, raise_defect)
    await module.stop()
    near, far = memory_pair()
    await module.serve(near)
    with pytest.raises(ConnectionLost):
        await far.receive()


async def test_a_connection_that_its_owner_cancels_leaves_the_module_ready():
    modules = TwoModules()
    near, _ = memory_pair()
    task = asyncio.create_task(modules.a.serve(near))
    await until(lambda: modules.a.status().phase is Phase.IDLE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with modules:
        opened = await modules.open()
        await chunks(modules.a, opened.stream, 1)


# --- the wire -----------------------------------------------------------------------------------------------------


def altering(kind, change):
    """Something done to a frame on its way: `change` of each message of this kind."""
    return lambda frame: sync.encode([change(m) if isinstance(m, kind) else m for m in sync.decode(frame)])


@pytest.mark.parametrize(
    "alteration",
    [
        altering(sync.Check, lambda m: msgspec.structs.replace(m, tag=bytes(16))),
        altering(sync.Verdict, lambda m: msgspec.structs.replace(m, equal=not m.equal)),
        altering(sync.Check, lambda m: msgspec.structs.replace(m, number=m.number + 1)),
        altering(sync.Device, lambda m: sync.Credit(64)),
        lambda frame: frame[:-1],
        lambda frame: frame + b"\0",
    ],
    ids=["tag", "verdict", "number", "credit", "cut", "trailing"],
)
async def test_altered_frames_end_the_stream_and_never_part_the_ends(alteration):
    async with TwoModules() as modules:
        opened = await modules.open(976)
        await chunks(modules.a, opened.stream, 3)
        modules.connections[0].altered = alteration
        (one, _), (two, _) = await asyncio.gather(drain(modules.a, opened.stream, 3), drain(modules.b, opened.stream))
        assert all(x == y for x, y in zip(one, two[3:], strict=False))
        await modules.connect()
        await modules.open()


async def test_a_changed_bit_on_the_simulated_quantum_channel_burns_the_block():
    def noisy(message):
        return sync.Device(bytes([message.carried[0] ^ 1]) + message.carried[1:])

    async with TwoModules() as modules:
        opened = await modules.open()
        await chunks(modules.a, opened.stream, 3)
        modules.connections[0].altered = altering(sync.Device, noisy)
        await until(lambda: min(m.status().counts.unequal_blocks for m in (modules.a, modules.b)) > 3)
        modules.connections[0].altered = bytes
        assert await chunks(modules.a, opened.stream, 50, 3) == (await chunks(modules.b, opened.stream, 53))[3:]


async def test_a_replayed_connection_gets_nothing_accepted():
    async with TwoModules() as modules:
        modules.connections[0].recording = True
        opened = await modules.open(976)
        await chunks(modules.b, opened.stream, 3)
        recorded = modules.connections[0].sent
        modules.connections[0].cut()
        await until(lambda: modules.b.status().phase is Phase.DOWN)
        accepted = modules.b.status().counts.accepted_blocks
        near, far = memory_pair(room=len(recorded))
        modules.serve(modules.b.serve, far)
        for frame in recorded:
            await near.send(frame)
        await until(lambda: not far.waiting)
        with pytest.raises(DeviceError, match="opened before"):
            await modules.b.open_connect(B, A, opened.stream, 976)
        assert modules.b.status().counts.accepted_blocks == accepted >= 3
        await near.close()


async def test_a_peer_that_takes_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(qkd_module, "MAX_WAITING", 3)
    module = QkdModule(FaultyDevice(), DeviceRole.INITIATOR, B, raise_defect)
    near, far = memory_pair(room=1)
    task = asyncio.create_task(module.serve(near))
    await until(lambda: module.status().phase is Phase.IDLE)
    for _ in range(3):
        await module.open_connect(A, B, None, None)
    await asyncio.wait_for(task, 1)
    await module.stop()
    assert module.status().phase is Phase.DOWN
    await far.close()


async def test_devices_frames_beyond_the_limit_are_refused_and_end_with_the_stream():
    held = asyncio.get_running_loop().create_future()
    device = FaultyDevice()

    async def keep(channel, role):
        held.set_result(channel)
        await asyncio.Event().wait()

    device.start = keep
    async with TwoModules(device) as modules:
        opened = await modules.open()
        channel = await held
        with pytest.raises(LocalProtocolError, match="split it"):
            await channel.send(bytes(sync.MAX_DEVICE_FRAME_BYTES + 1))
        receiving = asyncio.create_task(channel.receive())
        await asyncio.sleep(0)
        await modules.a.close(opened.stream)
        with pytest.raises(ConnectionLost):
            await receiving
        with pytest.raises(ConnectionLost):
            await channel.send(b"late")


async def test_nothing_that_a_module_shows_shows_key():
    bits = bytes(range(1, 65))
    simulator = RateSetSimulator(
        SimulatorSettings(rate_bps=FAST_BPS),
        block_bytes=1024,
        entropy=lambda size: os.urandom(64) + bits + os.urandom(size - 128),
    )
    with capture_logs() as logs:
        async with TwoModules(simulator) as modules:
            opened = await modules.open(64)
            await modules.a.get_key(opened.stream, 0)
            chunk = await modules.a.get_key(opened.stream, 1)
            assert chunk.reveal() == bits
            shown = repr(modules.a.status()) + repr(vars(modules.a)) + repr(vars(modules.b))
    shown += repr(logs) + repr(chunk)
    for form in (repr(bits[8:12])[2:-1], bits[8:12].hex(), str(list(bits[8:12]))[1:-1]):
        assert form not in shown


async def test_the_log_says_which_neighbour_it_is_about():
    with capture_logs() as logs:
        async with TwoModules(FaultyDevice(flipped({0}))) as modules:
            opened = await modules.open(976)
            await chunks(modules.a, opened.stream, 1)
    said = {(line["event"], line["peer"], line.get("subject")) for line in logs if line["role"] == "initiator"}
    assert said >= {("connected", "B", "sync"), ("block burned: the ends differ", "B", None)}
    assert {line["peer"] for line in logs if line["role"] == "responder"} == {"A"}


async def test_an_unknown_stream_is_not_joined_silently():
    async with TwoModules(settings=ModuleSettings(open_timeout_s=0.1)) as modules:
        stray = StreamId(b"x" * 16)
        await modules.b.open_connect(B, A, stray, 1024)
        with pytest.raises(StreamEnded, match="the other end did not join"):
            await modules.b.get_key(stray, 0)


async def test_frames_that_no_device_takes_are_not_kept():
    async with TwoModules() as modules:
        near, far = memory_pair()
        modules.serve(modules.b.serve, far)
        late = [sync.Open(bytes(15) + b"l", sync.End.INITIATOR, 1024), sync.Device(b"late")]
        await near.send(sync.encode(late))
        await until(lambda: not far.waiting)
        assert modules.b.status().phase is Phase.IDLE
        assert vars(modules.b)["_frames"] == {}
        await near.close()
