"""The TLS context of an application: its own certificate, one authority, host names compared.

The operating system's authorities count for nothing here.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from qss.model.errors import PkiError


def application_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a context for calling a key server: TLS 1.2 or later (ETSI GS QKD 014, clause 5.1).

    All files are PEM; `key` is not encrypted. Raises `PkiError` for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands the server's certificate and compares host names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An intermediate authority may stand alone in the file: trust can end there, a root is not needed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        # Without a password the library would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise PkiError(
            f"{certificate}, {key}: cannot be used ({_reason(error)}); give a certificate and its own key, both PEM, "
            "the key not encrypted"
        ) from error
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise PkiError(
            f"{authority}: cannot be used ({_reason(error)}); give the certificate of the authority that the key "
            "server's certificate comes from, PEM"
        ) from error
    return context


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
