"""What a service manager is told: that a site takes requests, reads its rules anew, or is stopping (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time

import structlog

READY = "READY=1"
"""The site takes requests."""

RELOADING = "RELOADING=1"
"""The site reads its configuration anew; `READY` follows."""

STOPPING = "STOPPING=1"
"""The site has begun to stop."""

_log = structlog.get_logger(__name__)


def notify(state: str) -> None:
    """Send `state` to the socket that $NOTIFY_SOCKET names; do nothing where nobody asks for it.

    A name that begins with `@` is an abstract socket (unix(7)). A service manager that does not listen is logged.
    """
    if state == RELOADING:  # Type=notify-reload asks for the moment
        state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        try:
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            _log.warning("the service manager cannot be told", state=state, reason=error.strerror)
