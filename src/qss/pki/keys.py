"""Key pairs of certificates: which ones are good enough, and how they are stored.

Made here: P-256, the fastest in TLS handshakes. Signed and used as well: what outside authorities and vendors have.
Private keys are written unencrypted as PKCS#8; whoever writes the file answers for its mode.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from qss.model.errors import PkiError

type PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
type PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
"""Shortest RSA modulus that is signed (NIST SP 800-57 part 1: 112 bit of strength)."""

MAX_RSA_BITS = 8192
"""Longest RSA modulus that is signed; a longer one would be a burden on every handshake."""

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def new_private_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_key_pem(key: PrivateKey) -> bytes:
    """Return `key` as unencrypted PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(pem: bytes, source: str) -> PrivateKey:
    """Read an unencrypted PEM private key; `source` names its file in errors. Raises `PkiError`."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise PkiError(
            f"{source}: the private key is encrypted; store it decrypted (openssl pkey -in … -out …), with mode 0600"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PkiError(f"{source}: no private key in PEM form; give the key that belongs to the certificate") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise PkiError(f"{source}: a key of an unsupported kind; use {_GOOD_KEYS}")
    return key


def public_key_of(holder: x509.Certificate | x509.CertificateSigningRequest, source: str) -> PublicKey:
    """Return the public key in a certificate or request; `source` names its file in errors.

    Raises `PkiError` for keys that are weak or of an unsupported kind.
    """
    try:
        key = holder.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PkiError(f"{source}: the public key is of an unsupported kind; use {_GOOD_KEYS}") from error
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return key
    raise PkiError(f"{source}: {describe(key)} is not accepted; use {_GOOD_KEYS}")


def describe(key: object) -> str:
    """Return the kind of a public key in words, such as `P-256` or `RSA 3072`."""
    match key:
        case ec.EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name, key.curve.name)
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


def same_key(one: PublicKey, other: PublicKey) -> bool:
    """Tell whether two public keys are the same."""
    return _subject_public_key_info(one) == _subject_public_key_info(other)


def _subject_public_key_info(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_GOOD_KEYS = f"P-256, P-384, P-521, Ed25519, or RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bit"
