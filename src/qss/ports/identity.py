"""Identity: who a caller is, from what its connection proved."""

from __future__ import annotations

from typing import Protocol

from qss.model.certificates import PeerCertificate
from qss.model.identifiers import SaeId


class Identity(Protocol):
    """Tells an SAE ID from a verified certificate."""

    def sae(self, certificate: PeerCertificate) -> SaeId:
        """Return the caller's SAE ID. Raises `Unauthorised` if the certificate names none, or more than one."""
        ...
