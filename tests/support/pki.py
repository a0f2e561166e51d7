"""A small network authority for tests: certificates are made when they are first asked for."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.pki.authority import CERTIFICATE_DAYS, Authority, certificate_pem, read_authority
from qss.pki.contexts import client_context, northbound_context, server_context
from qss.pki.files import private_file, public_file, write_new
from qss.pki.folder import Pair, PkiFolder, sae_file_stem
from qss.pki.keys import PrivateKey, new_private_key, private_key_pem
from qss.pki.names import Subject, common_name, sae_subject, site_subject

HOSTS = ("localhost", "127.0.0.1", "::1")


class Pki:
    """An authority under `root`. Two of them trust each other in nothing."""

    def __init__(self, root: Path) -> None:
        self.folder = PkiFolder(root)
        self.folder.create("test authority", days=30)

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.folder.authority.certificate

    def site(self, name: str) -> Pair:
        """A site's certificate and key, for loopback addresses."""
        pair = self.folder.site(QksId(name))
        return pair if pair.certificate.exists() else self.folder.issue_site(QksId(name), HOSTS, 10)

    def module(self, name: str) -> Pair:
        """A QKD module's certificate and key, for loopback addresses."""
        pair = self.folder.module(QkdmId(name))
        return pair if pair.certificate.exists() else self.folder.issue_module(QkdmId(name), HOSTS, 10)

    def sae(self, name: str) -> Pair:
        """An application's certificate and key."""
        pair = self.folder.sae(SaeId(name))
        return pair if pair.certificate.exists() else self.folder.issue_sae(SaeId(name), 10)

    def server_context(self, site: str) -> ssl.SSLContext:
        """For serving other sites."""
        pair = self.site(site)
        return server_context(pair.certificate, pair.key, self.authority)

    def northbound_context(self, site: str) -> ssl.SSLContext:
        """For serving applications."""
        pair = self.site(site)
        return northbound_context(pair.certificate, pair.key, self.authority)

    def client_context(self, site: str) -> ssl.SSLContext:
        """For calling other sites."""
        pair = self.site(site)
        return client_context(pair.certificate, pair.key, self.authority)

    def sae_client_context(self, sae: str) -> ssl.SSLContext:
        """For calling a site as an application does: host names are compared."""
        return application_context(self.sae(sae), self.authority)

    def expired_sae(self, name: str) -> Pair:
        """An application's certificate that has expired, and its key."""
        return self._issue(sae_subject(SaeId(name)), f"expired-{sae_file_stem(SaeId(name))}", ended=True)

    def expired_site(self, name: str) -> Pair:
        """A site's certificate that has expired, and its key."""
        return self._issue(site_subject(QksId(name), HOSTS), f"expired-site-{name}", ended=True)

    def unreadable(self) -> Pair:
        """A certificate whose URI is no text, which an outside authority may have signed."""
        san = bytes.fromhex("30 16 86 09") + b"sae:\xff\xfe\xfd\xfc\xfb" + bytes.fromhex("82 09") + b"localhost"
        authority, key, now = self._read(), new_private_key(), datetime.now(UTC)
        subject, issuer = common_name("unreadable"), authority.certificate.subject
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, san), critical=False)
            .sign(authority.key, SHA256())
        )
        return self._write(certificate, key, "unreadable")

    def nameless(self) -> Pair:
        """A client certificate without URI or common name: it names no SAE."""
        names = (x509.DNSName("nobody.example.org"),)
        return self._issue(Subject(x509.Name([]), names, (ExtendedKeyUsageOID.CLIENT_AUTH,)), "nameless", ended=False)

    def _issue(self, subject: Subject, stem: str, *, ended: bool) -> Pair:
        authority = self._read()
        made = datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS if ended else 0)
        key = new_private_key()
        return self._write(authority.issue(subject, key.public_key(), days=1, now=made), key, stem)

    def _read(self) -> Authority:
        pair = self.folder.authority
        return read_authority(pair.certificate.read_bytes(), pair.key.read_bytes(), str(self.folder.root))

    def _write(self, certificate: x509.Certificate, key: PrivateKey, stem: str) -> Pair:
        result = Pair(self.folder.root / f"{stem}.pem", self.folder.root / f"{stem}.key")
        write_new(
            [
                private_file(result.key, private_key_pem(key)),
                public_file(result.certificate, certificate_pem(certificate)),
            ]
        )
        return result


def application_context(pair: Pair, authority: Path) -> ssl.SSLContext:
    """A client context that does what a vendor's application would do, unchecked by qss."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(pair.certificate, pair.key)
    return context
