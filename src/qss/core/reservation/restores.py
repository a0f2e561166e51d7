"""Whether a site's store was restored, and which links must burn what they have before any of it is used (KRP 2.2).

This concerns a site's store, so all its links: the runtime brings what the store, its anchor and its neighbours say,
and makes durable what follows. What a burned link does next is `recovery`'s. Decision record 0007 has the reasons.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from qss.core.reservation.events import RestoreNoticed
from qss.model.identifiers import QksId
from qss.model.incarnations import is_first
from qss.model.records import PeerRecord


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a store says is available or reserved may have been used."""

    reason: str
    """For the log."""
    everywhere: bool
    """Of all links, also of those that are not configured now; else of the one alone whose neighbour says so."""
    remembered: int
    """The highest commit number that somebody shows to have seen: the store's go on above it. 0 if nobody does."""
    intended: bool = False
    """`qss restore` has said so already: nobody need find out why."""


def at_start(incarnation: int, commit_number: int, anchored: int | None, known: Collection[PeerRecord]) -> Doubt | None:
    """Judge a store that was started, and has come to `commit_number`, by its anchor (None: there is none).

    `known` is what it remembers of its peers: a restore marks them all.
    """
    if is_first(incarnation) if anchored is None else commit_number >= anchored:
        return None
    if known and all(record.must_burn for record in known):
        return Doubt(
            "this store was made of a back-up with `qss restore`: all key it holds is burned, at both ends",
            everywhere=True,
            remembered=commit_number if anchored is None else anchored,
            intended=True,
        )
    if anchored is None:
        return Doubt(
            "the anchor file is missing: this store may be a back-up, so all key it holds is burned; "
            "keep the anchor file outside the data folder and its back-ups",
            everywhere=True,
            remembered=commit_number,
        )
    return Doubt(
        "the store is older than its anchor: all key it holds is burned. A copy or a snapshot was put in its place, or "
        "it was made anew with `qss init`; if neither, the disk has lost what it had acknowledged: look at it, and at "
        "how it is mounted",
        everywhere=True,
        remembered=anchored,
    )


def by_neighbour(notice: RestoreNoticed, proof: bytes) -> Doubt:
    """Judge a neighbour's claim to know a later state; `proof` is what it was given if it does (KRP 2.8)."""
    if hmac.compare_digest(notice.proof, proof):
        return Doubt(
            "a neighbour knows a later state of this store: all key it holds is burned",
            everywhere=True,
            remembered=notice.commit_number,
        )
    return Doubt(
        "a neighbour claims, without proof, to know a later state of this store: this link's key is burned",
        everywhere=False,
        remembered=0,
    )


def must_burn(doubt: Doubt, links: Iterable[QksId], known: Iterable[PeerRecord]) -> tuple[PeerRecord, ...]:
    """Return what is to be remembered of the peers of these `links`, and of all `known` if the doubt is of all."""
    records = {record.peer: record for record in known}
    peers = dict.fromkeys([*links, *(records if doubt.everywhere else ())])
    return tuple(replace(records.get(peer, PeerRecord(peer)), must_burn=True) for peer in peers)


def not_forgotten(began: int, known: Iterable[PeerRecord]) -> tuple[PeerRecord, ...]:
    """Return what changes in what is `known` of peers by a start at commit number `began` (KRP 2.1, 2.4)."""
    return tuple(replace(record, base=began, exchanged=False) for record in known if record.exchanged)
