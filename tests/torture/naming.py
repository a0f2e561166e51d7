"""Idempotency names of the applications, and a client that can send one in the header.

The typed client sends a name in the body; in either place it is the same name, so that one place may be tried after the
other.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from random import Random
from uuid import UUID

from yarl import URL

from qss.client import Client

USED_S = 40.0
"""How long a name is used: less than the sites' grace time, 60 s, by more than an ask may take."""

_SHARE = 0.4

in_header: ContextVar[str] = ContextVar("in_header", default="")
"""The name that goes into the header of what is sent; none if it is empty."""


@dataclass(frozen=True)
class Name:
    """A name, and until when it is used, by the clock that never steps."""

    text: str
    until: float

    @property
    def is_over(self) -> bool:
        """Whether its answer may be forgotten soon, if it is not already."""
        return time.monotonic() > self.until


def drawn_name(chance: Random) -> Name | None:
    """Return a new name, or at times none."""
    if chance.random() >= _SHARE:
        return None
    return Name(str(UUID(int=chance.getrandbits(128))), time.monotonic() + USED_S)


class NamingClient(Client):
    """A client that sends the name of `in_header`."""

    async def _send(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        name = in_header.get()
        if not name:
            return await super()._send(method, path, body)
        url = URL(self._base + path, encoded=True)
        async with self._opened().request(method, url, data=body, headers={"Idempotency-Key": name}) as answer:
            return answer.status, await answer.read()
