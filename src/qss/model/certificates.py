"""The names in a certificate whose chain has been verified.

Held here: what was read. Not here: how it is read (`pki.names`), nor which name counts for what (`pki.names` for
sites, the Identity port for applications).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The names in a verified peer certificate."""

    common_name: str | None
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
