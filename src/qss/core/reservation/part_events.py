"""What a request for slaves at several sites wants of one link, and hears from it (KRP 4.15 to 4.20).

Events and effects, as those in `events`. What is sealed here is under a one-time pad: no key is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qss.model.errors import QssError
from qss.model.identifiers import KeyId, ReservationId
from qss.model.records import ReservationRecord

# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CoverMade:
    """At the master's site: the keys of a further part, sealed with its range. Answered by `PartCovered` or `Refused`.

    No effect if the part was given up meanwhile.
    """

    reservation: ReservationId
    sealed: bytes = field(repr=False)
    tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Conclude:
    """At the master's site: every site has the keys, so this part stands. The first one's master is answered.

    Only if `Link.concludes` of every part, at the same moment.
    """

    reservation: ReservationId


@dataclass(frozen=True, slots=True)
class Abandon:
    """At the master's site: a site has not got the keys, so none shall. No effect if the part is given up already."""

    reservation: ReservationId
    error: QssError
    """What the master is told."""


@dataclass(frozen=True, slots=True)
class CoverOpened:
    """At the slaves' site: the keys of `OpenCover` wait under `handle`."""

    reservation: ReservationId
    handle: int


@dataclass(frozen=True, slots=True)
class CoverFailed:
    """At the slaves' site: what `OpenCover` named does not open."""

    reservation: ReservationId


# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartReady:
    """A part is durable at both ends; its bytes can be read until `Released` is said of its reservation."""

    row: ReservationRecord


@dataclass(frozen=True, slots=True)
class PartCovered:
    """The site of a further part has stored the keys durably."""

    reservation: ReservationId


@dataclass(frozen=True, slots=True)
class OpenCover:
    """Open what came for this reservation, with its range; answered by `CoverOpened` or `CoverFailed`."""

    row: ReservationRecord
    sealed: bytes = field(repr=False)
    tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartsRecalled:
    """These keys of masters here were recalled on this link, and other sites have them as well: tell those."""

    key_ids: tuple[KeyId, ...]
