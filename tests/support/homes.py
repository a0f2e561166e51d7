"""Statements of SAEs' homes for tests, signed by whomever: the authority, a site, or an authority of another kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from qss.model.identifiers import QksId, SaeId
from qss.pki.authority import Authority, read_authority
from qss.pki.folder import Pair
from qss.pki.keys import PrivateKey, read_private_key
from qss.pki.names import common_name
from qss.pki.statements import sign_as_authority
from qss.wire.home_statement import SIGNED_AS, SignedStatement, encode_home, encode_statement
from support.pki import Pki

SAE, SITE = SaeId("sae:alice"), QksId("A")
END = 4_000_000_000
"""A time that is far off, in seconds since 1970."""


def stated(pki: Pki, sae: SaeId = SAE, site: QksId = SITE, expires: int = END) -> bytes:
    """Return what the authority states."""
    pair = pki.folder.authority
    return signed_by(read_authority(pair.certificate.read_bytes(), pair.key.read_bytes(), "ca"), sae, site, expires)


def signed_by(authority: Authority, sae: SaeId = SAE, site: QksId = SITE, expires: int = END) -> bytes:
    """Return a statement that has this signature."""
    body = encode_home(sae, site, expires)
    return encode_statement(SignedStatement(body, *sign_as_authority(authority, SIGNED_AS + body)))


def by_site(pair: Pair, site: QksId) -> bytes:
    """Return a statement that a site has made for itself, with the key of its certificate."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    return signed_by(Authority(certificate, read_private_key(pair.key.read_bytes(), "key")), site=site)


def forged(number: int, site: QksId = SITE) -> bytes:
    """Return a statement with a made-up signature, another one for each number."""
    return encode_statement(SignedStatement(encode_home(SAE, site, END), "ecdsa-sha256", b"%08d" % number))


def authority_with(key: PrivateKey, file: Path) -> Authority:
    """Make an authority with a key of any kind, and write its certificate."""
    now, name = datetime.now(UTC), common_name("another authority")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Authority(certificate, key)
