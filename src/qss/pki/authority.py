"""The network's certificate authority: one self-signed certificate that signs sites' and applications' certificates.

Profile: RFC 5280. The authority signs end entities only (path length 0). Refused: names out of a certificate request.
Whoever runs the authority says whom a certificate is for; of a request, only its public key is used, once its
signature has shown that the requester holds the private key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from qss.model.errors import PkiError
from qss.pki.keys import PrivateKey, PublicKey, new_private_key, public_key_of, read_private_key, same_key
from qss.pki.names import Subject, common_name

AUTHORITY_DAYS = 3650
"""How long a network's authority lives if nothing else is said."""

CERTIFICATE_DAYS = 365
"""How long a site's or an application's certificate lives if nothing else is said."""

MAX_DAYS = 36500
"""The longest life that can be asked for."""

# Certificates are valid from a little before they were made, for machines whose clocks are a little late.
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate, and the key that signs."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    def issue(self, subject: Subject, key: PublicKey, *, days: int, now: datetime) -> x509.Certificate:
        """Return a certificate for `subject` that holds `key` and ends `days` after `now` (aware, UTC).

        Raises `PkiError` if the certificate would outlive the authority.
        """
        end = _end(now, days)
        if end > self.certificate.not_valid_after_utc:
            left = max((self.certificate.not_valid_after_utc - now).days, 0)
            raise PkiError(
                f"the authority's certificate ends on {self.certificate.not_valid_after_utc:%Y-%m-%d}: "
                f"ask for at most {left} days, or make a new authority"
            )
        builder = (
            _builder(subject.name, self.certificate.subject, key, now, end)
            .add_extension(
                x509.SubjectAlternativeName(subject.alternative_names),
                critical=not list(subject.name),  # RFC 5280, clause 4.2.1.6: critical where the subject is empty
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(subject.usages), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        return builder.sign(self.key, _hash_for(self.key))

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:  # an outside authority's certificate may lack it
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def create_authority(name: str, *, days: int, now: datetime) -> Authority:
    """Make a self-signed authority with the common name `name` that ends `days` after `now` (aware, UTC)."""
    key = new_private_key()
    subject = common_name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), now, _end(now, days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return Authority(certificate, key)


def read_authority(certificate_pem: bytes, key_pem: bytes, source: str) -> Authority:
    """Read an authority from PEM; `source` names its folder in errors. Raises `PkiError`."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.InvalidVersion) as error:
        raise PkiError(f"{source}: the authority's certificate cannot be read; give an X.509 CA in PEM form") from error
    if not constraints.ca:
        raise PkiError(f"{source}: the certificate is not that of an authority; make one with: qss pki ca")
    key = read_private_key(key_pem, source)
    if not same_key(public_key_of(certificate, source), key.public_key()):
        raise PkiError(f"{source}: the authority's key does not belong to its certificate; restore the pair")
    return Authority(certificate, key)


def read_request(pem: bytes, source: str) -> PublicKey:
    """Return the public key of a certificate request (PKCS#10, PEM); `source` names its file in errors.

    Raises `PkiError` if the request is unreadable, not signed by its own key, or its key is weak.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        key = public_key_of(request, source)
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as error:
        raise PkiError(
            f"{source}: no certificate request that can be read; make one with: openssl req -new -key … -out …"
        ) from error
    if not signed:
        raise PkiError(f"{source}: the request is not signed by its own key; make it again with that key")
    return key


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _end(now: datetime, days: int) -> datetime:
    if not 1 <= days <= MAX_DAYS:
        raise PkiError(f"a certificate cannot live {days} days: ask for 1 to {MAX_DAYS}")
    return now + timedelta(days=days)


def _key_usage(*, digital_signature: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _hash_for(key: PrivateKey) -> SHA256 | None:
    # Ed25519 hashes by itself (RFC 8410).
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
