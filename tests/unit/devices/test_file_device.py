"""Couriered key at two ends: they go on from the higher position, compare their files first, and say when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.file import FileDevice
from qss.adapters.devices.key_files import Used
from qss.model.errors import DeviceError, StreamEnded
from qss.model.identifiers import StreamId
from qss.ports.device import DeviceRole
from qss.wire.sync import MAX_DEVICE_FRAME_BYTES
from support.device_channel import MemoryChannel
from support.failing_disk import PowerCut
from support.module_runners import TwoModules, chunks

BLOCK = 1024
BLOCKS = 8


def key(size=BLOCKS * BLOCK, seed=1):
    return random.Random(seed).randbytes(size)


def put(path, content):
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


@pytest.fixture
def paths(tmp_path):
    return put(tmp_path / "here", key()), put(tmp_path / "there", key())


def device(path, **settings):
    return FileDevice(path, rate_bps=1e9, **{"block_bytes": BLOCK} | settings)


def pair(paths, **settings):
    return device(paths[0], **settings), device(paths[1], **settings)


async def started(devices):
    channels = MemoryChannel.pair()
    for end, channel, role in zip(devices, channels, DeviceRole, strict=True):
        await end.start(channel, role)
    return channels


async def drained(end, channel, most=1000):
    """Read until the device ends or dies; return the blocks and why."""
    got = []
    try:
        while len(got) < most:
            got.append((await end.read()).material.reveal())
    except (DeviceError, PowerCut) as error:
        await channel.cut()
        return got, error
    return got, None


async def run(devices, most=1000, begun=lambda: None):
    """Run both ends until one ends, and stop them. Return each end's blocks and reason."""
    channels = await started(devices)
    begun()
    ended = await asyncio.gather(*(drained(e, c, most) for e, c in zip(devices, channels, strict=True)))
    for end in devices:
        await end.stop()
    return ended


async def pulled(module, stream):
    """Pull until the stream ends."""
    got = []
    with contextlib.suppress(StreamEnded):
        while True:
            got.append((await module.get_key(stream, len(got))).reveal())
    return got


def agree(one, two):
    return all(x == y for x, y in zip(one, two, strict=False))


# --- crashes ------------------------------------------------------------------------------------------------------

STEPS = ("_write_position", "_read", "_overwrite")


def dying(end, step, at, *, after):
    """Let an end die at the call of that number of a step: before the step is taken, or after."""
    files, calls = end._files, iter(range(10_000))
    taken = getattr(files, step)

    def dies(*args):
        if next(calls) != at:
            return taken(*args)
        if after:
            taken(*args)
        raise PowerCut

    setattr(files, step, dies)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)], ids=["initiator", "responder", "both"])
async def test_whoever_dies_at_whatever_step_no_byte_is_used_twice_and_the_ends_stay_equal(paths, who, step, after, at):
    first = pair(paths)

    def arm():
        for end in who:
            dying(first[end], step, at, after=after)

    (one, why), (two, why_too) = await run(first, begun=arm)
    assert isinstance(why if 0 in who else why_too, PowerCut)
    assert agree(one, two)

    (three, _), (four, _) = await run(pair(paths))
    assert three == four
    assert not set(one + two) & set(three), "bytes that left before the crash came again"
    known = [key()[at : at + BLOCK] for at in range(0, BLOCKS * BLOCK, BLOCK)]
    assert all(block in known for block in one + two + three)
    assert len({*one, *two, *three}) >= BLOCKS - 1, "a crash costs one block at most"
    for path in paths:
        assert not any(path.read_bytes())


async def test_what_the_other_end_has_used_is_given_up_and_erased(paths):
    here, there = pair(paths)
    there._files.open()
    there._files.take(0, 3000)  # an end that went on alone
    there._files.close()
    with capture_logs() as logs:
        (one, _), (two, _) = await run((here, there), 2)
    assert one == two == [key()[3000:4024], key()[4024:5048]]
    assert any(line["event"].startswith("couriered key is given up") and line["bits"] == 24_000 for line in logs)
    assert paths[0].read_bytes()[:5048] == bytes(5048)


async def test_a_lost_state_at_one_end_is_made_up_for_by_the_other(paths):
    await run(pair(paths, used=Used.KEPT), 3)
    for place in paths[0].with_name("here.state").iterdir():
        place.unlink()
    (one, _), (two, _) = await run(pair(paths, used=Used.KEPT), 2)
    assert one == two == [key()[3 * BLOCK : 4 * BLOCK], key()[4 * BLOCK : 5 * BLOCK]]


async def test_two_modules_lose_nothing_but_what_a_crash_cost(paths):
    first = pair(paths, block_bytes=BLOCK)
    async with TwoModules(*first) as modules:
        opened = await modules.open(BLOCK - 48)
        before = await asyncio.gather(*(chunks(m, opened.stream, 2) for m in (modules.a, modules.b)))
    async with TwoModules(*pair(paths)) as modules:
        opened = await modules.open(BLOCK - 48)
        one, two = await asyncio.gather(*(pulled(m, opened.stream) for m in (modules.a, modules.b)))
    assert before[0] == before[1]
    assert agree(one, two)
    assert len(one) + len(two) > 0
    assert not set(before[0]) & {*one, *two}


# --- two ends -----------------------------------------------------------------------------------------------------


async def test_two_different_files_are_found_before_anything_is_used(paths):
    put(paths[1], key(seed=2))
    for got, why in await run(pair(paths)):
        assert got == []
        assert "different key" in str(why) or "has ended" in str(why)
    assert paths[0].read_bytes() == key()
    assert paths[1].read_bytes() == key(seed=2)


async def test_a_file_that_only_one_end_has_waits(tmp_path):
    folders = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        put(folder / "1", key(2 * BLOCK))
        folders.append(folder)
    put(folders[0] / "2", key(2 * BLOCK, 2))
    ends = pair(folders)
    with capture_logs() as logs:
        ended = await run(ends)
    assert [len(got) for got, _ in ended] == [2, 2]
    assert any("more files" in line["event"] for line in logs)
    assert [end.status().exhausted for end in ends] == [False, True]
    put(folders[1] / "2", key(2 * BLOCK, 2))
    assert not ends[1].status().exhausted
    (one, _), (two, _) = await run(ends)
    assert one == two == [key(2 * BLOCK, 2)[:BLOCK], key(2 * BLOCK, 2)[BLOCK:]]


async def test_the_smaller_block_counts(paths):
    (one, _), (two, _) = await run((device(paths[0], block_bytes=4096), device(paths[1])), 3)
    assert one == two
    assert {len(block) for block in one} == {BLOCK}


@pytest.mark.parametrize(
    "frame",
    [b"", b"{}", b"\xff", b"[]", b"null", b'{"device": "file", "version": 2, "block_bytes": 1024, "files": []}',
     b'{"device": "file", "version": 1, "block_bytes": 1, "files": []}',
     b'{"device": "file", "version": 1, "block_bytes": 1024, "files": [1]}', bytes(2048),
     b'{"device": "file", "version": 1, "block_bytes": 1e999, "files": []}',
     b'{"device": "file", "version": 1, "block_bytes": 1024, "files": [[Infinity, "00"]]}', b"[" * 131_000],
)  # fmt: skip
async def test_another_kind_of_device_at_the_other_end_is_refused(paths, frame):
    end = device(paths[0])
    near, far = MemoryChannel.pair()
    await end.start(near, DeviceRole.INITIATOR)
    await far.send(frame)
    with pytest.raises(DeviceError, match=r"configure both ends alike|correct its configuration"):
        await end.read()
    assert paths[0].read_bytes() == key()
    await end.stop()


@pytest.mark.parametrize("frame", [b"", bytes(7), bytes(9), (1 << 40).to_bytes(8), (BLOCKS * BLOCK + 1).to_bytes(8)])
async def test_a_position_that_cannot_be_uses_nothing(paths, frame):
    end, other = pair(paths)
    near, far = await started((end, other))
    reading = asyncio.create_task(end.read())
    hello = await far.receive()
    await far.send(hello)
    await far.send(frame)
    with pytest.raises(DeviceError, match="what cannot be"):
        await reading
    assert paths[0].read_bytes() == key()
    for each in (end, other):
        await each.stop()
    del near


async def test_the_first_frame_of_as_many_files_as_can_be_fits_the_channel(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    for number in range(1000):
        put(folder / f"{number:04}", key(100, seed=number))
    end = device(folder)
    near, far = MemoryChannel.pair()
    await end.start(near, DeviceRole.INITIATOR)
    reading = asyncio.create_task(end.read())
    assert len(await far.receive()) < MAX_DEVICE_FRAME_BYTES
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await end.stop()


async def test_an_end_that_lies_cannot_have_all_key_given_up(tmp_path):
    many = key(100 * BLOCK)
    path = tmp_path / "key"
    put(path, many)
    end = device(path)
    near, far = MemoryChannel.pair()
    await end.start(near, DeviceRole.INITIATOR)
    reading = asyncio.create_task(end.read())
    await far.send(await far.receive())
    await far.send((65 * BLOCK).to_bytes(8))
    with pytest.raises(DeviceError, match="which no interruption explains"):
        await reading
    assert path.read_bytes() == many
    await end.stop()


async def test_key_under_two_names_is_refused(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    put(folder / "k.001", key())
    put(folder / "k.002", key())
    near, _ = MemoryChannel.pair()
    with pytest.raises(DeviceError, match=r"k.002 holds the same key as k.001, which would be used twice"):
        await device(folder).start(near, DeviceRole.INITIATOR)


# --- the end ------------------------------------------------------------------------------------------------------


async def test_the_operator_is_told_before_the_end_and_at_it(paths):
    here, there = pair(paths, warn_bits=8 * 3 * BLOCK)
    assert here.status().left_bits is None
    with capture_logs() as logs:
        await run((here, there), 5)
        assert (here.status().left_bits, here.status().note) == (8 * 3 * BLOCK, "")
        assert not any("runs low" in line["event"] for line in logs)
        await run((here, there), 1)
        assert "16384 bits are left: bring more" in here.status().note
        (one, why), _ = await run((here, there))
    assert len(one) == 2
    assert "used up: bring fresh key" in str(why)
    events = [(line["event"], line["log_level"]) for line in logs]
    assert events.count(("couriered key runs low: bring more to both ends", "warning")) == 2  # once at each end
    assert ("couriered key is used up", "error") in events
    status = here.status()
    assert (status.exhausted, status.left_bits) == (True, 0)
    assert "used up" in status.note


async def test_no_key_stream_is_opened_for_key_that_is_used_up(paths):
    ends = pair(paths)
    await run(ends)
    async with TwoModules(*ends) as modules:
        with pytest.raises(DeviceError, match="used up: bring fresh key"):
            await modules.open()


async def test_nor_is_one_begun_by_whoever_calls_the_module_from_outside(paths):
    ends = pair(paths)
    await run(ends)
    async with TwoModules(*ends) as modules:
        with pytest.raises(DeviceError, match="used up: bring fresh key"):
            modules.a.begin(StreamId(b"s" * 16), 256)


async def test_a_rest_that_makes_no_block_is_left(tmp_path):
    paths = [put(tmp_path / name, key(BLOCK + 500)) for name in ("here", "there")]
    for got, why in await run(pair(paths)):
        assert got == [key(BLOCK + 500)[:BLOCK]]
        assert "used up" in str(why)


async def test_an_end_that_was_left_behind_at_the_end_catches_up(paths):
    here, there = pair(paths)
    there._files.open()
    there._files.take(0, BLOCKS * BLOCK)
    there._files.close()
    channels = MemoryChannel.pair()
    await here.start(channels[0], DeviceRole.INITIATOR)
    reading = asyncio.create_task(here.read())
    await channels[1].send(await channels[1].receive())
    await channels[1].receive()
    await channels[1].send((BLOCKS * BLOCK).to_bytes(8))
    with pytest.raises(DeviceError, match="used up"):
        await reading
    assert here.status().exhausted
    assert not any(paths[0].read_bytes())
    await here.stop()


async def test_it_is_used_no_faster_than_the_rate_says(paths):
    ends = pair(paths)
    for end in ends:
        end._rate_bps = 8 * BLOCK / 0.05
    begun = asyncio.get_running_loop().time()
    await run(ends, 4)
    assert asyncio.get_running_loop().time() - begun >= 0.14  # three blocks after the first one


@pytest.mark.parametrize("settings", [{"rate_bps": 0}, {"block_bytes": 1023}, {"block_bytes": 65_537}])
def test_what_cannot_be_is_refused(tmp_path, settings):
    with pytest.raises(DeviceError, match="set a rate above 0"):
        FileDevice(tmp_path, **settings)
