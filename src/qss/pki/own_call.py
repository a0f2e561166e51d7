"""Whether a site's certificate is one that it would accept itself: the site calls itself, in memory.

Neighbours trust the authorities that this site trusts, so what it would refuse they refuse. The TLS library alone
judges, as it does on a real connection. Refused here: opening a socket.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from qss.model.errors import PkiError


def check_own_call(server: ssl.SSLContext, client: ssl.SSLContext, certificate: Path, authority: Path) -> None:
    """Raise `PkiError` if a site with these contexts, made of `certificate` and `authority`, refuses its own call."""
    try:
        _call(server, client)
    except ssl.SSLCertVerificationError as error:
        raise PkiError(
            f"{certificate} is refused by whoever trusts {authority}, as neighbours do ({error.verify_message}); get a "
            "certificate from an authority in that file, add this one's authority to it, or add to the certificate's "
            "file those between the two"
        ) from error
    except ssl.SSLError as error:
        raise PkiError(f"{certificate} cannot be used for TLS ({error.reason}); make a new pair") from error


def check_called(server: ssl.SSLContext, client: ssl.SSLContext, certificate: Path, host: str) -> None:
    """Raise `PkiError` if a `client` that compares host names would not take the site's certificate for `host`'s."""
    try:
        _call(server, client, host)
    except ssl.SSLCertVerificationError as error:
        raise PkiError(
            f"{certificate} does not name {host!r} ({error.verify_message}); use a name that it has, or get one that "
            "names this host as well"
        ) from error


def _call(server: ssl.SSLContext, client: ssl.SSLContext, host: str | None = None) -> None:
    """Run a handshake to its end, which comes after a few turns of both sides."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while waiting:
        waiting = [end for end in waiting if not _is_done(end)]


def _is_done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
