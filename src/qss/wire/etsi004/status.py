"""What an answer of ETSI GS QKD 004 means, and which number says so in which edition of the standard.

The rest of qss knows meanings only. Numbers are looked up here, by the edition that the configuration names.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from qss.model.errors import RemoteProtocolError


class Status(StrEnum):
    """The meanings (V2.1.1, clause 6.3, table 4). Which of them a call can have is in docs/reference/southbound.md."""

    SUCCESS = "success"
    PEER_NOT_CONNECTED = "peer_not_connected"
    """OPEN_CONNECT: the stream is open at this end; the peer has not opened it yet."""
    INSUFFICIENT_KEY = "insufficient_key"
    """GET_KEY: the chunk at that index is not to be had now. No key was consumed."""
    PEER_APPLICATION_NOT_CONNECTED = "peer_application_not_connected"
    """GET_KEY: the peer has not opened the stream yet."""
    NO_QKD_CONNECTION = "no_qkd_connection"
    """There is nothing to get key from: no link, or no such stream (any more)."""
    KSID_IN_USE = "ksid_in_use"
    """OPEN_CONNECT: the Key_stream_ID belongs to somebody else, or to a stream that has ended."""
    TIMEOUT = "timeout"
    """The call could not be carried out within the stream's Timeout."""
    QOS_NOT_MET = "qos_not_met"
    """OPEN_CONNECT: nothing was opened; the answer's QoS is what could be."""
    METADATA_TOO_LARGE = "metadata_too_large"
    """GET_KEY: the metadata does not fit into the caller's buffer; the size that it needs is told. No key consumed."""


class Edition(StrEnum):
    """Editions of the standard, each with its own numbers."""

    V2_1_1 = "2.1.1"
    DRAFT_3 = "3-draft"
    """A draft. Edition 3 is announced to renumber, and is not published. The numbers are those of the public draft
    code: branch `edition3` of the ETSI forge's `gs004-app-int` as its public fork has it, where they are still those
    of V2.1.1. Expect them to change."""


_V2_1_1 = {
    Status.SUCCESS: 0,
    Status.PEER_NOT_CONNECTED: 1,
    Status.INSUFFICIENT_KEY: 2,
    Status.PEER_APPLICATION_NOT_CONNECTED: 3,
    Status.NO_QKD_CONNECTION: 4,
    Status.KSID_IN_USE: 5,
    Status.TIMEOUT: 6,
    Status.QOS_NOT_MET: 7,
    Status.METADATA_TOO_LARGE: 8,
}

_DRAFT_3 = {
    Status.SUCCESS: 0,
    Status.PEER_NOT_CONNECTED: 1,
    Status.INSUFFICIENT_KEY: 2,
    Status.PEER_APPLICATION_NOT_CONNECTED: 3,
    Status.NO_QKD_CONNECTION: 4,
    Status.KSID_IN_USE: 5,
    Status.TIMEOUT: 6,
    Status.QOS_NOT_MET: 7,
    Status.METADATA_TOO_LARGE: 8,
}

NUMBERS: Mapping[Edition, Mapping[Status, int]] = MappingProxyType({Edition.V2_1_1: _V2_1_1, Edition.DRAFT_3: _DRAFT_3})
"""For each edition, the number of every meaning."""

_MEANINGS = {edition: {number: status for status, number in table.items()} for edition, table in NUMBERS.items()}


def number_of(status: Status, edition: Edition) -> int:
    """Return the number that says `status` in `edition`."""
    return NUMBERS[edition][status]


def status_of(number: int, edition: Edition) -> Status:
    """Return what `number` says in `edition`. Raises `RemoteProtocolError` for a number that the edition lacks."""
    try:
        return _MEANINGS[edition][number]
    except KeyError:
        raise RemoteProtocolError(
            f"status {number} is none of edition {edition}: check which edition of ETSI GS QKD 004 the server speaks"
        ) from None
