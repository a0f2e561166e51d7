"""The key streams that applications of a site have open: whose each is, and which of another site's offers it meets.

A stream at one end, and what the register knows of it::

    known as   what it means                                                leaves it
    ─────────  ───────────────────────────────────────────────────────────  ───────────────────────────────────
    taken      an SAE is about to open it: nobody else can, offers wait     `begin` ▶ waiting, `close`
    waiting    it is open here: an offer of its two SAEs is found           `meet` ▶ met, `close`
    met        the modules of both ends have it: no further offer will do   `close`
    used       it is over, and is not opened again                          4,096 others are over

Offers of other sites that nothing here meets yet wait, each for as long as its connection stands. Who may share keys is
the planner's to say; a stream is known by what it said (`StreamPlan`). Nothing here knows of key.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import StrEnum

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.module.calls import Announcement
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.wire.etsi004.status import Status
from qss.wire.stream_meeting import Found, Offer, Reason, Refuse, Wait

MAX_STREAMS = 256
"""Streams that are open at a site."""

MAX_OF_ONE = 16
"""Streams of one SAE."""

MAX_WAITING = 256
"""Offers of other sites that wait."""

MAX_WAITING_OF_SITE = 64
"""Offers of one site that wait."""

MAX_USED = 4096
"""Streams that are over and remembered."""


class Standing(StrEnum):
    """What is known of a stream."""

    TAKEN = "taken"
    WAITING = "waiting"
    MET = "met"


@dataclass(slots=True)
class _Stream:
    plan: StreamPlan
    standing: Standing = Standing.TAKEN
    chunk_bytes: int = 0


class StreamRegister:
    """The streams of one site, and the offers that wait there."""

    def __init__(self) -> None:
        self._streams: dict[StreamId, _Stream] = {}
        self._of: Counter[SaeId] = Counter()
        self._used: OrderedDict[StreamId, None] = OrderedDict()
        self._waiting: dict[tuple[QksId, StreamId], Offer] = {}

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def waiting(self) -> int:
        """Offers of other sites that wait."""
        return len(self._waiting)

    # --- this site's SAEs -----------------------------------------------------------------------------------------

    def take(self, stream: StreamId, plan: StreamPlan) -> Status | None:
        """Let this SAE, and nobody else, open a stream; or return why it cannot."""
        if stream in self._streams or stream in self._used:
            return Status.KSID_IN_USE
        if len(self._streams) >= MAX_STREAMS or self._of[plan.sae] >= MAX_OF_ONE:
            return Status.NO_QKD_CONNECTION
        self._streams[stream] = _Stream(plan)
        self._of[plan.sae] += 1
        return None

    def announced(self, stream: StreamId) -> Announcement | None:
        """Return what the other end has announced of a stream that is taken, if it has."""
        offer = self._waiting.get((self._streams[stream].plan.peer, stream))
        if offer is None or not _is_of(self._streams[stream].plan, offer):
            return None
        return Announcement(stream, offer.chunk_bytes)

    def begin(self, stream: StreamId, chunk_bytes: int) -> None:
        """The stream is open at this end, with chunks of that size."""
        known = self._step(stream, Standing.TAKEN, Standing.WAITING)
        known.chunk_bytes = chunk_bytes

    def meet(self, stream: StreamId) -> None:
        """The other end has joined."""
        self._step(stream, Standing.WAITING, Standing.MET)

    def close(self, stream: StreamId) -> None:
        """The stream is over. It can be opened again if it never was. No error if it is not known."""
        known = self._streams.pop(stream, None)
        if known is None:
            return
        self._of[known.plan.sae] -= 1
        if not self._of[known.plan.sae]:
            del self._of[known.plan.sae]
        if known.standing is not Standing.TAKEN:
            self._used[stream] = None
            if len(self._used) > MAX_USED:
                self._used.popitem(last=False)

    def _step(self, stream: StreamId, before: Standing, after: Standing) -> _Stream:
        known = self._streams[stream]
        if known.standing is not before:
            raise LocalProtocolError(f"a key stream that is {known.standing} cannot come to be {after}")
        known.standing = after
        return known

    # --- other sites ----------------------------------------------------------------------------------------------

    def offered(self, peer: QksId, offer: Offer) -> Found | Wait | Refuse:
        """Take in an offer of `peer`, which has the higher ID, and return what is said to it (Streams 2.3 to 2.6).

        What waits is to be asked about by `answer` when something has changed here, until `withdraw`. A newer offer
        takes the place of an older one: the connection of that may have been lost.
        """
        answer, key = self.answer(peer, offer), (peer, StreamId(offer.stream))
        if not isinstance(answer, Wait):
            return answer
        if key not in self._waiting and (
            len(self._waiting) >= MAX_WAITING or sum(site == peer for site, _ in self._waiting) >= MAX_WAITING_OF_SITE
        ):
            return Refuse(Reason.LIMIT)
        self._waiting[key] = offer
        return answer

    def answer(self, peer: QksId, offer: Offer) -> Found | Wait | Refuse:
        """Return what is to be said of an offer now."""
        stream = StreamId(offer.stream)
        known = self._streams.get(stream)
        if stream in self._used or (known is not None and known.standing is Standing.MET):
            return Refuse(Reason.IN_USE)
        if known is None or known.standing is Standing.TAKEN:
            return Wait()
        if known.plan.peer != peer or not _is_of(known.plan, offer):
            return Refuse(Reason.IN_USE)
        here_asks = known.plan.may_ask and offer.may_be_asked
        if not here_asks and not (known.plan.may_be_asked and offer.may_ask):
            return Refuse(Reason.FORBIDDEN)
        return Found(known.chunk_bytes, here_asks)

    def waits(self, peer: QksId, offer: Offer) -> bool:
        """Whether this offer waits, and no newer one has taken its place."""
        return self._waiting.get((peer, StreamId(offer.stream))) is offer

    def withdraw(self, peer: QksId, offer: Offer) -> None:
        """An offer waits no more. No error if it did not, or another one under its name does."""
        key = peer, StreamId(offer.stream)
        if self.waits(peer, offer):
            del self._waiting[key]


def _is_of(plan: StreamPlan, offer: Offer) -> bool:
    """Whether an offer is of the same two SAEs as a stream here."""
    return (offer.sae, offer.other) == (plan.other, plan.sae)
