"""Admin: who may see what, and the text that Prometheus reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import pytest
import structlog

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest, DeviceError, StoreUnavailable
from qss.model.identifiers import KeyId, PairId, QksId, ReservationId, SaeId
from qss.model.records import Scope
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.servers.admin import Admin
from qss.servers.counts import RequestCounts
from qss.servers.messages import Request, Response
from qss.wire.exchange import render_exchange
from qss.wire.metrics import Metric, Sample, render_metrics
from qss.wire.status import DeviceState, LinkStatus, ModuleState, PairStatus, SiteStatus, StreamBalance, status_samples

SITE = PeerCertificate("A", ("qks:A",), ("a.example.org",))
OPERATOR = PeerCertificate("operator", ("sae:operator",), ())
OTHERS = [
    PeerCertificate("B", ("qks:B",), ()),
    PeerCertificate("A/1", ("qkdm:A/1",), ()),
    PeerCertificate("A", ("qks:A", "qks:B"), ()),
    PeerCertificate("A", ("QKS:A",), ()),
    PeerCertificate("alice", ("sae:alice",), ()),
    PeerCertificate("A", (), ()),
    PeerCertificate("operator", ("sae:operator", "sae:alice"), ()),
    PeerCertificate("operator", ("sae:operator", "qks:B"), ()),
    PeerCertificate(None, (), ()),
]

PAIR = "0b0a6c0e-52c4-4f4f-9d80-6a8a3b1f2c02"
STATUS = SiteStatus(
    site="A",
    uuid="6f1c2f5e-9a52-4a0a-8f0f-1f4f0c6c7d01",
    version="1",
    ready=True,
    certificate_expires=datetime(2027, 3, 1, 12, tzinfo=UTC),
    store_writable=False,
    anchor_writable=True,
    audit_writable=True,
    audit_lost=3,
    audit_findings={"missing": 1},
    audit_checkpoint=None,
    links=(
        LinkStatus(
            peer="B",
            uuid="0b0a6c0e-52c4-4f4f-9d80-6a8a3b1f2c02",
            up=False,
            security=None,
            capacity_bits=1000,
            streams=(
                StreamBalance(stream="s", ingested=100, available=40, reserved=30, delivered=15, relayed=10, burned=5),
            ),
            burned={"expired": 5},
            pairs=(
                PairStatus(
                    uuid="p",
                    name=None,
                    registered=False,
                    release=None,
                    southbound=None,
                    exchange=True,
                    attached=True,
                    up=True,
                    stream="s",
                    trouble="",
                    module=ModuleState(
                        phase="running",
                        up=True,
                        security=None,
                        device=DeviceState(
                            kind="simulator",
                            running=True,
                            rate_bps=1e6,
                            qber=0.02,
                            simulated=True,
                            seeded=False,
                            lost_bits=512,
                            left_bits=5,
                        ),
                        bits={"read": 8192, "check": 384},
                        owed_s=7,
                        health_failures={"cycle": 2},
                    ),
                ),
                PairStatus(
                    uuid="q",
                    name="A/1",
                    registered=False,
                    release=None,
                    southbound=None,
                    exchange=False,
                    attached=False,
                    up=False,
                    stream=None,
                    trouble="its exchange is stopped here",
                    module=None,
                ),
            ),
        ),
    ),
)


@dataclass
class FakeService:
    well: bool = True
    up: bool = True
    recalled: list[tuple[Scope, QksId | None]] = field(default_factory=list)
    settings: SimulatorSettings = field(default_factory=lambda: SimulatorSettings(rate_bps=1e6))
    exchanges: list[tuple[PairId, bool]] = field(default_factory=list)

    def set_exchange(self, pair: PairId, *, on: bool) -> None:
        if pair != PairId(b"p" * 16):
            raise BadRequest(f"there is no device pair {pair}")
        self.exchanges.append((pair, on))

    async def recall(self, scope: Scope, peer: QksId | None) -> Mapping[QksId, int]:
        if not self.up:
            raise StoreUnavailable("this site's store refuses to write")
        if peer not in (None, "B"):
            raise BadRequest(f"there is no link to site {peer}")
        self.recalled.append((scope, peer))
        return {QksId("B"): 256}

    def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        if pair != PAIR:
            raise BadRequest("there is no device pair of this UUID")
        try:
            self.settings = replace(self.settings, **change)
        except DeviceError as error:
            raise BadRequest(str(error)) from error
        return self.settings

    def alive(self) -> bool:
        return self.well

    def ready(self) -> bool:
        return self.up

    def status(self) -> SiteStatus:
        return STATUS

    def metrics(self) -> Iterable[Sample]:
        return status_samples(STATUS)


async def ask(
    path: str,
    identity: PeerCertificate | None = None,
    verb: str = "GET",
    service: FakeService | None = None,
    body: bytes = b"",
) -> Response:
    counts = RequestCounts()
    counts.add("enc_keys", 200)
    counts.add_refusal(503)
    service = service or FakeService()
    admin = Admin(QksId("A"), [SaeId("sae:operator")], CertificateIdentity(), service, counts)
    return await admin(Request(verb, path, body=body, identity=identity))


@pytest.mark.parametrize("identity", [None, SITE, *OTHERS])
async def test_probes_answer_anybody_and_tell_nothing(identity) -> None:
    for path in ("/livez", "/readyz"):
        response = await ask(path, identity)
        assert (response.status, response.body) == (200, b"ok\n")


async def test_probes_say_what_is_wrong() -> None:
    dead, starting = FakeService(well=False, up=False), FakeService(up=False)
    assert (await ask("/livez", service=dead)).status == 503
    assert (await ask("/livez", service=starting)).status == 200
    response = await ask("/readyz", service=starting)
    assert (response.status, response.body) == (503, b"not ready\n")


@pytest.mark.parametrize("identity", [SITE, OPERATOR])
async def test_the_site_and_its_administrators_see_status_and_metrics(identity) -> None:
    status = await ask("/status", identity)
    assert status.status == 200
    content = json.loads(status.body)
    assert content["links"][0]["streams"][0]["available"] == 40
    assert content["certificate_expires"] == "2027-03-01T12:00:00Z"
    assert (await ask("/metrics", identity)).status == 200


@pytest.mark.parametrize("path", ["/status", "/metrics"])
async def test_nobody_else_does(path) -> None:
    assert (await ask(path)).status == 401
    for identity in OTHERS:
        response = await ask(path, identity)
        assert response.status == 403
        assert set(json.loads(response.body)) == {"message"}


@pytest.mark.parametrize("path", ["/", "/status/", "/livez/", "/metrics%20", "", "/LIVEZ", "*"])
async def test_there_is_nothing_else(path) -> None:
    assert (await ask(path, SITE)).status == 404


@pytest.mark.parametrize("path", ["/livez", "/status"])
async def test_there_is_only_get(path) -> None:
    response = await ask(path, SITE, "POST")
    assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_metrics_have_the_text_format() -> None:
    response = await ask("/metrics", SITE)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.body.decode() == (
        "# HELP qss_ready Whether the site takes requests: 1 or 0.\n"
        "# TYPE qss_ready gauge\n"
        "qss_ready 1\n"
        "# HELP qss_certificate_expiry_timestamp_seconds When the site's own certificate ends, in seconds since 1970.\n"
        "# TYPE qss_certificate_expiry_timestamp_seconds gauge\n"
        "qss_certificate_expiry_timestamp_seconds 1803902400\n"
        "# HELP qss_store_writable Whether the store took the last commit: 1 or 0.\n"
        "# TYPE qss_store_writable gauge\n"
        "qss_store_writable 0\n"
        "# HELP qss_anchor_writable Whether the anchor can be written: 1 or 0.\n"
        "# TYPE qss_anchor_writable gauge\n"
        "qss_anchor_writable 1\n"
        "# HELP qss_audit_writable Whether the audit log could be written last: 1 or 0.\n"
        "# TYPE qss_audit_writable gauge\n"
        "qss_audit_writable 1\n"
        "# HELP qss_audit_lost_records_total Records for which the audit log had no room.\n"
        "# TYPE qss_audit_lost_records_total counter\n"
        "qss_audit_lost_records_total 3\n"
        "# HELP qss_audit_findings_total How often the audit log was other than the site had left it, and how.\n"
        "# TYPE qss_audit_findings_total counter\n"
        'qss_audit_findings_total{finding="missing"} 1\n'
        "# HELP qss_link_up Whether the neighbour is connected and agrees: 1 or 0.\n"
        "# TYPE qss_link_up gauge\n"
        'qss_link_up{peer="B"} 0\n'
        "# HELP qss_link_capacity_bits Bits of key that are kept of a link, as configured.\n"
        "# TYPE qss_link_capacity_bits gauge\n"
        'qss_link_capacity_bits{peer="B"} 1000\n'
        "# HELP qss_module_attached Whether this end's module of a device pair can be asked for key: 1 or 0.\n"
        "# TYPE qss_module_attached gauge\n"
        'qss_module_attached{peer="B",pair="p"} 1\n'
        'qss_module_attached{peer="B",pair="q"} 0\n'
        "# HELP qss_module_exchange Whether key streams may be opened on a device pair: 1, or 0 if it was stopped.\n"
        "# TYPE qss_module_exchange gauge\n"
        'qss_module_exchange{peer="B",pair="p"} 1\n'
        'qss_module_exchange{peer="B",pair="q"} 0\n'
        "# HELP qss_module_up Whether the modules of a device pair have a key stream open: 1 or 0.\n"
        "# TYPE qss_module_up gauge\n"
        'qss_module_up{peer="B",pair="p"} 1\n'
        'qss_module_up{peer="B",pair="q"} 0\n'
        "# HELP qss_module_bits_total Bits that a device yielded, by what became of them.\n"
        "# TYPE qss_module_bits_total counter\n"
        'qss_module_bits_total{peer="B",pair="p",outcome="read"} 8192\n'
        'qss_module_bits_total{peer="B",pair="p",outcome="check"} 384\n'
        "# HELP qss_device_rate_bps Bits per second that a device says it yields.\n"
        "# TYPE qss_device_rate_bps gauge\n"
        'qss_device_rate_bps{peer="B",pair="p"} 1000000.0\n'
        "# HELP qss_device_qber_ratio Quantum bit error rate that a device reports, 0 to 1.\n"
        "# TYPE qss_device_qber_ratio gauge\n"
        'qss_device_qber_ratio{peer="B",pair="p"} 0.02\n'
        "# HELP qss_device_seeded 1 if a device's bits are predictable: seeded, for tests.\n"
        "# TYPE qss_device_seeded gauge\n"
        'qss_device_seeded{peer="B",pair="p"} 0\n'
        "# HELP qss_device_lost_bits_total Bits that a device had and did not keep.\n"
        "# TYPE qss_device_lost_bits_total counter\n"
        'qss_device_lost_bits_total{peer="B",pair="p"} 512\n'
        "# HELP qss_device_owed_seconds For how long a device has owed the block it was asked for.\n"
        "# TYPE qss_device_owed_seconds gauge\n"
        'qss_device_owed_seconds{peer="B",pair="p"} 7\n'
        "# HELP qss_device_left_bits Bits that a device can still yield at all, if it has an end.\n"
        "# TYPE qss_device_left_bits gauge\n"
        'qss_device_left_bits{peer="B",pair="p"} 5\n'
        "# HELP qss_device_health_failures_total Key streams that ended because a device's bits failed a health test.\n"
        "# TYPE qss_device_health_failures_total counter\n"
        'qss_device_health_failures_total{peer="B",pair="p",test="cycle"} 2\n'
        "# HELP qss_stream_bits Bits of a key stream at this end, by what became of them.\n"
        "# TYPE qss_stream_bits gauge\n"
        'qss_stream_bits{peer="B",stream="s",policy="",state="ingested"} 100\n'
        'qss_stream_bits{peer="B",stream="s",policy="",state="available"} 40\n'
        'qss_stream_bits{peer="B",stream="s",policy="",state="reserved"} 30\n'
        'qss_stream_bits{peer="B",stream="s",policy="",state="delivered"} 15\n'
        'qss_stream_bits{peer="B",stream="s",policy="",state="relayed"} 10\n'
        'qss_stream_bits{peer="B",stream="s",policy="",state="burned"} 5\n'
        "# HELP qss_burned_bits_total Bits given up, by reason.\n"
        "# TYPE qss_burned_bits_total counter\n"
        'qss_burned_bits_total{peer="B",reason="expired"} 5\n'
        "# HELP qss_requests_total Requests answered at the northbound interface.\n"
        "# TYPE qss_requests_total counter\n"
        'qss_requests_total{method="dec_keys",status="200"} 0\n'
        'qss_requests_total{method="dec_keys",status="400"} 0\n'
        'qss_requests_total{method="dec_keys",status="401"} 0\n'
        'qss_requests_total{method="dec_keys",status="503"} 0\n'
        'qss_requests_total{method="enc_keys",status="200"} 1\n'
        'qss_requests_total{method="enc_keys",status="400"} 0\n'
        'qss_requests_total{method="enc_keys",status="401"} 0\n'
        'qss_requests_total{method="enc_keys",status="503"} 0\n'
        'qss_requests_total{method="none",status="200"} 0\n'
        'qss_requests_total{method="none",status="400"} 0\n'
        'qss_requests_total{method="none",status="401"} 0\n'
        'qss_requests_total{method="none",status="503"} 1\n'
        'qss_requests_total{method="status",status="200"} 0\n'
        'qss_requests_total{method="status",status="400"} 0\n'
        'qss_requests_total{method="status",status="401"} 0\n'
        'qss_requests_total{method="status",status="503"} 0\n'
        "# HELP qss_rule_unmet_total Requests refused because no way was as the site's own rules demand.\n"
        "# TYPE qss_rule_unmet_total counter\n"
        "qss_rule_unmet_total 0\n"
    )


def test_metrics_are_grouped_and_escaped() -> None:
    one, two = Metric("one", "gauge", "a\\b\nc"), Metric("two", "gauge", "2")
    samples = [Sample(one, (("l", 'x"\\\ny'),), 0.5), Sample(two, (), 1), Sample(one, (("l", "z"),), 10**20)]
    assert render_metrics(samples).decode() == (
        "# HELP one a\\\\b\\nc\n# TYPE one gauge\n"
        'one{l="x\\"\\\\\\ny"} 0.5\none{l="z"} 100000000000000000000\n'
        "# HELP two 2\n# TYPE two gauge\ntwo 1\n"
    )
    assert render_metrics([]) == b""


# --- recalls --------------------------------------------------------------------------------------------------------

ID = str(ReservationId.from_entropy(bytes(16)).key_id(3))


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"key_ids": [ID]}, (Scope((KeyId.parse(ID),)), None)),
        ({"sae": "sae:alice"}, (Scope(sae=SaeId("sae:alice")), None)),
        ({"peer": "B"}, (Scope(), QksId("B"))),
    ],
)
@pytest.mark.parametrize("identity", [SITE, OPERATOR])
async def test_keys_are_recalled_and_the_log_says_by_whom(body, asked, identity) -> None:
    service = FakeService()
    with structlog.testing.capture_logs() as logs:
        response = await ask("/recall", identity, "POST", service, json.dumps(body).encode())
    assert (response.status, json.loads(response.body)) == (200, {"burned_bits": {"B": 256}})
    assert service.recalled == [asked]
    (line,) = logs
    assert (line["event"], line["audit"]) == ("keys recalled", True)
    assert line["by"] in ("site A", "sae:operator")


async def test_nobody_else_recalls() -> None:
    service = FakeService()
    body = json.dumps({"peer": "B"}).encode()
    assert (await ask("/recall", None, "POST", service, body)).status == 401
    for identity in OTHERS:
        assert (await ask("/recall", identity, "POST", service, body)).status == 403
    assert (await ask("/recall", OPERATOR, "GET", service)).headers["Allow"] == "POST"
    assert service.recalled == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"no", b'{"key_ids": []}', b'{"key_ids": ["x"]}', b'{"sae": ""}', b'{"sae": "a", "peer": "B"}',
     b'{"peer": "!"}', b'{"peer": null}', b'{"key": 1}', b'{"sae": 1}', b'{"peer": "Z"}',
     json.dumps({"key_ids": [ID] * 1001}).encode()],
)  # fmt: skip
async def test_a_recall_of_nothing_is_refused(body) -> None:
    service = FakeService()
    response = await ask("/recall", OPERATOR, "POST", service, body)
    assert response.status == 400
    assert json.loads(response.body)["message"]
    assert service.recalled == []


async def test_a_recall_that_cannot_be_is_told() -> None:
    service = FakeService(up=False)
    with structlog.testing.capture_logs() as logs:
        response = await ask("/recall", OPERATOR, "POST", service, b'{"peer": "B"}')
    assert response.status == 503
    assert logs[0]["event"] == "keys could not be recalled"


# --- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [SITE, OPERATOR])
async def test_a_simulated_device_is_set_and_the_log_says_by_whom(identity) -> None:
    service = FakeService()
    body = json.dumps({"rate_bps": 5e5, "off": True, "outage_every_s": None, "buffer_bits": 8}).encode()
    with structlog.testing.capture_logs() as logs:
        response = await ask(f"/devices/{PAIR}", identity, "POST", service, body)
    assert response.status == 200
    assert service.settings == SimulatorSettings(rate_bps=5e5, off=True, buffer_bits=8)
    assert json.loads(response.body) == asdict(service.settings)
    (line,) = logs
    assert (line["event"], line["audit"], line["pair"]) == ("a simulated device was set", True, PAIR)
    assert line["by"] in ("site A", "sae:operator")


async def test_no_change_is_a_question() -> None:
    service = FakeService()
    with structlog.testing.capture_logs() as logs:
        for body in (b"", b"{}"):
            response = await ask(f"/devices/{PAIR}", OPERATOR, "POST", service, body)
            assert json.loads(response.body) == asdict(SimulatorSettings(rate_bps=1e6))
    assert logs == []


async def test_nobody_else_sets_a_device() -> None:
    service = FakeService()
    before, body = service.settings, b'{"off": true}'
    assert (await ask(f"/devices/{PAIR}", None, "POST", service, body)).status == 401
    for identity in OTHERS:
        assert (await ask(f"/devices/{PAIR}", identity, "POST", service, body)).status == 403
    assert (await ask(f"/devices/{PAIR}", OPERATOR, "GET", service)).headers["Allow"] == "POST"
    assert service.settings == before


@pytest.mark.parametrize(
    ("path", "body"),
    [("", b"{}"), ("x", b"{}"), (f"{PAIR}/", b"{}"), (PAIR, b"[]"), (PAIR, b"no"), (PAIR, b'{"rate": 1}'),
     (PAIR, b'{"rate_bps": "1"}'), (PAIR, b'{"rate_bps": -1}'), (PAIR, b'{"off": 1}'), (PAIR, b'{"rate_bps": null}')],
)  # fmt: skip
async def test_settings_that_cannot_be_are_refused(path, body) -> None:
    service = FakeService()
    before = service.settings
    response = await ask(f"/devices/{path}", OPERATOR, "POST", service, body)
    assert response.status == 400
    assert json.loads(response.body)["message"]
    assert service.settings == before


# --- exchanges ------------------------------------------------------------------------------------------------------

EXCHANGED = PairId(b"p" * 16)


@pytest.mark.parametrize(("on", "event"), [(False, "exchange stopped"), (True, "exchange started")])
@pytest.mark.parametrize("identity", [SITE, OPERATOR])
async def test_an_exchange_is_stopped_and_started_and_the_log_says_by_whom(on, event, identity) -> None:
    service, body = FakeService(), render_exchange(EXCHANGED, on=on)
    with structlog.testing.capture_logs() as logs:
        response = await ask("/exchange", identity, "POST", service, body)
    assert (response.status, response.body) == (200, body)
    assert service.exchanges == [(EXCHANGED, on)]
    (line,) = logs
    assert (line["event"], line["audit"], line["pair"]) == (event, True, str(EXCHANGED))
    assert line["by"] in ("site A", "sae:operator")


async def test_nobody_else_stops_an_exchange_nor_anybody_that_of_a_pair_that_is_not_there() -> None:
    service = FakeService()
    body = render_exchange(EXCHANGED, on=False)
    assert (await ask("/exchange", None, "POST", service, body)).status == 401
    for identity in OTHERS:
        assert (await ask("/exchange", identity, "POST", service, body)).status == 403
    assert (await ask("/exchange", OPERATOR, "GET", service)).headers["Allow"] == "POST"
    for wrong in (
        b"",
        b"{}",
        b'{"pair": "x", "exchange": true}',
        body[:-1] + b', "more": 1}',
        body.replace(b"70", b"71", 1),
    ):
        assert (await ask("/exchange", OPERATOR, "POST", service, wrong)).status == 400
    assert service.exchanges == []
