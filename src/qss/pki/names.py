"""Names in certificates: written for sites and applications, and read from a peer.

A site's certificate carries the URI `qks:<QKS ID>`, and the host names and addresses that clients call it by. An
application's certificate carries its SAE ID as URI, verbatim; therefore an SAE ID must be an absolute URI, and its
scheme must not be `qks:`: an application can never pass for a site.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from qss.model.certificates import SITE_SCHEME, PeerCertificate, is_site_uri
from qss.model.errors import PkiError
from qss.model.identifiers import QksId, SaeId

MAX_COMMON_NAME = 64
"""Characters in a common name (RFC 5280, appendix A.1, ub-common-name)."""

# RFC 3986, clauses 2 and 4.3: a scheme, then characters of a URI without fragment.
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_DNS_NAME = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
                       r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for: the subject, its alternative names, and what it may be used for."""

    name: x509.Name
    alternative_names: tuple[x509.GeneralName, ...]
    usages: tuple[ObjectIdentifier, ...]


def site_subject(site: QksId, hosts: Sequence[str]) -> Subject:
    """Return the subject of a site that is called by `hosts` (DNS names, IPv4 and IPv6 addresses).

    A site is server to applications, and both server and client to other sites. Raises `PkiError` for a bad host.
    """
    uri = x509.UniformResourceIdentifier(f"{SITE_SCHEME}{site}")
    return Subject(
        common_name(site),
        (uri, *(_host_name(host) for host in dict.fromkeys(hosts))),
        (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    )


def sae_subject(sae: SaeId) -> Subject:
    """Return the subject of an application. Raises `PkiError` if `sae` is no absolute URI, or of scheme `qks:`.

    An SAE ID that is too long for a common name stands in the alternative name alone.
    """
    if not _ABSOLUTE_URI.fullmatch(sae):
        raise PkiError(f"{sae!r} cannot stand in a certificate: use an absolute URI as SAE ID, such as sae:alice")
    if is_site_uri(sae):
        raise PkiError(f"{sae!r} would pass for a site: use another scheme than 'qks:' for an SAE ID")
    name = common_name(sae) if len(sae) <= MAX_COMMON_NAME else x509.Name([])
    return Subject(name, (x509.UniformResourceIdentifier(sae),), (ExtendedKeyUsageOID.CLIENT_AUTH,))


def common_name(text: str) -> x509.Name:
    """Return a distinguished name of one common name. Raises `PkiError` if it is empty or too long."""
    if not 1 <= len(text) <= MAX_COMMON_NAME:
        raise PkiError(f"a common name has 1 to {MAX_COMMON_NAME} characters, not {len(text)}: use a shorter name")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # A last label of digits is a mistyped address: no top-level domain looks like that.
    if not _DNS_NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
        raise PkiError(f"{host!r} is no host: give a DNS name such as qks-a.example.org, or an IP address without port")
    return x509.DNSName(host)


def names_in(certificate: x509.Certificate) -> PeerCertificate:
    """Return the names in a certificate of one's own, as a peer reads them. Raises `PkiError` if it is malformed."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    except (ValueError, x509.DuplicateExtension) as error:
        raise PkiError(f"the names in the certificate cannot be read ({error}); make it anew") from error
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return PeerCertificate(
        common_name=str(common_names[0].value) if len(common_names) == 1 else None,
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
    )


def peer_certificate(decoded: Mapping[str, Any]) -> PeerCertificate:
    """Return the names in a certificate as `ssl.SSLSocket.getpeercert()` decodes it.

    A subject with several common names has none that could be relied upon.
    """
    common_names = [value for part in decoded.get("subject", ()) for key, value in part if key == "commonName"]
    alternative_names = decoded.get("subjectAltName", ())
    return PeerCertificate(
        common_name=common_names[0] if len(common_names) == 1 else None,
        uris=tuple(value for kind, value in alternative_names if kind == "URI"),
        dns_names=tuple(value for kind, value in alternative_names if kind == "DNS"),
    )
