"""LSAs signed with real certificates, of whom they should not be: none is taken, and true ones are."""

from __future__ import annotations

import pytest

from qss.core.routing.events import Reason
from qss.model.identifiers import QksId
from qss.pki.statements import Judge, Signer
from qss.wire import routing as wire
from support.one_router import B, C, OneRouter, acks, carried, header_of, saes_of
from support.pki import Pki

BODY = saes_of("D", 1, "sae:d")
TEXT = wire.encode_body(BODY)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("network") / "pki")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("elsewhere") / "pki")


@pytest.fixture
def site(pki):
    judge = Judge(pki.authority)

    def verify(origin: QksId, body: bytes, said: wire.Authentication) -> None:
        judge.check(origin, wire.SIGNED_AS + body, said.algorithm, said.certificates, said.signature)

    return OneRouter(verify)


def signed(pair, text=wire.SIGNED_AS + TEXT):
    signer = Signer(pair.certificate, pair.key)
    return wire.Authentication(signer.algorithm, signer.certificates, signer.sign(text))


def with_chain(said, *chain):
    return wire.Authentication(said.algorithm, tuple(chain), said.signature)


FALSE = {
    "another site": lambda pki, _: signed(pki.site("B")),
    "another authority": lambda _, elsewhere: signed(elsewhere.site("D")),
    "another authority, and the network's certificate besides": lambda pki, elsewhere: with_chain(
        signed(elsewhere.site("D")), *signed(elsewhere.site("D")).certificates, *signed(pki.site("D")).certificates
    ),
    "another site, under the certificate of this one": lambda pki, _: with_chain(
        signed(pki.site("B")), *signed(pki.site("D")).certificates
    ),
    "an application": lambda pki, _: signed(pki.sae("sae:D")),
    "a module of that name": lambda pki, _: signed(pki.module("D/1")),
    "a certificate that has expired": lambda pki, _: signed(pki.expired_site("D")),
    "another text": lambda pki, _: signed(pki.site("D"), wire.SIGNED_AS + TEXT + b"x"),
    "a text for another purpose": lambda pki, _: signed(pki.site("D"), TEXT),
    "another algorithm's name": lambda pki, _: wire.Authentication(
        "ed25519", signed(pki.site("D")).certificates, signed(pki.site("D")).signature
    ),
    "no certificate": lambda pki, _: with_chain(signed(pki.site("D"))),
    "noise for a certificate": lambda pki, _: with_chain(signed(pki.site("D")), b"\x30\x82noise"),
    "an empty signature": lambda pki, _: wire.Authentication(
        "ecdsa-sha256", signed(pki.site("D")).certificates, b""
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", FALSE.values(), ids=FALSE)
def test_what_its_origin_has_not_signed_is_dropped_and_its_true_copy_is_taken(site, pki, elsewhere, make):
    assert acks(site.send(B, carried(BODY, said=make(pki, elsewhere)))) == []
    assert site.lines == [(B, Reason.SIGNATURE)]
    assert site.knows("sae:d") is None
    true = carried(BODY, said=signed(pki.site("D")))
    assert acks(site.send(B, true)) == [header_of(BODY)]
    assert acks(site.send(C, true)) == [], "the copy that C was sent stands for an Ack"
    assert acks(site.send(C, true)) == [header_of(BODY)], "but not for another one"
    assert site.knows("sae:d") == "D"


def test_certificates_that_nobody_needs_change_nothing(site, pki):
    true = signed(pki.site("D"))
    padded = with_chain(true, *true.certificates, *signed(pki.site("B")).certificates, b"\x30\x82noise")
    assert acks(site.send(B, carried(BODY, said=padded))) == [header_of(BODY)]
