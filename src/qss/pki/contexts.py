"""TLS contexts of one's own certificate, checked before use: all of them are made here.

Every context demands the other end's certificate, except the one that answers probes. Between our own parts there is
TLS 1.3 only. Refused everywhere: the operating system's authorities, compression, renegotiation, session tickets (every
connection proves its identity anew), ciphers without forward secrecy. Not here: what a peer's name is good for.

Group negotiation is left to the library: OpenSSL 3.5 offers the hybrid X25519MLKEM768 by itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from qss.model.certificates import PeerCertificate, module_of, site_of
from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QkdmId, QksId
from qss.pki.files import read, read_private
from qss.pki.keys import public_key_of, read_private_key, same_key
from qss.pki.names import names_in, peer_certificate

# For TLS 1.2; those of TLS 1.3 are all authenticated and forward secret.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_GIVE_SITE = "give one whose URI is qks:{0}, such as `qss pki site {0}` makes"
_GIVE_MODULE = "give one whose URI is qkdm:{0}, such as `qss pki module {0}` makes"


def server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a context for serving our own parts: TLS 1.3, and a client certificate under `authority` is demanded.

    `certificate` holds this site's certificate and perhaps those between it and its authority; `authority` holds one
    certificate or more; all are PEM. Raises `PkiError` for files that are unreadable, do not match, or have expired,
    and for a key that others can read.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authority, ssl.TLSVersion.TLSv1_3)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def northbound_context(
    certificate: Path, key: Path, authority: Path, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a context for serving applications: as `server_context`, from TLS version `minimum` on.

    TLS 1.2 is the least that is accepted (ETSI GS QKD 014, clause 5.1).
    """
    if minimum < ssl.TLSVersion.TLSv1_2:
        raise PkiError(f"{minimum.name} is too old for ETSI GS QKD 014: use TLS 1.2 or 1.3")
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authority, minimum)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def probe_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a context as `server_context`, but a client may come without a certificate.

    It is for the listener that also answers liveness and readiness; everything else behind it must refuse a caller
    without certificate. One that shows a certificate must show a valid one.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authority, ssl.TLSVersion.TLSv1_3)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a context for calling another site: TLS 1.3, the server's certificate must be under `authority`.

    Host names are not compared: a site is who the QKS ID in its certificate says, wherever it runs and whatever
    address the configuration has for it. The caller must compare `site_of(connection.peer)` with the site it means.
    Raises `PkiError` as `server_context` does.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authority, ssl.TLSVersion.TLSv1_3)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def application_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a context for calling a key server as an application: TLS 1.2 or later (ETSI GS QKD 014, clause 5.1).

    The server's certificate must be under `authority` and name the host that is called. Raises `PkiError` as
    `server_context` does.
    """
    # Such a context demands the server's certificate and compares host names by itself.
    return _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authority, ssl.TLSVersion.TLSv1_2)


class AnotherEndError(ssl.SSLCertVerificationError):
    """The other end has proved who it is, and is not who was meant."""


def check_other_end(context: ssl.SSLContext, check: Callable[[PeerCertificate], None]) -> None:
    """Have handshakes of `context` fail with `AnotherEndError` where `check` raises `Unauthorised`.

    It is asked at the end of the handshake, so nothing is said to an end that it refuses.
    """

    class Checked(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                check(peer_certificate(self.getpeercert() or {}))
            except Unauthorised as error:
                raise AnotherEndError(ssl.SSL_ERROR_SSL, str(error)) from error

    context.sslobject_class = Checked


def check_site(certificate: Path, site: QksId) -> datetime:
    """Return when the certificate of `site` ends (UTC). Raises `PkiError` if it is not that site's.

    Neighbours would take a site for the one that its certificate names, whatever its configuration says.
    """
    own = read_certificates(certificate)[0]
    try:
        named = site_of(names_in(own))
    except Unauthorised as error:
        raise PkiError(f"{certificate} is no site's certificate ({error}); {_GIVE_SITE.format(site)}") from error
    if named != site:
        raise PkiError(f"{certificate} is a certificate of site {named}, not {site}; {_GIVE_SITE.format(site)}")
    return own.not_valid_after_utc


def check_module(certificate: Path, module: QkdmId) -> datetime:
    """Return when the certificate of `module` ends (UTC). Raises `PkiError` if it is not that module's."""
    own = read_certificates(certificate)[0]
    try:
        named = module_of(names_in(own))
    except Unauthorised as error:
        raise PkiError(f"{certificate} is no module's certificate ({error}); {_GIVE_MODULE.format(module)}") from error
    if named != module:
        raise PkiError(f"{certificate} is a certificate of module {named}, not {module}; {_GIVE_MODULE.format(module)}")
    return own.not_valid_after_utc


def _context(protocol: int, certificate: Path, key: Path, authority: Path, minimum: ssl.TLSVersion) -> ssl.SSLContext:
    _check_pair(certificate, key)
    _check_authority(authority)
    context = ssl.SSLContext(protocol)
    context.minimum_version = minimum
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.set_ciphers(_CIPHERS)
    # An intermediate authority may stand alone in the file: trust can end there, a root is not needed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        # Without a password the library would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise PkiError(
            f"{certificate}, {key}: refused by the TLS library ({_reason(error)}); make a new pair"
        ) from error
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise PkiError(f"{authority}: refused by the TLS library ({_reason(error)}); give another CA file") from error
    return context


def _check_pair(certificate: Path, key: Path) -> None:
    own = read_certificates(certificate)[0]
    _check_dates(own, certificate)
    private = read_private_key(read_private(key), str(key))
    if not same_key(public_key_of(own, str(certificate)), private.public_key()):
        raise PkiError(f"{key} is not the key of {certificate}: give the pair that was made together")


def _check_dates(certificate: x509.Certificate, path: Path) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise PkiError(
            f"{path}: the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; "
            "get a new one, or, if that is still to come, check this machine's clock"
        )
    if now < certificate.not_valid_before_utc:
        raise PkiError(
            f"{path}: the certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only; "
            "check this machine's clock, or wait"
        )


def _check_authority(path: Path) -> None:
    # A bundle often keeps an authority that has retired beside its successor; one that is alive is enough.
    now = datetime.now(UTC)
    authorities = read_certificates(path)
    if all(now > authority.not_valid_after_utc for authority in authorities):
        raise PkiError(f"{path}: every authority in it has expired; get the authority's new certificate")


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one, in order. Raises `PkiError`."""
    try:
        return x509.load_pem_x509_certificates(read(path))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise PkiError(f"{path}: no certificate in PEM form; give a file that holds BEGIN CERTIFICATE") from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
