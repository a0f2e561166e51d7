"""How asking a key server can fail, besides a question that is wrong (`BadRequest`) and an answer that cannot be used
(`RemoteProtocolError`). No message holds key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qss.model.errors import QssError, RemoteProtocolError


class KeyServerRefused(QssError):
    """The key server answered with another status than 200; it has handed out nothing.

    Attributes: `status` (of 014: 400, 401 or 503), `message` and `details` of the standard's Error data model.
    """

    def __init__(self, status: int, message: str, details: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(f"the key server refused with status {status}: {message}")
        self.status = status
        self.message = message
        self.details = tuple(details)


class AnswerTooLarge(RemoteProtocolError):
    """The answer is larger than what is read, and was given up."""


class KeyServerUnreachable(QssError):
    """No answer came: no connection, no common security, or no end in time. Keys may have been reserved in vain."""
