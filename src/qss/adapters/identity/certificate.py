"""Identity from the client certificate: the SAE ID stands in its URI, its common name, or its DNS name.

Which fields count, and in which order, is the operator's choice, because ETSI GS QKD 014 leaves the field open
(clause 5.1). Refused: sites and QKD modules. A certificate with a `qks:` URI is a site's, one with a `qkdm:` URI a
module's, whatever else it names.
"""

from __future__ import annotations

from collections.abc import Sequence

from qss.model.certificates import PeerCertificate, is_module_uri, is_site_uri
from qss.model.errors import InvalidIdentifier, LocalProtocolError, Unauthorised
from qss.model.identifiers import SaeId, parse_sae_id

FIELDS = ("uri", "cn", "dns")
"""The fields that can be asked for."""


class CertificateIdentity:
    """Implements `qss.ports.identity.Identity`: the first of `fields` that the certificate has names the SAE."""

    def __init__(self, fields: Sequence[str] = ("uri", "cn")) -> None:
        """Take the names of fields out of `FIELDS`, the first one first."""
        if not fields or not set(fields) <= set(FIELDS):
            raise LocalProtocolError(f"identity fields are some of {', '.join(FIELDS)}, not {list(fields)}")
        self._fields = tuple(fields)

    def sae(self, certificate: PeerCertificate) -> SaeId:
        """Return the SAE ID in `certificate`.

        Raises `Unauthorised` if it is a site's or a module's, if none of the fields is there, if the first that is
        there has several values, or if its value is no SAE ID. A later field never makes up for a bad earlier one: the
        identity would depend on a mistake.
        """
        if any(is_site_uri(uri) for uri in certificate.uris):
            raise Unauthorised("the certificate is a site's: an application needs one of its own")
        if any(is_module_uri(uri) for uri in certificate.uris):
            raise Unauthorised("the certificate is a QKD module's: an application needs one of its own")
        for field in self._fields:
            values = _values(certificate, field)
            if len(values) > 1:
                raise Unauthorised(f"the certificate has {len(values)} names of kind {field}: an SAE has one")
            if values:
                try:
                    return parse_sae_id(values[0])
                except InvalidIdentifier as error:
                    raise Unauthorised(f"the certificate's name of kind {field} is no SAE ID: {error}") from error
        raise Unauthorised(f"the certificate names no SAE: none of {', '.join(self._fields)} is there")


def _values(certificate: PeerCertificate, field: str) -> tuple[str, ...]:
    if field == "uri":
        return certificate.uris
    if field == "dns":
        return certificate.dns_names
    return (certificate.common_name,) if certificate.common_name is not None else ()
