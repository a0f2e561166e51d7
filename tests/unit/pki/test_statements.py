"""Signatures of sites: whose they are, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QksId
from qss.pki.contexts import read_certificates
from qss.pki.statements import ALGORITHM, Judge, Signer
from support.pki import Pki

A, B = QksId("A"), QksId("B")
TEXT = b"what is said"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("statements") / "pki")


@pytest.fixture(scope="module")
def signer(pki):
    pair = pki.site("A")
    return Signer(pair.certificate, pair.key)


def test_what_a_site_has_signed_is_its_own(pki, signer):
    judge = Judge(pki.authority)
    for text in (TEXT, b"", TEXT):
        judge.check(A, text, ALGORITHM, signer.certificate, signer.sign(text))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"site": B}, "certificate of site A, not B"),
        ({"text": TEXT + b"!"}, "not that of site A"),
        ({"signature": b""}, "not that of site A"),
        ({"signature": bytes(70)}, "not that of site A"),
        ({"algorithm": "ml-dsa-65"}, "upgrade the older one"),
        ({"certificate": b""}, "does not stand for"),
        ({"certificate": b"0" * 500}, "does not stand for"),
    ],
)
def test_what_is_refused(pki, signer, changed, told):
    said = {"site": A, "text": TEXT, "algorithm": ALGORITHM, "certificate": signer.certificate}
    said |= {"signature": signer.sign(TEXT)} | changed
    with pytest.raises(Unauthorised, match=told):
        Judge(pki.authority).check(**said)


def test_anothers_signature_under_a_sites_certificate_is_refused(pki, signer):
    other = pki.site("B")
    signature = Signer(other.certificate, other.key).sign(TEXT)
    with pytest.raises(Unauthorised, match="not that of site A"):
        Judge(pki.authority).check(A, TEXT, ALGORITHM, signer.certificate, signature)


def test_another_authority_is_none(pki, signer, tmp_path):
    other = Pki(tmp_path / "pki")
    with pytest.raises(Unauthorised, match="does not stand for"):
        Judge(other.authority).check(A, TEXT, ALGORITHM, signer.certificate, signer.sign(TEXT))


@pytest.mark.parametrize("kind", ["module", "sae"])
def test_nobody_but_a_site_signs(pki, kind):
    pair = pki.module("A/1") if kind == "module" else pki.sae("sae:alice")
    signer = Signer(pair.certificate, pair.key)
    with pytest.raises(Unauthorised):
        Judge(pki.authority).check(A, TEXT, ALGORITHM, signer.certificate, signer.sign(TEXT))


def test_a_certificate_that_has_ended_is_refused_also_when_it_was_known(pki, signer):
    now = datetime.now(UTC)
    ends = read_certificates(pki.site("A").certificate)[0].not_valid_after_utc
    judge = Judge(pki.authority, now=lambda: now)
    said = (A, TEXT, ALGORITHM, signer.certificate, signer.sign(TEXT))
    judge.check(*said)
    now = ends - timedelta(seconds=1)
    judge.check(*said)
    now = ends + timedelta(seconds=1)
    with pytest.raises(Unauthorised, match="does not stand for"):
        judge.check(*said)


def test_the_certificate_that_is_sent_along_is_the_sites(pki, signer):
    assert signer.certificate == read_certificates(pki.site("A").certificate)[0].public_bytes(Encoding.DER)


def test_a_key_that_cannot_sign_this_is_told(pki, tmp_path):
    with pytest.raises(PkiError):
        Signer(pki.site("A").certificate, tmp_path / "gone.key")
