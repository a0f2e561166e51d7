"""What a TLS connection proves: the other end's names, for how long, and how well the connection is protected."""

from __future__ import annotations

import ssl
import time

from qss.model.certificates import PeerCertificate
from qss.pki.names import peer_certificate


def peer_of(tls: ssl.SSLObject | None) -> PeerCertificate | None:
    """Return the names in the verified certificate of the other end, or None where it showed none.

    `tls` is what an asyncio transport gives as `get_extra_info("ssl_object")`.
    """
    decoded = tls.getpeercert() if tls else None
    return peer_certificate(decoded) if decoded else None


def seconds_left(tls: ssl.SSLObject | None) -> float | None:
    """Return how long the other end's certificate is still valid, in seconds, or None where it showed none.

    TLS looks at it in the handshake only, and connections are kept for months.
    """
    decoded = tls.getpeercert() if tls else None
    if not decoded:
        return None
    not_after = decoded["notAfter"]
    assert isinstance(not_after, str)
    return max(0.0, ssl.cert_time_to_seconds(not_after) - time.time())


def security_of(tls: ssl.SSLObject) -> str:
    """Return TLS version, cipher suite and, where the library tells it, key exchange group, for people to read."""
    cipher = tls.cipher()
    group = getattr(tls, "group", None)  # Python 3.15 and later
    parts = (tls.version(), cipher[0] if cipher else None, group() if group else None)
    return ", ".join(part for part in parts if part)
