"""What a site says under its certificate, and what the network's authority says itself: signing and judging.

A signature is good for what one says to all, where TLS is for what it says to one neighbour. A site's certificate must
come from the network's authority, be valid now, and name the site (Routing 3.3). Held here: chains and signatures. Not
here: what is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from qss.model.certificates import site_of
from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QksId
from qss.pki.authority import Authority
from qss.pki.contexts import read_certificates
from qss.pki.files import read_private
from qss.pki.keys import PrivateKey, PublicKey, public_key_of, read_private_key
from qss.pki.names import names_in

MAX_KNOWN = 4096
"""Chains that were found good and are not looked at again before they end."""

_PSS = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)


class Signer:
    """Signs as one site.

    `certificates` are that site's and those between it and its authority (DER), to be sent along.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the pair. Raises `PkiError` if it cannot be used."""
        self._private = read_private_key(read_private(key), str(key))
        self.algorithm = _algorithm_of(self._private)
        self.certificates = tuple(each.public_bytes(Encoding.DER) for each in read_certificates(certificate))

    def sign(self, text: bytes) -> bytes:
        """Return the signature of `text`."""
        return _sign(self._private, text)


def sign_as_authority(authority: Authority, text: bytes) -> tuple[str, bytes]:
    """Return the algorithm and the signature of `text` by the network's authority."""
    return _algorithm_of(authority.key), _sign(authority.key, text)


class Judge:
    """Judges what sites have signed. Remembers their chains, because most of them come again and again."""

    def __init__(self, authority: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Trust the certificates in the file `authority`. Raises `PkiError`."""
        self._store = Store(read_certificates(authority))
        self._now = now
        self._known: dict[tuple[bytes, ...], tuple[QksId, PublicKey, datetime]] = {}

    def check(self, site: QksId, text: bytes, algorithm: str, certificates: Sequence[bytes], signature: bytes) -> None:
        """Raise `Unauthorised` unless `site` has signed `text`, under the first of these certificates (DER)."""
        named, public = self._look_at(tuple(certificates))
        if named != site:
            raise Unauthorised(f"signed under the certificate of site {named}, not {site}")
        if algorithm != _algorithm_of(public):
            raise Unauthorised(f"signed by {algorithm!r}, where the key of {site} is for {_algorithm_of(public)}")
        try:
            _verify(public, signature, text)
        except InvalidSignature:
            raise Unauthorised(f"the signature is not that of site {site}") from None

    def _look_at(self, chain: tuple[bytes, ...]) -> tuple[QksId, PublicKey]:
        known = self._known.get(chain)
        if known is not None and self._now() <= known[2]:
            return known[:2]
        try:
            own, *between = map(x509.load_der_x509_certificate, chain)
            PolicyBuilder().store(self._store).time(self._now()).build_client_verifier().verify(own, between)
            public = public_key_of(own, "the certificate")
        except (ValueError, UnsupportedAlgorithm, VerificationError, PkiError) as error:
            raise Unauthorised("signed under a certificate that the network's authority does not stand for") from error
        named = site_of(names_in(own))
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[chain] = named, public, min(each.not_valid_after_utc for each in (own, *between))
        return named, public


class AuthorityJudge:
    """Judges what the network's authority itself has signed."""

    def __init__(self, authority: Path) -> None:
        """Take what is signed by one of the certificates in the file `authority`. Raises `PkiError`."""
        self._keys = [public_key_of(each, str(authority)) for each in read_certificates(authority)]

    def check(self, text: bytes, algorithm: str, signature: bytes) -> None:
        """Raise `Unauthorised` unless the authority has signed `text`."""
        for public in self._keys:
            if algorithm == _algorithm_of(public):
                with suppress(InvalidSignature):
                    _verify(public, signature, text)
                    return
        raise Unauthorised("the network's authority has not signed this")


def _sign(private: PrivateKey, text: bytes) -> bytes:
    match private:
        case ec.EllipticCurvePrivateKey() as key:
            return key.sign(text, ec.ECDSA(SHA256()))
        case ed25519.Ed25519PrivateKey() as key:
            return key.sign(text)
        case rsa.RSAPrivateKey() as key:
            return key.sign(text, _PSS, SHA256())
        case _:
            assert_never(private)


def _algorithm_of(key: PrivateKey | PublicKey) -> str:
    match key:
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return "ecdsa-sha256"
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return "ed25519"
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return "rsa-pss-sha256"
        case _:
            assert_never(key)


def _verify(public: PublicKey, signature: bytes, text: bytes) -> None:
    match public:
        case ec.EllipticCurvePublicKey():
            public.verify(signature, text, ec.ECDSA(SHA256()))
        case ed25519.Ed25519PublicKey():
            public.verify(signature, text)
        case rsa.RSAPublicKey():
            public.verify(signature, text, _PSS, SHA256())
        case _:
            assert_never(public)
