"""The authority: what its certificates say, and what it refuses to sign."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from qss.model.errors import PkiError
from qss.model.identifiers import QksId, SaeId
from qss.pki.authority import (
    Authority,
    certificate_pem,
    create_authority,
    read_authority,
    read_request,
)
from qss.pki.keys import new_private_key, private_key_pem
from qss.pki.names import common_name, sae_subject, site_subject

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority("test network", days=100, now=NOW)


def issue(authority: Authority, subject, days: int = 10) -> x509.Certificate:
    return authority.issue(subject, new_private_key().public_key(), days=days, now=NOW)


def extension(certificate: x509.Certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_authority_signs_end_entities_only(authority):
    constraints = extension(authority.certificate, x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = extension(authority.certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert isinstance(authority.certificate.public_key().curve, ec.SECP256R1)
    assert authority.certificate.not_valid_after_utc == NOW + timedelta(days=100)


def test_site_certificate(authority):
    certificate = issue(authority, site_subject(QksId("A"), ["qks-a.example.org", "10.0.0.1", "::1", "10.0.0.1"]))
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["qks:A"]
    assert names.get_values_for_type(x509.DNSName) == ["qks-a.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "A"
    assert set(extension(certificate, x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert not extension(certificate, x509.BasicConstraints).value.ca
    assert extension(certificate, x509.KeyUsage).value.digital_signature
    assert not extension(certificate, x509.KeyUsage).value.key_cert_sign


def test_sae_certificate_is_a_clients_only(authority):
    certificate = issue(authority, sae_subject(SaeId("sae:alice")))
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("sae:alice")]
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "sae:alice"


def test_an_sae_id_too_long_for_a_common_name_stands_in_the_alternative_name_alone(authority):
    sae = SaeId("sae:" + "a" * 61)
    certificate = issue(authority, sae_subject(sae))
    names = extension(certificate, x509.SubjectAlternativeName)
    assert not list(certificate.subject)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [sae]


def test_key_identifiers_chain(authority):
    certificate = issue(authority, sae_subject(SaeId("sae:alice")))
    assert (
        extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier
        == extension(authority.certificate, x509.SubjectKeyIdentifier).value.digest
    )


def test_certificates_satisfy_a_strict_verifier(authority):
    verifier = PolicyBuilder().store(Store([authority.certificate])).time(NOW).build_client_verifier()
    for subject in (sae_subject(SaeId("sae:alice")), site_subject(QksId("A"), ["localhost"])):
        verifier.verify(issue(authority, subject), [])


def test_serial_numbers_differ(authority):
    serials = {issue(authority, sae_subject(SaeId("sae:alice"))).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert max(serials) > 2**100


def test_a_certificate_does_not_outlive_the_authority(authority):
    with pytest.raises(PkiError, match="ask for at most 100 days"):
        issue(authority, sae_subject(SaeId("sae:alice")), days=101)


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_days_are_bounded(authority, days):
    with pytest.raises(PkiError, match="ask for 1 to 36500"):
        issue(authority, sae_subject(SaeId("sae:alice")), days=days)


def test_no_key_in_the_authoritys_repr(authority):
    assert "key" not in repr(authority).lower()


def test_an_authority_is_read_back(authority):
    again = read_authority(certificate_pem(authority.certificate), private_key_pem(authority.key), "pki")
    assert again.certificate == authority.certificate


def test_an_outside_authority_with_an_ed25519_key_signs():
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "outside")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=20))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    outside = read_authority(certificate_pem(certificate), private_key_pem(key), "pki")
    issued = issue(outside, sae_subject(SaeId("sae:alice")))
    issued.verify_directly_issued_by(certificate)


def test_an_end_entity_is_no_authority(authority):
    key = new_private_key()
    leaf = authority.issue(sae_subject(SaeId("sae:alice")), key.public_key(), days=1, now=NOW)
    with pytest.raises(PkiError, match="not that of an authority"):
        read_authority(certificate_pem(leaf), private_key_pem(key), "pki")


def test_a_foreign_key_is_noticed(authority):
    with pytest.raises(PkiError, match="does not belong to its certificate"):
        read_authority(certificate_pem(authority.certificate), private_key_pem(new_private_key()), "pki")


def request(key, algorithm=SHA256()) -> bytes:  # noqa: B008 - a constant
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qks:A")])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), SHA256()),
        (ec.generate_private_key(ec.SECP384R1()), SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), None),
        (rsa.generate_private_key(65537, 2048), SHA256()),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA 2048"],
)
def test_good_requests(key, algorithm):
    assert read_request(request(key, algorithm), "r.pem") == key.public_key()


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA 1024"),
        (ec.generate_private_key(ec.SECP192R1()), "secp192r1"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (dsa.generate_private_key(2048), "DSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weak_keys_are_refused(key, what):
    with pytest.raises(PkiError, match=rf"r\.pem: {what} is not accepted; use P-256"):
        read_request(request(key), "r.pem")


def test_a_request_must_be_signed_by_its_own_key():
    pem = request(new_private_key())
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))
    position = der.index(b"qks:A")
    der[position : position + 5] = b"qks:B"
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(PkiError, match="not signed by its own key"):
        read_request(forged, "r.pem")


def of_version_5() -> bytes:
    request = x509.CertificateSigningRequestBuilder(common_name("x")).sign(new_private_key(), SHA256())
    der = request.public_bytes(Encoding.DER)
    at = der.index(b"\x02\x01\x00")
    text = base64.encodebytes(der[:at] + b"\x02\x01\x04" + der[at + 3 :])
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nonsense",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        of_version_5(),
    ],
    ids=["nothing", "nonsense", "no request", "version 5"],
)
def test_an_unreadable_request_is_refused(pem):
    with pytest.raises(PkiError, match=r"r\.pem: no certificate request"):
        read_request(pem, "r.pem")
