"""Why a device pair yields no key, in words, and when the log says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from structlog.testing import capture_logs

from qss.app.pair_watch import WARNED_S, trouble_of, watch_pairs
from qss.wire.status import DeviceState, LinkStatus, ModuleState, PairStatus, SiteStatus, StreamBalance

DEVICE = DeviceState(
    kind="simulator", running=True, rate_bps=1e6, qber=None, simulated=True, seeded=False, lost_bits=0, left_bits=None
)
MODULE = ModuleState(phase="idle", up=False, security=None, device=DEVICE, bits={}, owed_s=0, health_failures={})
WELL = {
    "name": "A/1", "registered": True, "exchange": True, "link_up": True, "full": False, "up": True, "module": MODULE,
}  # fmt: skip
NOTED = msgspec.structs.replace(MODULE, device=msgspec.structs.replace(DEVICE, note="runs low"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"exchange": False, "registered": False}, "`qss module start`"),
        ({"registered": False}, "module A/1 is not registered"),
        ({"name": None, "registered": False}, ""),
        ({"module": NOTED}, "runs low"),
        ({"module": msgspec.structs.replace(MODULE, owed_s=61)}, "nothing for 61 s"),
        ({"module": msgspec.structs.replace(MODULE, owed_s=59)}, ""),
        ({"up": False, "full": True}, "the link is full"),
        ({"up": False, "link_up": False}, "the key server at the other end"),
        ({"up": False, "module": msgspec.structs.replace(MODULE, phase="down")}, "no Sync connection"),
        ({"up": False}, "the other end does not open or join"),
        ({"up": False, "module": None}, "the other end does not open or join"),
    ],
)
def test_what_is_wrong_with_a_pair(changed, told):
    trouble = trouble_of(**(WELL | changed))
    assert told in trouble
    assert bool(told) is bool(trouble)


def site(*, up=False, exchange=True, available=0, policy=""):
    balance = StreamBalance(
        stream="s", ingested=0, available=available, reserved=0, delivered=0, relayed=0, burned=0, policy=policy
    )
    pair = PairStatus(
        uuid="p", name="A/1", registered=True, release=None, southbound=None, exchange=exchange, attached=True, up=up,
        stream=None, trouble="why", module=None,
    )  # fmt: skip
    link = LinkStatus(
        peer="B", uuid="u", up=True, security=None, capacity_bits=100, streams=(balance,), burned={}, pairs=(pair,)
    )
    return SiteStatus(
        site="A", uuid="u", version="0", ready=True, certificate_expires=datetime.now(UTC), store_writable=True,
        anchor_writable=True, audit_writable=True, audit_lost=0, audit_findings={}, audit_checkpoint=None,
        links=(link,),
    )  # fmt: skip


async def events_of(looks):
    """Let the watch look at these, half a minute apart; return what it logs."""
    now, left = 0.0, list(looks)

    async def pause(_: float) -> None:
        nonlocal now
        now += WARNED_S / 2
        if not left:
            raise asyncio.CancelledError

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await watch_pairs(lambda: left.pop(0), clock=lambda: now, pause=pause)
    return [(log["log_level"], log.get("reason")) for log in logs]


WARNED, MENDED = ("warning", "why"), ("info", None)


@pytest.mark.parametrize(
    ("looks", "logged"),
    [
        ([site()] * 2, []),
        ([site()] * 9, [WARNED]),
        ([*[site()] * 3, site(up=True), *[site()] * 3], [WARNED, MENDED, WARNED]),
        ([site(), site(up=True)] * 4, []),
        ([site(exchange=False)] * 9, []),
        ([site(available=100)] * 9, []),
        ([site(available=99)] * 9, [WARNED]),
        ([site(available=100, policy="{}")] * 9, [WARNED]),
    ],
)
async def test_a_pair_without_a_key_stream_is_told_after_a_minute_and_once(looks, logged):
    assert await events_of(looks) == logged
