"""A pair of boxes with ETSI GS QKD 014, on real HTTPS servers that fail in every way."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from qss.adapters.devices.etsi014 import Etsi014Device, Side
from qss.adapters.devices.patience import Patience
from qss.model.errors import DeviceError
from qss.model.keys import KeyLimits
from qss.ports.device import DeviceRole
from qss.servers.messages import JSON, Response, error_response
from qss.wire.etsi014.paths import Method
from support.device_ends import ending, same
from support.module_runners import TwoModules, chunks
from support.northbound import ALICE, BOB, FakeKeyService
from support.pki import Pki
from support.vendor_box import RandomKeys, always, listening, on, only_get, pair_of_boxes

HASTY = Patience(first_pause_s=0.005, longest_pause_s=0.02, silence_s=0.3, late_s=0.05, losses=3)
BLOCK_BYTES = 1024


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("etsi014") / "pki")


@pytest.fixture
def service() -> FakeKeyService:
    return FakeKeyService(stock=100_000)


@pytest.fixture
def boxes(pki, service):
    return pair_of_boxes(pki, service)


@asynccontextmanager
async def pair(boxes, channels, **settings) -> AsyncIterator[tuple[Etsi014Device, Etsi014Device]]:
    """Both ends, running; `timeout` is that of a request to a box."""
    timeout = settings.pop("timeout", 5.0)
    a, b = boxes
    devices = (
        Etsi014Device(lambda: a.client(timeout), Side.MASTER, ALICE, BOB, patience=HASTY, **settings),
        Etsi014Device(lambda: b.client(timeout), Side.SLAVE, BOB, ALICE, patience=HASTY),
    )
    async with listening(a, b):
        try:
            for device, channel, role in zip(devices, channels, DeviceRole, strict=True):
                await device.start(channel, role)
            yield devices
        finally:
            for device in devices:
                await device.stop()


# --- blocks -------------------------------------------------------------------------------------------------------


async def test_a_block_is_the_keys_of_several_requests_in_their_order(boxes, channels, service) -> None:
    service.limits = KeyLimits(max_key_per_request=10)
    async with pair(boxes, channels) as devices:
        (block,) = await same(devices)
    assert [call[3].number for call in service.asked if call[0] == "enc_keys"] == [10, 10, 10, 2]
    given = [(n * 1000 + position).to_bytes(4) * 8 for n, count in ((1, 10), (2, 10), (3, 10), (4, 2))
             for position in range(count)]  # fmt: skip
    assert block == b"".join(given)


async def test_size_is_asked_for_only_if_it_is_not_the_boxs_own(boxes, channels, service) -> None:
    async with pair(boxes, channels, key_bits=512, block_bytes=4096) as devices:
        (block,) = await same(devices)
    assert len(block) == 4096
    async with pair(boxes, type(channels[0]).pair(), key_bits=256) as devices:
        await same(devices)
    assert [(call[3].number, call[3].size) for call in service.asked if call[0] == "enc_keys"] == [
        (64, 512),
        (32, None),
    ]


async def test_the_slaves_limit_of_a_request_counts_as_well(boxes, channels, service) -> None:
    boxes[1].oddity = on(Method.STATUS, always(200, b'{"key_size": 256, "max_key_per_request": 7}'))
    async with pair(boxes, channels) as devices:
        await same(devices)
    assert [call[3].number for call in service.asked if call[0] == "enc_keys"] == [7, 7, 7, 7, 4]


@pytest.mark.parametrize("answer", [always(401), always(400), always(200, b"{}"), always(405)])
async def test_a_box_may_tell_its_slave_no_status(boxes, channels, answer) -> None:
    boxes[1].oddity = on(Method.STATUS, answer)
    async with pair(boxes, channels) as devices:
        await same(devices, 2)


async def test_boxes_that_know_only_get(boxes, channels) -> None:
    for box in boxes:
        box.oddity = only_get
    async with pair(boxes, channels) as devices:
        await same(devices, 3)
    assert sum(method == "POST" for method, _ in boxes[0].asked) == 1
    assert sum(method == "POST" for method, _ in boxes[1].asked) == 1
    assert boxes[1].asked_for(Method.DEC_KEYS) == 1 + 3 * 32


async def test_a_rate_is_measured(boxes, channels) -> None:
    async with pair(boxes, channels, rate_bps=5.0) as devices:
        assert devices[0].status().rate_bps == 5.0
        await same(devices, 3)
        assert all(device.status().rate_bps > 1000 for device in devices)
        assert devices[0].status().qber is None


# --- too little key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [None, (503, b""), (400, b'{"message": "insufficient keys"}'), (200, b'{"keys":[]}')]
)
async def test_key_is_waited_for(boxes, channels, service, refusal) -> None:
    if refusal is None:
        service.stock = 0
    else:
        boxes[0].oddity = on(Method.ENC_KEYS, always(*refusal))
    async with pair(boxes, channels) as devices:
        reading = asyncio.create_task(same(devices))
        await asyncio.sleep(0.5)  # longer than a box may be silent
        assert not reading.done()
        assert "waiting for the vendor's box: the box has too little key now" in devices[0].status().note
        assert 10 < boxes[0].asked_for(Method.ENC_KEYS) < 100
        service.stock, boxes[0].oddity = 1000, None
        assert len(await reading) == 1
        assert devices[0].status().note == ""
    assert boxes[1].asked_for(Method.DEC_KEYS) == 1


async def test_a_box_that_never_has_a_blocks_keys_at_once_is_asked_for_what_it_has(boxes, channels, service) -> None:
    service.stock = 5

    async def refill() -> None:
        while True:
            await asyncio.sleep(0.01)
            service.stock = 5

    async with pair(boxes, channels) as devices:
        refilling = asyncio.create_task(refill())
        await same(devices)
        refilling.cancel()


async def test_a_box_that_answers_fewer_keys_than_asked_for_is_asked_on(boxes, channels) -> None:
    async def odd(ours, request):
        response = await ours(request)
        return await changed(response, lambda keys: keys.__delitem__(slice(5, None))) if is_ask(request) else response

    def is_ask(request) -> bool:
        return request.path.endswith("/enc_keys")

    boxes[0].oddity = odd
    async with pair(boxes, channels) as devices:
        await same(devices, 2)
        assert devices[0].status().lost_bits == 0
    assert boxes[0].asked_for(Method.ENC_KEYS) == 2 * 7


# --- keys that one end does not have ------------------------------------------------------------------------------


def losing(boxes, *which: int):
    """Let the slave's box not find the keys of these requests, counted from 0 without repeats."""
    seen: dict[bytes, int] = {}

    async def odd(ours, request):
        if not request.path.endswith("/dec_keys"):
            return await ours(request)
        number = seen.setdefault(request.body, len(seen))
        return (
            error_response(400, "one or more keys specified are not found on KME")
            if number in which
            else await ours(request)
        )

    boxes[1].oddity = odd


async def test_a_missing_key_costs_its_request_at_both_ends_and_no_more(boxes, channels, service) -> None:
    service.limits = KeyLimits(max_key_per_request=10)
    losing(boxes, 1, 2, 6)
    async with pair(boxes, channels) as devices:
        blocks = await same(devices, 3)
        assert [device.status().lost_bits for device in devices] == [30 * 256] * 2
        assert (await same(devices))[0] not in blocks
    lost = [(number * 1000).to_bytes(4) * 8 for number in (2, 3)]
    assert not any(key in block for key in lost for block in blocks)
    assert [device.status().lost_bits for device in devices] == [30 * 256] * 2


async def test_a_key_that_comes_late_to_the_slaves_box_is_not_lost(boxes, channels) -> None:
    late = 3

    async def odd(ours, request):
        nonlocal late
        if request.path.endswith("/dec_keys") and late:
            late -= 1
            return error_response(400, "one or more keys specified are not found on KME")
        return await ours(request)

    boxes[1].oddity = odd
    async with pair(boxes, channels) as devices:
        await same(devices, 2)
        assert devices[0].status().lost_bits == 0


async def test_boxes_that_are_no_pair_are_told_apart_before_much_key_is_lost(boxes, channels) -> None:
    losing(boxes, *range(100))
    async with pair(boxes, channels) as devices:
        _, slave = await ending(devices)
    assert "none of the keys of 3 requests in a row; check that the boxes are a pair" in slave
    assert boxes[0].asked_for(Method.ENC_KEYS) == 3


@pytest.mark.parametrize("body", [b"{", b'{"keys": []}', b"<html>", b"\xff", b'{"keys": [{"key_ID": "x", "key": ""}]}'])
async def test_an_answer_that_cannot_be_used_is_a_missing_key_at_the_slave(boxes, channels, body) -> None:
    count = 0

    async def odd(ours, request):
        nonlocal count
        if request.path.endswith("/dec_keys"):
            count += 1
            if count == 2:
                return Response(200, JSON, body)
        return await ours(request)

    boxes[1].oddity = odd
    async with pair(boxes, channels) as devices:
        await same(devices, 3)
        assert [device.status().lost_bits for device in devices] == [8192] * 2


async def test_keys_of_another_size_at_the_slave_are_dropped(boxes, channels) -> None:
    count = 0

    async def odd(ours, request):
        nonlocal count
        response = await ours(request)
        if request.path.endswith("/dec_keys"):
            count += 1
            if count == 1:
                container = json.loads(response.body)
                container["keys"][-1]["key"] = base64.b64encode(bytes(31)).decode()
                return replace(response, body=json.dumps(container).encode())
        return response

    boxes[1].oddity = odd
    async with pair(boxes, channels) as devices:
        await same(devices, 2)
        assert devices[1].status().lost_bits == 8192


# --- boxes that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "told"),
    [
        (Method.STATUS, always(401), "check its certificate"),
        (Method.STATUS, always(400, b'{"message": "unknown SAE"}'), "unknown SAE"),
        (Method.STATUS, always(404), "check the address"),
        (Method.STATUS, always(200, b"<html>"), "check that the address is a key server's"),
        (Method.STATUS, always(200, b'{"key_size": 100}'), "no key can be asked for"),
        (Method.STATUS, always(500), "no usable answer for"),
        (Method.ENC_KEYS, always(401), "check its certificate"),
        (Method.ENC_KEYS, always(400, b'{"message": "unknown SAE"}'), "unknown SAE"),
        (Method.ENC_KEYS, always(200, b"<html>"), "not of the form"),
        (Method.ENC_KEYS, always(200, b'{"keys": [{"key_ID": "1", "key": "AAAA"}]}'), "no UUID"),
        (Method.ENC_KEYS, always(502), "no usable answer for"),
    ],
)
async def test_a_masters_box_that_fails_ends_the_stream_and_says_why(boxes, channels, method, answer, told) -> None:
    boxes[0].oddity = on(method, answer)
    async with pair(boxes, channels) as devices:
        master, _ = await ending(devices)
    assert told in master


@pytest.mark.parametrize(
    ("answer", "told"), [(always(401), "check its certificate"), (always(503), "no usable answer for")]
)
async def test_a_slaves_box_that_fails_ends_the_stream_and_says_why(boxes, channels, answer, told) -> None:
    boxes[1].oddity = on(Method.DEC_KEYS, answer)
    async with pair(boxes, channels) as devices:
        _, slave = await ending(devices)
    assert told in slave
    assert boxes[0].asked_for(Method.ENC_KEYS) == 1


async def test_a_slave_without_its_box_costs_no_key(boxes, channels) -> None:
    boxes[1].oddity = on(Method.STATUS, always(500))
    async with pair(boxes, channels) as devices:
        await ending(devices)
    assert boxes[0].asked_for(Method.ENC_KEYS) == 0


@pytest.mark.parametrize("bits", [12, 32, 16_384])
async def test_a_key_size_that_the_box_does_not_offer(boxes, channels, bits) -> None:
    async with pair(boxes, channels, key_bits=bits) as devices:
        master, _ = await ending(devices)
    assert "set key_bits to a multiple of 8 from 64 to 8192" in master


async def changed(response, change) -> Response:
    container = json.loads(response.body)
    change(container["keys"])
    return replace(response, body=json.dumps(container).encode())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda keys: keys[3].update(key_ID=keys[2]["key_ID"]), "32 keys when 32"),
        (lambda keys: keys[3].update(key=base64.b64encode(bytes(31)).decode()), "another size than 256 bits"),
        (lambda keys: keys[3].update(key=keys[3]["key"] + "="), "no base64"),
        (lambda keys: keys.append({**keys[0], "key_ID": "00000000-0000-4000-8000-000000000000"}), "33 keys"),
    ],
)
async def test_key_that_cannot_be_right_ends_the_stream_and_is_not_shown(boxes, channels, change, told) -> None:
    shown: list[str] = []

    async def odd(ours, request):
        response = await ours(request)
        if request.path.endswith("/enc_keys"):
            shown.extend(key["key"] for key in json.loads(response.body)["keys"])
            return await changed(response, change)
        return response

    boxes[0].oddity = odd
    with capture_logs() as logs:
        async with pair(boxes, channels) as devices:
            master, _ = await ending(devices)
    assert told in master
    assert not any(key[:16] in text for key in shown for text in (master, str(logs)))


def giving_again(where=lambda: True):
    """Answer asks, where `where` says so, with a key that an earlier answer gave in place of the first."""
    given: list[dict[str, str]] = []

    async def odd(ours, request):
        response = await ours(request)
        if not request.path.endswith("/enc_keys"):
            return response
        if given and where():
            return await changed(response, lambda keys: keys.__setitem__(0, given[0]))
        given.extend(json.loads(response.body)["keys"])
        return response

    return odd


async def test_a_box_that_gives_a_key_id_again_ends_the_stream(boxes, channels) -> None:
    boxes[0].oddity = giving_again()
    async with pair(boxes, channels) as devices:
        master, _ = await ending(devices)
    assert "a key ID a second time" in master


async def test_a_box_that_gives_a_key_id_of_an_earlier_stream_again_ends_the_stream(boxes, channels) -> None:
    """As one that was reset would, or one that forgets what it has given."""
    again = False
    boxes[0].oddity = giving_again(lambda: again)
    async with pair(boxes, channels) as devices:
        await same(devices)
        again = True
        for device in devices:
            await device.stop()
        for device, channel, role in zip(devices, type(channels[0]).pair(), DeviceRole, strict=True):
            await device.start(channel, role)
        master, _ = await ending(devices)
    assert "a key ID a second time" in master


async def test_a_slave_knows_a_key_id_again_also_where_the_master_was_restarted(boxes, channels) -> None:
    boxes[0].oddity = giving_again()
    async with pair(boxes, channels) as (master, slave):
        await same((master, slave))
        for device in (master, slave):
            await device.stop()
        fresh = Etsi014Device(lambda: boxes[0].client(5.0), Side.MASTER, ALICE, BOB, patience=HASTY)
        for device, channel, role in zip((fresh, slave), type(channels[0]).pair(), DeviceRole, strict=True):
            await device.start(channel, role)
        _, told = await ending((fresh, slave))
        await fresh.stop()
    assert "a key ID a second time" in told


async def test_a_slow_box_is_asked_again_and_given_up_in_time(boxes, channels) -> None:
    slow = 1

    async def odd(ours, request):
        nonlocal slow
        if request.path.endswith("/enc_keys") and slow:
            slow -= 1
            await asyncio.sleep(0.2)
        return await ours(request)

    boxes[0].oddity = odd
    async with pair(boxes, channels, timeout=0.1) as devices:
        await same(devices)
        slow = 100
        master, _ = await ending(devices)
    assert "no answer within 0.1 s" in master


async def test_a_box_that_goes_half_way_and_comes_back_is_gone_on_with(boxes, channels) -> None:
    a, b = boxes
    gone = False

    async def odd(ours, request):
        if gone:
            raise ConnectionAbortedError
        return await ours(request)

    b.oddity = odd
    async with pair(boxes, channels) as devices:
        await same(devices, 2)
        gone = True
        reading = asyncio.create_task(same(devices, 2))
        await asyncio.sleep(0.1)
        assert not reading.done()
        gone = False
        await reading
        assert devices[0].status().lost_bits == 0
        gone = True
        _, slave = await ending(devices)
    assert "no usable answer for 0.3 s" in slave
    assert a.asked_for(Method.ENC_KEYS) == 5


# --- two ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
async def test_two_ends_of_the_same_side_say_so(boxes, channels, side) -> None:
    devices = [Etsi014Device(box.client, side, box.sae, box.other_sae, patience=HASTY) for box in boxes]
    async with listening(*boxes):
        for device, channel, role in zip(devices, channels, DeviceRole, strict=True):
            await device.start(channel, role)
        told = await ending(devices)
        for device in devices:
            await device.stop()
    assert all(f"both ends of this pair of boxes are the {side}" in text for text in told)
    assert boxes[0].asked_for(Method.ENC_KEYS) == 0


async def test_ends_that_do_not_name_each_other_say_so(boxes, channels) -> None:
    a, b = boxes
    devices = (
        Etsi014Device(a.client, Side.MASTER, ALICE, "sae:bob2", patience=HASTY),
        Etsi014Device(b.client, Side.SLAVE, BOB, ALICE, patience=HASTY),
    )
    async with listening(*boxes):
        for device, channel, role in zip(devices, channels, DeviceRole, strict=True):
            await device.start(channel, role)
        master, _ = await ending(devices)
        for device in devices:
            await device.stop()
    assert "other end of this pair of boxes is SAE 'sae:bob', but other_sae at 'sae:alice' is 'sae:bob2'" in master
    assert a.asked_for(Method.ENC_KEYS) == 0


@pytest.mark.parametrize("frame", [b"", b"\xc0", b"\x91\xa4held", bytes(1000)])
async def test_what_is_no_frame_of_ours_ends_it(boxes, channels, frame) -> None:
    device = Etsi014Device(boxes[0].client, Side.MASTER, ALICE, BOB, patience=HASTY)
    async with listening(*boxes):
        await device.start(channels[0], DeviceRole.INITIATOR)
        await channels[1].send(frame)
        with pytest.raises(DeviceError, match="the same type of device"):
            await device.read()
        await device.stop()


async def test_boxes_that_give_other_bytes_at_the_ends_are_found_out_by_the_modules(pki) -> None:
    boxes = pair_of_boxes(pki, RandomKeys(stock=100_000))
    lying = 2

    async def odd(ours, request):
        nonlocal lying
        response = await ours(request)
        if request.path.endswith("/dec_keys") and lying:
            lying -= 1
            return await changed(response, lambda keys: keys[5].update(key=keys[6]["key"]))
        return response

    boxes[1].oddity = odd
    a, b = boxes
    async with listening(a, b):
        devices = Etsi014Device(a.client, Side.MASTER, ALICE, BOB), Etsi014Device(b.client, Side.SLAVE, BOB, ALICE)
        async with TwoModules(*devices) as modules:
            opened = await modules.open(256)
            async with asyncio.timeout(10):
                one, two = await asyncio.gather(
                    *(chunks(module, opened.stream, 40) for module in (modules.a, modules.b))
                )
            assert one == two
            for module in (modules.a, modules.b):
                assert module.status().counts.unequal_blocks == 2
                assert module.status().device.kind == "etsi014"


def test_settings_that_cannot_be(boxes) -> None:
    for wrong in ({"block_bytes": 1023}, {"block_bytes": 65_537}, {"rate_bps": 0.0}):
        with pytest.raises(DeviceError):
            Etsi014Device(boxes[0].client, Side.MASTER, ALICE, BOB, **wrong)
