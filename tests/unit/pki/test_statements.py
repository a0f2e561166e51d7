"""Signatures of sites: whose they are, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from fuzz.__main__ import TARGETS, run

from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QksId
from qss.pki import statements
from qss.pki.authority import Authority, certificate_pem, create_authority
from qss.pki.contexts import read_certificates
from qss.pki.keys import private_key_pem
from qss.pki.names import common_name, site_subject
from qss.pki.statements import AuthorityJudge, Judge, Signer
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


def authority(name: str, now: datetime, above: Authority | None = None, days: float = 20) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = key if above is None else above.key
    usage = create_authority("like this", days=1, now=now).certificate.extensions.get_extension_for_class(x509.KeyUsage)
    issuer = common_name(name) if above is None else above.certificate.subject
    builder = (
        x509.CertificateBuilder(issuer, common_name(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage.value, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return Authority(builder.sign(signer, SHA256()), key)


def of_version_5(certificate: bytes) -> bytes:
    at = certificate.index(bytes.fromhex("a003020102"))
    return certificate[:at] + bytes.fromhex("a003020104") + certificate[at + 5 :]


def ending_never(certificate: bytes) -> bytes:
    """Have it end in the year 0 of a calendar that has none."""
    at = certificate.rindex(b"\x17\x0d")
    return certificate[:at] + b"\x17\x0d000000000000Z" + certificate[at + 15 :]


def test_what_a_site_has_signed_is_its_own(pki, signer):
    judge = Judge(pki.authority)
    for text in (TEXT, b"", TEXT):
        judge.check(A, text, signer.algorithm, signer.certificates, signer.sign(text))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"site": B}, "certificate of site A, not B"),
        ({"text": TEXT + b"!"}, "not that of site A"),
        ({"signature": b""}, "not that of site A"),
        ({"signature": bytes(70)}, "not that of site A"),
        ({"algorithm": "ml-dsa-65"}, "is for ecdsa-sha256"),
        ({"certificates": ()}, "does not stand for"),
        ({"certificates": (b"0" * 500,)}, "does not stand for"),
    ],
)
def test_what_is_refused(pki, signer, changed, told):
    said = {"site": A, "text": TEXT, "algorithm": signer.algorithm, "certificates": signer.certificates}
    said |= {"signature": signer.sign(TEXT)} | changed
    with pytest.raises(Unauthorised, match=told):
        Judge(pki.authority).check(**said)


def test_anothers_signature_under_a_sites_certificate_is_refused(pki, signer):
    other = pki.site("B")
    signature = Signer(other.certificate, other.key).sign(TEXT)
    with pytest.raises(Unauthorised, match="not that of site A"):
        Judge(pki.authority).check(A, TEXT, signer.algorithm, signer.certificates, signature)


def test_another_authority_is_none(pki, signer, tmp_path):
    other = Pki(tmp_path / "pki")
    with pytest.raises(Unauthorised, match="does not stand for"):
        Judge(other.authority).check(A, TEXT, signer.algorithm, signer.certificates, signer.sign(TEXT))


@pytest.mark.parametrize("kind", ["module", "sae"])
def test_nobody_but_a_site_signs(pki, kind):
    pair = pki.module("A/1") if kind == "module" else pki.sae("sae:alice")
    signer = Signer(pair.certificate, pair.key)
    with pytest.raises(Unauthorised):
        Judge(pki.authority).check(A, TEXT, signer.algorithm, signer.certificates, signer.sign(TEXT))


def test_a_certificate_that_has_ended_is_refused_also_when_it_was_known(pki, signer):
    now = datetime.now(UTC)
    ends = read_certificates(pki.site("A").certificate)[0].not_valid_after_utc
    judge = Judge(pki.authority, now=lambda: now)
    said = (A, TEXT, signer.algorithm, signer.certificates, signer.sign(TEXT))
    judge.check(*said)
    now = ends - timedelta(seconds=1)
    judge.check(*said)
    now = ends + timedelta(seconds=1)
    with pytest.raises(Unauthorised, match="does not stand for"):
        judge.check(*said)


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha256"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "rsa-pss-sha256"),
    ],
)
def test_keys_of_other_kinds_and_an_authority_between(tmp_path, private, algorithm):
    """A root, an authority of its own operator, and a site's certificate of that."""
    now = datetime.now(UTC)
    root = authority("root", now)
    middle = authority("between", now, root)
    key = private()
    own = middle.issue(site_subject(A, ["localhost"]), key.public_key(), days=10, now=now)
    (tmp_path / "root.pem").write_bytes(certificate_pem(root.certificate))
    (tmp_path / "A.pem").write_bytes(certificate_pem(own) + certificate_pem(middle.certificate))
    (tmp_path / "A.key").write_bytes(private_key_pem(key))
    (tmp_path / "A.key").chmod(0o600)
    signer = Signer(tmp_path / "A.pem", tmp_path / "A.key")
    assert signer.algorithm == algorithm
    judge = Judge(tmp_path / "root.pem")
    signature = signer.sign(TEXT)
    judge.check(A, TEXT, algorithm, signer.certificates, signature)
    with pytest.raises(Unauthorised, match="not that of site A"):
        judge.check(A, TEXT + b"!", algorithm, signer.certificates, signature)
    with pytest.raises(Unauthorised, match="does not stand for"):
        judge.check(A, TEXT, algorithm, signer.certificates[:1], signature)


def test_a_key_that_cannot_sign_this_is_told(pki, tmp_path):
    with pytest.raises(PkiError):
        Signer(pki.site("A").certificate, tmp_path / "gone.key")


# --- certificates that come along, which no signature covers ------------------------------------------------------


@pytest.mark.parametrize("spoil", [of_version_5, ending_never, lambda _: b"0\0", lambda _: b""])
@pytest.mark.parametrize("of_the_authority", [False, True])
def test_a_bad_certificate_that_nobody_needs_does_no_harm(pki, signer, spoil, of_the_authority):
    """Whoever sends a statement on can add certificates to it, and must not end the site by that."""
    judge = Judge(pki.authority)
    own, signature = signer.certificates[0], signer.sign(TEXT)
    bad = spoil(read_certificates(pki.authority)[0].public_bytes(Encoding.DER) if of_the_authority else own)
    for chain in ((bad,), (bad, own)):
        with pytest.raises(Unauthorised, match="does not stand for"):
            judge.check(A, TEXT, signer.algorithm, chain, signature)
    judge.check(A, TEXT, signer.algorithm, (own, bad), signature)


def test_what_nobody_foresaw_is_a_refusal(pki, signer, monkeypatch):
    class Broken(Exception):
        pass

    def broken(*_):
        raise Broken

    said = (A, TEXT, signer.algorithm, signer.certificates, signer.sign(TEXT))
    for name, told in (("names_in", "does not stand for"), ("_verify", "not that of site A")):
        with monkeypatch.context() as patched:
            patched.setattr(statements, name, broken)
            with pytest.raises(Unauthorised, match=told):
                Judge(pki.authority).check(*said)
            if name == "_verify":
                with pytest.raises(Unauthorised, match="authority has not signed"):
                    AuthorityJudge(pki.authority).check(TEXT, "ecdsa-sha256", b"")


def test_junk_that_comes_along_takes_no_room_from_what_is_known(pki, signer, monkeypatch):
    looks = []
    parse = x509.load_der_x509_certificate
    monkeypatch.setattr(x509, "load_der_x509_certificate", lambda der: looks.append(der) or parse(der))
    monkeypatch.setattr(statements, "MAX_KNOWN", 2)
    judge = Judge(pki.authority)
    said, own = (A, TEXT, signer.algorithm), signer.certificates[0]
    signature = signer.sign(TEXT)
    judge.check(*said, (own,), signature)
    looks.clear()
    for junk in range(10):
        judge.check(*said, (own, bytes([junk])), signature)
    assert looks == []
    for name in "BCD":
        pair = pki.site(name)
        other = Signer(pair.certificate, pair.key)
        judge.check(QksId(name), TEXT, other.algorithm, other.certificates, other.sign(TEXT))
    looks.clear()
    judge.check(*said, (own,), signature)
    assert looks == [own]


def test_the_end_of_what_is_not_in_the_chain_says_nothing(tmp_path):
    now = datetime.now(UTC)
    root = authority("root", now)
    middle, other = authority("between", now, root), authority("another between", now, root, days=1 / 24)
    key = ec.generate_private_key(ec.SECP256R1())
    own = middle.issue(site_subject(A, ["localhost"]), key.public_key(), days=10, now=now)
    (tmp_path / "root.pem").write_bytes(certificate_pem(root.certificate))
    judge = Judge(tmp_path / "root.pem", now=lambda: now)
    own, middle, other = (each.public_bytes(Encoding.DER) for each in (own, middle.certificate, other.certificate))
    signature = key.sign(TEXT, ec.ECDSA(SHA256()))
    judge.check(A, TEXT, "ecdsa-sha256", (own, other, middle), signature)
    (known,) = judge._known.values()
    assert known.between == {middle}
    assert known.ends > now + timedelta(days=9)


def test_fuzzing_certificates_finds_nothing_in_a_short_while():
    assert run(TARGETS["certificates"], seed=1, tries=400) == 400
