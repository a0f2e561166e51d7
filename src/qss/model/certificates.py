"""The names in a certificate whose chain has been verified, and which of them is a site's or a module's.

Held here: what was read, and the one rule that keeps sites, modules and applications apart. A site is named by a URI of
scheme `qks:` in its certificate (`qks:A` for the QKS ID `A`), a QKD module by one of scheme `qkdm:` (`qkdm:A/1`).
Neither ever names an application, and a certificate that has both names nobody. Not here: how names are read from a
certificate (`pki.names`), nor which name is an application's (the Identity port).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qss.model.errors import InvalidIdentifier, Unauthorised
from qss.model.identifiers import QkdmId, QksId, parse_qkdm_id, parse_qks_id

SITE_SCHEME = "qks:"
"""What a site's URI begins with."""

MODULE_SCHEME = "qkdm:"
"""What a module's URI begins with."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The names in a verified peer certificate."""

    common_name: str | None
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]


def is_site_uri(uri: str) -> bool:
    """Tell whether a URI is kept for sites. Schemes are compared without case (RFC 3986, clause 3.1)."""
    return uri[: len(SITE_SCHEME)].lower() == SITE_SCHEME


def is_module_uri(uri: str) -> bool:
    """Tell whether a URI is kept for QKD modules, as `is_site_uri` does."""
    return uri[: len(MODULE_SCHEME)].lower() == MODULE_SCHEME


def site_of(certificate: PeerCertificate) -> QksId:
    """Return the QKS ID of the one `qks:` URI in `certificate`.

    Raises `Unauthorised` if there is none, more than one, or one that is no QKS ID, or if it names a module.
    """
    if any(is_module_uri(uri) for uri in certificate.uris):
        raise Unauthorised("the certificate is a QKD module's: a site needs one of its own")
    return _one(certificate, is_site_uri, SITE_SCHEME, "site", "A", parse_qks_id)


def module_of(certificate: PeerCertificate) -> QkdmId:
    """Return the module's name in the one `qkdm:` URI in `certificate`.

    Raises `Unauthorised` if there is none, more than one, or one that is no module's name, or if it names a site.
    """
    if any(is_site_uri(uri) for uri in certificate.uris):
        raise Unauthorised("the certificate is a site's: a QKD module needs one of its own")
    return _one(certificate, is_module_uri, MODULE_SCHEME, "module", "A/1", parse_qkdm_id)


def name_in(certificate: PeerCertificate) -> QksId | QkdmId:
    """Return whom `certificate` names: a site, or a QKD module. No name can be both: only a module's has a slash.

    Raises `Unauthorised` as `site_of` and `module_of` do.
    """
    if any(is_module_uri(uri) for uri in certificate.uris):
        return module_of(certificate)
    return site_of(certificate)


def titled(name: QksId | QkdmId) -> str:
    """Return `name` with what it is the name of, such as "site A" or "module A/1"."""
    return f"module {name}" if "/" in name else f"site {name}"


def _one[T](
    certificate: PeerCertificate,
    is_one: Callable[[str], bool],
    scheme: str,
    kind: str,
    example: str,
    parse: Callable[[str], T],
) -> T:
    uris = [uri for uri in certificate.uris if is_one(uri)]
    if len(uris) != 1:
        raise Unauthorised(
            f"the certificate names {len(uris)} {kind}s, not one: a {kind}'s certificate has one URI such as "
            f"{scheme}{example}"
        )
    if not uris[0].startswith(scheme):
        raise Unauthorised(f"the certificate's {kind} URI must begin with {scheme!r} in lower case")
    try:
        return parse(uris[0].removeprefix(scheme))
    except InvalidIdentifier as error:
        raise Unauthorised(f"the URI in the certificate names no {kind}: {error}") from error
