"""Identity: who a caller is, from what its connection proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qss.model.identifiers import SaeId


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The names in a verified peer certificate."""

    common_name: str | None
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]


class Identity(Protocol):
    """Tells an SAE ID from a verified certificate."""

    def sae(self, certificate: PeerCertificate) -> SaeId:
        """Return the caller's SAE ID. Raises `Unauthorised` if the certificate names none, or more than one."""
        ...
