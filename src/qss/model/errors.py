"""The one error tree. Every failure that qss raises on purpose is a `QssError`.

The branches say whose move is next: the caller must change the request (`RequestError`), wait or call the operator
(`Unavailable`), the operator must change something (`ConfigurationError`, `PkiError`, `ListenError`, `StoreError`,
`KeyRingError`), one of two programs has broken a protocol (`ProtocolError`), or something has ended and a new one is
the remedy: a key stream (`DeviceError`), a connection (`ConnectionLost`), a transfer (`TransferVoid`). Messages say
what to do. No message, argument or attribute ever carries key material.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qss.model.health import HealthTest


class QssError(Exception):
    """Root of the tree."""


# --- the caller must change the request ---------------------------------------------------------------------------


class RequestError(QssError):
    """The request cannot be served as it is; nothing was changed."""


class BadRequest(RequestError):
    """014 status 400. `details` are the name/value objects of the standard's Error data model (clause 6.5)."""

    def __init__(self, message: str, details: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(dict(detail) for detail in details)


class RuleUnmet(BadRequest):
    """What a request demands could be met, and what this site's own rules demand for it cannot, as the network is now.

    The operator should know: it is no fault of whoever asks. `site` is where the keys cannot come to as is demanded,
    `slaves` are those of the request who are at home there. The standard's message stays as it is; `details` say so.
    """

    def __init__(
        self, message: str, details: Sequence[Mapping[str, str]], site: str = "", slaves: Sequence[str] = ()
    ) -> None:
        super().__init__(message, [*details, {"rule": "the rules of this site demand it, not the request"}])
        self.site = site
        self.slaves = tuple(slaves)
        self.missing = tuple(text for detail in details for text in detail.values())


class KeysNotFound(BadRequest):
    """The standard's literal message for any key ID that cannot be served (ETSI GS QKD 014, clause 6.4)."""

    def __init__(self) -> None:
        super().__init__("one or more keys specified are not found on KME")


class InvalidIdentifier(BadRequest):
    """Something is no well-formed QKS ID, SAE ID, stream ID, key ID or relay policy."""


class Unauthorised(RequestError):
    """014 status 401. The reason goes to the log, never to the caller: the standard gives 401 no body."""


# --- wait, or call the operator -----------------------------------------------------------------------------------


class Unavailable(QssError):
    """014 status 503: the request was right, and cannot be served now. Its text is shown to the caller."""


class Shortage(Unavailable):
    """Fewer keys are at hand than were asked for; none was consumed."""


class LimitReached(Unavailable):
    """A bounded table or queue is full; nothing was consumed."""


class PeerUnavailable(Unavailable):
    """The other site cannot be reached, or did not answer in time."""


class Sealed(Unavailable):
    """The store's master key is not at hand: nothing can be served or stored."""


class StoreUnavailable(Unavailable):
    """The store refuses writes (full or failing disk)."""


# --- the operator must change something ---------------------------------------------------------------------------


class ConfigurationError(QssError):
    """A configuration file says something that cannot be used.

    Attributes: `file`, `key` (dotted path, empty for the whole file), `found`, `allowed`.
    """

    def __init__(self, file: str, key: str, found: str, allowed: str) -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: found {found}; allowed: {allowed}")
        self.file = file
        self.key = key
        self.found = found
        self.allowed = allowed


class PkiError(QssError):
    """A certificate, key or request cannot be made, read or trusted."""


class ListenError(QssError):
    """An address of this machine cannot be listened on."""


class KeyRingError(QssError):
    """The master key cannot be had, or does not open the data key (a wrong passphrase, for one)."""


class StoreError(QssError):
    """The store cannot be opened or used as it is."""


class StoreInUse(StoreError):
    """Another process has the store open."""


class FenceLost(StoreError):
    """Another process opened the store since; this one must write nothing more."""


class HeadMismatch(StoreError):
    """A commit expected another head than the store holds; nothing of that batch was written."""


class StoreDamaged(StoreError):
    """The store's file is damaged, or was taken away: the site cannot go on with it."""

    REMEDY = (
        "restore the data folder from a back-up with `qss restore`, or move it away and make it anew with `qss init`: "
        "either way gathered key, keys that were not fetched yet, and the names of repeats are lost"
    )


class Tampered(StoreError):
    """Stored key does not open at its place, or is missing: altered, moved or swapped outside qss.

    `start` and `stop` are the bytes of the stream that cannot be had; up to `beyond` nobody has looked, and there may
    be none either.
    """

    def __init__(self, message: str, start: int = 0, stop: int = 0, beyond: int = 0) -> None:
        super().__init__(message)
        self.start = start
        self.stop = stop
        self.beyond = max(stop, beyond)


class AuditLogDamaged(QssError):
    """A record of the audit log is not what the site wrote there, or is missing."""


# --- one of two programs has broken a protocol --------------------------------------------------------------------


class ProtocolError(QssError):
    """A protocol rule was broken."""


class LocalProtocolError(ProtocolError):
    """We broke it: a defect in qss."""


class RemoteProtocolError(ProtocolError):
    """The other end broke it; the connection is closed."""


# --- something has ended, and a new one is the remedy --------------------------------------------------------------


class DeviceError(QssError):
    """A QKD device or module cannot go on with this key stream; a successor stream is the remedy."""


class DeviceUnhealthy(DeviceError):
    """What a QKD device yields is not random. `test` says which health test found it."""

    def __init__(self, test: HealthTest, what: str) -> None:
        super().__init__(f"the device failed the {test} test: {what}; nothing of this block was used, check the device")
        self.test = test


class StreamEnded(DeviceError):
    """No more key will come on this key stream."""


class ConnectionLost(QssError):
    """A connection ended, was refused, or exceeded a limit."""


class NothingThere(ConnectionLost):
    """The other end answers, and has nothing at this path: it may be wrong, or too early."""


class TransferVoid(QssError):
    """A transfer of a relay cannot go on here; another, of fresh bytes over fresh ranges, is the remedy."""


def place_of(error: object) -> str:
    """Return file name and line where `error` was raised, for the log: they tell a defect without telling a value."""
    trace = error.__traceback__ if isinstance(error, BaseException) else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
