"""Who may call a module in a process of its own: at its southbound interface, and at its Admin.

Names are those of certificates. A site or module has a name with a space in it, which no SAE ID has, so no application
is taken for one.
"""

from __future__ import annotations

from collections.abc import Collection

from qss.model.certificates import PeerCertificate, is_module_uri, is_site_uri, module_of, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QkdmId, QksId, SaeId, site_of_module
from qss.ports.identity import Identity


class Callers:
    """The module's own key server, and the applications in `clients`, which can be changed."""

    def __init__(self, here: QksId, clients: Collection[SaeId], identity: Identity) -> None:
        self._here = here
        self._identity = identity
        self.clients = frozenset(clients)

    def name(self, certificate: PeerCertificate) -> str:
        """Return who calls. Raises `Unauthorised` for whoever may not."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            return _own_site(certificate, self._here)
        caller = self._identity.sae(certificate)
        if caller not in self.clients:
            raise Unauthorised(f"{caller} is no client of this module; list it in southbound.clients if it may call")
        return caller


class Administrators:
    """The module itself, its site, and the applications that its configuration lists."""

    def __init__(self, module: QkdmId, administrators: Collection[SaeId], identity: Identity) -> None:
        self._module = module
        self._administrators = frozenset(administrators)
        self._identity = identity

    def name(self, certificate: PeerCertificate) -> str:
        """Return who asks. Raises `Unauthorised` for whoever may not."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            return _own_site(certificate, site_of_module(self._module))
        if any(is_module_uri(uri) for uri in certificate.uris):
            if module_of(certificate) != self._module:
                raise Unauthorised("the certificate is another module's")
            return f"module {self._module}"
        caller = self._identity.sae(certificate)
        if caller not in self._administrators:
            raise Unauthorised(f"{caller} is no administrator")
        return caller


def _own_site(certificate: PeerCertificate, here: QksId) -> str:
    if site_of(certificate) != here:
        raise Unauthorised("the certificate is another site's")
    return f"site {here}"
