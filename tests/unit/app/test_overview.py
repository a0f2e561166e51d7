"""What a site tells its administrators: numbers that add up, and whether it takes requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest

from qss.app.module_states import OUTCOMES
from qss.app.overview import Overview
from qss.app.site_tables import LinkModule, Simulator
from qss.core.keyserver.modules import Registration
from qss.core.module import Counts, Phase
from qss.core.reservation import Link, LinkSettings
from qss.core.reservation.events import SourceAttached, SourceOpened
from qss.model.health import HealthTest
from qss.model.identifiers import PairId, QkdmId, QksId, StreamId
from qss.model.records import BurnReason, PeerRecord, StreamRecord, Tally
from qss.ports.device import DeviceStatus
from qss.runtime.module import ModuleStatus
from qss.servers.counts import CallCounts
from qss.wire import qrp
from qss.wire.audit import Position
from qss.wire.etsi004.status import Status
from qss.wire.relay_status import NeighbourRelay, RelayStatus
from qss.wire.status import PAST, STATES, KeyStreamsState

A, B = QksId("A"), QksId("B")
SKIPPED, RESTORED = BurnReason.SKIPPED, BurnReason.RESTORED
LIVE = StreamRecord(
    StreamId(b"1" * 16),
    B,
    1024,
    head=1000,
    mark=5000,
    closed=True,
    limit=4000,
    tally=Tally(reserved=3000, delivered=4000, burned={RESTORED: 1000, SKIPPED: 8000}),
)
BEHIND = replace(LIVE, stream=StreamId(b"2" * 16), head=0, mark=2000, tally=Tally())
"""The other end has more of it than this one: the agreed end lies beyond what is here."""
PEER = PeerRecord(
    B, past=Tally(delivered=100, relayed=20, burned={RESTORED: 3}), past_ingested=123
)  # fmt: skip
RELAYING = RelayStatus(neighbours=(NeighbourRelay(peer="B", up=True, security="TLS", passed_on=1, dropped={}),))
HERE, ELSEWHERE = UUID(int=2), UUID(int=3)
"""Device pairs: of one the module is in this process, of the other in one of its own."""
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
COUNTS = Counts(
    read=100,
    check=10,
    accepted=50,
    delivered=20,
    unused=5,
    unequal=30,
    unfinished=10,
    unhealthy=Counter({HealthTest.CYCLE: 3}),
)

CARD = qrp.DeviceCard("file", False, 2e6, 0.0, False, False, 0, 4096, "")
REGISTRATION = Registration(
    QkdmId("A/2"),
    "::1",
    4004,
    "0.1.0",
    CARD,
    qrp.PairState(
        ELSEWHERE.bytes,
        False,
        qrp.StreamPhase.IDLE,
        None,
        None,
        None,
        CARD,
        5,
        {"read": 7, "unheard_of": 1},
        {"cycle": 2, "unheard-of": 1},
    ),
)
"""What is known of the module of the other pair, whose exchange was stopped."""


@pytest.fixture
async def site():
    link = Link(LinkSettings(A, B, lambda *_: True), 1, streams=(LIVE, BEHIND), peer=PEER)
    link.handle(SourceAttached(PairId.from_uuid(HERE)), 0.0, 0.0)
    runner = SimpleNamespace(core=link, security="TLSv1.3")
    failed = asyncio.get_running_loop().create_future()
    return SimpleNamespace(links={B: runner}, neighbours={B}, failed=failed, store_writable=False, anchor_writable=True)


@pytest.fixture
async def overview(site):
    device = DeviceStatus("simulator", True, 1e6, 0.02, True, True, lost_bits=7, left_bits=9, note="runs low")
    module = SimpleNamespace(
        status=lambda: ModuleStatus(Phase.RUNNING, True, None, None, "TLSv1.2", COUNTS, 7.5, device)
    )
    pairs = LinkModule(uuid=HERE, device=Simulator(rate_bps=1e6)), LinkModule(uuid=ELSEWHERE, module=QkdmId("A/2"))
    link = SimpleNamespace(peer=B, uuid=UUID(int=1), pairs=pairs, capacity_bits=1000)
    configuration = SimpleNamespace(site=SimpleNamespace(id=A, uuid=UUID(int=1)), links=(link,))
    known = {PairId.from_uuid(ELSEWHERE): REGISTRATION}
    modules = SimpleNamespace(
        here={PairId.from_uuid(HERE): module}, registration=known.get, exchange_is_on=lambda pair: pair not in known
    )
    audit = SimpleNamespace(writable=False, lost=5, checkpoint=Position("0" * 32, 7, "f" * 64), findings={"missing": 2})
    return Overview(configuration, site, modules, EXPIRES, audit, lambda: RELAYING)


def balances(overview):
    (link,) = overview.status().links
    return {balance.stream: {state: getattr(balance, state) for state in STATES} for balance in link.streams}


def adds_up(bits):
    return bits["ingested"] == sum(bits.values()) - bits["ingested"]


async def test_each_streams_bits_add_up(overview):
    shown = balances(overview)
    assert set(shown) == {str(LIVE.stream), str(BEHIND.stream), PAST}
    assert all(adds_up(bits) for bits in shown.values()), shown
    assert shown[str(LIVE.stream)] == {
        "ingested": 40_000,
        "available": 24_000,
        "reserved": 3000,
        "delivered": 4000,
        "relayed": 0,
        "burned": 9000,
    }
    assert shown[PAST]["ingested"] == 123


async def test_each_reason_of_burned_bits_is_shown_from_the_start(overview):
    (link,) = overview.status().links
    assert set(link.burned) == set(BurnReason)


async def test_it_tells_whether_the_audit_log_is_written_and_its_last_checkpoint(overview):
    status = overview.status()
    assert (status.audit_writable, status.audit_lost, status.audit_checkpoint) == (False, 5, f"7:{'f' * 64}")
    assert {sample.metric.name: sample.value for sample in overview.metrics() if "audit" in sample.metric.name} == {
        "qss_audit_writable": 0,
        "qss_audit_lost_records_total": 5,
        "qss_audit_findings_total": 2,
    }
    assert status.audit_findings == {"missing": 2}


async def test_burned_bits_are_those_of_live_and_past_streams_by_reason(overview):
    (link,) = overview.status().links
    assert {reason: bits for reason, bits in link.burned.items() if bits} == {RESTORED: 1003, SKIPPED: 8000}
    assert sum(link.burned.values()) == sum(bits["burned"] for bits in balances(overview).values())


async def test_a_module_counts_bytes_and_bits_are_shown(overview):
    (link,) = overview.status().links
    module = link.pairs[0].module
    assert module.bits == {outcome: 8 * getattr(COUNTS, outcome) for outcome in OUTCOMES}
    assert module.bits["read"] == 800
    shown = module.device
    assert shown.seeded
    assert (shown.lost_bits, shown.left_bits, shown.note) == (7, 9, "runs low")
    assert (link.security, module.security) == ("TLSv1.3", "TLSv1.2")
    assert not link.up


async def test_each_device_pair_says_whether_its_module_is_there_and_has_a_stream(overview, site):
    here, elsewhere = overview.status().links[0].pairs
    assert (here.uuid, here.name, here.attached, here.up, here.stream) == (str(HERE), None, True, True, None)
    assert (elsewhere.uuid, elsewhere.name, elsewhere.attached) == (str(ELSEWHERE), "A/2", False)
    assert (elsewhere.up, elsewhere.stream) == (False, None)
    assert (here.registered, here.exchange, here.southbound) == (False, True, None)
    assert (elsewhere.registered, elsewhere.exchange, elsewhere.southbound) == (True, False, "[::1]:4004")
    assert (elsewhere.module.phase, elsewhere.module.device.kind) == ("idle", "file")
    assert elsewhere.module.bits == {outcome: 56 * (outcome == "read") for outcome in OUTCOMES}
    link, pair = site.links[B].core, PairId.from_uuid(ELSEWHERE)
    link.handle(SourceAttached(pair), 1.0, 1.0)
    link.handle(SourceOpened(pair, StreamId(b"3" * 16), 1024), 1.0, 1.0)
    _, elsewhere = overview.status().links[0].pairs
    assert (elsewhere.attached, elsewhere.up, elsewhere.stream) == (True, False, str(StreamId(b"3" * 16)))
    samples = {(s.metric.name, dict(s.labels).get("pair")): s.value for s in overview.metrics()}
    assert samples["qss_module_attached", str(ELSEWHERE)] == samples["qss_module_up", str(HERE)] == 1
    assert samples["qss_module_exchange", str(ELSEWHERE)] == samples["qss_module_up", str(ELSEWHERE)] == 0
    assert samples["qss_device_rate_bps", str(ELSEWHERE)] == 2e6


async def test_failures_of_health_are_shown_for_each_test_from_the_start(overview):
    shown = {
        (dict(sample.labels)["pair"], dict(sample.labels)["test"]): sample.value
        for sample in overview.metrics()
        if sample.metric.name == "qss_device_health_failures_total"
    }
    cycles = {str(HERE): 3, str(ELSEWHERE): 2}
    assert shown == {(pair, test): n * (test is HealthTest.CYCLE) for pair, n in cycles.items() for test in HealthTest}


async def test_metrics_say_what_the_status_says(overview):
    shown = balances(overview)
    streams = {
        (labels["stream"], labels["state"]): sample.value
        for sample in overview.metrics()
        if sample.metric.name == "qss_stream_bits"
        for labels in [dict(sample.labels)]
    }
    assert streams == {(stream, state): bits[state] for stream, bits in shown.items() for state in STATES}


async def test_own_key_of_a_link_is_told_apart_from_what_was_relayed(overview, site):
    """So that a sum over what has no policy is of links alone, and is there where a link has no stream left."""
    relayed = replace(LIVE, stream=StreamId(b"4" * 16), policy="{}")
    far = Link(LinkSettings(A, QksId("C"), lambda *_: True), 1, streams=(replace(relayed, peer=QksId("C")),))
    site.links[QksId("C")] = SimpleNamespace(core=far, security=None)
    site.links[B].core = Link(LinkSettings(A, B, lambda *_: True), 1, streams=(LIVE, relayed), peer=PEER)
    own = Counter()
    for sample in overview.metrics():
        labels = dict(sample.labels)
        if sample.metric.name == "qss_stream_bits" and labels["state"] == "available" and not labels["policy"]:
            own[labels["peer"]] += sample.value
    assert own == {"B": 8 * LIVE.available}
    (link, far_link) = overview.status().links
    assert [stream.policy for stream in link.streams] == ["", "{}", ""]
    assert [stream.policy for stream in far_link.streams] == ["{}", PAST]


async def test_it_tells_of_relaying(overview):
    assert overview.status().relay == RELAYING
    assert {sample.metric.name for sample in overview.metrics()} >= {"qss_relay_up", "qss_relay_passed_on_total"}


async def test_it_is_ready_while_it_serves_and_alive_until_the_site_has_failed(overview, site):
    assert (overview.alive(), overview.ready(), overview.status().ready) == (True, False, False)
    overview.serving = True
    assert (overview.alive(), overview.ready(), overview.status().ready) == (True, True, True)
    overview.stop_serving()
    assert (overview.alive(), overview.ready()) == (True, False)
    overview.serving = True
    site.failed.set_exception(ValueError("unforeseen"))
    assert (overview.alive(), overview.ready(), overview.status().ready) == (False, False, False)
    assert site.failed.exception() is not None  # taken note of


async def test_key_streams_are_shown_where_there_are_any(overview):
    assert overview.status().key_streams is None
    assert not [sample for sample in overview.metrics() if "key_stream" in sample.metric.name]
    counts = CallCounts()
    counts.add("get_key", Status.SUCCESS)
    state = KeyStreamsState(open=3, bits={"delivered": 0, "check": 384})
    overview.key_streams = SimpleNamespace(state=lambda: state, counts=counts)
    assert overview.status().key_streams == state
    samples = {(s.metric.name, *(value for _, value in s.labels)): s.value for s in overview.metrics()}
    assert samples["qss_key_streams",] == 3
    assert samples["qss_key_stream_bits_total", "check"] == 384
    assert samples["qss_key_stream_bits_total", "delivered"] == 0
    assert samples["qss_key_stream_calls_total", "get_key", "success"] == 1
    assert samples["qss_key_stream_calls_total", "close", "success"] == 0
