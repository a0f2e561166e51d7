"""Admin's paths for the SAEs of a site: who may use them, what is refused, and what the log keeps."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
import structlog

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest, StoreUnavailable
from qss.model.identifiers import QksId, SaeId
from qss.servers.admin_door import AdminDoor, Views
from qss.servers.administrators import Administrators
from qss.servers.messages import Request, Response
from qss.servers.saes import ADD_PATH, REMOVE_PATH, SAES_PATH, sae_actions
from qss.wire.home_statement import SignedStatement, encode_home, encode_statement
from qss.wire.saes import SaeView, render_addition, render_removal, render_saes

OPERATOR = PeerCertificate("operator", ("sae:operator",), ())
CAROL = SaeId("sae:carol")
STATEMENT = encode_statement(SignedStatement(encode_home(CAROL, QksId("C"), 5), "ed25519", bytes(64)))


class FakeService:
    """SAEs of a site in memory."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up
        self.registered: dict[SaeId, bytes | None] = {}

    def saes(self) -> tuple[SaeView, ...]:
        views = (SaeView(id=sae, configured=False, stated_until=None) for sae in sorted(self.registered))
        return (SaeView(id="sae:alice", configured=True, stated_until=None), *views)

    async def add(self, sae: SaeId, statement: bytes | None) -> None:
        self._refuse(sae)
        self.registered[sae] = statement

    async def remove(self, sae: SaeId) -> Mapping[QksId, int]:
        self._refuse(sae)
        if sae not in self.registered:
            raise BadRequest(f"{sae} is not registered here")
        del self.registered[sae]
        return {QksId("B"): 256}

    def _refuse(self, sae: SaeId) -> None:
        if not self.up:
            raise StoreUnavailable("the disk is full")
        if sae == "sae:alice":
            raise BadRequest("sae:alice is in the configuration of this site")


async def ask(
    service: FakeService, path: str, body: bytes, identity: PeerCertificate | None = OPERATOR, verb: str = "POST"
) -> Response:
    views = Views(
        lambda: True,
        lambda: True,
        lambda: b"{}",
        lambda: (),
        sae_actions(service),
        {SAES_PATH: lambda: render_saes(service.saes())},
    )
    door = AdminDoor(Administrators(QksId("A"), [SaeId("sae:operator")], CertificateIdentity()), views)
    return await door(Request(verb, path, body=body, identity=identity))


@pytest.mark.parametrize("statement", [None, STATEMENT])
async def test_an_sae_is_registered_shown_and_removed_and_the_log_says_by_whom(statement) -> None:
    service = FakeService()
    with structlog.testing.capture_logs() as logs:
        added = await ask(service, ADD_PATH, render_addition(CAROL, statement))
        assert service.registered == {CAROL: statement}
        shown = await ask(service, SAES_PATH, b"", verb="GET")
        removed = await ask(service, REMOVE_PATH, render_removal(CAROL))
    view = {"id": "sae:carol", "configured": False, "stated_until": None, "leaving": False}
    assert (added.status, json.loads(added.body)) == (200, [view])
    assert (shown.status, [each["id"] for each in json.loads(shown.body)]) == (200, ["sae:alice", "sae:carol"])
    assert (removed.status, json.loads(removed.body)) == (200, {"burned_bits": {"B": 256}})
    assert service.registered == {}
    assert [line["event"] for line in logs] == ["an SAE was registered", "an SAE was removed"]
    assert {(line["audit"], line["by"], line["sae"]) for line in logs} == {(True, "sae:operator", CAROL)}
    assert logs[0]["stated"] is (statement is not None)
    assert logs[1]["burned_bits"] == {"B": 256}


@pytest.mark.parametrize("path", [ADD_PATH, REMOVE_PATH])
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"no", b'{"sae": ""}', b'{"sae": 1}', b'{"sae": "sae:carol", "more": 1}',
     b'{"sae": "sae:alice"}', b'{"sae": "sae:carol", "statement": "bm9uZQ=="}'],
)  # fmt: skip
async def test_what_cannot_be_is_refused_and_the_log_does_not_claim_it(path, body) -> None:
    service = FakeService()
    with structlog.testing.capture_logs() as logs:
        response = await ask(service, path, body)
    assert response.status == 400
    assert json.loads(response.body)["message"]
    assert service.registered == {}
    assert logs == []


async def test_a_removal_of_what_is_not_there_is_refused() -> None:
    with structlog.testing.capture_logs() as logs:
        response = await ask(FakeService(), REMOVE_PATH, render_removal(CAROL))
    assert (response.status, json.loads(response.body)["message"]) == (400, "sae:carol is not registered here")
    assert logs == []


@pytest.mark.parametrize(
    ("path", "body"), [(ADD_PATH, render_addition(CAROL, None)), (REMOVE_PATH, render_removal(CAROL))]
)
async def test_a_disk_that_refuses_is_told_and_an_intended_removal_is_in_the_log(path, body) -> None:
    with structlog.testing.capture_logs() as logs:
        response = await ask(FakeService(up=False), path, body)
    assert (response.status, json.loads(response.body)["message"]) == (503, "the disk is full")
    assert [(line["by"], line["sae"], line["reason"]) for line in logs] == (
        [("sae:operator", CAROL, "the disk is full")] if path == REMOVE_PATH else []
    )


async def test_each_path_has_its_verb_and_needs_a_certificate() -> None:
    service = FakeService()
    body = json.dumps({"sae": CAROL, "statement": base64.b64encode(STATEMENT).decode()}).encode()
    for path, right, wrong in ((SAES_PATH, "GET", "POST"), (ADD_PATH, "POST", "GET"), (REMOVE_PATH, "POST", "DELETE")):
        refused = await ask(service, path, body, verb=wrong)
        assert (refused.status, refused.headers["Allow"]) == (405, right)
        assert (await ask(service, path, body, None, right)).status == 401
    assert service.registered == {}
