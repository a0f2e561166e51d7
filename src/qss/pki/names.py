"""Names in certificates: written for sites, modules and applications, and read from a peer.

A site's certificate carries the URI `qks:<QKS ID>`, a QKD module's `qkdm:<QKS ID>/<name>`, and both the host names and
addresses that clients call them by. An application's certificate carries its SAE ID as URI, verbatim; therefore an SAE
ID must be an absolute URI, and its scheme must be neither `qks:` nor `qkdm:`: an application can never pass for a site
or a module.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from qss.model.certificates import MODULE_SCHEME, SITE_SCHEME, PeerCertificate, is_module_uri, is_site_uri
from qss.model.errors import PkiError
from qss.model.identifiers import QkdmId, QksId, SaeId

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
    return _called_subject(site, f"{SITE_SCHEME}{site}", hosts)


def module_subject(module: QkdmId, hosts: Sequence[str]) -> Subject:
    """Return the subject of a QKD module that is called by `hosts`, as those of a site.

    A module is server to those who pull key from it, client of its QKS, and both to the module at the other end. A name
    that is too long for a common name stands in the alternative name alone. Raises `PkiError` for a bad host.
    """
    return _called_subject(module, f"{MODULE_SCHEME}{module}", hosts)


def _called_subject(name: str, uri: str, hosts: Sequence[str]) -> Subject:
    return Subject(
        _fitting_common_name(name),
        (x509.UniformResourceIdentifier(uri), *(_host_name(host) for host in dict.fromkeys(hosts))),
        (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    )


def _fitting_common_name(name: str) -> x509.Name:
    return common_name(name) if len(name) <= MAX_COMMON_NAME else x509.Name([])


def sae_subject(sae: SaeId) -> Subject:
    """Return the subject of an application. Raises `PkiError` if `sae` is no absolute URI, or could pass for another.

    An SAE ID that is too long for a common name stands in the alternative name alone.
    """
    if not _ABSOLUTE_URI.fullmatch(sae):
        raise PkiError(f"{sae!r} cannot stand in a certificate: use an absolute URI as SAE ID, such as sae:alice")
    if is_site_uri(sae):
        raise PkiError(f"{sae!r} would pass for a site: use another scheme than 'qks:' for an SAE ID")
    if is_module_uri(sae):
        raise PkiError(f"{sae!r} would pass for a QKD module: use another scheme than 'qkdm:' for an SAE ID")
    return Subject(
        _fitting_common_name(sae), (x509.UniformResourceIdentifier(sae),), (ExtendedKeyUsageOID.CLIENT_AUTH,)
    )


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
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
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
