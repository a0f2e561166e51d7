"""The names in a certificate whose chain has been verified, and which of them is a site's.

Held here: what was read, and the one rule that keeps sites and applications apart. A site is named by a URI of scheme
`qks:` in its certificate (`qks:A` for the QKS ID `A`); such a URI never names an application. Not here: how names are
read from a certificate (`pki.names`), nor which name is an application's (the Identity port).
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.errors import InvalidIdentifier, Unauthorised
from qss.model.identifiers import QksId, parse_qks_id

SITE_SCHEME = "qks:"
"""What a site's URI begins with."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The names in a verified peer certificate."""

    common_name: str | None
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]


def is_site_uri(uri: str) -> bool:
    """Tell whether a URI is kept for sites. Schemes are compared without case (RFC 3986, clause 3.1)."""
    return uri[: len(SITE_SCHEME)].lower() == SITE_SCHEME


def site_of(certificate: PeerCertificate) -> QksId:
    """Return the QKS ID of the one `qks:` URI in `certificate`.

    Raises `Unauthorised` if there is none, more than one, or one that is no QKS ID.
    """
    uris = [uri for uri in certificate.uris if is_site_uri(uri)]
    if len(uris) != 1:
        raise Unauthorised(
            f"the certificate names {len(uris)} sites, not one: a site's certificate has one URI such as qks:A"
        )
    if not uris[0].startswith(SITE_SCHEME):
        raise Unauthorised("the certificate's site URI must begin with 'qks:' in lower case")
    try:
        return parse_qks_id(uris[0].removeprefix(SITE_SCHEME))
    except InvalidIdentifier as error:
        raise Unauthorised(f"the certificate's site URI holds no QKS ID: {error}") from error
