"""Who may look at a site's processes and change something there: the site itself, and whom its configuration lists."""

from __future__ import annotations

from collections.abc import Collection

from qss.model.certificates import PeerCertificate, is_module_uri, is_site_uri, module_of, site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.ports.identity import Identity


class Administrators:
    """The site, one of its modules where that is what is looked at, and the applications that are listed.

    The names of a site and of a module have a space in them, which no SAE ID has, so no application is taken for one.
    """

    def __init__(
        self, here: QksId, listed: Collection[SaeId], identity: Identity, module: QkdmId | None = None
    ) -> None:
        """`here` is the site, `module` the module whose Admin this is, if it is a module's."""
        self._here = here
        self._listed = frozenset(listed)
        self._identity = identity
        self._module = module
        whose = "the site's own" if module is None else "the module's own or its site's"
        self.refusal = f"this certificate is not {whose}, nor a listed administrator's"
        """What is told whoever may not."""

    def name(self, certificate: PeerCertificate) -> str:
        """Return who asks. Raises `Unauthorised` for whoever may not."""
        if any(is_site_uri(uri) for uri in certificate.uris):
            return own_site(certificate, self._here)
        if self._module is not None and any(is_module_uri(uri) for uri in certificate.uris):
            if module_of(certificate) != self._module:
                raise Unauthorised("the certificate is another module's")
            return f"module {self._module}"
        caller = self._identity.sae(certificate)
        if caller not in self._listed:
            raise Unauthorised(f"{caller} is no administrator; list it in admin.administrators if it may look")
        return caller


def own_site(certificate: PeerCertificate, here: QksId) -> str:
    """Return the name of the site that a process belongs to. Raises `Unauthorised` for another one's certificate."""
    if site_of(certificate) != here:
        raise Unauthorised("the certificate is another site's")
    return f"site {here}"
