"""Sockets to listen on: every address that a host name stands for, at one port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from qss.model.errors import ListenError

BACKLOG = 128
"""Connections that the operating system holds until they are accepted."""


async def bind(host: str, port: int) -> tuple[socket.socket, ...]:
    """Listen on `host` (a name, an IPv4 or an IPv6 address) and `port` (0: one that is free).

    Raises `ListenError`, and then leaves nothing open, if any of the addresses cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in await _addresses(host, port):
            taken = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listening(family, (address[0], taken, *address[2:])))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ListenError(
            f"cannot listen on {host} port {port} ({error.strerror or error}): "
            "stop what uses it, or configure another address"
        ) from error
    return tuple(sockets)


async def _addresses(host: str, port: int) -> Sequence[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listening(family: socket.AddressFamily, address: tuple[str | int | bytes, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # An IPv6 address means itself; "::" would otherwise take the port of "0.0.0.0" as well.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
