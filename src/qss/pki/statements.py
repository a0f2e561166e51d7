"""What a site says under its certificate, and what the network's authority says itself: signing and judging.

A signature is good for what one says to all, where TLS is for what it says to one neighbour. A site's certificate must
come from the network's authority, be valid now, and name the site (Routing 3.3). Certificates and signatures come from
anybody: whatever they are made of, judging them ends in yes or in `Unauthorised`. Held here: chains and signatures. Not
here: what is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from qss.model.certificates import site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId
from qss.pki.authority import Authority
from qss.pki.contexts import read_certificates
from qss.pki.files import read_private
from qss.pki.keys import PrivateKey, PublicKey, public_key_of, read_private_key
from qss.pki.names import names_in

MAX_KNOWN = 4096
"""Certificates of sites that were found good, with what led to them, and are not looked at again before they end."""

_NOT_STOOD_FOR = "signed under a certificate that the network's authority does not stand for"

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


@dataclass(frozen=True, slots=True)
class _Known:
    """A site's certificate that was found good."""

    site: QksId
    public: PublicKey
    between: frozenset[bytes]
    """What led from it to the authority (DER)."""
    ends: datetime
    """When the first of all these ends."""


class Judge:
    """Judges what sites have signed. Remembers their certificates, because most of them come again and again.

    What is remembered is the authority's word alone. No signature covers the certificates that are sent along, so
    whoever sends a statement on can add others: they are not looked at where they are not needed, and take no room.
    """

    def __init__(self, authority: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Trust the certificates in the file `authority`. Raises `PkiError`."""
        self._store = Store(read_certificates(authority))
        self._now = now
        self._known: dict[bytes, _Known] = {}

    def check(self, site: QksId, text: bytes, algorithm: str, certificates: Sequence[bytes], signature: bytes) -> None:
        """Raise `Unauthorised` unless `site` has signed `text`, under the first of these certificates (DER)."""
        known = self._look_at(certificates)
        if known.site != site:
            raise Unauthorised(f"signed under the certificate of site {known.site}, not {site}")
        if algorithm != _algorithm_of(known.public):
            needed = _algorithm_of(known.public)
            raise Unauthorised(f"signed by {algorithm!r}, where the key of {site} is for {needed}")
        with _refusing(f"the signature is not that of site {site}"):
            _verify(known.public, signature, text)

    def _look_at(self, chain: Sequence[bytes]) -> _Known:
        if not chain:
            raise Unauthorised(_NOT_STOOD_FOR)
        known = self._known.get(chain[0])
        if known is not None and self._now() <= known.ends and known.between <= frozenset(chain[1:]):
            return known
        known = self._found(chain)
        self._known.pop(chain[0], None)
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[chain[0]] = known
        return known

    def _found(self, chain: Sequence[bytes]) -> _Known:
        with _refusing(_NOT_STOOD_FOR):
            own = x509.load_der_x509_certificate(chain[0])
            between = [each for certificate in chain[1:] for each in _readable(certificate)]
            verifier = PolicyBuilder().store(self._store).time(self._now()).build_client_verifier()
            # What was not needed for this chain has been verified by nobody: nothing is read from it.
            verified = verifier.verify(own, between).chain
            return _Known(
                site_of(names_in(own)),
                public_key_of(own, "the certificate"),
                frozenset(each.public_bytes(Encoding.DER) for each in verified[1:-1]),
                min(each.not_valid_after_utc for each in verified),
            )


def _readable(certificate: bytes) -> Iterator[x509.Certificate]:
    """Yield it, if it can be read.

    If one that nobody needs were a reason to refuse, it would be none to those who know the site's own already; they
    would send it on, and be taken for forgers by those who do not.
    """
    with suppress(Unauthorised), _refusing(_NOT_STOOD_FOR):
        yield x509.load_der_x509_certificate(certificate)


class AuthorityJudge:
    """Judges what the network's authority itself has signed."""

    def __init__(self, authority: Path) -> None:
        """Take what is signed by one of the certificates in the file `authority`. Raises `PkiError`."""
        self._keys = [public_key_of(each, str(authority)) for each in read_certificates(authority)]

    def check(self, text: bytes, algorithm: str, signature: bytes) -> None:
        """Raise `Unauthorised` unless the authority has signed `text`."""
        told = "the network's authority has not signed this"
        for public in self._keys:
            if algorithm == _algorithm_of(public):
                with suppress(Unauthorised), _refusing(told):
                    _verify(public, signature, text)
                    return
        raise Unauthorised(told)


@contextmanager
def _refusing(why: str) -> Iterator[None]:
    """Raise `Unauthorised` for whatever goes wrong with bytes that come from anybody.

    It surrounds nothing but the library's calls on such bytes. What they raise is no closed set: a version or a date
    that cannot be, a curve or a hash that nobody knows, a name of another type than it should have, each has an
    exception of its own, and the next release of the library has others. To all else in a site an exception that nobody
    foresaw is a defect of its own, and ends it; so one that is missing in a list here would let anybody end it.
    """
    try:
        yield
    except Unauthorised:
        raise
    except Exception as error:
        raise Unauthorised(why) from error


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
