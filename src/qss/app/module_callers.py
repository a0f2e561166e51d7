"""Who may call a module in a process of its own, at its southbound interface. Its Admin: `servers.administrators`."""

from __future__ import annotations

from collections.abc import Collection

from qss.model.certificates import PeerCertificate, is_site_uri
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.ports.identity import Identity
from qss.servers.administrators import own_site


class Callers:
    """The module's own key server, and the applications in `clients`, which can be changed.

    The name of a site has a space in it, which no SAE ID has, so no application is taken for one.
    """

    def __init__(self, here: QksId, clients: Collection[SaeId], identity: Identity) -> None:
        self._here = here
        self._identity = identity
        self.clients = frozenset(clients)

    def name(self, certificate: PeerCertificate) -> str:
        """Return who calls. Raises `Unauthorised` for whoever may not."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            return own_site(certificate, self._here)
        caller = self._identity.sae(certificate)
        if caller not in self.clients:
            raise Unauthorised(f"{caller} is no client of this module; list it in southbound.clients if it may call")
        return caller
