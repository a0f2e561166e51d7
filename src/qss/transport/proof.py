"""What a TLS connection proves: the other end's names, and how well the connection is protected."""

from __future__ import annotations

import ssl

from qss.model.certificates import PeerCertificate
from qss.pki.names import peer_certificate


def peer_of(tls: ssl.SSLObject | None) -> PeerCertificate | None:
    """Return the names in the verified certificate of the other end, or None where it showed none.

    `tls` is what an asyncio transport gives as `get_extra_info("ssl_object")`.
    """
    decoded = tls.getpeercert() if tls else None
    return peer_certificate(decoded) if decoded else None


def security_of(tls: ssl.SSLObject) -> str:
    """Return TLS version, cipher suite and, where the library tells it, key exchange group, for people to read."""
    cipher = tls.cipher()
    group = getattr(tls, "group", None)  # Python 3.15 and later
    parts = (tls.version(), cipher[0] if cipher else None, group() if group else None)
    return ", ".join(part for part in parts if part)
