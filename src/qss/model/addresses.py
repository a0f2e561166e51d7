"""Where something listens: a host and a TCP port."""

from __future__ import annotations

import re
from typing import Final

_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


class Address:
    """A host (a name, an IPv4 or an IPv6 address) and a TCP port, 0 to 65535; as text, an IPv6 host is in brackets.

    It is no dataclass: a decoder that knows dataclasses would read it from a table, and it is a string in files.
    """

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host: Final = host
        self.port: Final = port

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`. Raises `ValueError` if it is anything else."""
        match = _HOST_AND_PORT.fullmatch(text)
        if match is None or int(match[3]) > 65_535 or (match[2] and not _NAME.fullmatch(match[2])):
            raise ValueError(text)
        return cls(match[1] or match[2], int(match[3]))

    @classmethod
    def found(cls, host: str, port: int) -> Address | None:
        """Return the address that somebody else tells of, or None if there can be no such one."""
        try:
            return cls.parse(str(cls(host, port)))
        except ValueError:
            return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"
