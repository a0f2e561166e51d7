"""What a site says under its certificate: signing, and judging what another site has signed (Routing 3.3).

A signature is good for what one site says to all, where TLS is for what it says to one neighbour. The certificate must
come from the network's authority, be valid now, and name the site. Held here: chains and signatures. Not here: what is
signed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from qss.model.certificates import site_of
from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QksId
from qss.pki.contexts import read_certificates
from qss.pki.files import read_private
from qss.pki.keys import read_private_key
from qss.pki.names import names_in

ALGORITHM = "ecdsa-p256-sha256"
"""The one algorithm that there is so far."""

MAX_KNOWN = 4096
"""Certificates that were found good and are not looked at again before they end."""


class Signer:
    """Signs as one site. `certificate` is that site's (DER), to be sent along."""

    algorithm = ALGORITHM

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the pair. Raises `PkiError` if it cannot be used for this."""
        private = read_private_key(read_private(key), str(key))
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise PkiError(f"{key}: routing needs a site certificate with a P-256 key; make one with `qss pki site`")
        self._private = private
        self.certificate = read_certificates(certificate)[0].public_bytes(Encoding.DER)

    def sign(self, text: bytes) -> bytes:
        """Return the signature of `text` (ECDSA with P-256 and SHA-256, DER)."""
        return self._private.sign(text, ec.ECDSA(SHA256()))


class Judge:
    """Judges what sites have signed. Remembers certificates, because most of them come again and again."""

    def __init__(self, authority: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Trust the certificates in the file `authority`. Raises `PkiError`."""
        self._store = Store(read_certificates(authority))
        self._now = now
        self._known: dict[bytes, tuple[QksId, ec.EllipticCurvePublicKey, datetime]] = {}

    def check(self, site: QksId, text: bytes, algorithm: str, certificate: bytes, signature: bytes) -> None:
        """Raise `Unauthorised` unless `site` has signed `text`, under this certificate (DER)."""
        if algorithm != ALGORITHM:
            raise Unauthorised(f"signed by {algorithm!r}, which this release does not know; upgrade the older one")
        named, public = self._look_at(certificate)
        if named != site:
            raise Unauthorised(f"signed under the certificate of site {named}, not {site}")
        try:
            public.verify(signature, text, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise Unauthorised(f"the signature is not that of site {site}") from None

    def _look_at(self, encoded: bytes) -> tuple[QksId, ec.EllipticCurvePublicKey]:
        known = self._known.get(encoded)
        if known is not None and self._now() <= known[2]:
            return known[:2]
        try:
            certificate = x509.load_der_x509_certificate(encoded)
            verifier = PolicyBuilder().store(self._store).time(self._now()).build_client_verifier()
            verifier.verify(certificate, [])
            public = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm, VerificationError) as error:
            raise Unauthorised("signed under a certificate that the network's authority does not stand for") from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise Unauthorised("signed under a certificate whose key is no P-256 key")
        named = site_of(names_in(certificate))
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[encoded] = named, public, certificate.not_valid_after_utc
        return named, public
