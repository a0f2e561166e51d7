"""Who may look at a site's processes and change something there: the site itself, and whom its configuration lists."""

from __future__ import annotations

from collections.abc import Collection

from qss.model.certificates import PeerCertificate, is_site_uri, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.ports.identity import Identity


class SiteAdministrators:
    """The site, and the applications that are listed.

    The site's name has a space in it, which no SAE ID has, so no application is taken for it.
    """

    def __init__(self, here: QksId, administrators: Collection[SaeId], identity: Identity) -> None:
        self._here = here
        self._administrators = frozenset(administrators)
        self._identity = identity

    def name(self, certificate: PeerCertificate) -> str:
        """Return who asks. Raises `Unauthorised` for whoever may not."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            if site_of(certificate) != self._here:
                raise Unauthorised("the certificate is another site's")
            return f"site {self._here}"
        caller = self._identity.sae(certificate)
        if caller not in self._administrators:
            raise Unauthorised(f"{caller} is no administrator")
        return caller
