"""The handler of ETSI GS QKD 014, with neither TLS nor HTTP: every status, in the order of the documented steps."""

from __future__ import annotations

import json
from itertools import product

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.certificates import PeerCertificate
from qss.model.errors import (
    BadRequest,
    LimitReached,
    PeerUnavailable,
    RuleUnmet,
    Sealed,
    Shortage,
    StoreUnavailable,
    Unauthorised,
)
from qss.model.keys import KeyLimits
from qss.servers.counts import REQUESTS, RULE_UNMET, RequestCounts
from qss.servers.etsi014 import Etsi014
from qss.servers.messages import Request, Response
from support.northbound import ALICE, BOB, CAROL, MALLORY, FakeKeyService, certificate_of

ID = "1ab7c2d4-05b6-8abc-9def-0123456789ab"
NOT_FOUND = "one or more keys specified are not found on KME"


class Site:
    def __init__(self, service: FakeKeyService | None = None) -> None:
        self.service = service or FakeKeyService()
        self.counts = RequestCounts()
        self.handler = Etsi014(self.service, CertificateIdentity(), self.counts)

    async def send(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        caller: str = ALICE,
        certificate: PeerCertificate | None = None,
    ) -> Response:
        path, _, query = path.partition("?")
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        identity = certificate or certificate_of(caller)
        return await self.handler(Request(verb, f"/api/v1/keys/{path}", query, {}, content, identity))

    async def refused(self, verb: str, path: str, body: object = None, **who) -> str:
        """Send what must be refused before the key server is asked; return the message."""
        before = list(self.service.asked)
        response = await self.send(verb, path, body, **who)
        assert self.service.asked == before
        return message(response)


def message(response: Response, status: int = 400) -> str:
    error = json.loads(response.body)
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert set(error) <= {"message", "details"}
    return error["message"]


def keys(response: Response) -> list[dict[str, str]]:
    assert response.status == 200
    assert response.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return json.loads(response.body)["keys"]


# --- what works ---------------------------------------------------------------------------------------------------


async def test_status_names_the_caller_as_master() -> None:
    response = await Site().send("GET", f"{BOB}/status")
    status = json.loads(response.body)
    assert response.status == 200
    assert (status["master_SAE_ID"], status["slave_SAE_ID"]) == (ALICE, BOB)


@pytest.mark.parametrize("path", [f"{BOB}/enc_keys", "sae%3Abob/enc_keys", "sae%3abob/enc_keys?unknown=1"])
@pytest.mark.parametrize(("verb", "body"), [("GET", None), ("POST", None), ("POST", {}), ("POST", {"x": 1})])
async def test_one_key_by_default(verb, body, path) -> None:
    [key] = keys(await Site().send(verb, path, body))
    assert set(key) == {"key_ID", "key"}


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [("GET", "?number=3&size=64", None), ("POST", "", {"number": 3, "size": 64}), ("POST", "?number=9", {"number": 3})],
)
async def test_several_keys(verb, path, body) -> None:
    assert len(keys(await Site().send(verb, f"{BOB}/enc_keys{path}", body))) == 3


async def test_a_slave_takes_with_get_and_post() -> None:
    site = Site()
    got = keys(await site.send("POST", f"{BOB}/enc_keys", {"number": 3, "additional_slave_SAE_IDs": [CAROL]}))
    ids = [{"key_ID": key["key_ID"], "key": "ignored"} for key in got]
    assert keys(await site.send("POST", f"{ALICE}/dec_keys", {"key_IDs": ids[::-1]}, caller=CAROL)) == got[::-1]
    for key in got:
        query = f"{ALICE}/dec_keys?key_ID={key['key_ID'].upper()}"
        assert keys(await site.send("GET", query, caller=BOB)) == [key]
        assert message(await site.send("GET", query, caller=BOB)) == NOT_FOUND


async def test_one_foreign_key_id_refuses_all_and_marks_nothing() -> None:
    site = Site()
    [foreign] = keys(await site.send("POST", f"{BOB}/enc_keys"))
    [own] = keys(await site.send("POST", f"{CAROL}/enc_keys"))
    both = {"key_IDs": [{"key_ID": own["key_ID"]}, {"key_ID": foreign["key_ID"]}]}
    response = await site.send("POST", f"{ALICE}/dec_keys", both, caller=CAROL)
    assert (response.status, response.body) == (401, b"")
    assert keys(await site.send("GET", f"{ALICE}/dec_keys?key_ID={own['key_ID']}", caller=CAROL)) == [own]


# --- step 1: the caller -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "certificate",
    [
        PeerCertificate(None, (), ()),
        PeerCertificate("A", ("qks:A",), ()),
        PeerCertificate(None, ("sae:alice", "sae:bob"), ()),
        PeerCertificate(None, ("sae:x y",), ()),
    ],
)
@pytest.mark.parametrize("path", ["nowhere/at/all", f"{BOB}/status", f"{BOB}/enc_keys", f"{ALICE}/dec_keys"])
async def test_a_certificate_that_names_no_sae_gets_401_whatever_it_asks(certificate, path) -> None:
    site = Site()
    response = await site.send("GET", path, certificate=certificate)
    assert (response.status, response.headers, response.body) == (401, {}, b"")
    assert site.service.asked == []


async def test_no_certificate_is_no_caller() -> None:
    response = await Site().handler(Request("GET", f"/api/v1/keys/{BOB}/status"))
    assert (response.status, response.body) == (401, b"")


async def test_headers_name_nobody() -> None:
    headers = {"x-sae-id": BOB, "authorization": f"Bearer {BOB}", "x-forwarded-client-cert": BOB}
    site = Site()
    await site.handler(Request("GET", f"/api/v1/keys/{CAROL}/status", "", headers, b"", certificate_of(ALICE)))
    assert site.service.asked == [("status", ALICE, CAROL)]


# --- steps 2 to 4: form -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "get", "TRACE", "CONNECT"])
@pytest.mark.parametrize("method", ["status", "enc_keys", "dec_keys"])
async def test_other_verbs_are_refused(verb, method) -> None:
    assert "GET" in await Site().refused(verb, f"{BOB}/{method}")


async def test_status_takes_no_post() -> None:
    assert await Site().refused("POST", f"{BOB}/status") == "status takes GET, nothing else"


@pytest.mark.parametrize("path", ["", BOB, f"{BOB}/", f"{BOB}/keys", f"{BOB}/status/", f"a/{BOB}/status"])
async def test_other_paths_are_refused(path) -> None:
    assert "/api/v1/keys/{SAE_ID}/status" in await Site().refused("GET", path)


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("segment", ["", "%20", " ", "a%20b", "%ff", ALICE, "sae%3Aalice", "%73ae:alice"])
@pytest.mark.parametrize("method", ["status", "enc_keys", "dec_keys"])
async def test_blank_and_own_sae_ids_are_refused_even_without_a_body(verb, segment, method) -> None:
    await Site().refused(verb, f"{segment}/{method}")


@pytest.mark.parametrize(
    "body",
    [{"size": 0}, {"size": -8}, {"size": "abc01"}, {"number": 0}, {"number": -8}, {"number": "abc01"}, {"number": True},
     {"additional_slave_SAE_IDs": []}, {"additional_slave_SAE_IDs": [BOB]}, {"additional_slave_SAE_IDs": [ALICE]},
     {"additional_slave_SAE_IDs": [CAROL, CAROL]}, {"additional_slave_SAE_IDs": [" "]}, b"{", b"[]", b"\xff"],
)  # fmt: skip
async def test_a_malformed_key_request_is_refused(body) -> None:
    await Site().refused("POST", f"{BOB}/enc_keys", body)


@pytest.mark.parametrize("query", ["size=0", "size=-8", "size=abc01", "number=0", "number=x", "number=1&number=1"])
async def test_a_malformed_key_request_in_a_query_is_refused(query) -> None:
    await Site().refused("GET", f"{BOB}/enc_keys?{query}")


@pytest.mark.parametrize("body", [None, {}, {"key_IDs": []}, {"key_IDs": [{"key_ID": "x"}]}, b"\xff"])
async def test_malformed_key_ids_are_refused(body) -> None:
    await Site().refused("POST", f"{ALICE}/dec_keys", body, caller=BOB)


@pytest.mark.parametrize("query", ["", "?key_ID=", "?key_ID=x", f"?key_ID={ID}&key_ID={ID}"])
async def test_malformed_key_ids_in_a_query_are_refused(query) -> None:
    await Site().refused("GET", f"{ALICE}/dec_keys{query}", caller=BOB)


async def test_literal_messages_of_form() -> None:
    site = Site()
    twice = {"key_IDs": [{"key_ID": ID}, {"key_ID": ID}]}
    assert await site.refused("POST", f"{BOB}/enc_keys", {"size": 12}) == "size shall be a multiple of 8"
    assert await site.refused("GET", f"{BOB}/enc_keys?size=12") == "size shall be a multiple of 8"
    assert await site.refused("POST", f"{ALICE}/dec_keys", twice, caller=BOB) == NOT_FOUND


# --- what the key server says -------------------------------------------------------------------------------------

ASKS = [
    ("GET", f"{BOB}/status", None),
    ("GET", f"{BOB}/enc_keys", None),
    ("POST", f"{BOB}/enc_keys", {"number": 1}),
    ("GET", f"{BOB}/dec_keys?key_ID={ID}", None),
    ("POST", f"{BOB}/dec_keys", {"key_IDs": [{"key_ID": ID}]}),
]


@pytest.mark.parametrize(("verb", "path", "body"), ASKS)
@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (BadRequest("too many"), 400),
        (Shortage("too few keys"), 503),
        (LimitReached("full"), 503),
        (PeerUnavailable("the other site is down"), 503),
        (Sealed("sealed"), 503),
        (StoreUnavailable("disk full"), 503),
    ],
)
async def test_refusals_of_the_key_server(verb, path, body, failure, status) -> None:
    response = await Site(FakeKeyService(failure=failure)).send(verb, path, body)
    assert message(response, status) == str(failure)


@pytest.mark.parametrize(("verb", "path", "body"), ASKS)
async def test_a_pair_that_is_not_authorised_gets_401_without_a_word(verb, path, body) -> None:
    with structlog.testing.capture_logs() as log:
        response = await Site(FakeKeyService(failure=Unauthorised("no rule"))).send(verb, path, body)
    assert (response.status, response.headers, response.body) == (401, {}, b"")
    assert [(line["caller"], line["reason"]) for line in log] == [(ALICE, "no rule")]


async def test_details_come_through() -> None:
    details = [{"extension_mandatory_unsupported": "abc_route_type is not supported"}]
    failure = BadRequest("not all extension_mandatory parameters are supported", details)
    response = await Site(FakeKeyService(failure=failure)).send("POST", f"{BOB}/enc_keys")
    assert json.loads(response.body) == {"message": failure.message, "details": details}


async def test_an_outage_by_the_sites_own_rule_is_logged_counted_and_said() -> None:
    missing = "qss_disjoint_paths: no such way leads to site B now"
    failure = RuleUnmet("it is not met", [{"extension_mandatory_unmet": missing}], "B", (BOB,))
    site = Site(FakeKeyService(failure=failure))
    with structlog.testing.capture_logs() as log:
        for caller in (ALICE, ALICE, CAROL):
            told = json.loads((await site.send("POST", f"{BOB}/enc_keys", caller=caller)).body)
    assert told["message"] == "it is not met"
    assert told["details"][1:] == [{"rule": "the rules of this site demand it, not the request"}]
    assert [(line["log_level"], line["caller"], line["slaves"], line["missing"]) for line in log] == [
        ("warning", ALICE, (BOB,), (missing,)),
        ("warning", CAROL, (BOB,), (missing,)),
    ]
    assert "demand less" in log[0]["remedy"]
    assert [sample.value for sample in site.counts.samples() if sample.metric is RULE_UNMET] == [3]


async def test_a_bad_request_is_no_trouble_of_the_site() -> None:
    site = Site(FakeKeyService(failure=BadRequest("not all could be met")))
    with structlog.testing.capture_logs() as log:
        message(await site.send("POST", f"{BOB}/enc_keys"))
    assert log == []
    assert [sample.value for sample in site.counts.samples() if sample.metric is RULE_UNMET] == [0]


async def test_form_is_looked_at_before_the_pair() -> None:
    site = Site(FakeKeyService(strangers=frozenset({MALLORY})))
    assert message(await site.send("POST", f"{BOB}/enc_keys", {"size": 1}, caller=MALLORY))
    assert (await site.send("POST", f"{BOB}/enc_keys", caller=MALLORY)).status == 401


async def test_the_key_server_sees_sizes_as_they_came() -> None:
    site = Site(FakeKeyService(limits=KeyLimits(key_size=352)))
    await site.send("GET", f"{BOB}/enc_keys?number=2")
    await site.send("GET", f"{BOB}/enc_keys?size=72")
    assert [call[3].size for call in site.service.asked] == [None, 72]


# --- counting and secrecy -----------------------------------------------------------------------------------------


async def test_answers_are_counted_by_method_and_status() -> None:
    site = Site(FakeKeyService(stock=1))
    for verb, path in [("GET", f"{BOB}/enc_keys"), ("GET", f"{BOB}/enc_keys"), ("GET", "x"), ("PUT", f"{BOB}/status")]:
        await site.send(verb, path)
    await site.send("GET", f"{BOB}/status", caller=MALLORY)
    samples = [sample for sample in site.counts.samples() if sample.metric is REQUESTS]
    counted = {tuple(value for _, value in sample.labels): sample.value for sample in samples}
    assert set(counted) == set(product(("status", "enc_keys", "dec_keys", "none"), ("200", "400", "401", "503")))
    assert {labels: count for labels, count in counted.items() if count} == {
        ("enc_keys", "200"): 1,
        ("enc_keys", "503"): 1,
        ("none", "400"): 1,
        ("status", "400"): 1,
        ("status", "401"): 1,
    }


async def test_neither_log_nor_repr_shows_a_key() -> None:
    site = Site()
    with structlog.testing.capture_logs() as log:
        response = await site.send("POST", f"{BOB}/enc_keys")
        [key] = keys(response)
        request = Request("POST", "/", "", {"authorization": "Bearer abc"}, key["key"].encode(), certificate_of(BOB))
        await site.send("POST", f"{ALICE}/dec_keys", {"key_IDs": [{"key_ID": key["key"]}]}, caller=BOB)
    shown = f"{log} {response!r} {response} {request!r}"
    assert key["key"] not in shown
    assert "Bearer" not in shown


METHODS = ("status", "enc_keys", "dec_keys")


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.text() | st.sampled_from([f"/api/v1/keys/{sae}/{m}" for sae in (BOB, "%", "%00") for m in METHODS]),
    st.text() | st.sampled_from(["number=2", f"key_ID={ID}"]),
    st.binary() | st.sampled_from([b'{"number": 2}', f'{{"key_IDs": [{{"key_ID": "{ID}"}}]}}'.encode()]),
)  # fmt: skip
async def test_nothing_but_the_four_statuses_ever_leaves(verb, path, query, body) -> None:
    response = await Site().handler(Request(verb, path, query, {}, body, certificate_of(ALICE)))
    assert response.status in (200, 400)
    assert json.loads(response.body)
