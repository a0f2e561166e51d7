"""The few words of rtnetlink that a measurement of routing needs: routes and links as they change, and three requests.

Held here is IPv4, /32 routes of the main table. Refused is all else: what is not known is passed over. A socket belongs
to the network namespace that the thread is in when it is opened.

Source: rtnetlink(7), netlink(7), linux/rtnetlink.h.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

LOOPBACK_INDEX = 1
_ERROR, _DONE = 2, 3
_NEWLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE, _GETROUTE = 16, 20, 21, 24, 25, 26
_REQUEST, _ACK, _DUMP, _CREATE_NEW = 1, 4, 0x300, 0x600
_GROUPS = 0x1 | 0x40  # RTMGRP_LINK, RTMGRP_IPV4_ROUTE
_MAIN, _UNICAST, _UP, _DEAD = 254, 1, 1, 1
_DESTINATION, _INTERFACE, _MULTIPATH = 1, 4, 9
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=8BI")
_ADDRESS = struct.Struct("=4Bi")
_LINK = struct.Struct("=BxHiII")
_HOP = struct.Struct("=HBBi")
_RECEIVE_BYTES = 1 << 16
_BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it


@dataclass(frozen=True)
class Route:
    """A /32 destination and the interfaces that lead to it: none if the route is gone."""

    destination: str
    via: frozenset[int]


@dataclass(frozen=True)
class LinkDown:
    """An interface that was taken down: the kernel drops its IPv4 routes without telling of each."""

    interface: int


def watching() -> socket.socket:
    """Open a socket that is told of every change of links and IPv4 routes; reading does not block."""
    opened = _opened(_GROUPS)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    opened.settimeout(0)
    return opened


def changes(data: bytes) -> Iterator[Route | LinkDown]:
    """Return the changes in what was read from a watching socket."""
    for kind, body in _messages(data):
        if kind in (_NEWROUTE, _DELROUTE):
            if (route := _route(kind, body)) is not None:
                yield route
        elif kind == _NEWLINK:
            _, _, interface, flags, _ = _LINK.unpack_from(body)
            if not flags & _UP:
                yield LinkDown(interface)


class Requests:
    """Changes and questions to a namespace's kernel, each answered before the call returns; OSError if refused."""

    def __init__(self) -> None:
        self._socket = _opened(0)
        self._socket.settimeout(5)
        self._numbers = itertools.count(1)

    def add_address(self, address: str) -> None:
        """Give `lo` a /32 address."""
        self._ask(_NEWADDR, _ACK | _CREATE_NEW, _loopback(address))

    def remove_address(self, address: str) -> None:
        """Take a /32 address from `lo`."""
        self._ask(_DELADDR, _ACK, _loopback(address))

    def set_link(self, interface: int, *, up: bool) -> None:
        """Take an interface up or down."""
        self._ask(_NEWLINK, _ACK, _LINK.pack(socket.AF_UNSPEC, 0, interface, _UP if up else 0, _UP))

    def routes(self) -> dict[str, frozenset[int]]:
        """Return the kernel's /32 routes."""
        answer = self._ask(_GETROUTE, _DUMP, _ROUTE.pack(socket.AF_INET, *[0] * 8))
        told = (_route(kind, body) for kind, body in answer)
        return {route.destination: route.via for route in told if route is not None and route.via}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, next(self._numbers), 0)
        self._socket.send(header + body)
        answer: list[tuple[int, bytes]] = []
        while True:
            for message in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if message[0] == _ERROR and (number := -struct.unpack_from("=i", message[1])[0]):
                    raise OSError(number, os.strerror(number))
                if message[0] in (_ERROR, _DONE):
                    return answer
                answer.append(message)


def _opened(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    opened.bind((0, groups))
    return opened


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _route(kind: int, body: bytes) -> Route | None:
    family, bits, _, _, table, _, _, type_, _ = _ROUTE.unpack_from(body)
    if (family, bits, table, type_) != (socket.AF_INET, 32, _MAIN, _UNICAST):
        return None
    attributes = _attributes(body[_ROUTE.size :])
    via = frozenset(_interfaces(attributes)) if kind == _NEWROUTE else frozenset[int]()
    return Route(socket.inet_ntoa(attributes[_DESTINATION]), via)


def _interfaces(attributes: dict[int, bytes]) -> Iterator[int]:
    if _INTERFACE in attributes:
        yield struct.unpack("=i", attributes[_INTERFACE])[0]
    hops, at = attributes.get(_MULTIPATH, b""), 0
    while at + _HOP.size <= len(hops):
        length, flags, _, interface = _HOP.unpack_from(hops, at)
        if not flags & _DEAD:
            yield interface
        at += (length + 3) & ~3


def _loopback(address: str) -> bytes:
    packed = socket.inet_aton(address)
    attributes = struct.pack("=HH4sHH4s", 8, _IFA_LOCAL, packed, 8, _IFA_ADDRESS, packed)
    return _ADDRESS.pack(socket.AF_INET, 32, 0, 0, LOOPBACK_INDEX) + attributes
