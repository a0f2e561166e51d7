"""The folder of a network's authority: which file is where, and the acts that fill it.

`ca.pem` and `ca.key`; `sites/<QKS ID>.pem` and `.key`; `modules/<QKS ID>/<name>.pem` and `.key`; `saes/<name>.pem` and
`.key`, and `saes/<name>.home`, the statement of an application's home site. What leaves the folder is a site's, a
module's or an application's pair, statements, and `ca.pem`; `ca.key` stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from qss.model.errors import PkiError
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.pki.authority import Authority, certificate_pem, create_authority, read_authority, read_request
from qss.pki.files import private_file, public_file, read, refuse_existing, write_new
from qss.pki.keys import new_private_key, private_key_pem
from qss.pki.names import Subject, module_subject, sae_subject, site_subject
from qss.pki.statements import sign_as_authority

# File systems take 255 bytes in a name; the ending takes some, and so does the digest that replaces a long rest.
_MAX_STEM = 200

HOME_SUFFIX = ".home"
"""What the name of a statement's file ends with."""

# It has no underscore, so the first one in a stem stands for the colon after it.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a certificate and its private key are."""

    certificate: Path
    key: Path


class PkiFolder:
    """A network's authority on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def authority(self) -> Pair:
        """Where the authority's pair is."""
        return Pair(self.root / "ca.pem", self.root / "ca.key")

    def site(self, site: QksId) -> Pair:
        """Where a site's pair is."""
        return _pair(self.root / "sites", site)

    def module(self, module: QkdmId) -> Pair:
        """Where a QKD module's pair is."""
        return _pair(self.root / "modules", module)  # its one slash parts site and name, and neither leads elsewhere

    def sae(self, sae: SaeId) -> Pair:
        """Where an application's pair is."""
        return _pair(self.root / "saes", sae_file_stem(sae))

    def home(self, sae: SaeId) -> Path:
        """Where the statement of an application's home site is."""
        return self.root / "saes" / f"{sae_file_stem(sae)}{HOME_SUFFIX}"

    def create(self, name: str, days: int) -> Pair:
        """Make the authority, with `name` as its common name. Raises `PkiError` if there is one already."""
        pair = self.authority
        refuse_existing([pair.key, pair.certificate])
        made = create_authority(name, days=days, now=datetime.now(UTC))
        write_new(
            [
                private_file(pair.key, private_key_pem(made.key)),
                public_file(pair.certificate, certificate_pem(made.certificate)),
            ]
        )
        return pair

    def issue_site(self, site: QksId, hosts: Sequence[str], days: int) -> Pair:
        """Make a site's key and certificate. Raises `PkiError` if there is one already, or `hosts` are bad."""
        return self._issue(site_subject(site, hosts), self.site(site), days)

    def issue_module(self, module: QkdmId, hosts: Sequence[str], days: int) -> Pair:
        """Make a QKD module's key and certificate. Raises `PkiError` as `issue_site` does."""
        return self._issue(module_subject(module, hosts), self.module(module), days)

    def issue_sae(self, sae: SaeId, days: int) -> Pair:
        """Make an application's key and certificate. Raises `PkiError` if there is one already, or `sae` is no URI."""
        return self._issue(sae_subject(sae), self.sae(sae), days)

    def sign_site(self, request: Path, site: QksId, hosts: Sequence[str], days: int) -> Path:
        """Certify the key of a request made elsewhere as that of a site; return the certificate's path."""
        return self._sign(request, site_subject(site, hosts), self.site(site).certificate, days)

    def sign_module(self, request: Path, module: QkdmId, hosts: Sequence[str], days: int) -> Path:
        """Certify the key of a request made elsewhere as that of a QKD module; return the certificate's path."""
        return self._sign(request, module_subject(module, hosts), self.module(module).certificate, days)

    def sign_sae(self, request: Path, sae: SaeId, days: int) -> Path:
        """Certify the key of a request made elsewhere as that of an application; return the certificate's path."""
        return self._sign(request, sae_subject(sae), self.sae(sae).certificate, days)

    def state(self, target: Path, text: bytes, form: Callable[[str, bytes], str]) -> Path:
        """Sign `text` as the authority, and write what `form` makes of algorithm and signature to `target`.

        Raises `PkiError` if that is there already.
        """
        refuse_existing([target])
        write_new([public_file(target, form(*sign_as_authority(self._open(), text)).encode("ascii"))])
        return target

    def _issue(self, subject: Subject, pair: Pair, days: int) -> Pair:
        refuse_existing([pair.key, pair.certificate])
        key = new_private_key()
        certificate = self._open().issue(subject, key.public_key(), days=days, now=datetime.now(UTC))
        write_new(
            [
                private_file(pair.key, private_key_pem(key)),
                public_file(pair.certificate, certificate_pem(certificate)),
            ]
        )
        return pair

    def _sign(self, request: Path, subject: Subject, target: Path, days: int) -> Path:
        refuse_existing([target])
        key = read_request(read(request), str(request))
        certificate = self._open().issue(subject, key, days=days, now=datetime.now(UTC))
        write_new([public_file(target, certificate_pem(certificate))])
        return target

    def _open(self) -> Authority:
        pair = self.authority
        if not pair.certificate.exists():
            raise PkiError(f"there is no authority in {self.root}: make one with: qss pki ca --out {self.root}")
        return read_authority(read(pair.certificate), read(pair.key), str(self.root))


def sae_file_stem(sae: SaeId) -> str:
    """Return the file name, without ending, that stands for an SAE ID.

    No two SAE IDs have the same, none leads out of the folder, and none holds a colon (curl would take what follows
    for a password): `sae:alice` becomes `sae_alice`, any other special character becomes `%XX`, and what has no scheme
    begins with `_`. Overlong names end in `+` and a digest, and `+` stands in no other.
    """
    scheme, _, rest = sae.partition(":")
    if not _SCHEME.fullmatch(scheme) or scheme == sae:
        scheme, rest = "", sae
    stem = f"{quote(scheme, safe='')}_{quote(rest, safe='')}"
    if len(stem) <= _MAX_STEM:
        return stem
    digest = hashlib.sha256(sae.encode()).hexdigest()
    return f"{stem[: _MAX_STEM - len(digest) - 1]}+{digest}"


def _pair(folder: Path, stem: str) -> Pair:
    return Pair(folder / f"{stem}.pem", folder / f"{stem}.key")
