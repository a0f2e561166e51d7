"""A pair of boxes with ETSI GS QKD 004: real modules as the boxes, and boxes that fail in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.etsi004 import LEAD, Etsi004Device
from qss.adapters.devices.patience import Patience
from qss.model.errors import DeviceError
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceRole
from qss.wire.etsi004.messages import (
    Close,
    Error,
    Form,
    GetKey,
    GetKeyAnswer,
    OpenConnect,
    OpenConnectAnswer,
    QoS,
)
from qss.wire.vendor_boxes import Joined, Mark, Opened, encode
from support.box_with_004 import CHUNK_BYTES, KSID, ScriptedBox, chunk, refusing, scripted
from support.device_ends import ending, read, same
from support.module_runners import A, B, TwoModules, chunks
from support.pki import Pki
from support.southbounds import Southbounds
from support.vendor_box import client_of_004

HASTY = Patience(first_pause_s=0.005, longest_pause_s=0.02, silence_s=0.3)


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("etsi004") / "pki")


@pytest.fixture
def boxes() -> tuple[ScriptedBox, ScriptedBox]:
    return ScriptedBox(), ScriptedBox()


@asynccontextmanager
async def pair(boxes, channels, pki, **settings) -> AsyncIterator[tuple[Etsi004Device, Etsi004Device]]:
    """Both ends, running."""
    a, b = boxes
    devices = (
        Etsi004Device(lambda: a.client(pki), "app:a", "app:b", patience=HASTY, **settings),
        Etsi004Device(lambda: b.client(pki), "app:b", "app:a", patience=HASTY),
    )
    async with scripted(pki, a, b):
        try:
            for device, channel, role in zip(devices, channels, DeviceRole, strict=True):
                await device.start(channel, role)
            yield devices
        finally:
            for device in devices:
                await device.stop()


# --- real modules as the boxes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Form)
async def test_key_of_two_modules_becomes_the_key_stream_of_two_others(pki, form) -> None:
    async with TwoModules() as vendor, Southbounds(vendor, pki) as boxes:
        devices = (
            Etsi004Device(partial(client_of_004, boxes, pki, A, form), "qks:A", "qks:B", chunk_bytes=512),
            Etsi004Device(partial(client_of_004, boxes, pki, B, form), "qks:B", "qks:A"),
        )
        async with TwoModules(*devices) as modules, asyncio.timeout(20):
            opened = await modules.open(1024)
            one, two = await asyncio.gather(*(chunks(module, opened.stream, 50) for module in (modules.a, modules.b)))
            assert one == two
            assert len(set(one)) == 50
            assert [module.status().counts.unequal_blocks for module in (modules.a, modules.b)] == [0, 0]
            await modules.a.close(opened.stream)
            again = await modules.open(1024)
            one, two = await asyncio.gather(*(chunks(module, again.stream, 5) for module in (modules.a, modules.b)))
            assert one == two
        assert vendor.a.status().counts.streams == 2


async def test_a_cut_between_the_boxes_ends_the_stream_with_a_reason(pki, channels) -> None:
    async with TwoModules() as vendor, Southbounds(vendor, pki) as boxes:
        devices = [
            Etsi004Device(partial(client_of_004, boxes, pki, site), f"qks:{site}", f"qks:{peer}", patience=HASTY)
            for site, peer in ((A, B), (B, A))
        ]
        for device, channel, role in zip(devices, channels, DeviceRole, strict=True):
            await device.start(channel, role)
        await same(devices, 3)
        assert vendor.connections is not None
        await vendor.connections[0].close()
        told = await ending(devices)
        for device in devices:
            await device.stop()
    assert any("the key stream has ended there" in text for text in told)


# --- blocks -------------------------------------------------------------------------------------------------------


async def test_blocks_are_whole_chunks_index_by_index(boxes, channels, pki) -> None:
    async with pair(boxes, channels, pki, block_bytes=1100) as devices:
        blocks = await same(devices, 3)
    assert [len(block) for block in blocks] == [3 * CHUNK_BYTES] * 3
    assert b"".join(blocks) == b"".join(chunk(index) for index in range(9))
    for box, names in zip(boxes, (("app:a", "app:b"), ("app:b", "app:a")), strict=True):
        opening = box.asked[0]
        assert (opening.source, opening.destination) == names
        assert box.pulled() == list(range(9))
        assert box.asked[-1] == Close(KSID)
    assert [box.asked[0].stream for box in boxes] == [bytes(16), KSID]


async def test_neither_end_runs_far_ahead(boxes, channels, pki) -> None:
    for ahead, behind in ((0, 1), (1, 0)):
        for box in boxes:
            box.asked.clear()
        async with pair(boxes, type(channels[0]).pair(), pki) as devices:
            await same(devices)
            reading = asyncio.create_task(read(devices[ahead], 20))
            await asyncio.sleep(0.1)
            assert not reading.done()
            assert max(boxes[ahead].pulled()) == 2 * (1 + LEAD) - 1
            assert len(await read(devices[behind], 20)) == len(await reading)


async def test_a_rate_is_measured(boxes, channels, pki) -> None:
    async with pair(boxes, channels, pki, rate_bps=5.0) as devices:
        assert devices[0].status().rate_bps == 5.0
        await same(devices, 3)
        assert all(device.status().rate_bps > 1000 for device in devices)
        assert devices[0].status().qber is None


# --- statuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("call", [OpenConnect, GetKey])
@pytest.mark.parametrize("status", [1, 3, 6])
async def test_what_passes_by_itself_is_waited_for(boxes, channels, pki, call, status, end) -> None:
    if call is OpenConnect and status == 1:
        boxes[end].odd = lambda request: (
            OpenConnectAnswer(1, QoS(key_chunk_size=CHUNK_BYTES), KSID) if isinstance(request, OpenConnect) else None
        )
    else:
        boxes[end].odd = refusing(call, status, times=4)
    async with pair(boxes, channels, pki) as devices:
        await same(devices, 2)


async def test_key_is_waited_for_without_end(boxes, channels, pki) -> None:
    boxes[0].odd = refusing(GetKey, 2)
    async with pair(boxes, channels, pki) as devices:
        reading = asyncio.create_task(same(devices, 2))
        await asyncio.sleep(0.5)  # longer than a box may be silent
        assert not reading.done()
        assert "waiting for the vendor's box" in devices[0].status().note
        assert 10 < len(boxes[0].pulled()) < 100
        boxes[0].odd = lambda _: None
        await reading
        assert devices[0].status().note == ""
    assert boxes[0].pulled()[-4:] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        (OpenConnect, 4, "no connection to its peer"),
        (OpenConnect, 5, "in use by somebody else"),
        (OpenConnect, 7, "set another chunk_bytes"),
        (OpenConnect, 6, "OPEN_CONNECT was answered timeout"),
        (OpenConnect, 8, "the standard has no such answer"),
        (OpenConnect, 9, "status 9 is none of edition 2.1.1"),
        (GetKey, 4, "no connection to its peer"),
        (GetKey, 5, "in use by somebody else"),
        (GetKey, 7, "the standard has no such answer"),
        (GetKey, 3, "GET_KEY was answered peer application not connected"),
        (GetKey, 6, "no usable answer for 0.3 s"),
        (GetKey, 8, "the standard has no such answer"),
    ],
)
@pytest.mark.parametrize("end", [0, 1])
async def test_what_does_not_pass_is_explained(boxes, channels, pki, call, status, told, end) -> None:
    boxes[end].odd = refusing(call, status)
    async with pair(boxes, channels, pki) as devices:
        assert told in (await ending(devices))[end]


async def test_a_counter_proposal_is_told_with_what_to_set(boxes, channels, pki) -> None:
    boxes[0].odd = lambda request: (
        OpenConnectAnswer(7, QoS(key_chunk_size=32)) if isinstance(request, OpenConnect) else None
    )
    async with pair(boxes, channels, pki, chunk_bytes=64) as devices:
        assert "it offers chunks of 32 bytes: set chunk_bytes to that" in (await ending(devices))[0]


async def test_a_counter_proposal_of_the_same_chunks_is_accepted(boxes, channels, pki) -> None:
    def odd(request):
        if isinstance(request, OpenConnect) and request.qos.timeout != 250:
            return OpenConnectAnswer(7, QoS(key_chunk_size=CHUNK_BYTES, timeout=250))
        return None

    boxes[0].odd = boxes[1].odd = odd
    async with pair(boxes, channels, pki, chunk_bytes=CHUNK_BYTES) as devices:
        await same(devices, 2)


async def test_a_box_that_gives_no_key_without_metadata_gets_room_for_it(boxes, channels, pki) -> None:
    def odd(request):
        if isinstance(request, GetKey):
            if request.metadata_size < 40:
                return GetKeyAnswer(8, needed=40)
            return GetKeyAnswer(0, request.index, KeyMaterial(chunk(request.index)), b'{"age": 1}')
        return None

    boxes[0].odd = odd
    async with pair(boxes, channels, pki) as devices:
        await same(devices, 2)
    assert boxes[0].pulled() == [0, 0, 1, 2, 3]


# --- boxes that lie, break or vanish ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (GetKeyAnswer(0, 1, KeyMaterial(chunk(1))), "512 bytes at index 1 where 512 at 0 were asked for"),
        (GetKeyAnswer(0, 0, KeyMaterial(chunk(0, 500))), "500 bytes at index 0 where 512 at 0 were asked for"),
        (GetKeyAnswer(0, 0, KeyMaterial(b"")), "success, and no key"),
        (Error(), "the server serves no such call"),
        (b"\xff" * 40, "cannot be read"),
        (b"", "broke off"),
    ],
)
async def test_key_that_cannot_be_right_ends_the_stream(boxes, channels, pki, answer, told) -> None:
    boxes[1].odd = lambda request: answer if isinstance(request, GetKey) else None
    with capture_logs() as logs:
        async with pair(boxes, channels, pki) as devices:
            _, responder = await ending(devices)
    assert told in responder
    assert not any(str(chunk(index, 16))[2:-1] in responder + str(logs) for index in range(2))


@pytest.mark.parametrize("size", [0, 70_000])
async def test_chunks_of_a_size_that_cannot_be(boxes, channels, pki, size) -> None:
    boxes[0].odd = lambda request: (
        OpenConnectAnswer(0, QoS(key_chunk_size=size), KSID) if isinstance(request, OpenConnect) else None
    )
    async with pair(boxes, channels, pki) as devices:
        assert f"chunks have {size} bytes" in (await ending(devices))[0]


async def test_a_stream_without_a_name(boxes, channels, pki) -> None:
    boxes[0].odd = lambda request: (
        OpenConnectAnswer(0, QoS(key_chunk_size=512)) if isinstance(request, OpenConnect) else None
    )
    async with pair(boxes, channels, pki) as devices:
        assert "gave it no Key_stream_ID" in (await ending(devices))[0]


async def test_boxes_with_two_sizes_of_chunks(boxes, channels, pki) -> None:
    boxes[1].odd = lambda request: (
        OpenConnectAnswer(0, QoS(key_chunk_size=256), KSID) if isinstance(request, OpenConnect) else None
    )
    async with pair(boxes, channels, pki) as devices:
        assert "chunks of 512 bytes at one end and of 256 at the other" in (await ending(devices))[1]


async def test_a_connection_that_is_lost_half_way_is_made_anew(boxes, channels, pki) -> None:
    lost = 3

    def odd(request):
        nonlocal lost
        if isinstance(request, GetKey) and request.index == 3 and lost:
            lost -= 1
            return b"\2\1\1\5\0\0"
        return None

    boxes[0].odd = odd
    async with pair(boxes, channels, pki) as devices:
        await same(devices, 4)
    assert boxes[0].connections == 4
    assert boxes[1].connections == 1


async def test_a_box_that_is_gone_is_given_up_in_time(boxes, channels, pki) -> None:
    device = Etsi004Device(lambda: boxes[0].client(pki), "app:a", "app:b", patience=HASTY)
    async with scripted(pki, boxes[0]):
        pass
    await device.start(channels[0], DeviceRole.INITIATOR)
    with pytest.raises(DeviceError, match=r"no usable answer for 0\.3 s: .* cannot connect"):
        await device.read()
    await device.stop()


# --- the other end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc0"],
        [encode(Mark(0))],
        [encode(Opened(KSID, 512, 1024))],
        [encode(Joined()), *[encode(Joined())] * LEAD],
        [encode(Joined()), encode(Mark(1))],
    ],
)
async def test_another_frame_than_is_due_ends_it(boxes, channels, pki, frames) -> None:
    device = Etsi004Device(lambda: boxes[0].client(pki), "app:a", "app:b", patience=HASTY)
    async with scripted(pki, boxes[0]):
        await device.start(channels[0], DeviceRole.INITIATOR)
        for frame in frames:
            await channels[1].send(frame)
        with pytest.raises(DeviceError, match="the other end"):
            await read(device, LEAD + 1)
        await device.stop()


async def test_boxes_that_give_other_bytes_at_the_ends_are_found_out_by_the_modules(boxes, pki) -> None:
    def odd(request):
        if isinstance(request, GetKey) and request.index == 5:
            return GetKeyAnswer(0, 5, KeyMaterial(chunk(1 << 20)))
        return None

    boxes[1].odd = odd
    a, b = boxes
    async with scripted(pki, a, b):
        devices = (
            Etsi004Device(lambda: a.client(pki), "app:a", "app:b"),
            Etsi004Device(lambda: b.client(pki), "app:b", "app:a"),
        )
        async with TwoModules(*devices) as modules, asyncio.timeout(10):
            opened = await modules.open(256)
            one, two = await asyncio.gather(*(chunks(module, opened.stream, 20) for module in (modules.a, modules.b)))
            assert one == two
            assert [module.status().counts.unequal_blocks for module in (modules.a, modules.b)] == [1, 1]


def test_settings_that_cannot_be(boxes, pki) -> None:
    for wrong in (
        {"block_bytes": 1023},
        {"block_bytes": 65_537},
        {"rate_bps": 0.0},
        {"chunk_bytes": -1},
        {"chunk_bytes": 65_537},
    ):
        with pytest.raises(DeviceError, match="cannot yield"):
            Etsi004Device(lambda: boxes[0].client(pki), "app:a", "app:b", **wrong)
