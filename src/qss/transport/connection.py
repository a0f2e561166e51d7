"""What every transport offers: frames over one connection whose other end has proved its name."""

from __future__ import annotations

from typing import Protocol

from qss.model.certificates import PeerCertificate


class Connection(Protocol):
    """An established, mutually authenticated connection that carries whole frames in order, both ways."""

    @property
    def peer(self) -> PeerCertificate:
        """The names in the other end's verified certificate."""
        ...

    @property
    def security(self) -> str:
        """TLS version, cipher suite and, where the library tells, key exchange group; for the status."""
        ...

    @property
    def address(self) -> str:
        """The host that the other end calls from or was called at, without its port; for the log."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send one frame, waiting while the other end is slow. Raises `ConnectionLost`."""
        ...

    async def receive(self) -> bytes:
        """Return the next frame. Raises `ConnectionLost` when the connection has ended or a limit was exceeded."""
        ...

    async def close(self) -> None:
        """End the connection. Can be called twice."""
        ...
