"""Whose a key stream of applications is: which two SAEs source and destination name, and what the rules let them do.

Not here: which rules there are (`policy`), and who has which stream open (`stream_register`).
"""

from __future__ import annotations

from dataclasses import dataclass

from qss.model.errors import BadRequest, InvalidIdentifier
from qss.model.identifiers import QksId, SaeId, parse_sae_id


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A key stream as one site sees it: its own SAE, the other one and its site, and who may be whose master."""

    sae: SaeId
    other: SaeId
    peer: QksId
    may_ask: bool
    """The rules of this site let its SAE be the master."""
    may_be_asked: bool
    """They let it be the slave."""


def other_party(caller: SaeId, source: str, destination: str) -> SaeId:
    """Return with whom `caller` wants to share a stream (Streams 1.2).

    Raises `BadRequest` if neither URI is the caller's ID, or the other one is no SAE's.
    """
    uris = [source, destination]
    if caller not in uris:
        raise BadRequest(f"neither source nor destination is {caller}: one of them has to be the caller's own SAE ID")
    uris.remove(caller)
    try:
        return parse_sae_id(uris[0])
    except InvalidIdentifier as error:
        raise BadRequest(f"the other one of source and destination: {error}") from None
